"""Bars: what adds up to the score, how important each concept is, how often it is there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .._checks import check, check_is
from ..results import ConceptCard, Contributions, ImageView, Importance
from .steps import decimals_for, displayed_steps, waterfall_steps_of
from .style import (
    INK,
    MUTED,
    RESIDUAL_STYLE,
    axes_or_new,
    check_ranks,
    concept_label,
    histogram_bins,
    style_of,
    tidy,
)

# how the intervals of an importance are drawn, in its bars and in their legend
OVER_IMAGES: dict[str, Any] = {"color": INK, "linewidth": 1.0, "marker": "|", "markersize": 7}
EXACT: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 4, "linestyle": "none"}
SAMPLING: dict[str, Any] = {"color": INK, "linewidth": 4.0, "solid_capstyle": "butt"}


def waterfall(
    result: ImageView | Contributions,
    *,
    max_concepts: int = 12,
    ranks: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """
    Bars from the base to the score that add up: residual, concepts (largest first), gap.

    Parameters
    ----------
    result
        An `ImageView` for one image, or `Contributions` for the mean over its images.
    max_concepts
        How many concepts get a bar of their own; the rest share one.
    ranks
        (k,): a concept's colour and pattern follow its rank, see `concept_ranks`; None: its index.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes, one horizontal bar a step, from top to bottom.

    Raises
    ------
    ValueError
        If the numbers are not finite or do not add up.
    """
    ranks = check_ranks(ranks)
    steps = waterfall_steps_of(result, max_concepts=max_concepts)
    decimals = decimals_for(steps)
    steps = displayed_steps(steps, decimals)
    ax = axes_or_new(ax, 6.4, 0.9 + 0.32 * len(steps))
    ends = [end for step in steps for end in (step.start, step.stop)]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0

    for place, step in enumerate(steps):
        if step.is_level:
            ax.plot([step.value], [place], marker="D", color=INK, markersize=6, zorder=3)
        else:
            style = RESIDUAL_STYLE if step.concept is None else style_of(step.concept, ranks)
            width = step.stop - step.start
            ax.barh(place, width, left=step.start, height=0.62, zorder=2, **style.fill)
        if place + 1 < len(steps):
            ax.plot([step.stop] * 2, [place, place + 1], color=MUTED, linewidth=0.8, zorder=1)
        sign = "" if step.is_level else "+"
        value = f"{step.value:{sign}.{decimals}f}"
        _write(ax, value, max(step.start, step.stop), place, away=7)

    ax.set_yticks(range(len(steps)), [step.label for step in steps])
    ax.set_ylim(len(steps) - 0.4, -0.6)
    ax.set_xlim(low - 0.04 * span, high + 0.16 * span)
    ax.set_xlabel("score")
    tidy(ax, kept=["bottom"])
    return ax


def importance_bars(
    importance: Importance,
    *,
    max_concepts: int = 20,
    ranks: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """
    Importance of the concepts, most important first, with both its intervals; what speaks against
    the target, in a signed method, points to the left.

    Parameters
    ----------
    importance
        What to draw. The thick line is the interval for the sampling of gates (a dot where nothing
        was sampled, nothing where it is not known), the thin line with end marks the interval over
        images.
    max_concepts
        How many concepts are drawn.
    ranks
        (k,): a concept's colour and pattern follow its rank, see `concept_ranks`; None: its index.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes, one horizontal bar a concept, from top to bottom.
    """
    check_is("importance", importance, Importance, "what an importance method's summary returns")
    max_concepts, ranks = check("max_concepts", max_concepts), check_ranks(ranks)
    overall = np.asarray(importance.overall, dtype=np.float64)
    order = np.argsort(-np.nan_to_num(np.abs(overall), nan=-np.inf), kind="stable")[:max_concepts]
    ax = axes_or_new(ax, 5.0, 1.2 + 0.32 * len(order))
    known = bool(np.isfinite(importance.estimation_interval[order]).all())
    low = high = 0.0
    for place, row in enumerate(order):
        concept = int(importance.numbers[row])
        style = style_of(concept, ranks)
        value = float(overall[row])
        sampled = importance.estimation_interval[row]
        images = importance.image_interval[row]
        ax.barh(place, value, height=0.62, **style.fill)
        ax.plot(images, [place] * 2, **OVER_IMAGES)
        if importance.exact:
            ax.plot([value], [place], **EXACT)
        elif known:
            ax.plot(sampled, [place] * 2, **SAMPLING)
        ends = [0.0, value, *sampled, *images]
        low, high = float(np.nanmin([low, *ends])), float(np.nanmax([high, *ends]))
        number = "not defined" if np.isnan(value) else f"{value:.3f}"
        end = float(np.nanmax(ends))
        _write(ax, number, end, place, away=6, gid=f"value-of-concept-{concept}")

    ax.set_yticks(range(len(order)), [concept_label(int(importance.numbers[i])) for i in order])
    ax.set_ylim(len(order) - 0.4, -0.6)
    span = high - low
    ax.set_xlim(low - 0.05 * span * (low < 0.0), high + 0.35 * span or 1.0)
    if low < 0.0:
        ax.axvline(0.0, color=INK, linewidth=0.8)
    method = importance.method[:1].upper() + importance.method[1:]
    ax.set_xlabel(f"{method} index" if "sobol" in method.lower() else method)
    handles = [Line2D([], [], label="90% interval over images", **OVER_IMAGES)]
    if importance.exact:
        handles.append(Line2D([], [], label="exact, nothing sampled", **EXACT))
    elif known:
        handles.append(Line2D([], [], label="90% interval of the sampling", **SAMPLING))
    ax.legend(handles=handles, loc="lower right", frameon=False, fontsize=8.5, labelcolor=INK)
    tidy(ax, kept=["left"])
    return ax


def activation_histogram(
    card: ConceptCard, *, bins: int = 20, rank: int | None = None, ax: Axes | None = None
) -> Axes:
    """
    In how many images a concept is how active.

    Parameters
    ----------
    card
        The concept whose coefficients are counted.
    bins
        How many bars there are, from 0 (the least coefficient, if negative) to the largest.
    rank
        The rank of the concept decides its colour and pattern; None takes its index in the bank.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes.
    """
    check_is("card", card, ConceptCard, "a card of an explanation")
    style = style_of(card.concept if rank is None else rank, None)
    counts, edges = histogram_bins(card.coefficients, bins)
    ax = axes_or_new(ax, 4.0, 2.2)
    ax.bar(edges[:-1], counts, width=np.diff(edges) * 0.92, align="edge", **style.fill)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel(f"mean coefficient of {concept_label(card.concept)} in an image")
    ax.set_ylabel("images")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    tidy(ax, kept=["bottom"])
    return ax


def _write(ax: Axes, text: str, end: float, row: int, *, away: float, gid: str = "") -> None:
    """A value, some points to the right of where the bar of its row ends."""
    ax.annotate(
        text,
        (end, row),
        xytext=(away, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=9,
        gid=gid or None,
    )
