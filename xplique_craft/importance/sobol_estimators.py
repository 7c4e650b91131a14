"""
Sobol indices from scores on stars of gates, with an additive control variate.

With m_j i.i.d. uniform on [0, 1], an additive function

    a(m) = a_0 + sum_j sum_d b_jd P_d(m_j),

P_1, P_2, ... the orthonormal Legendre polynomials there (two of them, up to six where points are
many), is fitted to all scores by least squares. Its variance is known exactly, sum_j V_j^a with
V_j^a = sum_d b_jd^2; only the residual, r = f - a, is estimated from the sample:

    Var f                = sum_j V_j^a + Var r
    E[Var(f | m_~j)]     = V_j^a + E[(r(A) - r(C_j))^2] / 2                (Jansen 1999)
    Var(E[f | m_j])      = V_j^a + E[r(B) (r(C_j) - r(A))]                 (Saltelli et al. 2010)
    Var(E[f | m_i, m_j]) - first-order parts = E[r(C_i) r(D_j)] - E[r(A) r(B)] - those of r

for a is the projection of f, and every cross term is 0 on average. Where f is nearly additive, as
heads are, almost nothing is left to chance.
"""

from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import legvander

_CONSTANT = 1e-12  # variance of a constant score, relative to its mean square
_SCORES_A_TERM = 64
_ROUNDING = 1e-6  # of the largest score
_RIDGE = 1e-10  # of the normal equations' trace


class Sample(NamedTuple):
    """Scores on stars, see `designs.star`."""

    gates: np.ndarray  # (n, N, m, k)
    values: np.ndarray  # (n, N, m)
    groups: np.ndarray  # (N,): which independent group each point belongs to, 0 to R - 1


class _Fit(NamedTuple):
    """The additive part and its residual: with all points, and without each group."""

    weights: np.ndarray  # (R + 1, N): how much a point counts in a mean
    additive: np.ndarray  # V_j^a, (R + 1, n, k)
    variance: np.ndarray  # Var f, (R + 1, n)
    residual: np.ndarray  # r(A) and r(B), (R + 1, n, N, 2)
    moved: np.ndarray  # r(C_j) - r(A), (R + 1, n, N, k); both ways, r(D_j) - r(B) after it


def divide(parts: np.ndarray, variance: np.ndarray, mean_square: np.ndarray) -> np.ndarray:
    """
    Indices, parts (n, ...) of variances (n,); zeros where the score does not depend on the gates:
    its mean square tells rounding from a variance.
    """
    constant = variance <= _CONSTANT * mean_square
    shape = (-1, *[1] * (parts.ndim - 1))
    safe = np.where(constant, 1.0, variance).reshape(shape)
    return np.where(constant.reshape(shape), 0.0, parts / safe)


