"""
Integrals over [0, 1] of many slopes at once, image by image, each with an error of its own.

First a rule for smooth slopes: Kronrod's 15 points with Gauss's 7 among them. How far the two are
apart is an error, for each integrand by itself. Two rules can agree by chance where slopes jump; so
nine more points are asked, at irregular places, how far they are from the polynomial through the
15. The larger of the two errors is stated.

Where that is too much, most often because ReLUs switch on the way, [0, 1] is halved and halved
again, those parts only whose errors matter. On a part that is h wide and known at both ends and
near the middle, the parabola's integral S and the trapezoid's T are apart by about h / 3 times the
jump where there is one, wherever it is, which is the most that S can be off. No place is round, so
that steps at eighths or tenths are not met always on the same side. Where halving moved S, neither
half is trusted to be much better, however well its own three points agree. Errors of different
parts do not know of each other, so their squares add; SAFETY times the root is stated.

As the integrands are the slopes of a score along the way, their sum is known from what the score
gains on a part. What is missing of that, and no stated error accounts for, shows peaks and jumps
between all points: there parts are halved too. Nobody knows whose it is, so all errors grow by it.
Peaks of two concepts that cancel, narrower than what lies between points, stay unseen.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from scipy.interpolate import BarycentricInterpolator

# The positive nodes on [-1, 1] and their weights, the middle last: of Kronrod's 15 points, and of
# Gauss's 7 among them.
_NODES = [
    0.991455371120812639206854697526329,
    0.949107912342758524526189684047851,
    0.864864423359769072789712788640926,
    0.741531185599394439863864773280788,
    0.586087235467691130294144691945413,
    0.405845151377397166906606412076961,
    0.207784955007898467600689403773245,
]
_KRONROD = [
    0.022935322010529224963732008058970,
    0.063092092629978553290700663189204,
    0.104790010322250183839876322541518,
    0.140653259715525918745189590510238,
    0.169004726639267902826583426598550,
    0.190350578064785409913256402421014,
    0.204432940075298892414161999234649,
    0.209482141084727828012999174891714,
]
_GAUSS = [
    0.0,
    0.129484966168869693270611432679082,
    0.0,
    0.279705391489276667901467771423780,
    0.0,
    0.381830050505118944950369775488975,
    0.0,
    0.417959183673469387755102040816327,
]
NODES = 0.5 + 0.5 * np.array([*(-x for x in _NODES), 0.0, *_NODES[::-1]])  # (15,) on [0, 1]
RULES = 0.5 * np.array([[*half, *half[-2::-1]] for half in (_KRONROD, _GAUSS)])  # (2, 15)

FIRST_PARTS = 4
MOST_POINTS = 4096  # an image gets no more
MOST_IMAGES = 64  # at a time: parts are held in memory
EDGE = 2.0**-20  # how far the ends stay within [0, 1]: at 0 itself ReLUs have no slope
NARROWEST = 2.0**-16  # parts are not halved below: float32 tells few numbers in them apart
ROUNDING = 1e-6  # of the larger of |f_x(0)| and |f_x(1)|: float32's own, no point removes it
SAFETY = 2.0  # times the root of the squares: what is stated
IRREGULAR = 0.16  # how far, of its width, a part is cut from its middle, at most twice that apart
DISTRUST = 0.25  # of what halving a part moved: the least error of each half
LEAST_GAIN, MOST_STALLS = 0.9, 8  # given up after 8 rounds in a row that gain under 10%

SlopesAt = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _irregular(numbers: np.ndarray) -> np.ndarray:
    """A number in [-0.5, 0.5) for each whole number: always the same, and without order."""
    return np.modf(numbers * 0.6180339887498949)[0] - 0.5


_CUTS = np.arange(FIRST_PARTS + 1) / FIRST_PARTS
_CUTS[1:-1] += IRREGULAR / FIRST_PARTS * _irregular(np.arange(1, FIRST_PARTS))
_FIRST = np.arange(FIRST_PARTS) + FIRST_PARTS  # numbers of the parts; halves have 2 i and 2 i + 1


def _middle(number: np.ndarray) -> np.ndarray:
    """Where parts of these numbers are cut, as a share of their width."""
    return 0.5 + IRREGULAR * _irregular(number)


PLACES: np.ndarray = np.zeros(2 * FIRST_PARTS + 1)  # of the irregular points, ends included
PLACES[::2] = _CUTS
PLACES[1::2] = _CUTS[:-1] + np.diff(_CUTS) * _middle(_FIRST)
PLACES = np.clip(PLACES, EDGE, 1.0 - EDGE)
_POLYNOMIAL = BarycentricInterpolator(NODES, np.eye(len(NODES)))(PLACES)  # (9, 15)


@dataclass(frozen=True)
class Integrals:
    """
    Integrals and their errors.

    Parameters
    ----------
    values
        (n, k).
    errors
        (n, k): how far each value may be off, as estimated.
    points
        (n,): how many points of [0, 1] each image was given.
    """

    values: np.ndarray
    errors: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class _Parts:
    """Parts of [0, 1], a row each, known at their start, where they are cut, and their end."""

    image: np.ndarray  # (m,): which image's
    number: np.ndarray  # (m,): of the part, see _FIRST
    start: np.ndarray  # (m,)
    width: np.ndarray  # (m,)
    slopes: np.ndarray  # (m, 3, k)
    scores: np.ndarray  # (m, 3)
    least: np.ndarray  # (m, k): errors are not below

    def __getitem__(self, rows: np.ndarray) -> "_Parts":
        return _Parts(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __add__(self, more: "_Parts") -> "_Parts":
        pairs = ((getattr(self, field.name), getattr(more, field.name)) for field in fields(self))
        return _Parts(*(np.concatenate(pair) for pair in pairs))

    def halves(self, slopes_at: SlopesAt) -> "_Parts":
        """The halves, first all left ones."""
        left = self.width * _middle(self.number)
        number = np.concatenate([2 * self.number, 2 * self.number + 1])
        start = np.concatenate([self.start, self.start + left])
        width = np.concatenate([left, self.width - left])
        image = np.tile(self.image, 2)
        slopes, scores = slopes_at(image, start + width * _middle(number))
        m = len(self.image)

        def three(known: np.ndarray, middle: np.ndarray) -> np.ndarray:
            first = [known[:, 0], middle[:m], known[:, 1]]
            second = [known[:, 1], middle[m:], known[:, 2]]
            return np.concatenate([np.stack(first, axis=1), np.stack(second, axis=1)])

        halves = _Parts(
            image,
            number,
            start,
            width,
            three(self.slopes, slopes),
            three(self.scores, scores),
            np.zeros_like(slopes),
        )
        values = halves.values()
        moved = np.abs(self.values() - values[:m] - values[m:])
        halves.least[:] = DISTRUST * np.tile(moved, (2, 1))
        return halves

    def values(self) -> np.ndarray:
        """(m, k): integrals of the parabolas through the three points."""
        cut = _middle(self.number)[:, None]
        weight = 1.0 / (6.0 * cut * (1.0 - cut))
        first, middle, last = np.moveaxis(self.slopes, 1, 0)
        ends = (0.5 - weight * (1.0 - cut)) * first + (0.5 - weight * cut) * last
        return self.width[:, None] * (ends + weight * middle)

    def errors(self, values: np.ndarray, rounding: np.ndarray) -> np.ndarray:
        """(m, k), given the values and what scores of each image (n,) are rounded by."""
        first, _, last = np.moveaxis(self.slopes, 1, 0)
        errors = np.abs(values - 0.5 * self.width[:, None] * (first + last))
        errors = np.maximum(errors, self.least)
        missing = np.abs(self.scores[:, 2] - self.scores[:, 0] - values.sum(axis=1))
        return errors + unexplained(missing, errors, rounding[self.image])


def unexplained(missing: np.ndarray, errors: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """(m, 1): what of a missing sum (m,) neither errors (m, k) nor rounding (m,) account for."""
    return np.maximum(missing - errors.sum(axis=1) - rounding, 0.0)[:, None]


def integrate(
    slopes_at: SlopesAt, ends: np.ndarray, tolerance: float, rounding: float = ROUNDING
) -> Integrals:
    """
    Integrals of the slopes over [0, 1], image by image.

    Parameters
    ----------
    slopes_at
        (images (m,), nodes (m,)) -> slopes (m, k), and the scores (m,) that they add up to the
        slope of.
    ends
        (n, 2): the scores at 0 and at 1.
    tolerance
        Largest error of an integral, as a share of the image's largest |integral|, at which the
        image gets no more points.
    rounding
        What scores are rounded by, as a share of the larger of the ends: nothing below is looked
        for. Slopes are rounded by as much of the largest, and errors are not less.

    Returns
    -------
    integrals
        Values, errors and points. An image that was still above the tolerance after 4,096 points,
        or that more points did not help, says so by its errors.
    """
    found = []
    for first in range(0, len(ends), MOST_IMAGES):

        def some_at(
            rows: np.ndarray, nodes: np.ndarray, first: int = first
        ) -> tuple[np.ndarray, np.ndarray]:
            return slopes_at(rows + first, nodes)

        found.append(_integrate(some_at, ends[first : first + MOST_IMAGES], tolerance, rounding))
    return Integrals(
        np.concatenate([one.values for one in found]),
        np.concatenate([one.errors for one in found]),
        np.concatenate([one.points for one in found]),
    )


def _integrate(
    slopes_at: SlopesAt, ends: np.ndarray, tolerance: float, rounding: float
) -> Integrals:
    n, rise = len(ends), ends[:, 1] - ends[:, 0]
    rounded = rounding * np.abs(ends).max(axis=1)
    nodes = np.concatenate([NODES, PLACES])
    slopes, scores = slopes_at(np.repeat(np.arange(n), len(nodes)), np.tile(nodes, n))
    slopes, scores = slopes.reshape(n, len(nodes), -1), scores.reshape(n, len(nodes))
    smooth, irregular = slopes[:, : len(NODES)], slopes[:, len(NODES) :]
    values, coarse = np.einsum("rq,nqk->rnk", RULES, smooth)
    away = np.abs(irregular - np.einsum("pq,nqk->npk", _POLYNOMIAL, smooth)).mean(axis=1)
    errors = np.maximum(np.abs(values - coarse), away)
    errors += unexplained(np.abs(rise - values.sum(axis=1)), errors, rounded)
    points = np.full(n, len(nodes))

    going = np.flatnonzero(_too_far(values, errors, tolerance, rounded))
    if len(going):
        parts = _first_parts(going, irregular[going], scores[going, len(NODES) :])
        values[going], errors[going] = _halved(slopes_at, parts, going, rounded, tolerance, points)
        missing = np.abs(rise - values.sum(axis=1))[going]
        errors[going] += unexplained(missing, errors[going], rounded[going])
    return Integrals(values, errors + rounding * np.abs(values).max(axis=1)[:, None], points)


def _first_parts(images: np.ndarray, slopes: np.ndarray, scores: np.ndarray) -> _Parts:
    """The parts between the irregular places, given slopes (m, 9, k) and scores (m, 9) there."""
    m = len(images)
    three = 2 * np.arange(FIRST_PARTS)[:, None] + np.arange(3)
    return _Parts(
        np.repeat(images, FIRST_PARTS),
        np.tile(_FIRST, m),
        np.tile(_CUTS[:-1], m),
        np.tile(np.diff(_CUTS), m),
        slopes[:, three].reshape(m * FIRST_PARTS, 3, -1),
        scores[:, three].reshape(m * FIRST_PARTS, 3),
        np.zeros((m * FIRST_PARTS, slopes.shape[-1])),
    )


def _halved(
    slopes_at: SlopesAt,
    parts: _Parts,
    images: np.ndarray,
    rounding: np.ndarray,
    tolerance: float,
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors (m, k) of some images (m,), by halving; their points are counted."""
    n, k = len(points), parts.slopes.shape[-1]
    values, errors = np.zeros((n, k)), np.zeros((n, k))
    going = np.zeros(n, bool)
    stalls: np.ndarray = np.zeros(n, int)
    last: np.ndarray = np.full(n, np.inf)
    going[images] = True
    while True:
        each = parts.values()
        off = parts.errors(each, rounding)
        values[going] = _per_image(each, parts.image, n)[going]
        errors[going] = SAFETY * np.sqrt(_per_image(off**2, parts.image, n))[going]
        worst = errors.max(axis=1)
        stalls = np.where(worst > LEAST_GAIN * last, stalls + 1, 0)
        last = worst
        going &= _too_far(values, errors, tolerance, rounding) & (stalls < MOST_STALLS)
        parts, off = parts[going[parts.image]], off[going[parts.image]]
        allowed = tolerance * np.abs(values).max(axis=1) / SAFETY
        errors_of = np.where(parts.width > NARROWEST, off.max(axis=1), 0.0)
        chosen = _to_halve(parts.image, errors_of, allowed, points)
        if not chosen.any():
            return values[images], errors[images]
        going[:] = False
        going[parts.image[chosen]] = True
        points += 2 * np.bincount(parts.image[chosen], minlength=n)
        parts = parts[~chosen & going[parts.image]] + parts[chosen].halves(slopes_at)


