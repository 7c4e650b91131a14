"""
What people look at beside the maps: photographs and titles, checked.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["pictures_of"]


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
