"""
Splitting: a model and one of its layers give g and h, with h(g(x)) the model itself.

The latent A = g(x) is the layer's output. It must be a cut of the model's graph: all that h
computes depends on the image through A alone. Nothing is copied: g, h and the model share their
layers and weights.
"""

from dataclasses import dataclass

import keras

from .._once import BUILDING, cached_property
from .flatten import flat_graph, graph_of_part
from .graph import Graph, Replay
from .layers import find_cut
from .network import Network


@dataclass(frozen=True)
class Split:
    """
    A model cut at one layer; its parts share their layers and weights with the user's model.

    Parameters
    ----------
    model
        Flat model from images to outputs, without nested models; the user's own object where that
        was flat already.
    input_to_latent
        g: images -> A, the activations at the layer.
    latent_to_logit
        h: A -> outputs.
    layer
        The name of the layer in `model`: `split_model(model, layer)` gives this split again, of a
        clone of `model` too.
    """

    model: keras.Model
    input_to_latent: keras.Model
    latent_to_logit: keras.Model
    layer: str

    @cached_property
    def network(self) -> Network:
        """The compiled parts, made once, whoever uses them."""
        return Network(self.input_to_latent, self.latent_to_logit)


def split_model(model: keras.Model, layer: str | int | keras.layers.Layer) -> Split:
    """
    Cut a model at one layer.

    Parameters
    ----------
    model
        Functional or built Sequential model with one input and one output; its layers may be
        models themselves, and may branch.
    layer
        Where to cut: a name (in nested models "outer/inner", or "inner" where only one layer has
        that name), an index into `model.layers` (negative ones count from the end), or the layer
        itself. A nested model stands for its output.

    Returns
    -------
    split
        The flat model, g and h.

    Raises
    ------
    TypeError
        If `model` is no Keras model or a subclassed one, or `layer` of another type.
    ValueError
        If `model` is not built or has several inputs or outputs, or if `layer` is not in it, is
        ambiguous, is called more than once, has several outputs, is the input or the output, or
        is bypassed by other branches.
    """
    with BUILDING:
        graph = flat_graph(model, "model")
    call = find_cut(graph, model, layer)
    flat, (latent,) = graph.model, call.outputs
    first = keras.Model(flat.inputs[0], latent, name=f"{flat.name}_to_{call.name}")
    second = keras.Model(latent, flat.outputs[0], name=f"{flat.name}_from_{call.name}")
    return Split(flat, first, second, call.name)


def join_models(input_to_latent: keras.Model, latent_to_logit: keras.Model) -> Split:
    """
    The split whose parts are given: for users who cut their model themselves.

    Parameters
    ----------
    input_to_latent
        g: one input, one output. A built subclassed model is taken as one layer.
    latent_to_logit
        h: takes what g gives.

    Returns
    -------
    split
        g, h and the flat model h(g(x)). Its `layer` is the one that ends g, or an Identity layer
        after it where that one is called again by h.

    Raises
    ------
    TypeError
        If one is no Keras model, or is subclassed and cannot be called as a layer.
    ValueError
        If one is not built or has several inputs or outputs, or if h cannot take what g gives.
    """
    with BUILDING:
        first = graph_of_part(input_to_latent, "input_to_latent")
        latent = first.model.outputs[0]
        second = graph_of_part(latent_to_logit, "latent_to_logit", latent)
    expected = second.model.inputs[0]
    pairs = zip(latent.shape[1:], expected.shape[1:], strict=False)
    if len(latent.shape) != len(expected.shape) or any(
        None not in pair and pair[0] != pair[1] for pair in pairs
    ):
        raise ValueError(
            f"latent_to_logit {latent_to_logit.name!r} takes {tuple(expected.shape)}, but "
            f"input_to_latent {input_to_latent.name!r} gives {tuple(latent.shape)}. Cut both at "
            "the same layer."
        )
    with BUILDING:
        graph, cut = _chain(first, second)
    name = cut._keras_history.operation.name
    return Split(graph.model, first.model, second.model, name)


def _chain(first: Graph, second: Graph) -> tuple[Graph, keras.KerasTensor]:
    """second(first(x)) on the tensors of `first`, and the tensor between, which can be cut at."""
    replay = Replay(first)
    cut = first.model.outputs[0]
    last = first.calls[-1]
    times = sum(call.operation is last.operation for call in (*first.calls, *second.calls))
    if times > 1 or not last.inputs or len(last.outputs) > 1:
        (cut,) = replay.call(keras.layers.Identity(name="latent"), (cut,), {}, ("latent",))
    (output,) = replay.run(second.model, [cut])
    if output is cut:
        (output,) = replay.call(keras.layers.Identity(name="output"), (cut,), {}, ("output",))
    name = f"{first.model.name}_{second.model.name}"
    return replay.finish(keras.Model(first.model.inputs[0], output, name=name)), cut
