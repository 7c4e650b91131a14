"""Importance against complexity: is what the model relies on simple?"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from .._checks import check_is
from ..results import Complexity, Importance
from .style import INK, MUTED, axes_or_new, check_ranks, concept_label, style_of, tidy

FONT = 9.0  # points


def importance_against_complexity(
    importance: Importance,
    complexity: Complexity,
    *,
    ranks: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """
    Each concept by how complex it is, and how much it matters.

    Parameters
    ----------
    importance
        What an importance method's `summary` returned, of all concepts or of some.
    complexity
        What `metrics.measure_complexity` returned, of the same concepts.
    ranks
        (k,): a concept's colour and marker follow its rank, see `concept_ranks`; None: its index.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes: complexity K from left to right, importance upwards, 90% intervals over images.
        Concepts without K are left out.

    Raises
    ------
    ValueError
        If importance is of concepts that complexity has not, or none has a K.
    """
    check_is("importance", importance, Importance, "what summary() of a method returns")
    check_is("complexity", complexity, Complexity, "what measure_complexity returns")
    ranks = check_ranks(ranks)
    largest = int(importance.numbers.max())
    if largest >= len(complexity.by_concept):
        raise ValueError(
            f"complexity must be of the concepts of importance, and of concept {largest} there is "
            f"none, received {len(complexity.by_concept)}. Measure both of one craft."
        )
    places = [i for i, j in enumerate(importance.numbers) if np.isfinite(complexity.k[j])]
    if not places:
        raise ValueError("complexity must be known of one concept at least, and all are NaN.")
    ax = axes_or_new(ax, 6.4, 4.8)
    points = []
    for place in places:
        concept = int(importance.numbers[place])
        k, y = complexity.by_concept[concept], float(importance.overall[place])
        low, high = importance.image_interval[place]
        style = style_of(concept, ranks)
        ax.plot([k.low, k.high], [y, y], color=MUTED, linewidth=1.0, zorder=1)
        ax.plot([k.value] * 2, [low, high], color=MUTED, linewidth=1.0, zorder=1)
        ax.plot(
            k.value, y, marker=style.marker, markersize=7, color=style.color, zorder=2, linestyle=""
        )
        points.append((concept, k.value, y))
    ax.axhline(0.0, color=MUTED, linewidth=0.8, zorder=0)
    ax.margins(0.08)
    ax.set_xlabel("complexity K: simple  →  complex (only late layers tell it)", color=INK)
    ax.set_ylabel(f"importance ({importance.method})", color=INK)
    tidy(ax, kept=["left", "bottom"])
    _label(ax, points)
    return ax


def _label(ax: Axes, points: list[tuple[int, float, float]]) -> None:
    """Each concept's name beside its point (concept, x, y), raised until it covers no other."""
    ax.autoscale_view()
    in_points = 72.0 / ax.figure.dpi
    taken: list[tuple[float, float, float]] = []  # left, bottom, width of the names that are there
    for concept, x, y in sorted(points, key=lambda point: (point[2], point[1])):
        text = concept_label(concept)
        left, bottom = ax.transData.transform((x, y)) * in_points
        width, height, up = 6.0 * len(text), FONT + 1.0, 5.0
        while any(
            abs(bottom + up - other_bottom) < height
            and left < other_left + other_width
            and other_left < left + width
            for other_left, other_bottom, other_width in taken
        ):
            up += 2.0
        taken.append((left, bottom + up, width))
        ax.annotate(
            text, (x, y), xytext=(6, up), textcoords="offset points", color=INK, fontsize=FONT
        )
