"""
A fingerprint of a model: what it is told by, and the first difference between two.

It is what stays the same from one version of Keras to the next: of every layer, in the order in
which a flat graph calls them, the class, the layers before it, the shape of its output, its plain
settings as far as both versions have them, and the weights with the SHA-256 of their values. Names
are kept to speak of layers, and do not count: Keras numbers those that it gives, model by model.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .graph import Call, calls_of

SETTINGS = (
    "activation",
    "axis",
    "compute_dtype",
    "data_format",
    "dilation_rate",
    "epsilon",
    "groups",
    "negative_slope",
    "offset",
    "padding",
    "pool_size",
    "recurrent_activation",
    "scale",
    "strides",
)
"""Attributes of layers that change what they compute, and are plain in every version of Keras."""


NOT_COUNTED = (
    *("batch_shape", "batch_input_shape", "dtype", "name", "optional", "ragged", "sparse"),
    *("momentum", "noise_shape", "rate", "seed", "trainable"),
)
"""Settings that are names, or do nothing once a model is trained."""


@dataclass(frozen=True)
class WeightPrint:
    """
    One weight of a layer.

    Parameters
    ----------
    name, shape, dtype
        As Keras has them; the name is its last part, as "kernel".
    sha256
        Of its values, little-endian, in hexadecimal.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str


@dataclass(frozen=True)
class LayerPrint:
    """
    One call of a flat model.

    Parameters
    ----------
    name
        What the layer is called.
    kind
        The name of its class.
    inputs
        The places of the calls whose outputs it takes, counted from 0.
    output_shape
        The shape of its first output, None where it is not fixed.
    settings
        Those of `SETTINGS` that it has, as text.
    weights
        Its weights, in Keras' order.
    """

    name: str
    kind: str
    inputs: tuple[int, ...]
    output_shape: tuple[int | None, ...]
    settings: dict[str, str]
    weights: tuple[WeightPrint, ...]


def fingerprint_of(model: keras.Model) -> tuple[LayerPrint, ...]:
    """
    The fingerprint of a flat model; hashing 100 MB of weights takes a fraction of a second.

    Parameters
    ----------
    model
        A flat model, as `Split.model` is.
    """
    calls = calls_of(model)
    places = {id(tensor): i for i, call in enumerate(calls) for tensor in call.outputs}
    weights: dict[int, tuple[WeightPrint, ...]] = {}  # of a layer that is called again, once
    found = []
    for call in calls:
        key = id(call.operation)
        if key not in weights:
            weights[key] = tuple(map(_weight, getattr(call.operation, "weights", [])))
        found.append(
            LayerPrint(
                name=call.name,
                kind=type(call.operation).__name__,
                inputs=tuple(places[id(tensor)] for tensor in call.inputs),
                output_shape=tuple(call.outputs[0].shape),
                settings=_settings(call),
                weights=weights[key],
            )
        )
    return tuple(found)


def _settings(call: Call) -> dict[str, str]:
    """The plain settings of an operation, and the numbers that it is called with."""
    found = {}
    for name, value in {**_config(call.operation), **_arguments(call)}.items():
        text = _plain(value)
        if text is not None and name not in NOT_COUNTED:
            found[name] = text
    for name in SETTINGS:  # some differ from what the configuration says of them
        value = getattr(call.operation, name, None)
        text = _plain(getattr(value, "__name__", value))  # of an activation, its name
        if value is not None and text is not None:
            found[name] = text
    return found


def _config(operation: Any) -> dict[str, Any]:
    try:
        return dict(operation.get_config())
    except Exception:  # a layer of the user's may have none
        return {}


def _arguments(call: Call) -> dict[str, Any]:
    """What a call was given besides tensors, as the 2 of `2 * x`."""
    places = {f"argument {i}": value for i, value in enumerate(call.args)}
    return {**places, **{f"argument {name}": value for name, value in call.kwargs.items()}}


def _plain(value: Any) -> str | None:
    """A plain value as text, alike whether in a list or a tuple; None for anything else."""
    if isinstance(value, (list, tuple)):
        items = [_plain(one) for one in value]
        return None if None in items else ", ".join(map(str, items))
    if value is None or isinstance(value, (bool, int, float, str)):
        return str(value)
    return None


def _weight(weight: Any) -> WeightPrint:
    values = tf.convert_to_tensor(weight.value).numpy()
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return WeightPrint(
        name=str(weight.name),
        shape=tuple(values.shape),
        dtype=keras.backend.standardize_dtype(weight.dtype),
        sha256=hashlib.sha256(little.reshape(-1).view(np.uint8).data).hexdigest(),
    )


def first_difference(saved: Sequence[LayerPrint], own: Sequence[LayerPrint]) -> str | None:
    """
    In what a model differs first from a saved one, in words that follow a colon; None where nothing
    does.

    Parameters
    ----------
    saved, own
        The fingerprints of the model that was saved, and of the one that is given.
    """
    for place, (before, now) in enumerate(zip(saved, own, strict=False)):
        label = f"layer {now.name!r} (number {place} from the input)"
        if before.kind != now.kind:
            return f"{label} is a {now.kind}, and was {before.name!r}, a {before.kind}"
        if before.inputs != now.inputs:
            return f"{label} takes the outputs of other layers"
        if before.output_shape != now.output_shape:
            return f"the output of {label} has shape {now.output_shape}, not {before.output_shape}"
        for name in sorted(set(before.settings) & set(now.settings)):
            if before.settings[name] != now.settings[name]:
                return f"{label} has {name} {now.settings[name]}, not {before.settings[name]}"
        different = _different_weight(before.weights, now.weights)
        if different is not None:
            return f"{label} {different}"
    if len(saved) != len(own):
        return f"it has {len(own)} layers, not {len(saved)}"
    return None


def _different_weight(before: tuple[WeightPrint, ...], now: tuple[WeightPrint, ...]) -> str | None:
    if sorted(map(_content, before)) == sorted(map(_content, now)):  # in whatever order
        return None
    if len(before) != len(now):
        return f"has {len(now)} weights, not {len(before)}"
    for old, new in zip(before, now, strict=True):
        if old.shape != new.shape:
            return f"has a {new.name} of shape {new.shape}, not {old.shape}"
        if old.dtype != new.dtype:
            return f"has a {new.name} of type {new.dtype}, not {old.dtype}"
        if old.sha256 != new.sha256:
            return f"has other values of its {new.name}"
    return None


def _content(weight: WeightPrint) -> tuple[str, str, str]:
    return str(weight.shape), weight.dtype, weight.sha256
