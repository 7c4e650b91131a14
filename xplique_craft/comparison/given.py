"""
What `compare` was given: images as one array, photographs to show, what to call the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..concept_model import ConceptModel
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
    names = [f"image {i}" for i in range(len(images))] if titles is None else list(titles)
    if len(names) != len(images):
        raise ValueError(f"titles must name {len(images)} images, received {len(names)} names.")
    if photographs is None:
        is_pixels = images.min() >= 0.0 and 1.0 < images.max() <= 255.0
        photographs = images if is_pixels else np.empty((0, *images.shape[1:3], 3))
        shown = min(shown, len(photographs))
    elif len(photographs) != len(images):
        raise ValueError(
            f"photographs must be {len(images)}, one for each image, received {len(photographs)}."
        )
    pictures = np.asarray(photographs[:shown])
    if pictures.dtype != np.uint8 and 0.0 < pictures.max(initial=0.0) <= 1.0:
        raise ValueError(
            "photographs must hold pixels in [0, 255], received values up to "
            f"{pictures.max():.3g}: multiply them by 255."
        )
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3):
        raise ValueError(
            "photographs must have shape (n, H, W, 3) or (n, H, W), received "
            f"{np.shape(photographs)}."
        )
    if pictures.shape[-1] == 1:
        pictures = pictures.repeat(3, axis=-1)
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8), names[:shown]


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
