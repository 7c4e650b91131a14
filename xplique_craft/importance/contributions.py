"""
Contributions that add up: integrated gradients on the gates (Aumann-Shapley).

    phi_j = integral_0^1 df_x/dm_j (t, ..., t) dt,    sum_j phi_j = f_x(1) - f_x(0)

so score = h(0) + [f_x(0) - h(0)] + sum_j phi_j, the bracket being the residual's part. In closed
form where h is affine (phi_j = c_j); elsewhere by quadrature, whose points are added where they are
needed until every phi_j is known well enough, see `quadrature`.
"""

from functools import partial
from typing import Any

import numpy as np

from ..concept_model import ConceptModel
from ..gates import Coded, GatedHead
from ..results import Contributions
from .quadrature import integrate

TOLERANCE = 1e-3  # of the image's largest |phi_j|: the error at which it gets no more points


def contributions(coded: Coded, head: GatedHead, tolerance: float = TOLERANCE) -> Contributions:
    """
    Contributions of the concepts for a batch of images.

    Parameters
    ----------
    coded
        n images.
    head
        The gated head.
    tolerance
        Largest estimated error of a contribution, as a share of the image's largest |phi_j|, at
        which the image gets no more points.

    Returns
    -------
    contributions
        phi and errors (n, k) with base, residual part, score and gap, each (n,). Of a batch in
        which some images needed more points than others, `points` is the largest number.
    """
    base = head.baseline(coded).astype(np.float64)
    ends = np.stack(head.ends(coded), axis=1).astype(np.float64)
    if head.is_affine(coded):
        phi = head.affine_slopes(coded)
        errors, points = np.zeros_like(phi), 0
    else:
        found = integrate(partial(head.slopes_at, coded), ends, tolerance)
        phi, errors, points = found.values, found.errors, int(found.points.max())
    return Contributions(
        phi=phi,
        base=base,
        residual=ends[:, 0] - base,
        score=ends[:, 1],
        gap=ends[:, 1] - ends[:, 0] - phi.sum(axis=1),
        errors=errors,
        points=points,
        exact=head.affine,
    )


def concatenate_contributions(parts: list[Contributions]) -> Contributions:
    """Contributions of several batches as one."""
    return Contributions(
        phi=np.concatenate([part.phi for part in parts]),
        base=np.concatenate([part.base for part in parts]),
        residual=np.concatenate([part.residual for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        gap=np.concatenate([part.gap for part in parts]),
        errors=np.concatenate([part.errors for part in parts]),
        points=max(part.points for part in parts),
        exact=all(part.exact for part in parts),
    )


def ablation_effects(coded: Coded, head: GatedHead) -> np.ndarray:
    """f_x(1) - f_x(1 with m_j = 0), (n, k): what each concept's removal alone would cost."""
    k = coded.number_of_concepts
    values = head.evaluate(coded, np.concatenate([np.ones((1, k)), 1.0 - np.eye(k)]))
    return values[:, :1] - values[:, 1:]


def contributions_of(
    concept_model: ConceptModel,
    inputs: Any,
    targets: Any = None,
    tolerance: float = TOLERANCE,
) -> Contributions:
    """
    Signed contributions that add up, see `Craft.contributions`; an image gets more points of the
    quadrature until the estimated error of each is at most `tolerance`, a share of the largest.
    """
    head = concept_model.head()
    batches = concept_model.batches(inputs, targets, description="contributions")
    return concatenate_contributions([contributions(coded, head, tolerance) for coded in batches])


def ablation_effects_of(
    concept_model: ConceptModel, inputs: Any, targets: Any = None
) -> np.ndarray:
    """f_x(1) - f_x(1 with m_j = 0), (n, k), of all images: what each removal alone would cost."""
    head = concept_model.head()
    batches = concept_model.batches(inputs, targets, description="ablation effects")
    return np.concatenate([ablation_effects(coded, head) for coded in batches])
