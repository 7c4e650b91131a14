"""
Maps of the concepts of one model, by any explainer of Xplique.

The concepts become the outputs of a Keras model, images -> (n, k), which is all that an explainer
needs: its target is concept j, one-hot. The outputs are the concepts' mean coefficients or, where
the score of a target is given, their relevance for it: that model reads the target from a variable.

Explainers that share their perturbations run once for all concepts (see `perturbations`). The
others run once for each concept, with the same draws each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .._compiled import compile_function
from .._once import cached_property
from .._seeding import RUNNING, explain_seeded
from ..concept_model import ConceptModel
from ..targets import distinct
from .explainer_choice import make_explainer
from .perturbations import SHARED, shared_maps, shares_perturbations
from .relevance import relevance_model


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

    def is_of(self, concept_model: ConceptModel, operator: Callable[..., Any] | str | None) -> bool:
        """Whether these are the maps of a model and operator: all that they depend on is theirs."""
        own, other = self.concept_model, concept_model
        same = own.split is other.split and own.concepts is other.concepts
        settings = [
            (
                one.baseline,
                one.seed,
                one.keep_residual,
                one.keeps_special_tokens,
                one.batch_size,
            )
            for one in (own, other)
        ]
        return same and settings[0] == settings[1] and self.operator == operator

    def check(self) -> None:
        """Make the explainer of activations, or say why it cannot be made."""
        with RUNNING:
            _ = self._of_activation.explainer

    @property
    def shared(self) -> bool:
        """Whether one run gives the maps of all concepts."""
        if self.explainer not in SHARED or self.arguments.get("operator") is not None:
            return False
        with RUNNING:
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
        for target, rows in _each_target(targets):
            some = images[rows]
            if self.shared:
                run = partial(_Explained.shared_maps, concepts=concepts)
                found[rows] = self._run(target, run, some, np.empty((len(some), 0)))
                continue
            for j, concept in enumerate(one_hot):
                weights = np.tile(concept, (len(some), 1))
                found[rows, ..., j] = self._run(target, _Explained.map, some, weights)[..., 0]
        self._check_finite(found, concepts)
        return found

    def whole(
        self, images: np.ndarray, targets: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray:
        """One map of the concepts' sum by weights (n, k), of one run, (n, H, W, 1) float32."""
        found = np.empty((*images.shape[:3], 1), np.float32)
        weights = weights.astype(np.float32)
        run = _Explained.shared_map if self.shared else _Explained.map
        for target, rows in _each_target(targets):
            found[rows] = self._run(target, run, images[rows], weights[rows])
        self._check_finite(found)
        return found

    def forget_copies(self) -> None:
        """Forget explainers that hold a copy of the model, whose weights may have changed since."""
        with RUNNING:
            self._of_activation.forget_copy()
            if "_of_relevance" in vars(self):
                self._of_relevance.forget_copy()

    @cached_property
    def _of_relevance(self) -> _Explained:
        weights = tf.Variable(tf.zeros([self.concept_model.network.number_of_classes]))
        model = relevance_model(self.concept_model, self.operator, weights)
        return _Explained(model, self._make, weights)

    def _make(self, model: keras.Model) -> Any:
        return make_explainer(self.explainer, self.arguments, model, self.concept_model)

    def _run(self, target: np.ndarray | None, run: Any, *given: np.ndarray) -> np.ndarray:
        """Maps by an `_Explained`, of activation or of relevance for a target (classes,)."""
        with RUNNING:  # no other thread may aim elsewhere, or make the explainer anew, meanwhile
            explained = self._of_activation
            if target is not None:
                explained = self._of_relevance
                explained.aim(target, remake=not isinstance(self.explainer, type))
            seed, explain = self.concept_model.seed, partial(run, explained)
            return explain_seeded(seed, explained.explainer, explain, *given)

    def _check_finite(self, maps: np.ndarray, concepts: np.ndarray | None = None) -> None:
        finite = np.isfinite(maps).all(axis=(0, 1, 2))
        if finite.all():
            return
        of = ""
        if concepts is not None:
            numbers = concepts[~finite]
            of = f" of concept{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        with RUNNING:
            name = type(self._of_activation.explainer).__name__
        raise ValueError(
            f"{name} gives maps{of} that are not finite. "
            "Give it other explainer_args, or take another explainer."
        )


def _each_target(targets: np.ndarray | None) -> Iterator[tuple[np.ndarray | None, Any]]:
    """Each distinct target, and which rows of the images have it; None for activation, all."""
    if targets is None:
        yield None, slice(None)
        return
    unique, which = distinct(targets)
    for number, weights in enumerate(unique):
        yield weights, which == number


class _Explained:
    """A model whose outputs are concepts, with the explainer that `make` makes of it."""

    def __init__(
        self,
        model: keras.Model,
        make: Callable[[keras.Model], Any],
        target: Any = None,
    ) -> None:
        self.model = model
        self._make = make
        self._target = target

    def aim(self, weights: np.ndarray, *, remake: bool) -> None:
        """
        Explain another target from now on: weights of the logits, (classes,).

        An explainer may have asked the model something as it was made; `remake` makes it anew then.
        """
        if not np.array_equal(self._target, weights):
            self._target.assign(weights)
            if remake:
                vars(self).pop("explainer", None)

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
        explained = _called(self.explainer, self.explainer.explain, images, weights)
        found = _as_numbers(explained)
        if found is not None and found.ndim == 3:
            found = found[..., None]
        if found is None or found.ndim != 4 or found.shape[:3] != images.shape[:3]:
            received = f"{explained!r:.80}" if found is None else f"shape {found.shape}"
            raise ValueError(
                f"explainer must give maps of the images' size, (n, {images.shape[1]}, "
                f"{images.shape[2]}, 1), received {received} from {type(self.explainer).__name__}."
            )
        return found.mean(axis=-1, keepdims=True)

    def shared_map(self, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """As `map`, by an explainer that shares its perturbations."""
        sums = [partial(self._weighted, row[:, None]) for row in weights]
        each = zip(images, sums, strict=True)
        run = partial(_called, self.explainer, shared_maps, self.explainer)
        return np.concatenate([run(x[None], f) for x, f in each])

    def shared_maps(self, images: np.ndarray, _: np.ndarray, concepts: np.ndarray) -> np.ndarray:
        """Maps of some concepts by one run, (n, H, W, concepts)."""
        run = partial(_called, self.explainer, shared_maps, self.explainer)
        return run(images, self.evaluate)[..., concepts]

    def _weighted(self, column: np.ndarray, images: tf.Tensor) -> tf.Tensor:
        return tf.matmul(self.evaluate(images), column)


def _called(explainer: Any, function: Callable[..., Any], *given: Any) -> Any:
    """What a function of an explainer of Xplique gives; what it raises is said of its arguments."""
    try:
        return function(*given)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:
        if not type(explainer).__module__.startswith("xplique."):
            raise  # a user's own says what it has to say
        said = str(error).strip().splitlines() or ["no reason is given"]
        raise ValueError(
            f"{type(explainer).__name__} fails on these images: {type(error).__name__}: {said[-1]}"
            " Its arguments are explainer_args."
        ) from error


def _as_numbers(explained: Any) -> np.ndarray | None:
    """Maps as float32; None if they are no real numbers."""
    try:
        found = tf.convert_to_tensor(explained)
    except (TypeError, ValueError):
        return None
    real = found.dtype.is_floating or found.dtype.is_integer or found.dtype.is_bool
    return tf.cast(found, tf.float32).numpy() if real else None
