"""
Orders of the concepts: at random, those that ties allow, and the best and worst by all sets.

With S the set of open gates, an order opens one concept after the other, S_0 = {}, ..., S_k = all.
The area under f(S_0), ..., f(S_k) is, but for the ends, the sum of f over the sets on the way. Its
largest is found by dynamic programming over all 2^k sets,

    V(S) = f(S) + max over j in S of V(S without j),

and the smallest with min. Closing concepts in an order is opening them in its reverse.
"""

import numpy as np

from .._random import Draw, keyed_bits
from ..importance._draws import all_subsets

MOST_TIED = 24  # orders that ties allow, of which the mean is taken; of more, so many are drawn


def random_orders(seed: int, indices: np.ndarray, number: int, k: int) -> np.ndarray:
    """(n, number, k): orders of the concepts drawn for each image, whose numbers are `indices`."""
    keys = (indices[:, None, None], np.arange(number)[:, None], np.arange(k))
    return keyed_bits(seed, Draw.CONCEPT_ORDERS, *keys).argsort(axis=-1)


# -------------------------------------------------------------------------------------------- ties
def number_of_orders(importances: np.ndarray) -> np.ndarray:
    """How many orders, the largest first, rows (m, k) allow: (m,), 1 where no two are equal."""
    return _places_in_ties(-np.sort(-importances, axis=1)).prod(axis=1, dtype=np.float64)


def weights_of_orders(allowed: np.ndarray, number: int) -> np.ndarray:
    """(m, number): what each of the `tied_orders` counts, given `number_of_orders`, (m,)."""
    return (np.arange(number) < allowed[:, None]) / np.minimum(allowed, number)[:, None]


def tied_orders(importances: np.ndarray, seed: int, indices: np.ndarray, number: int) -> np.ndarray:
    """
    Orders of decreasing importance, all that ties allow, or draws of them.

    Parameters
    ----------
    importances
        (m, k).
    seed, indices
        Draws are keyed by them: the numbers (m,) of the images.
    number
        How many orders are given for each row: 1 where no row has ties, else even.

    Returns
    -------
    orders
        (m, number, k): of a row that allows at most so many orders, each of them once, and then
        some again; of others, draws of them, every second one with all ties reversed, so that the
        mean area is exact where concepts do not interact.
    """
    k = importances.shape[1]
    order = np.argsort(-importances, axis=1, kind="stable")
    places = _places_in_ties(np.take_along_axis(importances, order, axis=1))
    orders = np.repeat(order[:, None], number, axis=1)
    # Each concept changes places with one of its tie before it, or stays: all permutations, once.
    rest = np.broadcast_to(np.arange(number), orders.shape[:2])
    for place in range(1, k):
        rest, back = np.divmod(rest, places[:, place, None])
        other = place - back[..., None]
        moved = np.take_along_axis(orders, other, axis=2)
        np.put_along_axis(orders, other, orders[..., place, None], axis=2)
        orders[..., place, None] = moved
    many = places.prod(axis=1, dtype=np.float64) > number
    if many.any():
        keys = (indices[many, None, None], np.arange(number // 2)[:, None], np.arange(k))
        bits = keyed_bits(seed, Draw.TIED_ORDERS, *keys)
        bits = np.concatenate([bits, ~bits], axis=1)
        orders[many] = np.lexsort((bits, np.broadcast_to(-importances[many, None], bits.shape)))
    return orders


def _places_in_ties(ordered: np.ndarray) -> np.ndarray:
    """(m, k): the how manyth of its tie each is, from 1, of rows whose equal entries are side by
    side; so their product is the number of orders."""
    places = np.ones(ordered.shape, int)
    for j in range(1, ordered.shape[1]):
        places[:, j] += np.where(ordered[:, j] == ordered[:, j - 1], places[:, j - 1], 0)
    return places


# ---------------------------------------------------------------------------------------- all sets
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


def along_slopes(closed: np.ndarray, slopes: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """The same of f_x(m) = b + sum_j c_j m_j, with b (n,) and c (n, k)."""
    steps = np.take_along_axis(slopes[:, None], orders, axis=-1)
    gained = np.cumsum(steps, axis=-1)
    gained = np.concatenate([np.zeros_like(gained[..., :1]), gained], axis=-1)
    return closed[:, None, None] + gained
