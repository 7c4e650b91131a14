"""
A tree of concepts as a frozen record: what was taken apart, what each concept matters for, and why
the others were left whole. Like `results`, it knows nothing of drawing and nothing of models.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .estimate import Estimate

__all__ = ["TreeBranch", "TreeView"]


@dataclass(frozen=True)
class TreeBranch:
    """
    One concept of a tree, with its children.

    Parameters
    ----------
    path
        Indices that lead to it: (3,) for concept 3 of the craft, (3, 1) for its child 1.
    layer
        Where it was found.
    share
        Of the class score above its base, through its parents; of a concept of the craft, of all.
    of_parent
        Share of the parent's coefficient; None for a concept of the craft.
    at_large
        Share of the class score above its base by every path, at its own layer.
    crops
        Best crops, at most one of each photograph, best first: uint8 (height, width, 3). Empty
        where no photographs were given.
    mixedness
        See `recursion.mixedness`; NaN where it was not measured.
    state
        "taken apart", or why not.
    children
        By decreasing share; none where it was not taken apart.
    left
        Share of the class score, through this concept, that its children do not explain.
    unexplained
        sum of |F(0)| / sum of |F(1)|: what they do not explain of the concept itself.
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
    state: str
    children: tuple["TreeBranch", ...] = ()
    left: Estimate | None = None
    unexplained: float = float("nan")
    gap: float = float("nan")

    @property
    def label(self) -> str:
        """As "C3.1"."""
        return _label(self.path)

    @property
    def parent(self) -> str:
        """The label of what it is a part of."""
        return _label(self.path[:-1])

    @property
    def facts(self) -> str:
        """What is known of it besides its share, in one line."""
        parts = []
        if self.of_parent is not None:
            parts.append(f"{_percent(self.of_parent.value)} of {self.parent}")
            parts.append(f"{_percent(self.at_large.value)} of the score at large")
        if math.isfinite(self.mixedness):
            parts.append(f"mixedness {self.mixedness:.2f}")
        if self.children:
            parts.append(
                f"{self.state} at {self.children[0].layer}: {_percent(self.unexplained)} "
                f"unexplained, gap {_percent(self.gap)}"
            )
        else:
            parts.append(self.state)
        return ", ".join(parts)

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
        Where its concepts were found.
    branches
        The concepts of the craft, by decreasing share.
    left
        Share of the class score above its base that they do not explain.
    number_of_images
        How many images shares and intervals come from.
    depth, min_share, min_mixedness
        How deep concepts were taken apart, and which.
    """

    class_id: int
    layer: str
    branches: tuple[TreeBranch, ...]
    left: Estimate
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
        return "\n".join([*lines, f"not explained {_share(self.left)}"])


def _label(path: tuple[int, ...]) -> str:
    return "C" + ".".join(str(index) for index in path)


def _percent(value: float) -> str:
    return f"{_rounded(value):.1f}%" if math.isfinite(value) else "not defined"


def _rounded(value: float) -> float:
    """In percent, to one decimal and without a negative zero."""
    return round(100.0 * value, 1) + 0.0


def _share(share: Estimate) -> str:
    ends = f"{_rounded(share.low):.1f}, {_rounded(share.high):.1f}"
    return f"{_percent(share.value)} [{ends}]" if math.isfinite(share.value) else "not defined"


def _lines(branch: TreeBranch, first: str, rest: str) -> list[str]:
    """A branch and what is below it; `first` and `rest` stand before its lines."""
    lines = [f"{first}{branch.label} {_share(branch.share)}  {branch.facts}"]
    for child in branch.children:
        lines += _lines(child, f"{rest}├─ ", f"{rest}│  ")
    if branch.left is not None:
        lines.append(f"{rest}└─ not explained {_share(branch.left)}")
    return lines
