"""
Crops: where they are cut, and a lazy sequence of them.

What the concept bank is fitted on decides everything. By default crops of 2/7, 1/2 and 5/7 of the
image's side and the whole image (4x4, 3x3, 2x2 and 1 of them, covering the image to its borders):
the small ones give clean concepts, the large ones keep the bank on the activations that the model
sees when it predicts. One patch size gives the paper's crops (section 3.1).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from .._checks import check_int

__all__ = ["MULTI_SCALE", "Crops", "check_patch_size", "crop_boxes", "describe_patch_size"]

MULTI_SCALE = ((2 / 7, 4), (1 / 2, 3), (5 / 7, 2), (1.0, 1))  # (share of the side, crops a side)
BLOCK = 1000  # crops that are cut at a time when all are iterated over
OVERLAP = 0.8  # stride of the paper's crops, in patches

PatchSize = int | Sequence[int] | None


def check_patch_size(patch_size: PatchSize) -> tuple[int, ...] | None:
    """
    Patch sizes as a tuple, None for the default of several scales.

    Raises
    ------
    TypeError, ValueError
        If one is not a positive integer, or there is none.
    """
    if patch_size is None:
        return None
    sizes = patch_size if isinstance(patch_size, (list, tuple, np.ndarray)) else [patch_size]
    if len(sizes) == 0:
        raise ValueError("patch_size must name at least one size in pixels, received none.")
    return tuple(check_int("patch_size", size) for size in sizes)


def describe_patch_size(patch_size: tuple[int, ...] | None) -> str:
    """Patch sizes in words, for people."""
    if patch_size is None:
        return "2/7, 1/2, 5/7 of the side and the whole image"
    return ", ".join(str(size) for size in patch_size) + " px"


def _positions(size: int, side: int, number: int) -> np.ndarray:
    """Starts of `number` equally spaced windows of `side` that reach from border to border."""
    return np.rint(np.linspace(0, size - side, number)).astype(int)


def crop_boxes(height: int, width: int, patch_size: tuple[int, ...] | None = None) -> np.ndarray:
    """
    Where the crops of an image are.

    Parameters
    ----------
    height, width
        Of the image, in pixels.
    patch_size
        Sides of square crops in pixels, with a stride of at most 80% of the side so that the image
        is covered to its borders; None for several scales of the image's own proportions.

    Returns
    -------
    boxes
        (b, 4) int: top, left, height, width.

    Raises
    ------
    ValueError
        If a patch is larger than the image.
    """
    boxes = []
    if patch_size is None:
        for share, number in MULTI_SCALE:
            high, wide = max(1, round(share * height)), max(1, round(share * width))
            for top in _positions(height, high, number):
                boxes += [(top, left, high, wide) for left in _positions(width, wide, number)]
    else:
        for side in patch_size:
            if side > min(height, width):
                raise ValueError(
                    f"patch_size must be at most the image's smaller side, {min(height, width)}, "
                    f"received {side}. Give a smaller one, or None for crops at several scales."
                )
            stride = max(1, int(OVERLAP * side))
            rows, columns = (-(-(size - side) // stride) + 1 for size in (height, width))
            for top in _positions(height, side, rows):
                boxes += [(top, left, side, side) for left in _positions(width, side, columns)]
    return np.array(boxes)


class Crops:
    """
    A lazy sequence of crops: pixels are cut when they are asked for.

    `crops[i]` is one crop at its own size, (height, width, channels). `crops[a:b]`, `crops[array]`
    and `np.asarray(crops)` are arrays (m, height, width, channels); crops of different sizes are
    resized there to the largest (bilinear).

    Parameters
    ----------
    boxes
        (m, 5) int: image, top, left, height, width.
    images
        Function from the numbers (j,) of images to their pixels (j, H, W, channels).
    channels
        Of the images.
    """

    def __init__(
        self, boxes: np.ndarray, images: Callable[[np.ndarray], np.ndarray], channels: int
    ) -> None:
        self.boxes = boxes
        self._images = images
        self._channels = channels

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(m, height, width, channels) of np.asarray(crops)."""
        return (len(self.boxes), *self.boxes[:, 3:].max(axis=0).tolist(), self._channels)

    def cut(self, indices: Any) -> list[np.ndarray]:
        """Pixels of some crops, each at its own size."""
        boxes = self.boxes[np.asarray(indices)]
        unique, inverse = np.unique(boxes[:, 0], return_inverse=True)
        images = self._images(unique)
        return [
            images[i][top : top + height, left : left + width]
            for i, (_, top, left, height, width) in zip(inverse, boxes, strict=True)
        ]

    def __iter__(self) -> Iterator[np.ndarray]:
        # Some images at a time: of a stream each block costs a pass up to its last image.
        for start in range(0, len(self), BLOCK):
            yield from self.cut(np.arange(start, min(start + BLOCK, len(self))))

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, (int, np.integer)):
            return self.cut([range(len(self))[index]])[0]
        chosen = np.arange(len(self))[index]
        if len(chosen) == 0:
            raise ValueError("No crop was chosen: the slice or array of indices is empty.")
        size = self.boxes[chosen, 3:].max(axis=0)
        return np.stack([_resized(crop, size) for crop in self.cut(chosen)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Pixels of crops are cut when asked for; copy=False cannot be met.")
        return self[:].astype(dtype) if dtype is not None else self[:]


def _resized(crop: np.ndarray, size: np.ndarray) -> np.ndarray:
    if crop.shape[:2] == tuple(size):
        return crop
    resized = tf.image.resize(crop, size).numpy()
    return (np.rint(resized) if crop.dtype.kind in "iu" else resized).astype(crop.dtype)
