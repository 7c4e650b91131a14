"""Numbers of concepts: what each reaches, and which one is recommended."""

import textwrap
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._checks import check_is
from ..results import Estimate, NumberOfConcepts, NumberTried
from .style import INK, MUTED, concept_style, tidy

Values = Callable[[NumberTried], Estimate]

FAITHFUL: tuple[tuple[str, Values], ...] = (
    ("agreement", lambda one: one.quality.agreement),
    ("reconstruction share", lambda one: one.quality.reconstruction_share),
    ("explained share", lambda one: one.quality.explained_share),
)
STABLE: tuple[tuple[str, Values], ...] = (
    ("between folds", lambda one: one.stability.matched),
    ("no photograph in common", lambda one: one.stability.disjoint),
    ("redundancy (floor)", lambda one: one.redundancy),
)
PURE: tuple[tuple[str, Values], ...] = (
    ("odd crop found", lambda one: one.purity.accuracy),  # type: ignore[union-attr]
    ("random crops (floor)", lambda one: one.purity.floor),  # type: ignore[union-attr]
)


def number_of_concepts(result: NumberOfConcepts) -> Figure:
    """
    Faithfulness, stability and purity against the number of concepts, with 90% intervals.

    Parameters
    ----------
    result
        What `xplique_craft.choose_number_of_concepts` returned.

    Returns
    -------
    figure
        A new figure that pyplot does not know: a panel for faithfulness, one for stability and,
        where there was a judge, one for purity. Floors are dotted and grey; the number that is
        recommended is marked in each, and the reason stands above them.
    """
    check_is("result", result, NumberOfConcepts, "what choose_number_of_concepts returns")
    panels = [("Faithful to the model", FAITHFUL), ("The same again", STABLE)]
    if all(one.purity is not None for one in result.tried):
        panels.append(("Of one kind each", PURE))
    width = 3.5 * len(panels)
    figure = Figure(figsize=(width, 4.3), layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
    for ax, (title, lines) in zip(axes, panels, strict=True):
        _draw(ax, result, lines)
        ax.set_title(title, loc="left", color=INK, fontsize=10)
    reason = textwrap.fill(result.reason, round(14.5 * width))
    figure.suptitle(reason, x=0.01, ha="left", color=INK, fontsize=9.5)
    return figure


def _draw(ax: Axes, result: NumberOfConcepts, lines: tuple[tuple[str, Values], ...]) -> None:
    numbers = np.array([one.number for one in result.tried])
    ax.axvline(result.recommended, color=MUTED, linewidth=8.0, alpha=0.2)
    rank = 0
    for name, of in lines:
        values = [of(one) for one in result.tried]
        floor = name.endswith("(floor)")
        style = concept_style(rank)
        color = MUTED if floor else style.color
        rank += not floor
        ax.fill_between(
            numbers,
            [one.low for one in values],
            [one.high for one in values],
            color=color,
            alpha=0.13,
            linewidth=0.0,
        )
        ax.plot(
            numbers,
            [one.value for one in values],
            color=color,
            marker=style.marker if not floor else None,
            markersize=5,
            linestyle=":" if floor else style.linestyle,
            linewidth=1.8,
            label=name,
        )
    ax.set_xticks(numbers)
    margin = max(1.0, 0.06 * np.ptp(numbers))
    ax.set_xlim(numbers[0] - margin, numbers[-1] + margin)
    ax.set_xlabel("concepts", color=INK)
    ax.set_ylim(0.0, max(1.02, ax.get_ylim()[1]))
    below = (0.0, -0.2)  # where no line is
    ax.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left", bbox_to_anchor=below)
    tidy(ax, kept=["bottom", "left"])
