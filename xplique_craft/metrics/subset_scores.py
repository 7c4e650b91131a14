"""
Scores f_x of sets of concepts: along orders of them, and the orders that are best and worst.

With S the set of open gates, an order opens one concept after the other, S_0 = {}, ..., S_k = all.
The area under f_x(S_0), ..., f_x(S_k) is, but for the ends, the sum of f_x over the sets on the
way. Where the head is affine it is largest when concepts open by decreasing slope. Elsewhere the
largest is found by dynamic programming over all 2^k sets,

    V(S) = f_x(S) + max over j in S of V(S without j),

and the smallest with min. Closing concepts in an order is opening them in its reverse.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from .._once import cached_property
from .._random import Draw, keyed_bits
from ..concept_model import ConceptModel
from ..gates import Coded
from ..importance._draws import all_subsets, chunks
from ..importance.shapley import MOST_ENUMERATED

MOST_KEPT = 2**28  # bytes of encoded images that are kept between calls
_ORDERED_AT_ONCE = 64  # images whose best and worst orders are looked for together


def extreme_order(table: np.ndarray, *, highest: bool) -> np.ndarray:
    """
    The order in which opening concepts gives the largest, or the smallest, area.

    Parameters
    ----------
    table
        (n, 2^k): f_x of every set, in the order of `all_subsets`.
    highest
        Whether the largest is wanted.

    Returns
    -------
    order
        (n, k): concepts, the first to open first.
    """
    n, number = table.shape
    k = number.bit_length() - 1
    subsets = all_subsets(k)
    sizes = subsets.sum(axis=1)
    sign = 1.0 if highest else -1.0
    best = sign * table.astype(np.float64)
    last = np.zeros((n, number), np.int8)
    for size in range(1, k + 1):
        of_size = np.flatnonzero(sizes == size)
        before = best[:, of_size[:, None] ^ (1 << np.arange(k))]  # garbage where j is not in S
        before = np.where(subsets[of_size], before, -np.inf)
        last[:, of_size] = before.argmax(axis=2)
        best[:, of_size] += before.max(axis=2)
    order = np.empty((n, k), int)
    at = np.full(n, number - 1)
    for place in range(k - 1, -1, -1):
        order[:, place] = last[np.arange(n), at]
        at ^= 1 << order[:, place]
    return order


def along_table(table: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """f_x (n, r, k + 1) along orders (n, r, k), from f_x of every set, (n, 2^k)."""
    opened = np.cumsum(1 << orders, axis=-1)
    sets = np.concatenate([np.zeros_like(opened[..., :1]), opened], axis=-1)
    return np.take_along_axis(table[:, None].astype(np.float64), sets, axis=-1)


def subset_sums(values: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """
    Sums (n, r, q) of values (n, r, k) over subsets (n, q, k).

    Added up concept by concept, so that the same subset has the same sum to the last bit.
    """
    total = np.zeros((*values.shape[:2], subsets.shape[1]))
    for j in range(values.shape[2]):
        total += np.where(subsets[:, None, :, j], values[:, :, j, None], 0.0)
    return total


def random_orders(seed: int, indices: np.ndarray, number: int, k: int) -> np.ndarray:
    """(n, number, k): orders of the concepts drawn for each image, whose numbers are `indices`."""
    keys = (indices[:, None, None], np.arange(number)[:, None], np.arange(k))
    return keyed_bits(seed, Draw.CONCEPT_ORDERS, *keys).argsort(axis=-1)


class SubsetScores:
    """
    Scores of some images with some of their concepts.

    Images are encoded when the first score is asked for. Of an affine head nothing but its slopes
    is kept; else the encoded images are, up to 256 MB in all. If they need more, none is kept, and
    each question encodes them again.

    Parameters
    ----------
    concept_model
        The concepts, with the residual kept or not.
    inputs, targets
        The images, and which score is meant; a dataset's labels where there are no targets.
    operator
        What makes the score, see `activated_operator`.
    description
        What the progress bar calls it.
    """

    def __init__(
        self,
        concept_model: ConceptModel,
        inputs: Any,
        targets: Any,
        operator: Callable[..., Any] | None,
        description: str,
    ) -> None:
        self._model, self._inputs, self._targets = concept_model, inputs, targets
        self._description = description
        self._head = concept_model.head(operator)
        self.number_of_concepts = len(concept_model.bank)

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
            self._inputs, self._targets, use_labels=True, description=self._description
        )

    def _batches(self) -> Iterator[Coded]:
        """The images in terms of concepts, in parts, of a head that is not affine."""
        return iter(self._read.kept) if self._read.kept is not None else self._encoded()

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
    def rounding(self) -> float:
        """Differences of scores below this share of the largest are rounding."""
        return 1e-12 if self.slopes is not None else self._head.rounding

    # --------------------------------------------------------------------------------- questions
    def along(self, orders: np.ndarray) -> np.ndarray:
        """f_x (n, r, k + 1) while concepts open in orders (n, r, k), float64."""
        if self.slopes is not None:
            steps = np.take_along_axis(self.slopes[:, None], orders, axis=-1)
            gained = np.cumsum(steps, axis=-1)
            gained = np.concatenate([np.zeros_like(gained[..., :1]), gained], axis=-1)
            return self.closed[:, None, None] + gained
        k = self.number_of_concepts
        curves = np.empty((*orders.shape[:2], k + 1))
        curves[..., 0], curves[..., -1] = self.closed[:, None], self.opened[:, None]
        places = orders.argsort(axis=-1)  # of each concept

        def between(some: slice) -> np.ndarray:
            opened = places[some, :, None] < np.arange(1, k)[:, None]
            return opened.reshape(len(opened), -1, k)

        if k > 1:
            inner = self._evaluated(between, orders.shape[1] * (k - 1))
            curves[..., 1:-1] = inner.reshape(*orders.shape[:2], k - 1)
        return curves

    def lost_without(self, subsets: Callable[[np.ndarray], np.ndarray], number: int) -> np.ndarray:
        """
        f_x(1) - f_x(1 without S), (n, q), for q subsets S of each image.

        `subsets` gives those of images by their numbers, (b,) -> (b, q, k) bool.
        """
        if self.slopes is not None:
            return subset_sums(self.slopes[:, None], subsets(np.arange(len(self.slopes))))[:, 0]
        values = self._evaluated(lambda some: ~subsets(np.arange(some.start, some.stop)), number)
        return self.opened[:, None] - values

    @cached_property
    def table(self) -> np.ndarray | None:
        """(n, 2^k): f_x of every set; None of affine heads, and for more than 12 concepts."""
        k = self.number_of_concepts
        if k > MOST_ENUMERATED or self.slopes is not None:
            return None
        subsets = all_subsets(k)
        return self._evaluated(lambda _: subsets, len(subsets)).astype(np.float32)

    @cached_property
    def extremes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """
        f_x (n, k + 1) along the orders of the smallest and of the largest area; None where they are
        not known: the head is not affine and there are more than 12 concepts.
        """
        if self.slopes is not None:
            orders = [(sign * self.slopes).argsort(axis=1, kind="stable") for sign in (1, -1)]
            low, high = (self.along(order[:, None])[:, 0] for order in orders)
            return low, high
        if self.table is None:
            return None
        found = []
        for highest in (False, True):
            curves = []
            for i in range(0, len(self.table), _ORDERED_AT_ONCE):
                part = self.table[i : i + _ORDERED_AT_ONCE]
                order = extreme_order(part, highest=highest)
                curves.append(along_table(part, order[:, None])[:, 0])
            found.append(np.concatenate(curves))
        return found[0], found[1]

    def at_random(self, seed: int, number: int) -> np.ndarray:
        """f_x (n, number, k + 1) along random orders of the concepts, other ones for each image."""
        indices = np.arange(self.number_of_images)
        orders = random_orders(seed, indices, number, self.number_of_concepts)
        if self.table is not None:
            return along_table(self.table, orders)
        return self.along(orders)

    def _evaluated(self, gates: Callable[[slice], np.ndarray], number: int) -> np.ndarray:
        """
        f_x (n, number) float64 at the gates that a function gives for consecutive images,
        (b, number, k), or (number, k) for all.
        """
        values, seen = [], 0
        for coded in self._batches():
            for part in chunks(coded, number * self.number_of_concepts):
                some = slice(seen, seen + len(part.targets))
                seen = some.stop
                values.append(self._head.evaluate(part, gates(some)).astype(np.float64))
        return np.concatenate(values)


class _Read:
    """What the first pass finds, batch by batch; `kept` are the images, None where too many."""

    def __init__(self) -> None:
        self.slopes: list[np.ndarray] = []
        self.closed: list[np.ndarray] = []
        self.opened: list[np.ndarray] = []
        self.kept: list[Coded] | None = None


def _bytes(coded: Coded) -> int:
    tensors = {id(one): one for one in (coded.gated, coded.constant)}
    return sum(int(tf.size(one)) * one.dtype.size for one in tensors.values())


def _lean(coded: Coded) -> Coded:
    """Without what no score needs; the head was compared with itself on the activations before."""
    return replace(
        coded,
        images=np.empty((len(coded.images), 0, 0, 0), np.float32),
        activations=coded.constant,
        u=coded.gated,
    )
