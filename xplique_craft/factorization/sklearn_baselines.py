"""
K-means and PCA as concept extractors, for Holistic's comparison (Fel et al., NeurIPS 2023, section
3: dictionary learning with other constraints on U).
"""

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from scipy.linalg import eigh
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.utils.extmath import randomized_svd

from .._checks import check
from .base import Factorized, Factorizer, weighted

EXACT_SIZE = 500  # of the smaller side of the rows, above which PCA's directions are iterated


class KMeans(Factorizer):
    """
    Clusters as concepts: every position holds exactly one, with coefficient 1.

    It cannot say how much of a concept there is, or that there are two, and its encoding is
    constant nearly everywhere: it has no gradient, so no white-box concept maps.

    Parameters
    ----------
    max_iter
        How many iterations one run does at most.
    restarts
        How many runs are done, each from another start; the best one is kept.
    """

    name: ClassVar[str] = "kmeans"
    differentiable: ClassVar[bool] = False

    def __init__(self, max_iter: int = 300, restarts: int = 4) -> None:
        self.max_iter = check("max_iter", max_iter)
        self.restarts = check("restarts", restarts)

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Factorized:
        # By a power of two, which changes no digit: squares of very large rows are infinite.
        scale = np.float32(2.0 ** np.floor(np.log2(np.abs(rows).max())))
        rows = rows / scale
        solver = SklearnKMeans(k, n_init=self.restarts, max_iter=self.max_iter, random_state=seed)
        solver.fit(rows, sample_weight=weights)
        return self._found(
            scale * solver.cluster_centers_,
            converged=bool(solver.n_iter_ < self.max_iter),
            iterations=int(solver.n_iter_),
            relative_error=np.sqrt(solver.inertia_) / np.linalg.norm(weighted(rows, weights)),
        )

    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: Any, offset: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The indicator (..., k) of the nearest centre, and NaN (...)."""
        activations = tf.convert_to_tensor(activations)
        centres = tf.cast(bank, activations.dtype)
        # ||a - w||^2 without ||a||^2, which is the same for all centres
        distance = tf.reduce_sum(tf.square(centres), 1) - 2.0 * tf.tensordot(
            activations, tf.transpose(centres), 1
        )
        u = tf.one_hot(tf.argmin(distance, axis=-1), centres.shape[0], dtype=activations.dtype)
        return u, _no_residual(u)


class PCA(Factorizer):
    """
    Principal components as concepts: A ~ mean + U W, W orthonormal.

    Coefficients are signed, so a concept is a direction with two ends that mean opposite things,
    and "absent" is the mean activation. Gates remove the deviation from the mean, not the concept.
    """

    name: ClassVar[str] = "pca"
    signed_coefficients: ClassVar[bool] = True

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Factorized:
        if k > min(rows.shape):
            raise ValueError(
                f"number_of_concepts must be at most min(crops, channels) = {min(rows.shape)} for "
                f"PCA, received {k}."
            )
        wide = rows.astype(np.float64)
        mean = np.average(wide, axis=0, weights=weights)
        centred = weighted(wide - mean, weights)
        bank = _leading_directions(centred, k, seed)
        largest = np.abs(bank).argmax(axis=1)
        bank *= np.sign(bank[np.arange(k), largest])[:, None]  # either sign is a solution
        error = np.linalg.norm(centred - centred @ bank.T @ bank)
        return self._found(
            bank,
            offset=mean,
            converged=True,
            iterations=1,
            relative_error=error / np.linalg.norm(weighted(wide, weights)),
        )

    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: Any, offset: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Projections (..., k) of what is above the mean, and NaN (...)."""
        activations = tf.convert_to_tensor(activations)
        directions = tf.cast(bank, activations.dtype)
        centred = activations - tf.cast(offset, activations.dtype)
        u = tf.tensordot(centred, tf.transpose(directions), 1)
        return u, _no_residual(u)


def _leading_directions(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The first k right singular vectors (k, c), exactly where that does not take long."""
    small = min(rows.shape)
    if small > EXACT_SIZE and k < small // 2:
        return randomized_svd(rows, k, n_iter=10, random_state=seed)[2]
    last = [small - k, small - 1]
    if rows.shape[0] >= rows.shape[1]:
        return eigh(rows.T @ rows, subset_by_index=last)[1].T[::-1]
    return np.linalg.qr(rows.T @ eigh(rows @ rows.T, subset_by_index=last)[1][:, ::-1])[0].T


def _no_residual(u: tf.Tensor) -> tf.Tensor:
    """NaN at every position: these encodings solve no problem that has a KKT residual."""
    return tf.fill(tf.shape(u)[:-1], tf.constant(np.nan, u.dtype))
