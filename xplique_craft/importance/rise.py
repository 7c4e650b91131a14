"""RISE on the gates (Petsiuk et al., 2018): E[f_x(m) | m_j = 1] over binary gates."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import check_int, check_number
from .._random import keyed_bits
from ..gates.coded import Coded
from ..gates.head import GatedHead
from ._draws import all_subsets, in_chunks, sums_of_groups
from .base import ImportanceMethod, Values

if TYPE_CHECKING:
    from ..concept_model import ConceptModel

__all__ = ["RiseImportance"]

_ROUNDING = 1e-6  # of the largest |score|: a smaller range is float32's


class RiseImportance(ImportanceMethod):
    """
    RISE: mean score of the masks that keep a concept, sum_s f_x(m_s) m_sj / sum_s m_sj.

    The entries of a mask are 1 with probability p, independently. In closed form where h is affine,
    b + p sum_i c_i + (1 - p) c_j; over all 2^k masks, weighted by their probabilities, where these
    are no more than `nb_samples`; else over masks drawn at random. Unsigned: these are scores,
    whose differences tell the concepts apart.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    nb_samples
        Masks for each image.
    preservation_probability
        p, in (0, 1).
    keep_residual, batch_size, operator, seed
        See `ImportanceMethod`.
    """

    method = "rise"
    signed = False

    def __init__(
        self,
        craft: ConceptModel,
        nb_samples: int = 512,
        preservation_probability: float = 0.5,
        *,
        keep_residual: bool | None = None,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            craft, keep_residual=keep_residual, batch_size=batch_size, operator=operator, seed=seed
        )
        self.nb_samples = check_int("nb_samples", nb_samples)
        name = "preservation_probability"
        self.preservation_probability = check_number(name, preservation_probability)
        if not 0.0 < self.preservation_probability < 1.0:
            raise ValueError(
                f"{name} must be above 0 and below 1, received {preservation_probability!r}."
            )

    def plain_evaluations(self, number_of_concepts: int) -> float:
        """One for each mask."""
        return float(min(self.nb_samples, 2**number_of_concepts))

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        k, p = len(self.bank), self.preservation_probability
        if head.is_affine(coded):
            slopes, constant = head.affine_form(coded, self.bank)
            closed = constant[:, None] + p * slopes.sum(axis=1, keepdims=True) + (1.0 - p) * slopes
            return Values(closed, exact=True, constant=np.logical_not(slopes.any(axis=1)))
        if 2**k <= self.nb_samples:
            return in_chunks(coded, 2**k * k, lambda part: self._enumerated(part, head))
        return in_chunks(coded, self.nb_samples * k, lambda part: self._sampled(part, head))

    def _enumerated(self, coded: Coded, head: GatedHead) -> Values:
        masks, p = all_subsets(len(self.bank)), self.preservation_probability
        values = head.evaluate(coded, self.bank, masks).astype(np.float64)
        weights = np.where(masks, p, 1.0 - p).prod(axis=1)
        return Values(values @ (weights[:, None] * masks) / p, exact=True, constant=_flat(values))

    def _sampled(self, coded: Coded, head: GatedHead) -> Values:
        keys = (coded.indices[:, None, None], np.arange(self.nb_samples)[:, None])
        bits = keyed_bits(self.seed, *keys, np.arange(len(self.bank)))
        masks = bits < np.uint64(int(self.preservation_probability * 2**64))
        values = head.evaluate(coded, self.bank, masks)
        scores, kept = sums_of_groups(values[..., None] * masks), sums_of_groups(masks)
        total, number = scores.sum(axis=0), kept.sum(axis=0)
        if not number.all():
            warnings.warn(
                f"None of the {self.nb_samples} masks of an image keeps concept "
                f"{np.argwhere(number == 0.0)[0, 1]}: its importance is given as 0 there. Raise "
                "nb_samples or preservation_probability.",
                stacklevel=2,
            )
        without = None
        if len(scores) > 1:
            without = _ratio(total - scores, number - kept)
        seen = ((number > 0.0) & (number < self.nb_samples)).all(axis=1)  # each open and closed
        return Values(_ratio(total, number), without, constant=_flat(values) & seen)


def _ratio(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean scores, 0 where no mask keeps the concept."""
    return np.divide(scores, kept, out=np.zeros_like(scores), where=kept > 0.0)


def _flat(values: np.ndarray) -> np.ndarray:
    """(n,): whether the scores (n, q) of an image are all the same."""
    return np.ptp(values, axis=1) <= _ROUNDING * np.abs(values).max(axis=1)
