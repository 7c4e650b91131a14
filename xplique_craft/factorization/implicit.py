"""
The encoding u(a, W) and its derivative by the implicit function theorem.

With G, b and y = u G - b as in `nnls`, S = {j : u_j > 0} and strict complementarity (y_j > 0 off
S), S does not change in a neighbourhood of a row a, and there u_S solves G_SS u_S = W_S a^T.
Differentiating that equation,

    du_S/da = (W_S W_S^T)^-1 W_S,    0 off S,

so for the cotangent v of a row, with z = G_SS^-1 v_S (0 off S) and E = A - U W,

    da = z W,    dW = Z^T E - U^T (Z W)    (the latter summed over rows):

one k-sized solve a row, no unrolled iterations. Ref. Fel et al., CRAFT (CVPR 2023), section 3.3.

What breaks it: where complementarity is not strict (u_j = 0 and y_j = 0) u has a kink, and what is
returned is the derivative on the side where u_j stays 0. Where rows of W_S are dependent u is not
unique; a ridge then gives the derivative of the solution of least norm.

Which coefficients are positive
-------------------------------
*The problem.* At such a kink rounding decides whether u_j is 0 or 1e-5, and with it what S is. Take
W_1 = (1, 0), W_2 = (1, 0.01) and the row a = (2, 0). It is 2 W_1: u = (2, 0), and y_2 = 0, for
concept 1 leaves nothing to explain. If rounding makes u_2 positive, S is {1, 2} instead of {1}, and

    du_1/da = (1, -100) instead of (1, 0),    du_2/da = (0, 100) instead of 0.

A concept that is absent would draw gradients wherever a similar one is present.

*The rule.* Only what the row needs belongs to S. A small coefficient is left out, the others are
solved again, and it is put back only if the row then asks for it by more than rounding explains:
y_j < -r, where r is how far the rounding of b = a W^T may move y_j (`_rounding`). In the example
y_2 = 0 without concept 2, so it stays out. All small coefficients of a row are left out at once
and put back until no y_j asks for another: of two concepts that are alike, either may go, but not
both.

*What is small.* Leaving u_j out makes y_j = -u_j / (G_SS^-1)_jj, and (G_SS^-1)_jj <= (G^-1)_jj. So
what is above r (G^-1)_jj would be put back in any case, and is never left out.

*What it costs.* u itself does not change, only its derivative: a real coefficient that is as small
as that may draw no gradient. The limit grows with (G^-1)_jj, so with how alike the concepts are, as
the rounding of u does, and is never more than 1% of the row's largest coefficient. Rows that have
such coefficients need a few more k-sized solves, in the backward pass alone.
"""

from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from .._checks import warn
from .._compiled import compile_function
from .nnls import RIDGE, by_rows, encode_gram, kkt_residual
from .supports import solve_on_support

BACKWARD_RIDGE = 1e-8  # z is as large as 1 / ridge along dependent rows, and cancels in z W only
TOLERATED = {tf.float64: 1e-8, tf.float32: 1e-4}  # KKT residuals above are warned of
LARGEST_ROUNDING = 1e-2  # of a row's largest coefficient: what is above is never left out


