"""
Concepts that stand side by side in one layer, and which crops hold them; one is taken apart.

A crop holds concept i of the craft by its coefficient u_i. It holds a child by the child's
coefficient times how much of the parent it holds, relative to the crop with the most of it: so a
child counts only where its parent is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..concept_model import ConceptModel
from ..keras_models import KerasModels
from ..results import BranchState
from ..splitting import Split, split_model
from .earlier_layers import CannotDecompose
from .settings import DecompositionSettings
from .shared_crops import SharedCrops

CROPS_FOR_A_CHILD = 2


@dataclass(frozen=True)
class Siblings:
    """
    A craft's concepts, or the children of one concept.

    Parameters
    ----------
    concept_model
        The bank that they are the rows of, on the craft's model.
    shared
        The craft's crops.
    settings
        How each of them is taken apart unless something else is asked for.
    coefficients
        (m, k): how much of each concept each of these crops holds.
    """

    concept_model: ConceptModel
    shared: SharedCrops
    settings: DecompositionSettings
    coefficients: np.ndarray

    def presence(self, concept_id: int) -> np.ndarray:
        """(m,) in [0, 1]: the coefficients of one concept, 1 in the crop with the most of it."""
        u = np.maximum(self.coefficients[:, concept_id], 0.0)
        largest = u.max(initial=0.0)
        return u / largest if largest > 0.0 else u

    def encoder_at(self, layer: str) -> Split:
        """
        The encoder, images -> concept scores (n, k), cut at an earlier layer; made once.

        It is a model like any other, with concepts for classes: all that can be asked of a class
        of the craft's model can be asked of concept i, the encoder's class i.
        """
        return self.concept_model.concepts.once(
            ("encoder", layer),
            lambda: split_model(KerasModels.of(self.concept_model).encoder, layer),
        )


def choose_crops(u: np.ndarray, concept_id: int, settings: DecompositionSettings) -> np.ndarray:
    """
    The crops that the children of a concept are found in: numbers of those that hold any of it, at
    or above the percentile. `u` is how much of it each crop holds, (m,).

    Raises
    ------
    CannotDecompose
        If there are fewer than two such crops for each child.
    """
    percentile, number = settings.percentile, settings.number_of_concepts
    chosen = np.flatnonzero((u >= np.percentile(u, percentile)) & (u > 0.0))
    needed = CROPS_FOR_A_CHILD * number
    if len(chosen) < needed:
        raise CannotDecompose(
            f"Only {len(chosen)} of {len(u)} crops hold concept {concept_id} at or above its "
            f"percentile {percentile:g}, and {number} children need {needed}. Fit the craft on "
            "more images, lower percentile, or ask for a smaller number_of_concepts.",
            BranchState.FEW_CROPS,
        )
    return chosen
