"""
K-means and PCA as concept extractors, for Holistic's comparison (Fel et al., NeurIPS 2023, section
3: dictionary learning with other constraints on U). Through scikit-learn.
"""

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.decomposition import PCA as SklearnPCA

from .._checks import check
from .base import Factorized, Factorizer


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

    def _fit(self, rows: np.ndarray, k: int, seed: int) -> Factorized:
        solver = SklearnKMeans(k, n_init=self.restarts, max_iter=self.max_iter, random_state=seed)
        solver.fit(rows)
        return self._found(
            solver.cluster_centers_,
            converged=bool(solver.n_iter_ < self.max_iter),
            iterations=int(solver.n_iter_),
            relative_error=np.sqrt(solver.inertia_) / np.linalg.norm(rows),
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

    def _fit(self, rows: np.ndarray, k: int, seed: int) -> Factorized:
        if k > min(rows.shape):
            raise ValueError(
                f"number_of_concepts must be at most min(crops, channels) = {min(rows.shape)} for "
                f"PCA, received {k}."
            )
        solver = SklearnPCA(k, random_state=seed).fit(rows)
        rebuilt = solver.inverse_transform(solver.transform(rows))
        return self._found(
            solver.components_,
            offset=solver.mean_,
            converged=True,
            iterations=1,
            relative_error=np.linalg.norm(rows - rebuilt) / np.linalg.norm(rows),
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


def _no_residual(u: tf.Tensor) -> tf.Tensor:
    """NaN at every position: these encodings solve no problem that has a KKT residual."""
    return tf.fill(tf.shape(u)[:-1], tf.constant(np.nan, u.dtype))
