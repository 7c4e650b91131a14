"""The concepts of a class: name and style of each, the same in every block, and its card."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..plots import ConceptStyle, concept_label, concept_ranks, concept_style, histogram_bins
from ..results import ClassExplanation, ConceptCard
from .measures import said_of
from .numbers import number, placed
from .pictures import jpeg_uri

CROP_SIDE = 104
HISTOGRAM_BINS = 24
LOWEST_BAR = 3.0  # percent of the histogram's height: a single image must be seen


@dataclass(frozen=True)
class Concept:
    """Name and style of one concept: `code` is "C3"."""

    index: int
    rank: int
    code: str
    style: ConceptStyle


def concepts_of(explanation: ClassExplanation) -> list[Concept]:
    """All concepts of a class, by their rank."""
    by_rank = sorted((rank, index) for index, rank in enumerate(concept_ranks(explanation)))
    return [
        Concept(index, rank, concept_label(index), concept_style(rank)) for rank, index in by_rank
    ]


@dataclass(frozen=True)
class Card:
    """
    A concept's card; `crops` are (uri, coefficient), `bars` (x, y, width, height) in percent.

    `whiskers` are where the importance and its interval over images are drawn, None where they are
    not defined; `sampling` is where the gates' interval is, None where it is not known. `signed` is
    True where coefficients have two ends: then "present" means nothing. `measured` is what is known
    of stability and purity, "" where neither is.
    """

    source: ConceptCard
    concept: Concept
    estimation: str
    whiskers: dict[str, float] | None
    sampling: tuple[float, float] | None
    crops: list[tuple[str, str]]
    bars: list[tuple[float, ...]]
    least: str
    largest: str
    present: int
    signed: bool
    measured: str


def cards_of(explanation: ClassExplanation, concepts: Sequence[Concept]) -> list[Card]:
    """The cards of a class in the explanation's order; their importances are drawn on one axis."""
    cards = explanation.cards
    by_index = {concept.index: concept for concept in concepts}
    ends = [
        end
        for card in cards
        for end in (card.importance.value, card.importance.high, card.estimation[1])
        if np.isfinite(end)
    ]
    axis = max([*ends, 0.0]) or 1.0
    exact = explanation.importance.exact
    signed = any(bool((np.asarray(card.coefficients) < 0.0).any()) for card in cards)
    return [
        _card(
            card,
            by_index[card.concept],
            axis,
            exact,
            signed=signed,
            measured=said_of(explanation, card.concept),
        )
        for card in cards
    ]


def _card(
    card: ConceptCard, concept: Concept, axis: float, exact: bool, *, signed: bool, measured: str
) -> Card:
    counts, edges = histogram_bins(card.coefficients, HISTOGRAM_BINS)
    importance = card.importance
    whiskers = None
    if np.isfinite((importance.value, importance.low, importance.high)).all():
        low, images = placed(importance.low, importance.high, axis)
        whiskers = {"value": placed(0.0, importance.value, axis)[1], "low": low, "images": images}
    known = bool(np.isfinite(card.estimation).all())
    least, most = card.estimation
    sampled = f"{number(least, 3)} to {number(most, 3)}" if known else "not known"
    coefficients = np.asarray(card.coefficients)
    return Card(
        source=card,
        concept=concept,
        estimation="exact" if exact else sampled,
        whiskers=whiskers,
        sampling=placed(least, most, axis) if known else None,
        crops=[
            (jpeg_uri(crop, CROP_SIDE), number(coefficient, 2))
            for crop, coefficient in zip(card.crops, card.crop_coefficients, strict=True)
        ],
        bars=_bars(counts),
        least="0" if edges[0] == 0.0 else number(float(edges[0]), 2),
        largest=number(float(edges[-1]), 2),
        present=int(coefficients.size - (coefficients <= 0).sum()),
        signed=signed,
        measured=measured,
    )


def _bars(counts: np.ndarray) -> list[tuple[float, ...]]:
    """The bars of a histogram that are not empty, in percent of its width and height."""
    step, tallest = 100.0 / len(counts), max(1, int(counts.max()))
    bars = []
    for place in np.flatnonzero(counts).tolist():
        height = max(LOWEST_BAR, 100.0 * counts[place] / tallest)
        corner_and_size = (step * place, 100.0 - height, 0.86 * step, height)
        bars.append(tuple(round(value, 2) for value in corner_and_size))
    return bars
