"""A concept model whose concepts can be taken apart, and theirs: what `Craft` is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..concept_model import ConceptModel
from .growth import ConceptTree, grow
from .node import Decomposable
from .settings import DecompositionSettings, GrowthSettings, LayerLike
from .shared_crops import SharedCrops
from .siblings import Siblings


class Growable(ConceptModel, Decomposable):
    """A `ConceptModel` with `decompose` and `grow`."""

    @property
    def siblings_below(self) -> Siblings:
        """Its own concepts, with the fit and the settings that it has now, and their crops."""
        shared = SharedCrops(self.variant())
        settings = DecompositionSettings(factorizer=self.factorized.factorizer)
        return Siblings(shared.craft, shared, settings, shared.crops_u)

    def grow(
        self,
        depth: int = GrowthSettings.depth,
        min_share: float = GrowthSettings.min_share,
        min_mixedness: float = GrowthSettings.min_mixedness,
        number_of_concepts: int = GrowthSettings.number_of_concepts,
        percentile: float = GrowthSettings.percentile,
        *,
        layers: Sequence[LayerLike] | None = GrowthSettings.layers,
        inputs: Any = None,
        max_images: int = GrowthSettings.max_images,
        max_unexplained: float = GrowthSettings.max_unexplained,
        tolerance: float = GrowthSettings.tolerance,
        checkpoint: str | Path | None = None,
    ) -> ConceptTree:
        """
        Take apart what is important and mixed, then what is so among its children, and so on.

        Parameters
        ----------
        depth, min_share, min_mixedness, number_of_concepts, percentile, layers, max_images,
        max_unexplained, tolerance
            How far and what: see `recursion.GrowthSettings`.
        inputs
            The images that shares are measured on, better held-out ones; None for those of `fit`.
        checkpoint
            A folder in which every concept that was taken apart and measured is kept: after Ctrl-C
            or a crash the same call of the same craft goes on from there, see `Craft.fit`. None
            keeps nothing.

        Returns
        -------
        tree
            `print(tree)`, `tree.nodes[3,]`, `plots.concept_tree(tree.view(photographs))`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `decompose`.
        """
        settings = GrowthSettings(
            factorizer=self.factorized.factorizer,
            depth=depth,
            min_share=min_share,
            min_mixedness=min_mixedness,
            number_of_concepts=number_of_concepts,
            percentile=percentile,
            layers=layers,
            max_images=max_images,
            max_unexplained=max_unexplained,
            tolerance=tolerance,
        )
        return grow(self, settings, inputs, checkpoint)
