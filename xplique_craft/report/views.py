"""
A picture explained: what can be laid over it, concepts and the residual, and what each adds to its
score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..plots.style import RESIDUAL_COLOR
from ..results import ImageView
from .concepts import Concept
from .pictures import Layer, jpeg_uri, layer, tag_places
from .waterfalls import Waterfall, waterfall_of

SHOWN_LAYERS = 3


@dataclass(frozen=True)
class Overlay:
    """
    A concept over a picture, or with `concept` None the residual, where it raises the score.

    `layer` is None where it is absent, `top` layers are shown.
    """

    concept: Concept | None
    layer: Layer | None
    place: tuple[float, float] | None
    top: bool


@dataclass(frozen=True)
class View:
    """
    A picture with its overlays (by rank), that of the residual (None where its places are not
    known), and its bars (None where they are not defined).
    """

    source: ImageView
    uri: str
    overlays: list[Overlay]
    residual: Overlay | None
    waterfall: Waterfall | None


def view_of(view: ImageView, concepts: Sequence[Concept], side: int, decimals: int) -> View:
    """
    One picture, at most `side` pixels long in the file; its bars have so many `decimals`, and
    `concepts` are all those of the class, by rank.
    """
    layers: dict[int | None, Layer] = {}
    if view.maps is not None:
        for one in concepts:
            found = layer(view.maps[..., one.index], one.style.color)
            if found is not None:
                layers[one.index] = found
    top = sorted(layers, key=lambda index: -abs(view.phi[index]))[:SHOWN_LAYERS]
    if view.residual_map is not None:
        found = layer(view.residual_map, RESIDUAL_COLOR)
        if found is not None:
            layers[None] = found
    places = dict(zip(layers, tag_places(layers.values()), strict=True))

    def overlay(concept: Concept | None) -> Overlay:
        index = None if concept is None else concept.index
        return Overlay(concept, layers.get(index), places.get(index), index in top)

    return View(
        view,
        jpeg_uri(view.photograph, side),
        [] if view.maps is None else [overlay(one) for one in concepts],
        None if view.residual_map is None else overlay(None),
        waterfall_of(view, decimals),
    )
