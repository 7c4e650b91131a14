"""
A folder of pictures with a folder for each class: read a batch at a time, and again by their paths.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import check_choice, check_int, check_is
from .._files import check_path, readable
from ..checkpoint import digest
from ..picture_files import (
    EXTENSIONS,
    MAX_PIXELS,
    paths_of_pictures,
    read_picture,
    warn_of_files,
)
from ..sampling.stream import Stream
from .parts import UNKNOWN, Part, check_labels

REMEMBERED = 64 * 2**20  # bytes of pictures that are not read anew: a class asks for them often

Prepare = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class PictureFolder:
    """
    A folder of pictures with a folder for each class, or with pictures alone.

    Parameters
    ----------
    folder
        The folder. What its folders are called says which class their pictures are of: the index
        of the class, or its name.
    size
        (H, W) that pictures are brought to; None takes the model's.
    resize
        "crop" scales a picture until it covers the size, and keeps its centre; "squash" scales
        height and width apart, and keeps everything.
    max_pixels
        Pictures of more pixels are skipped before they are read.
    """

    folder: str | Path
    size: tuple[int, int] | None = None
    resize: str = "crop"
    max_pixels: int = MAX_PIXELS


@dataclass
class PictureReader:
    """
    Pictures by their numbers, and as the model takes them; it goes to another process with a class.

    Parameters
    ----------
    paths
        The files, by the number of the picture.
    shape
        (H, W, channels) of the model's pictures.
    resize, max_pixels
        As `PictureFolder` has them.
    prepare
        From pictures (n, H, W, channels) uint8 to what the model takes.
    """

    paths: Mapping[int, Path]
    shape: tuple[int, int, int]
    resize: str
    max_pixels: int
    prepare: Prepare
    _known: OrderedDict[int, np.ndarray] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    def of(self, numbers: np.ndarray) -> "PictureReader":
        """The same of some pictures alone."""
        paths = {number: self.paths[number] for number in numbers.tolist()}
        return PictureReader(paths, self.shape, self.resize, self.max_pixels, self.prepare)

    def read(self, number: int) -> tuple[np.ndarray | None, list[str]]:
        """A picture, or None; and what is to be said of it."""
        height, width, channels = self.shape
        path = self.paths[number]
        return read_picture(path, (height, width), self.resize, channels, self.max_pixels)

    def pictures(self, numbers: np.ndarray) -> np.ndarray:
        """(m, H, W, 3) uint8; a ValueError if a file has gone since."""
        found = self._pictures(numbers)
        return found.repeat(3, axis=-1) if found.shape[-1] == 1 else found

    def images(self, numbers: np.ndarray) -> np.ndarray:
        """(m, H, W, channels), as the model takes them."""
        return self.prepared(self._pictures(numbers))

    def prepared(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures as the model takes them."""
        return np.asarray(self.prepare(pictures))

    def _pictures(self, numbers: np.ndarray) -> np.ndarray:
        found = np.empty((len(numbers), *self.shape), np.uint8)
        for row, number in enumerate(numbers.tolist()):
            found[row] = self._picture(number)
        return found

    def _picture(self, number: int) -> np.ndarray:
        if number in self._known:
            self._known.move_to_end(number)
            return self._known[number]
        picture, said = self.read(number)
        if picture is None:
            raise ValueError(f"A picture that was there before cannot be read any more: {said[0]}.")
        self._known[number] = picture
        while len(self._known) * picture.nbytes > REMEMBERED:
            self._known.popitem(last=False)
        return picture


