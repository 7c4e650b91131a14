"""Crops: a lazy sequence of parts of the images, which holds boxes and no pixels."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._checks import check_array, shown
from .crops import IMAGE_WINDOWS, Windows

BLOCK = 1000  # crops that are cut at a time when all are iterated over


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
        How many channels the images have.
    windows
        The geometry of the boxes after their first column: how they are cut and resized.
    """

    def __init__(
        self,
        boxes: np.ndarray,
        images: Callable[[np.ndarray], np.ndarray],
        channels: int,
        *,
        windows: Windows = IMAGE_WINDOWS,
    ) -> None:
        self.boxes = boxes
        self._images = images
        self._channels = channels
        self._windows = windows

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(m, height, width, channels) of np.asarray(crops)."""
        return (len(self.boxes), *self._largest(self.boxes).tolist(), self._channels)

    def _largest(self, boxes: np.ndarray) -> np.ndarray:
        """The size, along each axis, that the largest of some crops has."""
        return boxes[:, 1 + self._windows.axes :].max(axis=0)

    def cut(self, indices: Any) -> list[np.ndarray]:
        """Pixels of some crops, each at its own size."""
        boxes = self.boxes[self._numbers("indices", indices)]
        if len(boxes) == 0:
            return []
        unique, inverse = np.unique(boxes[:, 0], return_inverse=True)
        images = self._images(unique)
        return [
            self._windows.cut(images[i], box[1:]) for i, box in zip(inverse, boxes, strict=True)
        ]

    def __iter__(self) -> Iterator[np.ndarray]:
        # Some images at a time: of a stream each block costs a pass up to its last image.
        for start in range(0, len(self), BLOCK):
            yield from self.cut(np.arange(start, min(start + BLOCK, len(self))))

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            return self.cut(self._numbers("index", [index]))[0]
        chosen = self._numbers("index", index)
        if len(chosen) == 0:
            raise ValueError("No crop was chosen: index is an empty slice or array.")
        size = self._largest(self.boxes[chosen])
        return np.stack([self._windows.resize(crop, size) for crop in self.cut(chosen)])

    def _numbers(self, name: str, index: Any) -> np.ndarray:
        """Numbers (j,) of the crops that a slice or an array of indices chooses."""
        if isinstance(index, (slice, range)):
            index = np.arange(len(self))[index] if isinstance(index, slice) else list(index)
        chosen = check_array(name, index, "j", empty=True)
        if chosen.dtype == bool:
            if len(chosen) != len(self):
                raise IndexError(
                    f"{name} must say of each of the {len(self)} crops whether it is chosen, "
                    f"received {len(chosen)} times True or False."
                )
            return np.flatnonzero(chosen)
        if chosen.size and chosen.dtype.kind not in "iu":
            raise TypeError(f"{name} must be whole numbers or a slice, received {shown(index)}.")
        if chosen.size and (chosen.max() >= len(self) or chosen.min() < -len(self)):
            raise IndexError(
                f"{name} must be below the number of crops, {len(self)}, received {shown(index)}."
            )
        return chosen.astype(int) % max(1, len(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Pixels of crops are cut when asked for; copy=False cannot be met.")
        return self[:].astype(dtype) if dtype is not None else self[:]
