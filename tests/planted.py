"""
Planted problems: small networks whose concepts, coefficients and scores are known beforehand.

An image is a painting whose channel j holds how much of concept j there is at each pixel. g is a
1x1 convolution with the rows of the bank as its kernel, so A = U W with U the painting itself.
Every head has a second implementation here, in NumPy and float64.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike

import xplique_craft as xc
from xplique_craft.factorization import NMF, Factorized
from xplique_craft.gates import Coded

HEADS = ("affine", "relu", "attention")
LATENTS = ("map", "pooled")
LAYER = "latent"


class Given(NMF):
    """A factorizer whose bank was known before."""

    def __init__(self, bank: ArrayLike) -> None:
        super().__init__(max_iter=1)
        self.given = np.asarray(bank, np.float32)

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Factorized:
        return replace(super()._fit(rows, k, seed, weights), bank=self.given)


# ------------------------------------------------------------------------------------- pictures
def paintings(
    number: int, size: tuple[int, int] = (8, 8), concepts: int = 3, seed: int = 0
) -> np.ndarray:
    """(n, H, W, k): sparse random blocks of 2x2 pixels, some of each concept in every image."""
    rng = np.random.default_rng(seed)
    blocks = rng.uniform(0.2, 1.0, (number, size[0] // 2, size[1] // 2, concepts))
    blocks *= rng.random(blocks.shape) < 0.6
    blocks[:, 0, 0] = 0.5
    return blocks.repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)


def square(
    size: tuple[int, int], top: int, left: int, side: int, channel: int, channels: int = 3
) -> np.ndarray:
    """(H, W, channels): one square of one concept, black around it."""
    image = np.zeros((*size, channels), np.float32)
    image[top : top + side, left : left + side, channel] = 1.0
    return image


def bank(concepts: int = 3, channels: int = 5, seed: int = 0) -> np.ndarray:
    """(k, c): non-negative and well conditioned, no two rows orthogonal."""
    rng = np.random.default_rng(seed)
    return (np.eye(concepts, channels) + rng.uniform(0.1, 0.4, (concepts, channels))).astype(
        np.float32
    )


# -------------------------------------------------------------------------------------- networks
def _noise(seed: int) -> keras.Initializer:
    return keras.initializers.RandomNormal(stddev=1.0, seed=seed)


def _dense(units: int, name: str, seed: int, **settings: Any) -> layers.Dense:
    """A dense layer with a random kernel and a random bias."""
    return layers.Dense(
        units,
        name=name,
        kernel_initializer=_noise(seed),
        bias_initializer=_noise(seed + 100),
        **settings,
    )


def _pooled(x: keras.KerasTensor) -> keras.KerasTensor:
    averages = {3: layers.GlobalAveragePooling1D, 4: layers.GlobalAveragePooling2D}
    return averages[len(x.shape)]()(x) if len(x.shape) in averages else x


def head(kind: str, latent: keras.KerasTensor, classes: int, seed: int) -> keras.KerasTensor:
    """h: affine, with a ReLU before its average, or with places (or features) that compete."""
    logits = _dense(classes, "logits", seed)
    if kind == "affine":
        return logits(_pooled(latent))
    if kind == "relu":
        return logits(_pooled(_dense(6, "hidden", seed + 1, activation="relu")(latent)))
    values = _dense(6, "hidden", seed + 1)
    if len(latent.shape) == 2:
        hidden = values(latent)
        return logits(layers.Multiply()([layers.Softmax()(hidden), hidden]))
    places = latent
    if len(latent.shape) == 4:
        places = layers.Reshape((-1, latent.shape[-1]))(latent)
    weights = layers.Softmax(axis=1)(_dense(1, "attention", seed + 2)(places))
    return logits(ops.sum(layers.Multiply()([weights, values(places)]), axis=1))


def logits_by_numpy(kind: str, model: keras.Model, activations: np.ndarray) -> np.ndarray:
    """h once more: activations (n, ..., c) -> logits (n, classes), float64."""

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        kernel, bias = (w.astype(np.float64) for w in model.get_layer(name).get_weights())
        return x @ kernel + bias

    a = np.asarray(activations, np.float64)
    places = a.reshape(len(a), -1, a.shape[-1])
    if kind == "affine":
        return dense(places.mean(axis=1), "logits")
    if kind == "relu":
        return dense(np.maximum(dense(places, "hidden"), 0.0).mean(axis=1), "logits")
    if a.ndim == 2:
        hidden = dense(a, "hidden")
        return dense(_softmax(hidden, 1) * hidden, "logits")
    weights = _softmax(dense(places, "attention"), 1)
    return dense((weights * dense(places, "hidden")).sum(axis=1), "logits")


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def network(
    mixing: np.ndarray,
    kind: str = "affine",
    *,
    latent: str = "map",
    size: tuple[int | None, int | None] = (8, 8),
    stride: int = 1,
    classes: int = 3,
    seed: int = 7,
) -> keras.Model:
    """
    A model, cut at LAYER, whose activations are A = U W for paintings U.

    `mixing` is W (k, c); `latent` says whether A keeps its places: "map" (n, h, w, c), "tokens"
    (n, h w, c) or "pooled" (n, c). With a stride, A is averaged over cells of so many pixels.
    """
    concepts, channels = mixing.shape
    image = keras.Input((*size, concepts), name="image")
    mix = layers.Conv2D(channels, 1, use_bias=False, activation="relu", name="mix")
    x = mix(image)
    if stride > 1:
        x = layers.AveragePooling2D(stride, name="cells")(x)
    if latent == "map":
        x = layers.Identity(name=LAYER)(x)
    elif latent == "tokens":
        x = layers.Reshape((-1, channels), name=LAYER)(x)
    else:
        x = layers.GlobalAveragePooling2D(name=LAYER)(x)
    model = keras.Model(image, head(kind, x, classes, seed), name="planted")
    mix.set_weights([mixing[None, None]])
    return model


def function_network(
    formula: Callable[[keras.KerasTensor], keras.KerasTensor], concepts: int
) -> keras.Model:
    """A model of one output whose f_x(m) is formula(m) for the image of ones and the bank I."""
    image = keras.Input((2, 2, concepts), name="image")
    latent = layers.GlobalAveragePooling2D(name=LAYER)(image)
    return keras.Model(image, ops.expand_dims(formula(latent), -1), name="formula")


# ---------------------------------------------------------------------------------------- crafts
def fitted(
    model: keras.Model | xc.Split,
    concept_bank: ArrayLike,
    images: Any,
    class_id: int = 0,
    **settings: Any,
) -> xc.Craft:
    """A craft of that bank. Neither its rank nor what the images are predicted as matters here."""
    concept_bank = np.asarray(concept_bank)
    craft = xc.Craft.from_model(
        model,
        LAYER if isinstance(model, keras.Model) else None,
        len(concept_bank),
        factorizer=Given(concept_bank),
        **settings,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only .* images are predicted as class")
        warnings.filterwarnings("ignore", message="The bank of .* concepts has rank")
        craft.fit(images, class_id)
    return craft


def function_craft(
    formula: Callable[[keras.KerasTensor], keras.KerasTensor],
    concepts: int,
    images: int = 1,
    **settings: Any,
) -> tuple[xc.Craft, np.ndarray]:
    """A craft with f_x(m) = formula(m) for every image, and its images."""
    ones = np.ones((max(images, 1), 2, 2, concepts), np.float32)
    model = function_network(formula, concepts)
    return fitted(model, np.eye(concepts), ones, **settings), ones[:images]


def coded(
    craft: xc.Craft,
    images: np.ndarray,
    targets: Any = None,
    *,
    keep_residual: bool = True,
) -> Coded:
    """Images in terms of the craft's concepts, as one batch."""
    together = craft.variant(batch_size=len(images), keep_residual=keep_residual)
    (batch,) = together.batches(images, targets)
    return batch


