"""
Maps of the concepts of one model, by any explainer of Xplique.

The concepts become the outputs of a Keras model, images -> (n, k), which is all that an explainer
needs: its target is concept j, one-hot. The outputs are the concepts' mean coefficients or, where
the score of a target is given, their relevance for it; so each target has a model of its own.

Explainers that share their perturbations run once for all concepts (see `perturbations`). The
others run once for each concept, with the same draws each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from xplique.attributions.base import BlackBoxExplainer

from .._compiled import compile_function
from .._seeding import explain_seeded
from ..concept_model import ConceptModel
from ..targets import distinct
from .explainer_choice import make_explainer
from .perturbations import SHARED, shared_maps, shares_perturbations
from .relevance import relevance_model

MOST_TARGETS = 16  # whose models of relevance are kept


class ConceptMaps:
    """
    Maps of the concepts of one model, by one explainer.

    Parameters
    ----------
    concept_model
        The concepts, on the model that is explained.
    encoder
        The Keras model of these concepts, images -> mean coefficients (n, k).
    explainer, arguments
        What `explainer_choice.check_explainer` lets pass, but for None.
    operator
        Xplique's operator, which makes the score that relevance is relevance for.
    """

    def __init__(
        self,
        concept_model: ConceptModel,
        encoder: keras.Model,
        explainer: Any,
        arguments: dict[str, Any],
        operator: Callable[..., Any] | str | None,
    ) -> None:
        self.concept_model, self.operator = concept_model, operator
        self.explainer, self.arguments = explainer, arguments
        self._of_activation = _Explained(encoder, self._make)
        self._of_targets: dict[bytes, _Explained] = {}

    def is_of(self, concept_model: ConceptModel) -> bool:
        """Whether these are the maps of a concept model: nothing that they depend on differs."""
        own, other = self.concept_model, concept_model
        same = own.split is other.split and own.concepts is other.concepts
        return same and (own.baseline, own.seed) == (other.baseline, other.seed)

    def check(self) -> None:
        """Make the explainer of activations, or say why it cannot be made."""
        _ = self._of_activation.explainer

    @cached_property
    def shared(self) -> bool:
        """Whether one run gives the maps of all concepts."""
        if self.explainer not in SHARED or self.arguments.get("operator") is not None:
            return False
        return shares_perturbations(self._of_activation.explainer)

    def maps(
        self, images: np.ndarray, targets: np.ndarray | None, concepts: np.ndarray
    ) -> np.ndarray:
        """
        A map of each of some concepts in each image, (n, H, W, concepts) float32.

        With targets (n, classes), weights of the logits in a score, the map shows where the concept
        is relevant for it; with None, where the concept is.
        """
        found = np.empty((*images.shape[:3], len(concepts)), np.float32)
        one_hot = np.eye(len(self.concept_model.bank), dtype=np.float32)[concepts]
        for explained, rows in self._each_target(targets):
            some = images[rows]
            if self.shared:
                explain = partial(explained.shared_maps, concepts=concepts)
                found[rows] = self._run(explained, explain, some, np.empty((len(some), 0)))
                continue
            for j, concept in enumerate(one_hot):
                weights = np.tile(concept, (len(some), 1))
                found[rows, ..., j] = self._run(explained, explained.map, some, weights)[..., 0]
        self._check_finite(found, concepts)
        return found

    def whole(
        self, images: np.ndarray, targets: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray:
        """One map of the concepts' sum by weights (n, k), of one run, (n, H, W, 1) float32."""
        found = np.empty((*images.shape[:3], 1), np.float32)
        weights = weights.astype(np.float32)
        for explained, rows in self._each_target(targets):
            explain = explained.shared_map if self.shared else explained.map
            found[rows] = self._run(explained, explain, images[rows], weights[rows])
        self._check_finite(found)
        return found

    def forget_copies(self) -> None:
        """Forget explainers that hold a copy of the model, whose weights may have changed since."""
        for explained in (self._of_activation, *self._of_targets.values()):
            explained.forget_copy()

    def _each_target(self, targets: np.ndarray | None) -> Iterator[tuple[_Explained, Any]]:
        """What is explained for each distinct target, and which rows of the images have it."""
        if targets is None:
            yield self._of_activation, slice(None)
            return
        unique, which = distinct(targets)
        for number, weights in enumerate(unique):
            yield self._of_target(weights), which == number

    def _of_target(self, weights: np.ndarray) -> _Explained:
        key = weights.tobytes()
        if key not in self._of_targets:
            while len(self._of_targets) >= MOST_TARGETS:
                _forget_model(self._of_targets.pop(next(iter(self._of_targets))).model)
            model = relevance_model(self.concept_model, self.operator, weights)
            self._of_targets[key] = _Explained(model, self._make)
        return self._of_targets[key]

    def _make(self, model: keras.Model) -> Any:
        return make_explainer(self.explainer, self.arguments, model, self.concept_model)

    def _run(self, explained: _Explained, explain: Any, *given: np.ndarray) -> np.ndarray:
        return explain_seeded(self.concept_model.seed, explained.explainer, explain, *given)

    def _check_finite(self, maps: np.ndarray, concepts: np.ndarray | None = None) -> None:
        finite = np.isfinite(maps).all(axis=(0, 1, 2))
        if finite.all():
            return
        of = ""
        if concepts is not None:
            numbers = concepts[~finite]
            of = f" of concept{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        raise ValueError(
            f"{type(self._of_activation.explainer).__name__} gives maps{of} that are not finite. "
            "Give it other explainer_args, or take another explainer."
        )


