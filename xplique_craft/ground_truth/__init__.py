"""
Images whose concepts and their places are known, and how much of them an explanation finds.

    model = load_shapes_model()
    train, shapes = make_shapes(200, seed=1, class_id=0), make_shapes(100, seed=2, class_id=0)
    craft = Craft.from_model(model, SHAPES_LAYER, 8)
    craft.fit(train.images, class_id=0)
    print(measure_recovery(craft, shapes).table())

`CONCEPT_NAMES` are the shapes, `CLASS_NAMES` the classes, and `WEIGHTS` what each shape adds to the
planted score of each class.
"""

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
