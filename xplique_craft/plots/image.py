"""One image explained, as one figure: the paper's opening picture."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._checks import check, check_int, check_is
from ..results import ImageExplanation
from .bars import waterfall
from .pictures import blend, concept_overlay, draw_crops, full_strength, shrunk
from .style import INK, MUTED, as_written, axes_or_new, concept_label, style_of


def class_map(explanation: ImageExplanation, *, ax: Axes | None = None) -> Axes:
    """
    The class map over the photograph: orange speaks for the prediction, blue against it.

    Parameters
    ----------
    explanation
        What `Craft.explain_image` returned; the photograph is drawn, so it must be there.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes; its title says that contributions are laid out where they act, and whether the map
        also holds the residual.

    Raises
    ------
    ValueError
        If there is no photograph, or no class map.
    """
    check_is("explanation", explanation, ImageExplanation, "what Craft.explain_image returns")
    photograph = explanation.view().photograph
    if explanation.class_map is None:
        raise ValueError(
            "`explanation` must have a class map, and of activations without places an earlier "
            "version made none: explain the image anew."
        )
    ax = axes_or_new(ax, 4.0, 4.0 * photograph.shape[0] / photograph.shape[1])
    values = explanation.class_map
    ax.imshow(blend(shrunk(photograph, values.shape), values, full_strength(values)))
    ax.set_axis_off()
    predicted, true = explanation.names
    instead = "" if explanation.against is None else f" instead of {true}"
    title = f"why {predicted}{instead}: contributions where they act"
    if explanation.with_residual:
        title += ",\nwith the residual where it acts"
    ax.set_title(as_written(title), loc="left", color=INK, fontsize=9)
    return ax


def image_explanation(
    explanation: ImageExplanation, *, number: int = 3, max_concepts: int = 8
) -> Figure:
    """
    Prediction, places, contributions and concepts of one image.

    Parameters
    ----------
    explanation
        What `Craft.explain_image` returned; the photograph is drawn, so it must be there.
    number
        How many concepts are laid over the photograph and shown by their crops: those that
        contribute most to what is explained.
    max_concepts
        How many concepts get a bar of their own; the rest share one.

    Returns
    -------
    figure
        A new figure that pyplot does not know: the photograph with its concepts, the class map,
        the waterfall, and a row of crops for each concept.

    Raises
    ------
    ValueError
        If there is no photograph.
    """
    check_is("explanation", explanation, ImageExplanation, "what Craft.explain_image returns")
    number, max_concepts = check_int("number", number), check("max_concepts", max_concepts)
    view = explanation.view()
    order = explanation.order
    ranks = [order.index(concept) for concept in range(len(order))]
    top = order[:number]
    figure = Figure(figsize=(13.0, 6.6), layout="constrained")
    grid = figure.add_gridspec(1, 3, width_ratios=[1.0, 1.25, 1.2])
    left = grid[0].subgridspec(2, 1)
    photograph, below = (figure.add_subplot(left[row]) for row in range(2))
    if view.maps is None:
        photograph.imshow(view.photograph)
        photograph.set_axis_off()
        below.set_axis_off()
    else:
        rows, columns = view.photograph.shape[:2]
        whole = np.zeros((rows, columns, len(order)), np.float32)
        whole[..., top] = shrunk(view.maps[..., top], (rows, columns))
        concept_overlay(view.photograph, whole, top, ranks=ranks, shows=None, ax=photograph)
        title = "where they are: activation"
        if explanation.map_crops:
            title += f",\nof {explanation.map_crops} crops laid back over the picture"
        photograph.set_title(title, loc="left", color=INK, fontsize=9)
        class_map(explanation, ax=below)
    bars = figure.add_subplot(grid[1])
    waterfall(view, max_concepts=max_concepts, ranks=ranks, ax=bars)
    predicted, true = explanation.names
    instead = "" if explanation.against is None else f" less that of {true}"
    bars.set_xlabel(as_written(f"score of {predicted}{instead}"))
    _concepts(explanation, figure, grid[2], top, ranks)
    figure.suptitle(as_written(_title(explanation)), x=0.01, ha="left", color=INK, fontsize=14)
    return figure


def _title(explanation: ImageExplanation) -> str:
    predicted, true = explanation.names
    text = f"Predicted as {predicted} (probability {explanation.probability:.2f})"
    if true is None:
        return text
    return f"{text}, which is right" if explanation.right else f"{text}; it is {true}"


def _concepts(
    explanation: ImageExplanation, figure: Figure, place: Any, top: list[int], ranks: list[int]
) -> None:
    """A row of crops for each concept, under what it contributes."""
    rows = place.subgridspec(len(top), 1)
    for row, concept in enumerate(top):
        said = "misled the model by" if concept in explanation.misleading else "contributes"
        ax = figure.add_subplot(rows[row])
        style = style_of(concept, ranks)
        right = max(draw_crops(ax, explanation.crops[concept]), 1.0)
        phi = explanation.explained.phi[0, concept]
        title = f"{concept_label(concept)} {said} {phi:+.2f}"
        ax.set_title(title, loc="left", color=INK, fontsize=10, fontweight="bold")
        ax.plot([0.0, right], [-0.05, -0.05], color=style.color, linewidth=4.0)
        if not explanation.crops[concept]:
            ax.text(0.0, 0.5, "its crops cannot be shown", color=MUTED, fontsize=9)
        ax.set_xlim(0.0, right)
        ax.set_ylim(-0.08, 1.0)
        ax.set_aspect("equal", anchor="W")
        ax.set_axis_off()
