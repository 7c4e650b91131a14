"""
CRAFT: concepts of a class, found where the model looks, faithful to the model.

`Craft` finds a bank and keeps it; what one asks of it is in `questions`.
"""

from __future__ import annotations

from . import _backend as _backend

# isort: split
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from xplique.concepts.base import BaseConceptExtractor

from ._checks import check
from .compatibility import Factorization, MovedPlot
from .concept_model import ExtractionSettings
from .extraction import find_concepts
from .factorization import get_factorizer
from .factorization.base import Factorizer
from .persistence import load_craft, save_craft
from .questions import AnsweringModel
from .recursion import Growable
from .sampling import Crops
from .sampling.crops import check_patch_size
from .splitting import Split, join_models, split_model

MAX_CROPS = 20_000


class Craft(AnsweringModel, Growable, BaseConceptExtractor):
    """
    Concept extractor, Fel et al., CRAFT (CVPR 2023).

    Its first five arguments and its methods are those of Xplique's CraftTf. Any number of threads
    may ask a fitted one at the same time; while one of them calls `fit`, the others must wait.

    Parameters
    ----------
    input_to_latent_model
        g: images (n, H, W, channels) -> activations (n, h, w, c), tokens (n, t, c) or pooled
        (n, c); a Keras model.
    latent_to_logit_model
        h: activations -> logits (n, classes); a Keras model.
    number_of_concepts
        k, how many concepts are looked for. More of them explain more of the score, and are harder
        to tell apart.
    batch_size
        How many images, or images times gates, are run at a time; it bounds the memory.
    patch_size
        None cuts crops of a third of the side, and takes the whole image; one side in pixels, or
        several, cuts the paper's.
    factorizer
        "nmf" finds parts that add up; "signed-nmf" does so where activations are signed;
        "semi-nmf", "kmeans" and "pca" are there to compare with. A factorizer object brings
        settings of its own.
    keep_residual
        True keeps the residual, what the concepts do not explain, in place when gates close, so
        that what is explained is the model itself; False takes it away, as the paper does.
    baseline
        What stands in the place of concepts that are taken out: "zero", no activation, or "mean",
        the mean activation of the images of `fit`, for heads that begin with a normalisation.
    max_crops
        The bank is fitted on at most so many crops, and as many positions, drawn at random where
        there are more; it bounds the time and the memory.
    position_weight
        How much the activations at single positions of whole images count in the fit beside those
        of crops, as a share of the crops' Frobenius norm. With 0 the bank is that of crops alone,
        whose concepts are clean but rebuild less of the score; the larger it is, the more of the
        score the concepts rebuild, and the more of several things each of them holds. None takes
        what suits the factorizer with crops at several scales, 0.7, or 6 with "signed-nmf", and 0,
        as the paper does, where `patch_size` is given.
    special_tokens
        How many of the layer's first tokens belong to no place of the image, as a class token does.
        They are in no row that the bank is fitted on, have no coefficients, and are drawn nowhere.
        None finds them by a rule: where the tokens are a grid in the image's proportions after the
        first few, these few are special (see `splitting.tokens`).
    keep_special_tokens
        What is at special tokens while gates dim the concepts: True leaves what the image has
        there, so that what these tokens know already stays in the score; False puts their mean over
        the images of `fit` there, so that the score is of the concepts, and of the residual where
        it is kept. None does as `keep_residual` does.
    seed
        Everything random follows from it.
    verbose
        True shows a progress bar for long work.

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
        position_weight: float | None = None,
        special_tokens: int | None = None,
        keep_special_tokens: bool | None = None,
        seed: int = 0,
        verbose: bool = False,
    ) -> None:
        AnsweringModel.__init__(  # not Xplique's: it would set two attributes and assert
            self,
            join_models(input_to_latent_model, latent_to_logit_model),
            batch_size=batch_size,
            keep_residual=keep_residual,
            baseline=baseline,
            seed=seed,
            verbose=verbose,
            keep_special_tokens=keep_special_tokens,
        )
        self._look_for(
            factorizer, number_of_concepts, patch_size, max_crops, position_weight, special_tokens
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
        position_weight: float | None = None,
        special_tokens: int | None = None,
        keep_special_tokens: bool | None = None,
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
            Where to cut: the name, the index or the layer itself, see `candidate_layers`; None
            where `model` is split already.
        number_of_concepts, batch_size, patch_size, factorizer, keep_residual, baseline, max_crops,
        position_weight, special_tokens, keep_special_tokens, seed, verbose
            They do what they do in `Craft(...)`.

        Raises
        ------
        TypeError, ValueError
            If the model cannot be cut there; the message says what can be done.
        """
        if not isinstance(model, Split):
            if layer is None:
                raise TypeError(
                    "layer must be given: a name, index or layer object. "
                    "xplique_craft.candidate_layers(model) lists where the model can be cut, and "
                    "with a few images, candidate_layers(model, images), it says where to begin."
                )
            model = split_model(model, layer)
        elif layer is not None:
            raise ValueError(
                f"layer must be left out where the model is split already (at {model.layer!r}),"
                f" received {layer!r}."
            )
        craft = cls.__new__(cls)
        AnsweringModel.__init__(
            craft,
            model,
            batch_size=batch_size,
            keep_residual=keep_residual,
            baseline=baseline,
            seed=seed,
            verbose=verbose,
            keep_special_tokens=keep_special_tokens,
        )
        craft._look_for(
            factorizer, number_of_concepts, patch_size, max_crops, position_weight, special_tokens
        )
        return craft

    def _look_for(
        self,
        factorizer: str | Factorizer,
        number_of_concepts: int,
        patch_size: int | Sequence[int] | None,
        max_crops: int,
        position_weight: float | None,
        special_tokens: int | None,
    ) -> None:
        """Keep how concepts are looked for, checked."""
        self.number_of_concepts = check("number_of_concepts", number_of_concepts)
        self.factorizer = get_factorizer(factorizer)
        self.patch_size = check_patch_size(patch_size)
        self.max_crops = check("max_crops", max_crops)
        if position_weight is not None:
            position_weight = check("position_weight", position_weight)
        self.position_weight = position_weight
        if special_tokens is not None:
            special_tokens = check("special_tokens", special_tokens)
        self.special_tokens = special_tokens

    @property
    def extraction_settings(self) -> ExtractionSettings:
        """How the next `fit` looks for concepts."""
        return ExtractionSettings(
            self.factorizer,
            self.number_of_concepts,
            self.patch_size,
            self.max_crops,
            self.position_weight,
            self.special_tokens,
        )

    # --------------------------------------------------------------------- fit
    def fit(
        self, inputs: Any, class_id: int = 0, *, checkpoint: str | Path | None = None
    ) -> tuple[Crops, np.ndarray, np.ndarray]:
        """
        Find the concepts of a class.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels) that the model predicts as the class, preprocessed: array,
            tensor or tf.data.Dataset (labels are ignored).
        class_id
            Which class the concepts are of, by its index among the model's outputs.
        checkpoint
            A folder in which every finished stage is kept (crops through g, bank, coefficients):
            after Ctrl-C or a crash the same call goes on from there, to the same numbers. It must
            be a new folder, or one of the same call; images are read once more to tell. None keeps
            nothing.

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
            cannot take; if the checkpoint is of another call.
        """
        # Nothing of an earlier fit is lost before all of this one is there.
        self._concepts = find_concepts(self, self.extraction_settings, inputs, class_id, checkpoint)
        found = Factorization.of(self._concepts)
        return found.crops, found.crops_u, found.concept_bank_w

    # ---------------------------------------------------------- save and load
    def save(self, path: str | Path, *, with_inputs: bool | None = None) -> Path:
        """
        Save what `fit` found, in one file without pickle; `Craft.load` makes this craft again.

        The model is not saved: keep its own file. What was asked of the concepts is saved by
        `xplique_craft.save`.

        Parameters
        ----------
        path
            The file to write, best with the suffix ".safetensors"; folders above it are made. A
            file that is there is replaced when the new one is whole.
        with_inputs
            Whether the images of `fit` are saved too: crops are parts of them, and concepts are
            taken apart in them. None saves them if they are in memory, as an array or a tensor;
            True saves those of a dataset as well. With False the file holds no picture, and the
            loaded craft answers what is asked of other images.

        Returns
        -------
        path
            The file that was written.

        Raises
        ------
        NotFittedError
            If there are no concepts yet.
        TypeError, ValueError
            If `path` is no path, or something else than True, False or None is given; if images
            that are to be saved, or the model, were changed after `fit`: concepts do not follow
            them.
        OSError
            If the file cannot be written.
        """
        return save_craft(self, self.extraction_settings, path, with_inputs)

    @classmethod
    def load(
        cls,
        path: str | Path,
        model: keras.Model | Split,
        *,
        inputs: Any = None,
        factorizer: Factorizer | None = None,
    ) -> Craft:
        """
        Load a saved craft: its answers are those that it gave before, to the bit.

        Parameters
        ----------
        path
            The file that `save` wrote.
        model
            The model whose concepts they are, with the same weights: a Keras model, or what
            `split_model` or `join_models` returned. It is recognised by its layers, its weights
            and what it makes of one image of noise; the names of layers do not matter.
        inputs
            The images of `fit`, where they were not saved; None otherwise.
        factorizer
            What the concepts were found with, where that is not of xplique_craft; None otherwise.

        Returns
        -------
        craft
            As it was saved.

        Raises
        ------
        ValueError
            If the file is none of a craft, not whole, or of a newer version; or if the model or the
            images are others, and in what they differ first.
        TypeError
            If `model` is no model that can be cut.
        OSError
            If the file cannot be read.
        """
        found = load_craft(path, model, inputs, factorizer)
        saved = found.saved
        craft = cls.from_model(
            found.split,
            None,
            saved.number_of_concepts,
            saved.batch_size,
            saved.patch_size,
            factorizer=found.factorizer,
            keep_residual=saved.keep_residual,
            baseline=saved.baseline,
            max_crops=saved.max_crops,
            position_weight=saved.position_weight,
            special_tokens=saved.special_tokens,
            keep_special_tokens=saved.keep_special_tokens,
            seed=saved.seed,
            verbose=saved.verbose,
        )
        craft._concepts = found.concepts
        craft._concepts.keep("sensitivity", saved.sensitivity)
        craft.tolerance = saved.tolerance
        return craft

    @property
    def factorization(self) -> Factorization | None:
        """What `fit` made, under CraftTf's names; None before."""
        return None if self._concepts is None else Factorization.of(self._concepts)

    # CraftTf's methods that draw: a Craft does not, and says what does.
    plot_concepts_importances = MovedPlot("xplique_craft.plots.importance_bars")
    plot_concepts_crops = MovedPlot("xplique_craft.plots.concept_crops")
    plot_concept_attribution_legend = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_concept_attribution_map = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_concept_attribution_maps = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_image_concepts = MovedPlot("xplique_craft.plots.concept_overlay")
