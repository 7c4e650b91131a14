"""
A head h taken apart, so that gates cost as little as they can.

    A --pointwise--> B --front--> F --tail--> logits of the channels that the targets need

*Folding.* What leads from the activations A to F is affine, so for gated concepts

    F(sum_j m_j v_j W_j + C) = F(C) + sum_j m_j (F(v_j W_j) - F(0)),

applied once to each concept's contribution instead of once to each mask. Its first part treats
every position by itself (convolutions of one place, dense layers, batch normalisation): it is
applied to the bank, v_j W_j -> v_j W'_j with W' = B(W) - B(0), and hardly costs anything.

*Slicing.* The score reads few logits. Backwards from them, through layers that treat every channel
by itself, only these channels are computed, and of the last convolution or dense layer only their
kernels. Whatever else stands there is computed whole, and the channels are gathered from it.

A dense layer or convolution with an activation counts as two steps: without it, and the activation.
Both are exact. A layer that is not known is taken for neither affine nor channel by channel.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from ..splitting.graph import Call, calls_of
from ..splitting.structure import (
    affine_outputs,
    is_channelwise_call,
    is_flattening_call,
    is_mixing_call,
    is_pointwise_call,
)

Kernels = dict[int, tuple[tf.Tensor, tf.Tensor | None]]  # of the sliced convolutions, by tensor


@dataclass(frozen=True)
class Part:
    """
    Some steps of a head, in order.

    Parameters
    ----------
    inputs, outputs
        Tensors of the graph that it takes and gives.
    steps
        Its calls.
    """

    inputs: tuple[keras.KerasTensor, ...]
    outputs: tuple[keras.KerasTensor, ...]
    steps: tuple[Call, ...]


class Plan:
    """
    How a head is evaluated for gated concepts.

    Parameters
    ----------
    model
        h, a flat Keras model.
    taken_apart
        False: nothing is folded or sliced, and the tail is all of h. So it is where anything is
        not float32.
    """

    def __init__(self, model: keras.Model, taken_apart: bool = True) -> None:
        steps = tuple(step for step in calls_of(model) if step.inputs)
        first, self._last = model.inputs[0], model.outputs[0]
        self.taken_apart = taken_apart and all(
            tensor.dtype == "float32" for step in steps for tensor in (*step.inputs, *step.outputs)
        )
        self._bare: set[int] = set()  # `id` of tensors that an activation was taken off
        if self.taken_apart:
            steps = tuple(part for step in steps for part in self._parts(step))
        affine = affine_outputs(steps, [first]) if self.taken_apart else {id(first)}
        pointwise = _pointwise(steps, affine, first)
        parts = [
            [s for s in steps if id(s.outputs[0]) in pointwise],
            [s for s in steps if id(s.outputs[0]) in affine - pointwise],
            [s for s in steps if id(s.outputs[0]) not in affine],
        ]
        boundary = _read(pointwise, [*parts[1], *parts[2]], self._last)
        frontier = _read(affine, parts[2], self._last)
        bodies = [tuple(part) for part in parts]
        self.pointwise = Part((first,), boundary, bodies[0])
        self.front = Part(boundary, frontier, bodies[1])
        self.tail = Part(frontier, (self._last,), bodies[2])
        self.whole = Part((first,), (self._last,), steps)
        self.sliced = _sliced(steps, self._last) if self.taken_apart else frozenset()

    @property
    def folded(self) -> bool:
        """Whether anything is applied to concepts instead of masks."""
        return bool(self.pointwise.steps or self.front.steps)

    @property
    def slices(self) -> bool:
        """Whether of some convolution or dense layer only some channels are computed."""
        return any(id(s.outputs[0]) in self.sliced and is_mixing_call(s) for s in self.whole.steps)

    def _parts(self, step: Call) -> list[Call]:
        """A step, or what it does before and in its activation."""
        layer = step.operation
        if not is_mixing_call(step) or layer.activation is keras.activations.linear:
            return [step]
        output = step.outputs[0]
        before = keras.KerasTensor(shape=output.shape, dtype=output.dtype)
        self._bare.add(id(before))
        bare = object.__new__(type(layer))  # the same weights; it is asked, and never called
        bare.__dict__.update(layer.__dict__, activation=keras.activations.linear)
        bend = keras.layers.Activation(
            layer.activation, dtype="float32", name=f"{step.name}_activation"
        )
        return [
            replace(step, operation=bare, outputs=(before,)),
            replace(step, operation=bend, args=(before,), kwargs={}, inputs=(before,)),
        ]

    def kernels(self, channels: tf.Tensor) -> Kernels:
        """Kernels and biases of the last convolutions or dense layers, for some channels only."""
        kernels = {}
        for step in self.whole.steps:
            layer = step.operation
            if id(step.outputs[0]) in self.sliced and is_mixing_call(step):
                kernel = tf.gather(tf.convert_to_tensor(layer.kernel), channels, axis=-1)
                bias = None
                if layer.use_bias:
                    bias = tf.gather(tf.convert_to_tensor(layer.bias), channels)
                kernels[id(step.outputs[0])] = (kernel, bias)
        return kernels

    def run(
        self, part: Part, inputs: Iterable[tf.Tensor], channels: tf.Tensor, kernels: Kernels
    ) -> list[tf.Tensor]:
        """
        Outputs of a part, of which those that are sliced have the chosen channels only.

        Parameters
        ----------
        part
            One of the plan's.
        inputs
            Tensors for `part.inputs`, sliced where the plan slices them.
        channels
            (s,) indices of logits.
        kernels
            What `kernels` gave for them.
        """
        values = dict(zip(map(id, part.inputs), inputs, strict=True))
        for step in part.steps:
            here = id(step.outputs[0])
            if here in kernels:
                outputs = [_mix(step, values[id(step.inputs[0])], *kernels[here])]
            elif here in self._bare:
                layer = step.operation
                outputs = [_mix(step, values[id(step.inputs[0])], layer.kernel, layer.bias)]
            elif here in self.sliced:
                read = {
                    id(t): values[id(t)]
                    if id(t) in self.sliced
                    else tf.gather(values[id(t)], channels, axis=-1)
                    for t in step.inputs
                }
                if type(step.operation) is keras.layers.BatchNormalization:
                    outputs = [_normalise(step.operation, read[id(step.inputs[0])], channels)]
                else:
                    outputs = _call(step, read)
            else:
                outputs = _call(step, values)
            values.update(zip(map(id, step.outputs), outputs, strict=True))
        return [values[id(tensor)] for tensor in part.outputs]

    def logits(self, last: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
        """(n, s): the chosen logits of what the tail gives."""
        return last if id(self._last) in self.sliced else tf.gather(last, channels, axis=-1)

    def entries(self, part: Part, channels: int) -> float:
        """Entries of a part's outputs for one image."""
        return float(
            sum(
                _size(tensor, channels if id(tensor) in self.sliced else None)
                if None not in tensor.shape[1:]
                else math.nan
                for tensor in part.outputs
            )
        )

    def largest(self, part: Part, channels: int) -> float:
        """Entries of the largest tensor of a part for one image."""
        tensors = [*part.inputs, *(tensor for step in part.steps for tensor in step.outputs)]
        if any(None in tensor.shape[1:] for tensor in tensors):
            return math.nan
        return float(max(_size(t, channels if id(t) in self.sliced else None) for t in tensors))


