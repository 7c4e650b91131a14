"""Slow float64 oracles, straight from the mathematics: one row and one plain formula at a time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment, lsq_linear, nnls


def unit_rows(bank):
    """Bank rows of unit norm (rows of zeros stay) and the norms, 1 for rows of zeros."""
    bank = np.asarray(bank, np.float64)
    norms = np.linalg.norm(bank, axis=1)
    norms = np.where(norms > 0.0, norms, 1.0)
    return bank / norms[:, None], norms


def nnls_rows(activations, bank):
    """
    u(a) = argmin_{u >= 0} 1/2 ||a - u W||^2 by Lawson and Hanson's active sets, row by row.

    The problem is homogeneous in a and in each row of W: unit norms keep it well scaled. Where
    there are more bank rows than channels scipy's `nnls` (1.15) can stop before the solution; its
    bounded least squares takes these rows over, and a row that neither solves is an error.
    """
    directions, norms = unit_rows(bank)
    u = np.zeros((len(activations), len(bank)))
    for i, row in enumerate(np.asarray(activations, np.float64)):
        scale = np.abs(row).max()
        if scale == 0.0:
            continue
        row = row / scale
        solution = nnls(directions.T, row, maxiter=100 * len(bank))[0]
        if kkt_residual(solution[None], row[None], directions)[0] > 1e-10:
            solution = lsq_linear(directions.T, row, (0.0, np.inf), "bvls", tol=1e-15).x
            solution = np.where(solution > 1e-14, solution, 0.0)
        if kkt_residual(solution[None], row[None], directions)[0] > 1e-10:
            raise RuntimeError("scipy solves this row neither way")
        u[i] = scale * solution / norms
    return u


def kkt_residual(u, activations, bank):
    """(n,): max |min(u, u G - b)| / max |b|, for bank rows of unit norm."""
    directions, norms = unit_rows(bank)
    u = np.asarray(u, np.float64) * norms
    b = np.asarray(activations, np.float64) @ directions.T
    violation = np.abs(np.minimum(u, u @ (directions @ directions.T) - b)).max(axis=1)
    scale = np.abs(b).max(axis=1)
    return np.divide(violation, scale, out=violation.copy(), where=scale > 0.0)


def projected_gradient(gram, b, steps):
    """u (n, k) after steps of FISTA from u = 0, of length 1 / max_i sum_j |G_ij|."""
    step = 1.0 / np.abs(gram).sum(axis=1).max()
    u = ahead = np.maximum(step * b, 0.0)  # the first of them
    for i in range(steps):
        following = np.maximum(ahead - step * (ahead @ gram - b), 0.0)
        ahead = following + (i + 1) / (i + 4) * (following - u)
        u = following
    return u


class Pivoted(NamedTuple):
    """u (k,) >= 0, whether it solves the row, and in how many rounds only one swap was made."""

    u: np.ndarray
    solved: bool
    singles: int


def block_pivoting(gram, b, support, rounds):
    """One row: Kim & Park's algorithm, with three rounds of full swaps without progress."""
    support, u, fewest, left, singles = support.copy(), np.zeros_like(b), len(b) + 1, 3, 0
    for _ in range(rounds):
        u = np.zeros_like(b)
        u[support] = np.linalg.solve(gram[np.ix_(support, support)], b[support])
        wrong = np.flatnonzero(np.where(support, u, u @ gram - b) < -1e-11)
        u = np.maximum(u, 0.0)
        if not wrong.size:
            return Pivoted(u, True, singles)
        if wrong.size < fewest:
            fewest, left = wrong.size, 3
        elif left > 0:
            left -= 1
        else:
            wrong = wrong[-1:]
            singles += 1
        support[wrong] ^= True
    return Pivoted(u, False, singles)


def lawson_hanson(gram, b, rounds, failing=None):
    """One row: u (k,) after so many rounds, systems that hold the coefficient `failing` failing."""
    u = np.zeros_like(b)
    support, refused = np.zeros((2, len(b)), bool)
    for _ in range(rounds):
        z = np.zeros_like(b)
        z[support] = np.linalg.solve(gram[np.ix_(support, support)], b[support])
        joined, blocking = support & (u == 0.0), support & (z <= 0.0)
        failed = failing is not None and support[failing]
        if failed or (joined & blocking).any():
            refused |= joined
        elif blocking.any():
            share = np.full(len(b), np.inf)
            share[blocking] = u[blocking] / (u - z)[blocking]
            u = np.where(share == share.min(), 0.0, u + share.min() * (z - u))
            support = u > 0.0
            continue
        else:
            u, refused = z, np.zeros_like(refused)
        support, asked = u > 0.0, b - u @ gram
        wanted = ~support & ~refused & (asked > 1e-11)
        if not wanted.any():
            break
        support[np.argmax(np.where(wanted, asked, 0.0))] = True
    return u


def implicit_jacobian(activation, bank):
    """
    du/da (k, c) and du/dW (k, k, c) of one row, from the full system of KKT conditions.

    F(u, y) = (u G - W a - y, u * y) = 0 holds along the solution, so with G = W W^T

        [G, -I; diag(y), diag(u)] (du, dy) = (W da + dW a - (dW W^T + W dW^T) u, 0).
    """
    activation, bank = np.asarray(activation, np.float64), np.asarray(bank, np.float64)
    k, c = bank.shape
    u = nnls_rows(activation[None], bank)[0]
    y = bank @ (bank.T @ u - activation)
    y[u > 0.0] = 0.0  # the solver's rounding
    system = np.block([[bank @ bank.T, -np.eye(k)], [np.diag(y), np.diag(u)]])

    by_bank = np.zeros((k, k * c))
    for p in range(k):
        for q in range(c):
            change = np.zeros((k, c))
            change[p, q] = 1.0
            gram_change = change @ bank.T + bank @ change.T
            by_bank[:, p * c + q] = change @ activation - gram_change @ u
    right = np.concatenate([np.hstack([bank, by_bank]), np.zeros((k, c + k * c))])
    solution = np.linalg.solve(system, right)[:k]
    return solution[:, :c], solution[:, c:].reshape(k, k, c)


def unrolled_nnls(activations: tf.Tensor, bank: tf.Tensor, steps: int = 3000) -> tf.Tensor:
    """(n, k) by plain projected-gradient steps, which TensorFlow can differentiate through."""
    gram = tf.matmul(bank, bank, transpose_b=True)
    b = tf.matmul(activations, bank, transpose_b=True)
    step = tf.stop_gradient(1.0 / tf.linalg.norm(gram, ord=2))
    return tf.while_loop(
        lambda u: True,
        lambda u: (tf.nn.relu(u - step * (u @ gram - b)),),
        (tf.zeros_like(b),),
        maximum_iterations=steps,
    )[0]


def central_differences(function: Callable, x, step=1e-6):
    """Jacobian (output shape, input shape) of a function of an array, entry by entry."""
    x = np.asarray(x, np.float64)
    columns = []
    for i in range(x.size):
        change = np.zeros(x.size)
        change[i] = step
        change = change.reshape(x.shape)
        difference = np.asarray(function(x + change)) - np.asarray(function(x - change))
        columns.append(difference / (2.0 * step))
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *x.shape)


def matched_cosines(found, expected):
    """Cosines of the rows of two banks, matched as well as they can be."""
    found, expected = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, expected))
    cosines = expected @ found.T
    rows, columns = linear_sum_assignment(-cosines)
    return cosines[rows, columns], columns
