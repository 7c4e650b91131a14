"""Images whose concepts and their places are known, and how much of them an explanation finds."""

from .. import _backend as _backend
from .model import SHAPES_LAYER, build_shapes_model, load_shapes_model
from .recovery import measure_recovery
from .shapes import CLASS_NAMES, CONCEPT_NAMES, WEIGHTS, Shapes, make_shapes

__all__ = [
    "CLASS_NAMES",
    "CONCEPT_NAMES",
    "SHAPES_LAYER",
    "WEIGHTS",
    "Shapes",
    "build_shapes_model",
    "load_shapes_model",
    "make_shapes",
    "measure_recovery",
]