def _gram(bank: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Directions (k, c), their Gram matrix and the norms, in float64."""
    wide = tf.cast(bank, tf.float64)
    norms = tf.linalg.norm(wide, axis=1)
    norms = tf.where(norms > 0.0, norms, 1.0)
    directions = wide / norms[:, None]
    return directions, directions @ tf.transpose(directions), norms


def _rounding(activations: tf.Tensor, k: int) -> tf.Tensor:
    """
    r, (n, 1) float64: by how much rounding may move b = a W^T of each row.

    In the precision of a: the two factors of each product, and c additions, whose errors go either
    way and so grow with sqrt(c). In float64: the k-sized systems.
    """
    channels = tf.cast(tf.shape(activations)[1], tf.float64)
    eps = np.finfo(activations.dtype.as_numpy_dtype).eps
    share = (2.0 + 0.5 * tf.sqrt(channels)) * eps + k * np.finfo(np.float64).eps
    return share * tf.cast(tf.norm(activations, axis=1, keepdims=True), tf.float64)


def _needed_support(
    gram: tf.Tensor, reach: tf.Tensor, ridge: float, u: tf.Tensor, b: tf.Tensor, rounding: tf.Tensor
) -> tf.Tensor:
    """
    The coefficients (n, k) bool that rows need, by the rule above, among those with u > 0.

    `reach` (k,) is the diagonal of G^-1, `rounding` (n, 1) is r, and `ridge` is added to the
    diagonal of the systems that are solved again.
    """
    largest = tf.reduce_max(u, axis=1, keepdims=True)
    certain = u > tf.minimum(rounding * reach, LARGEST_ROUNDING * largest)
    rows = tf.where(tf.reduce_any((u > 0.0) & ~certain, axis=1))[:, 0]
    b, rounding, positive = (tf.gather(x, rows) for x in (b, rounding, u > 0.0))

    def put_back(support: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        slack = solve_on_support(gram, b, support, ridge) @ gram - b  # y
        missing = positive & ~support & (slack < -rounding)
        return support | missing, tf.reduce_any(missing)

    support, _ = tf.while_loop(
        lambda _, going_on: going_on, put_back, (tf.gather(certain, rows), tf.size(rows) > 0)
    )
    return tf.tensor_scatter_nd_update(certain, rows[:, None], support)


@tf.custom_gradient
def encode_rows(activations: tf.Tensor, bank: tf.Tensor) -> Any:
    """
    Exact non-negative coefficients of rows, differentiable with respect to both arguments.

    To be called inside a compiled function, where k, the number of bank rows, is known.

    Parameters
    ----------
    activations
        A, (n, c), float32 or float64.
    bank
        W, (k, c), of the same type.

    Returns
    -------
    u
        (n, k), >= 0, of the same type.
    residual
        (n,): relative KKT residual of each row, not differentiable.
    """
    precision = activations.dtype
    directions, gram, norms = _gram(bank)
    products = tf.matmul(activations, tf.cast(directions, precision), transpose_b=True)
    b = tf.cast(products, tf.float64)
    scaled = by_rows(
        lambda b, rows: encode_gram(gram, b, rows, directions), gram.shape[0], b, activations
    )
    u = tf.cast(scaled / norms, precision)
    # Of what is returned, in its own precision.
    residual = tf.cast(kkt_residual(tf.cast(u, tf.float64) * norms, gram, b), precision)

    def gradient(cotangent: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wide = tf.cast(cotangent, tf.float64) / norms
        k, ridge = gram.shape[0], RIDGE[precision]
        reach = tf.linalg.diag_part(tf.linalg.inv(gram + ridge * tf.eye(k, dtype=tf.float64)))

        def solve(v: tf.Tensor, *row: tf.Tensor) -> tf.Tensor:
            support = _needed_support(gram, reach, ridge, *row)
            return solve_on_support(gram, v, support, BACKWARD_RIDGE)

        z = by_rows(solve, k, wide, scaled, b, _rounding(activations, k)) / norms
        into_rows = tf.cast(z @ tf.cast(bank, tf.float64), precision)
        z = tf.cast(z, precision)
        unexplained = activations - u @ bank
        into_bank = tf.matmul(z, unexplained, transpose_a=True) - tf.matmul(
            u, into_rows, transpose_a=True
        )
        return into_rows, into_bank

    return (u, residual), gradient


@cache
def _compiled(k: int, dtype: tf.DType) -> Any:
    """One trace for each number of concepts and precision, whatever the bank."""

    signature = [tf.TensorSpec([None, None], dtype), tf.TensorSpec([k, None], dtype)]
    return compile_function(lambda activations, bank: encode_rows(activations, bank), signature)


def encode(activations: tf.Tensor | np.ndarray, bank: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """
    Exact non-negative coefficients at every position.

    Parameters
    ----------
    activations
        A, (..., c), float32 or float64; other types are computed in float32.
    bank
        W, (k, c).

    Returns
    -------
    u
        (..., k), >= 0.
    residual
        (...): relative KKT residual, max |min(u, uG - b)| / max |b|, bank rows of unit norm. Rows
        whose residual is above 1e-4 (float32) or 1e-8 (float64) are warned of, but not inside a
        compiled function.
    """
    activations = tf.convert_to_tensor(activations)
    if activations.dtype not in (tf.float32, tf.float64):
        activations = tf.cast(activations, tf.float32)
    shape = tf.shape(activations)[:-1]
    k, channels = bank.shape
    rows = tf.reshape(activations, [-1, channels])
    u, residual = _compiled(k, activations.dtype)(rows, tf.cast(bank, activations.dtype))
    if tf.executing_eagerly():
        _warn_inexact(residual.numpy(), TOLERATED[activations.dtype])
    return tf.reshape(u, tf.concat([shape, [k]], 0)), tf.reshape(residual, shape)


def _warn_inexact(residual: np.ndarray, tolerated: float) -> None:
    inexact = residual[residual > tolerated]
    if inexact.size:
        warn(
            f"The coefficients of {inexact.size} of {residual.size} positions are not exact: their "
            f"KKT residual is up to {inexact.max():.0e}, above {tolerated:.0e}. Some concepts are "
            "almost mixtures of others, so that rounding decides between them: ask for fewer "
            "concepts, or give activations in float64."
        )
