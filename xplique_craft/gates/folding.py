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

*Tokens.* Where only some tokens are read at the end, as a class token, the others are left out from
the last attention on, see `tokens_read`.

A dense layer or convolution with an activation counts as two steps: without it, and the activation.
All are exact. A layer that is not known is taken for neither affine nor channel by channel.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..splitting.graph import Call, calls_of
from ..splitting.structure import (
    is_affine_call,
    is_attention_call,
    is_channelwise_call,
    is_flattening_call,
    is_mixing_call,
    is_pointwise_call,
    reached,
)
from .tokens_read import inputs_of, is_narrow, taken, tokens_read


@dataclass(frozen=True)
class Part:
    """
    Some steps of a head, in order.

    Parameters
    ----------
    inputs, outputs
        Tensors of the graph that it takes and gives.
    steps
        The calls of the graph that it makes, in order.
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
        first, last = model.inputs[0], model.outputs[0]
        self.taken_apart = taken_apart and all(
            tensor.dtype == "float32" for step in steps for tensor in (*step.inputs, *step.outputs)
        )
        self.bare: set[int] = set()  # `id` of tensors that an activation was taken off
        if self.taken_apart:
            steps = tuple(part for step in steps for part in self._parts(step))
        affine = pointwise = {id(first)}
        self.sliced: set[int] = set()
        if self.taken_apart:
            affine = reached(steps, first, is_affine_call)
            pointwise = reached(steps, first, is_pointwise_call)
            self.sliced = _sliced(steps, last)
        places = tuple(step for step in steps if id(step.outputs[0]) in pointwise)
        front = tuple(step for step in steps if id(step.outputs[0]) in affine - pointwise)
        tail = tuple(step for step in steps if id(step.outputs[0]) not in affine)
        boundary = _read(pointwise, [*front, *tail], last)
        frontier = _read(affine, tail, last)
        self.pointwise = Part((first,), boundary, places)
        self.front = Part(boundary, frontier, front)
        self.tail = Part(frontier, (last,), tail)
        self.read = tokens_read(tail) if self.taken_apart else {}
        self.whole = Part((first,), (last,), steps)
        self.cut = [s for s in steps if id(s.outputs[0]) in self.sliced and is_mixing_call(s)]

    @property
    def folded(self) -> bool:
        """Whether anything is applied to concepts instead of masks."""
        return bool(self.pointwise.steps or self.front.steps)

    @property
    def slices(self) -> bool:
        """Whether of some convolution or dense layer only some channels are computed."""
        return bool(self.cut)

    def _parts(self, step: Call) -> list[Call]:
        """A step, or what it does before and in its activation."""
        layer = step.operation
        if not is_mixing_call(step) or layer.activation is keras.activations.linear:
            return [step]
        output = step.outputs[0]
        before = keras.KerasTensor(shape=output.shape, dtype=output.dtype)
        self.bare.add(id(before))
        bare = object.__new__(type(layer))  # the same weights; it is asked, and never called
        bare.__dict__.update(layer.__dict__, activation=keras.activations.linear)
        bend = keras.layers.Activation(
            layer.activation, dtype="float32", name=f"{step.name}_activation"
        )
        return [
            replace(step, operation=bare, outputs=(before,)),
            replace(step, operation=bend, args=(before,), kwargs={}, inputs=(before,)),
        ]

    def entries(self, part: Part, channels: int) -> float:
        """Entries of a part's outputs for one image; NaN where a size is left open."""
        return float(sum(self._size(tensor, channels) for tensor in part.outputs))

    def largest(self, part: Part, channels: int) -> float:
        """Entries of the largest tensor of a part for one image; NaN where a size is left open."""
        tensors = [*part.inputs, *(tensor for step in part.steps for tensor in step.outputs)]
        return float(np.max([self._size(tensor, channels) for tensor in tensors]))

    def _size(self, tensor: keras.KerasTensor, channels: int) -> float:
        shape = tensor.shape[1:]
        if id(tensor) in self.sliced:
            shape = (*shape[:-1], channels)
        return math.nan if None in shape else math.prod(shape)


