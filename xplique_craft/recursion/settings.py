"""
How concepts are taken apart and how trees of them grow: every setting stands here, once, with its
default, its check and what it does to the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import keras

from .._checks import check, check_list, shown
from ..factorization import Factorizer

LayerLike: TypeAlias = str | int | keras.layers.Layer


@dataclass(frozen=True, kw_only=True)
class DecompositionSettings:
    """
    How a concept is taken apart.

    Parameters
    ----------
    factorizer
        What finds the children in the activations of the crops that hold the concept.
    layer
        Where children are found: name, index or layer object of a layer before that of the concept.
        None takes the nearest one with at least three times as many positions and two to eight
        layers of weights between or, where there is none, with four (see
        `recursion.earlier_layers`).
    number_of_concepts
        How many children are found. More of them explain more of the concept, and need more crops:
        two for each child.
    percentile
        Of the concept's coefficients in all crops: children are found in the crops at or above it,
        never in one without the concept. A higher one gives purer crops, and fewer.
    tolerance
        How far the contributions of the children may be off, as a share of the largest of each
        image; a smaller one takes longer, for what leads from an early layer to a later one bends
        often.

    Raises
    ------
    TypeError, ValueError
        If a number is none or out of range.
    """

    factorizer: Factorizer
    layer: LayerLike | None = None
    number_of_concepts: int = 5
    percentile: float = 90.0
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        check("number_of_concepts", self.number_of_concepts)
        check("percentile", self.percentile)
        check("tolerance", self.tolerance)


@dataclass(frozen=True, kw_only=True)
class GrowthSettings(DecompositionSettings):
    """
    How a tree grows; `layers` takes the place of `layer`.

    Parameters
    ----------
    factorizer, number_of_concepts, percentile, tolerance
        How each concept is taken apart, see `DecompositionSettings`.
    depth
        How many times in a row concepts are taken apart at most: with 2, the concepts of the craft
        and their children are, and the children's children stay whole.
    min_share
        A concept stays whole if its share of the class score, through its parents, has a smaller
        magnitude than this.
    min_mixedness
        A concept stays whole if its mixedness is smaller: that is 0 for a concept of one piece and
        1 for one as diverse as the crops of the class as a whole (see `recursion.mixedness`).
    layers
        Where children are found: one layer for each of the `depth` times, the latest first; None
        for the rule of `DecompositionSettings`.
    max_images
        Shares are measured on so many images at most, drawn by the seed. Fewer take less time and
        give wider intervals.
    max_unexplained
        A concept stays whole if its children leave more than this of it unexplained,
        |F(0)| / F(1). With 1, the children may not leave more than there was.

    Raises
    ------
    TypeError, ValueError
        If a number is none or out of range, or there is not one layer for each time.
    """

    depth: int = 2
    min_share: float = 0.05
    min_mixedness: float = 0.1
    layers: Sequence[LayerLike] | None = None
    max_images: int = 40
    max_unexplained: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check("depth", self.depth)
        check("min_share", self.min_share)
        check("min_mixedness", self.min_mixedness)
        check("max_unexplained", self.max_unexplained)
        check("max_images", self.max_images)
        if self.layers is not None and (
            isinstance(self.layers, str)
            or len(check_list("layers", self.layers, "layers, the latest first")) != self.depth
        ):
            raise ValueError(
                f"layers must name one layer for each of the {self.depth} times that concepts are "
                f"taken apart, the latest first, received {shown(self.layers)}."
            )

    def at(self, depth: int) -> DecompositionSettings:
        """How concepts of a depth are taken apart, 0 being the craft's own."""
        return self if self.layers is None else replace(self, layer=self.layers[depth])
