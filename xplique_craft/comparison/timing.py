"""
Maps of one method: its explainer made, its draws seeded, its cost measured.

A method of Xplique that draws has the same draws for every image, so that what differs between two
maps is the image or the model, never a place in a batch.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from xplique.attributions.base import BlackBoxExplainer

from .._random import Draw, generator
from .._seeding import explain_seeded, seeded
from ..splitting.split import join_models
from .methods import Method

__all__ = ["explain", "forgetting_models", "made", "passes", "reason_of", "seconds_and_maps"]

LONG = 10.0  # seconds of a run above which it is not run again only to be timed
RUNS = 3  # at most, of which the quickest counts
LONGEST_REASON = 300  # characters: errors of TensorFlow go on for pages


def made(method: Method, model: keras.Model) -> Any:
    """
    The explainer of a method; None of the floor, which needs none.

    Raises
    ------
    Exception
        Whatever keeps it from being made; a ValueError of Xplique's bare StopIteration.
    """
    if method.make is None:
        return None
    try:
        return method.make(model)
    except StopIteration as error:
        raise ValueError(
            "it looks for a layer with filters, a convolution, and the model has none"
        ) from error


def reason_of(error: Exception) -> str:
    """What an error says, on one line; its type where it says nothing."""
    return textwrap.shorten(str(error), LONGEST_REASON).rstrip(".") or type(error).__name__


@contextmanager
def forgetting_models() -> Iterator[None]:
    """Leave Xplique's cache as it was: by itself it keeps every model explained, for ever."""
    kept = BlackBoxExplainer._cache_models
    before = set(kept)
    try:
        yield
    finally:
        for key in set(kept) - before:
            del kept[key]


def explain(
    method: Method,
    explainer: Any,
    images: np.ndarray,
    targets: np.ndarray,
    seed: int,
    of: str = "the images",
) -> np.ndarray:
    """
    Maps by what the method made of a model.

    Parameters
    ----------
    method, explainer
        See `made`.
    images, targets
        (n, H, W, channels), and (n, classes).
    seed
        Of the draws, which are the same for every image where the method is Xplique's.
    of
        What the images are, for messages.

    Returns
    -------
    maps
        (n, H, W) float32.

    Raises
    ------
    ValueError
        If maps have another size, or are not finite.
    """
    if method.is_floor:
        rng = generator(seed, Draw.RANDOM_MAP)
        return rng.random(images.shape[:3], np.float32)
    maps = explain_seeded(seed, explainer, explainer.explain, images, targets)
    if maps.ndim == 4:
        maps = maps.mean(axis=-1)
    if maps.shape != images.shape[:3]:
        raise ValueError(
            f"its maps of {of} must have their size, {images.shape[:3]}, received {maps.shape}"
        )
    if not np.isfinite(maps).all():
        raise ValueError(f"its maps of {of} are not finite")
    return maps


def seconds_and_maps(
    method: Method, explainer: Any, images: np.ndarray, targets: np.ndarray, seed: int
) -> tuple[float, np.ndarray]:
    """
    Seconds an image, and maps (n, H, W) of all.

    What is made only once, the traces of compiled functions, is made of one image beforehand. They
    may be traced again for a batch: unless a run takes long, images are explained again, in the
    batches that the explainer makes itself, and the quickest time is taken.
    """
    explain(method, explainer, images[:1], targets[:1], seed)
    started = perf_counter()
    maps = explain(method, explainer, images, targets, seed)
    seconds = perf_counter() - started
    if seconds <= LONG and not method.is_floor:
        seconds = _quickest(explainer, images, targets, seed)
    return seconds / len(images), maps


def _quickest(explainer: Any, images: np.ndarray, targets: np.ndarray, seed: int) -> float:
    """Seconds of the quickest of some runs on all images, of which the first one may trace."""
    times: list[float] = []
    with seeded(seed, explainer):
        while len(times) < RUNS and sum(times) <= LONG:
            started = perf_counter()
            np.asarray(explainer.explain(images, targets))
            times.append(perf_counter() - started)
    return min(times)


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
        None where they cannot be counted: the method works on a copy of the model, or on no other
        model at all.
    """
    if method.is_floor:
        return 0
    counter = _Passes()
    entrance = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype, name="counted")
    counting = join_models(keras.Model(entrance, counter(entrance)), model).model
    with forgetting_models():
        try:
            explainer = made(method, counting)
            counter.number.assign(0)
            explain(method, explainer, image[None], target[None], 0)
        except Exception:  # of the explainer's own: if it is not the counting, the maps say it too
            return None
    return int(counter.number.numpy()) or None
