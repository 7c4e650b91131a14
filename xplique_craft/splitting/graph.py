"""
A flat view of a Keras model: one list of calls that leads from one input to one output.

Models that are layers of another model are opened, so that every operation of the whole is one
`Call`, and every tensor between two of them belongs to one model, `Graph.model`. Weights are
shared: operations are called again where needed, never copied.

A call is a *cut* when all that comes after it depends on the input through its output alone.
In topological order that is: no tensor made before the call is used after it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.models.functional import Functional  # no public name; needed to see the graph

from .._once import BUILDING

IMAGES = 1009  # a prime: where so many images go in, no other axis comes out as long


@dataclass(frozen=True)
class Place:
    """
    Where an operation, or a nested model as a whole, stands in a model.

    Parameters
    ----------
    path
        Names of the nested models it is in, outermost first, then its own name.
    operation
        The layer, raw operation or nested model, the user's own object.
    outputs
        The tensors of the flat model that it gives.
    """

    path: tuple[str, ...]
    operation: keras.Operation
    outputs: tuple[keras.KerasTensor, ...]


@dataclass(frozen=True)
class Call(Place):
    """
    One call of an operation in a flat model.

    Parameters
    ----------
    path, operation, outputs
        Where the call stands, what is called and what it gives, see `Place`.
    name
        Name of the operation in the flat model.
    args, kwargs
        What it was called with, tensors of the flat model included.
    inputs
        The tensors among `args` and `kwargs`; none for the input layer.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[keras.KerasTensor, ...]


@dataclass(frozen=True)
class Graph:
    """
    A model without nested models, and its calls.

    Parameters
    ----------
    model
        The flat model; the user's own object where that was flat already.
    calls
        All calls of the model in topological order, from the input layer to the output.
    nested
        The nested models that were opened.
    """

    model: keras.Model
    calls: tuple[Call, ...]
    nested: tuple[Place, ...] = ()


