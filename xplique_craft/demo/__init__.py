"""
The demo: real photographs and two small classifiers of their crops, with no download.

`photograph` and `crops` read fourteen photographs that scikit-image and scikit-learn carry in
their wheels; `load_model` returns the classifier of such crops that the package ships, of
convolutions, and `load_transformer` another, of tokens. `build_model` and `build_transformer` make
the same networks untrained. `python tools/train_demo.py`, in the repository, makes both files of
weights again.
"""

from .. import _backend as _backend
from .data import CLASS_NAMES, CROP_SIDE, crops, photograph
from .model import DEFAULT_LAYER, WEIGHTS_PATH, build_model, load_model
from .transformer import TRANSFORMER_PATH, build_transformer, load_transformer

__all__ = [
    "CLASS_NAMES",
    "CROP_SIDE",
    "DEFAULT_LAYER",
    "TRANSFORMER_PATH",
    "WEIGHTS_PATH",
    "build_model",
    "build_transformer",
    "crops",
    "load_model",
    "load_transformer",
    "photograph",
]
