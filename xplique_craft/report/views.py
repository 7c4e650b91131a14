"""A picture explained: the concepts that can be laid over it, and what each adds to its score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..results import ImageView
from .concepts import Concept
from .pictures import Layer, jpeg_uri, layer, tag_places
from .waterfalls import Waterfall, waterfall_of

SHOWN_LAYERS = 3


@dataclass(frozen=True)
class Overlay:
    """A concept over a picture; `layer` is None where it is absent, `top` layers are shown."""

    concept: Concept
    layer: Layer | None
    place: tuple[float, float] | None
    top: bool


@dataclass(frozen=True)
class View:
    """A picture with its overlays (by rank) and its bars (None where they are not defined)."""

    source: ImageView
    uri: str
    overlays: list[Overlay]
    waterfall: Waterfall | None


def view_of(view: ImageView, concepts: Sequence[Concept], side: int, decimals: int) -> View:
    """
    One picture, at most `side` pixels long in the file; its bars have so many `decimals`, and
    `concepts` are all those of the class, by rank.
    """
    return View(
        view,
        jpeg_uri(view.photograph, side),
        [] if view.maps is None else _overlays(view.maps, view.phi, concepts),
        waterfall_of(view, decimals),
    )


def _overlays(maps: np.ndarray, phi: np.ndarray, concepts: Sequence[Concept]) -> list[Overlay]:
    found = ((one, layer(maps[:, :, one.index], one.style.color)) for one in concepts)
    layers = {one.index: shown for one, shown in found if shown is not None}
    places = dict(zip(layers, tag_places(layers.values()), strict=True))
    top = sorted(layers, key=lambda index: -abs(phi[index]))[:SHOWN_LAYERS]
    return [
        Overlay(one, layers.get(one.index), places.get(one.index), one.index in top)
        for one in concepts
    ]
