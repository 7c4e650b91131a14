"""Pictures: where concepts are in a photograph, and the crops that show them best."""

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from .._checks import check_array, check_choice, check_indices, check_int, check_is
from ..results import ConceptCard
from .style import AGAINST, FOR, INK, axes_or_new, check_ranks, concept_label, style_of

CONTOUR_LEVEL = 0.5  # of the map's maximum in the picture
FAINT = 0.08  # maps that stay below are not drawn on the page, nor outlined
WASH_OPACITY = 0.62
CROP_GAP = 0.06  # between crops in a row, in heights of the row
DIMMED = 0.55  # how much of the photograph's grey stays under a signed map
OPACITY = 0.9  # of a signed map where it is at full strength
SCALE_QUANTILE = 0.995  # of absolute values: what is above is drawn as this


def concept_overlay(
    photograph: np.ndarray,
    maps: np.ndarray,
    concepts: Sequence[int],
    *,
    ranks: Sequence[int] | None = None,
    shows: str | None = "activation",
    ax: Axes | None = None,
) -> Axes:
    """
    A photograph with concepts washed over it.

    Parameters
    ----------
    photograph
        uint8 (H, W, 3).
    maps
        (H, W, k) in [0, 1]. The colour's opacity follows the map; a line labelled "Cj" goes round
        where it is above half of what it reaches in this picture. A concept that is (almost)
        absent, below 8% everywhere, leaves no line.
    concepts
        Which of the k concepts are drawn, by their indices.
    ranks
        (k,): a concept's colour and pattern follow its rank, see `concept_ranks`; None: its index.
    shows
        What the picture's corner says of the maps: "activation", that a concept is there, or
        "relevance", that it matters there. None writes nothing there.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes, y downwards, in pixels.

    Raises
    ------
    ValueError
        If `maps` is not (H, W, k) for the photograph's H and W, or lacks one of the concepts.
    """
    photograph = check_array("photograph", photograph, "H, W, 3")
    maps = check_array("maps", maps)
    ranks = check_ranks(ranks)
    concepts = check_indices("concepts", concepts).tolist()
    check_choice("shows", shows, ("activation", "relevance", None))
    if maps.ndim != 3 or maps.shape[:2] != photograph.shape[:2]:
        raise ValueError(
            f"`maps` must be (H, W, k) with the photograph's H and W, {photograph.shape[:2]}, "
            f"received {maps.shape}: resize them first."
        )
    unknown = [concept for concept in concepts if not 0 <= concept < maps.shape[2]]
    if unknown:
        raise ValueError(
            f"`concepts` must be indices below {maps.shape[2]}, received {unknown}: "
            "the last axis of `maps` has one map for each concept."
        )
    height, width = photograph.shape[:2]
    ax = axes_or_new(ax, 5.0, 5.0 * height / width)
    ax.imshow(photograph)
    for concept in concepts:
        style = style_of(concept, ranks)
        activation = np.clip(maps[:, :, concept], 0.0, 1.0)
        wash = np.empty((height, width, 4))
        wash[..., :3] = to_rgb(style.color)
        wash[..., 3] = WASH_OPACITY * activation
        ax.imshow(wash)
        if activation.max() < FAINT:
            continue
        # a border of zeros closes the lines that leave the picture
        padded = np.pad(activation, 1)
        columns, rows = np.arange(-1, width + 1), np.arange(-1, height + 1)
        for color, line in (("white", 3.0), (style.color, 1.6)):
            ax.contour(
                columns,
                rows,
                padded,
                levels=[CONTOUR_LEVEL * activation.max()],
                colors=[color],
                linewidths=line,
                linestyles=["solid" if color == "white" else style.linestyle],
            )
        row, column = np.unravel_index(int(activation.argmax()), activation.shape)
        label = ax.text(
            float(np.clip(column, 0.06 * width, 0.94 * width)),
            float(np.clip(row, 0.05 * height, 0.95 * height)),
            concept_label(concept),
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold",
            color=INK,
        )
        label.set_path_effects([patheffects.withStroke(linewidth=3.0, foreground="white")])
    if shows is not None:
        said = ax.text(0.015, 0.015, shows, transform=ax.transAxes, fontsize=7, color=INK)
        said.set_path_effects([patheffects.withStroke(linewidth=2.0, foreground="white")])
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)
    ax.set_axis_off()
    return ax


