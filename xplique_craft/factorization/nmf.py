"""
Non-negative matrix factorisation without hidden regularisation.

    min_{U >= 0, W >= 0} 1/2 ||A - U W||^2

Fitted by coordinate descent, scikit-learn's or our own (`hals`); encoded exactly (see `nnls`),
which scikit-learn's own `transform` is not.
"""

import warnings
from typing import ClassVar

import numpy as np
from sklearn.decomposition import NMF as SklearnNMF
from sklearn.exceptions import ConvergenceWarning

from .._checks import check, check_choice
from .base import ExactFactorizer, Factorized, weighted
from .hals import hals, svd_start

SMALL_PROBLEM = 2_000_000  # n c k below which compiling our own solver takes longer than solving


class NMF(ExactFactorizer):
    """
    Non-negative matrix factorisation, the factorisation of CRAFT (section 3.1).

    Parameters
    ----------
    max_iter
        How many iterations the solver does at most. With the default, and the default tolerance,
        banks found on other folds of the images are more alike than with scikit-learn's own limit
        of 200, at no cost in error.
    tolerance
        The solver stops where a sweep changes the factors by less than this share of what the
        first sweep changed.
    solver
        "sklearn" is scikit-learn's coordinate descent, "hals" the same iteration in TensorFlow.
        "auto" takes scikit-learn's for small problems (n c k below 2,000,000), which are solved
        before the other is compiled, and "hals" for larger ones, where it is several times faster
        at the same loss.

    Raises
    ------
    TypeError, ValueError
        If a number is none or out of range, or the solver is unknown.
    """

    name: ClassVar[str] = "nmf"
    requires_non_negative: ClassVar[bool] = True

    def __init__(self, max_iter: int = 1000, tolerance: float = 1e-6, solver: str = "auto") -> None:
        self.max_iter = check("max_iter", max_iter)
        self.tolerance = check("tolerance", tolerance)
        self.solver = check_choice("solver", solver, ("auto", "sklearn", "hals"))

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Factorized:
        rows = weighted(rows, weights)
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
        return self._found(
            scale * bank,
            converged=converged,
            iterations=iterations,
            relative_error=np.linalg.norm(rows - u @ bank) / np.linalg.norm(rows),
        )


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
