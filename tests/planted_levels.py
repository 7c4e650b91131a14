"""
A planted network of two levels, whose later concepts are known mixtures of earlier ones.

An image has one channel for each earlier concept a, b, c, d: how much of it there is where. The
early layer is A' = U' W', W' orthogonal; the late one averages cells of 2x2 pixels and mixes,

    u_0 = a + 0.8 b,    u_1 = c + 0.5 b,    u_2 = d,

A = U W; the logits are the means of U times known weights. b reaches the class by two paths.
"""

import warnings

import keras
import numpy as np
from keras import layers

import xplique_craft as xc

SIZE = (16, 16)
PATCHES = (5, 8, 11, 16)  # small ones, which hold one thing
EARLY, LATE = "early", "late"
MIXING = np.array([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
EARLY_BANK = np.array(
    [[1, 0.5, 0, 0, 0, 0, 0], [0, 0, 0.6, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0.7, 0], [0] * 6 + [1]],
    np.float64,
)
LATE_BANK = np.array([[1, 0, 0, 0.4, 0.3], [0, 1, 0, 0.4, 0], [0, 0, 1, 0, 0.5]], np.float64)
WEIGHTS = np.array([[2.0, 0.5, 1.0], [-1.0, 1.0, 0.3]])  # (classes, late concepts)
QUADRANTS = ((0, 0), (0, 8), (8, 0), (8, 8))


def images(number: int = 16, seed: int = 0) -> np.ndarray:
    """(n, 16, 16, 4): each of a, b, c, d fills a quarter of every image, at random strength."""
    rng = np.random.default_rng(seed)
    found = np.zeros((number, *SIZE, 4), np.float32)
    for image in found:
        for channel, (top, left) in enumerate(rng.permutation(QUADRANTS)):
            image[top : top + 8, left : left + 8, channel] = rng.uniform(0.4, 1.0)
    return found


def model() -> keras.Model:
    """Images -> two logits, cut at EARLY and LATE."""
    image = keras.Input((*SIZE, 4), name="image")
    first = layers.Conv2D(7, 1, use_bias=False, activation="relu", name=EARLY)
    second = layers.Conv2D(5, 1, use_bias=False, activation="relu", name=LATE)
    logits = layers.Dense(2, use_bias=False, name="logits")
    x = layers.AveragePooling2D(2, name="cells")(first(image))
    x = layers.GlobalAveragePooling2D(name="average")(second(x))
    found = keras.Model(image, logits(x), name="two_levels")
    first.set_weights([EARLY_BANK[None, None]])
    second.set_weights([(np.linalg.pinv(EARLY_BANK) @ MIXING @ LATE_BANK)[None, None]])
    logits.set_weights([np.linalg.pinv(LATE_BANK) @ WEIGHTS.T])
    return found


def fitted(pictures: np.ndarray, batch_size: int = 8) -> xc.Craft:
    """A craft of the late concepts, found by factorisation."""
    craft = xc.Craft.from_model(model(), LATE, 3, batch_size, PATCHES)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only .* images are predicted as class")
        craft.fit(pictures, 0)
    return craft
