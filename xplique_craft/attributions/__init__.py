"""
Concept attribution: where each concept is, or acts, and why this class.

    concept_attribution    the explainer: concept maps and class maps
    explained              any explainer of Xplique on the concepts of one model
"""

from .concept_attribution import ConceptAttribution

__all__ = ["ConceptAttribution"]
