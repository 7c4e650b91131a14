"""
A fingerprint of a model: what it is told by, and the first difference between two.

It is what stays the same from one version of Keras to the next: of every layer, in the order in
which a flat graph calls them, the class, the layers before it, the shape of its output, its
settings and what it is called with, as far as both versions have them, and the weights with the
SHA-256 of their values. Names are kept to speak of layers, and do not count: Keras numbers those
that it gives, model by model.
"""

import dis
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from types import CodeType, FunctionType
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
    *("input_layers", "output_layers"),
)
"""Settings that are names, or do nothing once a model is trained."""
OF_TRAINING = ("_initializer", "_regularizer", "_constraint")  # ends of other such names

OWN_CODE = ("function", "activation", "recurrent_activation")
"""Attributes of layers that may be functions of the user's."""

LONGEST_SHOWN = 60  # characters of a setting


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
        What is plain of its configuration, of what it was called with and of `SETTINGS`, as text;
        arrays and functions of the user's by a checksum.
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
    """The settings of an operation, and what it is called with besides tensors of the model."""
    found = dict(_of_config("", _config(call.operation)))
    for name, value in _arguments(call).items():
        found.update(_told(name, value))
    for name in SETTINGS:  # some differ from what the configuration says of them
        value = getattr(call.operation, name, None)
        text = _plain(getattr(value, "__name__", value))  # of an activation, its name
        if value is not None and text is not None and not hasattr(value, "shape"):
            found[name] = text
    for name in OWN_CODE:
        value = getattr(call.operation, name, None)
        if isinstance(value, FunctionType) and not _is_of_a_package(value):
            found[f"{name} as {sys.implementation.cache_tag} compiles it"] = _digest_of(value)
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


def _of_config(before: str, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings of a configuration, by name; those of a layer within another after its own."""
    for name, value in config.items():
        if name not in NOT_COUNTED and not name.endswith(OF_TRAINING):
            yield from _told(f"{before}{name}", value)


def _told(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A value as text, in parts where it has parts: versions of Keras may know more or fewer."""
    text = _plain(value)
    if text is not None:
        yield name, text
    elif isinstance(value, Mapping) and isinstance(value.get("class_name"), str):
        if value["class_name"] in ("function", "__lambda__"):  # told by its code
            return
        yield name, value["class_name"]
        if isinstance(value.get("config"), Mapping):
            yield from _of_config(f"{name} ", value["config"])
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _told(f"{name} {key}", one)
    elif isinstance(value, (list, tuple)):
        for i, one in enumerate(value):
            yield from _told(f"{name} {i}", one)


def _plain(value: Any) -> str | None:
    """
    A plain value as text, alike whether in a list or a tuple, an array by its checksum; None for
    anything else.
    """
    if isinstance(value, (list, tuple)):
        items = [_plain(one) for one in value]
        return None if None in items else ", ".join(map(str, items))
    if isinstance(value, slice):
        return f"{_plain(value.start)}:{_plain(value.stop)}:{_plain(value.step)}"
    if isinstance(value, keras.KerasTensor):
        return "a tensor"  # of the model: which one, `inputs` says
    if isinstance(value, (tf.Tensor, tf.Variable, keras.Variable)):
        value = tf.convert_to_tensor(value).numpy()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind != "O":
        if value.ndim == 0:
            return str(value.item())
        return f"{list(value.shape)} {_sha256(np.asarray(value))}"
    if value is None or value is Ellipsis or isinstance(value, (bool, int, float, str)):
        return str(value)
    return None


def _is_of_a_package(function: FunctionType) -> bool:
    """Whether it is installed: what it is made of may change with the version of its package."""
    where = PurePath(function.__code__.co_filename).parts
    return "site-packages" in where or "dist-packages" in where


_PAIR = re.compile("((?:LOAD|STORE)_FAST)_((?:LOAD|STORE)_FAST)")


def _digest_of(function: FunctionType) -> str:
    """
    A checksum of what a function does: its code as it is compiled, its constants, defaults, and
    the plain values that it has from around it; not its name, its lines or what it says of itself.
    """
    digest = hashlib.sha256()

    def add(code: CodeType) -> None:
        for step in dis.get_instructions(code):
            pair = _PAIR.fullmatch(step.opname)
            if pair and step.arg is not None:  # Python 3.13 joins them where they share a line
                first, second = divmod(step.arg, 16)
                digest.update(f"{pair[1]}{first}{pair[2]}{second}".encode())
                continue
            digest.update(step.opname.encode())
            if step.opcode not in dis.hasconst and step.opcode not in dis.hasname:
                digest.update(repr(step.arg).encode())  # variables by their number
            elif isinstance(step.argval, CodeType):
                add(step.argval)
            elif isinstance(step.argval, frozenset):  # in another order each time
                digest.update(repr(sorted(map(repr, step.argval))).encode())
            else:
                digest.update(repr(step.argval).encode())

    add(function.__code__)
    given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # nothing is in it
            given.append(cell.cell_contents)
    digest.update(repr([_plain(value) for value in given]).encode())
    return digest.hexdigest()


def _weight(weight: Any) -> WeightPrint:
    values = tf.convert_to_tensor(weight.value).numpy()
    return WeightPrint(
        name=str(weight.name),
        shape=tuple(values.shape),
        dtype=keras.backend.standardize_dtype(weight.dtype),
        sha256=_sha256(values),
    )


def _sha256(values: np.ndarray) -> str:
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return hashlib.sha256(little.reshape(-1).view(np.uint8).data).hexdigest()


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
            old, new = before.settings[name], now.settings[name]
            if old != new:
                long = max(len(old), len(new)) > LONGEST_SHOWN  # as a checksum
                return f"{label} has " + (f"another {name}" if long else f"{name} {new}, not {old}")
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
