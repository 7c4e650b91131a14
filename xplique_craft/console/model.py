"""
The model of a command: read from its file, and the layer to cut it at.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..factorization import FACTORIZERS
from .options import FactorizerName

if TYPE_CHECKING:
    from ..splitting.split import Candidate


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
    signed = not FACTORIZERS[factorizer.value].requires_non_negative
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
