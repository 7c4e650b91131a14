"""What each concept adds to a score or takes from it, image by image."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Contributions:
    """
    Signed contributions that add up: score = base + residual + sum_j phi_j + gap, image by image.

    Parameters
    ----------
    phi
        (n, k): the contributions of the concepts (Aumann-Shapley: gradients with respect to the
        gates, integrated while these open from 0 to 1).
    base
        (n,): h(0), the score of no activation at all. Of concepts around a mean (`SignedNMF`) it is
        the score of the mean; tokens that belong to no place are in it as gates leave them.
    residual
        (n,): f_x(0) - h(0), the part of the score that the concepts do not explain.
    score
        (n,): f_x(1); with the residual kept it is the model's own score, unless tokens that belong
        to no place are taken to their mean.
    gap
        (n,): what is missing for the sum to be exact (0 but for rounding where h is affine).
    errors
        (n, k): how far each contribution may be off, as estimated while it was computed; 0 where h
        is affine.
    points
        How many points of [0, 1] the gradients were taken at, for the image that needed most; 0
        where the closed form was used.
    exact
        True where the head is affine and nothing was approximated.
    """

    phi: np.ndarray
    base: np.ndarray
    residual: np.ndarray
    score: np.ndarray
    gap: np.ndarray
    errors: np.ndarray
    points: int
    exact: bool

    @property
    def share(self) -> np.ndarray:
        """(k,): the signed share of each concept in the score above its base, a ratio of sums."""
        return self.phi.sum(axis=0) / self._total()

    @property
    def residual_share(self) -> float:
        """The share of the score above its base that the concepts do not explain."""
        return float(self.residual.sum() / self._total())

    @property
    def relative_errors(self) -> np.ndarray:
        """(n,): of each image the largest estimated error, as a share of its largest |phi_j|."""
        largest = np.abs(self.phi).max(axis=1)
        errors = self.errors.max(axis=1)
        return np.divide(errors, largest, out=np.zeros_like(errors), where=largest > 0.0)

    def _total(self) -> float:
        total = float((self.score - self.base).sum())
        return total if total != 0.0 else float("nan")
