"""The score while concepts are taken out or put in, beside what random and best orders do."""

import numpy as np
from matplotlib.axes import Axes

from .._checks import check_is
from ..results import ImportanceFidelity
from .style import FOR, INK, MUTED, as_written, axes_or_new, tidy

DONE = {-1: "taken out", 1: "put in"}


def concept_curves(
    result: ImportanceFidelity, *, label: str | None = None, ax: Axes | None = None
) -> Axes:
    """
    The normalised curve of C-Deletion or C-Insertion.

    Parameters
    ----------
    result
        What `summary` of `ConceptDeletion` or `ConceptInsertion` returned.
    label
        What the legend calls the importance; None for "this importance".
    ax
        What is drawn on; None makes a new figure. On one that has curves already only the
        importance's own is added, in the next colour: random and best are those of the first.

    Returns
    -------
    ax
        The axes: the curve of the importance; dotted, that of random orders, with a band that holds
        90% of them; dashed, that of the best order, where it is known. The title says which values
        are good, and the legend gives the areas.

    Raises
    ------
    ValueError
        If it has no curves, or they are not defined.
    """
    check_is("result", result, ImportanceFidelity, "what a metric's summary returns")
    check_is("label", label, (str, type(None)), "a string, or None")
    name = "this importance" if label is None else as_written(label)
    if result.curves is None or result.random_curve is None or np.isnan(result.curve).any():
        raise ValueError(
            "`result` must have curves, those of C-Deletion or C-Insertion where they are defined, "
            f"received {result.metric}."
        )
    ax = axes_or_new(ax, 5.6, 3.8)
    others = len(ax.get_lines())
    curve = result.curve
    share = np.linspace(0.0, 100.0, len(curve))
    mean, low, high = result.random_curve
    own = FOR if not others else None  # the next of the colours that matplotlib goes through
    ax.plot(share, curve, color=own, linewidth=2.0, label=f"{name}   {result.estimate.value:.3f}")
    if others:
        ax.legend(frameon=False, fontsize=8.5, labelcolor=INK)
        return ax
    ax.fill_between(share, low, high, color=MUTED, alpha=0.2, linewidth=0.0)
    lines = [(mean, MUTED, ":", 1.6, f"random orders   {result.random.value:.3f}")]
    if result.optimum_curve is not None and result.optimum is not None:
        lines.insert(1, (result.optimum_curve, INK, "--", 1.2, f"best   {result.optimum:.3f}"))
    for values, color, style, width, label in lines:
        ax.plot(share, values, color=color, linestyle=style, linewidth=width, label=label)
    ax.axhline(0.0, color=MUTED, linewidth=0.6, zorder=0)
    ax.set_xlim(0.0, 100.0)
    ax.set_xlabel(f"concepts {DONE[result.better]}, the most important first (%)", color=INK)
    ax.set_ylabel("score: 0 without concepts, 1 with all", color=INK)
    ax.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    tidy(ax, kept=["bottom"])
    ax.set_title(f"{result.metric} ({result.direction})", loc="left", color=INK, fontsize=10)
    return ax
