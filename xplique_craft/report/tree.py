"""A tree of concepts as it stands on the page: nested branches, each with its crops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..plots import ConceptStyle
from ..results import Estimate
from ..results.tree import TreeBranch, TreeView
from .numbers import interval, number, percent
from .pictures import jpeg_uri

if TYPE_CHECKING:
    from .sections import Concept

__all__ = ["Branch", "Tree", "tree_of"]

CROP_SIDE, CROP_QUALITY = 84, 78
LEAST_SHARE = 0.01  # of the class score: concepts below it share one line


@dataclass(frozen=True)
class Branch:
    """
    One concept with what it is made of.

    `concept` is its index where it is one of the class's own, else None; `facts` are short
    sentences; `small` and `left` are (words, share) of the children below 1% and of what is not
    explained, None where there is none.
    """

    code: str
    concept: int | None
    rank: int
    style: ConceptStyle
    share: str
    interval: str
    negative: bool
    bar: tuple[float, float]
    whisker: tuple[float, float] | None
    facts: list[str]
    crops: list[str]
    children: list[Branch]
    small: tuple[str, str] | None
    left: str | None


@dataclass(frozen=True)
class Tree:
    """The branches of a class, with how they were chosen."""

    branches: list[Branch]
    small: tuple[str, str] | None
    left: str
    layer: str
    depth: int
    images: int
    min_share: str
    min_mixedness: str


def tree_of(view: TreeView, concepts: Sequence[Concept]) -> Tree:
    """
    A tree for the template.

    Parameters
    ----------
    view
        The tree.
    concepts
        Those of the section, by rank: a concept and all below it are drawn in its colour.

    Returns
    -------
    tree
        Its values.

    Raises
    ------
    ValueError
        If the tree is of other concepts than the section.
    """
    by_index = {concept.index: concept for concept in concepts}
    unknown = [branch.path for branch in view.branches if branch.path[0] not in by_index]
    if unknown or len(view.branches) != len(by_index):
        raise ValueError(
            f"`tree` must be of the {len(by_index)} concepts that are explained, received one of "
            f"{len(view.branches)}: grow it from the same Craft."
        )
    shares = [branch.share for branch in view.walk()]
    ends = [abs(end) for share in shares for end in (share.value, share.low, share.high)]
    longest = max((end for end in ends if math.isfinite(end)), default=0.0) or 1.0

    def branch_of(branch: TreeBranch) -> Branch:
        concept = by_index[branch.path[0]]
        shown = [child for child in branch.children if _is_shown(child)]
        return Branch(
            code=branch.label,
            concept=branch.path[0] if len(branch.path) == 1 else None,
            rank=concept.rank,
            style=concept.style,
            share=percent(branch.share.value),
            interval=interval(branch.share, as_percent=True, decimals=1),
            negative=bool(branch.share.value < 0.0),
            bar=_placed(0.0, branch.share.value, longest),
            whisker=_whisker(branch.share, longest),
            facts=_facts(branch),
            crops=[jpeg_uri(crop, CROP_SIDE, CROP_QUALITY) for crop in branch.crops],
            children=[branch_of(child) for child in shown],
            small=_small(branch.children),
            left=None if branch.left is None else percent(branch.left.value),
        )

    return Tree(
        branches=[branch_of(branch) for branch in view.branches if _is_shown(branch)],
        small=_small(view.branches),
        left=percent(view.left.value),
        layer=view.layer,
        depth=view.depth,
        images=view.number_of_images,
        min_share=percent(view.min_share, 0),
        min_mixedness=number(view.min_mixedness),
    )


def _is_shown(branch: TreeBranch) -> bool:
    return bool(branch.children) or abs(branch.share.value) >= LEAST_SHARE


def _small(branches: Sequence[TreeBranch]) -> tuple[str, str] | None:
    small = [branch for branch in branches if not _is_shown(branch)]
    if not small:
        return None
    words = f"{len(small)} smaller ones" if len(small) > 1 else small[0].label
    return words, percent(sum(branch.share.value for branch in small))


def _placed(start: float, end: float, axis: float) -> tuple[float, float]:
    """Left end and width in percent of the axis; what is negative is drawn by its magnitude."""
    left, right = sorted(100.0 * min(1.0, abs(value) / axis) for value in (start, end))
    return round(left, 2), round(right - left, 2)


def _whisker(share: Estimate, axis: float) -> tuple[float, float] | None:
    if not (math.isfinite(share.low) and math.isfinite(share.high)):
        return None
    return _placed(share.low, share.high, axis)


def _facts(branch: TreeBranch) -> list[str]:
    facts = []
    if branch.of_parent is not None:
        facts.append(f"{percent(branch.of_parent.value)} of {branch.parent}")
        facts.append(f"{percent(branch.at_large.value)} of the score by every path")
    if math.isfinite(branch.mixedness):
        facts.append(f"mixedness {number(branch.mixedness)}")
    if branch.children:
        facts.append(f"{branch.state} at {branch.children[0].layer}")
        facts.append(f"{percent(branch.unexplained)} of it not explained")
        facts.append(f"sums miss {percent(branch.gap)}")
    elif not branch.state.startswith("depth"):
        facts.append(branch.state)
    return facts
