"""
Hierarchical alternating least squares: the factors of non-negative matrix factorisation, row by
row, in TensorFlow.

With the other rows fixed, a row x_j of U^T (or of W) has a closed form. For the Gram matrix G of
the other factor and the products B of that factor with A,

    x_j <- max(0, (B_j - sum_{i != j} G_ji x_i) / G_jj),    j = 1, ..., k in turn

(Cichocki & Phan, IEICE Trans. E92-A, 2009). A sweep is a forward substitution: what depends on rows
that were not updated yet, the upper triangle of G, is one product; only the lower one is
sequential. This is the iteration of scikit-learn's coordinate descent, so from the same start it
goes through the same factors.

What breaks it: a row that has become zero in one factor leaves G_jj = 0, and the row of the other
factor as it is.
"""

from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.utils.extmath import randomized_svd

from .._compiled import compile_function

ROUNDING = 1e-6  # moves below this share of the factors are float32's rounding


def svd_start(rows: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Start from singular vectors (NNDSVDa: Boutsidis & Gallopoulos, Pattern Recognition 41, 2008).

    Of every pair of singular vectors the sign is kept whose non-negative parts weigh more; zeros
    are replaced by the mean of A, for zeros may never leave the solver otherwise.

    Parameters
    ----------
    rows
        A, (n, c), non-negative.
    k
        How many concepts to start from, at most min(n, c).
    seed
        Draws what the randomised decomposition begins with.

    Returns
    -------
    u, bank
        (n, k) and (k, c) float32.
    """
    left, values, right = randomized_svd(rows, k, random_state=seed)
    u, bank = np.empty_like(left), np.empty_like(right)
    for j, (a, b) in enumerate(zip(left.T, right, strict=True)):
        sides = [(np.maximum(s * a, 0.0), np.maximum(s * b, 0.0)) for s in (1.0, -1.0)]
        sizes = [np.linalg.norm(x) * np.linalg.norm(y) for x, y in sides]
        if j == 0:  # the leading pair of a non-negative matrix has one sign
            sides, sizes = [(np.abs(a), np.abs(b))], [np.float32(1.0)]
        x, y = sides[int(np.argmax(sizes))]
        weight = np.sqrt(values[j] * max(sizes))
        u[:, j] = weight * x / max(np.linalg.norm(x), np.finfo(np.float32).tiny)
        bank[j] = weight * y / max(np.linalg.norm(y), np.finfo(np.float32).tiny)
    mean = rows.mean()
    u[u < 1e-6] = mean
    bank[bank < 1e-6] = mean
    return u.astype(np.float32), bank.astype(np.float32)


def _sweep(x: tf.Tensor, gram: tf.Tensor, products: tf.Tensor, k: int) -> tuple[Any, Any]:
    """One update of every row of x (k, n); how far they moved and how large they are (2,)."""
    diagonal = tf.linalg.diag_part(gram)
    inverse = tf.math.reciprocal_no_nan(diagonal)[:, None]
    strict = gram - tf.linalg.diag(diagonal)
    ahead = (products - tf.linalg.band_part(strict, 0, -1) @ x) * inverse
    behind = tf.linalg.band_part(strict, -1, 0) * inverse
    rows: list[tf.Tensor] = []
    for j in range(k):
        row = ahead[j]
        if rows:
            row -= tf.linalg.matvec(tf.stack(rows), behind[j, :j], transpose_a=True)
        rows.append(tf.where(diagonal[j] > 0.0, tf.nn.relu(row), x[j]))
    updated = tf.stack(rows)
    # Weighted by curvature, a move is a gradient.
    sizes = tf.stack([tf.abs(updated - x), updated])
    return updated, tf.linalg.matvec(tf.reduce_sum(sizes, axis=2), diagonal)


@cache
def _compiled(k: int) -> Any:
    """One trace for each number of concepts."""

    def solve(
        a: tf.Tensor, ut: tf.Tensor, w: tf.Tensor, max_iter: tf.Tensor, tolerance: tf.Tensor
    ) -> Any:
        def step(i: Any, ut: Any, w: Any, first: Any, _: Any) -> Any:
            gram, products = tf.matmul(w, w, transpose_b=True), tf.matmul(w, a, transpose_b=True)
            ut, moved_u = _sweep(ut, gram, products, k)
            w, moved_w = _sweep(w, tf.matmul(ut, ut, transpose_b=True), ut @ a, k)
            moved, size = tf.unstack(moved_u + moved_w)
            first = tf.where(i == 0, moved, first)
            done = moved <= tf.maximum(tolerance * first, ROUNDING * size)
            return i + 1, ut, w, first, done

        i, ut, w, _, done = tf.while_loop(
            lambda i, ut, w, first, done: (i < max_iter) & ~done,
            step,
            (tf.constant(0), ut, w, tf.constant(0.0), tf.constant(False)),
            parallel_iterations=1,
        )
        return i, ut, w, done

    matrix, factor = tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([k, None], tf.float32)
    number, share = tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.float32)
    return compile_function(solve, [matrix, factor, factor, number, share])


def hals(
    rows: np.ndarray, u: np.ndarray, bank: np.ndarray, max_iter: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """
    Minimise 1/2 ||A - U W||^2 over U, W >= 0 from a start.

    Parameters
    ----------
    rows
        A, (n, c) float32.
    u, bank
        The factors to start from, (n, k) and (k, c).
    max_iter
        How many sweeps are done at most.
    tolerance
        It stops where a sweep moves the factors by less than this share of what the first sweep
        moved them, or by no more than rounding does.

    Returns
    -------
    u, bank
        (n, k) and (k, c).
    iterations
        How many sweeps were done.
    converged
        Whether the tolerance was reached.
    """
    ut = np.ascontiguousarray(u.T)
    iterations, ut, w, done = _compiled(len(bank))(rows, ut, bank, max_iter, tolerance)
    return ut.numpy().T, w.numpy(), int(iterations), bool(done)