def _size(tensor: keras.KerasTensor, channels: int | None = None) -> int:
    shape = tensor.shape[1:]
    return math.prod(shape) if channels is None else math.prod(shape[:-1]) * channels


def _pointwise(steps: tuple[Call, ...], affine: set[int], first: keras.KerasTensor) -> set[int]:
    """`id` of the affine tensors that are, at every position, a function of A there alone."""
    known = {id(first)}
    for step in steps:
        here = id(step.outputs[0])
        if here in affine and is_pointwise_call(step) and known.issuperset(map(id, step.inputs)):
            known.update(map(id, step.outputs))
    return known


def _read(
    tensors: set[int], steps: list[Call], last: keras.KerasTensor
) -> tuple[keras.KerasTensor, ...]:
    """Those of the tensors that the steps, or the caller, read."""
    read = {id(t): t for step in steps for t in step.inputs if id(t) in tensors}
    if id(last) in tensors:
        read[id(last)] = last
    return tuple(read.values())


def _sliced(steps: tuple[Call, ...], last: keras.KerasTensor) -> frozenset[int]:
    """`id` of the tensors of which the chosen channels are enough, and can be had alone."""
    readers: dict[int, list[Call]] = {}
    for step in steps:
        for tensor in step.inputs:
            readers.setdefault(id(tensor), []).append(step)
    sliced: set[int] = set()
    for step in reversed(steps):
        tensor = step.outputs[0]
        known = is_mixing_call(step) or is_channelwise_call(step)
        if known and len(step.outputs) == 1:
            wanted = [
                id(r.outputs[0]) in sliced and not is_mixing_call(r)
                for r in readers.get(id(tensor), [])
            ]
            if all(wanted) and (wanted or tensor is last):
                sliced.add(id(tensor))
    return frozenset(sliced)


def _mix(step: Call, x: tf.Tensor, kernel: Any, bias: Any) -> tf.Tensor:
    """A convolution or dense layer with these kernels."""
    layer = step.operation
    dense = type(layer) is keras.layers.Dense
    x = keras.ops.matmul(x, kernel) if dense else layer.convolution_op(x, kernel)
    return x if bias is None else keras.ops.add(x, bias)


def _normalise(
    layer: keras.layers.BatchNormalization, x: tf.Tensor, channels: tf.Tensor
) -> tf.Tensor:
    """Batch normalisation at inference, of some channels."""
    vectors = (layer.moving_mean, layer.moving_variance, layer.beta, layer.gamma)
    mean, variance, offset, scale = (
        None if vector is None else tf.gather(tf.convert_to_tensor(vector), channels)
        for vector in vectors
    )
    return keras.ops.batch_normalization(
        x, mean, variance, axis=-1, offset=offset, scale=scale, epsilon=layer.epsilon
    )


def _call(step: Call, values: Mapping[int, tf.Tensor]) -> list[tf.Tensor]:
    """A step on other tensors."""
    if is_flattening_call(step):
        x = values[id(step.inputs[0])]
        return [tf.reshape(x, [-1, tf.shape(x)[-1]])]
    args, kwargs = keras.tree.map_structure(
        lambda x: values[id(x)] if isinstance(x, keras.KerasTensor) else x,
        (step.args, step.kwargs),
    )
    if getattr(step.operation, "_call_has_training_arg", False):
        kwargs["training"] = False
    return list(keras.tree.flatten(step.operation(*args, **kwargs)))
