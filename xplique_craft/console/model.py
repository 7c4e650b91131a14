"""
The model of a command: read from its file, and the layer to cut it at.
"""

import textwrap
from pathlib import Path
from typing import Any

from ..factorization import FACTORIZERS
from .messages import say
from .options import FactorizerName

_LONGEST_REASON = 400  # characters of what Keras says
_DIGITS = 7  # sides of pictures have fewer


def load_model(path: Path, name: str = "MODEL") -> Any:
    """The Keras model of a file, the argument `name`, or a ValueError in one sentence."""
    if path.is_dir():
        raise ValueError(
            f"{name} must be a saved Keras model, a .keras or .h5 file, and {path} is a folder. (A "
            "SavedModel of TensorFlow has no layers to cut at: save the model itself, with "
            "model.save('model.keras').)"
        )
    if not path.is_file():
        found = "a pipe or a device, no file:" if path.exists() else "no file"
        raise ValueError(f"{name} must be a saved Keras model, and there is {found} {path}.")
    from .. import _backend as _backend

    # isort: split
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras answers with any type, and pages of configuration
        reason = str(error).split("Exception encountered:")[-1].split("Full object config")[0]
        raise ValueError(
            f"{name} must be a saved Keras model, and Keras cannot load {path}: "
            f"{textwrap.shorten(reason, _LONGEST_REASON, placeholder=' ...')} "
            "(A model with layers of your own: load it in Python, and use Craft.from_model. One of "
            "Keras 2: save it as an .h5 file.)"
        ) from error
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"{name} must be a saved Keras model, and {path} holds a {type(model).__name__}."
        )
    return model


def input_shape(model: Any, size: str | None, max_pixels: int) -> tuple[int, int, int]:
    """Height, width and channels of the pictures, from the model and, where it is open, --size."""
    shape = getattr(model, "input_shape", None)  # a model that is not built has none
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (1, 3):
        raise ValueError(
            "MODEL must take one picture, (H, W, channels) with 1 or 3 channels, and this one's "
            f"input is {shape}."
        )
    height, width, channels = shape[1:]
    if size is not None:
        sides = size.lower().split("x")
        if len(sides) != 2 or not all(map(_is_side, sides)):
            raise ValueError(f"size must be HxW in pixels, as 224x224, not {size[:40]!r}.")
        wanted = int(sides[0]), int(sides[1])
        if wanted[0] * wanted[1] > max_pixels:
            raise ValueError(f"size must be of at most {max_pixels:,} pixels, not {size}.")
        if height not in (None, wanted[0]) or width not in (None, wanted[1]):
            raise ValueError(f"size must be the model's own, {height}x{width}, not {size}.")
        height, width = wanted
    if height is None or width is None:
        raise ValueError("size must be given, as --size 224x224: this model leaves it open.")
    return height, width, channels


def _is_side(text: str) -> bool:
    return text.isdecimal() and len(text) < _DIGITS and int(text) > 0


def number_of_classes(model: Any) -> int:
    """How many outputs the model has, or why they are no scores of classes."""
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2 or not isinstance(shape[1], int):
        raise ValueError(
            f"MODEL must give one score for each class, (n, classes), and this one gives {shape}."
        )
    return shape[1]


def chosen_layer(model: Any, factorizer: FactorizerName) -> str:
    """The layer to cut at where none is given, said aloud; a ValueError where there is none."""
    from ..splitting.layers import best_layer
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
            "positions. Add --factorizer signed-nmf, which takes signed layers too, or choose a "
            "--layer; `xplique-craft layers` lists what there is."
        )
    say(f"Cut at {best.name} (--layer takes another).")
    return best.name
