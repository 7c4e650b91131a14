"""
C-MuFidelity: are sets of concepts worth what their importances add up to? See `importance`.

Sets are drawn for each image, keyed by its number; which of them is worth more is kept.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._checks import check
from .._intervals import bootstrap_mean
from .._once import cached_property
from .._random import Draw
from ..concept_model import ConceptModel
from ..importance.designs import keyed_uniform
from ..results import Estimate, ImportanceFidelity
from .importance import ConceptMetric, spread
from .orders import random_orders
from .ranks_and_areas import ROUNDING, levels, rank_correlation
from .subset_scores import Drawn, blocks, subset_sums


class ConceptMuFidelity(ConceptMetric):
    """
    C-MuFidelity: are concepts worth together what their importances say? High is good.

    The mean over images of a Spearman correlation, over random sets of concepts, of the score that
    is lost without a set with the sum of its importances. Large sets are worth more by most
    importances, so those at random do not score 0: see `summary`.

    Parameters
    ----------
    concepts, inputs, targets, batch_size, operator, activation, keep_residual, seed, nb_random
        All metrics of importances take these; `ConceptMetric` says what they do.
    nb_samples
        How many sets are drawn for each image; more of them make its correlation more certain.
    subset_share
        How likely a concept is to be in a set, in (0, 1).
    """

    metric = "C-MuFidelity"
    better = 1

    def __init__(
        self,
        concepts: ConceptModel,
        inputs: Any,
        targets: Any = None,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        activation: str | None = None,
        *,
        keep_residual: bool | None = None,
        seed: int = 0,
        nb_random: int = 64,
        nb_samples: int = 200,
        subset_share: float = 0.2,
    ) -> None:
        super().__init__(
            concepts,
            inputs,
            targets,
            batch_size,
            operator,
            activation,
            keep_residual=keep_residual,
            seed=seed,
            nb_random=nb_random,
        )
        self.nb_samples = check("nb_samples", nb_samples)
        self.subset_share = check("subset_share", subset_share)

    def evaluate(self, importances: Any) -> float:
        """
        The mean correlation of all images.

        Parameters
        ----------
        importances
            (k,) for all images, or (n, k), one row for each image.

        Returns
        -------
        score
            In [-1, 1]; an image counts 0 where no set is worth anything, or all importances are
            the same for all sets. Sums that differ by less than 1e-6 of the sum of |importances|,
            and scores that float32 cannot tell apart, have the same rank.
        """
        return float(self._found(self._rows(importances, len(self._lost[0]))).mean())

    def summary(self, importances: Any) -> ImportanceFidelity:
        """
        The number with its interval, beside the same importances dealt out to the concepts at
        random: those of (k,) alike in all images, the rows of (n, k) each by itself.

        Of importances (n, k), where the head is affine, the optimum and the worst are known:
        contributions reach the one, which is 1 but for images in which no set is worth anything,
        and their opposite the other. The best importances (k,) for all images are not known.

        Parameters
        ----------
        importances
            The same as for `evaluate`.

        Returns
        -------
        fidelity
            Without curves; `per_image` holds the correlations.
        """
        lost, slopes = self._lost
        rows = self._rows(importances, len(lost))
        found, shared = self._found(rows), np.ndim(importances) == 1
        low, high = bootstrap_mean(found[:, None], self.seed)[0]
        best = None if shared or slopes is None else float(self._found(slopes).mean())

        def dealt(some: np.ndarray) -> np.ndarray:
            orders = random_orders(self.seed, some, self.nb_random, rows.shape[1])
            return np.take_along_axis(rows[some, None], orders, axis=2)

        drawn = sum(part.sum(axis=0) for part in self._correlations(dealt, rows, self.nb_random))
        return ImportanceFidelity(
            metric=self.metric,
            better=self.better,
            estimate=Estimate(float(found.mean()), float(low), float(high)),
            random=spread(drawn / len(lost)),
            optimum=best,
            worst=None if best is None else -best,
            per_image=found,
            shared=shared,
        )

    @cached_property
    def _lost(self) -> tuple[np.ndarray, np.ndarray | None]:
        """What each set is worth, as levels (n, q), see there; and slopes, if they are known."""
        scores, parts, seen = self._scores(), list[np.ndarray](), 0
        for lost in scores.lost_without(self._drawn, self.nb_samples):
            parts.append(levels(lost, scores.rounding[seen : seen + len(lost)]))
            seen += len(lost)
        return np.concatenate(parts), scores.slopes

    def _drawn(self, indices: np.ndarray) -> np.ndarray:
        """(b, q, k) bool: the sets of images of these numbers."""
        keys = (indices[:, None, None], np.arange(self.nb_samples)[:, None])
        concepts = np.arange(len(self.concepts.bank))
        drawn = keyed_uniform(self.seed, Draw.CONCEPT_SUBSETS, *keys, concepts)
        return drawn < self.subset_share

    def _found(self, rows: np.ndarray) -> np.ndarray:
        """(n,): correlations of importances, (n, k) or (1, k)."""
        return np.concatenate([*self._correlations(lambda some: rows[some, None], rows, 1)])[:, 0]

    def _correlations(self, values: Drawn, rows: np.ndarray, number: int) -> Iterator[np.ndarray]:
        """
        (b, r) of consecutive images, for r importances of each, `number` of them, which a function
        gives: (b,) -> (b, r, k); `rows` tell whether they are the same for all images.
        """
        lost, _ = self._lost
        for some in blocks(len(lost), self.nb_samples * max(number, rows.shape[1])):
            given = values(some if len(rows) > 1 else np.zeros(1, int))
            sums = subset_sums(given, self._drawn(some))
            sums = levels(sums, ROUNDING * np.abs(given).sum(axis=2))
            b, r, q = sums.shape
            worth = np.repeat(lost[some], r, axis=0)
            yield rank_correlation(sums.reshape(b * r, q), worth).reshape(b, r)
