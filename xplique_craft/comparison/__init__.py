"""
Concept maps and heatmaps measured against each other on the same images.

    run          `compare`, which goes through the methods
    methods      what is compared: Xplique's methods with their settings, concept maps, chance
    method_maps  maps of one method at work on a model: its draws seeded, its maps checked
    timing       what a map costs: seconds, and passes through the model
    measures     what a measure is, and what is measured; a new measure is added there alone
    fidelity     how Deletion, Insertion and MuFidelity are computed, image by image
    robustness   how maps are compared with those of noisy images, and of a model at random

What a comparison found is a record in `results`. Every measure that `measures` lists is public.
"""

from .. import _backend as _backend
from ..results.comparison import RANDOM, Comparison, Measure, MethodScores
from . import measures
from .measures import *  # noqa: F403 - so that a new one need not be named here too
from .run import compare

__all__ = [
    "RANDOM",
    "Comparison",
    "Measure",
    "MethodScores",
    "compare",
]
__all__ += measures.__all__
