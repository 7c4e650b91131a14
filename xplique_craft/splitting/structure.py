"""
Structure of models: which parts are affine, non-negative, or begin with a normalisation.

Only what is known for certain counts: a layer that is not listed, a subclass of one that is, or a
call with unusual arguments is taken for neither.
"""

from collections.abc import Callable, Sequence

import keras

from .graph import Call, calls_of, keeps_images


def _types(names: str) -> frozenset[type]:
    """Layer classes by name, nD standing for 1D, 2D and 3D (some exist in two of them only)."""
    every = {name.replace("nD", f"{n}D") for name in names.split() for n in (1, 2, 3)}
    return frozenset(getattr(keras.layers, name) for name in every if hasattr(keras.layers, name))


def _raw(module: str, names: str) -> frozenset[str]:
    """Raw operations, which have no public class, by where Keras keeps theirs."""
    return frozenset(f"keras.src.ops.{module}.{name}" for name in names.split())


def _activations(names: str) -> list[object]:
    return [getattr(keras.activations, name) for name in names.split()]


# Exact types: what a subclass computes is not known.
_WITH_ACTIVATION = _types(
    "Activation Dense EinsumDense ConvnD ConvnDTranspose DepthwiseConvnD SeparableConvnD"
)
_SELECTING = _types(  # each output is an input, a sum with weights >= 0 of inputs, or zero
    "AveragePoolingnD GlobalAveragePoolingnD Flatten Reshape Permute ZeroPaddingnD CroppingnD "
    "Dropout SpatialDropoutnD GaussianNoise GaussianDropout ActivityRegularization Identity "
    "RepeatVector Average Add Concatenate"
)
_UPSAMPLING = _types("UpSamplingnD")
_AFFINE = _SELECTING | _UPSAMPLING | _types("BatchNormalization Rescaling Subtract")
_KEEP_SIGN = _SELECTING | _types("MaxPoolingnD GlobalMaxPoolingnD Multiply Minimum")
_NORMALISING = _types("LayerNormalization GroupNormalization UnitNormalization RMSNormalization")
_NORMALISING_LAST = _types("LayerNormalization RMSNormalization UnitNormalization")
_BENDING = _types("ReLU LeakyReLU ELU")
_POINTWISE = _types("Dropout GaussianNoise GaussianDropout ActivityRegularization Identity")
_PASSING = _POINTWISE | _types("SpatialDropoutnD Flatten Reshape Permute")
_MIXING = _types("Dense ConvnD")
_CHANNELWISE = _types(  # each channel by itself, whatever their number
    "AveragePoolingnD GlobalAveragePoolingnD MaxPoolingnD GlobalMaxPoolingnD UpSamplingnD "
    "ZeroPaddingnD CroppingnD Dropout SpatialDropoutnD GaussianNoise GaussianDropout "
    "ActivityRegularization Identity ReLU LeakyReLU ELU Activation"
)
_ELEMENTWISE = _types("Add Subtract Multiply Average Maximum Minimum")
_NON_NEGATIVE_ACTIVATIONS = _activations(
    "relu relu6 sigmoid hard_sigmoid softmax softplus exponential"
)
_ELEMENTWISE_ACTIVATIONS = _activations(
    "celu elu exponential gelu hard_sigmoid hard_silu leaky_relu linear mish relu relu6 selu "
    "sigmoid silu softplus softsign tanh"
)
_RAW_ADD = _raw("numpy", "Add")
_RAW_AFFINE = _RAW_ADD | _raw(
    "numpy", "Subtract Mean Sum Reshape Transpose Squeeze ExpandDims GetItem"
)
_RAW_GET = _raw("numpy", "GetItem")
_RAW_REDUCTIONS = _raw("numpy", "Mean Sum Max")
_RAW_NON_NEGATIVE = _raw("nn", "Relu Relu6 Sigmoid Softmax Softplus") | _raw(
    "numpy", "Absolute Exp Square"
)
_RAW_CHANNELWISE = _raw("nn", "Relu Relu6 Sigmoid Silu Softplus Gelu") | _raw("numpy", "Tanh")


def is_affine_call(call: Call) -> bool:
    """Whether a call is known to be affine in its input tensors at inference."""
    operation = call.operation
    if not _is_plain(call) or _has_other_weights(operation):
        return False
    if type(operation) in _WITH_ACTIVATION:
        return operation.activation is keras.activations.linear
    if type(operation) in _AFFINE:
        return True
    return _raw_name(operation) in _RAW_AFFINE and keeps_images(call)


