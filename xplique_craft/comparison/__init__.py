"""
Concept maps and heatmaps measured against each other on the same images.

    run         `compare`, which goes through the methods
    methods     what is compared: Xplique's methods with their settings, concept maps, chance
    fidelity    deletion, insertion and MuFidelity, image by image
    result      what was found
"""

from .result import MEASURES, RANDOM, Comparison, Measure, MethodScores
from .run import compare

__all__ = ["MEASURES", "RANDOM", "Comparison", "Measure", "MethodScores", "compare"]
