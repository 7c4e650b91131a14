"""
Concept maps and heatmaps measured against each other on the same images.

    run         `compare`, which goes through the methods
    given       what `compare` was given: images, photographs, the class's name
    methods     what is compared: Xplique's methods with their settings, concept maps, chance
    explaining  maps of one method, with its draws seeded; what they cost
    fidelity    deletion, insertion and MuFidelity, image by image
    anew        stability and randomisation, which explain images anew
    result      what was found
"""

from ..results.comparison import MEASURES, RANDOM, Comparison, Measure, MethodScores
from .run import compare

__all__ = ["MEASURES", "RANDOM", "Comparison", "Measure", "MethodScores", "compare"]
