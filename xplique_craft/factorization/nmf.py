"""
Non-negative matrix factorisation without hidden regularisation.

    min_{U >= 0, W >= 0} 1/2 ||A - U W||^2

Fitted by scikit-learn's coordinate descent; encoded exactly (see `nnls`), which scikit-learn's own
`transform` is not.
"""

import warnings

import numpy as np
import tensorflow as tf
from sklearn.decomposition import NMF as SklearnNMF
from sklearn.exceptions import ConvergenceWarning

from .._checks import check_non_negative, check_positive_int
from .base import Factorized, Factorizer
from .implicit import encode

__all__ = ["NMF"]


class NMF(Factorizer):
    """
    Non-negative matrix factorisation, the factorisation of CRAFT (section 3.1).

    Parameters
    ----------
    max_iter
        Limit of iterations. The default, with the default tolerance, raises the stability of the
        bank over folds, at no cost in error, above what scikit-learn's own limit of 200 gives.
    tolerance
        The solver stops where its violation falls below this share of the first one.
    """

    def __init__(self, max_iter: int = 1000, tolerance: float = 1e-6) -> None:
        self.max_iter = check_positive_int("max_iter", max_iter)
        self.tolerance = float(tolerance)

    def __repr__(self) -> str:
        return f"NMF(max_iter={self.max_iter}, tolerance={self.tolerance:g})"

    def check(self, activations: np.ndarray) -> None:
        """
        Refuse activations that NMF cannot take.

        Raises
        ------
        ValueError
            If one is negative or not finite.
        """
        check_non_negative(
            activations,
            "Cut the model after a ReLU (xplique_craft.candidate_layers(model) lists the layers "
            "whose output is non-negative).",
        )

    def fit(self, rows: np.ndarray, number_of_concepts: int, seed: int = 0) -> Factorized:
        """
        Find a bank.

        Parameters
        ----------
        rows
            A, (n, c), non-negative.
        number_of_concepts
            k, at most n.
        seed
            Of the initialisation's randomised singular value decomposition, and, where k exceeds
            the rank that one can give, min(n, c), of its random values.

        Returns
        -------
        factorized
            The bank, (k, c) float32.

        Raises
        ------
        ValueError
            If there are fewer rows than concepts, or one is negative or not finite, or all are 0.
        """
        rows = np.asarray(rows, np.float32)
        k = check_positive_int("number_of_concepts", number_of_concepts)
        if len(rows) < k:
            raise ValueError(
                f"number_of_concepts must be at most the number of crops, received {k} concepts "
                f"for {len(rows)} crops. Give more images or ask for fewer concepts."
            )
        self.check(rows)
        norm = float(np.linalg.norm(rows))
        if norm == 0.0:
            raise ValueError(
                "All activations are 0, so there is nothing to factorise: the layer is dead on "
                "these images. Check the preprocessing, or cut the model at another layer."
            )
        solver = SklearnNMF(
            n_components=k,
            init="nndsvda" if k <= min(rows.shape) else "random",
            max_iter=self.max_iter,
            tol=self.tolerance,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `converged` says so instead
            solver.fit(rows)
        return Factorized(
            factorizer=self,
            components_=solver.components_.astype(np.float32),
            converged=bool(solver.n_iter_ < self.max_iter),
            iterations=int(solver.n_iter_),
            relative_error=float(solver.reconstruction_err_) / norm,
        )

    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: np.ndarray
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Exact coefficients and their relative KKT residual, see `implicit.encode`."""
        return encode(activations, bank)
