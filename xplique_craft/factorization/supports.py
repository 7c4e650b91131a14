"""
Systems G_SS u_S = b_S of many rows at once, each row with a support S of its own.

Rows are bucketed by the size of their support, so the systems that are factorised are as small as
the supports are: k = 50 concepts of which a row needs 10 cost a system of 12.

What breaks it: dependent bank rows make G_SS singular. A ridge on the diagonal keeps Cholesky from
producing NaN; one step of refinement takes its effect out again to second order.
"""

import tensorflow as tf

BUCKETS = (4, 8, 12, 16, 24, 32, 48, 64, 96)  # largest supports solved together


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
