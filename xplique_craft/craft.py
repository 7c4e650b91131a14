"""
CRAFT: concepts of a class, found where the model looks, faithful to the model.

`Craft` finds a bank and keeps it; each of its questions is answered by a stage of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from xplique.concepts.base import BaseConceptExtractor

from .compatibility import Factorization, MovedPlot, Sensitivity
from .concept_model import ConceptModel, ExtractionSettings
from .extraction import find_concepts
from .factorization.base import Factorizer
from .importance import SobolImportance
from .importance.contributions import ablation_effects_of, contributions_of
from .keras_models import KerasModels, bound_decoder
from .metrics.quality import measure_quality
from .one_image import explain_image
from .recursion import Growable
from .results import Contributions, ImageExplanation, Quality
from .sampling import Crops
from .splitting import Split, join_models, split_model

MAX_CROPS = 20_000


class Craft(Growable, BaseConceptExtractor):
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
        k, how many concepts are looked for. More of them explain more of the score, and are harder
        to tell apart.
    batch_size
        How many images, or images times gates, are run at a time; it bounds the memory.
    patch_size
        None cuts crops at several scales up to the whole image; one side in pixels, or several,
        cuts the paper's.
    factorizer
        "nmf" finds parts that add up; "semi-nmf" does so where activations are signed; "kmeans" and
        "pca" are there to compare with. A factorizer object brings settings of its own.
    keep_residual
        True keeps the residual, what the concepts do not explain, in place when gates close, so
        that what is explained is the model itself; False takes it away, as the paper does.
    baseline
        What stands in the place of concepts that are taken out: "zero", no activation, or "mean",
        the mean activation of the images of `fit`, for heads that begin with a normalisation.
    max_crops
        The bank is fitted on at most so many crops, drawn at random where there are more; it
        bounds the time and the memory.
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

    sensitivity: Sensitivity | None = None

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
        split = join_models(input_to_latent_model, latent_to_logit_model)
        self.settings = ExtractionSettings.checked(
            factorizer, number_of_concepts, patch_size, max_crops
        )
        ConceptModel.__init__(
            self,
            split,
            batch_size=batch_size,
            keep_residual=keep_residual,
            baseline=baseline,
            seed=seed,
            verbose=verbose,
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
            Where to cut: the name, the index or the layer itself, see `candidate_layers`; None
            where `model` is split already.
        number_of_concepts, batch_size, patch_size, factorizer, keep_residual, baseline, max_crops,
        seed, verbose
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
                    "xplique_craft.candidate_layers(model) lists where the model can be cut."
                )
            model = split_model(model, layer)
        elif layer is not None:
            raise ValueError(
                f"layer must be left out where the model is split already (at {model.layer!r}),"
                f" received {layer!r}."
            )
        craft = cls.__new__(cls)
        craft.settings = ExtractionSettings.checked(
            factorizer, number_of_concepts, patch_size, max_crops
        )
        ConceptModel.__init__(
            craft,
            model,
            batch_size=batch_size,
            keep_residual=keep_residual,
            baseline=baseline,
            seed=seed,
            verbose=verbose,
        )
        return craft

    @property
    def number_of_concepts(self) -> int:
        """k."""
        return self.settings.number_of_concepts

    @property
    def factorizer(self) -> Factorizer:
        """What turns rows of activations into a bank."""
        return self.settings.factorizer

    @property
    def patch_size(self) -> tuple[int, ...] | None:
        """Sides of the crops in pixels; None for several scales."""
        return self.settings.patch_size

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
            Which class the concepts are of, by its index among the model's outputs.

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
        # Nothing of an earlier fit is lost before all of this one is there.
        self._concepts = find_concepts(self, self.settings, inputs, class_id)
        self.sensitivity = None
        found = Factorization.of(self._concepts)
        return found.crops, found.crops_u, found.concept_bank_w

    @property
    def factorization(self) -> Factorization | None:
        """What `fit` made, under CraftTf's names; None before."""
        return None if self._concepts is None else Factorization.of(self._concepts)

    # --------------------------------------------------------------- questions
    @property
    def encoder(self) -> keras.Model:
        """
        Images (n, H, W, channels) -> concept scores (n, k), the mean coefficients; differentiable
        to the pixels, so every Xplique explainer makes concept maps of it.
        """
        return KerasModels.of(self).encoder

    @property
    def position_encoder(self) -> keras.Model:
        """Images (n, H, W, channels) -> concept coefficients at every position, (n, ..., k)."""
        return KerasModels.of(self).position_encoder

    @property
    def decoder(self) -> keras.Model:
        """Concept coefficients (n, ..., k) -> logits h(U W), (n, classes): no residual, ever."""
        return KerasModels.of(self).decoder

    def bound_decoder(self, inputs: Any) -> keras.Model:
        """
        Like `decoder`, but with the residual of given images kept: h(U W + E).

        Parameters
        ----------
        inputs
            n images. With one, the decoder takes its coefficients in any number, gated or
            perturbed; with several, batches of exactly n, in their order. Their residuals are held.

        Returns
        -------
        decoder
            (n, ..., k) -> (n, classes).
        """
        return bound_decoder(self, inputs)

    def estimate_importance(
        self, inputs: Any = None, nb_design: int = 32, targets: Any = None
    ) -> np.ndarray:
        """
        Sobol total indices of the concepts, the mean over images (section 3.2).

        Parameters
        ----------
        inputs
            The images that importances are averaged over; None takes those of `fit`, and keeps the
            result in `sensitivity`.
        nb_design
            How many points the indices of each image are estimated from, see `SobolImportance`;
            not used where the head is affine, for then they are exact.
        targets
            Which score is explained: a class, or weights of the logits (n, classes); None takes the
            class of `fit`.

        Returns
        -------
        importances
            (k,).
        """
        given = self.concepts.inputs if inputs is None else inputs
        explainer = SobolImportance(
            self, nb_design=nb_design, batch_size=self.batch_size, seed=self.seed
        )
        per_image = explainer.explain(given, self.class_id if targets is None else targets)
        overall = per_image.mean(axis=0)
        if inputs is None and targets is None:
            self.sensitivity = Sensitivity(overall, np.argsort(-overall, kind="stable"))
        return overall

    def contributions(self, inputs: Any, targets: Any = None) -> Contributions:
        """
        Signed contributions that add up: score = h(0) + residual part + sum_j phi_j + gap.

        Parameters
        ----------
        inputs
            The images (n, H, W, channels), each of whose scores is divided among the concepts.
        targets
            Which score is divided: a class, (n,) of them, or weights of the logits (n, classes);
            None takes the class of `fit`.

        Returns
        -------
        contributions
            phi (n, k) with base, residual part, score and gap, (n,) each.
        """
        return contributions_of(self, inputs, targets)

    def ablation_effects(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """
        f_x(1) - f_x(1 with m_j = 0), (n, k): signed, and they do not add up (see `contributions`).
        """
        return ablation_effects_of(self, inputs, targets)

    def quality(self, inputs: Any, targets: Any = None) -> Quality:
        """
        How faithful the concepts are to the model on these images, better held-out ones.

        Parameters
        ----------
        inputs
            The images (n, H, W, channels) that faithfulness is measured on.
        targets
            Which score the shares are of, in any form that `contributions` takes.

        Returns
        -------
        quality
            Agreement, reconstruction share and explained share with intervals; relative error,
            sparsity and KKT residual.
        """
        return measure_quality(self, inputs, targets)

    def explain_image(
        self,
        image: Any,
        target: int | None = None,
        *,
        photograph: Any = None,
        restore: Callable[[np.ndarray], Any] | None = None,
        class_names: Sequence[str] | None = None,
        number_of_crops: int = 4,
    ) -> ImageExplanation:
        """
        Explain one image that is predicted as the class of `fit`, right or wrong.

        Parameters
        ----------
        image, target, photograph, restore, class_names, number_of_crops
            They do what they do in `one_image.explain_image`; `target` is the true class, if known.

        Returns
        -------
        explanation
            Prediction, concepts, places and contributions; of a wrong prediction, those to its
            score above the true class's: which concepts misled the model.
        """
        return explain_image(
            self,
            image,
            target,
            photograph=photograph,
            restore=restore,
            class_names=class_names,
            number_of_crops=number_of_crops,
        )

    # CraftTf's methods that draw: a Craft does not, and says what does.
    plot_concepts_importances = MovedPlot("xplique_craft.plots.importance_bars")
    plot_concepts_crops = MovedPlot("xplique_craft.plots.concept_crops")
    plot_concept_attribution_legend = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_concept_attribution_map = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_concept_attribution_maps = MovedPlot("xplique_craft.plots.concept_overlay")
    plot_image_concepts = MovedPlot("xplique_craft.plots.concept_overlay")
