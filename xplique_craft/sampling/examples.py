"""
The crops that show a concept best, found among many windows without running g on each.

A window is ranked by the mean of the concept's coefficients over the part of the whole image's
activations that it covers: of each image the best window, of each concept the images whose window
is best. Only these few are cut out and go through g, whose coefficients then decide.
"""

import numpy as np
import tensorflow as tf

from .._compiled import compile_function
from ..factorization import Factorized
from ..splitting.network import Network
from ..splitting.tokens import grid_of
from .crops import IMAGE_WINDOWS, Windows
from .rows import CropRows, pool, without_special
from .stream import Stream

EXAMPLES = 12  # of each concept, as many as a card has room for
PASSES = 4  # through g, for each image, that examples may cost in all


def examples_for_each(number_of_images: int, number_of_concepts: int) -> int:
    """How many windows of each concept go through g."""
    return min(EXAMPLES, number_of_images, PASSES * number_of_images // number_of_concepts)


class Ranking:
    """
    Windows by the coefficients of whole images, filled a batch at a time.

    Parameters
    ----------
    number
        How many windows are kept of each concept, each of another image.
    windows
        The geometry of the windows.
    """

    def __init__(self, number: int, windows: Windows = IMAGE_WINDOWS) -> None:
        self._number = number
        self._windows = windows
        self._value: np.ndarray = np.empty((0, 0), np.float32)
        self._image: np.ndarray = np.empty((0, 0), int)
        self._place: np.ndarray = np.empty((0, 0), int)
        self._places: np.ndarray = np.empty((0, 2 * windows.axes), int)

    def add(self, indices: np.ndarray, shape: tuple[int, ...], u: np.ndarray) -> None:
        """
        Coefficients u (n, h, w, k), or of patches (n, t, k), of images (n,) of (H, W, channels).
        """
        axes, k = self._windows.axes, u.shape[-1]
        grid = grid_of(u.shape[1], shape[:axes]) if u.ndim == axes + 1 == 3 else None
        if grid is not None and u.shape[1] == grid[0] * grid[1]:
            u = u.reshape(len(u), *grid, k)
        if u.ndim != axes + 2:  # not known which part of the image is which
            return
        if not len(self._places):
            self._places = self._windows.candidates(shape)
            self._covered = covered(self._places, shape[:axes], u.shape[1:-1])
            self._value = np.empty((0, k), np.float32)
            self._image = self._place = np.empty((0, k), int)
        means = np.einsum("bp,npk->nbk", self._covered, u.reshape(len(u), -1, k), optimize=True)
        place = means.argmax(axis=1)
        value = np.take_along_axis(means, place[:, None], axis=1)[:, 0]
        image = np.broadcast_to(indices[:, None], place.shape)
        every = [
            np.concatenate(pair)
            for pair in ((self._value, value), (self._image, image), (self._place, place))
        ]
        best = np.argsort(-every[0], axis=0, kind="stable")[: self._number]
        self._value, self._image, self._place = (
            np.take_along_axis(one, best, axis=0) for one in every
        )

    @property
    def boxes(self) -> np.ndarray:
        """(j, 5): image, top, left, height, width of the best windows, each once."""
        shown = self._value > 0.0
        if not shown.any():
            return np.empty((0, 1 + 2 * self._windows.axes), int)
        found = np.column_stack([self._image[shown], self._places[self._place[shown]]])
        return np.unique(found, axis=0)


def covered(places: np.ndarray, size: tuple[int, ...], cells: tuple[int, ...]) -> np.ndarray:
    """(b, cells): what share of each window lies in each cell of the activations."""
    axes = len(size)
    whole = np.ones((len(places), 1))
    for axis, (length, number) in enumerate(zip(size, cells, strict=True)):
        edges = np.arange(number + 1) * length / number
        start, reach = places[:, axis, None], places[:, axes + axis, None]
        inside = np.minimum(start + reach, edges[1:]) - np.maximum(start, edges[:-1])
        share = np.maximum(inside, 0.0) / reach
        whole = (whole[:, :, None] * share[:, None, :]).reshape(len(places), -1)
    return whole


def new_boxes(boxes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Those boxes (j, 5) that are not among the known ones (m, 5)."""
    seen = set(map(tuple, known.tolist()))
    new = [box not in seen for box in map(tuple, boxes.tolist())]
    return boxes[np.array(new, bool)]


def encode_boxes(
    stream: Stream,
    network: Network,
    factorized: Factorized,
    boxes: np.ndarray,
    windows: Windows = IMAGE_WINDOWS,
    special_tokens: int = 0,
) -> np.ndarray:
    """
    Coefficients (j, k) of parts of images, by g of each part alone.

    The first `special_tokens` tokens are left out. Parts of one size go through g together, from
    whichever image and place they are.
    """
    by_place = factorized.factorizer.crops_by_place
    width = len(factorized.bank) if by_place else network.channels
    rows = np.empty((len(boxes), width), np.float32)
    waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}

    def run(size: tuple[int, ...], shape: tuple[int, ...]) -> None:
        numbers, parts = zip(*waiting.pop(size), strict=True)
        if by_place:
            latents = network.latents(windows.to_size(tf.constant(np.stack(parts)), shape))
            found = mean_coefficients(latents, factorized, special_tokens)
        else:
            found = _pooled_parts(network, np.stack(parts), shape, windows, special_tokens)
        rows[list(numbers)] = found.numpy()

    last = int(boxes[:, 0].max(initial=-1))
    for batch in stream if len(boxes) else ():  # once, whatever the number of sizes
        shape = batch.images.shape[1:]
        inside = (boxes[:, 0] >= batch.start) & (boxes[:, 0] < batch.start + len(batch.images))
        for number in np.flatnonzero(inside).tolist():
            image, *box = boxes[number].tolist()
            size = tuple(box[windows.axes :])
            part = windows.cut(batch.images[image - batch.start], box)
            waiting.setdefault(size, []).append((number, np.array(part)))
            if len(waiting[size]) == stream.batch_size:
                run(size, shape)
        if batch.start + len(batch.images) > last:
            break
    for size in list(waiting):
        run(size, shape)
    return rows if by_place else factorized.transform(rows)


def mean_coefficients(
    activations: tf.Tensor, factorized: Factorized, special_tokens: int
) -> tf.Tensor:
    """(n, k): the mean of the coefficients at the places of activations (n, ..., c)."""
    return pool(factorized.encode(without_special(activations, special_tokens))[0])[0]


def coefficients_of_crops(
    stream: Stream,
    network: Network,
    factorized: Factorized,
    found: CropRows,
    windows: Windows = IMAGE_WINDOWS,
) -> np.ndarray:
    """
    Coefficients (m, k) of crops of the images.

    Those of factorizers that encode crops by place cost one more pass of g for each crop.
    """
    if not factorized.factorizer.crops_by_place:
        return factorized.transform(found.rows)
    return encode_boxes(stream, network, factorized, found.boxes, windows, found.special_tokens)


def _pooled_parts(
    network: Network,
    parts: np.ndarray,
    shape: tuple[int, ...],
    windows: Windows,
    special_tokens: int,
) -> tf.Tensor:
    """Pooled activations (j, c) of parts of one size, resized to the input's."""

    def pooled(parts: tf.Tensor) -> tf.Tensor:
        activations = network.activations(windows.to_size(parts, shape))
        return pool(without_special(activations, special_tokens))[0]

    key = ("parts", windows, *shape, *parts.shape[1:], special_tokens)
    signature = [tf.TensorSpec([None, *parts.shape[1:]], tf.float32)]
    made = network.shared(
        key, lambda: compile_function(pooled, signature, rows=[0], room=network.room_of_g)
    )
    return made(tf.constant(parts, tf.float32))
