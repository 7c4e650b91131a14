"""A tree of concepts: what each is made of, with crops at every branch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from .._checks import check, check_is
from ..results import Estimate, TreeBranch, TreeView
from .style import INK, MUTED, RESIDUAL_STYLE, as_written, axes_or_new, concept_style

INDENT, LABELS, BAR = 0.5, 2.3, 1.5  # widths, in heights of a row with crops
GAP = 0.06
SMALL_ROW = 0.42


@dataclass(frozen=True)
class TreeRow:
    """
    One line of a drawn tree.

    Parameters
    ----------
    depth
        How far the line is indented: 0 for a concept of the craft, 1 for its children.
    rank
        The colour follows the rank, by share, of the concept of the craft that the line belongs to;
        None for what no concept explains.
    branch
        The concept; None for a line that sums up.
    text
        What such a line says.
    share
        How much of the class score the line stands for.
    """

    depth: int
    rank: int | None
    branch: TreeBranch | None
    text: str
    share: float


def tree_rows(view: TreeView, least_share: float = 0.01) -> list[TreeRow]:
    """
    The lines of a tree from top to bottom, which together make up every concept that they divide.

    Parameters
    ----------
    view
        The tree.
    least_share
        Concepts with a smaller share of the class score, for or against, share one line.

    Returns
    -------
    rows
        Each concept is followed by its children, the small ones' sum, and what is not explained.
    """
    check_is("view", view, TreeView, "what ConceptTree.view returns")
    least_share = check("least_share", least_share)
    ranks = {branch.path[0]: rank for rank, branch in enumerate(view.branches)}

    def rows_of(
        branches: Sequence[TreeBranch], residual: Estimate, depth: int, rank: int | None
    ) -> Iterator[TreeRow]:
        shown, name, share = small_apart(branches, least_share)
        for branch in shown:
            own = ranks[branch.path[0]]
            yield TreeRow(depth, own, branch, branch.label, branch.share.value)
            if branch.residual is not None:
                yield from rows_of(branch.children, branch.residual, depth + 1, own)
        if name:
            yield TreeRow(depth, rank, None, name, share)
        yield TreeRow(depth, rank, None, "not explained", residual.value)

    return list(rows_of(view.branches, view.residual, 0, None))


def small_apart(
    branches: Sequence[TreeBranch], least_share: float
) -> tuple[list[TreeBranch], str, float]:
    """
    The branches of one parent that are shown, those taken apart or with `least_share` of the class
    score or more, either way; and what the others together are called and have as their share. The
    name is empty where there are no others.
    """
    shown: list[TreeBranch] = []
    small: list[TreeBranch] = []
    for branch in branches:
        is_shown = bool(branch.children) or abs(branch.share.value) >= least_share
        (shown if is_shown else small).append(branch)
    name = f"{len(small)} smaller" if len(small) > 1 else "".join(b.label for b in small)
    return shown, name, sum(branch.share.value for branch in small)


def concept_tree(
    view: TreeView,
    *,
    number_of_crops: int = 6,
    least_share: float = 0.01,
    ax: Axes | None = None,
) -> Axes:
    """
    A tree of concepts from left to right: name, share of the class score, best crops.

    Parameters
    ----------
    view
        The tree, as `ConceptTree.view(photographs)` gives it.
    number_of_crops
        How many crops show each concept at most.
    least_share
        Concepts with a smaller share of the class score, for or against, share one line.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes; a row with crops is one unit high. A concept and all below it have one colour.
    """
    rows, number_of_crops = tree_rows(view, least_share), check("number_of_crops", number_of_crops)
    heights = [1.0 if row.branch is not None and row.branch.crops else SMALL_ROW for row in rows]
    ends = np.cumsum(heights)
    deepest = max(row.depth for row in rows)
    bar_left = INDENT * deepest + LABELS
    crops_left = bar_left + BAR + 0.75
    shown = [row.branch.crops[:number_of_crops] for row in rows if row.branch is not None]
    widths = [sum(_width(crop) + GAP for crop in crops) for crops in shown]
    width, height = crops_left + max([*widths, 0.0]), float(ends[-1])
    ax = axes_or_new(ax, 0.95 * width, 0.95 * (height + 0.5))
    longest = max(abs(row.share) for row in rows) or 1.0

    last: dict[int, float] = {}  # by depth, where the line to the next child starts
    for row, end, size in zip(rows, ends, heights, strict=True):
        middle = float(end) - size / 2.0
        left = INDENT * row.depth
        if row.depth:
            corner = left - 0.6 * INDENT
            top = last[row.depth - 1]
            ax.plot([corner, corner, left - 0.1], [top, middle, middle], color=MUTED, linewidth=0.9)
        last[row.depth] = middle + (0.4 if size == 1.0 else 0.14)
        _draw_text(ax, row, left, middle)
        _draw_bar(ax, row, bar_left, middle, BAR / longest)
        if row.branch is not None:
            place = crops_left
            for crop in row.branch.crops[:number_of_crops]:
                extent = (place, place + _width(crop), float(end) - GAP, float(end) - size)
                ax.imshow(crop, extent=extent)
                place += _width(crop) + GAP
    ax.set_xlim(-0.1, width)
    ax.set_ylim(height, -0.45)
    ax.set_aspect("equal")
    ax.set_axis_off()
    title = f"Class {view.class_id}, {as_written(view.layer)}: shares of the score above its base"
    ax.text(0.0, -0.2, title, color=INK, fontsize=10.5, va="center")
    return ax


def _width(crop: np.ndarray) -> float:
    return (1.0 - GAP) * crop.shape[1] / crop.shape[0]


def _draw_text(ax: Axes, row: TreeRow, left: float, middle: float) -> None:
    if row.branch is None:
        ax.text(left, middle, row.text, va="center", color=MUTED, fontsize=9)
        return
    branch = row.branch
    tall = bool(branch.crops)
    y = middle - (0.16 if tall else 0.0)
    ax.text(left, y, branch.label, va="center", color=INK, fontsize=11, fontweight="bold")
    notes = [
        branch.state_text if not branch.children else f"at {as_written(branch.children[0].layer)}:"
    ]
    if branch.of_parent is not None:
        notes.insert(0, f"at large {branch.at_large.value:.0%}")
    if tall:
        text, y = "\n".join(notes), middle + 0.16
        ax.text(left, y, text, va="center", color=MUTED, fontsize=7.5, linespacing=1.25)


def _draw_bar(ax: Axes, row: TreeRow, left: float, middle: float, scale: float) -> None:
    style = RESIDUAL_STYLE
    if row.branch is not None and row.rank is not None:
        style = concept_style(row.rank)
    end = left + scale * abs(row.share)
    lowers = row.share < 0.0  # an empty bar: the concept takes from the score
    ax.add_patch(
        Rectangle(
            (left, middle - 0.13),
            scale * abs(row.share),
            0.26,
            facecolor="none" if lowers else style.color,
            hatch=style.hatch,
            edgecolor=style.color if lowers else "white",
            linewidth=1.2 if lowers else 0.0,
        )
    )
    if row.branch is not None:
        low, high = row.branch.share.low, row.branch.share.high
        ends = [left + scale * abs(share) for share in (low, high)]
        ax.plot(ends, [middle, middle], color=INK, linewidth=1.0)
        end = float(np.nanmax([end, *ends]))
    ink = INK if row.branch is not None else MUTED
    ax.text(end + 0.08, middle, f"{row.share:.1%}", va="center", color=ink, fontsize=9)
