"""How good concepts are, measured."""

from .. import _backend as _backend
from .purity import CropCluster, Trials, binary_choice, difference, embed_crops, intruder_test

__all__ = [
    "CropCluster",
    "Trials",
    "binary_choice",
    "difference",
    "embed_crops",
    "intruder_test",
]
