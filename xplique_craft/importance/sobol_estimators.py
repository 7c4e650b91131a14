"""
Sobol indices from scores on stars of gates, with an additive control variate.

With m_j i.i.d. uniform on [0, 1], an additive function

    a(m) = a_0 + sum_j (b_j1 P_1(m_j) + b_j2 P_2(m_j)),

P_1 and P_2 the orthonormal Legendre polynomials there, is fitted to all scores by least squares.
Its variance is known exactly, sum_j V_j^a with V_j^a = b_j1^2 + b_j2^2; only what is left,
r = f - a, is estimated from the sample:

    Var f                = sum_j V_j^a + Var r
    E[Var(f | m_~j)]     = V_j^a + E[(r(A) - r(C_j))^2] / 2                (Jansen 1999)
    Var(E[f | m_j])      = V_j^a + E[r(B) (r(C_j) - r(A))]                 (Saltelli et al. 2010)
    Var(E[f | m_i, m_j]) - first-order parts = E[r(C_i) r(D_j)] - E[r(A) r(B)] - those of r

for a is the projection of f, and every cross term is 0 on average. Where f is nearly additive, as
heads are, almost nothing is left to chance.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["Sample", "divide", "interactions", "variances"]

_CONSTANT = 1e-12  # variance of a constant score, relative to its mean square
_ROUNDING = 1e-6  # of the largest score
_RIDGE = 1e-10  # of the normal equations' trace


class Sample(NamedTuple):
    """
    Scores on stars.

    Parameters
    ----------
    gates
        (n, N, m, k), see `designs.star`.
    values
        (n, N, m): scores on them.
    groups
        (N,): which independent group each point belongs to, 0 to R - 1.
    """

    gates: np.ndarray
    values: np.ndarray
    groups: np.ndarray


class _Residuals(NamedTuple):
    """
    What the additive part leaves, with all points and without each group.

    Parameters
    ----------
    left
        r, (n, N, m, R + 1); the first of the last axis is with all points.
    weights
        (N, R + 1): whether a point counts, scaled to mean over those that do.
    additive
        V_j^a, (n, k, R + 1).
    variance
        Var f, (n, R + 1).
    """

    left: np.ndarray
    weights: np.ndarray
    additive: np.ndarray
    variance: np.ndarray


def divide(parts: np.ndarray, variance: np.ndarray, mean_square: np.ndarray) -> np.ndarray:
    """
    Indices, parts (n, ...) of variances (n,); zeros where the score does not depend on the gates.

    Parameters
    ----------
    mean_square
        (n,): of the score, which tells rounding from a variance.
    """
    constant = variance <= _CONSTANT * mean_square
    shape = (-1, *[1] * (parts.ndim - 1))
    safe = np.where(constant, 1.0, variance).reshape(shape)
    return np.where(constant.reshape(shape), 0.0, parts / safe)


def _alive(sample: Sample) -> np.ndarray:
    """(n, 1, k): whether a gate ever moves the score by itself; the others get no additive part."""
    k = sample.gates.shape[-1]
    moved = np.abs(sample.values[:, :, 2 : 2 + k] - sample.values[:, :, :1]).max(axis=1)
    return (moved > _ROUNDING * np.abs(sample.values).max(axis=(1, 2))[:, None])[:, None]


def _residuals(sample: Sample) -> _Residuals:
    n, number, m, k = sample.gates.shape
    groups = int(sample.groups.max()) + 1
    x = np.sqrt(12.0) * (sample.gates.astype(np.float64) - 0.5).reshape(n, number * m, k)
    curve = np.sqrt(5.0) / 2.0 * (np.square(x) - 1.0)
    alive = _alive(sample)
    x, curve = x * alive, curve * alive
    basis = np.concatenate([np.ones((n, number * m, 1)), x, curve], axis=-1)
    centre = sample.values.mean(axis=(1, 2), dtype=np.float64)
    y = sample.values.reshape(n, -1) - centre[:, None]

    at = np.repeat(sample.groups, m)
    rows = [np.flatnonzero(at == group) for group in range(groups)]
    grams = np.stack([basis[:, r].transpose(0, 2, 1) @ basis[:, r] for r in rows])
    sides = np.stack([basis[:, r].transpose(0, 2, 1) @ y[:, r, None] for r in rows])
    if groups > 1:
        grams = np.concatenate([grams.sum(0)[None], grams.sum(0) - grams])
        sides = np.concatenate([sides.sum(0)[None], sides.sum(0) - sides])
        keep = np.concatenate([np.ones((1, groups)), 1.0 - np.eye(groups)]).T[sample.groups]
    else:
        keep = np.ones((number, 1))
    size = basis.shape[-1]
    grams += _RIDGE * np.trace(grams, axis1=-2, axis2=-1)[..., None, None] / size * np.eye(size)
    fitted = np.linalg.solve(grams, sides)[..., 0]  # (R + 1, n, 1 + 2 k)

    left = (y[..., None] - basis @ fitted.transpose(1, 2, 0)).reshape(n, number, m, -1)
    additive = np.square(fitted[..., 1:]).reshape(-1, n, 2, k).sum(axis=2).transpose(1, 2, 0)
    degrees = np.maximum(m * keep.sum(axis=0) - size, 1.0)
    rest = np.einsum("npmr,pr->nr", np.square(left), keep) / degrees
    variance = additive.sum(axis=1) + rest
    return _Residuals(left, keep / keep.sum(axis=0), additive, variance)


def _indices(parts: np.ndarray, found: _Residuals, sample: Sample) -> np.ndarray:
    """(R + 1, n, k) of variances (n, k, R + 1)."""
    square = np.square(sample.values.astype(np.float64)).mean(axis=(1, 2))
    return np.stack(
        [divide(parts[..., r], found.variance[:, r], square) for r in range(parts.shape[-1])]
    )


def variances(sample: Sample, index: str) -> tuple[np.ndarray, np.ndarray | None]:
    """
    Total or first-order indices.

    Parameters
    ----------
    sample
        Scores on stars.
    index
        "total" or "first".

    Returns
    -------
    indices
        (n, k).
    without
        (R, n, k): without each group; None where there is one.
    """
    found = _residuals(sample)
    k = sample.gates.shape[-1]
    r = found.left
    moved = r[:, :, 2 : 2 + k] - r[:, :, :1]  # r(C_j) - r(A), (n, N, k, R + 1)
    terms = 0.5 * np.square(moved) if index == "total" else r[:, :, 1:2] * moved
    parts = found.additive + np.einsum("npkr,pr->nkr", terms, found.weights)
    indices = _indices(parts, found, sample)
    return indices[0], indices[1:] if len(indices) > 1 else None


def interactions(sample: Sample) -> np.ndarray:
    """
    First-order indices on the diagonal, and of every pair what it adds to them beside it.

    Parameters
    ----------
    sample
        Scores on stars that go both ways.

    Returns
    -------
    indices
        (n, k, k), symmetric.
    """
    found = _residuals(sample)
    k = sample.gates.shape[-1]
    r = found.left[..., 0]
    a, b, c, d = r[..., 0], r[..., 1], r[..., 2 : 2 + k], r[..., 2 + k :]
    first = np.mean(b[..., None] * (c - a[..., None]), axis=1)
    first += np.mean(a[..., None] * (d - b[..., None]), axis=1)
    first *= 0.5
    number = c.shape[1]
    closed = np.einsum("npi,npj->nij", c, d) / number - np.mean(a * b, axis=1)[:, None, None]
    pairs = 0.5 * (closed + closed.transpose(0, 2, 1)) - first[:, :, None] - first[:, None, :]
    diagonal = np.arange(k)
    pairs[:, diagonal, diagonal] = found.additive[..., 0] + first
    square = np.square(sample.values.astype(np.float64)).mean(axis=(1, 2))
    return divide(pairs, found.variance[:, 0], square)
