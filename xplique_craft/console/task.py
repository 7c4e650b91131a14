"""
What a command is to explain, read from its arguments.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..targets import check_class_id
from .labels import find_class, read_labels
from .model import input_shape, load_model
from .options import Resize
from .pictures import Preprocessing, read_pictures


class Task(NamedTuple):
    """
    What a command is to explain.

    Parameters
    ----------
    model
        The Keras model.
    pictures, inputs
        The n pictures (n, H, W, channels), uint8 as people look at them, and float32 as the model
        takes them.
    names
        The names of the n files.
    class_id, class_name
        The index of the class, and its name; None where there are no labels or they lack it.
    labels
        The names of each class by its index; None where no file of labels was given.
    """

    model: Any
    pictures: np.ndarray
    inputs: np.ndarray
    names: list[str]
    class_id: int
    class_name: str | None
    labels: dict[int, list[str]] | None

    @property
    def class_names(self) -> list[str] | None:
        """The first name of every class, "class 3" where it has none; None without labels."""
        if self.labels is None:
            return None
        number = self.model.output_shape[-1]
        return [self.labels.get(i, [""])[0] or f"class {i}" for i in range(number)]


def read_task(
    model: Path,
    folder: Path,
    class_word: str,
    labels: Path | None,
    *,
    preprocess: str,
    resize: Resize,
    size: str | None,
    verbose: bool,
) -> Task:
    """The model, the class and the pictures of a command's arguments, the cheapest check first."""
    preprocessing = Preprocessing.from_spec(preprocess)
    known = read_labels(labels) if labels else None
    class_id, class_name = find_class(class_word, known)
    loaded = load_model(model)
    height, width, channels = input_shape(loaded, size)
    class_id = check_class_id(class_id, loaded.output_shape[-1], "class")
    pictures, names = read_pictures(
        folder, (height, width), resize.value, channels=channels, verbose=verbose
    )
    inputs = preprocessing(pictures)
    return Task(loaded, pictures, inputs, names, class_id, class_name, known)
