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

from .._checks import warn
from ..concept_model import ConceptModel
from ..gates import Coded, GatedHead
from ..results import Contributions
from .quadrature import integrate

TOLERANCE = 1e-3  # of the image's largest |phi_j|: the error at which it gets no more points
LARGEST_ERROR = 0.05  # of the image's largest |phi_j|: above, contributions are warned of
SMALLEST_ERROR = 0.01  # of the score: below, they are not
LARGEST_GAP = 0.05  # of the score that they divide: above, contributions are warned of
SMALLEST_GAP = 0.005  # of the sum of |phi_j|: below, contributions that cancel are known well
LARGEST_ROUNDING = 1e-5  # of the score: a gap below says nothing


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
        found = integrate(partial(head.slopes_at, coded), ends, tolerance, head.rounding)
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


def warn_of_errors(found: Contributions) -> None:
    """
    Warn of contributions that are not known well, or do not add up: no gradient sees a jump.

    A layer that divides activations by their size gives the same for all gates that are equally far
    open, but something else where all are closed: all of the score is gained at 0.
    """
    total = np.abs(found.score - found.base - found.residual)
    gap, size = np.abs(found.gap), np.abs(found.phi).sum(axis=1)
    rounding = LARGEST_ROUNDING * np.abs([found.score, found.base, found.residual]).max(axis=0)
    # Where contributions cancel, the total is small; a gap that is small beside them is none.
    wide = (gap > LARGEST_GAP * total) & (gap > SMALLEST_GAP * size) & (gap > rounding)
    if wide.any():
        share = np.max(gap[wide] / np.maximum(total, gap)[wide])
        warn(
            f"The contributions of {wide.sum()} of {len(wide)} images do not add up: they miss up "
            f"to {share:.0%} of the score that they divide, which jumps as gates open. Most often "
            "layers after the cut divide what they get by its size, as UnitNormalization does: "
            "that is 0 where all gates are closed, and where nothing is active. Keep the residual "
            "(keep_residual=True) or gate towards the mean (baseline='mean') where that is not "
            "done already; ShapleyImportance adds up with any head."
        )
        return
    # Where contributions come to nothing, what counts is the score.
    least = SMALLEST_ERROR * np.abs([found.score, found.base + found.residual]).max(axis=0)
    unknown = (found.relative_errors > LARGEST_ERROR) & (found.errors.max(axis=1) > least)
    if unknown.any():
        warn(
            f"The contributions of {unknown.sum()} of {len(unknown)} images are known to "
            f"{found.relative_errors.max():.0%} of their largest only (see `errors`): more points "
            "of the integral do not help, most often because the head computes in few digits, or "
            "adds large numbers that cancel."
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
    found = concatenate_contributions([contributions(coded, head, tolerance) for coded in batches])
    warn_of_errors(found)
    return found


def ablation_effects_of(
    concept_model: ConceptModel, inputs: Any, targets: Any = None
) -> np.ndarray:
    """f_x(1) - f_x(1 with m_j = 0), (n, k), of all images: what each removal alone would cost."""
    head = concept_model.head()
    batches = concept_model.batches(inputs, targets, description="ablation effects")
    return np.concatenate([ablation_effects(coded, head) for coded in batches])
