"""
Exact non-negative encoding one coefficient at a time, for the rows that pivoting does not solve.

    u(a) = argmin_{u >= 0} 1/2 u G u^T - u b^T

Method of Lawson & Hanson (Solving Least Squares Problems, 1974, chapter 23), of many rows at once.
A row begins with u = 0 and an empty support S. The coefficient that the row asks for most, the
largest b_j - (u G)_j > 0 outside S, joins S; then G_SS z_S = b_S is solved. If z > 0 on S, u moves
to z. If not, u moves towards z as far as it stays >= 0, what has become 0 leaves S, and S is solved
again. The row is done when it asks for nothing more: those are the KKT conditions.

It ends for certain, where pivoting need not: u stays >= 0, the objective falls with every move to a
z, and so no support comes twice. Concepts that depend on each other do no harm, for what asks to
join is no mixture of what is in S. It takes about as many rounds as there are coefficients, twice
as many at worst in what was measured; pivoting takes two to four where it works.

What breaks it: rounding. A coefficient that joins and does not become positive is refused until
u has moved, and rounds are limited. u is >= 0 even if that ends them.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from .supports import solve_on_support

RIDGE = 1e-13  # keeps Cholesky going where concepts are alike to the last digits
TOLERANCE = 1e-11  # of b - u G outside S, relative to max |b|


def solve_by_active_set(gram: tf.Tensor, b: tf.Tensor, max_rounds: int | tf.Tensor) -> tf.Tensor:
    """
    Solve min_{u >= 0} 1/2 u G u^T - u b^T for every row, inside a compiled function.

    Parameters
    ----------
    gram
        G, (k, k) float64, with a diagonal of ones (or zeros, for bank rows of zeros).
    b
        (n, k) float64, computed in float64, scaled to max |b| = 1.
    max_rounds
        In how many rounds at most a row is solved; each solves its system once.

    Returns
    -------
    u
        (n, k) float64, >= 0.
    """
    k = gram.shape[0]
    coordinate = tf.range(k)

    def move(round_: Any, found: Any, rows: Any, u: Any, support: Any, refused: Any) -> Any:
        target = tf.gather(b, rows)
        z = solve_on_support(gram, target, support, RIDGE)
        joined = support & (u == 0.0)
        wrong = (joined & ~(z > 0.0)) | ~tf.math.is_finite(z)
        useless = tf.reduce_any(wrong, axis=1, keepdims=True)

        # Towards z, until the first coefficients become 0.
        blocking = support & ~(z > 0.0)
        inside = ~tf.reduce_any(blocking, axis=1, keepdims=True)
        share = tf.where(blocking, tf.math.divide_no_nan(u, u - z), 1.0)
        first = tf.reduce_min(share, axis=1, keepdims=True)
        ended = blocking & (share <= first)
        stopped = tf.where(ended, tf.zeros_like(u), tf.nn.relu(u + first * (z - u)))
        u = tf.where(useless, u, tf.where(inside, z, stopped))
        support = u > 0.0
        refused = (refused & ~(inside & ~useless)) | (joined & useless)

        # What the row asks for most joins, once u is the solution on its support.
        asked = target - u @ gram
        rounding = k * np.finfo(np.float64).eps * tf.reduce_max(u, axis=1, keepdims=True)
        wanted = ~support & ~refused & (asked > tf.maximum(rounding, TOLERANCE))
        most = tf.argmax(tf.where(wanted, asked, -1.0), axis=1, output_type=tf.int32)
        solved = inside | useless
        support |= solved & wanted & (most[:, None] == coordinate)

        found = tf.tensor_scatter_nd_update(found, rows[:, None], u)
        going_on = tf.reduce_any(wanted | ~solved, axis=1)
        state = (rows, u, support, refused)
        return (round_ + 1, found, *(tf.boolean_mask(x, going_on) for x in state))

    nothing = tf.zeros_like(b, tf.bool)
    rows = tf.range(tf.shape(b, tf.int64)[0])
    _, found, *_ = tf.while_loop(
        lambda round_, found, rows, *_: tf.size(rows) > 0,
        move,
        (tf.constant(0), tf.zeros_like(b), rows, tf.zeros_like(b), nothing, nothing),
        shape_invariants=tuple(
            map(tf.TensorShape, ([], [None, k], [None], [None, k], [None, k], [None, k]))
        ),
        maximum_iterations=max_rounds,
    )
    return found