def _degree(number: int, k: int) -> int:
    """Highest degree of the polynomials: 2, or more where there are many scores for each term."""
    return int(np.clip(number * (k + 2) // (_SCORES_A_TERM * k), 2, 6))


def _basis(gates: np.ndarray, degree: int) -> np.ndarray:
    """(..., 1 + d k): 1, then P_1 of each gate, P_2 of each, and so on."""
    scale = np.sqrt(2.0 * np.arange(degree + 1) + 1.0)
    values = legvander(2.0 * gates.astype(np.float64) - 1.0, degree) * scale
    terms = np.moveaxis(values[..., 1:], -1, -2)
    return np.concatenate(
        [np.ones((*gates.shape[:-1], 1)), terms.reshape(*gates.shape[:-1], -1)], axis=-1
    )


def _alive(sample: Sample) -> np.ndarray:
    """(n, k): whether a gate ever moves the score by itself; the others get no additive part."""
    k = sample.gates.shape[-1]
    moved = np.abs(sample.values[:, :, 2 : 2 + k] - sample.values[:, :, :1]).max(axis=1)
    return moved > _ROUNDING * np.abs(sample.values).max(axis=(1, 2))[:, None]


def _fit(sample: Sample, leave_out: bool) -> _Fit:
    """
    Least squares on A, B and C, group by group.

    C_j differs from A in the columns of concept j only, where d = basis(B) - basis(A): of the k
    products C_j^T C_j only k A^T A + A^T d + d^T A + the products within each concept remain.
    """
    n, number, _, k = sample.gates.shape
    groups = int(sample.groups.max()) + 1
    degree = _degree(number, k)
    alive = np.concatenate([np.ones((n, 1)), *[_alive(sample)] * degree], axis=1)[:, None]
    a, b = (_basis(sample.gates[:, :, i], degree) * alive for i in (0, 1))
    d = b - a
    centre = sample.values[:, :, : 2 + k].mean(axis=(1, 2), dtype=np.float64)
    y = sample.values.astype(np.float64) - centre[:, None, None]
    ya, yb, yc = y[..., 0], y[..., 1], y[..., 2 : 2 + k]

    concepts = np.arange(degree * k) % k
    own = np.equal.outer(concepts, concepts)
    grams, sides, squares = [], [], []
    for group in range(groups):
        some = sample.groups == group
        at, bt, dt = (x[:, some].transpose(0, 2, 1) for x in (a, b, d))
        cross = at @ d[:, some]
        gram = (k + 1) * (at @ a[:, some]) + bt @ b[:, some] + cross + cross.transpose(0, 2, 1)
        gram[:, 1:, 1:] += own * (dt @ d[:, some])[:, 1:, 1:]
        grams.append(gram)
        side = at @ (ya + yc.sum(axis=2))[:, some, None] + bt @ yb[:, some, None]
        own_side = np.concatenate([np.zeros((n, yc.shape[1], 1)), *[yc] * degree], axis=2)
        side[..., 0] += np.einsum("npc,npc->nc", d[:, some], own_side[:, some])
        sides.append(side)
        squares.append(np.square(y[:, some, : 2 + k]).sum(axis=(1, 2)))
    keep = np.ones((1, number))
    gram, side, square = (np.stack(parts) for parts in (grams, sides, squares))
    if not leave_out or groups == 1:
        gram, side, square = (x.sum(axis=0)[None] for x in (gram, side, square))
    else:
        gram, side, square = (
            np.concatenate([x.sum(axis=0)[None], x.sum(axis=0) - x]) for x in (gram, side, square)
        )
        keep = np.concatenate([keep, 1.0 - np.eye(groups)[:, sample.groups]])
    size = a.shape[-1]
    ridge = _RIDGE * np.trace(gram, axis1=-2, axis2=-1)[..., None, None] / size * np.eye(size)
    fitted = np.linalg.solve(gram + ridge, side)  # (R + 1, n, 1 + d k, 1)

    products = (fitted * (2.0 * side - gram @ fitted)).sum(axis=(2, 3))
    degrees = np.maximum((k + 2) * keep.sum(axis=1) - size, 1.0)
    rest = np.maximum(square - products, 0.0) / degrees[:, None]
    fitted = fitted[..., 0]
    additive = np.square(fitted[..., 1:]).reshape(-1, n, degree, k).sum(axis=2)

    residual = [y - np.einsum("npc,rnc->rnp", rows, fitted) for y, rows in ((ya, a), (yb, b))]
    steps = d[:, :, 1:].reshape(n, number, degree, k)
    step = np.einsum("npdk,rndk->rnpk", steps, fitted[..., 1:].reshape(-1, n, degree, k))
    moved = yc - ya[..., None] - step
    if y.shape[2] > 2 + k:
        moved = np.concatenate([moved, y[..., 2 + k :] - yb[..., None] + step], axis=-1)
    return _Fit(
        keep / keep.sum(axis=1, keepdims=True),
        additive,
        additive.sum(axis=2) + rest,
        np.stack(residual, axis=-1),
        moved,
    )


def _mean_square(sample: Sample) -> np.ndarray:
    return np.square(sample.values.astype(np.float64)).mean(axis=(1, 2))


def variances(
    sample: Sample, index: str, leave_out: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """
    "total" or "first"-order indices (n, k), and what they are without each group, (R, n, k); None
    where there is one, or they are not wanted (`leave_out`).
    """
    fit = _fit(sample, leave_out)
    k = sample.gates.shape[-1]
    moved = fit.moved[..., :k]
    terms = 0.5 * np.square(moved) if index == "total" else fit.residual[..., 1:] * moved
    parts = fit.additive + np.einsum("rnpk,rp->rnk", terms, fit.weights)
    square = _mean_square(sample)
    indices = [divide(*found, square) for found in zip(parts, fit.variance, strict=True)]
    return indices[0], np.stack(indices[1:]) if len(indices) > 1 else None


def interactions(sample: Sample) -> np.ndarray:
    """
    First-order indices on the diagonal, and of every pair what it adds to them beside it, (n, k, k)
    and symmetric, from scores on stars that go both ways.
    """
    fit = _fit(sample, leave_out=False)
    number, k = sample.gates.shape[1], sample.gates.shape[-1]
    a, b = fit.residual[0, ..., :1], fit.residual[0, ..., 1:]
    to_b, to_a = fit.moved[0, ..., :k], fit.moved[0, ..., k:]  # r(C_j) - r(A), r(D_j) - r(B)
    first = 0.5 * np.mean(b * to_b + a * to_a, axis=1)
    closed = np.einsum("npi,npj->nij", a + to_b, b + to_a) / number
    closed -= np.mean(a * b, axis=1)[:, None]
    pairs = 0.5 * (closed + closed.transpose(0, 2, 1)) - first[:, :, None] - first[:, None, :]
    diagonal = np.arange(k)
    pairs[:, diagonal, diagonal] = fit.additive[0] + first
    return divide(pairs, fit.variance[0], _mean_square(sample))
