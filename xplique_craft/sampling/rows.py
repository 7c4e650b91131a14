"""
From images to the rows that a bank is fitted on: pooled activations of crops, and activations at
single positions of whole images.

One pass over the stream. Crops, activations and images are held a batch at a time; of the rows a
seeded reservoir sample of stated size is kept: every crop and every position has a random key of
its own, by seed, image and number, and the smallest keys stay. The sample does not depend on the
batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .._compiled import compile_function
from .._random import Draw, keyed_bits
from ..factorization import Factorizer
from ..splitting.network import Network
from ..splitting.tokens import number_of_special_tokens
from .crops import IMAGE_WINDOWS, Windows
from .stream import Stream

POSITIONS = 16  # of each image that are kept: more of them make no other bank, and take longer


@dataclass(frozen=True)
class CropRows:
    """
    Pooled activations of crops, and activations at positions of whole images.

    Parameters
    ----------
    boxes
        (m, 5) int: image, top, left, height, width; in the order of images and crops.
    rows
        (m, c) float32.
    positions
        (p, c) float32, drawn at random; p is 0 where activations have no positions, or none were
        wanted.
    position_images
        (p,) int: the image of each position.
    images
        How many images there were.
    predicted
        How many of them the model predicts as the class.
    channels
        How many channels the images have.
    special_tokens
        How many of the layer's first tokens belong to no place: none of the rows holds them.
    """

    boxes: np.ndarray
    rows: np.ndarray
    positions: np.ndarray
    position_images: np.ndarray
    images: int
    predicted: int
    channels: int
    special_tokens: int = 0


def crop_latents(
    network: Network,
    images: tf.Tensor,
    box: Sequence[int],
    windows: Windows = IMAGE_WINDOWS,
    special_tokens: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """
    Pooled activations of one crop of every image, resized to the size of the image.

    The box is what `windows` cut. One function is compiled for each size of crops, and kept with
    the network. The first `special_tokens` tokens are left out.

    Returns
    -------
    pooled
        (n, c): mean over positions.
    lowest
        (n, c): minimum over positions.
    """
    box = [int(number) for number in box]
    starts, lengths = box[: windows.axes], box[windows.axes :]
    shape = images.shape[1:]

    def pooled(images: tf.Tensor, *starts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        cut = windows.to_input_size(images, [*starts, *lengths])
        return pool(without_special(network.activations(cut), special_tokens))

    signature = [tf.TensorSpec([None, *shape], tf.float32)]
    signature += [tf.TensorSpec([], tf.int32)] * len(starts)
    key = (windows, special_tokens, *shape, *lengths)

    def make() -> Any:
        return compile_function(pooled, signature, rows=[0], room=network.room_of_g)

    return network.shared(key, make)(images, *starts)


class Reservoir:
    """
    What has the smallest keys of all that was added, in the order in which it came.

    Parameters
    ----------
    most
        So many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[np.ndarray] | None = None

    def add(self, *arrays: np.ndarray) -> None:
        """Keys (m,) and what they are of, any number of arrays (m, ...)."""
        every = list(arrays)
        if self._kept is not None:
            every = [np.concatenate(pair) for pair in zip(self._kept, arrays, strict=True)]
        if len(every[0]) > self._most:
            # In their order, so that the same ones stay in the same places.
            kept = np.sort(np.argpartition(every[0], self._most)[: self._most])
            every = [array[kept] for array in every]
        self._kept = every

    @property
    def arrays(self) -> list[np.ndarray]:
        """What is kept, without the keys; nothing before the first was added."""
        return [] if self._kept is None else self._kept[1:]