class _Explained:
    """A model whose outputs are concepts, with the explainer that `make` makes of it."""

    def __init__(self, model: keras.Model, make: Callable[[keras.Model], Any]) -> None:
        self.model = model
        self._make = make

    @cached_property
    def explainer(self) -> Any:
        """Made on first use, and again after `forget_copy`."""
        return self._make(self.model)

    @cached_property
    def evaluate(self) -> Callable[[Any], tf.Tensor]:
        """The model as one compiled function."""
        image = tf.TensorSpec([None, *self.model.input_shape[1:]], self.model.inputs[0].dtype)
        return compile_function(
            lambda images: tf.cast(self.model(images, training=False), tf.float32), [image]
        )

    def forget_copy(self) -> None:
        """Forget an explainer that explains another model than this one."""
        if getattr(vars(self).get("explainer"), "model", None) is not self.model:
            vars(self).pop("explainer", None)

    def map(self, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The map of the outputs' sum by weights (n, k), (n, H, W, 1): channels are averaged."""
        found = np.asarray(self.explainer.explain(images, weights), np.float32)
        if found.ndim == 3:
            found = found[..., None]
        if found.ndim != 4 or found.shape[:3] != images.shape[:3]:
            raise ValueError(
                f"explainer must give maps of the images' size, (n, {images.shape[1]}, "
                f"{images.shape[2]}, 1), received {found.shape} from "
                f"{type(self.explainer).__name__}."
            )
        return found.mean(axis=-1, keepdims=True)

    def shared_map(self, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """As `map`, by an explainer that shares its perturbations."""
        sums = [partial(self._weighted, row[:, None]) for row in weights]
        each = zip(images, sums, strict=True)
        return np.concatenate([shared_maps(self.explainer, x[None], f) for x, f in each])

    def shared_maps(self, images: np.ndarray, _: np.ndarray, concepts: np.ndarray) -> np.ndarray:
        """Maps of some concepts by one run, (n, H, W, concepts)."""
        return shared_maps(self.explainer, images, self.evaluate)[..., concepts]

    def _weighted(self, column: np.ndarray, images: tf.Tensor) -> tf.Tensor:
        return tf.matmul(self.evaluate(images), column)


def _forget_model(model: keras.Model) -> None:
    """Take a model out of what Xplique keeps of every model that it has explained."""
    kept = BlackBoxExplainer._cache_models
    for key in [key for key, known in kept.items() if known is model]:
        del kept[key]
