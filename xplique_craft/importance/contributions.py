"""
Contributions that add up: integrated gradients on the gates (Aumann-Shapley).

    phi_j = integral_0^1 df_x/dm_j (t, ..., t) dt,    sum_j phi_j = f_x(1) - f_x(0)

so score = h(0) + [f_x(0) - h(0)] + sum_j phi_j, the bracket being the residual's part. In closed
form where h is affine (phi_j = c_j); elsewhere by Gauss-Legendre quadrature, whose points double
for the images whose sum is not yet complete.
"""

from typing import Any

import numpy as np

from .._checks import warn
from ..concept_model import ConceptModel
from ..gates import Coded, GatedHead
from ..results import Contributions

COMPLETENESS = 1e-3  # largest gap, of |f_x(1) - f_x(0)|, at which points stop doubling
ROUNDING = 1e-6  # of the larger of |f_x(0)| and |f_x(1)|: gaps below are float32's rounding
LARGEST_GAP = 0.05  # of the score that they divide: above, contributions are warned of
SMALLEST_GAP = 0.005  # of the sum of |phi_j|: below, contributions that cancel are known well
LARGEST_ROUNDING = 1e-5  # of the score: a gap below says nothing
FIRST_POINTS, MOST_POINTS = 8, 4096
PROGRESS, MOST_STALLS = 0.9, 4  # given up after 4 doublings in a row that gain under 10%


def quadrature(points: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Nodes and weights (points,) on [0, 1]: Gauss-Legendre with 8 nodes on each of points / 8 equal
    parts, for what is integrated is smooth between kinks, not across them.
    """
    nodes, weights = np.polynomial.legendre.leggauss(FIRST_POINTS)
    parts = points // FIRST_POINTS
    starts = np.arange(parts)[:, None]
    placed = (starts + 0.5 * (nodes + 1.0)) / parts
    return placed.reshape(-1), np.tile(0.5 * weights / parts, parts)


def contributions(
    coded: Coded, head: GatedHead, completeness: float = COMPLETENESS
) -> Contributions:
    """
    Contributions of the concepts for a batch of images.

    Parameters
    ----------
    coded
        n images.
    head
        The gated head.
    completeness
        Largest gap, as a share of |f_x(1) - f_x(0)|, at which an image gets no more points.

    Returns
    -------
    contributions
        phi (n, k) with base, residual part, score and gap, each (n,). Of a batch in which some
        images needed more points than others, `points` is the largest number.
    """
    n, k = len(coded.targets), coded.number_of_concepts
    base = head.baseline(coded).astype(np.float64)
    ends = np.stack(head.ends(coded), axis=1).astype(np.float64)
    start, total = ends[:, 0], ends[:, 1] - ends[:, 0]
    if head.is_affine(coded):
        phi, points = head.affine_slopes(coded), 0
    else:
        phi, points = np.zeros((n, k)), FIRST_POINTS
        allowed = np.maximum(completeness * np.abs(total), ROUNDING * np.abs(ends).max(axis=1))
        going, missing, stalled = np.arange(n), np.full(n, np.inf), np.zeros(n, int)
        while True:
            part = coded.rows(going)
            phi[going] = head.slopes(part, *quadrature(points))
            gap = np.abs(total[going] - phi[going].sum(axis=1))
            stalled[going] = np.where(gap > PROGRESS * missing[going], stalled[going] + 1, 0)
            missing[going] = np.minimum(gap, missing[going])
            going = going[(gap > allowed[going]) & (stalled[going] < MOST_STALLS)]
            if len(going) == 0 or 2 * points > MOST_POINTS:
                break
            points *= 2
    return Contributions(
        phi=phi,
        base=base,
        residual=start - base,
        score=ends[:, 1],
        gap=total - phi.sum(axis=1),
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
        points=max(part.points for part in parts),
        exact=all(part.exact for part in parts),
    )


def warn_of_gaps(found: Contributions) -> None:
    """
    Warn of contributions that do not add up: the score jumps, and no gradient sees a jump.

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
            f"to {share:.0%} of the score that they divide, which jumps as gates open. It does so "
            "where layers after the cut divide what they get by its size, as UnitNormalization "
            "does: that is 0 where all gates are closed, and where nothing is active. Keep the "
            "residual (keep_residual=True) or gate towards the mean (baseline='mean') where that "
            "is not done already; ShapleyImportance adds up with any head."
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
    completeness: float = COMPLETENESS,
) -> Contributions:
    """
    Signed contributions that add up, see `Craft.contributions`; an image gets more points of the
    quadrature until its gap is at most `completeness`, a share of |f_x(1) - f_x(0)|.
    """
    head = concept_model.head()
    batches = concept_model.batches(inputs, targets, description="contributions")
    found = concatenate_contributions(
        [contributions(coded, head, completeness) for coded in batches]
    )
    warn_of_gaps(found)
    return found


def ablation_effects_of(
    concept_model: ConceptModel, inputs: Any, targets: Any = None
) -> np.ndarray:
    """f_x(1) - f_x(1 with m_j = 0), (n, k), of all images: what each removal alone would cost."""
    head = concept_model.head()
    batches = concept_model.batches(inputs, targets, description="ablation effects")
    return np.concatenate([ablation_effects(coded, head) for coded in batches])
