"""
Non-negative matrix factorisation without hidden regularisation.

    min_{U >= 0, W >= 0} 1/2 ||A - U W||^2

Fitted by coordinate descent, scikit-learn's or our own (`hals`); encoded exactly (see `nnls`),
which scikit-learn's own `transform` is not.
"""

import warnings
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from sklearn.decomposition import NMF as SklearnNMF
from sklearn.exceptions import ConvergenceWarning

from .._checks import check_int, check_number
from .base import Factorized, Factorizer
from .hals import hals, svd_start
from .implicit import encode

__all__ = ["NMF"]


SMALL_PROBLEM = 2_000_000


class NMF(Factorizer):
    """
    Non-negative matrix factorisation, the factorisation of CRAFT (section 3.1).

    Parameters
    ----------
    max_iter
        Limit of iterations. The default, with the default tolerance, raises the stability of the
        bank over folds, at no cost in error, above what scikit-learn's own limit of 200 gives.
    tolerance
        The solver stops where a sweep changes the factors by less than this share of the first.
    solver
        "sklearn", scikit-learn's coordinate descent; "hals", the same iteration in TensorFlow; or
        "auto": scikit-learn's where n c k is below 2,000,000, for compiling the other takes longer
        than solving there, and "hals" above, where it is several times faster at the same loss.

    Raises
    ------
    TypeError, ValueError
        If a number is none or out of range, or the solver is unknown.
    """

    name: ClassVar[str] = "nmf"
    requires_non_negative: ClassVar[bool] = True

    def __init__(self, max_iter: int = 1000, tolerance: float = 1e-6, solver: str = "auto") -> None:
        self.max_iter = check_int("max_iter", max_iter)
        self.tolerance = check_number("tolerance", tolerance)
        if solver not in ("auto", "sklearn", "hals"):
            raise ValueError(f"solver must be 'auto', 'sklearn' or 'hals', received {solver!r}.")
        self.solver = solver

    def __repr__(self) -> str:
        return (
            f"NMF(max_iter={self.max_iter}, tolerance={self.tolerance:g}, solver={self.solver!r})"
        )

    def _fit(self, rows: np.ndarray, k: int, seed: int) -> Factorized:
        scale = rows.max()  # the start and the tolerance are meant for values around 1
        rows = rows / scale
        if k <= min(rows.shape):
            start = svd_start(rows, k, seed)
        else:  # singular vectors give at most min(n, c) concepts
            rng = np.random.default_rng(seed)
            size = np.sqrt(rows.mean() / k)
            draws = (rng.random((len(rows), k)), rng.random((k, rows.shape[1])))
            start = tuple((2.0 * size * draw).astype(np.float32) for draw in draws)
        solver = self.solver
        if solver == "auto":
            solver = "sklearn" if rows.size * k < SMALL_PROBLEM else "hals"
        solve = hals if solver == "hals" else _sklearn
        u, bank, iterations, converged = solve(rows, *start, self.max_iter, self.tolerance)
        return Factorized(
            factorizer=self,
            bank=(scale * bank).astype(np.float32),
            offset=np.zeros(rows.shape[1], np.float32),
            converged=converged,
            iterations=iterations,
            relative_error=float(np.linalg.norm(rows - u @ bank) / np.linalg.norm(rows)),
        )

    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: Any, offset: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Exact coefficients and their relative KKT residual, see `implicit.encode`."""
        return encode(activations, bank)


def _sklearn(
    rows: np.ndarray, u: np.ndarray, bank: np.ndarray, max_iter: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """As `hals`, by scikit-learn."""
    solver = SklearnNMF(len(bank), init="custom", max_iter=max_iter, tol=tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is returned says so instead
        # Both factors are changed in place.
        u = solver.fit_transform(rows, W=u.copy(), H=bank.copy())
    return u, solver.components_, int(solver.n_iter_), bool(solver.n_iter_ < max_iter)
