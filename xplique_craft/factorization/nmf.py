"""
Non-negative matrix factorisation without hidden regularisation.

    min_{U >= 0, W >= 0} 1/2 ||A - U W||^2

Fitted by scikit-learn's coordinate descent; encoded exactly (see `nnls`), which scikit-learn's own
`transform` is not.
"""

import warnings
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from sklearn.decomposition import NMF as SklearnNMF
from sklearn.exceptions import ConvergenceWarning

from .._checks import check_non_negative_number, check_positive_int
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

    name: ClassVar[str] = "nmf"
    requires_non_negative: ClassVar[bool] = True

    def __init__(self, max_iter: int = 1000, tolerance: float = 1e-6) -> None:
        self.max_iter = check_positive_int("max_iter", max_iter)
        self.tolerance = check_non_negative_number("tolerance", tolerance)

    def __repr__(self) -> str:
        return f"NMF(max_iter={self.max_iter}, tolerance={self.tolerance:g})"

    def _fit(self, rows: np.ndarray, k: int, seed: int) -> Factorized:
        scale = rows.max()  # scikit-learn's stopping and start assume values around 1
        rows = rows / scale
        # The initialisation by singular vectors gives at most min(n, c) concepts.
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
            components_=(scale * solver.components_).astype(np.float32),
            offset=np.zeros(rows.shape[1], np.float32),
            converged=bool(solver.n_iter_ < self.max_iter),
            iterations=int(solver.n_iter_),
            relative_error=float(solver.reconstruction_err_) / float(np.linalg.norm(rows)),
        )

    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: Any, offset: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Exact coefficients and their relative KKT residual, see `implicit.encode`."""
        return encode(activations, bank)
