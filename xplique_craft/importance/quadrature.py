"""
Integrals over [0, 1] of many slopes at once, image by image, each with an error of its own.

First a rule for smooth slopes: Kronrod's 15 points with Gauss's 7 among them. How far the two are
apart is the error that is stated, for each integrand by itself.

Where that is too much, most often because ReLUs switch on the way and slopes jump, [0, 1] is halved
and halved again, those parts only whose errors matter. On a part that is h wide and known at both
ends and in the middle, Simpson's rule and the trapezoid's are |S - T| apart: h / 3 times the jump
where there is one, wherever it is, which is the most that S can be off, and twice what it is off
on average over places. Errors of different parts do not know of each other, so their squares add.

As the integrands are the slopes of a score along the way, their sum is known from what the score
gains on a part. What is missing of that, and no stated error accounts for, shows peaks and jumps
between all points: there parts are halved too. Nobody knows whose it is, so all errors grow by it.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

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
EDGE = 2.0**-20  # how far the ends stay within [0, 1]: at 0 itself ReLUs have no slope
NARROWEST = 2.0**-16  # parts are not halved below: float32 tells few numbers in them apart
ROUNDING = 1e-6  # of the larger of |f_x(0)| and |f_x(1)|: float32's own, no point removes it

SlopesAt = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


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
    """Parts of [0, 1], a row each, known at their start, middle and end."""

    image: np.ndarray  # (m,): which image's
    start: np.ndarray  # (m,)
    width: np.ndarray  # (m,)
    slopes: np.ndarray  # (m, 3, k)
    scores: np.ndarray  # (m, 3)

    def __getitem__(self, rows: np.ndarray) -> "_Parts":
        return _Parts(*(getattr(self, field.name)[rows] for field in fields(self)))

    def halves(self, slopes: np.ndarray, scores: np.ndarray) -> "_Parts":
        """The halves, first all left ones, with what was found in the middle of each."""
        m = len(self.image)

        def three(known: np.ndarray, middle: np.ndarray) -> np.ndarray:
            left = [known[:, 0], middle[:m], known[:, 1]]
            right = [known[:, 1], middle[m:], known[:, 2]]
            return np.concatenate([np.stack(left, axis=1), np.stack(right, axis=1)])

        half = 0.5 * self.width
        return _Parts(
            np.tile(self.image, 2),
            np.concatenate([self.start, self.start + half]),
            np.tile(half, 2),
            three(self.slopes, slopes),
            three(self.scores, scores),
        )

    def __add__(self, more: "_Parts") -> "_Parts":
        pairs = ((getattr(self, field.name), getattr(more, field.name)) for field in fields(self))
        return _Parts(*(np.concatenate(pair) for pair in pairs))

    def integrals(self, rounding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and errors, (m, k) each, given what scores of each image (n,) are rounded by."""
        width = self.width[:, None]
        first, middle, last = np.moveaxis(self.slopes, 1, 0)
        values = width / 6.0 * (first + 4.0 * middle + last)
        errors = np.abs(values - width / 2.0 * (first + last))
        missing = np.abs(self.scores[:, 2] - self.scores[:, 0] - values.sum(axis=1))
        return values, errors + unexplained(missing, errors, rounding[self.image])


