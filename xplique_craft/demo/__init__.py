"""
The demo: real photographs and a small classifier of their crops, with no download.

`photograph` and `crops` read fourteen photographs that scikit-image and scikit-learn carry in
their wheels; `load_model` returns the classifier of such crops that the package ships, and
`build_model` the same network untrained. `python tools/train_demo.py`, in the repository, makes the
file again.
"""

from .. import _backend as _backend
from .data import CLASS_NAMES, CROP_SIDE, crops, photograph
from .model import DEFAULT_LAYER, WEIGHTS_PATH, build_model, load_model

__all__ = [
    "CLASS_NAMES",
    "CROP_SIDE",
    "DEFAULT_LAYER",
    "WEIGHTS_PATH",
    "build_model",
    "crops",
    "load_model",
    "photograph",
]
