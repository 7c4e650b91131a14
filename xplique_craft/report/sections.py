"""A class explanation as its section of the page: plain values, in the order they are read."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from ..plots import (
    ConceptStyle,
    concept_label,
    concept_ranks,
    concept_style,
    histogram_bins,
    importance_bars,
)
from ..results import ClassExplanation, ConceptCard, Contributions, ImageView, Quality
from .bars import Waterfall, common_decimals, waterfall_rows
from .figures import inline_svg
from .numbers import interval, number, percent, scientific
from .pictures import Layer, jpeg_uri, layer, tag_places
from .tree import Tree, tree_of
from .verdict import Reading, overall_verdict, read_quality

__all__ = ["Section", "section"]

CROP_SIDE = 104
MAX_BARS = 12
SHOWN_LAYERS = 3
HISTOGRAM_BINS = 24


@dataclass(frozen=True)
class Concept:
    """Name and style of one concept: `code` is "C3"."""

    index: int
    rank: int
    code: str
    style: ConceptStyle


@dataclass(frozen=True)
class Card:
    """
    A concept's card; `crops` are (uri, coefficient), `bars` (x, y, width, height) in percent.

    `sampling` is where the gates' interval is drawn; None where it is not known. `signed` is True
    where coefficients have two ends: then "present" means nothing.
    """

    concept: Concept
    share: str
    negative: bool
    importance: str
    importance_interval: str
    estimation: str
    whiskers: dict[str, float] | None
    sampling: tuple[float, float] | None
    crops: list[tuple[str, str]]
    bars: list[tuple[float, float, float, float]]
    least: str
    largest: str
    images: int
    absent: int
    signed: bool


@dataclass(frozen=True)
class Overlay:
    """A concept over a picture; `layer` is None where it is absent, `top` layers are shown."""

    concept: Concept
    layer: Layer | None
    place: tuple[float, float] | None
    top: bool


@dataclass(frozen=True)
class View:
    """A picture with its overlays (by rank) and its bars (None where they are not defined)."""

    source: ImageView
    uri: str
    overlays: list[Overlay]
    waterfall: Waterfall | None


@dataclass(frozen=True)
class Faithfulness:
    """The three numbers on one set of images, and the smaller ones below them."""

    images: int
    readings: list[Reading]
    verdict: str
    relative_error: str
    sparsity: str
    kkt_residual: str


@dataclass(frozen=True)
class Section:
    """Everything the template needs of one class."""

    source: ClassExplanation
    anchor: str
    key: str
    concepts: list[Concept]
    main: Faithfulness
    fitted: Faithfulness | None
    waterfall: Waterfall | None
    residual_share: str
    importance: Markup
    cards: list[Card]
    views: list[View]
    images_in_mean: int
    notes: list[str] = field(default_factory=list)
    tree: Tree | None = None


def _faithfulness(quality: Quality) -> Faithfulness:
    readings = read_quality(quality)
    return Faithfulness(
        quality.number_of_images,
        readings,
        overall_verdict(readings),
        number(quality.relative_error, 3),
        percent(quality.sparsity),
        scientific(quality.kkt_residual),
    )


def _finite(result: ImageView | Contributions) -> bool:
    names = ("phi", "base", "residual", "score", "gap")
    return all(np.isfinite(getattr(result, name)).all() for name in names)


def _key(explanation: ClassExplanation) -> str:
    """Of the bank that was explained, so that the names given to its concepts find it again."""
    digest = hashlib.sha256()
    for part in (
        explanation.model_name,
        explanation.layer,
        explanation.class_name,
        explanation.class_id,
        explanation.seed,
        explanation.number_of_images,
    ):
        digest.update(repr(part).encode())
    for card in explanation.cards:
        digest.update(f"{card.concept}".encode())
        digest.update(np.round(np.asarray(card.coefficients, np.float64), 4).tobytes())
    return digest.hexdigest()[:16]


def _estimation(ends: tuple[float, float], exact: bool) -> str:
    """The interval for the sampling of gates, in words."""
    if exact:
        return "exact"
    if not np.isfinite(ends).all():
        return "not known"
    return f"{number(ends[0], 3)} to {number(ends[1], 3)}"


def _placed(low: float, high: float, axis: float) -> tuple[float, float]:
    """Left end and width of an interval, in percent of the axis."""
    left, right = (100.0 * min(1.0, max(0.0, end / axis)) for end in (low, high))
    return round(left, 2), round(right - left, 2)


def _card(card: ConceptCard, concept: Concept, axis: float, *, exact: bool, signed: bool) -> Card:
    counts, edges = histogram_bins(card.coefficients, HISTOGRAM_BINS)
    tallest = max(1, int(counts.max()))
    step = 100.0 / len(counts)
    bars = []
    for place, count in enumerate(counts):
        if count:
            height = max(3.0, 100.0 * count / tallest)
            bars.append(
                (
                    round(step * place, 2),
                    round(100.0 - height, 2),
                    round(0.86 * step, 2),
                    round(height, 2),
                )
            )
    importance = card.importance
    whiskers = None
    if np.isfinite((importance.value, importance.low, importance.high)).all():
        low, images = _placed(importance.low, importance.high, axis)
        whiskers = {"value": _placed(0.0, importance.value, axis)[1], "low": low, "images": images}
    known = bool(np.isfinite(card.estimation).all())
    coefficients = np.asarray(card.coefficients)
    return Card(
        concept,
        percent(card.share, signed=True),
        bool(card.share < 0),
        number(importance.value, 3),
        interval(importance, decimals=3),
        _estimation(card.estimation, exact),
        whiskers,
        _placed(*card.estimation, axis) if known else None,
        [
            (jpeg_uri(crop, CROP_SIDE), number(coefficient, 2))
            for crop, coefficient in zip(card.crops, card.crop_coefficients, strict=True)
        ],
        bars,
        "0" if edges[0] == 0.0 else number(float(edges[0]), 2),
        number(float(edges[-1]), 2),
        int(coefficients.size),
        int((coefficients <= 0).sum()),
        signed,
    )


def _view(view: ImageView, concepts: list[Concept], side: int, decimals: int) -> View:
    return View(
        view,
        jpeg_uri(view.photograph, side),
        [] if view.maps is None else _overlays(view.maps, view.phi, concepts),
        waterfall_rows(view, MAX_BARS, decimals) if _finite(view) else None,
    )


def _overlays(maps: np.ndarray, phi: np.ndarray, concepts: list[Concept]) -> list[Overlay]:
    layers = [layer(maps[:, :, concept.index], concept.style.color) for concept in concepts]
    places = tag_places(layers)
    present = [
        concept.index for concept, found in zip(concepts, layers, strict=True) if found is not None
    ]
    top = sorted(present, key=lambda index: -abs(phi[index]))[:SHOWN_LAYERS]
    return [
        Overlay(concept, found, place, concept.index in top)
        for concept, found, place in zip(concepts, layers, places, strict=True)
    ]


def section(explanation: ClassExplanation, place: int, side: int) -> Section:
    """
    The section of one class.

    Parameters
    ----------
    explanation
        What it says.
    place
        Of the section on the page, from 0; its anchors are named by it.
    side
        Longest side of a photograph in the file, in pixels.

    Returns
    -------
    section
        Its values for the template.
    """
    ranks = concept_ranks(explanation)
    concepts = [
        Concept(index, rank, concept_label(index), concept_style(rank))
        for rank, index in sorted((rank, index) for index, rank in enumerate(ranks))
    ]
    held_out = explanation.quality_held_out
    fitted = _faithfulness(explanation.quality)
    ends = [
        end
        for card in explanation.cards
        for end in (card.importance.value, card.importance.high, card.estimation[1])
        if np.isfinite(end)
    ]
    axis = max([*ends, 0.0]) or 1.0
    exact = explanation.importance.exact
    signed = any(bool((np.asarray(card.coefficients) < 0.0).any()) for card in explanation.cards)
    contributions = explanation.contributions
    drawn: list[ImageView | Contributions] = [contributions, *explanation.images]
    decimals = common_decimals([result for result in drawn if _finite(result)])
    anchor = f"class-{place}"
    return Section(
        explanation,
        anchor,
        _key(explanation),
        concepts,
        fitted if held_out is None else _faithfulness(held_out),
        None if held_out is None else fitted,
        waterfall_rows(contributions, MAX_BARS, decimals) if _finite(contributions) else None,
        percent(contributions.residual_share),
        inline_svg(
            importance_bars(explanation.importance, ranks=ranks, max_concepts=MAX_BARS),
            anchor,
            f"Importance of the concepts of {explanation.class_name}, with intervals",
        ),
        [
            _card(card, concepts[ranks[card.concept]], axis, exact=exact, signed=signed)
            for card in explanation.cards
        ],
        [_view(view, concepts, side, decimals) for view in explanation.images],
        int(contributions.phi.shape[0]),
        list(explanation.notes),
        None if explanation.tree is None else tree_of(explanation.tree, concepts),
    )