@keras.saving.register_keras_serializable(package="xplique_craft")
class RenamedLayer(keras.layers.Wrapper):
    """A layer (shared, not copied) under another name, where two of one name meet in a model."""

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.autocast = False  # the inner layer converts its inputs itself
        self.supports_masking = layer.supports_masking

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer."""
        return self.layer(*args, **kwargs)


def has_graph(model: object) -> bool:
    """Whether the model is a built Functional or Sequential that runs nothing but its graph."""
    if isinstance(model, keras.Sequential):
        return type(model).call is keras.Sequential.call and hasattr(model, "inputs")
    return isinstance(model, Functional) and type(model).call is Functional.call


def is_flat(model: keras.Model) -> bool:
    """Whether no layer of the model is a model that can be opened."""
    return all(_opened_inputs(node) is None for node in _nodes_of(model))


def calls_of(model: keras.Model) -> tuple[Call, ...]:
    """Calls of a model that has a graph, in topological order, nested models left closed."""
    return Replay().finish(model).calls


def cut_calls(calls: Sequence[Call]) -> list[int]:
    """Positions of the calls that a graph can be cut after, input and output left out."""
    last_use = {id(t): position for position, call in enumerate(calls) for t in call.inputs}
    positions, open_until = [], -1
    for position, call in enumerate(calls[:-1]):
        if call.inputs and len(call.outputs) == 1 and open_until <= position:
            positions.append(position)
        open_until = max([open_until, *(last_use.get(id(t), -1) for t in call.outputs)])
    return positions


def keeps_images(call: Call) -> bool:
    """
    Whether the first axis of what a raw operation gives is that of the images, as it was.

    Windows of attention, and the patches of hybrids, are often laid along it by a reshape.
    """
    args, kwargs = keras.tree.map_structure(
        lambda x: _of_images(x) if isinstance(x, keras.KerasTensor) else x, (call.args, call.kwargs)
    )
    try:
        output = call.operation.compute_output_spec(*args, **kwargs)
    except Exception:  # so many images cannot be laid out like that: its rows are something else
        return False
    return tuple(output.shape[:1]) == (IMAGES,)


def rows_of_images(model: keras.Model, tensors: Sequence[keras.KerasTensor]) -> list[float]:
    """How many rows each image has in tensors of a flat model; 1 where that is not known."""
    first = model.inputs[0]
    try:
        shapes = keras.Model(first, list(tensors)).compute_output_shape((IMAGES, *first.shape[1:]))
    except Exception:  # whatever a layer of the user's raises that wants any number of images
        return [1.0] * len(tensors)
    return [1.0 if shape[0] is None else shape[0] / IMAGES for shape in shapes]


def _of_images(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.KerasTensor((IMAGES, *tensor.shape[1:]), tensor.dtype)


def call_unnoticed(layer: keras.layers.Layer, tensor: keras.KerasTensor) -> keras.KerasTensor:
    """
    Call a layer of ours on a tensor of the user's model, which then knows nothing of it.

    Keras notes it with the layer that the tensor comes from, and so would keep ours for as long as
    the user's model is there. Nothing reads these notes: models are followed from their outputs.
    """
    with BUILDING:
        output = layer(tensor)
        noted = tensor._keras_history.operation._outbound_nodes
        noted[:] = [node for node in noted if node.operation is not layer]
    return output


class Replay:
    """Calls operations again, remembers where each came from, keeps their names apart."""

    def __init__(self, start: Graph | None = None) -> None:
        self._origins: dict[int, tuple[tuple[str, ...], keras.Operation]] = {}
        self._nested: list[Place] = []
        self._taken: dict[str, keras.Operation] = {}
        self._renamed: dict[int, keras.Operation] = {}
        if start is not None:
            self._nested.extend(start.nested)
            for node, call in zip(_nodes_of(start.model), start.calls, strict=True):
                self._taken[call.name] = node.operation
                self._origins[id(call.outputs[0])] = (call.path, call.operation)

    def graph_of(self, model: keras.Model) -> Graph:
        """All operations of a model on a new input, nested models opened."""
        old = model.inputs[0]
        layer = old._keras_history.operation
        new = keras.Input(batch_shape=old.shape, dtype=old.dtype, name=layer.name)
        self._taken[layer.name] = new._keras_history.operation
        self._origins[id(new)] = ((layer.name,), layer)
        return self.finish(keras.Model(new, self.run(model, [new])[0], name=model.name))

    def run(
        self,
        model: keras.Model,
        tensors: Sequence[keras.KerasTensor],
        path: tuple[str, ...] = (),
        training: bool | None = None,
    ) -> list[keras.KerasTensor]:
        """Outputs of a model's operations on other tensors; `training` overrides theirs."""
        values = {}
        for reference, tensor in zip(model.inputs, tensors, strict=True):
            if tensor.dtype != reference.dtype:  # a nested model converts its inputs: so do we
                cast = keras.layers.Rescaling(1.0, dtype=reference.dtype, name=f"{model.name}_cast")
                tensor = self.call(cast, (tensor,), {}, (*path, cast.name))[0]
            values[id(reference)] = tensor
        for node in _nodes_of(model):
            if node.is_input:
                continue
            opened = _opened_inputs(node)
            args, kwargs = node.arguments.fill_in(values)
            operation, where = node.operation, (*path, node.operation.name)
            if training is not None and getattr(operation, "_call_has_training_arg", False):
                kwargs["training"] = training
            if opened is None:
                outputs = self.call(operation, args, kwargs, where)
            else:
                inner = [values[id(tensor)] for tensor in opened]
                outputs = self.run(operation, inner, where, kwargs.get("training"))
                self._nested.append(Place(where, operation, tuple(outputs)))
            values.update(zip(map(id, node.outputs), outputs, strict=True))
        return [values[id(tensor)] for tensor in model.outputs]

    def call(
        self,
        operation: keras.Operation,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        path: tuple[str, ...],
    ) -> list[keras.KerasTensor]:
        """Outputs of one operation, called under a name that no other has."""
        outputs = keras.tree.flatten(self._named(operation, path)(*args, **kwargs))
        self._origins[id(outputs[0])] = (path, unwrap(operation))
        return outputs

    def finish(self, model: keras.Model) -> Graph:
        """The graph of a flat model, each call with the place it came from."""
        calls = []
        for node in _nodes_of(model):
            operation = node.operation
            own = ((operation.name,), unwrap(operation))
            path, original = self._origins.get(id(node.outputs[0]), own)
            calls.append(
                Call(
                    path=path,
                    operation=original,
                    outputs=tuple(node.outputs),
                    name=operation.name,
                    args=tuple(node.arguments.args),
                    kwargs=dict(node.arguments.kwargs),
                    inputs=tuple(node.input_tensors),
                )
            )
        used = {id(tensor) for call in calls for tensor in call.outputs}
        nested = [place for place in self._nested if not used.isdisjoint(map(id, place.outputs))]
        return Graph(model, tuple(calls), tuple(nested))

    def _named(self, operation: keras.Operation, path: tuple[str, ...]) -> keras.Operation:
        if id(operation) in self._renamed:
            return self._renamed[id(operation)]
        if self._taken.setdefault(operation.name, operation) is operation:
            return operation
        base = name = "_".join(path)
        number = 1
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        renamed: keras.Operation
        if isinstance(operation, keras.layers.Layer):
            renamed = RenamedLayer(unwrap(operation), name=name)
        else:  # raw operations hold no weights
            renamed = copy.copy(operation)
            renamed.name, renamed._inbound_nodes, renamed._outbound_nodes = name, [], []
        self._taken[name] = self._renamed[id(operation)] = renamed
        return renamed


def _nodes_of(model: keras.Model) -> list[Any]:
    """Keras nodes that a model's outputs depend on, in topological order."""
    ordered: list[Any] = []
    done: set[int] = set()
    stack = [(_node_of(tensor), False) for tensor in reversed(model.outputs)]
    while stack:
        node, parents_done = stack.pop()
        if id(node) in done:
            continue
        if parents_done:
            done.add(id(node))
            ordered.append(node)
        else:
            stack.append((node, True))
            stack.extend((_node_of(tensor), False) for tensor in reversed(node.input_tensors))
    return ordered


def _node_of(tensor: keras.KerasTensor) -> Any:
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def _opened_inputs(node: Any) -> list[keras.KerasTensor] | None:
    """The tensors that a nested model is called on; None where the operation stays as it is."""
    model, args = node.operation, node.arguments.args
    kwargs = {k: v for k, v in node.arguments.kwargs.items() if k != "training" and v is not None}
    if not has_graph(model) or kwargs or len(args) != 1:
        return None
    tensors = keras.tree.flatten(args[0])
    if len(tensors) != len(model.inputs):
        return None
    if len(tensors) > 1 and not all(isinstance(x, list | tuple) for x in (args[0], model.input)):
        return None
    for tensor, reference in zip(tensors, model.inputs, strict=True):
        converts = tensor.dtype != reference.dtype and "float" not in reference.dtype
        if converts or len(tensor.shape) != len(reference.shape):
            return None
    return tensors


def unwrap(operation: keras.Operation) -> keras.Operation:
    return operation.layer if type(operation) is RenamedLayer else operation
