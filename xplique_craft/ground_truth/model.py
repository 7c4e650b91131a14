"""
Two small classifiers of the shapes, trained by `tools/train_shapes.py`.

Both take pixels as they are (0 to 255) and return logits, and both are cut at `SHAPES_LAYER`, after
which come an average over positions and

    "affine"    one linear layer. It was trained to give each image its planted scores, so that what
                a concept does to a logit is about its planted weight.
    "relu"      a hidden layer and a linear one, so that concepts act on each other. It was trained
                on the labels alone, as classifiers are: what a concept does to its logits has to be
                measured, by leaving the concept out of the pictures.

On 2,000 other images the first is right on 99.05%, the second on all.
"""

from pathlib import Path

import keras

from .._checks import check_choice
from ..demo.model import convolution, trained
from .shapes import CLASS_NAMES, SIDE

HEADS = ("affine", "relu")
SHAPES_LAYER = "conv4"
"""Name of the layer to cut the models at."""


def shapes_weights(head: str = "affine") -> Path:
    """The file with the weights of a classifier: plain arrays, which any Keras can take."""
    return Path(__file__).with_name(f"shapes_{check_choice('head', head, HEADS)}.npz")


def build_shapes_model(head: str = "affine") -> keras.Model:
    """
    A classifier of shapes with random weights.

    Parameters
    ----------
    head
        What comes after the layer to cut at: "affine" or "relu".

    Returns
    -------
    model
        Functional model from (n, 64, 64, 3) pixels between 0 and 255 to (n, 4) logits. The layer to
        cut at gives (n, 16, 16, 64), not negative; a unit of it sees 27 by 27 pixels.
    """
    check_choice("head", head, HEADS)
    pixels = keras.Input((SIDE, SIDE, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(pixels)
    x = convolution(16, 5, "conv1", strides=2)(x)
    x = convolution(32, 3, "conv2")(x)
    x = keras.layers.MaxPooling2D(name="pool2")(x)
    x = convolution(48, 3, "conv3")(x)
    x = convolution(64, 3, SHAPES_LAYER)(x)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    if head == "relu":
        x = keras.layers.Dense(32, activation="relu", name="hidden")(x)
    logits = keras.layers.Dense(len(CLASS_NAMES), name="logits")(x)
    return keras.Model(pixels, logits, name=f"shapes_{head}")


def load_shapes_model(head: str = "affine") -> keras.Model:
    """
    A trained classifier of shapes.

    Parameters
    ----------
    head
        "affine" for the one whose logits are about the planted scores, "relu" for the one that was
        trained on labels, and whose head is not affine.

    Returns
    -------
    model
        The model of `build_shapes_model`, with the weights that `tools/train_shapes.py` made.

    Raises
    ------
    FileNotFoundError
        If the installation lacks the file of weights.
    """
    path = shapes_weights(head)
    return trained(
        lambda: build_shapes_model(head), path, "The classifier of shapes", "train_shapes.py"
    )
