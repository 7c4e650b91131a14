"""
Scores f_x of sets of concepts, along orders of them, and along the best and the worst orders.

Where the head is affine the best order opens concepts by decreasing slope; one order for all images
is best by decreasing sum of slopes, for areas are compared by sums over images. Elsewhere both are
found by all 2^k sets of up to 12 concepts (see `orders`), that for all images by sums over them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from .._once import cached_property
from ..concept_model import ConceptModel
from ..gates import Coded
from ..importance._draws import all_subsets, chunks
from ..importance.shapley import MOST_ENUMERATED
from ..sampling import Stream
from .orders import along_slopes, along_table, extreme_order, random_orders
from .ranks_and_areas import ROUNDING

MOST_KEPT = 2**28  # bytes of encoded images that are kept between calls
MOST_ENTRIES = 2_000_000  # numbers of orders, or of sets, that are held at once

Drawn = Callable[[np.ndarray], np.ndarray]  # numbers of images (b,) -> (b or 1, ..., k)


def blocks(n: int, entries: int) -> Iterator[np.ndarray]:
    """Numbers of n images, as many at once as memory allows, `entries` numbers for each image."""
    size = max(1, MOST_ENTRIES // max(1, entries))
    return (np.arange(i, min(i + size, n)) for i in range(0, n, size))


def subset_sums(values: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """
    Sums (n, r, q) of values (n or 1, r, k) over subsets (n, q, k).

    Added up concept by concept, so that the same subset has the same sum to the last bit.
    """
    total = np.zeros((len(subsets), values.shape[1], subsets.shape[1]))
    for j in range(values.shape[2]):
        total += np.where(subsets[:, None, :, j], values[:, :, j, None], 0.0)
    return total


@dataclass(frozen=True)
class Compared:
    """
    f_x summed over the images, with 0, ..., k open gates, that an importance is compared with.

    Parameters
    ----------
    random
        (draws, k + 1): of random orders.
    lowest, highest
        (k + 1,): of the orders of the smallest and of the largest area; None where they are not
        known: the head is not affine and there are more than 12 concepts.
    """

    random: np.ndarray
    lowest: np.ndarray | None = None
    highest: np.ndarray | None = None


class SubsetScores:
    """
    Scores of some images with some of their concepts.

    Images are encoded when the first score is asked for. Of an affine head nothing but its slopes
    is kept, k numbers for each image; else the encoded images are, up to 256 MB in all. If they
    need more, none is kept, and each question encodes them again. Whatever is asked is worked out
    in blocks of images, and nothing else stays but two scores of each.

    Parameters
    ----------
    concept_model
        The concepts, with the residual kept or not.
    stream, targets
        The images, and which score is meant; a dataset's labels where there are no targets. The
        stream is the same for all passes, so that it tells when images come in another order.
    operator
        What makes the score, see `activated_operator`.
    description
        What the progress bar calls it.
    seed, number_of_draws
        Of the random orders.
    """

    def __init__(
        self,
        concept_model: ConceptModel,
        stream: Stream,
        targets: Any,
        operator: Callable[..., Any] | str | None,
        description: str,
        seed: int,
        number_of_draws: int,
    ) -> None:
        self._model, self._stream, self._targets = concept_model, stream, targets
        self._description = description
        self._head = concept_model.head(operator)
        self.number_of_concepts = len(concept_model.bank)
        self._seed, self._draws = seed, number_of_draws

    # ------------------------------------------------------------------------ what was read once
    @cached_property
    def _read(self) -> "_Read":
        """The first pass over the images."""
        found, kept = _Read(), list[Coded]()
        room: float = MOST_KEPT
        for coded in self._encoded():
            if self._head.is_affine(coded):
                slopes, closed = self._head.affine_form(coded)
                found.slopes.append(slopes)
                opened = closed + slopes.sum(axis=1)
            else:
                closed, opened = self._head.ends(coded)
                room -= _bytes(coded)
                if room >= 0:
                    kept.append(_lean(coded))
                else:
                    kept.clear()
            found.closed.append(closed.astype(np.float64))
            found.opened.append(opened.astype(np.float64))
        found.kept = kept if room >= 0 else None
        return found

    def _encoded(self) -> Iterator[Coded]:
        return self._model.batches(
            self._stream, self._targets, use_labels=True, description=self._description
        )

    @cached_property
    def slopes(self) -> np.ndarray | None:
        """(n, k): c of f_x(m) = b + sum_j c_j m_j; None where the head is not affine."""
        return np.concatenate(self._read.slopes) if self._read.slopes else None

    @cached_property
    def closed(self) -> np.ndarray:
        """(n,): f_x(0)."""
        return np.concatenate(self._read.closed)

    @cached_property
    def opened(self) -> np.ndarray:
        """(n,): f_x(1)."""
        return np.concatenate(self._read.opened)

    @property
    def number_of_images(self) -> int:
        """n."""
        return len(self.closed)

    @property
    def rounding(self) -> np.ndarray:
        """(n,): differences of an image's scores below this are rounding."""
        size = np.maximum(np.abs(self.opened), np.abs(self.closed))
        if self.slopes is None:
            return self._head.rounding * size
        return np.maximum(ROUNDING * np.abs(self.slopes).sum(axis=1), 1e-12 * size)

    # --------------------------------------------------------------------------------- questions
    def along(self, orders: Drawn, number: int) -> Iterator[np.ndarray]:
        """
        f_x (b, number, k + 1), float64, of consecutive images while concepts open in orders, which
        a function gives of images by their numbers: (b, number, k), or (1, number, k) for all.
        """
        k = self.number_of_concepts
        if self.slopes is not None:
            for some in blocks(self.number_of_images, number * (k + 1)):
                yield along_slopes(self.closed[some], self.slopes[some], orders(some))
            return
        for part in self._parts(number * (k - 1) * k):
            curves = np.empty((len(part.indices), number, k + 1))
            curves[..., 0] = self.closed[part.indices, None]
            curves[..., -1] = self.opened[part.indices, None]
            if k > 1:
                places = orders(part.indices).argsort(axis=-1)  # of each concept
                gates = places[:, :, None] < np.arange(1, k)[:, None]
                inner = self._evaluate(part, gates.reshape(len(gates), -1, k))
                curves[..., 1:-1] = inner.reshape(-1, number, k - 1)
            yield curves

    def lost_without(self, subsets: Drawn, number: int) -> Iterator[np.ndarray]:
        """
        f_x(1) - f_x(1 without S), (b, q), of consecutive images, for q subsets S of each.

        `subsets` gives those of images by their numbers, (b,) -> (b, q, k) bool.
        """
        entries = number * self.number_of_concepts
        if self.slopes is not None:
            for some in blocks(self.number_of_images, entries):
                yield subset_sums(self.slopes[some, None], subsets(some))[:, 0]
            return
        for part in self._parts(entries):
            values = self._evaluate(part, ~subsets(part.indices))
            yield self.opened[part.indices, None] - values

    @cached_property
    def of_each(self) -> Compared:
        """With an order for each image."""
        if self.slopes is not None:
            slopes = self.slopes

            def rising(some: np.ndarray) -> np.ndarray:
                return slopes[some, None].argsort(axis=-1, kind="stable")

            random = self._summed(self._at_random, self._draws)
            lowest = self._summed(rising, 1)[0]
            highest = self._summed(lambda some: rising(some)[..., ::-1], 1)[0]
            return Compared(random, lowest, highest)
        if self.number_of_concepts <= MOST_ENUMERATED:
            return self._by_all_sets[0]
        return Compared(self._summed(self._at_random, self._draws))

    @cached_property
    def of_all(self) -> Compared:
        """With one order for all images."""
        orders = self._at_random(np.zeros(1, int))
        if self.slopes is not None:
            closed, slopes = self.closed.sum(keepdims=True), self.slopes.sum(axis=0, keepdims=True)
            both = ((sign * slopes[:, None]).argsort(kind="stable") for sign in (1.0, -1.0))
            ends = (along_slopes(closed, slopes, order) for order in both)
            return Compared(along_slopes(closed, slopes, orders)[0], *(one[0, 0] for one in ends))
        if self.number_of_concepts <= MOST_ENUMERATED:
            total = self._by_all_sets[1][None]
            both = (extreme_order(total, highest=highest)[:, None] for highest in (False, True))
            ends = (along_table(total, order) for order in both)
            return Compared(along_table(total, orders)[0], *(one[0, 0] for one in ends))
        return Compared(self._summed(lambda _: orders, self._draws))

    @cached_property
    def _by_all_sets(self) -> tuple[Compared, np.ndarray]:
        """What `of_each` is, and f_x of all sets summed over the images, (2^k,)."""
        subsets = all_subsets(self.number_of_concepts)
        size = self.number_of_concepts + 1
        random, total = np.zeros((self._draws, size)), np.zeros(len(subsets))
        lowest, highest = np.zeros(size), np.zeros(size)
        for part in self._parts(subsets.size):
            table = self._evaluate(part, subsets[None])
            total += table.sum(axis=0)
            random += along_table(table, self._at_random(part.indices)).sum(axis=0)
            for end, is_highest in ((lowest, False), (highest, True)):
                order = extreme_order(table, highest=is_highest)
                end += along_table(table, order[:, None]).sum(axis=(0, 1))
        return Compared(random, lowest, highest), total

    # ----------------------------------------------------------------------------------- inside
    def _at_random(self, indices: np.ndarray) -> np.ndarray:
        return random_orders(self._seed, indices, self._draws, self.number_of_concepts)

    def _summed(self, orders: Drawn, number: int) -> np.ndarray:
        """(number, k + 1): `along` orders, summed over the images."""
        total = np.zeros((number, self.number_of_concepts + 1))
        for curves in self.along(orders, number):
            total += curves.sum(axis=0)
        return total

    def _parts(self, entries: int) -> Iterator[Coded]:
        """The images in parts, `entries` numbers for each, of a head that is not affine."""
        for coded in self._encoded() if self._read.kept is None else self._read.kept:
            yield from chunks(coded, max(1, entries))

    def _evaluate(self, part: Coded, gates: np.ndarray) -> np.ndarray:
        """f_x (b, number) float64 at gates (b, number, k), or (1, number, k) for all."""
        values = self._head.evaluate(part, gates[0] if len(gates) == 1 else gates)
        return values.astype(np.float64)


class _Read:
    """What the first pass finds, batch by batch; `kept` are the images, None where too many."""

    def __init__(self) -> None:
        self.slopes: list[np.ndarray] = []
        self.closed: list[np.ndarray] = []
        self.opened: list[np.ndarray] = []
        self.kept: list[Coded] | None = None


def _bytes(coded: Coded) -> int:
    tensors = {id(one): one for one in (coded.gated, coded.constant, coded.kkt)}
    known = sum(int(tf.size(one)) * one.dtype.size for one in tensors.values())
    return known + coded.targets.nbytes + coded.indices.nbytes


def _lean(coded: Coded) -> Coded:
    """Without what no score needs; the head was compared with itself on the activations before."""
    return replace(
        coded,
        images=np.empty((len(coded.images), 0, 0, 0), np.float32),
        activations=coded.constant,
        u=coded.gated,
    )
