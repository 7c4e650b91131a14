"""
What a command is to explain, read from its arguments: all that can be wrong is found first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._checks import check_range
from .._files import check_can_write
from .._once import cached_property
from ..picture_files import Preprocessing, paths_of_pictures, read_pictures
from ..targets import check_class_id
from .labels import find_class, names_of, read_labels
from .messages import finished
from .model import input_shape, load_model, number_of_classes
from .options import Resize


class Pictures(NamedTuple):
    """
    The pictures of a folder.

    `pictures` (n, H, W, channels) are uint8 as people look at them, `inputs` float32 as the Keras
    model takes them, `names` those of the n files.
    """

    pictures: np.ndarray
    inputs: np.ndarray
    names: list[str]


@dataclass(frozen=True)
class Task:
    """
    What a command is to explain; its pictures are not read yet.

    `shape` is (H, W, channels) of the model's pictures, and `page` the file to write. `labels` are
    the names of each class by its index, None without a file of labels; `class_name` is None where
    they lack the class.
    """

    model: Any
    shape: tuple[int, int, int]
    class_id: int
    class_name: str | None
    labels: dict[int, list[str]] | None
    folder: Path
    page: Path
    preprocessing: Preprocessing
    resize: Resize
    max_pixels: int
    verbose: bool

    @property
    def class_names(self) -> list[str] | None:
        """The first name of every class, "class 3" where it has none; None without labels."""
        return names_of(self.labels, self.model.output_shape[-1])

    def read(self) -> Pictures:
        """The pictures, and the folder that the page will be in: here the work begins, once."""
        return self._pictures

    @cached_property
    def _pictures(self) -> Pictures:
        *size, channels = self.shape
        pictures, names = read_pictures(
            self.folder,
            (size[0], size[1]),
            self.resize.value,
            channels=channels,
            max_pixels=self.max_pixels,
            verbose=self.verbose,
        )
        finished(f"{len(names)} pictures read")
        self.page.parent.mkdir(parents=True, exist_ok=True)
        return Pictures(pictures, self.preprocessing(pictures), names)


def check_output(output: Path, name: str) -> Path:
    """The page of that name in the folder --output, or why it cannot be written there."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"output must be a folder, and {output} is a file: choose another.")
    return check_can_write("output", output / name)


def read_task(
    model: Path,
    folder: Path,
    class_word: str,
    labels: Path | None,
    *,
    output: Path,
    page: str,
    preprocess: str,
    resize: Resize,
    size: str | None,
    max_pixels: int,
    held_out: float,
    shares: str,
    verbose: bool,
) -> Task:
    """
    The model, the class and the files of a command's arguments, the cheapest check first.

    `page` is the name of the file to write into `output`, and `shares` the interval that `held_out`
    must be in.
    """
    path = check_output(output, page)
    check_range("held-out", held_out, shares)
    preprocessing = Preprocessing.from_spec(preprocess)
    known = read_labels(labels) if labels else None
    class_id, class_name = find_class(class_word, known)
    paths_of_pictures(folder)
    loaded = load_model(model)
    shape = input_shape(loaded, size, max_pixels)
    preprocessing.check_channels(shape[-1])
    class_id = check_class_id(class_id, number_of_classes(loaded), "class")
    return Task(
        model=loaded,
        shape=shape,
        class_id=class_id,
        class_name=class_name,
        labels=known,
        folder=folder,
        page=path,
        preprocessing=preprocessing,
        resize=resize,
        max_pixels=max_pixels,
        verbose=verbose,
    )
