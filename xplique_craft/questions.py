"""
What one asks of concepts: one line each, for every question has a stage of its own.
"""

from __future__ import annotations

from . import _backend as _backend

# isort: split
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from ._checks import check
from .compatibility import Sensitivity
from .concept_model import ConceptModel
from .importance import SobolImportance
from .importance.contributions import TOLERANCE, ablation_effects_of, contributions_of
from .keras_models import KerasModels, bound_decoder
from .metrics.folds import stability as stability_between_folds
from .metrics.judged_crops import purity as purity_by_judge
from .metrics.quality import measure_quality
from .one_image import explain_image
from .results import ConceptStability, Contributions, ImageExplanation, Purity, Quality


class AnsweringModel(ConceptModel):
    """A concept model that answers: a `Craft`, or the children of one of its concepts."""

    _tolerance: float = TOLERANCE

    @property
    def sensitivity(self) -> Sensitivity | None:
        """
        What `estimate_importance` found in the images of `fit`, under CraftTf's names; None before.
        """
        return None if self._concepts is None else self._concepts.known("sensitivity")

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
        given = self.inputs_of_fit if inputs is None else inputs
        explainer = SobolImportance(
            self, nb_design=nb_design, batch_size=self.batch_size, seed=self.seed
        )
        per_image = explainer.explain(given, self.class_id if targets is None else targets)
        overall = per_image.mean(axis=0)
        if inputs is None and targets is None:
            order = np.argsort(-overall, kind="stable")
            self.concepts.keep("sensitivity", Sensitivity(overall, order))
        return overall

    @property
    def tolerance(self) -> float:
        """An image's contributions get points until none is off by more, of its largest."""
        return self._tolerance

    @tolerance.setter
    def tolerance(self, tolerance: float) -> None:
        self._tolerance = check("tolerance", tolerance)

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
            phi and its estimated errors, (n, k) each, with base, residual part, score and gap,
            (n,) each. Where the head is not affine, an image gets more points of the integral until
            no error is above 0.1% of its largest |phi|: a gradient of the head at 24 points, and at
            more where slopes bend much (on average 95 at the last three blocks of a ViT-Tiny). They
            are taken `batch_size` images and points at a time, which bounds the memory.
        """
        return contributions_of(self, inputs, targets, self.tolerance)

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

    def purity(
        self,
        judge: keras.Model,
        *,
        inputs: Any = None,
        photographs: Any = None,
        prepare: Callable[[np.ndarray], Any] | None = None,
        shown: int = 20,
        trials: int = 1000,
        batch_size: int = 64,
        seed: int = 0,
    ) -> Purity:
        """
        How often another network finds the odd crop among five: is each concept of one kind?

        Parameters
        ----------
        judge, inputs, photographs, prepare, shown, trials, batch_size, seed
            They do what they do in `metrics.purity`; `judge` is the other network.

        Returns
        -------
        purity
            The share of the trials that it wins, of all and of each concept, beside its floor.
        """
        return purity_by_judge(
            self,
            judge,
            inputs=inputs,
            photographs=photographs,
            prepare=prepare,
            shown=shown,
            trials=trials,
            batch_size=batch_size,
            seed=seed,
        )

    def stability(self, *, folds: int = 5, seed: int = 0) -> ConceptStability:
        """
        Whether the same concepts come again from other photographs of the class.

        Parameters
        ----------
        folds, seed
            They do what they do in `metrics.stability`.

        Returns
        -------
        stability
            Mean cosines of matched concepts, beside their floor, and those of each concept.
        """
        return stability_between_folds(self, folds=folds, seed=seed)

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