class Run:
    """
    The parts of a plan, run for some of the logits.

    Parameters
    ----------
    plan
        How the head is taken apart.
    channels
        (s,): which logits are wanted. Kernels of the last convolutions or dense layers are cut to
        them once, whatever is run.
    """

    def __init__(self, plan: Plan, channels: tf.Tensor) -> None:
        self._plan, self._channels = plan, channels
        self.kernels: dict[int, tuple[tf.Tensor, tf.Tensor | None]] = {}  # by `id` of the output
        for step in plan.cut:
            layer, bias = step.operation, None
            kernel = self._chosen(tf.convert_to_tensor(layer.kernel))
            if layer.use_bias:
                bias = self._chosen(tf.convert_to_tensor(layer.bias))
            self.kernels[id(step.outputs[0])] = (kernel, bias)

    def __call__(self, part: Part, inputs: Iterable[tf.Tensor]) -> list[tf.Tensor]:
        """Outputs of a part; what the plan slices has the chosen channels only, inputs too."""
        sliced, read = self._plan.sliced, self._plan.read
        values = dict(zip(map(id, part.inputs), inputs, strict=True))
        for step in part.steps:
            here, layer = id(step.outputs[0]), step.operation
            known, tokens = inputs_of(step, values, read), read.get(here)
            first = known[id(step.inputs[0])]
            alone = taken(step, values, read)
            if alone is not None:
                whole = here in sliced and id(step.inputs[0]) not in sliced
                outputs = [self._chosen(alone) if whole else alone]
            elif here in self.kernels:
                outputs = [_mix(step, first, *self.kernels[here])]
            elif here in self._plan.bare:
                outputs = [_mix(step, first, layer.kernel, layer.bias)]
            elif here in sliced:
                chosen = {i: x if i in sliced else self._chosen(x) for i, x in known.items()}
                if type(layer) is keras.layers.BatchNormalization:
                    outputs = [_normalise(layer, chosen[id(step.inputs[0])], self._channels)]
                else:
                    outputs = _call(step, chosen)
            else:
                outputs = _call(step, known, tokens)
            if tokens is not None and not is_narrow(step, tokens):
                outputs = [outputs[0][:, tokens]]
            values.update(zip(map(id, step.outputs), outputs, strict=True))
        return [values[id(tensor)] for tensor in part.outputs]

    def logits(self, frontier: list[tf.Tensor]) -> tf.Tensor:
        """(n, s): the chosen logits, of what stands at the frontier."""
        tail = self._plan.tail
        (last,) = self(tail, frontier)
        return last if id(tail.outputs[0]) in self._plan.sliced else self._chosen(last)

    def _chosen(self, values: tf.Tensor) -> tf.Tensor:
        return tf.gather(values, self._channels, axis=-1)


def _read(
    tensors: set[int], steps: Iterable[Call], last: keras.KerasTensor
) -> tuple[keras.KerasTensor, ...]:
    """Those of the tensors that the steps, or the caller, read."""
    read = {id(t): t for step in steps for t in step.inputs if id(t) in tensors}
    if id(last) in tensors:
        read[id(last)] = last
    return tuple(read.values())


def _sliced(steps: tuple[Call, ...], last: keras.KerasTensor) -> set[int]:
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
    return sliced


def _mix(step: Call, x: tf.Tensor, kernel: Any, bias: Any) -> tf.Tensor:
    """A convolution or dense layer with these kernels."""
    layer = step.operation
    dense = type(layer) is keras.layers.Dense
    x = keras.ops.matmul(x, kernel) if dense else _convolve(layer, x, kernel)
    return x if bias is None else keras.ops.add(x, bias)


def _convolve(layer: keras.layers.Layer, x: tf.Tensor, kernel: Any) -> tf.Tensor:
    """
    What a convolution does with some kernels, padded here where the layer would not do it.

    Causal padding is none of `convolution_op`'s business; and how far "same" reaches where there is
    dilation TensorFlow asks of the kernel's whole shape, which is not known of a chosen part.
    """
    reach = [
        rate * (size - 1) for rate, size in zip(layer.dilation_rate, layer.kernel_size, strict=True)
    ]
    if layer.padding == "causal":
        ends = [(each, 0) for each in reach]
    elif layer.padding == "same" and max(layer.dilation_rate) > 1:  # then every stride is 1
        ends = [(each // 2, each - each // 2) for each in reach]
    else:
        return layer.convolution_op(x, kernel)
    return keras.ops.conv(
        tf.pad(x, [(0, 0), *ends, (0, 0)]),
        kernel,
        strides=list(layer.strides),
        padding="valid",
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )


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


def _call(
    step: Call, values: Mapping[int, tf.Tensor], tokens: slice | None = None
) -> list[tf.Tensor]:
    """A step on other tensors; attention of these tokens alone."""
    if is_flattening_call(step):
        x = values[id(step.inputs[0])]
        return [tf.reshape(x, [-1, tf.shape(x)[-1]])]
    args, kwargs = keras.tree.map_structure(
        lambda x: values[id(x)] if isinstance(x, keras.KerasTensor) else x,
        (step.args, step.kwargs),
    )
    if tokens is not None and is_attention_call(step):
        args = (args[0][:, tokens], *args[1:])
    if getattr(step.operation, "_call_has_training_arg", False):
        kwargs["training"] = False
    return list(keras.tree.flatten(step.operation(*args, **kwargs)))
