"""
HSIC on the gates (Novello, Fel and Vigouroux, NeurIPS 2022): dependence of the score on a gate.

Over binary masks x (q, k) and scores y (q,), with a Gaussian kernel L on the scores and Xplique's
K = 3/2 - (x - x')^2 on a gate, HSIC_j = trace(H K_j H L) / q^2, H centring. For binary x,
(x - x')^2 = x + x' - 2 x x', and H removes what depends on one argument only, so that
H K_j H = 2 (H x_j) (H x_j)^T and

    HSIC_j = 2 / q^2 (H x_j)^T L (H x_j):

no kernel matrix for any concept, one for the scores of each image.

The masks of a group of 2^b are x_j(i) = parity(v_j & i) xor s_j, with words v_j drawn without
repetition from the 2^b - 1 that are not zero, and random bits s_j: each mask by itself is uniform,
and in every group each gate is open in half of the masks, and any two gates are independent.
(Scrambled Sobol points put to a threshold are not: the scramble leaves their first bits as they
are, up to a shift, so that the same gates move together in every group.)
"""

from dataclasses import dataclass

import numpy as np

from .._checks import check, check_choice
from .._random import keyed_bits
from ..gates.coded import Coded
from ..gates.head import GatedHead
from ._draws import all_subsets, in_chunks
from .base import ImportanceMethod, Values
from .designs import group_sizes

BANDWIDTHS = ("deviation", "median")
_CONSTANT = 1e-12  # variance of a constant score, relative to its mean square
_NARROWEST = 1e-12  # bandwidth, relative to the largest |score|


def balanced_masks(
    number_of_concepts: int, number: int, images: np.ndarray, *, seed: int, group: int = 0
) -> np.ndarray:
    """
    Random binary masks (n, number, k) in which gates are balanced, and independent of each other.

    They are balanced if their number is a power of 2, 2^b, else the first of the next one; with
    2^b or more concepts words are used more than once. `images` are the numbers (n,) of the images.
    """
    k, words = number_of_concepts, 2 ** max(1, (number - 1).bit_length()) - 1
    rounds, image = -(-k // words), np.asarray(images)[:, None]
    keys = keyed_bits(seed, group, image[..., None], np.arange(rounds)[:, None], np.arange(words))
    drawn = np.argsort(keys, axis=-1).reshape(len(image), 1, -1)[..., :k] + 1
    shift = keyed_bits(seed, group, image, np.arange(k))[:, None] >> np.uint64(63)
    parity = np.bitwise_count(drawn & np.arange(number)[:, None]).astype(np.uint64) & np.uint64(1)
    return (parity ^ shift).astype(bool)


def binary_hsic(masks: np.ndarray, values: np.ndarray, bandwidth: str = "deviation") -> np.ndarray:
    """
    HSIC (n, k) of each gate with the score; zeros for an image whose scores are all the same.

    Of binary masks (n, q, k), or (q, k) for all images, and scores (n, q); for the bandwidth see
    `HsicImportance`.
    """
    values = values.astype(np.float64)
    largest = np.abs(values).max(axis=1)
    constant = values.var(axis=1) <= _CONSTANT * np.square(values).mean(axis=1)
    width = values.std(axis=1) if bandwidth == "deviation" else np.abs(np.median(values, axis=1))
    width = np.where(constant, 1.0, np.maximum(width, _NARROWEST * largest))
    scaled = values / width[:, None]
    kernel = scaled[:, :, None] - scaled[:, None]  # (n, q, q), the largest array: kept alone
    kernel *= kernel
    kernel *= -0.5
    np.exp(kernel, out=kernel)
    centred = masks - masks.mean(axis=-2, keepdims=True, dtype=np.float64)
    hsic = 2.0 * np.mean(centred * (kernel @ centred), axis=1) / values.shape[1]
    return np.where(constant[:, None], 0.0, hsic)


@dataclass(eq=False, repr=False)
class HsicImportance(ImportanceMethod):
    """
    HSIC between each gate and the score, over binary masks; Xplique's BinaryEstimator, vectorised.

    Over all 2^k masks where these are no more than `nb_design`, else over masks drawn at random, in
    8 independent groups, and then too large by a term of the order of 1 / nb_design. Unsigned. On
    Xplique's scale, which is `nb_design` times HSIC.

    Parameters
    ----------
    craft, keep_residual, batch_size, operator, seed
        Every importance method takes these; `ImportanceMethod` says what they do.
    nb_design
        How many masks are drawn for each image, at least 2; more of them give narrower intervals
        and take longer. 8 times a power of 2 is best: it balances each of the 8 groups.
    bandwidth
        How far apart two scores of an image count as different, the width of the Gaussian kernel on
        them. "deviation" takes their standard deviation, so that affine changes of the score change
        nothing. "median" takes the median score, as Xplique does; where that is 0, equal scores are
        told from different ones.
    """

    nb_design: int = 256
    bandwidth: str = "deviation"

    method = "hsic"
    signed = False
    silent_are_zero = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nb_design = check("nb_design", self.nb_design)
        check_choice("bandwidth", self.bandwidth, BANDWIDTHS)

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        k = coded.number_of_concepts
        number = min(self.nb_design, 2**k)
        if 2**k <= self.nb_design:
            return in_chunks(coded, number * number, lambda part: self._enumerated(part, head))
        return in_chunks(
            coded, number * max(number, k), lambda part: self._sampled(part, head, intervals)
        )

    def _enumerated(self, coded: Coded, head: GatedHead) -> Values:
        masks = all_subsets(coded.number_of_concepts)
        values = head.evaluate(coded, masks)
        return Values(self._scaled(masks, values), exact=True)

    def _sampled(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        k, sizes = coded.number_of_concepts, group_sizes(self.nb_design)
        groups = [
            balanced_masks(k, size, coded.indices, seed=self.seed, group=g)
            for g, size in enumerate(sizes.tolist())
        ]
        masks = np.concatenate(groups, axis=1)
        values = head.evaluate(coded, masks)
        if not intervals or len(sizes) == 1:
            return Values(self._scaled(masks, values))
        group = np.repeat(np.arange(len(sizes)), sizes)
        without = [
            self._scaled(masks[:, group != g], values[:, group != g]) for g in range(len(sizes))
        ]
        return Values(self._scaled(masks, values), np.stack(without))

    def _scaled(self, masks: np.ndarray, values: np.ndarray) -> np.ndarray:
        return self.nb_design * binary_hsic(masks, values, self.bandwidth)
