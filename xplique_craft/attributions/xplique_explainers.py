"""
Any explainer of Xplique on the concepts of one model.

The concepts become the outputs of a Keras model, x -> (n, k), which is all that an explainer needs:
its target is concept j, one-hot. Explainers that share their perturbations run once for all
concepts (see `perturbations`), the others once a concept, each time with the same draws.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from xplique.attributions import FEM
from xplique.attributions.base import BlackBoxExplainer, WhiteBoxExplainer

from .._compiled import compile_function
from .._seeding import explain_seeded
from ..concept_model import ConceptModel
from ..explainer import ConceptExplainer
from ..keras_models import KerasModels
from ..splitting.split import Split
from .perturbations import SHARED, shared_maps, shares_perturbations
from .relevance import ConceptRelevance

__all__ = ["ConceptMaps", "check_explainer"]

MOST_TARGETS = 16  # of relevance, whose models are kept


class ConceptMaps:
    """
    Maps of the concepts of one model, by an explainer of it.

    Parameters
    ----------
    craft
        The fitted `Craft` with the bank.
    split
        The flat model, which may be another than the craft's, cut.
    make
        A class of xplique.attributions, or a function model -> explainer.
    arguments
        Of the class.
    batch_size
        For classes that take one, unless it is among the arguments.
    operator, keep_residual
        Of the score that relevance is relevance for.
    """

    def __init__(
        self,
        craft: ConceptModel,
        split: Split,
        make: Any,
        arguments: dict[str, Any],
        *,
        batch_size: int,
        operator: Callable[..., Any] | str | None,
        keep_residual: bool,
    ) -> None:
        self.craft, self.split = craft, split
        self.make, self.arguments, self.batch_size = make, arguments, batch_size
        self.operator, self.keep_residual = operator, keep_residual
        self._encoders: dict[bytes, keras.Model] = {}
        self._compiled: dict[bytes, Any] = {}
        self._explainers: dict[bytes, Any] = {}

    def check(self) -> None:
        """Make the explainer of activations, or say why it cannot be made."""
        self._explainer(None)

    @cached_property
    def shared(self) -> bool:
        """Whether all concepts are read from the same evaluations."""
        if self.make not in SHARED or self.arguments.get("operator") is not None:
            return False
        return shares_perturbations(self._explainer(None))

    def maps(
        self, weights: np.ndarray | None, images: np.ndarray, chosen: np.ndarray
    ) -> np.ndarray:
        """
        Maps of some concepts.

        Parameters
        ----------
        weights
            (classes,): of the logits in the score, for relevance; None for activation.
        images
            (n, H, W, channels).
        chosen
            Indices of concepts.

        Returns
        -------
        maps
            (n, H, W, chosen) float32.
        """
        explainer, k = self._explainer(weights), len(self.craft.factorized.bank)
        if self.shared:
            evaluate = self._evaluate(weights)
            found = self._seeded(
                explainer,
                lambda some, _: shared_maps(explainer, some, evaluate)[..., chosen],
                images,
                np.empty((len(images), 0)),
            )
        else:
            one_hot = np.eye(k, dtype=np.float32)[chosen][:, None].repeat(len(images), axis=1)
            found = np.concatenate(
                [
                    self._seeded(explainer, partial(_one_map, explainer), images, targets)
                    for targets in one_hot
                ],
                axis=-1,
            )
        finite = np.isfinite(found).all(axis=(0, 1, 2))
        if not finite.all():
            raise _not_finite(explainer, f" of {_numbers(chosen[~finite])}")
        return found

    def whole(
        self, weights: np.ndarray | None, images: np.ndarray, of_concepts: np.ndarray
    ) -> np.ndarray:
        """
        One map of all concepts together, by one run of the explainer.

        Parameters
        ----------
        weights, images
            As in `maps`.
        of_concepts
            (n, k): weight of each concept in what is explained.

        Returns
        -------
        maps
            (n, H, W, 1) float32.
        """
        explainer, of_concepts = self._explainer(weights), of_concepts.astype(np.float32)
        if self.shared:
            explain = partial(_shared_whole, explainer, self._evaluate(weights))
        else:
            explain = partial(_one_map, explainer)
        found = self._seeded(explainer, explain, images, of_concepts)
        if not np.isfinite(found).all():
            raise _not_finite(explainer)
        return found

    def forget_copies(self) -> None:
        """Make explainers anew that hold a copy of the weights, which may have changed."""
        self._explainers = {
            key: explainer
            for key, explainer in self._explainers.items()
            if getattr(explainer, "model", None) is self._encoders[key]
        }

    def _seeded(self, explainer: Any, explain: Any, *given: np.ndarray) -> np.ndarray:
        return explain_seeded(self.craft.seed, explainer, explain, *given)

    def _encoder(self, weights: np.ndarray | None) -> keras.Model:
        """Images -> (n, k), made once: mean coefficients, or relevance for a target."""
        key = _key(weights)
        if key not in self._encoders:
            if weights is not None:
                self._forget_targets()
                self._encoders[key] = self._relevance(weights)
            elif self.split is self.craft.split:
                self._encoders[key] = KerasModels.of(self.craft).encoder
            else:
                self._encoders[key] = KerasModels(self.split, self.craft.factorized).encoder
        return self._encoders[key]

    def _forget_targets(self) -> None:
        """Make room for another target, here and in what Xplique keeps of every model."""
        of_targets = [key for key in self._encoders if key]
        for key in of_targets[: len(of_targets) + 1 - MOST_TARGETS]:
            forgotten = self._encoders.pop(key)
            self._compiled.pop(key, None)
            self._explainers.pop(key, None)
            kept = BlackBoxExplainer._cache_models
            for known in [known for known, model in kept.items() if model is forgotten]:
                del kept[known]

    def _relevance(self, weights: np.ndarray) -> keras.Model:
        latent = self.split.input_to_latent
        layer = ConceptRelevance(
            self.split.latent_to_logit,
            self.operator,
            self.craft.factorized,
            self.craft.reference,
            self.keep_residual,
            weights,
            name="concept_relevance",
        )
        return keras.Model(latent.inputs[0], layer(latent.outputs[0]), name="relevance")

    def _evaluate(self, weights: np.ndarray | None) -> Any:
        """Images -> (n, k), compiled once."""
        key = _key(weights)
        if key not in self._compiled:
            encoder = self._encoder(weights)
            image = tf.TensorSpec([None, *encoder.input_shape[1:]], encoder.inputs[0].dtype)
            self._compiled[key] = compile_function(
                lambda images: tf.cast(encoder(images, training=False), tf.float32), [image]
            )
        return self._compiled[key]

    def _explainer(self, weights: np.ndarray | None) -> Any:
        """The explainer of an encoder, made once (see `forget_copies`)."""
        key = _key(weights)
        if key not in self._explainers:
            self._explainers[key] = self._make(self._encoder(weights))
        return self._explainers[key]

    def _make(self, encoder: keras.Model) -> Any:
        if not isinstance(self.make, type):
            return self.make(encoder)
        name = self.make.__name__
        factorizer = self.craft.factorized.factorizer
        if issubclass(self.make, WhiteBoxExplainer) and not factorizer.differentiable:
            raise ValueError(
                f"{name} needs the gradient of the concepts, and the encoding of {factorizer!r} "
                "has none. Take an explainer that perturbs the image, as Occlusion, or "
                "factorizer='nmf' or 'semi-nmf'."
            )
        arguments = self.arguments
        if "batch_size" in inspect.signature(self.make).parameters:
            arguments = {"batch_size": self.batch_size, **arguments}
        try:
            return self.make(encoder, **arguments)
        except (AssertionError, StopIteration, TypeError, ValueError) as error:
            reason = str(error).rstrip(".") or "there is no convolution in it"
            raise ValueError(
                f"{name} cannot be made for the concepts at {self.split.layer!r}: {reason}. It "
                "explains the part of the model before that layer, with the concepts as its "
                "outputs; its arguments are explainer_args."
            ) from error


def _shared_whole(
    explainer: Any, evaluate: Any, images: np.ndarray, of_concepts: np.ndarray
) -> np.ndarray:
    """(n, H, W, 1): maps of the concepts' weighted sums, (n, k) weights."""
    maps = [
        shared_maps(explainer, image[None], partial(_weighted, evaluate, row[:, None]))
        for image, row in zip(images, of_concepts, strict=True)
    ]
    return np.concatenate(maps)


