"""
What the console's commands share: plain messages, the model of a file, the summary of a result.
"""

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np
import typer

from .labels import find_class, read_labels
from .options import FactorizerName, Resize
from .pictures import Preprocessing, read_pictures

if TYPE_CHECKING:
    from ..results import ClassExplanation
    from ..splitting.split import Candidate

__all__ = [
    "best_layer",
    "chosen_layer",
    "input_shape",
    "load_model",
    "names_of_classes",
    "plain_messages",
    "print_summary",
    "read_task",
]

FEW_PICTURES = 10
"""Below this many pictures of a class, a warning says that its concepts are hardly reliable."""

_CONCEPTS_SHOWN = 5


@contextmanager
def plain_messages() -> Iterator[None]:
    """TensorFlow's logs off; warnings and errors of the user's making as one line each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except (OSError, TypeError, ValueError) as error:
            typer.echo(f"Error: {_one_line(error)}", err=True)
            raise typer.Exit(2) from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    typer.echo(f"Warning: {_one_line(message)}", err=True)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def load_model(path: Path) -> Any:
    """The Keras model of a file, or a ValueError in one sentence."""
    if not path.is_file():
        raise ValueError(f"MODEL must be a saved Keras model, and there is no file {path}.")
    import keras

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras answers with any type, and pages of configuration
        reason = str(error).split("Exception encountered:")[-1].split("Full object config")[0]
        raise ValueError(
            f"MODEL must be a saved Keras model, and Keras cannot load {path}: {reason.strip()} "
            "(A model with layers of your own: load it in Python, and use Craft.from_model.)"
        ) from error


def input_shape(model: Any, size: str | None) -> tuple[int, int, int]:
    """Height, width and channels of the pictures, from the model and, where it is open, --size."""
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (1, 3):
        raise ValueError(
            "MODEL must take one picture, (H, W, channels) with 1 or 3 channels, and this one's "
            f"input is {shape}."
        )
    height, width, channels = shape[1:]
    if size is not None:
        sides = size.lower().split("x")
        if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
            raise ValueError(f"size must be HxW in pixels, as 224x224, not {size!r}.")
        wanted = int(sides[0]), int(sides[1])
        if height not in (None, wanted[0]) or width not in (None, wanted[1]):
            raise ValueError(f"size must be the model's own, {height}x{width}, not {size}.")
        height, width = wanted
    if height is None or width is None:
        raise ValueError("size must be given, as --size 224x224: this model leaves it open.")
    return height, width, channels


def best_layer(
    candidates: "Sequence[Candidate]", classes: int, *, signed: bool = False
) -> "Candidate | None":
    """
    The last candidate that is non-negative and has several positions; None without one.

    With `signed`, where none is known to be non-negative: the last that has several positions. One
    with as many channels as classes is passed over: its channels are the classes' own maps, in
    which there are no parts left to find.
    """
    placed = [
        candidate
        for candidate in candidates
        if candidate.shape[-1] != classes and any(n != 1 for n in candidate.shape[:-1])
    ]
    fitting = [candidate for candidate in placed if candidate.non_negative]
    if not fitting and signed:
        fitting = placed
    return fitting[-1] if fitting else None


def chosen_layer(model: Any, factorizer: FactorizerName) -> str:
    """The layer to cut at where none is given, said aloud; a ValueError where there is none."""
    from ..splitting.split import candidate_layers

    candidates = candidate_layers(model)
    signed = factorizer is not FactorizerName.nmf
    best = best_layer(candidates, model.output_shape[-1], signed=signed)
    if best is None:
        raise ValueError(
            "layer must be given: no layer of this model has positions. `xplique-craft layers` "
            "lists what there is."
            if signed
            else "layer must be given: no layer of this model is known to be non-negative and has "
            "positions. Add --factorizer semi-nmf, which takes signed layers too, or choose a "
            "--layer; `xplique-craft layers` lists what there is."
        )
    typer.echo(f"Cut at {best.name} (--layer takes another).")
    return best.name


class Task(NamedTuple):
    """
    What a command is to explain.

    Parameters
    ----------
    model
        The Keras model.
    pictures, inputs
        uint8 (n, H, W, channels) as people look at them, and as the model takes them.
    names
        n names of the pictures.
    class_id, class_name
        The class, its name None where it is not known.
    labels
        Names of the classes by index; None where there are none.
    """

    model: Any
    pictures: np.ndarray
    inputs: np.ndarray
    names: list[str]
    class_id: int
    class_name: str | None
    labels: dict[int, list[str]] | None


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
    classes = loaded.output_shape[-1]
    if class_id >= classes:
        raise ValueError(
            f"class must be below the model's number of outputs, {classes}, not {class_id}."
        )
    pictures, names = read_pictures(
        folder, (height, width), resize.value, channels=channels, verbose=verbose
    )
    inputs = preprocessing(pictures)
    return Task(loaded, pictures, inputs, names, class_id, class_name, known)


def names_of_classes(labels: dict[int, list[str]] | None, number: int) -> list[str] | None:
    """The first name of every class, "class 3" where it has none; None without labels."""
    if labels is None:
        return None
    return [labels.get(i, [""])[0] or f"class {i}" for i in range(number)]


def print_summary(explanation: "ClassExplanation") -> None:
    """How many pictures, how faithful, and the first concepts."""
    from ..report.numbers import NOT_APPLICABLE

    checked = explanation.quality_held_out
    quality = checked or explanation.quality
    held_out = checked.number_of_images if checked else 0
    used = explanation.number_of_images + held_out
    typer.echo(
        f"{explanation.class_name}: {used} of {used + explanation.number_left_out} pictures are "
        f"predicted as it and used, {explanation.number_of_images} to find the concepts and "
        f"{held_out} to check them."
    )
    if used < FEW_PICTURES:
        warnings.warn(
            f"Concepts of {used} pictures are hardly reliable: give more than {FEW_PICTURES} that "
            "the model predicts as the class (and see that --preprocess is right).",
            stacklevel=2,
        )
    where = "pictures it was not fitted on" if checked else "the pictures it was fitted on"
    typer.echo(f"Faithfulness on {where}, with 90% intervals:")
    typer.echo(f"  agreement             {quality.agreement}")
    typer.echo(f"  reconstruction share  {quality.reconstruction_share}")
    typer.echo(f"  explained share       {quality.explained_share}")
    encoding = quality.kkt_residual
    text = f"{encoding:.1e}" if math.isfinite(encoding) else NOT_APPLICABLE
    typer.echo(f"  KKT residual          {text}")
    typer.echo("Concepts that add most to the score:")
    for card in explanation.cards[:_CONCEPTS_SHOWN]:
        typer.echo(
            f"  concept {card.concept:<3d} {card.share:7.1%} of the score, "
            f"Sobol total index {card.importance}"
        )
