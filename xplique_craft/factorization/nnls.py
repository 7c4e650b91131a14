"""
Exact non-negative encoding of many rows at once.

    u(a) = argmin_{u >= 0} 1/2 ||a - u W||^2

With G = W W^T (k, k) and b = a W^T (k,) the problem of a row is k-sized, whatever the number of
channels, and u solves it if and only if (Karush-Kuhn-Tucker)

    u >= 0,    y = u G - b >= 0,    u_j y_j = 0    that is    min(u, uG - b) = 0.

Method: bank rows of unit norm; a few accelerated projected-gradient steps guess each row's support
S = {j : u_j > 0}; block principal pivoting (Kim & Park, SIAM J. Sci. Comput. 33, 2011) makes it
exact: solve G_SS u_S = b_S, swap the coordinates that violate the conditions, go on with the rows
that still have some. Rows are bucketed by the size of their support, so the systems that are
factorised are as small as the supports are.

What breaks it: dependent bank rows make G_SS singular and the solution non-unique. Systems carry a
ridge (1e-12, or 1e-6 where b was computed in float32, whose rounding it has to dominate), which
keeps Cholesky from producing NaN; one refinement step takes its effect out again to second order.
What is returned is then the solution of least norm on the support that was found; u W is unique in
any case. Rows of zeros in the bank have coefficient 0.
"""

from typing import Any

import tensorflow as tf

from .._compiled import one_after_the_other

RIDGE = {tf.float64: 1e-12, tf.float32: 1e-6}  # by the precision in which b was computed
TOLERANCE = {tf.float64: 1e-11, tf.float32: 1e-7}  # on min(u, uG - b), relative to max |b|
WARM_START_STEPS = 20
FULL_EXCHANGES = 3  # swaps of all violations without progress before one is swapped at a time
SYSTEM_ENTRIES = 2**23  # entries of k x k systems held at once, 8 bytes each
BUCKETS = (4, 8, 12, 16, 24, 32, 48, 64, 96)  # largest supports solved together


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


def _solve_bucket(
    gram: tf.Tensor, b: tf.Tensor, support: tf.Tensor, size: int, ridge: float, refine: bool
) -> tf.Tensor:
    """As `solve_on_support`, for rows whose supports have at most `size` members."""
    k = gram.shape[0]
    # The members of the support first, then others, masked, that fill the row up to `size`.
    mask, index = tf.math.top_k(tf.cast(support, tf.float32), k=size)
    mask = tf.cast(mask, b.dtype)
    pairs = index[:, :, None] * k + index[:, None, :]
    system = tf.gather(tf.reshape(gram, [-1]), pairs) * mask[:, :, None] * mask[:, None, :]
    rhs = (tf.gather(b, index, batch_dims=1) * mask)[..., None]
    # Where it is masked the system is the identity and its right-hand side zero.
    diagonal = tf.linalg.diag_part(system) + ridge + (1.0 - mask)
    factor = tf.linalg.cholesky(tf.linalg.set_diag(system, diagonal))
    u = tf.linalg.cholesky_solve(factor, rhs)
    if refine:
        u += tf.linalg.cholesky_solve(factor, rhs - system @ u)
    row = tf.repeat(tf.range(tf.shape(b)[0]), size)
    where = tf.stack([row, tf.reshape(index, [-1])], axis=1)
    return tf.scatter_nd(where, tf.reshape(u[..., 0] * mask, [-1]), tf.shape(b))


def solve_on_support(
    gram: tf.Tensor, b: tf.Tensor, support: tf.Tensor, ridge: float, refine: bool = True
) -> tf.Tensor:
    """
    Solve G_SS u_S = b_S for every row, S being the row's own support.

    Parameters
    ----------
    gram
        (k, k), unit diagonal.
    b
        (n, k).
    support
        (n, k) bool.
    ridge
        Added to the diagonal of every system, which keeps singular ones solvable.
    refine
        Whether the effect of the ridge is taken out again, by one step of iterative refinement.

    Returns
    -------
    u
        (n, k), 0 off the support.
    """
    k = gram.shape[0]
    size = tf.reduce_sum(tf.cast(support, tf.int32), axis=1)
    limits = [*(s for s in BUCKETS if s < k), k]
    rows, solutions = [], []
    for low, high in zip([-1, *limits[:-1]], limits, strict=True):
        members = tf.where((size > low) & (size <= high))[:, 0]
        rows.append(members)
        solutions.append(
            _solve_bucket(
                gram, tf.gather(b, members), tf.gather(support, members), high, ridge, refine
            )
        )
    order = tf.concat(rows, axis=0)
    return tf.scatter_nd(order[:, None], tf.concat(solutions, axis=0), tf.shape(b, tf.int64))


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


def encode_gram(gram: tf.Tensor, b: tf.Tensor, precision: tf.DType) -> tf.Tensor:
    """
    Solve min_{u >= 0} 1/2 u G u^T - u b^T exactly for every row, inside a compiled function.

    Parameters
    ----------
    gram
        G, (k, k) float64, with a diagonal of ones (or zeros, for bank rows of zeros).
    b
        (n, k) float64.
    precision
        tf.float32 or tf.float64: the precision in which b was computed.

    Returns
    -------
    u
        (n, k) float64, >= 0.
    """
    k = gram.shape[0]
    scale = tf.reduce_max(tf.abs(b), axis=1, keepdims=True)
    b = tf.math.divide_no_nan(b, scale)
    support = _warm_start(gram, b)
    tolerance, ridge = TOLERANCE[precision], RIDGE[precision]
    u, unsolved = _pivot(gram, b, support, tolerance, ridge, refine=True, max_rounds=10 + k)

    def insist() -> tf.Tensor:
        # The ridge is kept: the matrix is then positive definite, and pivoting ends for certain.
        kept = gram + ridge * tf.eye(k, dtype=b.dtype)
        start, target = tf.gather(u, unsolved) > 0, tf.gather(b, unsolved)
        again, _ = _pivot(
            kept, target, start, tolerance, ridge=0.0, refine=False, max_rounds=100 * k
        )
        # The ridge taken out again, where the support allows it.
        sharp = solve_on_support(gram, target, again > 0, ridge)
        worse = tf.reduce_min(sharp, axis=1) < -tolerance
        again = tf.where(worse[:, None], again, tf.nn.relu(sharp))
        return tf.tensor_scatter_nd_update(u, unsolved[:, None], again)

    return scale * tf.cond(tf.size(unsolved) > 0, insist, lambda: u)
