"""
Semi-non-negative matrix factorisation, for signed activations (GELU, SiLU, tokens).

    min_{U >= 0} 1/2 ||A - U W||^2,    W of any sign

Concepts are present or absent (U >= 0), but may push channels down as well as up. Ref. Ding, Li &
Jordan, IEEE TPAMI 32 (2010). Both halves of an iteration are exact: U by non-negative least squares
(`nnls`), W by least squares, so the objective never rises.
"""

from typing import ClassVar

import numpy as np
from sklearn.cluster import KMeans as SklearnKMeans

from .._checks import check
from .base import ExactFactorizer, Factorized, weighted
from .implicit import encode

_SOFT_START = 0.2  # what the indicator of clusters is raised by, as Ding et al. do


class SemiNMF(ExactFactorizer):
    """
    Semi-NMF: U >= 0, W of any sign.

    As faithful as `SignedNMF`, but its concepts are found with what cancels them: on a transformer
    the odd crop among five of a concept is found 31% to 63% of the time, against 54% to 70%, and as
    often as by chance (20%) where the rows are around their mean.

    Parameters
    ----------
    max_iter
        How many iterations the solver does at most.
    tolerance
        The solver stops where an iteration lowers the objective by less than this share of it.
    """

    name: ClassVar[str] = "semi-nmf"

    def __init__(self, max_iter: int = 300, tolerance: float = 1e-5) -> None:
        self.max_iter = check("max_iter", max_iter)
        self.tolerance = check("tolerance", tolerance)

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Factorized:
        rows = weighted(rows, weights)
        # Clusters of the rows start U, softened so that no coefficient is locked at 0.
        clusters = SklearnKMeans(k, n_init=1, random_state=seed).fit(rows)
        u = np.eye(k, dtype=np.float32)[clusters.labels_] + np.float32(_SOFT_START)
        norm = float(np.square(rows, dtype=np.float64).sum())
        error, iterations, converged = norm, 0, False
        bank = _unit_rows(_least_squares(u, rows))
        while iterations < self.max_iter and not converged:
            u = encode(rows, bank)[0].numpy()
            residual = rows - u @ bank
            previous, error = error, float(np.square(residual, dtype=np.float64).sum())
            converged = previous - error <= self.tolerance * previous
            iterations += 1
            if not converged and iterations < self.max_iter:
                bank = _unit_rows(_least_squares(u, rows, bank))
        return self._found(
            bank,
            converged=converged,
            iterations=iterations,
            relative_error=np.sqrt(error / norm),
        )


def _least_squares(
    u: np.ndarray, rows: np.ndarray, previous: np.ndarray | None = None
) -> np.ndarray:
    """W of least squares, (k, c); concepts that no row uses keep their previous direction."""
    wide = u.astype(np.float64)
    bank = np.linalg.pinv(wide.T @ wide, hermitian=True) @ (wide.T @ rows)
    unused = ~(u > 0.0).any(axis=0)
    if previous is not None and unused.any():
        bank[unused] = previous[unused]
    return bank.astype(np.float32)


def _unit_rows(bank: np.ndarray) -> np.ndarray:
    """Directions of the bank: the scale of a concept is put into its coefficients."""
    norms = np.linalg.norm(bank, axis=1, keepdims=True)
    return (bank / np.where(norms > 0.0, norms, 1.0)).astype(np.float32)
