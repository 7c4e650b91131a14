"""
Choices that several commands of the console offer.
"""

from enum import Enum

__all__ = ["Baseline", "FactorizerName", "Resize"]


class Resize(str, Enum):
    """How pictures of another shape are brought to the model's."""

    crop = "crop"
    squash = "squash"


class FactorizerName(str, Enum):
    """Ways to find concepts, by the names that `Craft` gives them."""

    nmf = "nmf"
    semi_nmf = "semi-nmf"
    kmeans = "kmeans"
    pca = "pca"


class Baseline(str, Enum):
    """What gates lead towards when they close."""

    zero = "zero"
    mean = "mean"
