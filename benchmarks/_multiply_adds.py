"""
How many multiply-adds gates take in a head that is taken apart, and in the whole head.

Counted are convolutions, dense layers and the gates themselves. Layers without matrices of weights
count as none; of others, as attention, the number is not known and is NaN.
"""

import math
from typing import Any

import keras

__all__ = ["of_call", "of_part", "saved", "spent", "whole"]

COUNTED = [
    keras.layers.Dense,
    *(
        getattr(keras.layers, name)
        for kind in ("Conv{}D", "Conv{}DTranspose", "DepthwiseConv{}D", "SeparableConv{}D")
        for name in (kind.format(n) for n in (1, 2, 3))
        if hasattr(keras.layers, name)
    ),
]


def of_call(call: Any, channels: int | None = None) -> float:
    """One layer's call for one image, or of so many channels of its output."""
    layer, shape = call.operation, call.outputs[0].shape
    if type(layer) not in COUNTED:
        matrices = [w for w in getattr(layer, "weights", ()) if len(w.shape) > 1]
        return math.nan if matrices else 0.0
    kernels = ("kernel", "depthwise_kernel", "pointwise_kernel")
    found = [getattr(layer, name) for name in kernels if hasattr(layer, name)]
    transposed = type(layer).__name__.endswith("Transpose")
    positions = (call.inputs[0].shape if transposed else shape)[1:-1]
    if None in positions:
        return math.nan
    total = float(sum(math.prod(kernel.shape) for kernel in found) * math.prod(positions))
    return total if channels is None else total * channels / shape[-1]


def of_part(plan: Any, part: Any, channels: int) -> float:
    """A part of a head for one image, so many channels of what is sliced."""
    calls = ((call, id(call.outputs[0]) in plan.sliced) for call in part.steps)
    return float(sum(of_call(call, channels if sliced else None) for call, sliced in calls))


def spent(head: Any, coded: Any, masks: int) -> float:
    """What `head.evaluate` takes for some images at so many masks each."""
    compiled, (n, k) = head._compiled, (len(coded.targets), coded.number_of_concepts)
    plan, channels = compiled.plan, len(compiled.sliced(coded.targets)[1])
    tail, front = (of_part(plan, part, channels) for part in (plan.tail, plan.front))
    pointwise = of_part(plan, plan.pointwise, channels)
    if head.affine:  # one gradient, which counts as three evaluations, for all images of a target
        return 3.0 * (tail + front) + pointwise
    gates = masks * k * plan.entries(plan.front, channels)
    return n * (masks * tail + (k + 2.0) * front + pointwise + gates)


def whole(head: Any, coded: Any, masks: int) -> float:
    """What the same takes with the whole head, once for every image and mask."""
    plan, (n, k) = head._compiled.plan, (len(coded.targets), coded.number_of_concepts)
    activations = math.prod(head.network.latent_to_logit.input_shape[1:])
    return n * masks * (of_part(plan, plan.whole, coded.targets.shape[1]) + k * activations)


def saved(head: Any, coded: Any, masks: int) -> float:
    """Share of the multiply-adds that taking the head apart saves."""
    head.is_affine(coded)  # checks the head taken apart, which may then be evaluated whole
    return 1.0 - spent(head, coded, masks) / whole(head, coded, masks)
