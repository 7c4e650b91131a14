"""
Splitting: a model and one of its layers give g and h, with h(g(x)) the model itself.

The latent A = g(x) is the layer's output. It must be a cut of the model's graph: all that h
computes depends on the image through A alone. Nothing is copied: g, h and the model share their
layers and weights.
"""

from dataclasses import dataclass
from functools import cached_property

import keras

from .._checks import listing, nearest
from .graph import Call, Graph, Place, Replay, cut_calls, has_graph, is_flat, unwrap
from .network import Network
from .structure import is_affine_call, non_negative_tensors

__all__ = ["Candidate", "Split", "candidate_layers", "join_models", "split_model"]

_NAMED_IN_ERRORS = 5


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
        Name of the layer in `model`: `split_model(model, layer)` gives this split again, of a
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


@dataclass(frozen=True)
class Candidate:
    """
    A layer that a model can be cut at.

    Parameters
    ----------
    name
        What `split_model` takes; "outer/inner" in nested models.
    shape
        Shape of its output without the batch: (h, w, c), (t, c) or (c,); None where it varies.
    non_negative
        True if its output is known to be >= 0, as NMF needs.
    affine_head
        True if all that follows is known to be affine, so that importances have closed forms.
    """

    name: str
    shape: tuple[int | None, ...]
    non_negative: bool
    affine_head: bool


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
    graph = _flatten(model, "model")
    place = _find(graph, model, layer)
    return _cut(graph, _checked_cut(graph, place))


def candidate_layers(model: keras.Model) -> list[Candidate]:
    """
    Layers that a model can be cut at, from the input to the output.

    Parameters
    ----------
    model
        Functional or built Sequential model with one input and one output.

    Returns
    -------
    candidates
        Cuts whose output is one float tensor (n, h, w, c), (n, t, c) or (n, c).

    Raises
    ------
    TypeError, ValueError
        As `split_model` for its `model`.
    """
    return _candidates(_flatten(model, "model"))


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
    first = _as_graph(input_to_latent, "input_to_latent")
    latent = first.model.outputs[0]
    second = _as_graph(latent_to_logit, "latent_to_logit", latent)
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
    graph, cut = _chain(first, second)
    name = cut._keras_history.operation.name
    return Split(graph.model, first.model, second.model, name)


def _cut(graph: Graph, step: Call) -> Split:
    flat, (latent,) = graph.model, step.outputs
    first = keras.Model(flat.inputs[0], latent, name=f"{flat.name}_to_{step.name}")
    second = keras.Model(latent, flat.outputs[0], name=f"{flat.name}_from_{step.name}")
    return Split(flat, first, second, step.name)


def _candidates(graph: Graph) -> list[Candidate]:
    steps = graph.steps
    non_negative = non_negative_tensors(steps)
    affine_from = len(steps)
    while affine_from > 0 and is_affine_call(steps[affine_from - 1]):
        affine_from -= 1
    calls: dict[int, int] = {}
    for step in steps:
        calls[id(step.operation)] = calls.get(id(step.operation), 0) + 1
    found = []
    for position in cut_calls(steps):
        step = steps[position]
        (latent,) = step.outputs
        usable = len(latent.shape) in (2, 3, 4) and "float" in latent.dtype
        if usable and calls[id(step.operation)] == 1:
            found.append(
                Candidate(
                    name="/".join(step.path),
                    shape=tuple(latent.shape[1:]),
                    non_negative=id(latent) in non_negative,
                    affine_head=position + 1 >= affine_from,
                )
            )
    return found


def _flatten(model: keras.Model, argument: str) -> Graph:
    """Flat view of a model that has a graph with one input and one output, or an error."""
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


def _as_graph(model: keras.Model, argument: str, example: keras.KerasTensor | None = None) -> Graph:
    """Flat view of any built model; a subclassed one is one step, on inputs like `example`."""
    subclassed = isinstance(model, keras.Model) and not isinstance(model, keras.Sequential)
    if has_graph(model) or not subclassed:
        return _flatten(model, argument)
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


def _chain(first: Graph, second: Graph) -> tuple[Graph, keras.KerasTensor]:
    """second(first(x)) on the tensors of `first`, and the tensor between, which can be cut at."""
    replay = Replay(first)
    cut = first.model.outputs[0]
    last = first.steps[-1]
    calls = sum(step.operation is last.operation for step in (*first.steps, *second.steps))
    if calls > 1 or not last.inputs or len(last.outputs) > 1:
        (cut,) = replay.call(keras.layers.Identity(name="latent"), (cut,), {}, ("latent",))
    (output,) = replay.run(second.model, [cut])
    if output is cut:
        (output,) = replay.call(keras.layers.Identity(name="output"), (cut,), {}, ("output",))
    name = f"{first.model.name}_{second.model.name}"
    return replay.finish(keras.Model(first.model.inputs[0], output, name=name)), cut


