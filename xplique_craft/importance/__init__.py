"""How much each concept matters to the model's score."""

from .sobol import SobolImportance

__all__ = ["SobolImportance"]
