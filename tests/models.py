"""Small Keras models and planted problems, for the tests of the numerical core."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf


class Planted(NamedTuple):
    """Activations A = U W with known factors."""

    activations: np.ndarray
    coefficients: np.ndarray
    bank: np.ndarray


def planted_factorization(rng, n=200, k=4, c=24, noise=0.0):
    """
    A = U W whose non-negative factorisation is unique: float32 (n, c), (n, k), (k, c).

    Every concept has rows that show it alone and channels that only it uses, which makes the
    factors identifiable but for their scale and order (Donoho & Stodden, NeurIPS 2003).
    """
    bank = rng.uniform(0.2, 1.0, (k, c)) * (rng.random((k, c)) < 0.4)
    bank[:, :k] = np.diag(rng.uniform(0.5, 1.0, k))
    coefficients = rng.gamma(1.0, 1.0, (n, k)) * (rng.random((n, k)) < 0.6)
    coefficients[: 5 * k] = np.tile(np.eye(k), (5, 1)) * rng.uniform(0.5, 2.0, (5 * k, 1))
    activations = coefficients @ bank
    activations += noise * activations.mean() * rng.random(activations.shape)
    return Planted(*(x.astype(np.float32) for x in (activations, coefficients, bank)))


def random_bank(rng, k=20, c=64):
    """(k, c) float64, non-negative, a third of its entries 0."""
    return np.maximum(rng.standard_normal((k, c)) + 0.4, 0.0)


def dependent_bank(rng, k=20, c=64):
    """(k, c) float64 of which a quarter are copies, sums or multiples of other rows."""
    bank = random_bank(rng, k, c)
    extra = k // 4
    bank[-extra:] = bank[:extra] + bank[extra : 2 * extra]
    bank[-1], bank[-2] = bank[0], 3.0 * bank[1]
    return bank


def conditioned_bank(rng, condition, k=20, c=64):
    """(k, c) float64, signed, with singular values from 1 to 1 / condition, evenly in logarithm."""
    left, _ = np.linalg.qr(rng.standard_normal((k, k)))
    right, _ = np.linalg.qr(rng.standard_normal((c, k)))
    return (left * np.logspace(0.0, -np.log10(condition), k)) @ right.T


def convolution_model(seed=0, dtype="float64", side=6, channels=10):
    """A smooth g: (side, side, 3) images -> (side - 2, side - 2, channels) positive activations."""
    inputs = keras.Input((side, side, 3), dtype=dtype)
    layer = keras.layers.Conv2D(
        channels,
        3,
        activation="softplus",
        dtype=dtype,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=seed),
    )
    return keras.Model(inputs, layer(inputs))


def datasets_of(images, labels=None, batch=3):
    """The same images as every kind of tf.data.Dataset that is expected to work, by name."""
    data = images if labels is None else (images, labels)
    plain = tf.data.Dataset.from_tensor_slices(data)
    return {
        "plain": plain,
        "batched": plain.batch(batch),
        "prefetched": plain.batch(batch).prefetch(tf.data.AUTOTUNE),
        "one batch": plain.batch(max(1, len(images))),
        "mapped": plain.map(lambda *x: x[0] if len(x) == 1 else x),
        "mapped batches": plain.batch(batch).map(lambda *x: x[0] if len(x) == 1 else x),
        "cached": plain.cache().prefetch(2),
    }
