"""Heads of many kinds and sizes, drawn at random, on planted concepts."""

import keras
import numpy as np
import planted
from keras import layers

import xplique_craft as xc

LAYER = planted.LAYER


def random_craft(seed: int) -> tuple[xc.Craft, np.ndarray]:
    """A craft of a random head, residual kept or dropped, and two to four images."""
    rng = np.random.default_rng(seed)
    k, c = (int(number) for number in (rng.integers(2, 7), rng.integers(6, 13)))
    images = planted.paintings(int(rng.integers(2, 5)), concepts=k, seed=seed)
    bank = planted.bank(k, c, seed)
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(images.shape[1:])
    x = layers.Conv2D(c, 1, activation="relu", use_bias=False, name=LAYER)(inputs)
    model = keras.Model(inputs, KINDS[seed % len(KINDS)](x, rng))
    model.get_layer(LAYER).set_weights([bank[None, None]])
    for layer in model.layers[2:]:
        layer.set_weights([_drawn(rng, weight) for weight in layer.get_weights()])
    shown = bank[: max(2, k - int(rng.integers(0, 2)))]
    craft = planted.fitted(model, shown, images, keep_residual=bool(rng.integers(2)))
    return craft, images


def _drawn(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """Kernels that keep the size of what they are given, biases that switch half of the units."""
    if weight.ndim == 1:
        return rng.normal(0.0, 0.5, weight.shape)
    return rng.normal(0.0, 1.0 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape)


def _dense(bend: str, pooled: bool = True):
    def head(x: keras.KerasTensor, rng: np.random.Generator) -> keras.KerasTensor:
        x = layers.GlobalAveragePooling2D()(x) if pooled else layers.Flatten()(x)
        for _ in range(int(rng.integers(1, 4))):
            x = layers.Dense(int(rng.integers(4, 65)), activation=bend)(x)
        return layers.Dense(3)(x)

    return head


def _convolutional(bend: str, pool: bool = False):
    def head(x: keras.KerasTensor, rng: np.random.Generator) -> keras.KerasTensor:
        x = layers.Conv2D(int(rng.integers(4, 17)), 3, padding="same", activation=bend)(x)
        x = layers.MaxPooling2D()(x) if pool else x
        x = layers.Conv2D(int(rng.integers(4, 17)), 3, activation=bend)(x)
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(x))

    return head


def _residual(x: keras.KerasTensor, rng: np.random.Generator) -> keras.KerasTensor:
    more = layers.Conv2D(x.shape[-1], 3, padding="same", activation="leaky_relu")(x)
    return layers.Dense(3)(layers.GlobalMaxPooling2D()(layers.Add()([x, more])))


def _attention(x: keras.KerasTensor, rng: np.random.Generator) -> keras.KerasTensor:
    tokens = layers.Reshape((-1, x.shape[-1]))(layers.AveragePooling2D(2)(x))
    read = layers.MultiHeadAttention(2, 4)(tokens, tokens)
    return layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.Add()([tokens, read])))


def _probabilities(x: keras.KerasTensor, rng: np.random.Generator) -> keras.KerasTensor:
    return layers.Softmax()(_dense("relu")(x, rng))


KINDS = [
    _dense("relu"),
    _convolutional("relu"),
    _convolutional("relu", pool=True),
    _dense("tanh"),
    _dense("relu6", pooled=False),
    _dense("gelu"),
    _probabilities,
    _residual,
    _attention,
    _convolutional("silu"),
]
