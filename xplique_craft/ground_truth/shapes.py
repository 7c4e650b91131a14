"""
Images whose concepts are known: coloured shapes, what class they speak for, and where they are.

Each image shows some of seven shapes and, or not, stripes on its background. Five of the shapes
speak for classes, each with a weight for each class; an image's *planted score* of a class is the
sum of the weights of the shapes in it, and its label the class with the largest. Two shapes and the
stripes speak for none. So it is known what matters, how much, and at which pixels; and because the
same picture can be drawn once more without one concept, what that concept does to a network's score
can be measured, not assumed.

Sets of this kind are due to PACE (Wang et al., 2024, arXiv 2406.12649: colours that make up
classes) and ECLAD (Posada-Moreno et al., 2022, arXiv 2206.04531: parts that matter and parts that
do not, with their pixels).

Everything of image i is drawn from (seed, i): it does not depend on how many images there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from .._checks import check, check_concept, check_int
from .._random import Draw, keyed_bits

SIDE = 64
"""Height and width of an image, in pixels."""

MOST = 20_000  # images at a time: 330 MB
MARGIN = 0.5  # by which the largest planted score exceeds the next
CLASS_NAMES = ("A", "B", "C", "D")

# Concept -> its planted weight for each class. Each class has a strong cue, a weaker and a weak
# one; chosen so that their mean effects on the class's images differ by a factor of 1.8 or more.
_WEIGHTS = {
    "red disc": (4.0, 1.6, 0.0, 3.0),
    "blue square": (3.2, 4.8, 0.0, 0.0),
    "green triangle": (0.0, 2.6, 4.4, 1.8),
    "yellow cross": (1.2, 0.0, 2.0, 0.0),
    "magenta ring": (0.0, 0.0, 1.8, 5.2),
    "white bar": (0.0, 0.0, 0.0, 0.0),
    "black disc": (0.0, 0.0, 0.0, 0.0),
    "stripes": (0.0, 0.0, 0.0, 0.0),
}
CONCEPT_NAMES = tuple(_WEIGHTS)
WEIGHTS = np.array(list(_WEIGHTS.values()))
"""(concepts, classes): what a concept adds to the planted score of each class."""

_COLOURS = np.array(
    [
        *([210, 50, 50], [50, 70, 210], [50, 175, 60], [210, 195, 50], [200, 60, 190]),
        *([220, 220, 220], [35, 35, 35]),
    ]
)
_SHAPES = len(_COLOURS)  # concepts that are shapes; the stripes come after them
_STRIPES = _SHAPES
_CUES = int(np.any(WEIGHTS != 0.0, axis=1).sum())
_CENTRES = np.array([12.0, 32.0, 52.0])  # of the 3 x 3 places that shapes are put at
_SHIFT, _RADII = 3.0, (7.0, 9.0)  # so that neighbours overlap at times, and none hides another
_TINT, _NOISE, _CONTRAST = 12, 15, 22  # colours never leave [0, 255], and never meet
_BLOCK = 128  # images drawn at once


@dataclass(frozen=True)
class Shapes:
    """
    Images of coloured shapes with all that is known of them; `make_shapes` makes them.

    Parameters
    ----------
    images
        (n, 64, 64, 3) uint8, as the networks of `load_shapes_model` take them.
    labels
        (n,): the class of each, the one with the largest planted score.
    present
        (n, concepts) bool: which concepts were drawn.
    seen
        (n, 64, 64) int8: which concept is seen at each pixel, -1 for none.
    seed
        What they were drawn from.
    """

    images: np.ndarray
    labels: np.ndarray
    present: np.ndarray
    seen: np.ndarray
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the concepts."""
        return CONCEPT_NAMES

    @property
    def weights(self) -> np.ndarray:
        """(concepts, classes): what each concept adds to the planted score of each class."""
        return WEIGHTS

    @property
    def scores(self) -> np.ndarray:
        """(n, classes): the planted scores."""
        return self.present @ WEIGHTS

    @property
    def masks(self) -> np.ndarray:
        """(n, concepts, 64, 64) bool: the pixels at which each concept is seen, none of two."""
        return self.seen[:, None] == np.arange(len(CONCEPT_NAMES))[:, None, None]

    def without(self, concept: int) -> np.ndarray:
        """
        The same images with one concept left away, drawn once more.

        Parameters
        ----------
        concept
            Which one, by its index among `names`. What it hid is seen in its place; every other
            pixel stays as it is, and so do images that did not hold it.

        Returns
        -------
        images
            (n, 64, 64, 3) uint8.
        """
        concept = check_concept("concept", concept, len(CONCEPT_NAMES))
        present = self.present.copy()
        present[:, concept] = False
        return _draw(self.seed, present)[0]


