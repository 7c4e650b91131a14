"""Images that are read when they are asked for, and may come with their activations."""

from collections.abc import Callable
from typing import Any

import numpy as np

Read = Callable[[np.ndarray], np.ndarray]


class LazyImages:
    """
    Images of which none is in memory; a `Stream` reads a batch of them at a time.

    Slices, indices and arrays of indices read images; `picked` chooses some and reads none.

    Parameters
    ----------
    numbers
        (n,): what their source knows them by.
    shape
        Of one image, (H, W, channels).
    read
        From numbers (m,) to images (m, H, W, channels).
    activations
        From numbers (m,) to activations (m, ..., c), where g went over the images before; None
        where it did not.
    """

    def __init__(
        self,
        numbers: np.ndarray,
        shape: tuple[int, ...],
        read: Read,
        activations: Read | None = None,
    ) -> None:
        self.numbers = numbers
        self.shape = (len(numbers), *shape)
        self._read = read
        self._activations = activations

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> np.ndarray:
        numbers = self.numbers[index]
        return self._read(numbers) if np.ndim(numbers) else self._read(np.array([numbers]))[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype) if dtype is not None else self[:]

    def known(self, start: int, number: int) -> np.ndarray | None:
        """Activations of so many images, the first of that place; None where they are unknown."""
        if self._activations is None:
            return None
        return self._activations(self.numbers[start : start + number])

    def picked(self, indices: np.ndarray) -> "LazyImages":
        """Some of them, in that order."""
        return LazyImages(self.numbers[indices], self.shape[1:], self._read, self._activations)


def picked(images: np.ndarray | LazyImages, indices: np.ndarray) -> Any:
    """Some images, of lazy ones without reading them."""
    return images.picked(indices) if isinstance(images, LazyImages) else images[indices]
