"""
Banzhaf values of the gates (Banzhaf, 1965; Wang and Jia, Data Banzhaf, AISTATS 2023): what a
concept adds to the score, the others being there or not as a coin falls.

    beta_j = 2^-(k-1) sum over S without j of [f_x(S and j) - f_x(S)]
    I_ij   = 2^-(k-2) sum over S without i, j of [f_x(S, i, j) - f_x(S, i) - f_x(S, j) + f_x(S)]

With z = 1 for concepts in S and -1 for the others these are beta_j = 2 E[z_j f_x(S)] and
I_ij = 4 E[z_i z_j f_x(S)], over all 2^k sets S alike. Drawn sets come in pairs, S and the concepts
that are not in S: in half the difference of the scores of a pair, d = [f_x(S) - f_x(rest)] / 2,
even interactions cancel, and in half their sum, e, odd ones do, single concepts among them. So

    msr      beta_j = 2 mean(z_j d), each set used for every concept (maximum sample reuse)
    kernel   least squares, d = sum_j (beta_j / 2) z_j (Liu et al., Kernel Banzhaf, 2024): exact
             where f_x is additive, and more accurate the more of it is
    pairs    I_ij = 4 cov(z_i z_j, e): exactly 0 where f_x is additive
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from .._checks import check, check_choice
from .._intervals import bootstrap_mean
from .._random import Draw, keyed_bits
from ..gates.coded import Coded
from ..gates.head import GatedHead
from ..results import ConceptInteractions
from ._draws import all_subsets, chunks, in_chunks
from .base import ImportanceMethod, Values, jackknife_interval
from .designs import group_sizes
from .shapley import MOST_ENUMERATED

ESTIMATORS = ("kernel", "msr")


def by_subsets(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """beta (n, k) and I (n, k, k) of f_x (n, 2^k), all sets in the order of `all_subsets`."""
    number = values.shape[1]
    k = number.bit_length() - 1
    z = 2.0 * all_subsets(k) - 1.0
    # Differences from f_x(0), so that what does not depend on the gates does not round.
    values = values.astype(np.float64) - values[:, :1]
    products = (z[:, :, None] * z[:, None]).reshape(number, k * k)
    pairs = (4.0 / number * (values @ products)).reshape(-1, k, k) * (1.0 - np.eye(k))
    return 2.0 / number * (values @ z), pairs


@dataclass(frozen=True)
class _Sums:
    """
    Sums over some pairs of sets, of n images: their number, z d, z z^T, z z^T e and e. Least
    squares, means and covariances are made of them, with and without each group.
    """

    number: int
    odd: np.ndarray
    gram: np.ndarray
    even: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, z: np.ndarray, d: np.ndarray, e: np.ndarray) -> "_Sums":
        """Of signs z (n, pairs, k), and d and e (n, pairs)."""
        zt = z.swapaxes(1, 2)
        return cls(
            z.shape[1],
            (zt @ d[..., None])[..., 0],
            zt @ z,
            (zt * e[:, None]) @ z,
            e.sum(axis=1)[:, None, None],
        )

    def __add__(self, other: "_Sums") -> "_Sums":
        return self._with(other, 1)

    def __sub__(self, other: "_Sums") -> "_Sums":
        return self._with(other, -1)

    def _with(self, other: "_Sums", sign: int) -> "_Sums":
        return _Sums(
            self.number + sign * other.number,
            self.odd + sign * other.odd,
            self.gram + sign * other.gram,
            self.even + sign * other.even,
            self.level + sign * other.level,
        )

    def main(self, estimator: str) -> np.ndarray:
        """beta (n, k)."""
        if estimator == "msr":
            return 2.0 * self.odd / self.number
        inverse = np.linalg.pinv(self.gram, hermitian=True)
        return 2.0 * (inverse @ self.odd[..., None])[..., 0]

    def pairs(self) -> np.ndarray:
        """I (n, k, k), 0 on the diagonal."""
        covariance = self.even - self.gram * self.level / self.number
        k = self.odd.shape[1]
        return 4.0 / max(self.number - 1, 1) * covariance * (1.0 - np.eye(k))


@dataclass(eq=False, repr=False)
class BanzhafImportance(ImportanceMethod):
    """
    Banzhaf values: what a concept adds to the score, the others being there or not as a coin falls.

    Signed; unlike Shapley values they do not add up to f_x(1) - f_x(0), and are less moved by noise
    in the score. Exact where h is affine, c_j, and for up to 12 concepts, from all 2^k subsets;
    else from random sets, in 8 independent groups. A concept of which there is nothing in an image
    gets exactly 0 there.

    Parameters
    ----------
    craft, keep_residual, batch_size, operator, seed
        Every importance method takes these; `ImportanceMethod` says what they do.
    nb_samples
        How many sets of concepts are drawn for each image, in pairs; more of them give narrower
        intervals, for so many evaluations. Not used where the values are exact.
    estimator
        What is made of drawn sets. "kernel", least squares, is exact where the score is a sum of
        what the concepts do, and needs at least 4 sets a concept. "msr", means of the scores with
        each concept and without it, takes any number, and is less accurate for so many.

    Raises
    ------
    ValueError
        If there is no such estimator, or there are too few sets for it.
    """

    nb_samples: int = 512
    estimator: str = field(default="kernel", kw_only=True)

    method = "banzhaf"
    signed = True
    silent_are_zero = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nb_samples = check("nb_samples", self.nb_samples)
        k = len(self.craft.bank)
        kernel = check_choice("estimator", self.estimator, ESTIMATORS) == "kernel"
        if kernel and k > MOST_ENUMERATED and self.nb_samples < 4 * k:
            raise ValueError(
                f"nb_samples must be at least 4 for each of the {k} concepts, {4 * k}, received "
                f"{self.nb_samples}: least squares need them. Or take estimator='msr'."
            )

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        k = coded.number_of_concepts
        if head.is_affine(coded):
            return Values(head.affine_slopes(coded), exact=True)
        if k <= MOST_ENUMERATED:
            return in_chunks(
                coded, 2**k * k, lambda part: Values(self._enumerated(part, head)[0], exact=True)
            )

        def sampled(part: Coded) -> Values:
            groups, total = self._sampled(part, head)
            without = None
            if len(groups) > 1:
                without = np.stack([(total - one).main(self.estimator) for one in groups])
            return Values(total.main(self.estimator), without)

        return in_chunks(coded, self.nb_samples * k, sampled)

    def interactions(self, inputs: Any, targets: Any = None) -> ConceptInteractions:
        """
        What pairs of concepts do together that neither does alone.

        Exactly 0 where h is affine, and exact for up to 12 concepts; else from the sets that
        `explain` draws too, whatever the estimator is.

        Parameters
        ----------
        inputs, targets
            The same as for `explain`.

        Returns
        -------
        interactions
            Of the concepts and of all pairs, with both intervals.
        """
        head = self._head()
        main, pairs = [], []
        for coded in self._batches(inputs, targets, "interactions"):
            for part in chunks(coded, self._entries(coded)):
                one, two = self._effects(part, head)
                main.append(self._silenced(one, part))
                pairs.append(self._silenced(two, part))
        effects, together = Values.joined(main), Values.joined(pairs)
        k = effects.values.shape[1]

        def intervals(found: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            flat = found.values.reshape(len(found.values), -1)
            overall = flat.mean(axis=0)
            sampling = np.full((len(overall), 2), np.nan)
            if found.exact:
                sampling = np.stack([overall, overall], axis=1)
            elif found.without is not None:
                without = found.without.mean(axis=1).reshape(len(found.without), -1)
                sampling = jackknife_interval(overall, without)
            return overall, sampling, bootstrap_mean(flat, self.seed)

        overall, sampling, images = intervals(effects)
        values, sampling_of_pairs, images_of_pairs = intervals(together)
        return ConceptInteractions(
            main=overall,
            main_estimation_interval=sampling,
            main_image_interval=images,
            values=values.reshape(k, k),
            estimation_interval=sampling_of_pairs.reshape(k, k, 2),
            image_interval=images_of_pairs.reshape(k, k, 2),
            per_image=together.values,
            method=self.method,
            evaluations=0 if head.affine else head.evaluations,
            exact=together.exact,
            path=head.path,
        )

    def _entries(self, coded: Coded) -> int:
        k = coded.number_of_concepts
        return max(2**k * k if k <= MOST_ENUMERATED else self.nb_samples * k, 10 * k * k)

    def _effects(self, coded: Coded, head: GatedHead) -> tuple[Values, Values]:
        """beta (n, k) and I (n, k, k)."""
        k = coded.number_of_concepts
        if head.is_affine(coded):
            slopes = head.affine_slopes(coded)
            return Values(slopes, exact=True), Values(np.zeros((len(slopes), k, k)), exact=True)
        if k <= MOST_ENUMERATED:
            main, pairs = self._enumerated(coded, head)
            return Values(main, exact=True), Values(pairs, exact=True)
        groups, total = self._sampled(coded, head)

        def values(effect: Callable[[_Sums], np.ndarray]) -> Values:
            without = None
            if len(groups) > 1:
                without = np.stack([effect(total - one) for one in groups])
            return Values(effect(total), without)

        return values(lambda sums: sums.main(self.estimator)), values(_Sums.pairs)

    def _enumerated(self, coded: Coded, head: GatedHead) -> tuple[np.ndarray, np.ndarray]:
        return by_subsets(head.evaluate(coded, all_subsets(coded.number_of_concepts)))

    def _sampled(self, coded: Coded, head: GatedHead) -> tuple[list[_Sums], _Sums]:
        """Sums of each group of pairs of sets, and of all."""
        k, number = coded.number_of_concepts, max(1, self.nb_samples // 2)
        image = coded.indices[:, None, None]
        keys = (Draw.CONCEPT_PAIRS, image, np.arange(number)[:, None], np.arange(k))
        there = (keyed_bits(self.seed, *keys) >> np.uint64(63)).astype(bool)
        values = head.evaluate(coded, np.concatenate([there, ~there], axis=1)).astype(np.float64)
        first, second = values[:, :number], values[:, number:]
        d, e, z = (first - second) / 2.0, (first + second) / 2.0, 2.0 * there - 1.0
        e -= e[:, :1]  # so that what does not depend on the gates does not round
        ends = np.concatenate([[0], np.cumsum(group_sizes(number))])
        groups = [_Sums.of(z[:, i:j], d[:, i:j], e[:, i:j]) for i, j in pairwise(ends)]
        total = groups[0]
        for one in groups[1:]:
            total = total + one
        return groups, total