def _find(graph: Graph, model: keras.Model, layer: str | int | keras.layers.Layer) -> Place:
    """The one place of a layer, or an error that says why there is none or more than one."""
    places = (*graph.steps, *graph.nested)
    if isinstance(layer, str):
        found = _places_named(graph, layer)
        label = f"layer {layer!r}"
        missing = f"{label} is not in {model.name!r}.{_similar(places, layer)}"
    elif isinstance(layer, int) and not isinstance(layer, bool):
        count = len(model.layers)
        if not -count <= layer < count:
            raise ValueError(
                f"layer index {layer} is out of range: {model.name!r} has {count} layers, "
                f"{-count} to {count - 1}.{_advice(graph)}"
            )
        operation = model.layers[layer]
        found = [place for place in places if place.operation is unwrap(operation)]
        label = f"layer {layer} ({operation.name!r})"
        missing = f"{label} is not between input and output of {model.name!r}."
    elif isinstance(layer, keras.Operation):
        found = [place for place in places if place.operation is unwrap(layer)]
        label = f"layer {layer.name!r}"
        missing = f"{label} is not one of the layers of {model.name!r}: give its own layer object."
    else:
        raise TypeError(
            "layer must be a name, an index into model.layers or a layer of the model; received "
            f"{layer!r} ({type(layer).__name__})."
        )
    if not found:
        raise ValueError(missing + _advice(graph))
    if any(place.operation is not found[0].operation for place in found):
        paths = ", ".join(repr("/".join(place.path)) for place in found)
        raise ValueError(f"{label} is the name of several layers: choose one of {paths}.")
    if len(found) > 1:
        raise ValueError(
            f"{label} is called {len(found)} times in {model.name!r}: which call to cut at is not "
            f"known. Choose a layer that is called once.{_advice(graph)}"
        )
    return found[0]


def _places_named(graph: Graph, name: str) -> list[Place]:
    """Places of that path; else of a path that ends so; else of that name in the flat model."""
    wanted = tuple(name.split("/"))
    places: tuple[Place, ...] = (*graph.steps, *graph.nested)
    exact = [place for place in places if place.path == wanted]
    ending = [place for place in places if place.path[-len(wanted) :] == wanted]
    return exact or ending or [step for step in graph.steps if step.name == name]


def _checked_cut(graph: Graph, place: Place) -> Call:
    """The step that makes a place's output, if the graph can be cut there, or an error."""
    label = "/".join(place.path)
    if len(place.outputs) != 1:
        raise ValueError(
            f"layer {label!r} has {len(place.outputs)} outputs; a cut needs a layer with one."
            + _advice(graph)
        )
    (latent,) = place.outputs
    if latent is graph.model.inputs[0]:
        raise ValueError(
            f"layer {label!r} is the model's input: nothing would be left for g, and the concepts "
            f"would be pixels. Choose a later layer.{_advice(graph)}"
        )
    if latent is graph.model.outputs[0]:
        raise ValueError(
            f"layer {label!r} is the model's output: nothing would be left for h. Choose an "
            f"earlier layer.{_advice(graph)}"
        )
    made = [[id(tensor) for tensor in step.outputs] for step in graph.steps]
    position = next(i for i, outputs in enumerate(made) if id(latent) in outputs)
    cuts = cut_calls(graph.steps)
    if position not in cuts:
        around = [max((i for i in cuts if i < position), default=None)]
        around.append(min((i for i in cuts if i > position), default=None))
        nearest = [repr("/".join(graph.steps[i].path)) for i in around if i is not None]
        bypass = listing(_bypasses(graph, latent), _NAMED_IN_ERRORS)
        raise ValueError(
            f"layer {label!r} is not a cut of {graph.model.name!r}: the output also depends on "
            f"{bypass} by a way around it. Choose a layer that every branch goes through"
            f"{', as ' + ' or '.join(nearest) if nearest else ''}."
        )
    return graph.steps[position]


def _bypasses(graph: Graph, latent: keras.KerasTensor) -> list[str]:
    """Names of the layers whose outputs meet what comes after `latent` without passing by it."""
    after, names = {id(latent)}, dict[str, None]()
    for step in graph.steps:
        others = [tensor for tensor in step.inputs if id(tensor) not in after]
        if len(others) < len(step.inputs):
            names.update({tensor._keras_history.operation.name: None for tensor in others})
            after.update(map(id, step.outputs))
    return list(names)


def _similar(places: tuple[Place, ...], name: str) -> str:
    paths = ["/".join(place.path) for place in places]
    suggestion = nearest(name, dict.fromkeys([*paths, *(place.path[-1] for place in places)]))
    return f" {suggestion}" if suggestion else ""


def _advice(graph: Graph) -> str:
    names = [candidate.name for candidate in _candidates(graph)]
    if not names:
        return " This model has no layer that it can be cut at."
    return (
        f" It can be cut at {listing(names[-_NAMED_IN_ERRORS:])}"
        f"{' (candidate_layers lists all)' if len(names) > _NAMED_IN_ERRORS else ''}."
    )
