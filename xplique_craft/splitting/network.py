"""
The two halves of a model as compiled functions: g, images to activations, and h, activations to
logits. One `Network` serves any number of banks, so nothing is traced twice.
"""

from collections.abc import Callable
from threading import RLock
from typing import Any

import keras
import tensorflow as tf

from .._checks import warn
from .._compiled import Room, compile_function
from .._once import cached_property
from .graph import calls_of

MOST_SHARED = 64  # operators and sizes of crops whose compiled functions are kept


class Network:
    """
    The parts of a split model, compiled.

    Parameters
    ----------
    input_to_latent, latent_to_logit
        g and h, Keras models with one input and one output each.

    Attributes
    ----------
    room_of_g, room_of_h
        How many images each of them takes at a time where memory runs out.
    strategy
        Runs g and h on several replicas, each of which takes a part of every batch: the one in
        whose scope the model was made; None where there is none, or one replica.

    Raises
    ------
    ValueError
        If the model's output is not (n, classes).
    """

    def __init__(self, input_to_latent: keras.Model, latent_to_logit: keras.Model) -> None:
        self.input_to_latent = input_to_latent
        self.latent_to_logit = latent_to_logit
        self.input_shape: tuple[int | None, ...] = tuple(input_to_latent.input_shape[1:])
        output_shape = tuple(latent_to_logit.output_shape)
        if len(output_shape) != 2 or output_shape[1] is None:
            raise ValueError(
                f"The model's output must have the shape (n, classes), received {output_shape}. "
                "Models with other outputs need a head that reduces them to scores."
            )
        self.number_of_classes: int = output_shape[1]
        self.dtype = input_to_latent.inputs[0].dtype
        self.channels: int = input_to_latent.output_shape[-1]
        self.strategy = strategy_of(input_to_latent)
        self.room_of_g = Room("g, the layers up to the cut")
        self.room_of_h = Room("h, the layers after the cut")
        self._shared: dict[Any, Any] = {}
        self._sharing = RLock()
        self._warn_softmax()

    def _warn_softmax(self) -> None:
        last = calls_of(self.latent_to_logit)[-1].operation
        activation = getattr(last, "activation", None)
        if type(last).__name__ == "Softmax" or getattr(activation, "__name__", "") == "softmax":
            warn(
                f"The model ends in a softmax ({last.name!r}): its scores are probabilities, which "
                "saturate and make every class depend on all others. Explain its logits instead: "
                "the same model without the softmax."
            )

    def shared(self, key: Any, make: Callable[[], Any]) -> Any:
        """
        What was made for this key, or is made now: functions that many stages share.

        Only those that were used last are kept, for people may give many operators.
        """
        with self._sharing:
            value = self._shared.pop(key) if key in self._shared else make()
            self._shared[key] = value  # the last used is the last to go
            if len(self._shared) > MOST_SHARED:
                del self._shared[next(iter(self._shared))]
        return value

    def share(self, key: Any, value: Any) -> None:
        """Put something else in the place of what was made for this key."""
        with self._sharing:
            self._shared[key] = value

    def latent_shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the activations of one image of a shape, (h, w, c), (t, c) or (c,)."""
        known = tuple(self.input_to_latent.output_shape[1:])
        if None not in known:
            return known

        def tried() -> tuple[int, ...]:
            return tuple(self.latents(tf.zeros([1, *image_shape])).shape[1:])

        return self.shared(("shape", *image_shape), tried)

    def activations(self, images: tf.Tensor) -> tf.Tensor:
        """g in float32, as other compiled functions call it: images (n, ...) -> (n, ..., c)."""

        def g(images: tf.Tensor) -> tf.Tensor:
            images = tf.cast(images, self.dtype)
            return tf.cast(self.input_to_latent(images, training=False), tf.float32)

        return on_replicas(self.strategy, g, images)

    @cached_property
    def latents(self) -> Any:
        """g: images (n, ...) -> activations (n, ..., c), compiled for any n."""
        signature = [tf.TensorSpec([None, *self.input_shape], tf.float32)]
        return compile_function(self.activations, signature, rows=[0], room=self.room_of_g)

    @cached_property
    def logits(self) -> Any:
        """h: activations (n, ..., c) -> logits (n, classes), compiled for any n."""
        model = self.latent_to_logit

        def logits(activations: tf.Tensor) -> tf.Tensor:
            activations = tf.cast(activations, model.inputs[0].dtype)
            return tf.cast(model(activations, training=False), tf.float32)

        def on_all(activations: tf.Tensor) -> tf.Tensor:
            return on_replicas(self.strategy, logits, activations)

        shape = [None, *model.input_shape[1:]]
        signature = [tf.TensorSpec(shape, tf.float32)]
        return compile_function(on_all, signature, rows=[0], room=self.room_of_h)


def strategy_of(model: keras.Model) -> Any:
    """The `tf.distribute` strategy that a model was made for; None without one of many replicas."""
    for weight in model.weights:
        found = getattr(getattr(weight, "value", weight), "distribute_strategy", None)
        if found is not None and found.num_replicas_in_sync > 1:
            return found
    return None


def on_replicas(
    strategy: Any, function: Callable[[tf.Tensor], tf.Tensor], batch: tf.Tensor
) -> tf.Tensor:
    """
    A function of images (n, ...) that treats each by itself, on all replicas of a strategy.

    Replica r of R takes the ceil(n / R) images from r ceil(n / R) on; where there are not so many,
    the last one again, for layers may fail on none. It is for compiled functions.
    """
    inside = tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
    if strategy is None or inside:  # of a replica already
        return function(batch)
    number = tf.shape(batch)[0]
    each = -(-number // strategy.num_replicas_in_sync)

    def part(batch: tf.Tensor) -> tf.Tensor:
        first = tf.distribute.get_replica_context().replica_id_in_sync_group * each
        return function(tf.gather(batch, tf.minimum(tf.range(first, first + each), number - 1)))

    parts = strategy.experimental_local_results(strategy.run(part, args=(batch,)))
    return tf.concat(parts, axis=0)[:number]
