"""How good concepts are, measured."""

from .. import _backend as _backend
from .judge import CropCluster, embed_crops
from .purity import Trials, binary_choice, difference, intruder_test

__all__ = [
    "CropCluster",
    "Trials",
    "binary_choice",
    "difference",
    "embed_crops",
    "intruder_test",
]
