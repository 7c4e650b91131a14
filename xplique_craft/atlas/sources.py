"""
Images of many classes, however they are given, a batch at a time: arrays, tensors, files of arrays,
tf.data, or a folder of pictures.

Images are counted from 0 in the order in which they come. Those of a folder are read again by their
paths; of all others, those that are wanted again are kept in files by `routing`.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import check_array, shown
from ..checkpoint import digest
from ..photographs import as_pictures
from ..picture_files import Preprocessing
from ..sampling.stream import Stream
from .parts import Part, check_labels
from .picture_folder import FolderSource, PictureFolder, Prepare

TOLD_BY = 16  # images that an array is told from others by


class StreamSource:
    """
    Arrays, tensors, files of arrays, and datasets.

    Parameters
    ----------
    stream
        The images.
    labels
        (n,) classes, or one-hot (n, classes); None takes those of a dataset that has them.
    classes
        How many classes the model has.
    photographs
        As `explain_class` takes them.
    """

    reader: None = None  # images are not read again, but kept in files

    def __init__(self, stream: Stream, labels: Any, classes: int, photographs: Any) -> None:
        self._stream, self._classes, self._photographs = stream, classes, photographs
        self.length = stream.length
        self._labels = None
        if labels is not None:
            self._labels = check_labels(labels, classes)
            if self.length is not None and len(self._labels) != self.length:
                raise ValueError(
                    f"labels must be of all {self.length} images, received {len(self._labels)}."
                )
        lazy = len(getattr(photographs, "shape", ())) > 2  # read one by one, as a file of arrays
        if photographs is not None and not callable(photographs) and not lazy:
            self._photographs = check_array("photographs", photographs, "n, ...", finite=False)

    def parts(self, known: Callable[[int], bool]) -> Iterator[tuple[int, Part | None]]:
        """Batches with their places; None for one of a place that is known."""
        for batch in self._stream:
            place = batch.start // self._stream.batch_size
            if known(place):
                yield place, None
                continue
            labels = self._labels
            if labels is not None:
                labels = labels[batch.indices[0] : batch.indices[-1] + 1]
                if len(labels) != len(batch.images):
                    raise ValueError(
                        f"labels must be of all images: there are {len(self._labels or ())}, and "
                        "more images."
                    )
            elif batch.targets is not None:
                labels = check_labels(batch.targets, self._classes)
            yield place, Part(batch.indices, batch.images, labels)

    def pictures(self, part: Part, rows: np.ndarray) -> np.ndarray | None:
        """Some images of a part as people look at them."""
        given, images = self._photographs, part.images[rows]
        if given is not None and not callable(given):
            wanted = part.numbers[rows]
            if self.length is not None and len(given) != self.length:
                raise ValueError(
                    f"photographs must be of all {self.length} images, received {len(given)}."
                )
            given = np.stack([np.asarray(given[int(number)]) for number in wanted])
        found = as_pictures(given, images)
        if found is None:
            raise ValueError(
                "photographs must be given where the images are preprocessed: these have "
                f"{images.shape[-1]} channels and lie in [{images.min():.3g}, {images.max():.3g}], "
                "where pixels have 1 or 3 and lie in [0, 255]. Pass the pictures as they were, "
                "uint8 (n, H, W, 3), or a function that restores them."
            )
        return found

    def title(self, number: int) -> str:
        """What pages call an image."""
        return f"image {number}"

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """A few images, as the model takes them and as people look at them."""
        if self._stream.is_dataset:
            batch = next(iter(self._stream))
            numbers, images = batch.indices[:TOLD_BY], batch.images[:TOLD_BY]
        else:
            numbers = np.unique(np.linspace(0, (self.length or 1) - 1, TOLD_BY).astype(int))
            images = self._stream.images(numbers)
        pictures = self.pictures(Part(numbers, images, None), np.arange(len(numbers)))
        return images, images if pictures is None else pictures

    def told(self) -> dict[str, Any]:
        """What the data are told from others by, beside that sample."""
        labels = None if self._labels is None else digest(self._labels)
        return {"number": self.length, "labels": labels}


def source_of(
    images: Any,
    labels: Any,
    *,
    shape: tuple[int | None, ...],
    classes: int,
    batch_size: int,
    preprocess: str | Prepare,
    photographs: Any,
    class_names: Sequence[str] | None,
) -> StreamSource | FolderSource:
    """The images and labels that `explain_model` is given, or what is wrong with them."""
    if isinstance(images, (str, Path)):
        images = PictureFolder(images)
    if not isinstance(images, PictureFolder):
        if preprocess != "none":
            raise ValueError(
                "preprocess must be left out where images are no folder of pictures: give them "
                "preprocessed, as the model takes them."
            )
        return StreamSource(
            Stream(images, shape, batch_size, name="images"), labels, classes, photographs
        )
    if photographs is not None:
        raise ValueError(
            "photographs must be left out where images are a folder: its pictures are shown."
        )
    if len(shape) != 3 or shape[-1] not in (1, 3, None):
        raise ValueError(
            "images must be no folder of pictures, which have 1 or 3 channels: the model takes "
            f"{shape}."
        )
    prepare: Prepare
    if isinstance(preprocess, str):
        prepare = Preprocessing.from_spec(preprocess)
        prepare.check_channels(int(shape[-1] or 3))
    elif callable(preprocess):
        prepare = preprocess
    else:
        raise TypeError(
            "preprocess must be a name, as 'tf', or a function of pictures, received "
            f"{shown(preprocess)}."
        )
    return FolderSource(images, shape, prepare, labels, class_names, classes, batch_size)