def concept_crops(
    card: ConceptCard, *, number: int = 6, rank: int | None = None, ax: Axes | None = None
) -> Axes:
    """
    The best crops of a concept in a row, best first.

    Parameters
    ----------
    card
        The concept whose crops are drawn.
    number
        How many crops are drawn at most.
    rank
        The rank of the concept decides its colour and pattern; None takes its index in the bank.
    ax
        What is drawn on; None makes a new figure.

    Returns
    -------
    ax
        The axes; every crop is one unit high and keeps its proportions.
    """
    check_is("card", card, ConceptCard, "a card of an explanation")
    style = style_of(card.concept if rank is None else rank, None)
    crops = card.crops[: check_int("number", number, minimum=0)]
    widths = [crop.shape[1] / crop.shape[0] for crop in crops]
    total = max(sum(widths) + CROP_GAP * max(0, len(crops) - 1), 1.0)
    ax = axes_or_new(ax, 1.4 * total, 1.9)
    draw_crops(ax, crops)
    ax.add_patch(
        Rectangle(
            (0.0, -0.1),
            total,
            0.06,
            facecolor=style.color,
            hatch=style.hatch,
            edgecolor="white",
            linewidth=0.0,
        )
    )
    ax.set_xlim(0.0, total)
    ax.set_ylim(-0.12, 1.0)
    ax.set_aspect("equal")
    ax.set_axis_off()
    title = f"{concept_label(card.concept)}   {card.share:+.1%} of the score"
    ax.set_title(title, loc="left", color=INK, fontsize=10)
    return ax


def draw_crops(ax: Axes, crops: Sequence[np.ndarray]) -> float:
    """Crops in a row from 0 on, each one unit high in its proportions; where the next would be."""
    left = 0.0
    for crop in crops:
        width = crop.shape[1] / crop.shape[0]
        ax.imshow(crop, extent=(left, left + width, 0.0, 1.0))
        left += width + CROP_GAP
    return left


def full_strength(maps: np.ndarray) -> float:
    """
    The value of maps, of any shape, that is drawn at full strength: few values reach beyond it.
    Of maps that are 0 nearly everywhere it is the largest; 1 of maps that are 0.
    """
    values = np.abs(maps)
    scale = float(np.quantile(values, SCALE_QUANTILE)) if values.size else 0.0
    return scale or float(values.max(initial=0.0)) or 1.0


def blend(photograph: np.ndarray, values: np.ndarray, scale: float) -> np.ndarray:
    """
    A signed map (H, W) over a dimmed photograph, uint8 (H, W, 3): orange speaks for the class, blue
    against it, and the value `scale` is drawn at full strength.
    """
    grey = photograph.astype(np.float64).mean(axis=-1, keepdims=True) * DIMMED
    strength = np.clip(np.abs(values) / scale, 0.0, 1.0)[..., None] * OPACITY
    colors = np.where(
        values[..., None] >= 0.0, 255 * np.array(to_rgb(FOR)), 255 * np.array(to_rgb(AGAINST))
    )
    return np.rint(grey * (1.0 - strength) + colors * strength).astype(np.uint8)


def shrunk(picture: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A photograph (H, W, 3), or maps (H, W, k), at another size, by nearest pixels."""
    rows = (np.arange(size[0]) + 0.5) * picture.shape[0] / size[0]
    columns = (np.arange(size[1]) + 0.5) * picture.shape[1] / size[1]
    return picture[rows.astype(int)][:, columns.astype(int)]
