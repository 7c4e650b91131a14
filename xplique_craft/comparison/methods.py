"""
Methods that explain a model by a map of the image, to be compared: Xplique's and concept maps.

A method is a name and a way to make an explainer of a model, so that it can be made again of a
model with other weights, and of one that counts its images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import xplique.attributions
from xplique.attributions.base import BlackBoxExplainer

from .._checks import nearest
from .._seeding import seeded
from ..attributions import ConceptAttribution
from ..splitting import join_models
from .result import RANDOM

if TYPE_CHECKING:
    from ..craft import Craft

__all__ = ["Method", "explain", "methods_of", "passes", "seconds_and_maps"]

WARM = 0.5  # seconds an image below which more runs are timed, without what is made only once
DETAIL = 3.0  # of "ConceptDetailed", as in benchmarks/heatmaps.py
RUNS = 3  # of them, of which the quickest counts


@dataclass(frozen=True)
class Method:
    """
    A way to explain a model by maps.

    Parameters
    ----------
    name
        What to call it.
    make
        Keras model -> explainer; None for maps at random, the floor of a comparison.
    output
        Of concept maps, "activation" or "relevance"; None for heatmaps.
    """

    name: str
    make: Callable[[keras.Model], Any] | None
    output: str | None = None


def _heatmaps(craft: Craft, side: int) -> dict[str, dict[str, Any]]:
    """
    Xplique's methods with their settings for images of that side, by name. Class activation maps
    are of the layer of the concepts where it has places: by themselves they take the last layer
    with filters, which may be the classifier itself.
    """
    mapped = len(craft.network.input_to_latent.output_shape) == 4
    at = {"conv_layer": craft.layer} if mapped else {}
    return {
        "Saliency": {},
        "GradientInput": {},
        "IntegratedGradients": {"steps": 30},
        "SmoothGrad": {"nb_samples": 20},
        "GradCAM": at,
        "GradCAMPP": at,
        "Occlusion": {"patch_size": max(1, side // 7), "patch_stride": max(1, side // 14)},
        "Rise": {"nb_samples": 500},
        "SobolAttributionMethod": {"grid_size": 8, "nb_design": 8},
        "HsicAttributionMethod": {"grid_size": 7, "nb_design": 300},
    }


def _of_craft(craft: Craft, batch_size: int) -> dict[str, ConceptAttribution]:
    settings: dict[str, dict[str, Any]] = {
        "ConceptActivation": {"output": "activation"},
        "ConceptRelevance": {"output": "relevance"},
        "ConceptDetailed": {"output": "activation", "detail": DETAIL},
    }
    return {
        name: ConceptAttribution(craft, batch_size=batch_size, **of)
        for name, of in settings.items()
    }


def methods_of(
    craft: Craft,
    wanted: Sequence[str] | Mapping[str, Any] | None,
    size: tuple[int, ...],
    batch_size: int,
) -> list[Method]:
    """
    The methods that are asked for.

    Parameters
    ----------
    craft
        Fitted.
    wanted
        Names of known methods; or name -> a class of xplique.attributions, (class, arguments), a
        function model -> explainer, or a `ConceptAttribution`; None for all known ones.
    size
        (H, W) of the images: patches are of a seventh of the shorter side.
    batch_size
        For those that take one.

    Returns
    -------
    methods
        In the order they are asked for.

    Raises
    ------
    ValueError, TypeError
        If a method is not known, or none.
    """
    known: dict[str, Any] = {
        name: (getattr(xplique.attributions, name), settings)
        for name, settings in _heatmaps(craft, min(size)).items()
    }
    known |= {RANDOM: None, **_of_craft(craft, batch_size)}
    if wanted is None:
        wanted = known
    if isinstance(wanted, str):
        wanted = [wanted]
    if not isinstance(wanted, Mapping):
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise ValueError(
                f"methods has {unknown[0]!r}, which is none of {', '.join(known)}. "
                f"{nearest(str(unknown[0]), known)}".rstrip()
            )
        wanted = {name: known[name] for name in wanted}
    if not wanted:
        raise ValueError(f"methods must name at least one of {', '.join(known)}, received none.")
    return [_method(name, given, batch_size) for name, given in wanted.items()]


def _method(name: str, given: Any, batch_size: int) -> Method:
    if given is None:
        return Method(name, None)
    if isinstance(given, ConceptAttribution):
        return Method(name, lambda model: _moved(given, model), given.output)
    settings: dict[str, Any] = {}
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping):
        given, settings = given[0], dict(given[1])
    if isinstance(given, type) and issubclass(given, BlackBoxExplainer):
        make, arguments = given, {"batch_size": batch_size, **settings}
        return Method(name, lambda model: make(model, **arguments))
    if not callable(given) or isinstance(given, BlackBoxExplainer) or settings:
        raise TypeError(
            f"methods[{name!r}] must be a class of xplique.attributions, (class, arguments), a "
            f"function model -> explainer or a ConceptAttribution, received {given!r}."
        )
    return Method(name, given)


def _moved(attribution: ConceptAttribution, model: keras.Model) -> ConceptAttribution:
    """The same attribution, of another model."""
    other = ConceptAttribution(
        attribution.craft,
        attribution.explainer,
        attribution.explainer_args or None,
        batch_size=attribution.batch_size,
        operator=attribution.operator,
        output=attribution.output,
        smoothing=attribution.smoothing,
        detail=attribution.detail,
    )
    other.model = model
    return other


def explain(
    method: Method, explainer: Any, images: np.ndarray, targets: np.ndarray, seed: int
) -> np.ndarray:
    """Maps (n, H, W) float32 by what the method made of a model, with its draws seeded."""
    if method.make is None:
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0x3A9D]))
        return rng.random(images.shape[:3], np.float32)
    with seeded(seed, explainer):
        maps = np.asarray(explainer.explain(images, targets), np.float32)
    if maps.ndim == 4:
        maps = maps.mean(axis=-1)
    if maps.shape != images.shape[:3]:
        raise ValueError(
            f"methods[{method.name!r}] must give maps of the images' size, {images.shape[:3]}, "
            f"received {maps.shape}."
        )
    if not np.isfinite(maps).all():
        raise ValueError(f"methods[{method.name!r}] gives maps that are not finite.")
    return maps


def seconds_and_maps(
    method: Method, explainer: Any, images: np.ndarray, targets: np.ndarray, seed: int
) -> tuple[float, np.ndarray]:
    """
    Seconds an image, and maps (n, H, W).

    What is made once only, the traces of compiled functions, counts little where an image takes
    long; where it does not, the images are explained again, and the quickest time is taken.
    """
    seconds, maps = _timed(method, explainer, images, targets, seed)
    if seconds < WARM:
        again = [_timed(method, explainer, images, targets, seed)[0] for _ in range(RUNS)]
        seconds = min(again)
    return seconds, maps


def _timed(
    method: Method, explainer: Any, images: np.ndarray, targets: np.ndarray, seed: int
) -> tuple[float, np.ndarray]:
    """Seconds an image of one run, and its maps."""
    started = time.perf_counter()
    maps = explain(method, explainer, images, targets, seed)
    return (time.perf_counter() - started) / len(images), maps


class _Passes(keras.layers.Layer):
    """Lets images through, and counts them."""

    def __init__(self) -> None:
        super().__init__(name="passes", trainable=False)
        self.number = self.add_weight(shape=(), dtype="int64", initializer="zeros", name="number")

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """The images themselves."""
        self.number.assign(self.number + tf.shape(images, tf.int64)[0])
        return tf.identity(images)


def passes(method: Method, model: keras.Model, image: np.ndarray, target: np.ndarray) -> int | None:
    """
    Images that go through the model, all of it or up to the layer, to explain one of them.

    Parameters
    ----------
    method
        A gradient is counted as the one pass forward that it needs.
    model, image, target
        (H, W, channels), and (classes,).

    Returns
    -------
    passes
        None where they cannot be counted: the method works on a copy of the model.
    """
    if method.make is None:
        return 0
    counter = _Passes()
    entrance = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype, name="counted")
    counting = join_models(keras.Model(entrance, counter(entrance)), model).model
    explainer = method.make(counting)
    counter.number.assign(0)
    explain(method, explainer, image[None], target[None], 0)
    return int(counter.number.numpy()) or None
