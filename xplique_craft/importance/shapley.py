"""
Shapley values of the gates (Shapley, 1953): every concept's share of f_x(1) - f_x(0).

    phi_j = sum over S without j of |S|! (k - |S| - 1)! / k! [f_x(S and j) - f_x(S)],

with f_x(S) all gates of S open and the others closed. Each of three ways adds up to f_x(1) - f_x(0)
by construction: c_j where h is affine; all 2^k subsets for up to 12 concepts; else the mean over
random permutations of what a concept adds to those before it, each permutation taken with its
reverse, for which the errors of pairwise interactions cancel (antithetic sampling, Mitchell et al.,
JMLR 2022).
"""

import math
from dataclasses import dataclass

import numpy as np

from .._checks import check
from .._random import keyed_bits
from ..gates.coded import Coded
from ..gates.head import GatedHead
from ._draws import all_subsets, in_chunks, mean_of_draws
from .base import ImportanceMethod, Values

MOST_ENUMERATED = 12  # concepts: 4,096 subsets


def subset_weights(number_of_concepts: int) -> np.ndarray:
    """(2^k, k): weights of f_x(S) in phi_j, subsets in the order of `all_subsets`."""
    k = number_of_concepts
    subsets = all_subsets(k)
    without = np.array([1.0 / (k * math.comb(k - 1, size)) for size in range(k)])
    sizes = subsets.sum(axis=1)[:, None]
    return np.where(subsets, without[np.maximum(sizes - 1, 0)], -without[np.minimum(sizes, k - 1)])


@dataclass(eq=False, repr=False)
class ShapleyImportance(ImportanceMethod):
    """
    Shapley values: the mean of what a concept adds to the score over all orders of the concepts.

    Signed, and they add up to f_x(1) - f_x(0). Exact where h is affine, and for up to 12 concepts,
    from all 2^k subsets, an evaluation of the head each; else from random permutations, in 8
    independent groups.

    Parameters
    ----------
    craft, keep_residual, batch_size, operator, seed
        Every importance method takes these; `ImportanceMethod` says what they do.
    nb_permutations
        How many orders of the concepts are drawn for each image, each with its reverse; more of
        them give narrower intervals, for 2 nb_permutations (k - 1) + 2 evaluations. Not used where
        the values are exact.
    """

    nb_permutations: int = 64

    method = "shapley"
    signed = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nb_permutations = check("nb_permutations", self.nb_permutations)

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        k = coded.number_of_concepts
        if head.is_affine(coded):
            return Values(head.affine_slopes(coded), exact=True)
        if k <= MOST_ENUMERATED:
            return in_chunks(coded, 2**k * k, lambda part: self._enumerated(part, head))
        masks = 2 * self.nb_permutations * (k - 1) + 2
        return in_chunks(coded, masks * k, lambda part: self._sampled(part, head))

    def _enumerated(self, coded: Coded, head: GatedHead) -> Values:
        k = coded.number_of_concepts
        values = head.evaluate(coded, all_subsets(k)).astype(np.float64)
        # Differences from f_x(0), so that what does not depend on the gates does not round.
        return Values((values - values[:, :1]) @ subset_weights(k), exact=True)

    def _sampled(self, coded: Coded, head: GatedHead) -> Values:
        n, k, pairs = len(coded.targets), coded.number_of_concepts, self.nb_permutations
        image = coded.indices[:, None, None]
        keys = keyed_bits(self.seed, image, np.arange(pairs)[:, None], np.arange(k))
        place = keys.argsort(axis=-1).argsort(axis=-1)  # (n, pairs, k): of each concept
        place = np.stack([place, k - 1 - place], axis=2)  # and in the reverse
        between = place[..., None, :] < np.arange(1, k)[:, None]  # (n, pairs, 2, k - 1, k)
        ends = np.broadcast_to(np.array([[False], [True]]), (n, 2, k))
        gates = np.concatenate([ends, between.reshape(n, -1, k)], axis=1)
        values = head.evaluate(coded, gates).astype(np.float64)
        path = np.empty((n, pairs, 2, k + 1))
        path[..., 0], path[..., -1] = values[:, :1, None], values[:, 1:2, None]
        path[..., 1:-1] = values[:, 2:].reshape(n, pairs, 2, k - 1)
        added = np.take_along_axis(np.diff(path, axis=-1), place, axis=-1)
        return mean_of_draws(added.mean(axis=2))