def _not_finite(explainer: Any, of: str = "") -> ValueError:
    return ValueError(
        f"{type(explainer).__name__} gives maps{of} that are not finite. Give it other "
        "explainer_args, or take another explainer."
    )


def _numbers(concepts: np.ndarray) -> str:
    return f"concept{'s' if len(concepts) > 1 else ''} {', '.join(map(str, concepts))}"


def _weighted(evaluate: Any, of_concepts: np.ndarray, images: tf.Tensor) -> tf.Tensor:
    """(n, 1): the concepts' scores (n, k) as one, by weights (k, 1)."""
    return tf.matmul(evaluate(images), of_concepts)


def _key(weights: np.ndarray | None) -> bytes:
    return b"" if weights is None else weights.tobytes()


def _one_map(explainer: Any, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(n, H, W, 1) float32, whatever the explainer makes of channels."""
    found = np.asarray(explainer.explain(images, targets), np.float32)
    if found.ndim == 3:
        found = found[..., None]
    if found.ndim != 4 or found.shape[:3] != images.shape[:3]:
        raise ValueError(
            f"explainer must give maps of the images' size, (n, {images.shape[1]}, "
            f"{images.shape[2]}, 1), received {found.shape} from {type(explainer).__name__}."
        )
    return found.mean(axis=-1, keepdims=True)


def check_explainer(explainer: Any, arguments: dict[str, Any] | None) -> None:
    """
    Refuse what cannot explain concepts, and arguments that it has not.

    Parameters
    ----------
    explainer, arguments
        As `ConceptAttribution` takes them.

    Raises
    ------
    TypeError, ValueError
        With what to give instead.
    """
    if explainer is None:
        if arguments:
            raise ValueError(
                f"explainer_args are of an explainer, and explainer is None, received {arguments}."
                " Give a class of xplique.attributions with them."
            )
        return
    if isinstance(explainer, BlackBoxExplainer):
        raise TypeError(
            "explainer must be a class or a function that makes one, for the concepts are another "
            f"model, received an instance of {type(explainer).__name__}: give the class, and its "
            "arguments as explainer_args."
        )
    if not callable(explainer):
        raise TypeError(
            "explainer must be None, a class of xplique.attributions, or a function model -> "
            f"explainer, received {explainer!r}."
        )
    if not isinstance(explainer, type):
        if arguments:
            raise ValueError(
                "explainer_args are of a class; a function model -> explainer passes its own, "
                f"received {arguments}."
            )
        return
    if not issubclass(explainer, BlackBoxExplainer) or issubclass(explainer, ConceptExplainer):
        raise TypeError(
            "explainer must be a class of xplique.attributions, which explains any Keras model, "
            f"received {explainer.__name__}."
        )
    if issubclass(explainer, FEM):
        raise ValueError(
            "FEM asks of no target: it shows what the last convolution finds unusual, and its map "
            "would be the same for every concept. Take any other class of xplique.attributions, or "
            "None for the concepts' activations."
        )
    signature = inspect.signature(explainer)
    known = [name for name in signature.parameters if name != "model"]
    unknown = [name for name in arguments or {} if name not in known]
    if unknown:
        raise TypeError(
            f"explainer_args has {', '.join(map(repr, unknown))}, which {explainer.__name__} does "
            f"not take; it takes {', '.join(known)}."
        )
