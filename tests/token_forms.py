"""
Small models of random weights in the forms that people train: hierarchical, with windows, hybrid.

Each has signed activations and residual blocks, and is wired as its example is: a ConvNeXt of
convolutions by channel, a Swin of shifted windows (normalised before its parts, or after them as in
its second version), a MobileViT that unfolds a feature map into tokens and folds it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops
from transformers import transformer

SIDE, CHANNELS, CLASSES = 32, 8, 3
WINDOW = 2


class LayerScale(layers.Layer):
    """Channels times learned numbers, as ConvNeXt has them at the end of each block."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.gamma = self.add_weight(
            shape=(input_shape[-1],), name="gamma", initializer=keras.initializers.Constant(0.5)
        )

    def call(self, x):
        return x * self.gamma


def convnext() -> keras.Model:
    """Two stages; the head is average, LayerNorm, dense."""
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(CHANNELS, 4, strides=4, name="stem")(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    x = _convnext_block(x, "stage0")
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Conv2D(2 * CHANNELS, 2, strides=2, name="downsampled")(x)
    x = _convnext_block(x, "stage1")
    x = layers.LayerNormalization(epsilon=1e-6)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(CLASSES, name="logits")(x), name="convnext")


def _convnext_block(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    c = x.shape[-1]
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    y = layers.LayerNormalization(epsilon=1e-6)(y)
    y = layers.Dense(c)(layers.Activation("gelu")(layers.Dense(4 * c)(y)))
    return layers.Add(name=name)([x, LayerScale()(y)])


def swin(normalised_first: bool = True) -> keras.Model:
    """Shifted windows on 8 x 8 tokens, merged into 4 x 4; the head is LayerNorm, average, dense."""
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(CHANNELS, 4, strides=4)(x)
    x = layers.LayerNormalization()(layers.Reshape((64, CHANNELS), name="embedded")(x))
    for i in range(2):
        x = _swin_block(x, 8, i * WINDOW // 2, normalised_first, f"fine{i}")
    x = ops.reshape(x, (-1, 8, 8, CHANNELS))
    parts = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    x = layers.Reshape((16, 4 * CHANNELS))(ops.concatenate(parts, axis=-1))
    x = layers.Dense(2 * CHANNELS, use_bias=False, name="merged")(layers.LayerNormalization()(x))
    for i in range(2):
        x = _swin_block(x, 4, i * WINDOW // 2, normalised_first, f"coarse{i}")
    x = layers.GlobalAveragePooling1D(name="pooled")(layers.LayerNormalization()(x))
    name = "swin" if normalised_first else "swin_v2"
    return keras.Model(image, layers.Dense(CLASSES, name="logits")(x), name=name)


def _swin_block(
    x: keras.KerasTensor, side: int, shift: int, normalised_first: bool, name: str
) -> keras.KerasTensor:
    def part(x: keras.KerasTensor, layer: Callable[..., Any], name: str) -> keras.KerasTensor:
        norm = layers.LayerNormalization()
        y = layer(norm(x)) if normalised_first else norm(layer(x))
        return layers.Add(name=name)([x, y])

    def dense(x: keras.KerasTensor) -> keras.KerasTensor:
        return layers.Dense(x.shape[-1])(layers.Dense(2 * x.shape[-1], activation="gelu")(x))

    x = part(x, lambda y: _windows(y, side, shift), f"{name}_attended")
    return part(x, dense, name)


def _windows(x: keras.KerasTensor, side: int, shift: int) -> keras.KerasTensor:
    """Attention in windows of a grid that is rolled by `shift` before, and back after."""
    c, n = x.shape[-1], side // WINDOW
    y = ops.roll(ops.reshape(x, (-1, side, side, c)), (-shift, -shift), axis=(1, 2))
    y = ops.transpose(ops.reshape(y, (-1, n, WINDOW, n, WINDOW, c)), (0, 1, 3, 2, 4, 5))
    y = ops.reshape(y, (-1, WINDOW**2, c))  # as many rows as there are windows in all images
    y = layers.MultiHeadAttention(2, c // 2)(y, y)
    y = ops.transpose(ops.reshape(y, (-1, n, n, WINDOW, WINDOW, c)), (0, 1, 3, 2, 4, 5))
    y = ops.roll(ops.reshape(y, (-1, side, side, c)), (shift, shift), axis=(1, 2))
    return ops.reshape(y, (-1, side**2, c))


def mobilevit() -> keras.Model:
    """Convolutions, a transformer over unfolded patches of a feature map, convolutions."""
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(CHANNELS, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.Activation("silu", name="stem")(layers.BatchNormalization()(x))
    x = layers.Conv2D(CHANNELS, 3, strides=2, padding="same", activation="silu")(x)
    x = before = layers.Activation("silu", name="local")(layers.Conv2D(CHANNELS, 1)(x))
    x = ops.transpose(ops.reshape(x, (-1, 4, 2, 4, 2, CHANNELS)), (0, 2, 4, 1, 3, 5))
    x = ops.reshape(x, (-1, 16, CHANNELS))  # pixels of a place in the patches are rows of a batch
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, CHANNELS // 2)(y, y)])
        y = layers.Dense(2 * CHANNELS, activation="silu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(CHANNELS)(y)])
    x = ops.reshape(layers.LayerNormalization()(x), (-1, 2, 2, 4, 4, CHANNELS))
    x = ops.reshape(ops.transpose(x, (0, 3, 1, 4, 2, 5)), (-1, 8, 8, CHANNELS))
    x = layers.Conv2D(CHANNELS, 1, activation="silu")(x)
    x = layers.Concatenate(name="joined")([before, x])
    x = layers.Conv2D(2 * CHANNELS, 3, padding="same", activation="silu", name="fused")(x)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(image, layers.Dense(CLASSES, name="logits")(x), name="mobilevit")


@dataclass(frozen=True)
class Form:
    """
    A model, where it is cut, and what stands there.

    Parameters
    ----------
    make
        Makes the model, with weights by Keras's seed.
    layer
        Where it is cut.
    earlier
        An earlier layer, to which concepts are taken back.
    places
        The shape of one image's activations there, without the channels.
    """

    make: Callable[[], keras.Model]
    layer: str
    earlier: str
    places: tuple[int, ...]


FORMS = {
    "convnext": Form(convnext, "stage0", "stem", (8, 8)),
    "swin": Form(swin, "fine0", "embedded", (64,)),
    "swin, merged": Form(swin, "coarse0", "fine1", (16,)),
    "swin, normalised after": Form(lambda: swin(False), "fine0", "embedded", (64,)),
    "mobilevit": Form(mobilevit, "local", "stem", (8, 8)),
    "mobilevit, fused": Form(mobilevit, "fused", "local", (8, 8)),
    "class token": Form(transformer, "block0", "patches", (17,)),
}
