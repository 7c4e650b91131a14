"""Models of every kind that can be split, and some that cannot; what splitting must preserve."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose

from xplique_craft.splitting.split import Split

SHAPE = (8, 8, 3)


def residual_model() -> keras.Model:
    """A residual block, a concatenation, an affine head."""
    x = image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = shortcut = layers.ReLU(name="stem_relu")(x)
    x = layers.Conv2D(4, 3, padding="same", name="branch")(x)
    x = layers.BatchNormalization(name="branch_bn")(x)
    x = layers.Add(name="add")([x, shortcut])
    x = layers.ReLU(name="add_relu")(x)
    left = layers.Conv2D(3, 1, activation="relu", name="left")(x)
    right = layers.Conv2D(5, 1, activation="relu", name="right")(x)
    x = layers.Concatenate(name="concat")([left, right])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="residual")


def sequential_layers() -> list[keras.layers.Layer]:
    return [
        layers.Conv2D(7, 3, name="conv"),
        layers.ReLU(name="relu"),
        layers.Flatten(name="flatten"),
        layers.Dense(3, name="logits"),
    ]


def sequential_model() -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), *sequential_layers()], name="with_input")


def called_sequential_model() -> keras.Model:
    model = keras.Sequential(sequential_layers(), name="called")
    model(np.zeros((2, *SHAPE), np.float32))
    return model


def backbone(name: str = "backbone", filters: int = 4, channels: int = 3) -> keras.Model:
    """Names of its layers are the same whatever its own name is."""
    x = image = keras.Input((None, None, channels))
    x = layers.Conv2D(filters, 3, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    return keras.Model(image, layers.ReLU(name="relu")(x), name=name)


def nested_model() -> keras.Model:
    """Functional in Functional, as in transfer learning."""
    image = keras.Input(SHAPE, name="image")
    x = backbone()(image, training=False)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="nested")


def twice_nested_model() -> keras.Model:
    """A Sequential and a Functional in a Functional in a Functional, with names that collide."""
    inner_image = keras.Input(SHAPE)
    x = backbone("first")(inner_image)
    x = keras.Sequential([layers.Conv2D(6, 3, name="conv"), layers.ReLU(name="relu")], name="tail")(
        x
    )
    inner = keras.Model(inner_image, x, name="inner")
    image = keras.Input(SHAPE, name="image")
    x = inner(layers.Rescaling(0.5, name="scale")(image))
    x = backbone("second", channels=6)(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="outer")


def nested_sequential_model() -> keras.Model:
    """Functional, then Sequential, in a Sequential."""
    head = keras.Sequential(
        [layers.Dense(6, activation="relu", name="hidden"), layers.Dense(3, name="logits")],
        name="head",
    )
    return keras.Sequential(
        [keras.Input(SHAPE), backbone(), layers.GlobalMaxPooling2D(name="pool"), head],
        name="sequence",
    )


def raw_operations_model() -> keras.Model:
    """Operations that are no layers, and a layer called twice."""
    image = keras.Input(SHAPE, name="image")
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    x = keras.ops.relu(shared(image) + image)
    x = layers.Identity(name="middle")(x)
    x = keras.ops.concatenate([shared(x)[..., :2], 2.0 * x], axis=-1)
    return keras.Model(image, keras.ops.mean(x, axis=(1, 2)), name="raw")


def attention_model() -> keras.Model:
    """Tokens, and a layer with two tensor arguments."""
    x = image = keras.Input(SHAPE, name="image")
    x = layers.Reshape((16, 12), name="tokens")(layers.Conv2D(3, 1, name="conv")(x))
    attended = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="add")([x, attended]))
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="attention")


MODELS = [
    residual_model,
    sequential_model,
    called_sequential_model,
    nested_model,
    twice_nested_model,
    nested_sequential_model,
    raw_operations_model,
    attention_model,
]


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, activation="relu")

    def call(self, x):
        return self.dense(x)


def randomised(model: keras.Model, rng: np.random.Generator) -> keras.Model:
    """The model with weights that hide nothing: biases and statistics are not 0 and 1."""
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(rng.uniform(0.2, 1.0, weight.shape) * rng.choice([1, -1], weight.shape))
            if "variance" in weight.path:
                weight.assign(np.abs(weight))
    return model


def error_of(function: Callable, *args: object) -> str:
    """What a call raises, type and message."""
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args)
    return f"{caught.type.__name__}: {caught.value}"


def assert_composes(split: Split, model: keras.Model, images: np.ndarray) -> None:
    expected = np.asarray(model(images))
    latent = split.input_to_latent(images)
    assert_allclose(np.asarray(split.latent_to_logit(latent)), expected, rtol=1e-5, atol=1e-5)
    assert_allclose(np.asarray(split.model(images)), expected, rtol=1e-5, atol=1e-5)
