"""
What the numbers of extraction are ratios of: sums over the positions of each image.

Being sums, they can be taken batch by batch and over some of the images; so plain arrays and a
stream of images have the same numbers, and these have intervals over images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from .._random import Draw, keyed_bits
from ..sampling.rows import Reservoir

MOST_ROWS = 1000  # that are compared with each other: the time grows with their third power

Ratio = tuple[np.ndarray, np.ndarray]  # numerators and denominators, (n,) each
Sums = TypeVar("Sums", "RebuiltSums", "CoefficientSums")


@dataclass(frozen=True)
class RebuiltSums:
    """
    Of each image, sums over its positions.

    Parameters
    ----------
    residual
        (n,): ||a - rebuilt||^2.
    square
        (n,): ||a||^2.
    rows
        (n, c): a.
    positions
        (n,): 1.
    """

    residual: np.ndarray
    square: np.ndarray
    rows: np.ndarray
    positions: np.ndarray

    @classmethod
    def of(cls, activations: np.ndarray, rebuilt: np.ndarray) -> "RebuiltSums":
        """Of activations and what they were rebuilt as, (n, ..., c) each."""
        a, b = (_by_image(values).astype(np.float64) for values in (activations, rebuilt))
        positions = np.full(len(a), a.shape[1], np.float64)
        residual, square = np.square(a - b).sum((1, 2)), np.square(a).sum((1, 2))
        return cls(residual, square, a.sum(1), positions)

    @property
    def error(self) -> Ratio:
        """Of which the root is the relative error."""
        return self.residual, self.square

    @property
    def unexplained(self) -> Ratio:
        """1 - R2."""
        mean = self.rows.sum(0) / self.positions.sum()
        total = self.square - 2.0 * self.rows @ mean + self.positions * (mean @ mean)
        # What is left of rounding where all activations are the same is not their variation.
        rounding = 1e-12 * self.square.sum()
        return self.residual, total if total.sum() > rounding else np.zeros(len(total))

    @property
    def error_by_image(self) -> np.ndarray:
        """(n,): the relative error of each image; 0 where there is nothing to explain."""
        known = np.where(self.square > 0.0, self.square, 1.0)
        nothing = np.where(self.residual > 0.0, np.inf, 0.0)
        return np.where(self.square > 0.0, np.sqrt(self.residual / known), nothing)


@dataclass(frozen=True)
class CoefficientSums:
    """
    Of each image, sums over its positions.

    Parameters
    ----------
    zeros
        (n,): coefficients that are 0.
    entries
        (n,): all coefficients.
    hoyer
        (n,): Hoyer's sparsity of the positions at which some coefficient is not 0.
    used
        (n,): how many positions these are; 0 where there is one concept only.
    present
        (n, k): whether each concept is anywhere in the image.
    """

    zeros: np.ndarray
    entries: np.ndarray
    hoyer: np.ndarray
    used: np.ndarray
    present: np.ndarray

    @classmethod
    def of(cls, u: np.ndarray) -> "CoefficientSums":
        """Of coefficients (n, ..., k)."""
        u = np.abs(_by_image(u).astype(np.float64))
        k = u.shape[2]
        largest = u.max(axis=2, keepdims=True)
        used = largest[..., 0] > 0.0
        if k == 1:  # sqrt(k) - 1 is 0: of one number there is no sparsity
            used = np.zeros_like(used)
        unit = u / np.where(largest > 0.0, largest, 1.0)  # whose squares do not underflow
        length = np.sqrt(np.square(unit).sum(2))
        hoyer = np.sqrt(k) - unit.sum(2) / np.where(used, length, 1.0)
        hoyer = np.where(used, hoyer / (np.sqrt(max(k, 2)) - 1.0), 0.0)
        return cls(
            zeros=(u == 0.0).sum((1, 2)).astype(np.float64),
            entries=np.full(len(u), u.shape[1] * k, np.float64),
            hoyer=hoyer.sum(1),
            used=used.sum(1).astype(np.float64),
            present=np.asarray((u > 0.0).any(axis=1)),
        )

    @property
    def dead(self) -> list[int]:
        """Concepts that are nowhere."""
        return np.flatnonzero(~self.present.any(axis=0)).tolist()


def joined(parts: Sequence[Sums]) -> Sums:
    """The sums of all images, of those of one batch after the other."""
    names = [field.name for field in fields(parts[0])]
    every = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return type(parts[0])(**every)


def _by_image(values: np.ndarray) -> np.ndarray:
    """(n, ..., c) -> (n, positions, c)."""
    return values.reshape(len(values), -1, values.shape[-1])


# -------------------------------------------------------------------------- rows that are compared
@dataclass(frozen=True)
class ComparedRows:
    """
    Rows of activations beside what they were rebuilt as.

    Parameters
    ----------
    images
        (m,): the image that each row is of.
    rows, rebuilt
        (m, c).
    """

    images: np.ndarray
    rows: np.ndarray
    rebuilt: np.ndarray

    @property
    def moved(self) -> Ratio:
        """Of which the ratio is the 1-Wasserstein distance over the rows' mean norm."""
        cost = cdist(self.rows, self.rebuilt)
        where = linear_sum_assignment(cost)
        norms = np.sqrt(np.square(self.rows.astype(np.float64)).sum(1))
        return self._by_image(cost[where]), self._by_image(norms)

    @property
    def far(self) -> Ratio:
        """Distances of rebuilt and of real rows to the nearest real ones of other images."""
        own = self.images[:, None] == self.images
        if own.all():
            nothing = np.zeros(1)
            return nothing, nothing
        found = []
        for rows in (self.rebuilt, self.rows):
            distances = cdist(rows, self.rows)
            distances[own] = np.inf
            found.append(self._by_image(distances.min(axis=1)))
        return found[0], found[1]

    def _by_image(self, values: np.ndarray) -> np.ndarray:
        """Sums of values (m,) over the rows of each image that there are."""
        _, image = np.unique(self.images, return_inverse=True)
        return np.bincount(image, weights=values)


def row_reservoir() -> Reservoir:
    """Where `add_rows` keeps the rows that are compared."""
    return Reservoir(MOST_ROWS)


def add_rows(
    kept: Reservoir, images: np.ndarray, activations: np.ndarray, rebuilt: np.ndarray, seed: int
) -> None:
    """Add the positions of images with these numbers (n,), drawn by the seed and their number."""
    a, b = _by_image(activations), _by_image(rebuilt)
    keys = keyed_bits(seed, Draw.COMPARED_ROWS, images[:, None], np.arange(a.shape[1]))
    smallest = np.sort(np.argsort(keys, axis=None, kind="stable")[:MOST_ROWS])
    i, p = np.divmod(smallest, a.shape[1])
    kept.add(keys[i, p], images[i], a[i, p], b[i, p])
