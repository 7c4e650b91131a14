"""What a map costs: seconds an image, and passes through the model."""

from time import perf_counter

import keras
import numpy as np
import tensorflow as tf

from .._seeding import seeded
from ..splitting.split import join_models
from .method_maps import MethodExplainer, make_explainer
from .methods import Method

LONG = 10.0  # seconds of a run above which it is not run again only to be timed
RUNS = 3  # at most, of which the quickest counts


def seconds_and_maps(
    explainer: MethodExplainer, images: np.ndarray, targets: np.ndarray
) -> tuple[float, np.ndarray]:
    """
    Seconds an image, and maps (n, H, W) of all.

    What is made only once, the traces of compiled functions, is made of one image beforehand. They
    may be traced again for a batch: unless a run takes long, images are explained again, in the
    batches that the explainer makes itself, and the quickest time is taken.
    """
    explainer.explain(images[:1], targets[:1])
    started = perf_counter()
    maps = explainer.explain(images, targets)
    seconds = perf_counter() - started
    if seconds <= LONG and not explainer.method.is_floor:
        times: list[float] = []
        with seeded(explainer.seed, explainer.explainer):
            while len(times) < RUNS and sum(times) <= LONG:
                started = perf_counter()
                np.asarray(explainer.explainer.explain(images, targets))
                times.append(perf_counter() - started)
        seconds = min(times)  # of which the first may trace
    return seconds / len(images), maps


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

    A gradient is counted as the one pass forward that it needs. None where they cannot be counted:
    the method works on a copy of the model, or on no other model at all.
    """
    if method.is_floor:
        return 0
    counter = _Passes()
    entrance = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype, name="counted")
    counting = join_models(keras.Model(entrance, counter(entrance)), model).model
    try:
        explainer = make_explainer(method, counting, seed=0)
        counter.number.assign(0)
        explainer.explain(image[None], target[None])
    except Exception:  # of the explainer's own: if it is not the counting, the maps say it too
        return None
    return int(counter.number.numpy()) or None
