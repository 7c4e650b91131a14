"""
One class of a model, explained into its folder, in this process or in another.

    classes/0007/craft.safetensors         the concepts, see `Craft.load`
    classes/0007/images.safetensors        the numbers of the images of the fit, and held-out ones
    classes/0007/explanation.safetensors   a `ClassExplanation`; written last, so the class is done
    classes/0007/failed.safetensors        or why the class cannot be explained

A class that was interrupted is begun again, from files that do not change: it ends with the same
numbers.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..craft import Craft
from ..explanation import explain_class
from ..factorization.base import Factorizer
from ..saving import save
from ..splitting.split import Split, split_model
from .routing import Kept

THREADS = "TF_NUM_INTRAOP_THREADS"  # by which whoever starts a process sets its threads
OF_THE_COMPUTER = (MemoryError, OSError, tf.errors.ResourceExhaustedError)

_loaded: dict[str, tuple[Split, keras.Model | None]] = {}


@dataclass(frozen=True)
class ModelFiles:
    """
    Where a process finds the model.

    Parameters
    ----------
    folder
        Holds model.keras, and judge.keras where there is a judge.
    layer
        Where the model is cut.
    told
        A checksum of the model: a process may have had another one, from the same folder.
    load_model
        Returns the model; None reads it from the folder.
    judged
        Whether there is a judge.
    threads
        How many threads TensorFlow may take in a process of its own; None leaves that to it.
    """

    folder: Path
    layer: str
    told: str
    load_model: Callable[[], keras.Model] | None
    judged: bool
    threads: int | None = None

    def known(self) -> tuple[Split, keras.Model | None]:
        """The split model and the judge: those of this process, else read once."""
        key = f"{self.told} {self.folder}"
        if key not in _loaded:
            if self.threads is not None and THREADS not in os.environ:
                with suppress(RuntimeError):  # TensorFlow runs already, with threads of its own
                    tf.config.threading.set_intra_op_parallelism_threads(self.threads)
                    tf.config.threading.set_inter_op_parallelism_threads(self.threads)
            model = self.load_model() if self.load_model else _read(self.folder / "model.keras")
            judge = _read(self.folder / "judge.keras") if self.judged else None
            _loaded.clear()  # of another call, in a process that lives on
            _loaded[key] = split_model(model, self.layer), judge
        return _loaded[key]

    @contextmanager
    def shared(self, split: Split, judge: keras.Model | None) -> Iterator[None]:
        """Let tasks in this process go on with what it has."""
        key = f"{self.told} {self.folder}"
        _loaded[key] = split, judge
        try:
            yield
        finally:
            _loaded.pop(key, None)

    def write(self, split: Split, judge: keras.Model | None) -> None:
        """Save the model for other processes, and the judge."""
        for name, model in (("model", split.model), ("judge", judge)):
            path = self.folder / f"{name}.keras"
            if model is None or path.exists() or (name == "model" and self.load_model):
                continue
            new = path.with_name(f".{name}.tmp.keras")
            path.parent.mkdir(parents=True, exist_ok=True)
            model.save(new)
            os.replace(new, path)


def _read(path: Path) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras answers with any type
        raise ValueError(
            f"model cannot be loaded in another process ({str(error)[:200]}). Give a function that "
            "returns it, load_model=..., or go without other processes."
        ) from error


@dataclass(frozen=True)
class Settings:
    """How every class is explained: arguments of `explain_model`, by their names."""

    number_of_concepts: int
    batch_size: int
    patch_size: int | Sequence[int] | None
    factorizer: str | Factorizer
    keep_residual: bool
    baseline: str
    special_tokens: int | None
    keep_special_tokens: bool | None
    seed: int
    class_names: Sequence[str] | None
    held_out: float | None
    model_name: str | None
    number_of_crops: int
    number_of_views: int
    nb_design: int
    folds: int
    prepare: Callable[[np.ndarray], Any] | None

    def craft(self, split: Split) -> Craft:
        """A craft that is not fitted yet."""
        return Craft.from_model(
            split,
            None,
            self.number_of_concepts,
            self.batch_size,
            self.patch_size,
            factorizer=self.factorizer,
            keep_residual=self.keep_residual,
            baseline=self.baseline,
            special_tokens=self.special_tokens,
            keep_special_tokens=self.keep_special_tokens,
            seed=self.seed,
        )


@dataclass(frozen=True)
class ClassTask:
    """
    All that a process needs to explain one class.

    Parameters
    ----------
    folder
        Of the class.
    class_id
        Which class it is.
    kept
        Its images.
    titles
        What pages call them.
    settings
        How it is explained.
    model
        Where the model is.
    """

    folder: Path
    class_id: int
    kept: Kept
    titles: list[str]
    settings: Settings
    model: ModelFiles

    @property
    def done(self) -> bool:
        """Whether the class is explained, or known to be none that can be."""
        return any((self.folder / name).exists() for name in (EXPLANATION, FAILED))


CRAFT, IMAGES = "craft.safetensors", "images.safetensors"
EXPLANATION, FAILED = "explanation.safetensors", "failed.safetensors"


def explain_one(task: ClassTask) -> int:
    """Explain a class into its folder, unless it is done; how many images that took."""
    if task.done:  # by a process that was lost after it
        return 0
    split, judge = task.model.known()
    settings, kept = task.settings, task.kept
    craft = settings.craft(split)
    try:
        explanation = explain_class(
            craft,
            kept.images,
            task.class_id,
            photographs=kept.pictures,
            class_names=settings.class_names,
            titles=task.titles,
            held_out=settings.held_out,
            model_name=settings.model_name,
            number_of_crops=settings.number_of_crops,
            number_of_views=settings.number_of_views,
            nb_design=settings.nb_design,
            folds=settings.folds,
            judge=judge,
            prepare=settings.prepare,
        )
    except OF_THE_COMPUTER:  # there may be more memory, or room, another time
        raise
    except Exception as error:
        fail(task.folder, str(error) or type(error).__name__)
        return len(kept.numbers)
    craft.save(task.folder / CRAFT, with_inputs=False)
    fitted = craft.inputs_of_fit.numbers
    save(
        {"fitted": fitted, "held_out": np.setdiff1d(kept.numbers, fitted)},
        task.folder / IMAGES,
    )
    save(explanation, task.folder / EXPLANATION)
    return len(kept.numbers)


def fail(folder: Path, reason: str) -> None:
    """Record why a class cannot be explained."""
    save({"reason": reason}, folder / FAILED)
