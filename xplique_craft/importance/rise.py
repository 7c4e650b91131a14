"""RISE on the gates (Petsiuk et al., 2018): E[f_x(m) | m_j = 1] over binary gates."""

from dataclasses import dataclass

import numpy as np

from .._checks import check, warn
from .._random import keyed_bits
from ..gates.coded import Coded
from ..gates.head import GatedHead
from ._draws import all_subsets, in_chunks, sums_of_groups
from .base import ImportanceMethod, Values

_ROUNDING = 1e-6  # of the largest |score|: a smaller range is float32's


@dataclass(eq=False, repr=False)
class RiseImportance(ImportanceMethod):
    """
    RISE: mean score of the masks that keep a concept, sum_s f_x(m_s) m_sj / sum_s m_sj.

    The entries of a mask are 1 with probability p, independently. In closed form where h is affine,
    b + p sum_i c_i + (1 - p) c_j; over all 2^k masks, weighted by their probabilities, where these
    are no more than `nb_samples`; else over masks drawn at random. Unsigned: these are scores,
    whose differences tell the concepts apart.

    Parameters
    ----------
    craft, keep_residual, batch_size, operator, seed
        Every importance method takes these; `ImportanceMethod` says what they do.
    nb_samples
        How many masks are drawn for each image; more take longer and give narrower intervals.
    preservation_probability
        p, in (0, 1): how likely a mask is to keep each of the concepts.
    """

    nb_samples: int = 512
    preservation_probability: float = 0.5

    method = "rise"
    signed = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nb_samples = check("nb_samples", self.nb_samples)
        name = "preservation_probability"
        self.preservation_probability = check(name, self.preservation_probability)

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        k, p = coded.number_of_concepts, self.preservation_probability
        if head.is_affine(coded):
            slopes, constant = head.affine_form(coded)
            closed = constant[:, None] + p * slopes.sum(axis=1, keepdims=True) + (1.0 - p) * slopes
            return Values(closed, exact=True, flat=np.logical_not(slopes.any(axis=1)))
        if 2**k <= self.nb_samples:
            return in_chunks(coded, 2**k * k, lambda part: self._enumerated(part, head))
        return in_chunks(coded, self.nb_samples * k, lambda part: self._sampled(part, head))

    def _enumerated(self, coded: Coded, head: GatedHead) -> Values:
        masks, p = all_subsets(coded.number_of_concepts), self.preservation_probability
        values = head.evaluate(coded, masks).astype(np.float64)
        weights = np.where(masks, p, 1.0 - p).prod(axis=1)
        return Values(values @ (weights[:, None] * masks) / p, exact=True, flat=_flat(values))

    def _sampled(self, coded: Coded, head: GatedHead) -> Values:
        keys = (coded.indices[:, None, None], np.arange(self.nb_samples)[:, None])
        bits = keyed_bits(self.seed, *keys, np.arange(coded.number_of_concepts))
        masks = bits < np.uint64(int(self.preservation_probability * 2**64))
        values = head.evaluate(coded, masks)
        scores, kept = sums_of_groups(values[..., None] * masks), sums_of_groups(masks)
        total, number = scores.sum(axis=0), kept.sum(axis=0)
        if not number.all():
            warn(
                f"None of the {self.nb_samples} masks of an image keeps concept "
                f"{np.argwhere(number == 0.0)[0, 1]}: its importance is given as 0 there. Raise "
                "nb_samples or preservation_probability."
            )
        without = None
        if len(scores) > 1:
            without = _ratio(total - scores, number - kept)
        seen = ((number > 0.0) & (number < self.nb_samples)).all(axis=1)  # each open and closed
        return Values(_ratio(total, number), without, flat=_flat(values) & seen)


def _ratio(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean scores, 0 where no mask keeps the concept."""
    return np.divide(scores, kept, out=np.zeros_like(scores), where=kept > 0.0)


def _flat(values: np.ndarray) -> np.ndarray:
    """(n,): whether the scores (n, q) of an image are all the same."""
    return np.ptp(values, axis=1) <= _ROUNDING * np.abs(values).max(axis=1)
