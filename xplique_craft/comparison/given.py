"""
What `compare` was given: images as one array, photographs to show, what to call the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..concept_model import ConceptModel
from ..photographs import as_pictures, as_titles
from ..sampling.stream import Stream

__all__ = ["images_of", "name_of", "pictures_of"]


def images_of(craft: ConceptModel, inputs: Any) -> np.ndarray:
    """All images as one array: maps are drawn and measured beside each other."""
    if not hasattr(inputs, "__len__") or hasattr(inputs, "element_spec"):
        raise TypeError(
            "inputs must be an array or a tensor (n, H, W, channels), received "
            f"{type(inputs).__name__}. Collect its images first: np.concatenate([images for images,"
            " labels in dataset.batch(32).as_numpy_iterator()])."
        )
    stream = Stream(inputs, craft.network.input_shape, craft.batch_size)
    return np.concatenate([batch.images for batch in stream])


def pictures_of(
    photographs: Any, titles: Sequence[str] | None, images: np.ndarray, shown: int
) -> tuple[np.ndarray, list[str]]:
    """What is shown: uint8 (m, H', W', 3), and names."""
    names = as_titles(titles, len(images))
    pictures = as_pictures(photographs, images)
    if pictures is None:
        pictures = np.empty((0, *images.shape[1:3], 3), np.uint8)
    pictures = pictures[:shown]
    return pictures, names[: len(pictures)]


def name_of(weights: np.ndarray) -> str:
    """
    What to call targets (n, classes): "class 2", "class 2 instead of class 0", "several targets".
    """
    if (weights != weights[0]).any():
        return "several targets"
    first = weights[0]
    raised, lowered = np.flatnonzero(first > 0.0), np.flatnonzero(first < 0.0)
    if len(raised) == 1 and len(lowered) == 0:
        return f"class {raised[0]}"
    if len(raised) == len(lowered) == 1 and first.sum() == 0.0:
        return f"class {raised[0]} instead of class {lowered[0]}"
    return "several classes together"
