"""
CRAFT: concepts of a class, found where the model looks, faithful to the model.

Orchestration only: images -> crops -> rows -> bank. What one asks of a fitted bank is the business
of `ConceptModel`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ._checks import check_int
from .compatibility import Factorization, MovedPlot
from .concept_model import ConceptModel, Concepts
from .factorization import Factorizer, get_factorizer
from .keras_models import KerasModels
from .recursion import ConceptNode, ConceptTree, Ground, GrowthSettings, grow, plan_for
from .sampling.crops import Crops
from .sampling.rows import CropRows, extract_rows, measure_extent
from .sampling.stream import Stream
from .sampling.windows import check_patch_size
from .splitting.split import Split, join_models, split_model
from .targets import check_class_id

__all__ = ["Craft"]

MAX_CROPS = 20_000


class Craft(ConceptModel):
    """
    Concept extractor, Fel et al., CRAFT (CVPR 2023).

    Its first five arguments and its methods are those of Xplique's CraftTf.

    Parameters
    ----------
    input_to_latent_model
        g: images (n, H, W, channels) -> activations (n, h, w, c), tokens (n, t, c) or pooled
        (n, c); a Keras model.
    latent_to_logit_model
        h: activations -> logits (n, classes); a Keras model.
    number_of_concepts
        k, the number of concepts.
    batch_size
        Images, or images times gates, at a time; it bounds the memory.
    patch_size
        None for crops at several scales up to the whole image; a size in pixels, or several, for
        the paper's.
    factorizer
        "nmf"; "semi-nmf" for signed activations; "kmeans" or "pca" to compare with; or a
        factorizer with settings of its own.
    keep_residual
        Whether gates leave what the concepts do not explain in place, so that what is explained is
        the model itself; False for the paper's.
    baseline
        What gates lead towards when they close: "zero", or "mean", the mean activation of the
        images of `fit`, for heads that begin with a normalisation.
    max_crops
        Crops that the bank is fitted on at most: a seeded sample where there are more.
    seed
        Of everything random.
    verbose
        Whether long work shows a progress bar.

    Raises
    ------
    TypeError
        If g or h is no Keras model, or a number is none.
    ValueError
        If a number is out of range, or h does not take what g gives.
    """

    def __init__(
        self,
        input_to_latent_model: keras.Model,
        latent_to_logit_model: keras.Model,
        number_of_concepts: int = 20,
        batch_size: int = 64,
        patch_size: int | Sequence[int] | None = None,
        *,
        factorizer: str | Factorizer = "nmf",
        keep_residual: bool = True,
        baseline: str = "zero",
        max_crops: int = MAX_CROPS,
        seed: int = 0,
        verbose: bool = False,
    ) -> None:
        self._set_up(
            join_models(input_to_latent_model, latent_to_logit_model),
            number_of_concepts,
            batch_size,
            patch_size,
            factorizer,
            keep_residual,
            baseline,
            max_crops,
            seed,
            verbose,
        )

    @classmethod
    def from_model(
        cls,
        model: keras.Model | Split,
        layer: str | int | keras.layers.Layer | None = None,
        number_of_concepts: int = 20,
        batch_size: int = 64,
        patch_size: int | Sequence[int] | None = None,
        *,
        factorizer: str | Factorizer = "nmf",
        keep_residual: bool = True,
        baseline: str = "zero",
        max_crops: int = MAX_CROPS,
        seed: int = 0,
        verbose: bool = False,
    ) -> Craft:
        """
        Cut a model at a layer and make a `Craft` of its halves.

        Parameters
        ----------
        model
            A Keras model, images to logits; or what `split_model` returned, which several crafts
            may share so that nothing is compiled twice.
        layer
            Name, index or layer object, see `candidate_layers`; None where `model` is split.
        number_of_concepts, batch_size, patch_size, factorizer, keep_residual, baseline, max_crops,
        seed, verbose
            As in the constructor.

        Raises
        ------
        TypeError, ValueError
            If the model cannot be cut there; the message says what can be done.
        """
        if isinstance(model, Split):
            if layer is not None:
                raise ValueError(
                    f"layer must be left out where the model is split already (at {model.layer!r}),"
                    f" received {layer!r}."
                )
            split = model
        else:
            if layer is None:
                raise TypeError(
                    "layer must be given: a name, index or layer object. "
                    "xplique_craft.candidate_layers(model) lists where the model can be cut."
                )
            split = split_model(model, layer)
        craft = cls.__new__(cls)
        craft._set_up(
            split,
            number_of_concepts,
            batch_size,
            patch_size,
            factorizer,
            keep_residual,
            baseline,
            max_crops,
            seed,
            verbose,
        )
        return craft

    def _set_up(
        self,
        split: Split,
        number_of_concepts: int,
        batch_size: int,
        patch_size: int | Sequence[int] | None,
        factorizer: str | Factorizer,
        keep_residual: bool,
        baseline: str,
        max_crops: int,
        seed: int,
        verbose: bool,
    ) -> None:
        super().__init__(
            split,
            number_of_concepts,
            batch_size,
            keep_residual=keep_residual,
            baseline=baseline,
            seed=seed,
            verbose=verbose,
        )
        self.patch_size = check_patch_size(patch_size)
        self.factorizer = get_factorizer(factorizer)
        self.max_crops = check_int("max_crops", max_crops)
        self.factorization: Factorization | None = None
        self._ground: Ground | None = None

    # --------------------------------------------------------------------- fit
    def fit(self, inputs: Any, class_id: int = 0) -> tuple[Crops, np.ndarray, np.ndarray]:
        """
        Find the concepts of a class.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels) that the model predicts as the class, preprocessed: array,
            tensor or tf.data.Dataset (labels are ignored).
        class_id
            Index of the class among the model's outputs.

        Returns
        -------
        crops
            Lazy sequence of m crops (X in the paper).
        crops_u
            (m, k): their coefficients (U).
        concept_bank_w
            (k, c): the concept bank (W).

        Raises
        ------
        TypeError, ValueError
            If the images do not fit the model, are too few, or give activations that the factorizer
            cannot take.
        """
        class_id = check_class_id(class_id, self.network.number_of_classes)
        stream = Stream(inputs, self.network.input_shape, self.batch_size)
        crops = extract_rows(
            stream,
            self.network,
            self.factorizer,
            class_id=class_id,
            patch_size=self.patch_size,
            max_crops=self.max_crops,
            seed=self.seed,
            verbose=self.verbose,
        )
        self._warn(crops, class_id)
        factorized = self.factorizer.fit(crops.rows, self.number_of_concepts, self.seed)
        crops_u = factorized.transform(crops.rows)
        extent = measure_extent(stream, self.network, factorized, self.verbose)
        # Nothing of an earlier fit is lost before all of this one is there.
        models = KerasModels(self.split, factorized)
        self._concepts = Concepts(factorized, class_id, inputs, extent, models)
        self.sensitivity = None
        self.factorization = Factorization(
            inputs=inputs,
            class_id=class_id,
            crops=Crops(crops.boxes, stream.images, crops.channels),
            reducer=factorized,
            crops_u=crops_u,
            concept_bank_w=factorized.components_,
        )
        return self.factorization.crops, crops_u, factorized.components_

    def _warn(self, crops: CropRows, class_id: int) -> None:
        if self.network.number_of_classes > 1 and crops.predicted < crops.images / 2:
            warnings.warn(
                f"Only {crops.predicted} of {crops.images} images are predicted as class "
                f"{class_id}: the concepts of other classes will be among those found. Give images "
                "that the model predicts as the class.",
                stacklevel=3,
            )
        if self.network.normalised_head and self.baseline == "zero":
            warnings.warn(
                f"What follows {self.layer!r} begins with a normalisation, which blows up what "
                "is left when all gates are closed: f_x(0) is no neutral baseline there. Use "
                "Craft(..., baseline='mean'), which gates towards the mean activation.",
                stacklevel=3,
            )

    # --------------------------------------------------------------- recursion
    def decompose(
        self,
        concept_id: int,
        layer: str | int | keras.layers.Layer | None = None,
        number_of_concepts: int = 5,
        percentile: float = 90.0,
        *,
        factorizer: str | Factorizer | None = None,
        completeness: float = 0.01,
    ) -> ConceptNode:
        """
        Take a concept apart at an earlier layer (section 3.1).

        Parameters
        ----------
        concept_id
            Index of the concept.
        layer
            Name, index or layer object, before the one the craft is cut at; None for the nearest
            one with at least three times as many positions and two to eight layers of weights
            between or, where there is none, with four (see `recursion.earlier`).
        number_of_concepts
            How many children.
        percentile
            Of the concept's coefficients in the crops: the crops at or above it are kept, and those
            without the concept never.
        factorizer
            As in the constructor; None for the craft's own.
        completeness
            Largest gap of the children's contributions in an image, as a share of what they divide.

        Returns
        -------
        node
            The children with their crops, maps, shares and quality.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If there are no concepts yet, there is no such concept, the layer is not earlier, or too
            few crops hold the concept.
        """
        ground = self._shared_ground()
        plan = plan_for(
            ground,
            ground.root,
            concept_id,
            layer,
            number_of_concepts,
            percentile,
            self.factorizer if factorizer is None else factorizer,
            completeness,
        )
        return ConceptNode(ground, ground.root, self, concept_id, plan)

    def grow(
        self,
        depth: int = 2,
        min_share: float = 0.05,
        min_mixedness: float = 0.1,
        number_of_concepts: int = 5,
        percentile: float = 90.0,
        *,
        layers: Sequence[str | int | keras.layers.Layer] | None = None,
        inputs: Any = None,
        max_images: int = 40,
        max_unexplained: float = 1.0,
        completeness: float = 0.01,
    ) -> ConceptTree:
        """
        Take apart what is important and mixed, then what is so among its children, and so on.

        Parameters
        ----------
        depth, min_share, min_mixedness, number_of_concepts, percentile, layers, max_images,
        max_unexplained, completeness
            See `recursion.GrowthSettings`.
        inputs
            The images that shares are measured on, better held-out ones; None for those of `fit`.

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
            depth,
            min_share,
            min_mixedness,
            number_of_concepts,
            percentile,
            layers,
            max_images,
            max_unexplained,
            completeness,
        )
        return grow(self, self._shared_ground(), settings, inputs)

    def _shared_ground(self) -> Ground:
        """What all nodes of this fit share."""
        if self._ground is None or self._ground.concepts is not self.concepts:
            self._ground = Ground(self)
        return self._ground

    # CraftTf's methods that draw: a Craft does not, and says what does.
    plot_concepts_importances = MovedPlot("xplique_craft.plots.importance_bars")
    plot_concepts_crops = MovedPlot("xplique_craft.plots.concept_crops")
    plot_concept_attribution_legend = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_concept_attribution_map = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_concept_attribution_maps = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_image_concepts = MovedPlot("xplique_craft.plots.concept_overlay")
