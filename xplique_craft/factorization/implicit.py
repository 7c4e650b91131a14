"""
The encoding u(a, W) and its derivative by the implicit function theorem.

With S = {j : u_j > 0} and strict complementarity (y_j > 0 off S), S does not change in a
neighbourhood of a row a, and there u_S solves G_SS u_S = W_S a^T. Differentiating that equation,

    du_S/da = (W_S W_S^T)^-1 W_S,    0 off S,

so for the cotangent v of a row, with z = G_SS^-1 v_S (0 off S) and E = A - U W,

    da = z W,    dW = Z^T E - U^T (Z W)    (the latter summed over rows):

one k-sized solve a row, no unrolled iterations. Ref. Fel et al., CRAFT (CVPR 2023), section 3.3.

What breaks it: where complementarity is not strict (u_j = 0 and y_j = 0, so wherever other concepts
reconstruct a row exactly) u has a kink, and what is returned is the derivative on the side where
u_j stays 0. Coefficients within rounding of 0 are taken for 0, or they would draw gradients where
their concept is not. Where rows of W_S are dependent u is not unique; a
ridge then gives the derivative of the solution of least norm.
"""

from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from .._compiled import compile_function
from .nnls import by_rows, encode_gram, kkt_residual, solve_on_support

__all__ = ["encode", "encode_rows"]

BACKWARD_RIDGE = 1e-8  # z is as large as 1 / ridge along dependent rows, and cancels in z W only
# Of a row's largest coefficient: what is below is rounding, and counts as 0.
SMALLEST_COEFFICIENT = {tf.float32: 2e-6, tf.float64: 1e-12}


def _gram(bank: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Directions (k, c) in the bank's precision, their Gram matrix and the norms in float64."""
    wide = tf.cast(bank, tf.float64)
    norms = tf.linalg.norm(wide, axis=1)
    norms = tf.where(norms > 0.0, norms, 1.0)
    directions = wide / norms[:, None]
    return tf.cast(directions, bank.dtype), directions @ tf.transpose(directions), norms


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
    b = tf.cast(tf.matmul(activations, directions, transpose_b=True), tf.float64)
    scaled = encode_gram(gram, b, precision)
    u = tf.cast(scaled / norms, precision)
    # Of what is returned, in its own precision.
    residual = tf.cast(kkt_residual(tf.cast(u, tf.float64) * norms, gram, b), precision)

    def gradient(cotangent: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wide = tf.cast(cotangent, tf.float64) / norms
        largest = tf.reduce_max(scaled, axis=1, keepdims=True)
        support = scaled > SMALLEST_COEFFICIENT[precision] * largest
        z = by_rows(
            lambda v, s: solve_on_support(gram, v, s, BACKWARD_RIDGE), gram.shape[0], wide, support
        )
        z /= norms
        into_rows = tf.cast(z @ tf.cast(bank, tf.float64), precision)
        z = tf.cast(z, precision)
        error = activations - u @ bank
        into_bank = tf.matmul(z, error, transpose_a=True) - tf.matmul(
            u, into_rows, transpose_a=True
        )
        return into_rows, into_bank

    return (u, residual), gradient


@cache
def _compiled(k: int, dtype: tf.DType) -> Any:
    """One trace for each number of concepts and precision, whatever the bank."""

    def compiled(activations: tf.Tensor, bank: tf.Tensor) -> Any:
        return encode_rows(activations, bank)

    signature = [tf.TensorSpec([None, None], dtype), tf.TensorSpec([k, None], dtype)]
    return compile_function(compiled, signature)


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
        (...): relative KKT residual, max |min(u, uG - b)| / max |b|, bank rows of unit norm.
    """
    activations = tf.convert_to_tensor(activations)
    if activations.dtype not in (tf.float32, tf.float64):
        activations = tf.cast(activations, tf.float32)
    shape = tf.shape(activations)[:-1]
    k, channels = bank.shape
    rows = tf.reshape(activations, [-1, channels])
    u, residual = _compiled(k, activations.dtype)(rows, tf.cast(bank, activations.dtype))
    return tf.reshape(u, tf.concat([shape, [k]], 0)), tf.reshape(residual, shape)