def _too_far(
    values: np.ndarray, errors: np.ndarray, tolerance: float, rounding: np.ndarray
) -> np.ndarray:
    """(n,) bool: whose errors are above what is allowed, and above what scores are rounded by."""
    largest = np.abs(values).max(axis=1)
    return errors.max(axis=1) > np.maximum(tolerance * largest, rounding)


def _to_halve(
    images: np.ndarray, errors: np.ndarray, allowed: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """
    (m,) bool: of the parts of each of the images (m,), those with the largest errors (m,), until
    those of the others come to half of what is allowed (n,), as long as there are points left.
    """
    scale = np.zeros(len(points))
    np.maximum.at(scale, images, errors)
    scale[scale == 0.0] = 1.0  # sums go over images: each counts in units of its own
    order = np.lexsort((errors, images))  # the images' parts together, the best ones first
    image = images[order]
    squares = (errors[order] / scale[image]) ** 2
    first = np.searchsorted(image, image)  # where those of its image begin, and end
    last = np.searchsorted(image, image, side="right") - 1
    total = np.cumsum(squares)
    up_to = total - total[first] + squares[first]
    chosen = (squares > 0.0) & (up_to > 0.25 * (allowed / scale)[image] ** 2)
    chosen &= last - np.arange(len(image)) < (MOST_POINTS - points[image]) // 2
    halved = np.zeros(len(image), bool)
    halved[order] = chosen
    return halved


def _per_image(values: np.ndarray, image: np.ndarray, n: int) -> np.ndarray:
    """Sums (n, k) of the rows (m, k) of each image."""
    sums = np.zeros((n, values.shape[1]))
    np.add.at(sums, image, values)
    return sums
