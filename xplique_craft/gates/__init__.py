"""
Gates: f_x(m), the score of the model with some concepts dimmed.

    coded        a batch of images in terms of concepts: U, W, E
    folding      a head h taken apart, so that gates cost as little as they can
    compiled     its functions, compiled
    head         f_x(m) for many images and gates at once
    all_outputs  what concepts contribute to every output at once
"""

from .. import _backend as _backend
from .all_outputs import AllOutputs
from .coded import Coded
from .head import GatedHead

__all__ = ["AllOutputs", "Coded", "GatedHead"]
