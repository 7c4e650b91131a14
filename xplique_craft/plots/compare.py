"""
Comparisons of methods: curves, scores with their intervals, maps side by side.

Concept maps stand out in colours of their own, heatmaps are grey but for the best of them. A title
says of every concept map whether it shows activation (where concepts are) or relevance (where they
act on the score).
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._checks import check, check_choice, check_is, shown
from ..results.comparison import Comparison, MethodScores
from .pictures import blend, full_strength, shrunk
from .style import INK, MUTED, as_written, axes_or_new, concept_style, tidy

GREY = "#b9bec6"


def title_of(method: MethodScores) -> str:
    """A method's name, with what its map shows; of maps at random, that they are the floor."""
    if method.is_floor:
        return f"{method.name} (floor)"
    if method.output is None or method.output in method.name.lower():
        return method.name
    return f"{method.name} ({method.output})"


def drawn_maps(method: MethodScores) -> tuple[np.ndarray, float]:
    """
    What is drawn of a method's maps.

    Returns
    -------
    maps, scale
        (m, H, W), without what a map has everywhere, which tells no place from another; and the
        value that is drawn at full strength, one for all images of the method.
    """
    least = method.maps.min(axis=(1, 2), keepdims=True, initial=np.inf)
    maps = method.maps - np.maximum(least, 0.0)
    return maps, full_strength(maps)


def _colors(comparison: Comparison, key: str) -> dict[str, str]:
    """Colours of methods: concept maps, the best heatmap, the floor, and the others."""
    best = comparison.best(key, comparison.heatmaps)
    colors, rank = {}, 0
    for method in comparison.methods:
        if method.output is not None:
            colors[method.name] = concept_style(rank).color
            rank += 1
        elif method.is_floor:
            colors[method.name] = MUTED
        else:
            colors[method.name] = INK if method is best else GREY
    return colors


def fidelity_curves(
    comparison: Comparison, measure: str = "deletion", *, ax: Axes | None = None
) -> Axes:
    """
    The mean score of the model along the curves of a measure, for every method.

    Parameters
    ----------
    comparison
        What `xplique_craft.compare` returned.
    measure
        Which curves are drawn: "deletion", "insertion", or the key of another measure with curves.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes; the legend names concept maps, the best heatmap and the floor (dotted), with their
        areas. Methods that failed have no curve.

    Raises
    ------
    ValueError
        If the measure has no curves.
    """
    check_is("comparison", comparison, Comparison, "what xplique_craft.compare returns")
    drawn = {key for method in comparison.measured for key in method.curves}
    curved = [one.key for one in comparison.measures if one.curve is not None and one.key in drawn]
    if not isinstance(measure, str) or measure not in curved:
        names = " or ".join(map(repr, curved))
        raise ValueError(f"`measure` must be one with curves, {names}, received {shown(measure)}.")
    column = comparison.measure(measure)
    ax = axes_or_new(ax, 5.6, 3.8)
    colors = _colors(comparison, measure)
    others = False
    for method in comparison.measured:
        if measure not in method.curves:
            continue
        curve = method.curves[measure].mean(axis=0)
        color = colors[method.name]
        quiet = color == GREY
        label = f"{as_written(title_of(method))}   {method.measures[measure].value:.3f}"
        if quiet:
            label, others = ("_" if others else "other methods"), True
        ax.plot(
            np.linspace(0.0, 100.0, len(curve)),
            curve,
            color=color,
            linewidth=1.0 if quiet else 2.0,
            linestyle=":" if method.is_floor else "--" if color == INK else "-",
            zorder=1 if quiet else 2,
            label=label,
        )
    ax.set_xlabel(f"{column.curve} (%)", color=INK)
    kind = "score" if comparison.activation is None else "probability"
    ax.set_ylabel(f"mean {kind} of {as_written(comparison.class_name)}", color=INK)
    ax.set_xlim(0.0, 100.0)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    tidy(ax, kept=["bottom"])
    ax.set_title(f"{column.name} ({column.direction})", loc="left", color=INK, fontsize=10)
    return ax


def method_scores(
    comparison: Comparison, measure: str = "insertion", *, ax: Axes | None = None
) -> Axes:
    """
    One measure of all methods, best first, with intervals over images and seconds an image.

    Parameters
    ----------
    comparison
        What `xplique_craft.compare` returned.
    measure
        Which measure is drawn, by the key that it has in `comparison.measures`.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes, one line a method that has a number, from top to bottom.

    Raises
    ------
    ValueError
        If there is no such measure, or no method has it.
    """
    check_is("comparison", comparison, Comparison, "what xplique_craft.compare returns")
    check_choice("measure", measure, [one.key for one in comparison.measures])
    found = comparison.measure(measure)
    measured = [m for m in comparison.measured if m.has(measure)]
    if not measured:
        raise ValueError(
            f"`measure` {measure!r} was not measured: of these methods, or of maps that are the "
            "same everywhere, there is none."
        )
    measured.sort(key=lambda m: -found.better * m.measures[measure].value)
    colors = _colors(comparison, measure)
    ax = axes_or_new(ax, 5.6, 0.9 + 0.27 * len(measured))
    for row, method in enumerate(measured):
        estimate, color = method.measures[measure], colors[method.name]
        shade = MUTED if color == GREY else color
        ax.plot([estimate.low, estimate.high], [row, row], color=shade, linewidth=1.4)
        ax.plot([estimate.value], [row], marker="o", markersize=6, color=shade)
        ax.annotate(
            f"{estimate.value:.3f}   {method.seconds:.3f} s",
            (1.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=INK,
        )
    ax.set_yticks(range(len(measured)), [as_written(title_of(method)) for method in measured])
    ax.set_ylim(len(measured) - 0.4, -0.6)
    tidy(ax, kept=["bottom"])
    ax.set_title(f"{found.name} ({found.direction})", loc="left", color=INK, fontsize=10)
    return ax


def maps_side_by_side(comparison: Comparison, *, columns: int = 7) -> Figure:
    """
    The images that are shown, each with the map of every method.

    Parameters
    ----------
    comparison
        What `xplique_craft.compare` returned; its photographs are drawn, so they must be there.
    columns
        How many pictures stand in a row at most.

    Returns
    -------
    figure
        A new figure that pyplot does not know: for each image, the photograph and the maps, but
        for methods that failed.

    Raises
    ------
    ValueError
        If no photographs were given to `compare`.
    """
    check_is("comparison", comparison, Comparison, "what xplique_craft.compare returns")
    columns = check("columns", columns)
    if not len(comparison.photographs):
        raise ValueError("`comparison` must have photographs: give them to `compare`.")
    methods = comparison.measured
    rows = -(-(1 + len(methods)) // columns)
    height, width = comparison.photographs.shape[1:3]
    images = len(comparison.photographs)
    figure = Figure(
        figsize=(1.7 * columns, (1.7 * height / width + 0.3) * rows * images), layout="constrained"
    )
    axes = np.atleast_2d(figure.subplots(rows * images, columns, squeeze=False))
    for ax in axes.flat:
        ax.set_axis_off()
    drawn = [drawn_maps(method) for method in methods]
    for image, photograph in enumerate(comparison.photographs):
        places = axes[image * rows : (image + 1) * rows].ravel()
        places[0].imshow(photograph)
        places[0].set_title(as_written(comparison.titles[image]), fontsize=8, color=INK)
        for ax, method, (maps, scale) in zip(places[1:], methods, drawn, strict=False):
            ax.imshow(blend(shrunk(photograph, maps.shape[1:]), maps[image], scale))
            ax.set_title(as_written(title_of(method)), fontsize=8, color=INK)
    return figure