class FolderSource:
    """
    A folder of pictures, with a folder for each class or without.

    Parameters
    ----------
    given
        The folder, and how pictures are read.
    shape
        The model's, one image.
    prepare
        What is done to pictures for the model.
    labels
        Name of a folder -> class; None goes by indices and `class_names`.
    class_names
        What classes are called.
    classes
        How many classes the model has.
    batch_size
        How many pictures are read at a time.
    """

    def __init__(
        self,
        given: PictureFolder,
        shape: tuple[int | None, ...],
        prepare: Prepare,
        labels: Any,
        class_names: Sequence[str] | None,
        classes: int,
        batch_size: int,
    ) -> None:
        self.folder = check_path("images", given.folder)
        self.batch_size, self._shape = batch_size, shape
        paths, of_folders = _paths_of(self.folder)
        known = _classes_of_folders(of_folders, labels, class_names, classes)
        self._labels: np.ndarray | None = None
        if known:
            self._labels = np.array([known.get(path.parent.name, UNKNOWN) for path in paths])
        self.length: int | None = len(paths)
        check_choice("resize", given.resize, ("crop", "squash"))
        size = _size_of(given.size, shape)
        self.reader = PictureReader(
            dict(enumerate(paths)),
            (*size, int(shape[-1] or 3)),
            given.resize,
            check_int("max_pixels", given.max_pixels),
            prepare,
        )

    def parts(self, known: Callable[[int], bool]) -> Iterator[tuple[int, Part | None]]:
        """Batches with their places; None for one of a place that is known, which is not read."""
        number = self.length or 0
        for place in range(-(-number // self.batch_size)):
            if known(place):
                yield place, None
                continue
            start = place * self.batch_size
            numbers, pictures, skipped, remarks = [], [], list[str](), list[str]()
            for one in range(start, min(start + self.batch_size, number)):
                picture, said = self.reader.read(one)
                if picture is None:
                    skipped += said
                else:
                    numbers.append(one)
                    pictures.append(picture)
                    remarks += said
            index = np.array(numbers, int)
            images = np.empty((0, *self.reader.shape), np.float32)
            if numbers:
                images = self._images(np.stack(pictures))
            labels = None if self._labels is None else self._labels[index]
            yield place, Part(index, images, labels, skipped, remarks)

    def pictures(self, part: Part, rows: np.ndarray) -> np.ndarray | None:
        """None: `reader` reads them again."""
        return None

    def _images(self, pictures: np.ndarray) -> np.ndarray:
        """As the model takes them, checked once: `preprocess` may be the user's."""
        try:
            return next(
                iter(Stream(self.reader.prepared(pictures), self._shape, len(pictures)))
            ).images
        except Exception as error:  # of whoever wrote it
            raise ValueError(
                "preprocess must make of pictures (n, H, W, channels), uint8, what the model "
                f"takes, and does not: {error}"
            ) from error

    def title(self, number: int) -> str:
        """What pages call a picture."""
        return readable(self.reader.paths[number].relative_to(self.folder))

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """The first picture, as the model takes it and as people look at it."""
        said: list[str] = []
        for number in self.reader.paths:
            picture, why = self.reader.read(number)
            if picture is not None:
                one = np.array([number])
                return self._images(picture[None]), self.reader.pictures(one)
            said += why
        warn_of_files(self.folder, len(said), said, [])  # an error: none can be read
        raise AssertionError

    def told(self) -> dict[str, Any]:
        """What the pictures are told from others by, beside the first."""
        said = [
            f"{path.relative_to(self.folder)!s} {path.stat().st_size}"
            for path in self.reader.paths.values()
        ]
        listed = np.frombuffer("\n".join(said).encode("utf-8", "surrogateescape"), np.uint8)
        return {
            "number": self.length,
            "files": digest(listed),
            "labels": None if self._labels is None else digest(self._labels),
            "shape": self.reader.shape,
            "resize": self.reader.resize,
            "max_pixels": self.reader.max_pixels,
        }


def _paths_of(folder: Path) -> tuple[list[Path], list[str]]:
    """The pictures of a folder, class by class, and what the folders in it are called."""
    if not folder.is_dir():
        raise ValueError(f"images must be a folder of pictures, and {folder} is none.")
    inside = sorted(one for one in folder.iterdir() if one.is_dir() and one.name[:1] != ".")
    inside = [one for one in inside if any(map(_is_picture, one.iterdir()))]
    if not inside:
        return paths_of_pictures(folder), []
    paths = [path for one in inside for path in paths_of_pictures(one)]
    return paths, [one.name for one in inside]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def _classes_of_folders(
    names: Sequence[str], labels: Any, class_names: Sequence[str] | None, classes: int
) -> dict[str, int]:
    """Which class each folder is of; empty where that is known of none."""
    if labels is not None:
        given = check_is("labels", labels, Mapping, "a mapping, name of a folder -> class")
        check_labels(list(given.values()), classes)
        return {str(name): int(number) for name, number in given.items() if name in names}
    found: dict[str, int] = {}
    called = {name.casefold(): i for i, name in reversed(list(enumerate(class_names or ())))}
    for name in names:
        if name.isdecimal() and int(name) < classes:
            found[name] = int(name)
        elif name.casefold() in called:
            found[name] = called[name.casefold()]
    return found


def _size_of(size: Any, shape: tuple[int | None, ...]) -> tuple[int, int]:
    height, width = shape[:2]
    if size is not None:
        sides = [check_int("size", side) for side in size]
        if len(sides) != 2 or height not in (None, sides[0]) or width not in (None, sides[1]):
            raise ValueError(f"size must be the model's own, {height}x{width}, received {size}.")
        height, width = sides
    if height is None or width is None:
        raise ValueError(
            "images must be a PictureFolder with a size, for the model leaves it open."
        )
    return int(height), int(width)
