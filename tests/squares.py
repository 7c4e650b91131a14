"""Images of coloured squares, whose concepts a factorisation can only find in one way."""

import warnings
from typing import Any

import numpy as np
import planted

import xplique_craft as xc

SIZE = (16, 24)
# Each concept has a channel of its own, and crops show each alone: then the factors are unique.
BANK = np.array([[1, 0, 0, 0.5, 0.5, 0], [0, 1, 0, 0, 0.5, 0.5], [0, 0, 1, 0.5, 0, 0.5]])


def coloured_squares(number: int = 9) -> np.ndarray:
    """Squares of one concept each, two of different concepts in every image."""
    rng = np.random.default_rng(3)
    images = []
    for i in range(number):
        first = planted.square(SIZE, int(rng.integers(0, 9)), int(rng.integers(0, 5)), 7, i % 3)
        second = planted.square(
            SIZE, int(rng.integers(0, 9)), int(rng.integers(12, 17)), 7, (i + 1) % 3
        )
        images.append(rng.uniform(0.5, 1.0) * first + rng.uniform(0.5, 1.0) * second)
    return np.stack(images).astype(np.float32)


def refit(craft: xc.Craft, inputs: Any, **settings: Any) -> xc.Craft:
    """The same model, class and number of concepts, fitted again."""
    other = xc.Craft.from_model(craft.split, None, 3, **{"batch_size": 4, **settings})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only .* images are predicted as class")
        other.fit(inputs, craft.class_id)
    return other