def make_shapes(n: int, *, seed: int = 0, class_id: int | None = None) -> Shapes:
    """
    Draw images of coloured shapes.

    Parameters
    ----------
    n
        How many images; `make_shapes(3)` are the first three of `make_shapes(5)`.
    seed
        Draws other images for another number; 0 or more.
    class_id
        The class of all images, 0 to 3; None draws a class for each.

    Returns
    -------
    shapes
        The images, their labels, and which concept is where.

    Raises
    ------
    TypeError, ValueError
        If a number is no integer or out of range: at most 20,000 images are drawn at a time.
    """
    n, seed = check_int("n", n, 1, MOST), check("seed", seed)
    chance = _uniform(seed, np.arange(n), 5, slot=0)
    labels = np.floor(chance[:, 0] * len(CLASS_NAMES)).astype(int)
    if class_id is not None:
        labels[:] = check_int("class_id", class_id, 0, len(CLASS_NAMES) - 1)
    present = np.zeros((n, len(CONCEPT_NAMES)), bool)
    for one, combinations in enumerate(_combinations()):
        rows = np.flatnonzero(labels == one)
        drawn = np.floor(chance[rows, 1] * len(combinations)).astype(int)
        present[rows, :_CUES] = combinations[drawn]
    present[:, _CUES:] = chance[:, 2:5] < 0.5
    images, seen = _draw(seed, present)
    return Shapes(images, labels, present, seen, seed)


@cache
def _combinations() -> tuple[np.ndarray, ...]:
    """For each class (m, 5) bool: the cues that may stand together in an image of it."""
    every = np.array(list(product([False, True], repeat=_CUES)))
    scores = every @ WEIGHTS[:_CUES]
    second, first = np.sort(scores, axis=1)[:, -2:].T
    clear = first - second >= MARGIN
    return tuple(every[clear & (scores.argmax(axis=1) == c)] for c in range(len(CLASS_NAMES)))


def _uniform(seed: int, images: np.ndarray, number: int, slot: int) -> np.ndarray:
    """(n, number): uniform in [0, 1), from `slot` on of each image's own numbers."""
    bits = keyed_bits(seed, Draw.SHAPES, images[:, None], slot + np.arange(number)[None])
    return (bits >> np.uint64(11)) * 2.0**-53