def is_mixing_call(call: Call) -> bool:
    """
    Whether a call is a dense layer or convolution of which some channels can be computed alone.
    """
    operation = call.operation
    return (
        type(operation) in _MIXING
        and _is_plain(call)
        and not _has_other_weights(operation)
        and _has_channels_last(operation)
        and getattr(operation, "groups", 1) == 1
        and any(operation.activation is function for function in _ELEMENTWISE_ACTIVATIONS)
    )


def is_channelwise_call(call: Call) -> bool:
    """Whether a call is known to treat every channel of its inputs by itself, and all alike."""
    operation = call.operation
    if not _is_plain(call) or not call.inputs or not _has_channels_last(operation):
        return False
    if is_flattening_call(call):
        return True
    if type(operation) is keras.layers.BatchNormalization:
        return operation.axis in (-1, len(call.outputs[0].shape) - 1)
    if _raw_name(operation) in _RAW_REDUCTIONS:
        rank = len(call.inputs[0].shape)
        axes = operation.axis if isinstance(operation.axis, list | tuple) else [operation.axis]
        return None not in axes and all(axis % rank not in (0, rank - 1) for axis in axes)
    if type(operation) in _ELEMENTWISE:
        return len({tensor.shape[-1] for tensor in call.inputs}) == 1
    if type(operation) is keras.layers.Activation:
        return any(operation.activation is function for function in _ELEMENTWISE_ACTIVATIONS)
    return type(operation) in _CHANNELWISE or _raw_name(operation) in _RAW_CHANNELWISE


def is_flattening_call(call: Call) -> bool:
    """Whether a call turns (n, 1, ..., 1, c) into (n, c)."""
    if type(call.operation) not in (keras.layers.Flatten, keras.layers.Reshape):
        return False
    before, after = call.inputs[0].shape, call.outputs[0].shape
    return set(before[1:-1]) == {1} and tuple(after[1:]) == (before[-1],)


def is_pointwise_call(call: Call) -> bool:
    """Whether an affine call is known to treat every position by itself, and all alike."""
    operation = call.operation
    if not is_affine_call(call) or not _has_channels_last(operation):
        return False
    rank = len(call.outputs[0].shape)
    if any(len(tensor.shape) != rank for tensor in call.inputs):
        return False
    if type(operation) in _MIXING:
        window = [*getattr(operation, "kernel_size", ()), *getattr(operation, "strides", ())]
        return all(side == 1 for side in window)
    if type(operation) in (keras.layers.BatchNormalization, keras.layers.Concatenate):
        return operation.axis in (-1, rank - 1)
    return type(operation) in _POINTWISE or (
        type(operation) in _ELEMENTWISE and len({tensor.shape for tensor in call.inputs}) == 1
    )


def is_tokenwise_call(call: Call) -> bool:
    """Whether a call is known to treat every token of (n, t, c) by itself, and all alike."""
    operation = call.operation
    shapes = [tensor.shape for tensor in (*call.outputs, *call.inputs)]
    tokens_of_all = len({shape[1:2] for shape in shapes}) == 1
    if not call.inputs or not tokens_of_all or any(len(shape) != 3 for shape in shapes):
        return False
    if type(operation) is keras.layers.Dense:
        return is_mixing_call(call)
    if not isinstance(operation, keras.layers.Layer):
        alone = all(isinstance(x, keras.KerasTensor) for x in call.args)  # and no constants
        return alone and _raw_name(operation) in _RAW_ADD | _RAW_CHANNELWISE
    if not _is_plain(call):
        return False
    if type(operation) in _NORMALISING_LAST:
        return operation.axis in (-1, 2, [-1], [2], (-1,), (2,))
    if type(operation) is keras.layers.Activation:
        return any(operation.activation is function for function in _ELEMENTWISE_ACTIVATIONS)
    return type(operation) in _POINTWISE | _ELEMENTWISE | _BENDING


def is_attention_call(call: Call) -> bool:
    """Whether a call is attention, each query by itself: its first input are the queries."""
    masks = {key: value for key, value in call.kwargs.items() if key not in ("value", "key")}
    return (
        type(call.operation) is keras.layers.MultiHeadAttention
        and len(call.outputs) == 1
        and all(value is None or value is False for value in masks.values())
        and 1 <= len(call.args) <= 3
        and all(isinstance(x, keras.KerasTensor) and len(x.shape) == 3 for x in call.args)
        and call.args[0] is call.inputs[0]
    )


