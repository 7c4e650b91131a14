"""
Images in batches, from whatever people have: arrays, tensors, tf.data datasets.

A stream can be read more than once and never holds more than a batch. Images are counted from 0 in
the order in which they come; random draws and crops refer to them by that number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from .._checks import as_array
from .._once import alone
from ..splitting.network import Network
from .lazy_images import LazyImages

_WHAT = "an array, a tensor or a tf.data.Dataset of images, which are real numbers"


@dataclass(frozen=True)
class ImageBatch:
    """
    Some consecutive images.

    Parameters
    ----------
    start
        The number of the first image.
    images
        (n, H, W, channels), or whatever the model takes.
    targets
        (n, ...) as the dataset gives them, or None where it gives none.
    activations
        (n, ..., c), where g went over the images before; None where it did not.
    """

    start: int
    images: np.ndarray
    targets: np.ndarray | None
    activations: np.ndarray | None = None

    def latents(self, network: Network) -> tf.Tensor:
        """Their activations, for which g does not run where they are known."""
        if self.activations is None:
            return network.latents(self.images)
        return tf.convert_to_tensor(self.activations)

    @property
    def indices(self) -> np.ndarray:
        """(n,): numbers of the images."""
        return np.arange(self.start, self.start + len(self.images))


class Stream:
    """
    Images in batches of `batch_size`.

    Parameters
    ----------
    inputs
        (n, H, W, channels) array or tensor (or a list of images of one size), or a
        tf.data.Dataset of images or of (image, target), batched or not.
    input_shape
        The shape that the model takes for one image, as (224, 224, 3); None where any size will do.
    batch_size
        How many images are read at a time; it bounds the memory.
    name
        The name of the argument in messages of errors.

    Raises
    ------
    ValueError
        If the images do not fit the model, or there are none.
    TypeError
        If `inputs` is none of these.
    """

    def __init__(
        self,
        inputs: Any,
        input_shape: tuple[int | None, ...],
        batch_size: int,
        name: str = "inputs",
    ) -> None:
        self.input_shape = tuple(input_shape)
        self.batch_size = batch_size
        self.name = name
        self.length: int | None
        self._sums: list[float] = []  # of a dataset's images, to tell them by
        if isinstance(inputs, tf.data.Dataset):
            self._dataset, self._array = self._prepare(inputs), None
            cardinality = int(inputs.cardinality())
            known = cardinality >= 0 and not self._batched
            self.length = cardinality if known else None
        else:
            self._dataset, self._array = None, self._checked(inputs)
            self.length = len(self._array)

    @property
    def is_dataset(self) -> bool:
        """Whether images come from a tf.data.Dataset, which may work for each of them."""
        return self._dataset is not None

    # ------------------------------------------------------------------ checks
    def _checked(self, inputs: Any) -> Any:
        if not _is_read_in_parts(inputs):
            try:
                inputs = as_array(self.name, inputs, _WHAT)
            except ValueError as error:
                raise ValueError(
                    f"{self.name} is a list of images of different sizes. Resize them to one size."
                ) from error
        if tuple(inputs.shape) and inputs.shape[0] == 0:
            raise ValueError(f"{self.name} holds no image.")
        self._check_shape(tuple(inputs.shape))
        if isinstance(inputs, np.memmap) or not isinstance(inputs, (np.ndarray, tf.Tensor)):
            return inputs  # looked at when it is read
        for start in range(0, len(inputs), self.batch_size):  # all, before anything is computed
            self._as_images(start, inputs[start : start + self.batch_size])
        return inputs

    def _as_images(self, start: int, images: Any) -> np.ndarray:
        """Some images, the first of that number, as float32, or why they are none."""
        images = as_array(self.name, images, _WHAT)
        with np.errstate(over="ignore"):  # numbers beyond float32 are infinite, and refused
            images = images.astype(np.float32, copy=False)
        self._check_shape(images.shape)
        finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"{self.name} must be finite: image {start + int(np.argmin(finite))} contains NaN "
                "or infinite values. Look for them in the preprocessing."
            )
        return images

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        expected = "(n, " + ", ".join("any" if s is None else str(s) for s in self.input_shape)
        if len(shape) == len(self.input_shape):
            raise ValueError(
                f"{self.name} must be a batch of shape {expected}), received one image of shape "
                f"{shape}. Add the axis of the batch: {self.name}[None]."
            )
        fits = len(shape) == len(self.input_shape) + 1 and all(
            wanted is None or got is None or wanted == got
            for wanted, got in zip(self.input_shape, shape[1:], strict=True)
        )
        if not fits or 0 in shape:
            raise ValueError(
                f"{self.name} must have the shape {expected}) that the model takes, received "
                f"{shape}."
            )

    def _prepare(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The dataset in batches of our own, whether it came in batches or not."""
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                f"{self.name} is a dataset without end: leave out repeat(), or take() a number."
            )
        if isinstance(dataset.element_spec, tuple) and len(dataset.element_spec) == 1:
            dataset = dataset.map(lambda image: image)
        spec = dataset.element_spec
        image = spec[0] if isinstance(spec, tuple) else spec
        numbers = isinstance(image, tf.TensorSpec) and (
            image.dtype.is_floating or image.dtype.is_integer or image.dtype.is_bool
        )
        if not numbers or (isinstance(spec, tuple) and len(spec) > 2):
            raise TypeError(
                f"{self.name} must be a dataset of images or of (image, target), real numbers, "
                f"received elements of {spec}."
            )
        rank = len(self.input_shape)
        if image.shape.rank not in (rank, rank + 1):
            raise ValueError(
                f"{self.name} must be a dataset of images of shape {self.input_shape}, batched or "
                f"not, received elements of shape {image.shape}."
            )
        self._batched = image.shape.rank == rank + 1
        shape = tuple(image.shape)
        self._check_shape(shape if self._batched else (None, *shape))
        if self._batched:
            dataset = dataset.unbatch()
        return dataset.batch(self.batch_size)

    # ----------------------------------------------------------------- reading
    def __iter__(self) -> Iterator[ImageBatch]:
        start = 0
        for images, targets in self._elements():
            images = self._as_images(start, images)
            if self._array is None:
                self._check_order(start, images)
            known = None
            if isinstance(self._array, LazyImages):
                known = self._array.known(start, len(images))
            yield ImageBatch(start, images, None if targets is None else np.asarray(targets), known)
            start += len(images)
        if start == 0:
            raise ValueError(f"{self.name} holds no image.")
        self.length = start

    def _elements(self) -> Iterator[tuple[Any, Any]]:
        """Images and targets of one batch after the other, as they were given."""
        if self._array is not None:
            for start in range(0, len(self._array), self.batch_size):
                yield self._array[start : start + self.batch_size], None
            return
        try:
            for element in self._dataset:
                yield element if isinstance(element, tuple) else (element, None)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{self.name} is a dataset of images of different sizes. Resize them to one "
                f"size. ({error.message})"
            ) from error
        except tf.errors.OpError as error:
            raise ValueError(
                f"{self.name} is a dataset that fails when it is read: {error.message}"
            ) from error

    def _check_order(self, start: int, images: np.ndarray) -> None:
        """A dataset is read more than once: its images must come in the same order each time."""
        sums = images.reshape(len(images), -1).sum(axis=1, dtype=np.float64)
        with alone(id(self), "sums"):  # crops of a dataset may be read by several threads
            known = self._sums[start : start + len(sums)]
            self._sums += sums[len(known) :].tolist()
        if not np.array_equal(sums[: len(known)], known):
            raise ValueError(
                f"{self.name} gives other images, or another order, each time it is read. Shuffle "
                "with reshuffle_each_iteration=False, keep random augmentation out, or pass an "
                "array."
            )

    def progress(self, description: str, verbose: bool) -> Iterator[ImageBatch]:
        """As iterating, with a progress bar that counts images and can be switched off."""
        with tqdm(
            total=self.length, desc=description, unit="image", disable=not verbose, leave=False
        ) as bar:
            for batch in self:
                yield batch
                bar.update(len(batch.images))

    def images(self, indices: np.ndarray) -> np.ndarray:
        """
        Some of the images, by their numbers.

        Parameters
        ----------
        indices
            (m,), in any order, repetitions allowed.

        Returns
        -------
        images
            (m, H, W, channels).
        """
        indices = np.asarray(indices)
        if self._array is not None:
            unique, inverse = np.unique(indices, return_inverse=True)
            picked = [np.asarray(self._array[int(i)]) for i in unique]
            return np.stack(picked)[inverse]
        wanted = set(indices.tolist())
        found: dict[int, np.ndarray] = {}
        for batch in self:
            for i in wanted.intersection(batch.indices.tolist()):
                found[i] = batch.images[i - batch.start]
            if len(found) == len(wanted):
                break
        missing = wanted.difference(found)
        if missing:
            raise IndexError(
                f"{self.name} has no image {min(missing)}: {self.length} images were read."
            )
        return np.stack([found[int(i)] for i in indices])


def _is_read_in_parts(inputs: Any) -> bool:
    """Whether images have a shape and can be sliced: a file of arrays, too, is read in batches."""
    symbolic = isinstance(inputs, (tf.RaggedTensor, keras.KerasTensor))
    shape = getattr(inputs, "shape", None)
    slices = hasattr(inputs, "__getitem__") and not isinstance(inputs, type)
    return not symbolic and isinstance(shape, (tuple, tf.TensorShape)) and slices


def concatenate_known(parts: Iterator[np.ndarray], number: int | None) -> np.ndarray:
    """Parts one after the other, each let go once it is copied where their number is known."""
    if number is None:
        return np.concatenate(list(parts))
    whole, start = np.empty(0, np.float32), 0
    for part in parts:
        if start == 0:
            whole = np.empty((number, *part.shape[1:]), part.dtype)
        whole[start : start + len(part)] = part
        start += len(part)
    return whole
