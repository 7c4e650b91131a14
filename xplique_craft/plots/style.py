"""
One style for one concept, wherever it is drawn, readable without colour vision; and every other
colour that is drawn with. The page's own colours stand at the top of report/page.css.

The colour has period 8 and the pattern period 7 in the rank. The two are coprime, so the pair
first repeats at rank 56, and any 7 concepts in a row differ in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb, to_rgba
from matplotlib.figure import Figure

from .._checks import check, check_array, check_indices, check_int, check_is
from .._files import readable
from ..results import ClassExplanation

# Okabe and Ito's palette; its black (kept for text) is replaced by violet, its yellow darkened
COLORS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#6a4c9c",
    "#d8c51c",
)
# name of the pattern (also its CSS class), hatch, marker, dashes (on, off, ... in points)
PATTERNS: tuple[tuple[str, str, str, tuple[float, ...]], ...] = (
    ("plain", "", "o", ()),
    ("rising", "////", "s", (7.0, 2.5)),
    ("dots", "...", "^", (1.6, 2.2)),
    ("falling", "\\\\\\\\", "D", (7.0, 2.0, 1.6, 2.0)),
    ("columns", "|||", "v", (4.0, 2.0)),
    ("crosses", "xxx", "P", (10.0, 2.0, 4.0, 2.0)),
    ("rows", "---", "X", (10.0, 4.0)),
)
INK = "#2b323c"
MUTED = "#8a919c"
RESIDUAL_COLOR = "#a4aab3"
FOR, AGAINST = "#d55e00", "#0072b2"  # what speaks for the class, and against it


@dataclass(frozen=True)
class ConceptStyle:
    """
    How one concept is drawn.

    Parameters
    ----------
    color
        Hexadecimal colour, "#rrggbb".
    pattern
        Name of the pattern: "plain", "rising", "dots", "falling", "columns", "crosses", "rows".
    hatch
        The pattern as a matplotlib hatch.
    marker
        A matplotlib marker.
    dashes
        Dash pattern of its lines, in points; empty for a solid line.
    """

    color: str
    pattern: str
    hatch: str
    marker: str
    dashes: tuple[float, ...]

    @property
    def linestyle(self) -> Any:
        """The dashes as a matplotlib line style."""
        return (0, self.dashes) if self.dashes else "solid"

    @property
    def fill(self) -> dict[str, Any]:
        """How matplotlib fills a bar with it."""
        edge = to_rgba("white", 0.55)
        return {"color": self.color, "hatch": self.hatch, "edgecolor": edge, "linewidth": 0.0}

    @property
    def cmap(self) -> LinearSegmentedColormap:
        """From nothing to the colour, for maps laid over a photograph."""
        ends = [(*to_rgb(self.color), 0.0), (*to_rgb(self.color), 0.85)]
        return LinearSegmentedColormap.from_list(self.color, ends)


RESIDUAL_STYLE = ConceptStyle(RESIDUAL_COLOR, *PATTERNS[0])


def concept_style(rank: int) -> ConceptStyle:
    """
    Style of the concept of a given rank.

    Parameters
    ----------
    rank
        0 for the first concept. Styles differ up to rank 55, then they repeat (labels do not).

    Returns
    -------
    style
        The colour, pattern, marker and dashes that it is drawn with.

    Raises
    ------
    TypeError, ValueError
        If `rank` is no integer, or negative.
    """
    rank = check_int("rank", rank, minimum=0)
    pattern, hatch, marker, dashes = PATTERNS[rank % len(PATTERNS)]
    return ConceptStyle(COLORS[rank % len(COLORS)], pattern, hatch, marker, dashes)


def as_written(text: str) -> str:
    """A name that a user gave, for matplotlib, which would read formulas between dollar signs."""
    return readable(text).replace("$", r"\$")


def concept_label(concept: int) -> str:
    """
    The short label of a concept, the same everywhere.

    Parameters
    ----------
    concept
        Which concept, by its index in the bank.

    Returns
    -------
    label
        "C" and the index, as "C3".
    """
    return f"C{check_int('concept', concept, minimum=0)}"


def concept_ranks(explanation: ClassExplanation) -> list[int]:
    """
    Rank of every concept in the order of the cards: what the report's colours follow.

    Parameters
    ----------
    explanation
        A class explained.

    Returns
    -------
    ranks
        (k,): rank of concept j at place j; concepts without a card come last, by index.
    """
    check_is("explanation", explanation, ClassExplanation, "what explain_class returns")
    number = explanation.contributions.phi.shape[1]
    order = [card.concept for card in explanation.cards]
    order += [concept for concept in range(number) if concept not in order]
    return [order.index(concept) for concept in range(number)]


def style_of(concept: int, ranks: Sequence[int] | None) -> ConceptStyle:
    """Style of a concept of the bank; without `ranks` its index is its rank."""
    if ranks is not None and concept >= len(ranks):
        raise ValueError(
            f"ranks must have one for each concept, and of concept {concept} there is none, "
            f"received {len(ranks)} ranks."
        )
    return concept_style(concept if ranks is None else int(ranks[concept]))


def check_ranks(ranks: Any) -> list[int] | None:
    """Ranks of the concepts as a list; None stays."""
    return None if ranks is None else check_indices("ranks", ranks).tolist()


def histogram_bins(coefficients: np.ndarray, bins: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """
    Counts of the coefficients in equal bins from 0 (the least, if negative) to the largest.

    Parameters
    ----------
    coefficients
        (n,): mean coefficient of one concept in every image. What is not finite is left out.
    bins
        How many bins there are, all of one width.

    Returns
    -------
    counts
        (bins,): how many images fall in each.
    edges
        (bins + 1,): ends of the bins.
    """
    bins = check("bins", bins)
    values = check_array("coefficients", coefficients, finite=False, empty=True)
    values = values.astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    low = min(0.0, float(values.min(initial=0.0)))
    high = float(values.max()) if low < 0.0 else float(values.max(initial=0.0))
    return np.histogram(values, bins=bins, range=(low, high if high > low else low + 1.0))


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """The given axes, or those of a new figure (inches) that pyplot does not know."""
    if ax is not None:
        return check_is("ax", ax, Axes, "matplotlib axes, or None")
    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def tidy(ax: Axes, *, kept: Sequence[str]) -> None:
    """Leave only the spines that carry a scale, in the ink of the text."""
    for side, spine in ax.spines.items():
        spine.set_visible(side in kept)
        spine.set_color(MUTED)
    ax.tick_params(colors=INK, length=0, labelsize=9)
    ax.xaxis.label.set_color(INK)
    ax.yaxis.label.set_color(INK)
