"""Wrong pairs of label and prediction, and the concepts that speak for the wrong class."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..results import Confusion, MergedConcepts
from .atlas_classes import Member, Named, member_of
from .numbers import number, percent, placed

CONCEPTS = 8  # that are shown of a pair
PICTURES = 8
PICTURE_SIDE = 112


@dataclass(frozen=True)
class Level:
    """
    A mean coefficient, as printed and as a bar in percent: in the images of the class `rightly`
    that are predicted as it, or in the confused ones where that is None.
    """

    rightly: str | None
    value: str
    width: float


@dataclass(frozen=True)
class Speaking:
    """A concept of the class that is wrongly predicted, and how much of it is in which images."""

    row: int
    member: Member | None
    speaks_for: str
    left: float
    width: float
    negative: bool
    levels: list[Level]


@dataclass(frozen=True)
class Pair:
    """Images of `actual` that are taken for `predicted`; `strip` is the file of some of them."""

    actual: Named
    predicted: Named
    number: int
    labelled: int
    share: str
    images: int
    strip: str | None
    pictures: int
    concepts: list[Speaking]
    left_out: int


def strip_path(confusion: Confusion) -> str:
    """Where the confused pictures are, from the atlas's folder."""
    return f"assets/{confusion.actual:04d}-{confusion.predicted:04d}.jpg"


def pair_of(
    confusion: Confusion, merged: MergedConcepts | None, names: Mapping[int, Named]
) -> Pair:
    """A wrong pair as the page shows it; what the concepts add is drawn on one axis."""
    speaks = np.asarray(confusion.speaks_for, np.float64)[:CONCEPTS]
    ends = speaks[np.isfinite(speaks)]
    low, high = min(0.0, ends.min(initial=0.0)), max(0.0, ends.max(initial=0.0))
    axis = (high - low) or 1.0
    actual, predicted = names[confusion.actual], names[confusion.predicted]
    concepts = []
    for place, value in enumerate(speaks.tolist()):
        start, stop = (min(0.0, value) - low, max(0.0, value) - low) if value == value else (0, 0)
        left, width = placed(start, stop, axis)
        row = int(confusion.rows[place])
        concepts.append(
            Speaking(
                row,
                _shown_by(row, confusion, merged, names),
                number(value, signed=True),
                left,
                width,
                value < 0.0,
                _levels(confusion, place, actual.name, predicted.name),
            )
        )
    return Pair(
        actual,
        predicted,
        confusion.number,
        confusion.labelled,
        percent(confusion.number / confusion.labelled) if confusion.labelled else "",
        confusion.images,
        strip_path(confusion) if confusion.pictures else None,
        min(len(confusion.pictures), PICTURES),
        concepts,
        len(confusion.rows) - len(concepts),
    )


def _shown_by(
    row: int, confusion: Confusion, merged: MergedConcepts | None, names: Mapping[int, Named]
) -> Member | None:
    """The member of a merged concept whose crops show it: of B where there is one, else of A."""
    if merged is None:
        return None
    places = [int(place) for place in merged.members(row)]
    wanted = [confusion.predicted, confusion.actual]

    def how_near(place: int) -> int:
        class_id = int(merged.classes[place])
        return wanted.index(class_id) if class_id in wanted else len(wanted)

    nearest = min(places, key=how_near, default=None)
    return None if nearest is None else member_of(merged, nearest, names)


def _levels(confusion: Confusion, place: int, actual: str, predicted: str) -> list[Level]:
    """The three mean coefficients of a concept, on an axis of their own."""
    values = [
        (None, float(confusion.in_confused[place])),
        (actual, float(confusion.in_actual[place])),
        (predicted, float(confusion.in_predicted[place])),
    ]
    axis = max([0.0, *(value for _, value in values if np.isfinite(value))]) or 1.0
    return [
        Level(
            rightly,
            number(value, 3) if np.isfinite(value) else "no such image",
            placed(0.0, value, axis)[1] if np.isfinite(value) else 0.0,
        )
        for rightly, value in values
    ]
