"""
What the methods that draw share: images in chunks, groups of draws, every subset of the concepts.

Draws fall into independent groups, from which the estimation interval comes (see `base`).
"""

from collections.abc import Callable

import numpy as np

from ..gates.coded import Coded
from .base import Values
from .designs import group_sizes

_ENTRIES_AT_ONCE = 8_000_000  # of gates, or of a kernel, that are held for a batch


def chunks(coded: Coded, entries: int) -> list[Coded]:
    """A batch in parts of as many images as the memory allows, `entries` numbers for each image."""
    n, size = len(coded.targets), max(1, _ENTRIES_AT_ONCE // entries)
    if size >= n:
        return [coded]
    return [coded.rows(np.arange(i, min(i + size, n))) for i in range(0, n, size)]


def in_chunks(coded: Coded, entries: int, function: Callable[[Coded], Values]) -> Values:
    """What a function gives of a batch, asked of its `chunks` one after the other."""
    return Values.joined([function(part) for part in chunks(coded, entries)])


def all_subsets(number_of_concepts: int) -> np.ndarray:
    """(2^k, k) bool: in row s, concept j is there where bit j of s is set."""
    k = number_of_concepts
    return (np.arange(2**k)[:, None] >> np.arange(k) & 1).astype(bool)


def sums_of_groups(terms: np.ndarray) -> np.ndarray:
    """Sums (r, n, k) over each group of draws, of terms (n, draws, k)."""
    starts = np.concatenate([[0], np.cumsum(group_sizes(terms.shape[1]))[:-1]])
    return np.moveaxis(np.add.reduceat(terms, starts, axis=1, dtype=np.float64), 1, 0)


def mean_of_draws(terms: np.ndarray) -> Values:
    """Means over the draws of terms (n, draws, k), and the same without each group."""
    number, sums = terms.shape[1], sums_of_groups(terms)
    total, sizes = sums.sum(axis=0), group_sizes(number)
    if len(sizes) == 1:  # leaving the only one out leaves nothing
        return Values(total / number)
    return Values(total / number, (total - sums) / (number - sizes)[:, None, None])
