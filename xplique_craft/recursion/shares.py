"""
What the children of a concept matter for: three scores, one sum each.

With F(m) = the parent's coefficient u_i of h'(sum_j m_j u'_j W'_j + E'), children gated by m,

    for the parent               u_i = F(0) + sum_j phi_j,      F(0) computed by closing all gates
    for the class, through it    the parent's contribution split in the proportions of the same
    for the class at large       score - h'(0) = residual part + sum_j phi_j, every path included

Each adds up to the quadrature's gap, which is kept. Shares are ratios of sums over images.
"""

from dataclasses import dataclass

import numpy as np

from .._checks import warn
from .._intervals import bootstrap_ratio
from ..results import Contributions, Estimate

NOTHING = 1e-9  # of the largest coefficient among the images: what is below is an absent parent


@dataclass(frozen=True)
class NodeShares:
    """
    What each child matters for, and what the children leave unexplained; 90% intervals over images.

    Parameters
    ----------
    of_parent
        For each child, sum of phi / sum of u_i: its share of the parent's coefficient.
    through_parent
        For each child, its share of the class score above its base, through the parent; they and
        `residual_through_parent` add up to the parent's share, to the gap.
    at_large
        For each child, its share of the class score above its base, by every path.
    residual_of_parent, residual_through_parent, residual_at_large
        The same of what the children do not explain: F(0) for the parent, base included; the
        residual part for the class at large.
    unexplained
        sum of |F(0)| / sum of |F(1)|.
    gap
        sum of |gap| / sum of |F(1)|: how much the contributions to the parent fail to add up.
    number_of_images
        How many images these numbers come from.
    """

    of_parent: tuple[Estimate, ...]
    through_parent: tuple[Estimate, ...]
    at_large: tuple[Estimate, ...]
    residual_of_parent: Estimate
    residual_through_parent: Estimate
    residual_at_large: Estimate
    unexplained: float
    gap: float
    number_of_images: int


def split_contribution(parts: Contributions, amount: np.ndarray) -> Contributions:
    """
    What a parent contributes to something else, the amount (n,), divided among its children.

    Their contributions to it, base + residual + sum_j phi_j + gap = score = F(1), are multiplied by
    amount / F(1). Where the parent is absent, F(1) = 0, there are no proportions: all of the amount
    is residual.
    """
    total = np.asarray(parts.score, np.float64)
    there = np.abs(total) > NOTHING * np.abs(total).max(initial=0.0)
    ratio = np.divide(amount, total, out=np.zeros_like(total), where=there)
    return Contributions(
        phi=parts.phi * ratio[:, None],
        base=parts.base * ratio,
        residual=np.where(there, parts.residual * ratio, amount),
        score=np.asarray(amount, np.float64),
        gap=parts.gap * ratio,
        errors=parts.errors * np.abs(ratio)[:, None],
        points=parts.points,
        exact=parts.exact,
    )


def measure_shares(
    of_parent: Contributions,
    through: Contributions,
    at_large: Contributions,
    class_total: np.ndarray,
    seed: int,
) -> NodeShares:
    """
    Shares of the children from their contributions (n, k') to the three scores of the same images.

    `class_total` is score - h(0) of the class at the layer of the craft, (n,). A share of something
    whose sum over images is 0 is NaN, with a warning.
    """
    total, large = of_parent.score, at_large.score - at_large.base
    parts = {"the parent": total, "the class score": class_total, "the score at large": large}
    nothing = [name for name, part in parts.items() if part.sum() == 0.0]
    if nothing:
        warn(
            f"Over these images {' and '.join(nothing)} amount to 0: the children's shares of it "
            "are not defined and are NaN. Give images that hold the concept."
        )
    size = float(np.abs(total).sum()) or float("nan")
    closed = of_parent.base + of_parent.residual  # F(0), as it was evaluated
    return NodeShares(
        of_parent=tuple(bootstrap_ratio(phi, total, seed) for phi in of_parent.phi.T),
        through_parent=tuple(bootstrap_ratio(phi, class_total, seed) for phi in through.phi.T),
        at_large=tuple(bootstrap_ratio(phi, large, seed) for phi in at_large.phi.T),
        residual_of_parent=bootstrap_ratio(closed, total, seed),
        residual_through_parent=bootstrap_ratio(through.base + through.residual, class_total, seed),
        residual_at_large=bootstrap_ratio(at_large.residual, large, seed),
        unexplained=float(np.abs(closed).sum() / size),
        gap=float(np.abs(of_parent.gap).sum() / size),
        number_of_images=len(total),
    )