def _draw(seed: int, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 64, 64, 3) uint8 of the concepts that are present, and which is seen where."""
    images = np.empty((len(present), SIDE, SIDE, 3), np.uint8)
    seen = np.empty((len(present), SIDE, SIDE), np.int8)
    for start in range(0, len(present), _BLOCK):
        some = slice(start, start + _BLOCK)
        numbers = np.arange(start, start + len(present[some]))
        images[some], seen[some] = _draw_block(seed, numbers, present[some])
    return images, seen


def _draw_block(
    seed: int, numbers: np.ndarray, present: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The images of these numbers; what is drawn at random is the same whatever is present."""
    n = len(numbers)
    chance = _uniform(seed, numbers, 80, slot=5)
    place = np.argsort(chance[:, :9], axis=1)[:, :_SHAPES]
    depth, radius, angle = chance[:, 9:30].reshape(n, 3, _SHAPES).transpose(1, 0, 2)
    shift = (chance[:, 30:44].reshape(n, _SHAPES, 2) * 2.0 - 1.0) * _SHIFT
    tint = np.floor((chance[:, 44:65] * 2.0 - 1.0) * (_TINT + 0.999)).reshape(n, _SHAPES, 3)
    centre = np.stack([_CENTRES[place // 3], _CENTRES[place % 3]], axis=-1) + shift
    covered = _covered(centre, _RADII[0] + radius * (_RADII[1] - _RADII[0]), angle)
    covered &= present[:, :_SHAPES, None, None]
    # The nearest of those that cover a pixel is seen there.
    nearness = np.where(covered, depth[:, :, None, None] + 1.0, 0.0)
    seen = np.where(nearness.max(axis=1) > 0.0, nearness.argmax(axis=1), -1)
    striped = (seen < 0) & present[:, _STRIPES, None, None]
    colours = np.clip(_COLOURS + tint, 0, 255)
    ground = np.floor(105.0 + 45.0 * chance[:, 65])[:, None, None]
    ground = ground + np.where(striped, _CONTRAST * _stripes(chance[:, 66:69]), 0.0)
    inside = np.take_along_axis(
        colours[:, None, None], np.maximum(seen, 0)[..., None, None], axis=3
    )[..., 0, :]
    image = np.where((seen >= 0)[..., None], inside, ground[..., None])
    seen[striped] = _STRIPES
    return (image + _noise(seed, numbers)).astype(np.uint8), seen.astype(np.int8)


def _covered(centre: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(n, shapes, 64, 64) bool: the pixels that each shape would cover, were it the nearest."""
    along = np.arange(SIDE) + 0.5
    dy = ((along - centre[..., 0, None]) / radius[..., None])[..., :, None]
    dx = ((along - centre[..., 1, None]) / radius[..., None])[..., None, :]
    turned = (angle * 2.0 - 1.0) * np.pi / 9.0
    cos, sin = np.cos(turned)[..., None, None], np.sin(turned)[..., None, None]
    y, x = cos * dy - sin * dx, sin * dy + cos * dx
    return np.stack([inside(y[:, j], x[:, j]) for j, inside in enumerate(_INSIDE)], axis=1)


def _disc(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return y**2 + x**2 <= 1.0


def _square(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(y), np.abs(x)) <= 0.85


def _triangle(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    slope = np.sqrt(3.0) / 2.0
    return (y <= 0.6) & (slope * x - 0.5 * y <= 0.6) & (-slope * x - 0.5 * y <= 0.6)


def _cross(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    long, short = np.maximum(np.abs(y), np.abs(x)), np.minimum(np.abs(y), np.abs(x))
    return (long <= 1.0) & (short <= 0.35)


def _ring(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    square = y**2 + x**2
    return (square <= 1.0) & (square >= 0.55**2)


def _bar(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (np.abs(x) <= 1.1) & (np.abs(y) <= 0.4)


_INSIDE: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    *(_disc, _square, _triangle, _cross, _ring, _bar, _disc),
)


def _stripes(chance: np.ndarray) -> np.ndarray:
    """(n, 64, 64): 1 and -1 in turns, across the image at some angle, 3 to 5 pixels wide."""
    turned, phase = np.pi * chance[:, 0, None, None], 2.0 * np.pi * chance[:, 1, None, None]
    width = (3.0 + 2.0 * chance[:, 2])[:, None, None]
    along = np.arange(SIDE) + 0.5
    across = np.cos(turned) * along[:, None] + np.sin(turned) * along[None, :]
    return np.where(np.sin(np.pi * across / width + phase) >= 0.0, 1.0, -1.0)


def _noise(seed: int, numbers: np.ndarray) -> np.ndarray:
    """(n, 64, 64, 3): whole numbers from -15 to 15, one of each pixel and colour."""
    bits = keyed_bits(seed, Draw.SHAPES, numbers[:, None], 1000 + np.arange(SIDE**2)[None])
    channels = bits[..., None] >> np.array([8, 24, 40], np.uint64) & np.uint64(0xFFFF)
    drawn = (channels * np.uint64(2 * _NOISE + 1) >> np.uint64(16)).astype(int) - _NOISE
    return drawn.reshape(len(numbers), SIDE, SIDE, 3)
