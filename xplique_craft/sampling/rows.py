"""
From images to the rows that a bank is fitted on: crops -> g -> mean over positions.

One pass over the stream. Crops, activations and images are held a batch at a time; of the pooled
rows a seeded reservoir sample of stated size is kept: every crop has a random key of its own, by
seed, image and crop, and the smallest keys stay. The sample does not depend on the batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .._compiled import compile_function
from .._random import keyed_bits
from ..factorization import Factorizer
from ..splitting.network import Network
from .crops import IMAGE_WINDOWS, Windows
from .stream import Stream


@dataclass(frozen=True)
class CropRows:
    """
    Pooled activations of crops.

    Parameters
    ----------
    boxes
        (m, 5) int: image, top, left, height, width; in the order of images and crops.
    rows
        (m, c) float32.
    images
        How many images there were.
    predicted
        How many of them the model predicts as the class.
    channels
        How many channels the images have.
    """

    boxes: np.ndarray
    rows: np.ndarray
    images: int
    predicted: int
    channels: int


def crop_latents(
    network: Network, images: tf.Tensor, box: Sequence[int], windows: Windows = IMAGE_WINDOWS
) -> tuple[tf.Tensor, tf.Tensor]:
    """
    Pooled activations of one crop of every image, resized to the size of the image.

    The box is what `windows` cut. One function is compiled for each size of crops, and kept with
    the network.

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
        images = windows.to_input_size(images, [*starts, *lengths])
        activations = network.activations(images)
        positions = list(range(1, activations.shape.rank - 1))
        return tf.reduce_mean(activations, positions), tf.reduce_min(activations, positions)

    signature = [tf.TensorSpec([None, *shape], tf.float32)]
    signature += [tf.TensorSpec([], tf.int32)] * len(starts)
    key = (windows, *shape, *lengths)

    def make() -> Any:
        return compile_function(pooled, signature, rows=[0], room=network.room_of_g)

    return network.shared(key, make)(images, *starts)


def extract_rows(
    stream: Stream,
    network: Network,
    factorizer: Factorizer,
    *,
    class_id: int,
    patch_size: tuple[int, ...] | None,
    max_crops: int,
    seed: int,
    verbose: bool,
    windows: Windows = IMAGE_WINDOWS,
) -> CropRows:
    """
    Pooled activations of at most `max_crops` crops of the images.

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
        So many crops are kept, drawn at random from all.
    seed
        Another seed keeps other crops.
    verbose
        Whether a progress bar is shown.
    windows
        Where the crops are and how they are cut.
    """
    boxes: np.ndarray = np.empty((0, 1 + 2 * windows.axes), int)
    rows: np.ndarray = np.empty((0, network.channels), np.float32)
    keys: np.ndarray = np.empty(0, np.uint64)
    predicted = total = channels = 0
    for batch in stream.progress("crops", verbose):
        if batch.images.ndim != windows.axes + 2:
            raise ValueError(
                f"Crops need images (n, H, W, channels), received shape {batch.images.shape}."
            )
        n = len(batch.images)
        places = windows.boxes(batch.images.shape[1:], patch_size)
        images = tf.convert_to_tensor(batch.images)
        found = [crop_latents(network, images, place, windows) for place in places]
        pooled = tf.stack([f[0] for f in found], axis=1).numpy()
        lowest = tf.reduce_min(tf.stack([f[1] for f in found]), axis=0).numpy()
        factorizer.check(np.minimum(lowest, pooled.mean(axis=1)))  # a mean is NaN where any is
        image = np.repeat(batch.indices, len(places))
        key = keyed_bits(seed, batch.indices[:, None], np.arange(len(places))).reshape(-1)
        keys = np.concatenate([keys, key])
        boxes = np.concatenate([boxes, np.column_stack([image, np.tile(places, (n, 1))])])
        rows = np.concatenate([rows, pooled.reshape(-1, network.channels)])
        if len(keys) > max_crops:
            # In their order, so that the same crops stay in the same places.
            kept = np.sort(np.argpartition(keys, max_crops)[:max_crops])
            keys, boxes, rows = keys[kept], boxes[kept], rows[kept]
        logits = network.logits(network.latents(images)).numpy()
        predicted += int((logits.argmax(axis=1) == class_id).sum())
        total += n
        channels = batch.images.shape[-1]
    return CropRows(boxes, rows, total, predicted, channels)
