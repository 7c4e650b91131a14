"""
The demo's classifier: four convolutions, global average pooling, one linear layer.

It takes pixels as they are (0 to 255) and returns logits. After the last convolution,
`DEFAULT_LAYER`, comes nothing but an average and a linear layer: cut there, the activations are
non-negative (12, 12, 96) maps and the head is affine.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from .data import CLASS_NAMES, CROP_SIDE

DEFAULT_LAYER = "conv4"
"""Name of the layer to cut the model at."""

WEIGHTS_PATH = Path(__file__).with_name("photographs.npz")
"""Weights of the trained classifier: plain arrays, so that any version of Keras can take them."""


def build_model() -> keras.Model:
    """
    The classifier with random weights.

    Returns
    -------
    model
        Functional model from (n, 96, 96, 3) pixels between 0 and 255 to (n, 14) logits, of about
        80,000 weights. Layers "conv1" to "conv4" end in a ReLU; a unit of "conv4" sees 43 by 43
        pixels.
    """
    pixels = keras.Input((CROP_SIDE, CROP_SIDE, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(pixels)
    x = convolution(24, 5, "conv1", strides=2)(x)
    x = keras.layers.MaxPooling2D(name="pool1")(x)
    x = convolution(40, 3, "conv2")(x)
    x = convolution(56, 3, "conv3")(x)
    x = keras.layers.MaxPooling2D(name="pool3")(x)
    x = convolution(96, 3, DEFAULT_LAYER)(x)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    logits = keras.layers.Dense(len(CLASS_NAMES), name="logits")(x)
    return keras.Model(pixels, logits, name="photographs")


def load_model() -> keras.Model:
    """
    The trained classifier.

    Returns
    -------
    model
        The model of `build_model`, with the weights that `tools/train_demo.py` made.

    Raises
    ------
    FileNotFoundError
        If the installation lacks the file of weights.
    """
    return trained(build_model, WEIGHTS_PATH, "The demo's classifier", "train_demo.py")


def trained(build: Callable[[], keras.Model], path: Path, what: str, script: str) -> keras.Model:
    """What `build` makes, with the weights in a file that a script of `tools/` has written."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{what} should be at {path}, and is not there. Reinstall the package, or make the "
            f"file with `python tools/{script}` in the repository."
        )
    model = build()
    with np.load(path, allow_pickle=False) as arrays:
        for name, weight in named_weights(model).items():
            weight.assign(arrays[name])
    return model


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of a model by layer and kind, as "conv1/kernel" or "attention1/query/kernel"."""
    return {one.path: one for one in model.weights}


def convolution(channels: int, width: int, name: str, strides: int = 1) -> keras.layers.Layer:
    """A convolution that keeps the borders and ends in a ReLU."""
    return keras.layers.Conv2D(
        channels,
        width,
        strides=strides,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )
