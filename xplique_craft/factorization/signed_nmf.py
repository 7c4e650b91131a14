"""
Non-negative matrix factorisation of signed activations (tokens, GELU, SiLU): channels by sign.

    A ~ mean + U W,    U >= 0,    W of any sign

Channels are brought to a common scale and split by sign: z = (A - mean) / s, and of every channel
there are two, z+ = max(z, 0) and z- = max(-z, 0). These are non-negative, and NMF finds parts that
add up in them as it does after a ReLU. With W / s split in the same way, (W+, W-),

    u(a) = argmin_{u >= 0} 1/2 ||z+ - u W+||^2 + 1/2 ||z- - u W-||^2

A concept pushes some channels above their mean and others below. What differs from semi-NMF, whose
encoding is 1/2 ||z - u W||^2, is what a row lacks: a row that is below the mean where a concept
pushes up is as far from the concept as one at the mean. No concept is needed to bring it back, so
concepts are what is there, not what cancels. Semi-NMF's do cancel: its rows are rebuilt as well,
and its concepts show little to the eye (benchmarks/results/tokens_tried.md).

Both ends of a channel may be found in one concept, as it shows rows of both signs; they cancel in
A, so W is their difference. It is the whole bank: what it splits into is made again of W.

What is above the mean at one place of a crop and below it at another cancels when activations are
pooled; coefficients do not. So a crop is ranked by the mean of its places' coefficients, which
shows purer crops than the coefficient of its mean does.

The common scale s is the standard deviation of a channel, or a tenth of the median channel's where
that is more: channels that hardly vary are not blown up, and one that is a hundred times as large
as the others, as transformers have them, counts as one.
"""

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from .base import Factorized, Factorizer, weighted
from .implicit import encode
from .nmf import NMF

LEAST_SCALE = 0.1  # of the median standard deviation: channels that vary less count less
CONSTANT = 1e-6  # of the largest: channels that vary less are constant, but for rounding


class SignedNMF(Factorizer):
    """
    NMF of channels split by sign: U >= 0, W of any sign, around the mean.

    Where no concept is present, activations are at their mean: gates lead there, and a score is
    counted from there.

    Parameters
    ----------
    max_iter, tolerance, solver
        How NMF solves, see `NMF`.
    """

    name: ClassVar[str] = "signed-nmf"
    around_mean: ClassVar[bool] = True
    crops_by_place: ClassVar[bool] = True
    position_weight: ClassVar[float] = 6.0  # pooled, the activations of crops nearly cancel

    def __init__(self, max_iter: int = 1000, tolerance: float = 1e-6, solver: str = "auto") -> None:
        nmf = NMF(max_iter, tolerance, solver)  # which checks them
        self.max_iter, self.tolerance, self.solver = nmf.max_iter, nmf.tolerance, nmf.solver

    def compared(self, rows: np.ndarray) -> np.ndarray:
        """Rows around their mean, in the common scale of their channels."""
        centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
        return centred / _common_scale(centred, None)

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Factorized:
        wide = rows.astype(np.float64)
        mean = np.average(wide, axis=0, weights=weights)
        scale = _common_scale(wide - mean, weights)
        # As they will be kept, so that what is fitted is what is encoded with.
        mean, scale = mean.astype(np.float32), scale.astype(np.float32)
        parts = split_by_sign((rows - mean) / scale)
        found = NMF(self.max_iter, self.tolerance, self.solver)._fit(parts, k, seed, weights)
        above, below = np.split(found.bank, 2, axis=1)
        bank = scale * (above - below)
        u, _ = encode(parts, split_by_sign(bank / scale))
        error = weighted(rows - (mean + u.numpy() @ bank), weights)
        return self._found(
            bank,
            offset=mean,
            scale=scale,
            converged=found.converged,
            iterations=found.iterations,
            relative_error=_norm(error) / _norm(weighted(rows, weights)),
        )

    def _encoded_by(self, directions: np.ndarray) -> np.ndarray:
        return split_by_sign(directions)  # a concept and its opposite are two

    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: Any, offset: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """
        Exact coefficients of both halves together and their relative KKT residual.

        They are differentiable, see `implicit.encode`; where a channel is exactly at its mean, z+
        and z- have the derivative of a ReLU at 0, which is 0.
        """
        activations = tf.convert_to_tensor(activations)
        above_mean = activations - tf.cast(offset, activations.dtype)
        parts = tf.concat([tf.nn.relu(above_mean), tf.nn.relu(-above_mean)], axis=-1)
        return encode(parts, split_by_sign(np.asarray(bank)))


def split_by_sign(values: np.ndarray) -> np.ndarray:
    """[max(z, 0), max(-z, 0)], (..., 2c), of z (..., c)."""
    return np.concatenate([np.maximum(values, 0.0), np.maximum(-values, 0.0)], axis=-1)


def _common_scale(centred: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """s, (c,): what channels are divided by. A ValueError where all rows are alike."""
    spread = np.sqrt(np.average(np.square(centred), axis=0, weights=weights))
    varying = spread[spread > CONSTANT * spread.max()]
    if not len(varying):
        raise ValueError(
            "All rows of activations are alike, so nothing is above or below their mean. Give more "
            "varied images."
        )
    return np.maximum(spread, LEAST_SCALE * np.median(varying))


def _norm(rows: np.ndarray) -> float:
    return float(np.sqrt(np.square(rows, dtype=np.float64).sum()))
