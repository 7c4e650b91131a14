"""
Concept attribution: where each concept is, or acts, and why this class.

    concept_attribution    the explainer: concept maps and class maps
    maps                   concept maps: coefficients at the resolution of the image
    relevance              what a concept does for the score at a place, and in which unit
    class_map              what speaks for a class, laid out in the image
    xplique_explainers     maps of concepts by any explainer of Xplique
    explainer_choice       which explainers may be chosen, and how they are made
    perturbations          perturbed images that all concepts share
"""

from .. import _backend as _backend
from .concept_attribution import ConceptAttribution

__all__ = ["ConceptAttribution"]