def unexplained(missing: np.ndarray, errors: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """(m, 1): what of a missing sum (m,) neither errors (m, k) nor rounding (m,) account for."""
    return np.maximum(missing - errors.sum(axis=1) - rounding, 0.0)[:, None]


def integrate(slopes_at: SlopesAt, ends: np.ndarray, tolerance: float) -> Integrals:
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

    Returns
    -------
    integrals
        Values, errors and points. An image that was still above the tolerance after 4,096 points
        says so by its errors.
    """
    n, rise = len(ends), ends[:, 1] - ends[:, 0]
    rounding = ROUNDING * np.abs(ends).max(axis=1)
    images = np.arange(n)
    slopes, _ = slopes_at(np.repeat(images, len(NODES)), np.tile(NODES, n))
    values, coarse = np.einsum("rq,nqk->rnk", RULES, slopes.reshape(n, len(NODES), -1))
    errors = np.abs(values - coarse)
    errors += unexplained(np.abs(rise - values.sum(axis=1)), errors, rounding)
    points = np.full(n, len(NODES))

    going = np.flatnonzero(_too_far(values, errors, tolerance, rounding))
    if len(going):
        found = _halved(slopes_at, going, rounding, tolerance, points)
        values[going], errors[going] = found
        missing = np.abs(rise - values.sum(axis=1))[going]
        errors[going] += unexplained(missing, errors[going], rounding[going])
    return Integrals(values, errors + rounding[:, None], points)


def _halved(
    slopes_at: SlopesAt,
    images: np.ndarray,
    rounding: np.ndarray,
    tolerance: float,
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors (m, k) of some images (m,), by halving; their points are counted."""
    n = len(points)
    parts = _first_parts(slopes_at, images)
    points[images] += 2 * FIRST_PARTS + 1
    while True:
        each, off = parts.integrals(rounding)
        values = _per_image(each, parts.image, n)
        errors = np.sqrt(_per_image(off**2, parts.image, n))
        going = _too_far(values, errors, tolerance, rounding)
        allowed = tolerance * np.abs(values).max(axis=1)
        chosen = _to_halve(parts, off.max(axis=1), going, allowed, points)
        if not chosen.any():
            return values[images], errors[images]
        wide = parts[chosen]
        quarters = np.concatenate([wide.start + 0.25 * wide.width, wide.start + 0.75 * wide.width])
        halves = wide.halves(*slopes_at(np.tile(wide.image, 2), quarters))
        points += 2 * np.bincount(wide.image, minlength=n)
        parts = parts[~chosen] + halves


def _first_parts(slopes_at: SlopesAt, images: np.ndarray) -> _Parts:
    """Equal parts of [0, 1] for each of the images (m,)."""
    m, nodes = len(images), np.linspace(0.0, 1.0, 2 * FIRST_PARTS + 1)
    within = np.clip(nodes, EDGE, 1.0 - EDGE)
    slopes, scores = slopes_at(np.repeat(images, len(nodes)), np.tile(within, m))
    three = 2 * np.arange(FIRST_PARTS)[:, None] + np.arange(3)
    return _Parts(
        np.repeat(images, FIRST_PARTS),
        np.tile(nodes[:-1:2], m),
        np.full(m * FIRST_PARTS, 1.0 / FIRST_PARTS),
        slopes.reshape(m, len(nodes), -1)[:, three].reshape(m * FIRST_PARTS, 3, -1),
        scores.reshape(m, len(nodes))[:, three].reshape(m * FIRST_PARTS, 3),
    )


def _too_far(
    values: np.ndarray, errors: np.ndarray, tolerance: float, rounding: np.ndarray
) -> np.ndarray:
    """(n,) bool: whose errors are above what is allowed."""
    largest = np.abs(values).max(axis=1)
    return errors.max(axis=1) > np.maximum(tolerance * largest, rounding)


def _to_halve(
    parts: _Parts, errors: np.ndarray, going: np.ndarray, allowed: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """
    (m,) bool: of each image that goes on, the parts with the largest errors (m,), until those of
    the others come to half of what is allowed (n,), as long as there are points left.
    """
    errors = np.where(parts.width > NARROWEST, errors, 0.0)
    order = np.lexsort((errors, parts.image))  # the images' parts together, the best ones first
    image, squares = parts.image[order], errors[order] ** 2
    first = np.searchsorted(image, image)  # where those of its image begin, and end
    last = np.searchsorted(image, image, side="right") - 1
    total = np.cumsum(squares)
    up_to = total - total[first] + squares[first]
    chosen = going[image] & (squares > 0.0) & (up_to > 0.25 * allowed[image] ** 2)
    chosen &= last - np.arange(len(image)) < (MOST_POINTS - points[image]) // 2
    halved = np.zeros(len(image), bool)
    halved[order] = chosen
    return halved


def _per_image(values: np.ndarray, image: np.ndarray, n: int) -> np.ndarray:
    """Sums (n, k) of the rows (m, k) of each image."""
    sums = np.zeros((n, values.shape[1]))
    np.add.at(sums, image, values)
    return sums
