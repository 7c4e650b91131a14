"""
A concept bank on a split model, and the questions one asks of it.

Orchestration only: images -> coefficients -> importance, contributions, quality, Keras models. How
the bank is found is the business of `Craft`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import NotFittedError
from xplique.concepts.base import BaseConceptExtractor

from ._checks import check_int
from .compatibility import Sensitivity
from .factorization import Factorized
from .gates.coded import Coded
from .gates.coding import coded_batches, concatenate_known, encode_batch
from .gates.contributions import ablation_effects, concatenate_contributions, contributions
from .gates.head import GatedHead
from .importance import SobolImportance
from .keras_models import KerasModels
from .metrics.quality import measure_quality
from .results import Contributions, Quality
from .results.of_image import ImageExplanation
from .sampling.rows import Extent
from .sampling.stream import Stream
from .splitting.network import Network
from .splitting.split import Split

__all__ = ["ConceptModel", "Concepts"]


@dataclass(frozen=True)
class Concepts:
    """
    What a fit leaves behind.

    Parameters
    ----------
    factorized
        The bank with its encoding and decoding.
    class_id
        The class that the concepts are of.
    inputs
        The images they were found in.
    extent
        How large coefficients get in these images, and what they are on average.
    models
        The concepts as Keras models.
    """

    factorized: Factorized
    class_id: int
    inputs: Any
    extent: Extent
    models: KerasModels


class ConceptModel(BaseConceptExtractor):
    """
    A split model whose concepts are, or will be, known.

    Parameters
    ----------
    split
        The model and where it is cut.
    number_of_concepts
        k.
    batch_size
        Images, or images times gates, at a time; it bounds the memory.
    keep_residual
        Whether gates leave what the concepts do not explain in place.
    baseline
        What gates lead towards when they close, "zero" or "mean".
    seed
        Of everything random.
    verbose
        Whether long work shows a progress bar.
    """

    def __init__(
        self,
        split: Split,
        number_of_concepts: int,
        batch_size: int,
        *,
        keep_residual: bool,
        baseline: str,
        seed: int,
        verbose: bool,
    ) -> None:
        super().__init__(
            check_int("number_of_concepts", number_of_concepts),
            check_int("batch_size", batch_size),
        )
        if baseline not in ("zero", "mean"):
            raise ValueError(f"baseline must be 'zero' or 'mean', received {baseline!r}.")
        self.split = split
        self.network: Network = split.network
        self.keep_residual = bool(keep_residual)
        self.baseline = baseline
        self.seed = check_int("seed", seed, minimum=0)
        self.verbose = bool(verbose)
        self.sensitivity: Sensitivity | None = None
        self._concepts: Concepts | None = None

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

    # ---------------------------------------------------------------- the concepts
    def check_if_fitted(self) -> None:
        """
        Raise scikit-learn's NotFittedError if there are no concepts yet.
        """
        _ = self.concepts

    @property
    def concepts(self) -> Concepts:
        """What the fit left behind; NotFittedError before it."""
        if self._concepts is None:
            raise NotFittedError("This Craft is not fitted: call fit(inputs, class_id) first.")
        return self._concepts

    @property
    def class_id(self) -> int:
        """The class that was given to `fit`."""
        return self.concepts.class_id

    @property
    def factorized(self) -> Factorized:
        """The bank with its encoding and decoding."""
        return self.concepts.factorized

    @property
    def coefficient_scale(self) -> np.ndarray:
        """(k,): largest magnitude of each coefficient at any place of the images of `fit`."""
        return self.concepts.extent.largest

    @property
    def reference(self) -> np.ndarray | None:
        """
        (k,): coefficients that gates lead towards when they close, the mean of the images of `fit`
        where `baseline` is "mean"; None for 0.
        """
        return self.concepts.extent.mean if self.baseline == "mean" else None

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
        factorized = self.factorized
        if activations is not None:
            number: int | None = len(activations)
            starts = range(0, max(1, len(activations)), self.batch_size)
            batches = (activations[i : i + self.batch_size] for i in starts)
        else:
            stream = Stream(inputs, self.network.input_shape, self.batch_size)
            number = stream.length
            batches = (
                self.network.latents(batch.images)
                for batch in stream.progress("encode", self.verbose)
            )
        parts = (
            encode_batch(tf.cast(batch, tf.float32), factorized)[0].numpy() for batch in batches
        )
        return concatenate_known(parts, number)

    def inverse_transform(self, u: Any) -> np.ndarray:
        """
        Activations U W, (n, ..., c), of coefficients (n, ..., k).

        Raises
        ------
        ValueError
            If the last axis is not the concepts'.
        """
        factorized = self.factorized
        u = np.asarray(u, np.float32)
        k = len(factorized.bank)
        if u.ndim < 2 or u.shape[-1] != k:
            raise ValueError(
                f"u must have the {k} concepts in its last axis, received shape {u.shape}."
            )
        return factorized.decode(u).numpy()

    # ------------------------------------------------------------ as Keras models
    @property
    def encoder(self) -> keras.Model:
        """
        Images (n, H, W, channels) -> concept scores (n, k), the mean coefficients; differentiable
        to the pixels, so every Xplique explainer makes concept maps of it.
        """
        return self.concepts.models.encoder

    @property
    def position_encoder(self) -> keras.Model:
        """Images (n, H, W, channels) -> concept coefficients at every position, (n, ..., k)."""
        return self.concepts.models.position_encoder

    @property
    def decoder(self) -> keras.Model:
        """Concept coefficients (n, ..., k) -> logits h(U W), (n, classes): no residual, ever."""
        return self.concepts.models.decoder

    def bound_decoder(self, inputs: Any) -> keras.Model:
        """
        As `decoder`, with the residual of given images: h(U W + E).

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
        stream = Stream(inputs, self.network.input_shape, self.batch_size)
        residuals = []
        for batch in stream.progress("residuals", self.verbose):
            activations = self.network.latents(batch.images)
            u, _ = encode_batch(activations, self.factorized)
            residuals.append((activations - self.factorized.explained(u)).numpy())
        return self.concepts.models.bound_decoder(np.concatenate(residuals))

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
        own = inputs is None and targets is None
        explainer = SobolImportance(
            self, nb_design=nb_design, batch_size=self.batch_size, seed=self.seed
        )
        targets = self.class_id if targets is None else targets
        inputs = self.concepts.inputs if inputs is None else inputs
        overall = explainer.explain(inputs, targets).mean(axis=0)
        if own:
            self.sensitivity = Sensitivity(overall, np.argsort(-overall, kind="stable"))
        return overall

    def _coded(
        self,
        inputs: Any,
        targets: Any,
        description: str,
        *,
        keep_residual: bool,
        reference: np.ndarray | None,
        factorized: Factorized | None = None,
    ) -> Iterator[Coded]:
        return coded_batches(
            Stream(inputs, self.network.input_shape, self.batch_size),
            self.network,
            self.factorized if factorized is None else factorized,
            reference,
            targets=targets,
            class_id=self.class_id,
            keep_residual=keep_residual,
            description=description,
            verbose=self.verbose,
        )

    def _over_images(
        self, function: Callable[[Coded, np.ndarray, GatedHead], Any], inputs: Any, targets: Any
    ) -> list[Any]:
        bank = self.factorized.bank
        head = GatedHead(self.network, None, self.batch_size)
        name = function.__name__.replace("_", " ")
        batches = self._coded(
            inputs,
            targets,
            name,
            keep_residual=self.keep_residual,
            reference=self.reference,
        )
        return [function(coded, bank, head) for coded in batches]

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
            See `one_image.explain_image`; `target` is the true class, if known.

        Returns
        -------
        explanation
            Prediction, concepts, places and contributions; of a wrong prediction, those to its
            score above the true class's: which concepts misled the model.
        """
        from .one_image import explain_image  # it stands above this module

        return explain_image(
            self,
            image,
            target,
            photograph=photograph,
            restore=restore,
            class_names=class_names,
            number_of_crops=number_of_crops,
        )

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
        return self.quality_of(self.factorized, inputs, targets)

    def quality_of(self, factorized: Factorized, inputs: Any, targets: Any = None) -> Quality:
        """The same for another bank on the same network, with which to compare."""
        head = GatedHead(self.network, None, self.batch_size)
        batches = self._coded(
            inputs, targets, "quality", keep_residual=True, reference=None, factorized=factorized
        )
        return measure_quality(batches, factorized, head, self.seed)
