"""
Flat graphs of the models that people give, or errors that say what to do about one that has none.
"""

import keras

from .graph import Graph, Replay, has_graph, is_flat


def flat_graph(model: keras.Model, argument: str) -> Graph:
    """Flat view of a model that has a graph with one input and one output, or an error."""
    if _is_legacy(model):
        raise TypeError(
            f"{argument} must be a model of Keras 3, received one of Keras 2 "
            f"({type(model).__module__}): save it with model.save('model.h5'), and load that with "
            "keras.saving.load_model."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"{argument} must be a keras.Model; received {type(model).__name__}. Wrap other "
            "networks in a Functional Keras model first."
        )
    if isinstance(model, keras.Sequential) and not hasattr(model, "inputs"):
        raise ValueError(
            f"{argument} {model.name!r} is a Sequential model that is not built. Call it once on "
            "a batch of images, or begin it with keras.Input(shape)."
        )
    if not has_graph(model):
        raise TypeError(
            f"{argument} {model.name!r} is a subclassed model ({type(model).__name__}): it has no "
            "graph of layers to cut. Rebuild it as a Functional model, "
            "keras.Model(inputs, outputs), or give its two parts to join_models."
        )
    for kind, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            names = ", ".join(repr(tensor._keras_history.operation.name) for tensor in tensors)
            raise ValueError(
                f"{argument} must have one input and one output, but {model.name!r} has "
                f"{len(tensors)} {kind} ({names}). Choose one of them with "
                "keras.Model(input_tensor, output_tensor)."
            )
    if not is_flat(model):
        return Replay().graph_of(model)
    if isinstance(model, keras.Sequential) or not all(
        isinstance(end, keras.KerasTensor) for end in (model.input, model.output)
    ):  # a dict or a list of one tensor becomes that tensor
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return Replay().finish(model)


def _is_legacy(model: object) -> bool:
    """Whether a model is of Keras 2: of tf_keras, or of what TensorFlow carried before Keras 3."""
    modules = [kind.__module__ for kind in type(model).__mro__]
    return any(name.startswith(("tf_keras.", "tensorflow.python.keras.")) for name in modules)


def graph_of_part(
    model: keras.Model, argument: str, example: keras.KerasTensor | None = None
) -> Graph:
    """Flat view of any built model; a subclassed one is one call, on inputs like `example`."""
    subclassed = isinstance(model, keras.Model) and not isinstance(model, keras.Sequential)
    if has_graph(model) or not subclassed:
        return flat_graph(model, argument)
    shape = (
        (model.get_build_config() or {}).get("input_shape") if example is None else example.shape
    )
    if not model.built or shape is None:
        raise TypeError(
            f"{argument} {model.name!r} is a subclassed model whose input shape is not known. "
            "Call it once on a batch of its inputs, or give a Functional or Sequential model."
        )
    dtype = None if example is None else example.dtype
    source = keras.Input(tuple(shape)[1:], dtype=dtype)
    try:
        output = model(source)
    except Exception as error:
        raise TypeError(
            f"{argument} {model.name!r} is a subclassed model that cannot be called as a layer on "
            f"inputs of shape {source.shape}: {error}. Give a Functional or Sequential model."
        ) from error
    if not isinstance(output, keras.KerasTensor):
        raise TypeError(f"{argument} {model.name!r} must return one tensor, not {output!r}.")
    return Replay().finish(keras.Model(source, output, name=f"{model.name}_graph"))
