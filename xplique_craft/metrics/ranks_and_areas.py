"""What metrics of fidelity are made of: areas under curves, and rank correlations."""

import numpy as np
from scipy.stats import rankdata

ROUNDING = 1e-6  # of the sum of magnitudes: float32 cannot tell sums apart that differ by less


def area(curves: np.ndarray) -> np.ndarray:
    """Areas (...) under curves (..., steps + 1) over [0, 1], by trapezoids."""
    return (curves[..., 1:] + curves[..., :-1]).mean(axis=-1, dtype=np.float64) / 2.0


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman correlation (n,) of rows (n, ...); 0 where one of them is constant."""
    ranks = [rankdata(rows.reshape(len(rows), -1), axis=1) for rows in (first, second)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), norm, out=np.zeros(len(a)), where=norm > 0.0)


def levels(values: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """
    Values (..., q) as whole numbers in the same order: equal where neighbours differ by at most the
    tolerance (...), so that what rounding tells apart has one rank.
    """
    order = values.argsort(axis=-1)
    steps = np.diff(np.take_along_axis(values, order, axis=-1)) > tolerance[..., None]
    found = np.zeros(values.shape, np.int32)
    np.put_along_axis(found, order[..., 1:], steps.cumsum(axis=-1, dtype=np.int32), axis=-1)
    return found
