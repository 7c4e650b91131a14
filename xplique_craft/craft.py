"""
CRAFT: concepts of a class, found where the model looks, faithful to the model.

Orchestration only: crops -> activations -> bank (fit), images -> coefficients (transform), and the
questions one asks of a fitted bank (importance, contributions, quality, maps).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import NotFittedError
from xplique.concepts.base import BaseConceptExtractor

from ._checks import check_class_id, check_positive_int
from .coding import coded_batches, encode_batch
from .contributions import ablation_effects, concatenate_contributions, contributions
from .factorization import Factorized, Factorizer, get_factorizer
from .gates import Coded, GatedHead
from .importance import SobolImportance
from .network import Network
from .quality import measure_quality
from .results import Contributions, Quality
from .sampling import Crops, check_patch_size, crop_boxes
from .splitting import Split, join_models, split_model
from .streams import Stream

__all__ = ["Craft", "Factorization", "Sensitivity"]

_UPSTREAM_PLOTS = {
    "plot_concepts_importances": "xplique_craft.plots.importance_bars",
    "plot_concepts_crops": "xplique_craft.plots.concept_crops",
    "plot_concept_attribution_legend": "xplique_craft.plots.concept_overlay",
    "plot_concept_attribution_map": "xplique_craft.plots.concept_overlay",
    "plot_concept_attribution_maps": "xplique_craft.plots.concept_overlay",
    "plot_image_concepts": "xplique_craft.plots.concept_overlay",
}


@dataclass(frozen=True)
class Factorization:
    """
    What `fit` made; the fields are named as Xplique's CraftTf names them.

    Parameters
    ----------
    inputs
        The images that were given.
    class_id
        The class that they are explained for.
    crops
        Lazy sequence of the crops.
    reducer
        The bank with its encoding and decoding.
    crops_u
        (number of crops, k): coefficients of the crops' pooled activations.
    concept_bank_w
        W, (k, c).
    coeffs_u
        None; coefficients of images come from `transform`.
    """

    inputs: Any
    class_id: int
    crops: Crops
    reducer: Factorized
    crops_u: np.ndarray
    concept_bank_w: np.ndarray
    coeffs_u: np.ndarray | None = None


@dataclass(frozen=True)
class Sensitivity:
    """
    Importances of the images given to `fit`; the fields are named as CraftTf names them.

    Parameters
    ----------
    importances
        (k,): Sobol total indices.
    most_important_concepts
        (k,): concepts by decreasing importance.
    """

    importances: np.ndarray
    most_important_concepts: np.ndarray

    @property
    def cmaps(self) -> list[Any]:
        """One matplotlib colour map for each concept, by decreasing importance, as CraftTf's."""
        from .plots import concept_style  # figures are loaded only where they are asked for

        styles = [concept_style(rank) for rank in range(len(self.importances))]
        return [style.cmap for style in styles]


