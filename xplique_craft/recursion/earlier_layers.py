"""
Earlier layers: which there are, and which one a concept is taken apart at where none is named.

The rule counts layers of weights along the longest way. The nearest layer with at least three times
as many positions (one stride of 2 makes it four times, a little less where it rounds up) is taken,
for there things are told apart by where they are, too; but only if two to eight layers of weights
lie between: after fewer nothing has changed, after more the children explain little, for a network
bends too much on so long a way. Where there is none, as among tokens, the nearest one with four
layers of weights between (a transformer's block, two of a residual network's), or else the farthest
with any.
"""

import keras
import numpy as np

from .._checks import listing
from ..results import BranchState
from ..splitting.graph import calls_of
from ..splitting.layers import Candidate
from ..splitting.split import Split, split_model
from ..where_to_cut import candidate_layers

FINER = 3  # times as many positions: a stride of 2 that makes 14 rows of 27 gives 3.7
FEWEST_FINER, MOST_FINER, BLOCK = 2, 8, 4  # layers of weights between


class CannotDecompose(ValueError):
    """
    A concept cannot be taken apart: too few crops hold it, or there is no layer for it. `state` is
    what a tree says of a concept that is left whole for it.
    """

    def __init__(self, message: str, state: BranchState) -> None:
        super().__init__(message)
        self.state = state


def _order(split: Split) -> dict[str, int]:
    return {step.name: place for place, step in enumerate(calls_of(split.model))}


def earlier_layers(split: Split) -> list[Candidate]:
    """Layers before that of a split at which its model can be cut, from the input on."""
    order = _order(split)
    here = order[split.layer]
    return [found for found in candidate_layers(split.model) if order[found.name] < here]


def earlier_layer(split: Split, layer: str | int | keras.layers.Layer) -> str:
    """
    Name of a layer that must be earlier than that of a split.

    Raises
    ------
    TypeError, ValueError
        If the model cannot be cut there (see `split_model`), or if it is not earlier.
    """
    name = split_model(split.model, layer).layer
    order = _order(split)
    if order[name] >= order[split.layer]:
        found = [candidate.name for candidate in earlier_layers(split)]
        choice = f"choose one of {listing(found[::-1])}" if found else "there is none"
        raise ValueError(
            f"layer must come before {split.layer!r}, the layer of the concept that is taken "
            f"apart, received {name!r}: {choice}."
        )
    return name


def default_layer(split: Split, image_shape: tuple[int, ...], *, non_negative: bool) -> str:
    """
    The earlier layer at which concepts are taken apart where none is named, by its name.

    Parameters
    ----------
    split
        The model, cut at the layer of the concept.
    image_shape
        (H, W, channels) of an image.
    non_negative
        Whether only layers known to be >= 0 will do, as for NMF.

    Raises
    ------
    CannotDecompose
        If there is none.
    """
    every = earlier_layers(split)
    usable = [found for found in every if found.non_negative or not non_negative]
    positions = _positions(split.model, [*[c.name for c in usable], split.layer], image_shape)
    between = _weights_between(split)
    finer = [
        found
        for found in usable
        if positions[found.name] >= FINER * positions[split.layer]
        and FEWEST_FINER <= between[found.name] <= MOST_FINER
    ]
    blocks = [found for found in usable if between[found.name] >= BLOCK]
    farthest = [found for found in usable if between[found.name] > 0][:1]
    choice = finer or blocks or farthest
    if choice:
        return choice[-1].name
    others = [found.name for found in every]
    remedy = "Take concepts apart that were found at a later layer."
    if others and non_negative and not usable:
        remedy = (
            "None of the earlier ones is known to be non-negative, as NMF needs: name one "
            f"({listing(others[::-1])}), or give factorizer='signed-nmf'."
        )
    elif others:
        remedy = f"Name one of {listing(others[::-1])} if it will do."
    raise CannotDecompose(
        f"layer must be named: between {split.layer!r} and what comes before it there is no layer "
        f"of weights. {remedy}",
        BranchState.NO_EARLIER_LAYER,
    )


def _weights_between(split: Split) -> dict[str, int]:
    """Layers of weights on the longest way from the output of each layer to that of the split."""
    depths: dict[int, int] = {}
    by_name: dict[str, int] = {}
    for step in calls_of(split.model):
        weights = getattr(step.operation, "weights", [])
        own = int(any(len(weight.shape) > 1 for weight in weights))
        depth = own + max((depths[id(tensor)] for tensor in step.inputs), default=0)
        depths.update((id(tensor), depth) for tensor in step.outputs)
        by_name[step.name] = depth
    return {name: by_name[split.layer] - depth for name, depth in by_name.items()}


def _positions(
    model: keras.Model, names: list[str], image_shape: tuple[int, ...]
) -> dict[str, int]:
    """How many positions the activations of some layers have, for images of that shape."""
    outputs = {step.name: step.outputs[0] for step in calls_of(model)}
    tensors = [outputs[name] for name in names]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if any(None in shape[1:] for shape in shapes):
        of_all = keras.Model(model.inputs[0], tensors).compute_output_shape((1, *image_shape))
        shapes = [tuple(shape) for shape in of_all]
    return {name: int(np.prod(shape[1:-1])) for name, shape in zip(names, shapes, strict=True)}
