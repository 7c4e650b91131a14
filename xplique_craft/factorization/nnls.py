"""
Exact non-negative encoding of many rows at once.

    u(a) = argmin_{u >= 0} 1/2 ||a - u W||^2

With G = W W^T (k, k) and b = a W^T (k,) the problem of a row is k-sized, whatever the number of
channels, and u solves it if and only if (Karush-Kuhn-Tucker)

    u >= 0,    y = u G - b >= 0,    u_j y_j = 0    that is    min(u, uG - b) = 0.

Method: bank rows of unit norm; a few accelerated projected-gradient steps guess each row's support
S = {j : u_j > 0}; block principal pivoting (Kim & Park, SIAM J. Sci. Comput. 33, 2011) makes it
exact: solve G_SS u_S = b_S, swap the coordinates that violate the conditions, go on with the rows
that still have some (`supports` solves these systems). A row that it does not solve in a few
rounds, or not exactly, is solved by `active_set`, which is slower and ends for certain.

What breaks it: dependent bank rows make G_SS singular and the solution non-unique. Systems carry a
ridge (1e-12, or 1e-6 where b was computed in float32, whose rounding it has to dominate); one
refinement step takes its effect out again to second order. What pivoting finds is then the solution
of least norm on its support; u W is unique in any case. With more concepts than channels, of either
sign, pivoting may come back to supports that it has left, and active sets do most of the work. Rows
of zeros in the bank have coefficient 0.
"""

from typing import Any

import tensorflow as tf

from .._compiled import one_after_the_other
from .active_set import solve_by_active_set
from .supports import solve_on_support

RIDGE = {tf.float64: 1e-12, tf.float32: 1e-6}  # by the precision in which b was computed
TOLERANCE = {tf.float64: 1e-11, tf.float32: 1e-7}  # on min(u, uG - b), relative to max |b|
ACCEPTED = {tf.float64: 1e-9, tf.float32: 1e-5}  # KKT residual of a row that is solved
WARM_START_STEPS = 20
ROUNDS = 10  # of pivoting; k more where there are no more concepts than channels
ACTIVE_SET_ROUNDS = 10  # times k: where it was measured it took 2 k at most
FULL_EXCHANGES = 3  # swaps of all violations without progress before one is swapped at a time
SYSTEM_ENTRIES = 2**23  # entries of k x k systems held at once, 8 bytes each