class Craft(BaseConceptExtractor):
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
        "nmf", or a factorizer with settings of its own.
    keep_residual
        Whether gates leave what the concepts do not explain in place, so that what is explained is
        the model itself; False for the paper's.
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
        number_of_concepts, batch_size, patch_size, factorizer, keep_residual, seed, verbose
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
        seed: int,
        verbose: bool,
    ) -> None:
        super().__init__(
            check_positive_int("number_of_concepts", number_of_concepts),
            check_positive_int("batch_size", batch_size),
        )
        self.split = split
        self.network: Network = split.network
        self.patch_size = check_patch_size(patch_size)
        self.factorizer = get_factorizer(factorizer)
        self.keep_residual = bool(keep_residual)
        self.seed = check_positive_int("seed", seed, minimum=0)
        self.verbose = bool(verbose)
        self.factorization: Factorization | None = None
        self.sensitivity: Sensitivity | None = None
        self._coefficient_scale: np.ndarray | None = None

    # --------------------------------------------------------------- the model
    @property
    def model(self) -> keras.Model:
        """The flat graph from images to logits."""
        return self.split.model

    @property
    def layer(self) -> str:
        """Name of the layer at which the model is cut."""
        return self.split.layer

    @property
    def input_to_latent_model(self) -> keras.Model:
        """g."""
        return self.split.input_to_latent

    @property
    def latent_to_logit_model(self) -> keras.Model:
        """h."""
        return self.split.latent_to_logit

    def __getattr__(self, name: str) -> Any:
        if name in _UPSTREAM_PLOTS:
            raise AttributeError(
                f"Craft has no method {name}: a Craft does not draw. Use {_UPSTREAM_PLOTS[name]}, "
                "or xplique_craft.report.write_report for a page with everything."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

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
        boxes, rows = self._crop_rows(stream, class_id)
        factorized = self.factorizer.fit(rows, self.number_of_concepts, self.seed)
        crops_u = factorized.transform(rows)
        # Nothing of an earlier fit is lost before all of this one is there.
        scale = self._largest_coefficients(stream, factorized)
        self._coefficient_scale = scale
        self.sensitivity = None
        self.factorization = Factorization(
            inputs=inputs,
            class_id=class_id,
            crops=Crops(boxes, stream.images),
            reducer=factorized,
            crops_u=crops_u,
            concept_bank_w=factorized.components_,
        )
        return self.factorization.crops, crops_u, factorized.components_

    def _crop_rows(self, stream: Stream, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (m, 5) of all crops and their pooled activations (m, c)."""
        all_boxes, all_rows = [], []
        predicted = total = 0
        for batch in stream.progress("crops", self.verbose):
            if batch.images.ndim != 4:
                raise ValueError(
                    "Crops need images (n, H, W, channels), received inputs of shape "
                    f"{batch.images.shape}."
                )
            n = len(batch.images)
            height, width = batch.images.shape[1:3]
            boxes = crop_boxes(height, width, self.patch_size)
            rows = np.empty((n, len(boxes), self.network.channels), np.float32)
            for i, box in enumerate(boxes):
                rows[:, i], lowest = self.network.crop_latents(batch.images, box)
                self.factorizer.check(np.minimum(lowest, rows[:, i]))
            image = np.repeat(batch.indices, len(boxes))[:, None]
            all_boxes.append(np.concatenate([image, np.tile(boxes, (n, 1))], axis=1))
            all_rows.append(rows.reshape(-1, self.network.channels))
            logits = self.network.logits(self.network.latents(batch.images)).numpy()
            predicted += int((logits.argmax(axis=1) == class_id).sum())
            total += n
        if self.network.number_of_classes > 1 and predicted < total / 2:
            warnings.warn(
                f"Only {predicted} of {total} images are predicted as class {class_id}: the "
                "concepts of other classes will be among those found. Give images that the model "
                "predicts as the class.",
                stacklevel=3,
            )
        return np.concatenate(all_boxes), np.concatenate(all_rows)

    def _largest_coefficients(self, stream: Stream, factorized: Factorized) -> np.ndarray:
        """(k,): largest coefficient of each concept at any place of any image."""
        largest = np.zeros(len(factorized.bank), np.float32)
        for batch in stream.progress("scale", self.verbose):
            u, _ = factorized.encode(self.network.latents(batch.images))
            largest = np.maximum(largest, tf.reduce_max(u, list(range(u.shape.rank - 1))).numpy())
        return largest

    def check_if_fitted(self) -> None:
        """
        Raise scikit-learn's NotFittedError if `fit` was not called.
        """
        if self.factorization is None:
            raise NotFittedError("This Craft is not fitted: call fit(inputs, class_id) first.")

    def _fitted(self) -> Factorization:
        self.check_if_fitted()
        if self.factorization is None:  # for type checkers: the check above has raised
            raise NotFittedError
        return self.factorization

    @property
    def class_id(self) -> int:
        """The class that was given to `fit`."""
        return self._fitted().class_id

    @property
    def factorized(self) -> Factorized:
        """The bank with its encoding and decoding."""
        return self._fitted().reducer

    @property
    def coefficient_scale(self) -> np.ndarray:
        """(k,): largest coefficient of each concept among the images of `fit`."""
        self.check_if_fitted()
        return np.asarray(self._coefficient_scale)

    # --------------------------------------------------------- encode and decode
    def transform(self, inputs: Any, activations: Any = None) -> np.ndarray:
        """
        Concept coefficients of images, exactly, at every position.

        Parameters
        ----------
        inputs
            Images, as in `fit`; ignored where activations are given.
        activations
            A, (n, h, w, c), (n, t, c) or (n, c): the model need not run again.

        Returns
        -------
        u
            U, (n, h, w, k), (n, t, k) or (n, k) float32.
        """
        factorized = self._fitted().reducer
        if activations is not None:
            return encode_batch(tf.cast(activations, tf.float32), factorized)[0].numpy()
        stream = Stream(inputs, self.network.input_shape, self.batch_size)
        parts = [
            encode_batch(self.network.latents(batch.images), factorized)[0].numpy()
            for batch in stream.progress("encode", self.verbose)
        ]
        return np.concatenate(parts)

    def inverse_transform(self, u: Any) -> np.ndarray:
        """
        Activations U W, (n, ..., c), of coefficients (n, ..., k).

        Raises
        ------
        ValueError
            If the last axis is not the concepts'.
        """
        factorized = self._fitted().reducer
        u = np.asarray(u, np.float32)
        k = len(factorized.bank)
        if u.ndim < 2 or u.shape[-1] != k:
            raise ValueError(
                f"u must have the {k} concepts in its last axis, received shape {u.shape}."
            )
        return factorized.decode(u).numpy()

    # ------------------------------------------------------------------ questions
    def estimate_importance(
        self, inputs: Any = None, nb_design: int = 32, targets: Any = None
    ) -> np.ndarray:
        """
        Sobol total indices of the concepts, the mean over images (section 3.2).

        Parameters
        ----------
        inputs
            Images; None for those of `fit`, whose result is kept in `sensitivity`.
        nb_design
            Points of the design, see `SobolImportance`; not used where the head is affine, for
            then the indices are exact.
        targets
            Another class, or weights of the logits (n, classes); None for the class of `fit`.

        Returns
        -------
        importances
            (k,).
        """
        fitted = self._fitted()
        own = inputs is None
        explainer = SobolImportance(
            self, nb_design=nb_design, batch_size=self.batch_size, seed=self.seed
        )
        targets = fitted.class_id if targets is None else targets
        summary = explainer.summary(fitted.inputs if own else inputs, targets)
        if own:
            order = np.argsort(-summary.overall, kind="stable")
            self.sensitivity = Sensitivity(summary.overall, order)
        return summary.overall

    def _coded(
        self, inputs: Any, targets: Any, description: str, keep_residual: bool | None = None
    ) -> Any:
        fitted = self._fitted()
        return coded_batches(
            Stream(inputs, self.network.input_shape, self.batch_size),
            self.network,
            fitted.reducer,
            targets=targets,
            class_id=fitted.class_id,
            keep_residual=self.keep_residual if keep_residual is None else keep_residual,
            description=description,
            verbose=self.verbose,
        )

    def _over_images(
        self, function: Callable[[Coded, np.ndarray, GatedHead], Any], inputs: Any, targets: Any
    ) -> list[Any]:
        bank = self.factorized.bank
        head = GatedHead(self.network, None, self.batch_size)
        name = function.__name__.replace("_", " ")
        return [function(coded, bank, head) for coded in self._coded(inputs, targets, name)]

    def contributions(self, inputs: Any, targets: Any = None) -> Contributions:
        """
        Signed contributions that add up: score = h(0) + residual part + sum_j phi_j + gap.

        Parameters
        ----------
        inputs
            Images.
        targets
            A class index, (n,) of them, or weights of the logits (n, classes); None for the class
            of `fit`.

        Returns
        -------
        contributions
            phi (n, k) with base, residual part, score and gap, (n,) each.
        """
        return concatenate_contributions(self._over_images(contributions, inputs, targets))

    def ablation_effects(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """
        f_x(1) - f_x(1 with m_j = 0), (n, k): signed, and they do not add up (see `contributions`).
        """
        return np.concatenate(self._over_images(ablation_effects, inputs, targets))

    def quality(self, inputs: Any, targets: Any = None) -> Quality:
        """
        How faithful the concepts are to the model on these images, better held-out ones.

        Parameters
        ----------
        inputs
            Images.
        targets
            As in `contributions`.

        Returns
        -------
        quality
            Agreement, reconstruction share and explained share with intervals; relative error,
            sparsity and KKT residual.
        """
        head = GatedHead(self.network, None, self.batch_size)
        batches = self._coded(inputs, targets, "quality", keep_residual=True)
        return measure_quality(batches, self.factorized.bank, head, self.seed)
