"""A tree of concepts as it stands on the page: nested branches, each with its crops."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..plots.tree import small_apart
from ..results import BranchState, TreeBranch, TreeView
from .concepts import Concept
from .numbers import number, percent, placed
from .pictures import jpeg_uri

CROP_SIDE, CROP_QUALITY = 84, 78
LEAST_SHARE = 0.01  # of the class score: concepts below it share one line


@dataclass(frozen=True)
class Branches:
    """
    The parts of one concept, or of the class score.

    `shown` are those with a line of their own, `small` is (words, share) of the others together,
    None where there are none; `residual` is the share that is not explained.
    """

    shown: list["Branch"]
    small: tuple[str, str] | None
    residual: str


@dataclass(frozen=True)
class Branch:
    """
    One concept with what it is made of.

    `concept` is the class's own that it belongs to, whose colour it has; `facts` are short
    sentences; `parts` is None where it was not taken apart.
    """

    source: TreeBranch
    concept: Concept
    bar: tuple[float, float]
    whisker: tuple[float, float] | None
    facts: list[str]
    crops: list[str]
    parts: Branches | None


def tree_of(view: TreeView, concepts: Sequence[Concept]) -> Branches:
    """
    The concepts of a class and what they are made of; a concept and all below it have
    the colour of that concept. A tree of other concepts than the section's is refused.
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

    def bar(start: float, end: float) -> tuple[float, float]:
        """What is negative is drawn by its magnitude."""
        low, high = sorted((abs(start), abs(end)))
        return placed(low, high, longest)

    def parts_of(branches: Sequence[TreeBranch], residual: float) -> Branches:
        shown, name, share = small_apart(branches, LEAST_SHARE)
        one = len(branches) - len(shown) == 1
        return Branches(
            shown=[branch_of(branch) for branch in shown],
            small=(name if one else f"{name} ones", percent(share)) if name else None,
            residual=percent(residual),
        )

    def branch_of(branch: TreeBranch) -> Branch:
        share, residual = branch.share, branch.residual
        known = math.isfinite(share.low) and math.isfinite(share.high)
        return Branch(
            source=branch,
            concept=by_index[branch.path[0]],
            bar=bar(0.0, share.value),
            whisker=bar(share.low, share.high) if known else None,
            facts=_facts(branch),
            crops=[jpeg_uri(crop, CROP_SIDE, CROP_QUALITY) for crop in branch.crops],
            parts=None if residual is None else parts_of(branch.children, residual.value),
        )

    return parts_of(view.branches, view.residual.value)


def _facts(branch: TreeBranch) -> list[str]:
    facts = []
    if branch.of_parent is not None:
        facts.append(f"{percent(branch.of_parent.value)} of {branch.parent}")
        facts.append(f"{percent(branch.at_large.value)} of the score by every path")
    if math.isfinite(branch.mixedness):
        facts.append(f"mixedness {number(branch.mixedness)}")
    if branch.children:
        facts.append(f"{branch.state_text} at {branch.children[0].layer}")
        facts.append(f"{percent(branch.unexplained)} of it not explained")
        facts.append(f"sums miss {percent(branch.gap)}")
    elif branch.state is not BranchState.DEPTH_REACHED:
        facts.append(branch.state_text)
    return facts