def by_sampling(model: Any, inputs: Any, targets: Any) -> Any:
    """The default score as an operator of the user's, of which nothing can be known beforehand."""
    return ops.sum(model(inputs) * targets, axis=-1)


def one_hot(classes: ArrayLike, number: int) -> np.ndarray:
    """Classes (n,) as (n, number) float32."""
    return np.eye(number, dtype=np.float32)[np.asarray(classes)]


# ------------------------------------------------------------------------- a network of no plan
def convolutional(
    size: tuple[int | None, int | None] = (16, 24),
    *,
    filters: int = 8,
    bend: str = "softplus",
    classes: int = 3,
    seed: int = 0,
) -> keras.Model:
    """A random network with five layers of weights and a head that is not affine but bends."""

    def convolution(filters: int, name: str, at: int, activation: str = "relu") -> layers.Conv2D:
        return layers.Conv2D(
            filters,
            3,
            padding="same",
            activation=activation,
            name=name,
            kernel_initializer=keras.initializers.HeNormal(seed=seed + at),
            bias_initializer=keras.initializers.RandomNormal(stddev=0.1, seed=seed + at),
        )

    image = keras.Input((*size, 3), name="image")
    x = convolution(8, "first", 1)(image)
    x = layers.MaxPooling2D(2, name="half")(x)
    x = convolution(filters, LAYER, 2)(x)
    x = convolution(8, "third", 3, bend)(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = _dense(8, "fourth", seed + 4, activation=bend)(x)
    return keras.Model(image, _dense(classes, "logits", seed + 5)(x), name="convolutional")


def predicted(model: keras.Model, images: np.ndarray) -> int:
    """The class that most images are predicted as."""
    return int(np.bincount(model(images).numpy().argmax(axis=1)).argmax())


def convolutional_craft(images: np.ndarray, concepts: int = 3, **settings: Any) -> xc.Craft:
    """A craft of `convolutional`, of the class that most of the images are predicted as."""
    model = convolutional(images.shape[1:3])
    craft = xc.Craft.from_model(model, LAYER, concepts, **settings)
    craft.fit(images, predicted(model, images))
    return craft
