"""Contributions that add up, and ablation effects, of all images: see `gates.contributions`."""

from typing import Any

import numpy as np

from ..concept_model import ConceptModel
from ..gates.contributions import (
    COMPLETENESS,
    ablation_effects,
    concatenate_contributions,
    contributions,
)
from ..results import Contributions


def contributions_of(
    concept_model: ConceptModel,
    inputs: Any,
    targets: Any = None,
    completeness: float = COMPLETENESS,
) -> Contributions:
    """
    Signed contributions that add up, see `Craft.contributions`; an image gets more points of the
    quadrature until its gap is at most `completeness`, a share of |f_x(1) - f_x(0)|.
    """
    head = concept_model.head()
    batches = concept_model.batches(inputs, targets, description="contributions")
    return concatenate_contributions(
        [contributions(coded, head, completeness) for coded in batches]
    )


def ablation_effects_of(
    concept_model: ConceptModel, inputs: Any, targets: Any = None
) -> np.ndarray:
    """f_x(1) - f_x(1 with m_j = 0), (n, k), of all images: what each removal alone would cost."""
    head = concept_model.head()
    batches = concept_model.batches(inputs, targets, description="ablation effects")
    return np.concatenate([ablation_effects(coded, head) for coded in batches])
