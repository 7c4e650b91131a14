"""What `explain_model` has left in its folder, read back: results as they were, to the bit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from .._checks import check_int
from .._files import check_path
from ..craft import Craft
from ..questions import AnsweringModel
from ..report import write_atlas
from ..results import ClassExplanation, ModelSummary
from ..saving import load
from ..splitting.split import Split
from .merged import merged_model
from .of_one_class import CRAFT, EXPLANATION, FAILED, IMAGES

SUMMARY = "model.safetensors"


class Atlas:
    """
    A model explained class by class, as the folder that `explain_model` wrote.

    Nothing of it is in memory but the summary; it is opened again by its folder alone.

    Parameters
    ----------
    folder
        The folder that was given to `explain_model`.

    Raises
    ------
    ValueError
        If the folder holds none that was finished.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = check_path("folder", folder)
        try:
            self.summary: ModelSummary = load(self.folder / SUMMARY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ValueError(
                f"folder must hold what `explain_model` finished, and {self.folder} has no "
                f"{SUMMARY}: call explain_model with this folder again, which goes on."
            ) from error
        except OSError as error:
            raise ValueError(f"folder cannot be read: {error.strerror}.") from error

    @property
    def classes(self) -> list[int]:
        """The classes that are explained, by increasing index."""
        return [one.class_id for one in self.summary.classes if one.failed is None]

    def explanation(self, class_id: int) -> ClassExplanation:
        """All that is said of a class."""
        return load(self._of(class_id) / EXPLANATION)

    def craft(self, class_id: int, model: keras.Model | Split, *, inputs: Any = None) -> Craft:
        """
        The concepts of a class, to ask more of them.

        Parameters
        ----------
        class_id
            The class.
        model
            The model that was explained.
        inputs
            The images of the fit, of which `images` has the numbers, for what crops are needed for;
            None otherwise.

        Returns
        -------
        craft
            As it was fitted.
        """
        return Craft.load(self._of(class_id) / CRAFT, model, inputs=inputs)

    def images(self, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """
        Numbers of the images that the concepts of a class were found in, and of those held out.

        They are counted from 0 in the order in which the data came, a folder's by their paths.
        """
        found = load(self._of(class_id) / IMAGES)
        return found["fitted"], found["held_out"]

    def concepts(self, model: keras.Model | Split, inputs: Any) -> AnsweringModel:
        """
        The concepts of all classes as one set, those that classes share once: `summary.merged`.

        Parameters
        ----------
        model
            The model that was explained.
        inputs
            Images in which coefficients are looked at once, for the scale of maps: array, tensor,
            or tf.data.Dataset.

        Returns
        -------
        concepts
            Everything that `unite` answers; a target says which score is explained.

        Raises
        ------
        ValueError
            If the classes' concepts could not be merged.
        """
        merged = self.summary.merged
        if merged is None:
            raise ValueError(
                "The concepts of these classes are not merged: fewer than two were explained, or "
                "their banks have no common zero (atlas.summary.notes says why). Ask for the "
                "concepts of one class: atlas.craft(class_id, model)."
            )
        crafts = load_crafts(self.folder, self.classes, model)
        return merged_model(list(crafts.values()), merged, inputs)

    def write(self, verbose: bool = False) -> Path:
        """Write the folder's pages, see `report.write_atlas`; the index, the page to begin with."""
        with tqdm(
            total=len(self.classes), desc="pages", unit="class", disable=not verbose, leave=False
        ) as bar:

            def explanation(class_id: int) -> ClassExplanation:
                bar.update()
                return self.explanation(class_id)

            return write_atlas(self.summary, explanation, self.folder)

    def __str__(self) -> str:
        lines = [
            f"{self.summary.model_name}, cut at {self.summary.layer}: {len(self.classes)} of "
            f"{len(self.summary.classes)} classes explained, from {self.summary.images} images."
        ]
        for one in self.summary.classes:
            said = one.failed or f"agreement {one.agreement}, explained {one.explained_share}"
            lines.append(f"  {one.class_id:4d} {one.class_name}: {said}")
        return "\n".join(lines)

    def _of(self, class_id: int) -> Path:
        if check_int("class_id", class_id, minimum=0) not in self.classes:
            raise ValueError(
                f"class_id must be a class that is explained here, one of "
                f"{', '.join(map(str, self.classes[:20]))}, received {class_id}."
            )
        return class_folder(self.folder, class_id)


def load_crafts(
    folder: Path, classes: Sequence[int], model: keras.Model | Split
) -> dict[int, Craft]:
    """The concepts of some classes, by class."""
    return {one: Craft.load(class_folder(folder, one) / CRAFT, model) for one in classes}


def class_folder(folder: Path, class_id: int) -> Path:
    """Where the files of a class are."""
    return folder / "classes" / f"{class_id:04d}"


def reason_of(folder: Path, class_id: int) -> str | None:
    """Why a class could not be explained; None where it was."""
    path = class_folder(folder, class_id) / FAILED
    return str(load(path)["reason"]) if path.exists() else None
