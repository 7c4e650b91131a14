"""
The pass over the data: which class the model predicts for each image, and g of those that are kept.

    folder/000012.safetensors          a batch: numbers, predictions, labels, which of them are kept
    folder/000012.activations.npy      g(x) of those, (j, ..., c)
    folder/000012.images.npy           they themselves, and
    folder/000012.pictures.npy         as people look at them, unless they are files of a folder

Of each class the first images in the order of the data are kept, so that g runs once on each image,
whatever is asked of it later. A batch is there when its first file is, which is written last: a
pass that was interrupted goes on with the first batch that is not there.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .._files import new_file
from ..picture_files import warn_of_files
from ..sampling.lazy_images import LazyImages
from ..saving import read_saved, write_saved
from ..splitting.network import Network
from .parts import UNKNOWN, Part
from .picture_folder import FolderSource, PictureReader
from .sources import StreamSource

KIND = "explain_model: batch"


@dataclass(frozen=True)
class Kept:
    """
    Images of one class that the pass has kept, wherever a process reads them.

    Parameters
    ----------
    folder
        Of the pass.
    numbers
        (n,): the numbers of the images, in the order of the data.
    places
        (n, 2): the batch of each, and its place among those that are kept of the batch.
    shape
        (H, W, channels) of the images.
    reader
        Reads pictures of a folder by these numbers; None where images are in files of the pass.
    """

    folder: Path
    numbers: np.ndarray
    places: np.ndarray
    shape: tuple[int, ...]
    reader: PictureReader | None

    @property
    def images(self) -> LazyImages:
        """As the model takes them, with their activations."""
        read = self._reads("images") if self.reader is None else self.reader.images
        return LazyImages(self.numbers, self.shape, read, self._reads("activations"))

    @property
    def pictures(self) -> LazyImages:
        """As people look at them, (n, H', W', 3) uint8."""
        if self.reader is not None:
            return LazyImages(self.numbers, (*self.shape[:2], 3), self.reader.pictures)
        read = self._reads("pictures")
        return LazyImages(self.numbers, read(self.numbers[:1]).shape[1:], read)

    def picked(self, numbers: np.ndarray) -> "Kept":
        """Those with some numbers, in their order."""
        rows = np.searchsorted(self.numbers, numbers)
        return replace(self, numbers=self.numbers[rows], places=self.places[rows])

    def _reads(self, what: str) -> Callable[[np.ndarray], np.ndarray]:
        return lambda numbers: self._read(what, numbers)

    def _read(self, what: str, numbers: np.ndarray) -> np.ndarray:
        """Rows of the files of batches, of which no more is read than that."""
        found: np.ndarray | None = None
        places = self.places[np.searchsorted(self.numbers, numbers)]
        for batch in np.unique(places[:, 0]).tolist():
            rows = np.flatnonzero(places[:, 0] == batch)
            path = _path(self.folder, batch, f"{what}.npy")
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if found is None:
                found = np.empty((len(numbers), *array.shape[1:]), array.dtype)
            found[rows] = array[places[rows, 1]]
        return np.empty((0,)) if found is None else found


@dataclass(frozen=True)
class Routed:
    """
    What the pass has found.

    Parameters
    ----------
    folder
        Where its files are.
    numbers
        (n,): numbers of the images that could be read.
    predictions
        (n,): the class that the model predicts for each.
    labels
        (n,): the class that each is of, `UNKNOWN` where it has no label; None without labels.
    places
        (n, 2): the batch of each image that is kept, and its place there; (-1, -1) of others.
    shape
        (H, W, channels).
    reader
        Reads pictures of a folder; None where images are in files of the pass.
    number
        How many images there are, those that could not be read among them.
    """

    folder: Path
    numbers: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray | None
    places: np.ndarray
    shape: tuple[int, ...]
    reader: PictureReader | None
    number: int

    def kept(self, chosen: np.ndarray) -> Kept:
        """Those images that are kept, of the chosen ones (n,), True or False."""
        rows = np.flatnonzero(chosen & (self.places[:, 0] >= 0))
        numbers = self.numbers[rows]
        reader = None if self.reader is None else self.reader.of(numbers)
        return Kept(self.folder, numbers, self.places[rows], self.shape, reader)

    def counts(self, class_id: int) -> tuple[int, int | None, int | None]:
        """How many images are predicted as a class, labelled so, and both."""
        predicted = self.predictions == class_id
        if self.labels is None:
            return int(predicted.sum()), None, None
        labelled = self.labels == class_id
        return int(predicted.sum()), int(labelled.sum()), int((predicted & labelled).sum())


def route(
    source: StreamSource | FolderSource,
    network: Network,
    folder: Path,
    *,
    classes: list[int] | None,
    images_per_class: int,
    verbose: bool,
) -> Routed:
    """
    Go over the data once, or go on with what of it is not there yet.

    Parameters
    ----------
    source
        The images.
    network
        g and h.
    folder
        Where the files are.
    classes
        Images of which classes are kept; None keeps those of any.
    images_per_class
        How many of each.
    verbose
        Whether a progress bar counts images.
    """
    kept: Counter[int] = Counter()
    batches: list[dict[str, Any]] = []
    with tqdm(
        total=source.length, desc="which class", unit="image", disable=not verbose, leave=False
    ) as bar:
        for place, part in source.parts(lambda place: _path(folder, place).exists()):
            if part is None:
                found = read_saved(KIND, _path(folder, place), {})
            else:
                found = _routed(
                    source, network, folder, place, part, kept, classes, images_per_class
                )
            kept.update(found["predictions"][found["kept"]].tolist())
            batches.append(found)
            bar.update(len(found["numbers"]) + len(found["skipped"]))
    skipped = [one for found in batches for one in found["skipped"]]
    number = sum(len(found["numbers"]) for found in batches) + len(skipped)
    remarks = [one for found in batches for one in found["remarks"]]
    if isinstance(source, FolderSource):
        warn_of_files(source.folder, number, skipped, remarks)
    labels = None
    if batches[0]["labels"] is not None:
        labels = np.concatenate([found["labels"] for found in batches])
    return Routed(
        folder=folder,
        numbers=np.concatenate([found["numbers"] for found in batches]),
        predictions=np.concatenate([found["predictions"] for found in batches]),
        labels=labels,
        places=np.concatenate([_places(i, found) for i, found in enumerate(batches)]),
        shape=tuple(next(found["shape"] for found in batches if len(found["numbers"]))),
        reader=source.reader,
        number=number,
    )


def _routed(
    source: StreamSource | FolderSource,
    network: Network,
    folder: Path,
    place: int,
    part: Part,
    kept: Counter[int],
    classes: list[int] | None,
    images_per_class: int,
) -> dict[str, Any]:
    """One batch: through the model, and into its files."""
    predictions = np.empty(0, int)
    rows: list[int] = []
    if len(part.images):
        latents = network.latents(part.images)
        predictions = network.logits(latents).numpy().argmax(axis=1)
        rows = list(_wanted(predictions.tolist(), Counter(kept), classes, images_per_class))
    if rows:
        _write(_path(folder, place, "activations.npy"), latents.numpy()[rows])
        pictures = source.pictures(part, np.array(rows))
        if pictures is not None:
            _write(_path(folder, place, "images.npy"), _as_small(part.images[rows]))
            _write(_path(folder, place, "pictures.npy"), pictures)
    found = {
        "numbers": part.numbers,
        "predictions": predictions,
        "labels": part.labels,
        "kept": np.array(rows, int),
        "shape": tuple(part.images.shape[1:]),
        "skipped": part.skipped,
        "remarks": part.remarks,
    }
    write_saved(KIND, found, _path(folder, place), {})
    return found


def _wanted(
    predictions: list[int], kept: Counter[int], classes: list[int] | None, most: int
) -> Iterator[int]:
    """Which images of a batch are among the first of their class."""
    for row, predicted in enumerate(predictions):
        if (classes is None or predicted in classes) and kept[predicted] < most:
            kept[predicted] += 1
            yield row


def _places(batch: int, found: dict[str, Any]) -> np.ndarray:
    """(m, 2) of a batch, see `Routed`."""
    places = np.full((len(found["numbers"]), 2), UNKNOWN)
    places[found["kept"]] = [[batch, row] for row in range(len(found["kept"]))] or UNKNOWN
    return places


def _path(folder: Path, batch: int, what: str = "safetensors") -> Path:
    return folder / f"{batch:06d}.{what}"


def _as_small(images: np.ndarray) -> np.ndarray:
    """Pixels as uint8, which is what they are; other images as they are."""
    if images.min() < 0 or images.max() > 255:
        return images
    pixels = images.astype(np.uint8)
    return pixels if np.array_equal(pixels, images) else images


def _write(path: Path, array: np.ndarray) -> None:
    with new_file(path) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