def kkt_residual(u: tf.Tensor, gram: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Relative KKT residual (n,) of rows, max |min(u, uG - b)| / max |b|; 0 where u = b = 0."""
    violation = tf.reduce_max(tf.abs(tf.minimum(u, u @ gram - b)), axis=1)
    scale = tf.reduce_max(tf.abs(b), axis=1)
    return tf.math.divide_no_nan(violation, scale) + tf.cast(
        (scale == 0) & (violation > 0), u.dtype
    )


def _warm_start(gram: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Supports (n, k) bool after a few accelerated projected-gradient steps."""
    k = gram.shape[0]
    # The largest eigenvalue by its bound: rows of unit norm make the norm of a row sum close to it.
    step = 1.0 / tf.maximum(tf.reduce_max(tf.reduce_sum(tf.abs(gram), axis=1)), 1e-12)
    iteration = tf.eye(k, dtype=b.dtype) - step * gram
    offset = step * b
    u = tf.nn.relu(offset)
    ahead = u
    for i in range(WARM_START_STEPS):
        following = tf.nn.relu(ahead @ iteration + offset)
        ahead = following + (i + 1.0) / (i + 4.0) * (following - u)
        u = following
    return u > 0


def _pivot(
    gram: tf.Tensor,
    b: tf.Tensor,
    support: tf.Tensor,
    tolerance: float,
    ridge: float,
    refine: bool,
    max_rounds: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """
    Block principal pivoting from given supports; only rows that violate the conditions go on.

    It takes what `solve_on_support` does, for b scaled to max |b| = 1, and gives u (n, k) >= 0 with
    the numbers (m,) of the rows that violate a condition by more than the tolerance even after
    `max_rounds` rounds.
    """
    k = gram.shape[0]
    coordinate = tf.range(k)

    def swap_violations(
        round_: Any, u: Any, rows: Any, support: Any, fewest: Any, tries: Any
    ) -> Any:
        target = tf.gather(b, rows)
        current = solve_on_support(gram, target, support, ridge, refine)
        slack = current @ gram - target
        violated = tf.where(support, current, slack) < -tolerance
        number = tf.reduce_sum(tf.cast(violated, tf.int32), axis=1)
        u = tf.tensor_scatter_nd_update(u, rows[:, None], tf.nn.relu(current))

        # Swap every violation while that makes progress, else the last one only (Murty's rule).
        better = number < fewest
        tries = tf.where(better, FULL_EXCHANGES, tries - 1)
        last = tf.reduce_max(tf.where(violated, coordinate, -1), axis=1, keepdims=True)
        swap = violated & ((tries >= 0)[:, None] | (coordinate == last))
        support = tf.math.logical_xor(support, swap)

        unsolved = number > 0
        state = (rows, support, tf.minimum(fewest, number), tries)
        return (round_ + 1, u, *(tf.boolean_mask(x, unsolved) for x in state))

    rows = tf.range(tf.shape(b, tf.int64)[0])
    start = (
        tf.constant(0),
        tf.zeros_like(b),
        rows,
        support,
        tf.fill(tf.shape(rows), k + 1),
        tf.fill(tf.shape(rows), FULL_EXCHANGES),
    )
    _, u, unsolved, *_ = tf.while_loop(
        lambda round_, u, rows, *_: tf.size(rows) > 0,
        swap_violations,
        start,
        shape_invariants=tuple(
            map(tf.TensorShape, ([], [None, k], [None], [None, k], [None], [None]))
        ),
        maximum_iterations=max_rounds,
    )
    return u, unsolved


def by_rows(function: Any, k: int, *tensors: tf.Tensor) -> tf.Tensor:
    """
    A function of rows, so many of them at a time that a k x k system of each fits into memory.

    It takes the same rows of all tensors (n, ...), and gives (m, k) float64 for m of them.
    """
    rows = max(1, SYSTEM_ENTRIES // k**2)
    steps = tf.maximum((tf.shape(tensors[0])[0] + rows - 1) // rows, 1)  # of no rows: one of none
    found = one_after_the_other(
        lambda i: function(*(tensor[i * rows : (i + 1) * rows] for tensor in tensors)),
        steps,
        tf.float64,
    )
    return tf.ensure_shape(found, [None, k])


def encode_gram(
    gram: tf.Tensor, b: tf.Tensor, activations: tf.Tensor, directions: tf.Tensor
) -> tf.Tensor:
    """
    Solve min_{u >= 0} 1/2 u G u^T - u b^T exactly for every row, inside a compiled function.

    Parameters
    ----------
    gram
        G, (k, k) float64, with a diagonal of ones (or zeros, for bank rows of zeros).
    b
        (n, k) float64, computed in the precision of the activations.
    activations
        A, (n, c), float32 or float64: the few rows that pivoting does not solve are computed from
        them again, in float64.
    directions
        (k, c) float64, bank rows of unit norm.

    Returns
    -------
    u
        (n, k) float64, >= 0.
    """
    k, precision = gram.shape[0], activations.dtype
    scale = tf.reduce_max(tf.abs(b), axis=1, keepdims=True)
    b = tf.math.divide_no_nan(b, scale)
    support = _warm_start(gram, b)
    tolerance, ridge = TOLERANCE[precision], RIDGE[precision]
    # Of more concepts than channels pivoting may go round in circles: few rounds show whether.
    rounds = tf.where(k > tf.shape(directions)[1], ROUNDS, ROUNDS + k)
    u, unsolved = _pivot(gram, b, support, tolerance, ridge, refine=True, max_rounds=rounds)
    inexact = kkt_residual(u, gram, b) > ACCEPTED[precision]
    inexact |= tf.scatter_nd(
        unsolved[:, None], tf.ones_like(unsolved, tf.bool), tf.shape(inexact, tf.int64)
    )
    unsolved = tf.where(inexact)[:, 0]

    def insist() -> tf.Tensor:
        rows = tf.cast(tf.gather(activations, unsolved), tf.float64)
        target = tf.matmul(rows, directions, transpose_b=True) / tf.gather(scale, unsolved)
        exact = solve_by_active_set(gram, target, ACTIVE_SET_ROUNDS * k)
        return tf.tensor_scatter_nd_update(u, unsolved[:, None], exact)

    return scale * tf.cond(tf.size(unsolved) > 0, insist, lambda: u)
