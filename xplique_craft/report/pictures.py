"""Arrays to data URIs and outlines: small files, the same bytes for the same pixels."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.ImageColor import getrgb
from skimage.measure import approximate_polygon, find_contours

from ..plots.pictures import CONTOUR_LEVEL, FAINT, WASH_OPACITY

# side of a concept's layer: maps are smooth, and the browser scales them up smoothly
LAYER_SIDE = 96
# opacities of a layer's palette: finer steps cannot be told apart and cost twice the bytes
OPACITIES = 40
# outlines are drawn in a box of this side, whatever the picture's shape
OUTLINE_SIDE = 1000
# room that a label needs, as shares of the picture
TAG_WIDTH, TAG_HEIGHT = 0.13, 0.09


@dataclass(frozen=True)
class Layer:
    """
    One concept over one photograph, a PNG with alpha.

    `outline` is an SVG path in a box of 1000 x 1000 stretched over the picture, round where the
    concept is above half of what it reaches in it; `anchors` are the places (x, y) in [0, 1] where
    its label may stand, best first.
    """

    uri: str
    outline: str
    anchors: tuple[tuple[float, float], ...]


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def fit_within(height: int, width: int, side: int) -> tuple[int, int]:
    """The size (height, width) that fits in a square of `side`; never larger than it was."""
    ratio = min(1.0, side / max(height, width))
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def jpeg_uri(pixels: np.ndarray, side: int, quality: int = 82) -> str:
    """A picture, uint8 (height, width, 3), as a JPEG data URI; at most `side` pixels long."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    height, width = fit_within(pixels.shape[0], pixels.shape[1], side)
    if (height, width) != pixels.shape[:2]:
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return _uri(image, "jpeg", quality=quality, optimize=True, progressive=True)


def layer(activation: np.ndarray, color: str) -> Layer | None:
    """
    The wash and outline of a map (H, W) in [0, 1], in the colour "#rrggbb" of its concept; what is
    below 0 is left out. None where the concept is (almost) absent.
    """
    activation = np.clip(np.nan_to_num(np.asarray(activation, dtype=np.float32)), 0.0, 1.0)
    if activation.max(initial=0.0) < FAINT:
        return None
    height, width = fit_within(activation.shape[0], activation.shape[1], LAYER_SIDE)
    small = np.asarray(
        Image.fromarray(activation).resize((width, height), Image.Resampling.BILINEAR)
    )
    levels = np.round(small * (OPACITIES - 1)).astype(np.uint8)
    image = Image.frombytes("P", (width, height), levels.tobytes())
    image.putpalette(list(getrgb(color)) * OPACITIES)
    alphas = np.round(np.linspace(0.0, 255.0 * WASH_OPACITY, OPACITIES)).astype(np.uint8)
    uri = _uri(image, "png", transparency=alphas.tobytes(), optimize=True)

    # a border of zeros closes the lines that leave the picture; +0.5: pixel centres
    lines = find_contours(np.pad(small, 1), CONTOUR_LEVEL * float(small.max()))
    paths: list[str] = []
    row, column = np.unravel_index(int(small.argmax()), small.shape)
    anchors = [(float((column + 0.5) / width), float((row + 0.5) / height))]
    for line in sorted(lines, key=len, reverse=True):
        points = (approximate_polygon(line, tolerance=0.08) - 0.5) / (height, width)
        points = np.clip(points, 0.0, 1.0)
        anchors += [(float(x), float(y)) for y, x in points[:: max(1, len(points) // 6)]]
        corners = np.round(points[:-1] * OUTLINE_SIDE).astype(int)
        if len(corners) > 2:
            paths.append("M" + "L".join(f"{x} {y}" for y, x in corners) + "Z")
    return Layer(uri, "".join(paths), tuple(anchors))


def tag_places(layers: Iterable[Layer]) -> list[tuple[float, float]]:
    """
    Where the label of each layer stands, (x, y) in [0, 1]: at its first anchor that is clear of
    the labels before it.
    """
    places: list[tuple[float, float]] = []
    x_side, y_side = TAG_WIDTH / 2, TAG_HEIGHT / 2
    for found in layers:
        inside = [
            (min(max(x, x_side), 1 - x_side), min(max(y, y_side), 1 - y_side))
            for x, y in found.anchors
        ]
        clear = [
            (x, y)
            for x, y in inside
            if all(abs(x - s) >= TAG_WIDTH or abs(y - t) >= TAG_HEIGHT for s, t in places)
        ]
        places.append((clear or inside)[0])
    return places
