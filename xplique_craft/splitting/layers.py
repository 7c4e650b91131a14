"""
Places that a flat graph can be cut at: all of them, the one to begin with, and the one that people
mean by a layer.

Where a layer is none, the error says which layers are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from .._checks import listing, nearest
from ..results import Estimate
from .graph import Call, Graph, Place, cut_calls, rows_of_images, unwrap
from .structure import is_affine_call, non_negative_tensors
from .tokens import number_of_special_tokens

ENOUGH = 0.5  # of the score must still flow through patches where one begins
_NAMED_IN_ERRORS = 5


@dataclass(frozen=True)
class Candidate:
    """
    A layer that a model can be cut at.

    Parameters
    ----------
    name
        By this name `split_model` cuts here; "outer/inner" in nested models.
    shape
        The shape of one image's activations there: (h, w, c), (t, c) or (c,); None where a size
        varies from input to input.
    non_negative
        True if its output is known to be >= 0, as NMF needs.
    affine_head
        True if all that follows is known to be affine, so that importances have closed forms.
    special_tokens
        How many of the first tokens belong to no place of the image, as a class token does: they
        are no part of concepts. 0 where there are none, or where sizes are not known.
    share_through_patches
        How much of the score still flows through patches after this layer: what goes of it when
        they become those of a blank image, and special tokens stay as they are. High is good for
        concepts, which are of patches. 1 where all activations have a place, for then nothing else
        leads on; None where none has, or no images were given.
    share_of_patches_alone
        How much of the score there still is when special tokens become those of a blank image, and
        patches stay as they are: what patches say to the end without them. 1 and None as above.
    recommended
        Whether this is the layer to begin with, see `recommended_layer`; None where no images were
        given.
    """

    name: str
    shape: tuple[int | None, ...]
    non_negative: bool
    affine_head: bool
    special_tokens: int = 0
    share_through_patches: Estimate | None = None
    share_of_patches_alone: Estimate | None = None
    recommended: bool | None = None

    @property
    def has_positions(self) -> bool:
        """Whether its activations lie at several places of the image."""
        return any(side != 1 for side in self.shape[:-1])

    @property
    def patches_matter(self) -> bool:
        """Whether at least half of the score is known to flow through what has a place."""
        share = self.share_through_patches
        return self.special_tokens == 0 or (share is not None and share.value >= ENOUGH)


def candidates_of(graph: Graph) -> list[Candidate]:
    """Places that a flat graph can be cut at, from the input to the output."""
    calls = graph.calls
    non_negative = non_negative_tensors(calls)
    affine_from = len(calls)
    while affine_from > 0 and is_affine_call(calls[affine_from - 1]):
        affine_from -= 1
    times = Counter(id(call.operation) for call in calls)
    image = tuple(graph.model.input_shape[1:])
    found = []
    cuts = cut_calls(calls)
    rows = rows_of_images(graph.model, [calls[position].outputs[0] for position in cuts])
    for position, each in zip(cuts, rows, strict=True):
        call = calls[position]
        (latent,) = call.outputs
        usable = len(latent.shape) in (2, 3, 4) and "float" in latent.dtype and each == 1.0
        if usable and times[id(call.operation)] == 1:
            found.append(
                Candidate(
                    name="/".join(call.path),
                    shape=tuple(latent.shape[1:]),
                    non_negative=id(latent) in non_negative,
                    affine_head=position + 1 >= affine_from,
                    special_tokens=number_of_special_tokens(latent.shape[1:], image),
                )
            )
    return found


def recommended_layer(
    candidates: Sequence[Candidate], classes: int, *, signed: bool = False
) -> Candidate | None:
    """
    The layer to begin with: late, so that concepts are of whole things, but not too late.

    It is the last candidate that

    - has several positions, so that concepts have places;
    - has not as many channels as the model has classes: these would be the classes' own maps, in
      which there are no parts left to find;
    - is non-negative, as NMF needs it. With `signed` it need not be in models with special tokens
      (a class token, registers), nor in others where no such layer is;
    - has no special tokens, or at least half of the score (`ENOUGH`) still flows through its
      patches. A layer of which that is not known is passed over, and where it is known of none,
      none is recommended: layers before the special tokens join would be all that is left.

    Parameters
    ----------
    candidates
        In the order of the model.
    classes
        How many outputs the model has.
    signed
        Whether concepts are found in a way that takes signed activations.

    Returns
    -------
    candidate
        None where there is none.
    """
    shares = [one.share_through_patches for one in candidates if one.special_tokens]
    if shares and all(share is None or np.isnan(share.value) for share in shares):
        return None
    placed = [
        candidate
        for candidate in candidates
        if candidate.has_positions and candidate.shape[-1] != classes and candidate.patches_matter
    ]
    fitting = [candidate for candidate in placed if candidate.non_negative]
    if signed and (not fitting or any(candidate.special_tokens for candidate in candidates)):
        fitting = placed
    return fitting[-1] if fitting else None


def find_cut(graph: Graph, model: keras.Model, layer: str | int | keras.layers.Layer) -> Call:
    """
    The call of a flat graph whose output is that of a layer of the model.

    Parameters
    ----------
    graph
        The flat view of the model.
    model
        The user's own model, in whose `layers` an index counts.
    layer
        Where to cut, in any form that `split_model` takes.

    Raises
    ------
    TypeError, ValueError
        If there is no such layer or more than one, or if the graph cannot be cut there.
    """
    place = _place_of(graph, model, layer)
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
    made = [any(tensor is latent for tensor in call.outputs) for call in graph.calls]
    position = made.index(True)
    cuts = cut_calls(graph.calls)
    if position not in cuts:
        around = [i for i in cuts if i < position][-1:] + [i for i in cuts if i > position][:1]
        instead = [repr("/".join(graph.calls[i].path)) for i in around]
        bypass = listing(_bypasses(graph, latent), _NAMED_IN_ERRORS)
        raise ValueError(
            f"layer {label!r} is not a cut of {graph.model.name!r}: the output also depends on "
            f"{bypass} by a way around it. Choose a layer that every branch goes through"
            f"{', as ' + ' or '.join(instead) if instead else ''}."
        )
    (rows,) = rows_of_images(graph.model, [latent])
    if rows != 1.0:
        raise ValueError(
            f"layer {label!r} has {rows:g} rows of activations for each image, which stand among "
            "those of other images, as windows of attention do; concepts need one row for each. "
            f"Choose a layer before or after.{_advice(graph)}"
        )
    return graph.calls[position]


def _place_of(graph: Graph, model: keras.Model, layer: str | int | keras.layers.Layer) -> Place:
    """The one place of a layer, or an error that says why there is none or more than one."""
    places = (*graph.calls, *graph.nested)
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
    places: tuple[Place, ...] = (*graph.calls, *graph.nested)
    exact = [place for place in places if place.path == wanted]
    ending = [place for place in places if place.path[-len(wanted) :] == wanted]
    return exact or ending or [call for call in graph.calls if call.name == name]


def _bypasses(graph: Graph, latent: keras.KerasTensor) -> list[str]:
    """Names of the layers whose outputs meet what comes after `latent` without passing by it."""
    after, names = {id(latent)}, dict[str, None]()
    for call in graph.calls:
        others = [tensor for tensor in call.inputs if id(tensor) not in after]
        if len(others) < len(call.inputs):
            names.update({tensor._keras_history.operation.name: None for tensor in others})
            after.update(map(id, call.outputs))
    return list(names)


def _similar(places: tuple[Place, ...], name: str) -> str:
    paths = ["/".join(place.path) for place in places]
    suggestion = nearest(name, dict.fromkeys([*paths, *(place.path[-1] for place in places)]))
    return f" {suggestion}" if suggestion else ""


def _advice(graph: Graph) -> str:
    names = [candidate.name for candidate in candidates_of(graph)]
    if not names:
        return " This model has no layer that it can be cut at."
    return (
        f" It can be cut at {listing(names[-_NAMED_IN_ERRORS:])}"
        f"{' (candidate_layers lists all)' if len(names) > _NAMED_IN_ERRORS else ''}."
    )
