"""The thumbnails of a class: one sheet, a column for each concept, its best crops from the top."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from ..results import ClassExplanation
from .sections import key_of

SIDE = 72  # pixels of a thumbnail
CROPS = 3  # of each concept
MOST = 500  # concepts on a sheet: a JPEG has at most 65,535 pixels a side
EMPTY = "#8a919c"  # where a concept has no crop, and beside pictures that are not square
QUALITY = 78


@dataclass(frozen=True)
class Sheet:
    """
    The sheet of thumbnails of a class, and which concept is where on it.

    Parameters
    ----------
    path
        The file, from the atlas's folder.
    key
        Under which a browser keeps the names that a reader gave to the class's concepts.
    concepts
        The concept of each column, by its index in the bank: the order of the class's cards.
    crops
        How many crops each column has.
    """

    path: str
    key: str
    concepts: tuple[int, ...]
    crops: tuple[int, ...]

    def column(self, concept: int) -> int | None:
        """The column of a concept; None where it has no crop."""
        if concept not in self.concepts or not self.crops[self.concepts.index(concept)]:
            return None
        return self.concepts.index(concept)


def sheet_of(explanation: ClassExplanation, path: str) -> tuple[Sheet, bytes]:
    """The sheet of a class that is to be at `path`, and the JPEG itself."""
    cards = explanation.cards[:MOST]
    crops = [card.crops[:CROPS] for card in cards]
    sheet = Sheet(
        path,
        key_of(explanation),
        tuple(card.concept for card in cards),
        tuple(len(column) for column in crops),
    )
    drawn = Image.new("RGB", (SIDE * max(1, len(cards)), SIDE * CROPS), EMPTY)
    for place, column in enumerate(crops):
        for row, crop in enumerate(column):
            square = ImageOps.fit(_image(crop), (SIDE, SIDE), Image.Resampling.LANCZOS)
            drawn.paste(square, (SIDE * place, SIDE * row))
    return sheet, _jpeg(drawn)


def strip_of(pictures: Sequence[np.ndarray], side: int) -> bytes:
    """Whole pictures, uint8 (height, width, 3) each, in a row of squares of a side, as a JPEG."""
    drawn = Image.new("RGB", (side * len(pictures), side), EMPTY)
    for place, picture in enumerate(pictures):
        square = ImageOps.pad(_image(picture), (side, side), Image.Resampling.LANCZOS, color=EMPTY)
        drawn.paste(square, (side * place, 0))
    return _jpeg(drawn)


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()