def extract_rows(
    stream: Stream,
    network: Network,
    factorizer: Factorizer,
    *,
    class_id: int,
    patch_size: tuple[int, ...] | None,
    max_crops: int,
    positions: int = 0,
    seed: int,
    verbose: bool,
    windows: Windows = IMAGE_WINDOWS,
    special_tokens: int | None = None,
) -> CropRows:
    """
    Pooled activations of at most `max_crops` crops of the images, and as many of positions.

    Parameters
    ----------
    stream
        The images.
    network
        The model. Crops go through g; h tells which images are predicted as the class.
    factorizer
        It refuses activations that it cannot take, negative ones for example.
    class_id
        The class whose predictions are counted.
    patch_size
        The sizes of the crops, see `Windows.boxes`.
    max_crops
        So many crops are kept, drawn at random from all, and no more positions than that.
    positions
        At how many positions of each image activations are kept, drawn at random.
    seed
        Another seed keeps other crops and positions.
    verbose
        Whether a progress bar is shown.
    windows
        Where the crops are and how they are cut.
    special_tokens
        How many of the layer's first tokens belong to no place; None goes by the rule of
        `splitting.tokens`.
    """
    crops, places_kept = Reservoir(max_crops), Reservoir(max_crops)
    predicted = total = channels = special = 0
    for batch in stream.progress("crops", verbose):
        if batch.images.ndim != windows.axes + 2:
            raise ValueError(
                f"Crops need images (n, H, W, channels), received shape {batch.images.shape}."
            )
        n, shape = len(batch.images), batch.images.shape[1:]
        places = windows.boxes(shape, patch_size)
        images = tf.convert_to_tensor(batch.images)
        latents = batch.latents(network)
        special = number_of_special_tokens(latents.shape[1:], shape, special_tokens)
        found = [
            pool(without_special(latents, special))
            if tuple(place[windows.axes :]) == shape[: windows.axes]  # the image itself
            else crop_latents(network, images, place, windows, special)
            for place in places
        ]
        pooled = tf.stack([f[0] for f in found], axis=1).numpy()
        lowest = tf.reduce_min(tf.stack([f[1] for f in found]), axis=0).numpy()
        factorizer.check(np.minimum(lowest, pooled.mean(axis=1)))  # a mean is NaN where any is
        image = np.repeat(batch.indices, len(places))
        crops.add(
            keyed_bits(seed, batch.indices[:, None], np.arange(len(places))).reshape(-1),
            np.column_stack([image, np.tile(places, (n, 1))]),
            pooled.reshape(-1, network.channels),
        )
        if positions and latents.shape.rank > 2:
            every = without_special(latents, special).numpy()
            places_kept.add(*_drawn_positions(every, batch.indices, positions, seed))
        logits = network.logits(latents).numpy()
        predicted += int((logits.argmax(axis=1) == class_id).sum())
        total += n
        channels = shape[-1]
    boxes, rows = crops.arrays
    nothing = [np.empty((0, network.channels), np.float32), np.empty(0, int)]
    at, of_images = places_kept.arrays or nothing
    return CropRows(boxes, rows, at, of_images, total, predicted, channels, special)


def without_special(activations: Any, special_tokens: int) -> Any:
    """Activations, or coefficients, (n, t, c) without the first tokens; (n, ..., c) as they are."""
    return activations[:, special_tokens:] if special_tokens else activations


def pool(activations: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and minimum over positions of activations (n, ..., c), each (n, c)."""
    positions = list(range(1, activations.shape.rank - 1))
    return tf.reduce_mean(activations, positions), tf.reduce_min(activations, positions)


def _drawn_positions(
    activations: np.ndarray, indices: np.ndarray, number: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Keys (m,), activations (m, c) and images (m,) of so many positions of each image, drawn by its
    number.
    """
    every = activations.reshape(len(activations), -1, activations.shape[-1])
    keys = keyed_bits(seed, Draw.POSITIONS, indices[:, None], np.arange(every.shape[1]))
    chosen = np.sort(np.argsort(keys, axis=1, kind="stable")[:, :number], axis=1)
    rows = np.take_along_axis(every, chosen[..., None], axis=1)
    keys = np.take_along_axis(keys, chosen, axis=1)
    images = np.repeat(indices, chosen.shape[1])
    return keys.reshape(-1), rows.reshape(-1, every.shape[2]), images
