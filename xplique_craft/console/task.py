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

    `pictures` (n, H, W, channels) are uint8 as people look at them, `inputs` float32 as the Keras
    model takes them, `names` those of the n files. `labels` are the names of each class by its
    index, None without a file of labels; `class_name` is None where they lack the class.
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
    return Task(
        model=loaded,
        pictures=pictures,
        inputs=preprocessing(pictures),
        names=names,
        class_id=class_id,
        class_name=class_name,
        labels=known,
    )