def tokens_taken(call: Call) -> slice | None:
    """Which tokens of (n, t, c) a call takes out, and does nothing else; None for other calls."""
    if len(call.inputs) != 1 or len(call.inputs[0].shape) != 3:
        return None
    number = call.inputs[0].shape[1]
    if number is None:
        return None
    if type(call.operation) is keras.layers.Cropping1D and _has_channels_last(call.operation):
        first, last = call.operation.cropping
        return slice(first, number - last) if _is_plain(call) else None
    key = call.args[1] if _raw_name(call.operation) in _RAW_GET and len(call.args) == 2 else None
    if not isinstance(key, tuple) or len(key) < 2 or key[0] != slice(None):
        return None
    if any(part not in (slice(None), Ellipsis) for part in key[2:]):
        return None
    at = key[1]
    if isinstance(at, int):
        return slice(at % number, at % number + 1)
    if isinstance(at, slice) and at.step in (None, 1):
        return slice(*at.indices(number)[:2])
    return None


def _has_channels_last(operation: keras.Operation) -> bool:
    return getattr(operation, "data_format", None) in (None, "channels_last")


def reached(
    calls: Sequence[Call], start: keras.KerasTensor, rule: Callable[[Call], bool]
) -> set[int]:
    """`id` of a tensor, and of those that are made of it by calls that obey a rule alone."""
    known = {id(start)}
    for call in calls:
        if call.inputs and known.issuperset(map(id, call.inputs)) and rule(call):
            known.update(map(id, call.outputs))
    return known


def non_negative_tensors(calls: Sequence[Call]) -> set[int]:
    """`id` of the tensors between the calls that are known to be >= 0 at inference."""
    known: set[int] = set()
    for call in calls:
        flags = [id(tensor) in known for tensor in call.inputs]
        if _is_plain(call) and (_gives_non_negative(call.operation) or _keeps_sign(call, flags)):
            known.update(map(id, call.outputs))
    return known


def _gives_non_negative(operation: keras.Operation) -> bool:
    if type(operation) is keras.layers.ReLU or _raw_name(operation).endswith("activations.ReLU"):
        return float(operation.negative_slope) == 0.0 and float(operation.threshold) >= 0.0
    if type(operation) in _WITH_ACTIVATION:
        return any(operation.activation is function for function in _NON_NEGATIVE_ACTIVATIONS)
    return type(operation) is keras.layers.Softmax or _raw_name(operation) in _RAW_NON_NEGATIVE


def _keeps_sign(call: Call, flags: list[bool]) -> bool:
    operation = call.operation
    if type(operation) is keras.layers.Maximum:
        return any(flags)
    if _raw_name(operation) in _RAW_ADD:  # a constant may be negative
        keeps = len(flags) == len(call.args)
    elif type(operation) in _UPSAMPLING:  # other interpolations overshoot
        keeps = getattr(operation, "interpolation", "nearest") in ("nearest", "bilinear")
    elif type(operation) is keras.layers.Activation:
        keeps = operation.activation is keras.activations.linear
    else:
        keeps = type(operation) in _KEEP_SIGN
    return keeps and bool(flags) and all(flags)


def _is_plain(call: Call) -> bool:
    """Whether a call has its tensors where every call has them, and no training=True or mask."""
    options = [v for k, v in call.kwargs.items() if not (k == "training" and v is False)]
    raw = not isinstance(call.operation, keras.layers.Layer)
    return all(value is None for value in options) and (raw or len(call.args) == 1)


def _has_other_weights(operation: keras.Operation) -> bool:
    """Whether a layer computes with more than its kernel: it is quantised, or adapted by LoRA."""
    return bool(
        getattr(operation, "quantization_mode", None) or getattr(operation, "lora_enabled", False)
    )


def _raw_name(operation: keras.Operation) -> str:
    if isinstance(operation, keras.layers.Layer):
        return ""
    return f"{type(operation).__module__}.{type(operation).__name__}"


def begins_with_normalisation(model: keras.Model) -> bool:
    """
    Whether something that reads a flat model's input, past layers that do nothing at inference or
    move values only, divides each input by its own size.
    """
    passed = {id(tensor) for tensor in model.inputs}
    for call in calls_of(model):
        if not passed.isdisjoint(map(id, call.inputs)):
            if type(call.operation) in _NORMALISING:
                return True
            if type(call.operation) in _PASSING:
                passed.update(map(id, call.outputs))
    return False
