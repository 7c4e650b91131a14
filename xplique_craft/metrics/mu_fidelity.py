"""
C-MuFidelity: are sets of concepts worth what their importances add up to? See `importance`.

Sets are drawn once for each image, keyed by its number, and what they are worth is kept.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .._checks import check
from .._intervals import bootstrap_mean
from .._once import cached_property
from .._random import Draw
from ..concept_model import ConceptModel
from ..importance.designs import keyed_uniform
from ..results import Estimate, ImportanceFidelity
from .importance import ConceptMetric
from .ranks_and_areas import rank_correlation
from .subset_scores import random_orders, subset_sums

_TIES = 1e-12  # of the sum of |importances|: sums that differ by less are the same


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
            the same for all sets.
        """
        rows = self._rows(importances, len(self._lost[0]))
        return float(self._correlations(rows[:, None]).mean())

    def summary(self, importances: Any) -> ImportanceFidelity:
        """
        The number with its interval, beside the same importances dealt out to the concepts at
        random, other ones in each image.

        Where the head is affine, the optimum and the worst are known: contributions reach the one,
        which is 1 but for images in which no set is worth anything, and their opposite the other.

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
        found = self._correlations(rows[:, None])[:, 0]
        low, high = bootstrap_mean(found[:, None], self.seed)[0]
        n, k = rows.shape
        orders = random_orders(self.seed, np.arange(n), self.nb_random, k)
        dealt = np.take_along_axis(rows[:, None], orders, axis=2)
        drawn = self._correlations(dealt).mean(axis=0)
        best = None if slopes is None else float(self._correlations(slopes[:, None]).mean())
        return ImportanceFidelity(
            metric=self.metric,
            better=self.better,
            estimate=Estimate(float(found.mean()), float(low), float(high)),
            random=Estimate(float(drawn.mean()), *map(float, np.percentile(drawn, [5.0, 95.0]))),
            optimum=best,
            worst=None if best is None else -best,
            per_image=found,
        )

    @cached_property
    def _lost(self) -> tuple[np.ndarray, np.ndarray | None]:
        """What each set is worth, (n, q), 0 for images where no set is; and slopes, if known."""
        scores = self._scores()
        lost = scores.lost_without(self._drawn, self.nb_samples)
        size = np.maximum(np.abs(scores.opened), np.abs(scores.closed))[:, None]
        spread = np.ptp(lost, axis=1, keepdims=True)
        return np.where(spread > scores.rounding * size, lost, 0.0), scores.slopes

    @cached_property
    def _subsets(self) -> np.ndarray:
        """(n, q, k) bool: the sets of all images."""
        return self._drawn(np.arange(len(self._lost[0])))

    def _drawn(self, indices: np.ndarray) -> np.ndarray:
        """(b, q, k) bool: the sets of images of these numbers."""
        keys = (indices[:, None, None], np.arange(self.nb_samples)[:, None])
        concepts = np.arange(len(self.concepts.bank))
        drawn = keyed_uniform(self.seed, Draw.CONCEPT_SUBSETS, *keys, concepts)
        return drawn < self.subset_share

    def _correlations(self, rows: np.ndarray) -> np.ndarray:
        """(n, r) of r importances of each image, (n, r, k)."""
        lost, _ = self._lost
        found = []
        for start in range(0, len(rows), self.concepts.batch_size):
            some = slice(start, start + self.concepts.batch_size)
            sums = subset_sums(rows[some], self._subsets[some])
            size = np.abs(rows[some]).sum(axis=2, keepdims=True) * _TIES
            sums = np.rint(np.divide(sums, size, out=np.zeros_like(sums), where=size > 0.0))
            b, r, q = sums.shape
            worth = np.repeat(lost[some], r, axis=0)
            found.append(rank_correlation(sums.reshape(b * r, q), worth).reshape(b, r))
        return np.concatenate(found)
