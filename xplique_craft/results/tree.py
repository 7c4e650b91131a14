"""A tree of concepts: what was taken apart, what each part matters for, why the rest is whole."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from .estimate import Estimate
from .numbers import percent


class BranchState(Enum):
    """
    Whether a concept was taken apart, and if not, why. The values are the words that say so, with
    a place for the number that some of them name, `TreeBranch.state_number`.
    """

    TAKEN_APART = "taken apart"
    SMALL_SHARE = "share below {:.0%}"
    DEPTH_REACHED = "depth {:.0f} reached"
    OF_ONE_PIECE = "of one piece"
    PARTS_EXPLAIN_LITTLE = "its parts leave {:.0%} of it unexplained"
    FEW_CROPS = "too few crops hold it"
    NO_EARLIER_LAYER = "there is no earlier layer"


@dataclass(frozen=True)
class TreeBranch:
    """
    One concept of a tree, with its children.

    Parameters
    ----------
    path
        The indices that lead to it: (3,) for concept 3 of the craft, (3, 1) for its child 1.
    layer
        The layer at which it was found.
    share
        How much of the class score above its base the concept gives: a concept of the craft in all,
        a child through its parents.
    of_parent
        How much of the parent's coefficient it makes up; None for a concept of the craft.
    at_large
        How much of the class score above its base it gives by every path from its own layer.
    crops
        The crops that show it best, at most one of each photograph, best first: uint8 (height,
        width, 3). Empty where no photographs were given.
    mixedness
        How diverse its crops are: 0 for a concept of one piece, 1 for one as diverse as the crops
        of the class as a whole; NaN where it was not measured.
    state
        Whether it was taken apart, and if not, why.
    state_number
        The number that the words of `state` name; None where they name none.
    children
        What it was taken apart into, by decreasing share; empty where it was not.
    residual
        The share of the class score, through this concept, that its children do not explain; None
        where it was not taken apart.
    unexplained
        sum of |F(0)| / sum of |F(1)|: how much of the concept itself its children do not explain.
    gap
        sum of |gap| / sum of |F(1)|: how much their contributions to it fail to add up.
    """

    path: tuple[int, ...]
    layer: str
    share: Estimate
    of_parent: Estimate | None
    at_large: Estimate
    crops: tuple[np.ndarray, ...]
    mixedness: float
    state: BranchState
    state_number: float | None = None
    children: tuple["TreeBranch", ...] = ()
    residual: Estimate | None = None
    unexplained: float = float("nan")
    gap: float = float("nan")

    @property
    def label(self) -> str:
        """Its name, as "C3.1"."""
        return label_of(self.path)

    @property
    def parent(self) -> str:
        """The name of the concept that it is a part of."""
        return label_of(self.path[:-1])

    @property
    def state_text(self) -> str:
        """Its state in words, as "share below 5%"."""
        return self.state.value.format(self.state_number)

    @property
    def facts(self) -> str:
        """What is known of it besides its share, in one line."""
        parts = []
        if self.of_parent is not None:
            parts.append(f"{percent(self.of_parent.value)} of {self.parent}")
            parts.append(f"{percent(self.at_large.value)} of the score at large")
        if math.isfinite(self.mixedness):
            parts.append(f"mixedness {self.mixedness:.2f}")
        text = self.state_text
        if self.children:
            text += (
                f" at {self.children[0].layer}: {percent(self.unexplained)} unexplained, "
                f"gap {percent(self.gap)}"
            )
        return ", ".join([*parts, text])

    def walk(self) -> Iterator["TreeBranch"]:
        """This branch and all below it, from top to bottom."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class TreeView:
    """
    A tree of concepts.

    Parameters
    ----------
    class_id
        The class whose score is divided.
    layer
        The layer at which the concepts of the craft were found.
    branches
        The concepts of the craft, by decreasing share.
    residual
        The share of the class score above its base that they do not explain.
    number_of_images
        How many images the shares and their intervals come from.
    depth, min_share, min_mixedness
        How often in a row concepts were taken apart at most, and the least share and the least
        mixedness of those that were.
    """

    class_id: int
    layer: str
    branches: tuple[TreeBranch, ...]
    residual: Estimate
    number_of_images: int
    depth: int
    min_share: float
    min_mixedness: float

    def walk(self) -> Iterator[TreeBranch]:
        """All branches, from top to bottom."""
        for branch in self.branches:
            yield from branch.walk()

    def __str__(self) -> str:
        lines = [
            f"Class {self.class_id}: {len(self.branches)} concepts at {self.layer}; shares of the "
            f"score above its base, [90% over {self.number_of_images} images]"
        ]
        for branch in self.branches:
            lines += _lines(branch, "", "")
        return "\n".join([*lines, f"not explained {self.residual.as_percent()}"])


def label_of(path: tuple[int, ...]) -> str:
    """The name of a concept by the indices that lead to it, as "C3.1"."""
    return "C" + ".".join(str(index) for index in path)


def _lines(branch: TreeBranch, first: str, rest: str) -> list[str]:
    """A branch and what is below it; `first` and `rest` stand before its lines."""
    lines = [f"{first}{branch.label} {branch.share.as_percent()}  {branch.facts}"]
    for child in branch.children:
        lines += _lines(child, f"{rest}├─ ", f"{rest}│  ")
    if branch.residual is not None:
        lines.append(f"{rest}└─ not explained {branch.residual.as_percent()}")
    return lines
