"""
How faithful heatmaps are to a model, image by image: Deletion, Insertion, MuFidelity.

What Xplique's metrics of these names compute, but for every image by itself, so that means come
with intervals, and with the perturbed images of MuFidelity evaluated once for all methods:

    Deletion     area under score(x without its s first pixels) over s, in the map's order; low
    Insertion    area under score(only the s first pixels of x); high
    MuFidelity   Spearman correlation, over random subsets S of grid cells, of the score lost
                 without S with the sum of the map over S; high

Pixels that are taken out have the value of `baseline`, 0 as in Xplique. Maps are (n, H, W).
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from .._compiled import Room, compile_function
from .._random import Draw, generator
from ..gates.activated import ACTIVATIONS
from ..metrics.ranks_and_areas import rank_correlation


class ModelScore:
    """
    A model's scores of some images with pixels taken out.

    Parameters
    ----------
    model
        Images (n, H, W, channels) -> logits (n, classes).
    images, targets
        (n, H, W, channels), and (n, classes): weights of the scores.
    activation
        What is done to the logits: "softmax", "sigmoid", or None for nothing.
    batch_size
        How many images are run at a time; it bounds the memory.
    baseline
        The value of the pixels that are taken out.
    """

    def __init__(
        self,
        model: keras.Model,
        images: np.ndarray,
        targets: np.ndarray,
        *,
        activation: str | None,
        batch_size: int,
        baseline: float = 0.0,
    ) -> None:
        self.images, self.targets, self.batch_size = images, targets, batch_size
        final, dtype = ACTIVATIONS[activation], model.inputs[0].dtype

        def score(images: tf.Tensor, kept: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
            images = tf.where(kept[..., None], images, baseline)
            logits = tf.cast(model(tf.cast(images, dtype), training=False), tf.float32)
            return tf.reduce_sum(final(logits) * targets, axis=-1)

        shape = model.input_shape[1:]
        self._score = compile_function(
            score,
            [
                tf.TensorSpec([None, *shape], tf.float32),
                tf.TensorSpec([None, *shape[:2]], tf.bool),
                tf.TensorSpec([None, None], tf.float32),
            ],
            rows=[0, 1, 2],
            room=Room("the model"),
        )

    def __call__(
        self, kept: Callable[[np.ndarray, np.ndarray], np.ndarray], number: int
    ) -> np.ndarray:
        """
        Scores of every image in every of its states.

        Parameters
        ----------
        kept
            (images' rows (b,), states (b,)) -> which pixels stay, (b, H, W) bool.
        number
            q, the number of states.

        Returns
        -------
        scores
            (n, q) float32.
        """
        scores = np.empty(len(self.images) * number, np.float32)
        for start in range(0, len(scores), self.batch_size):
            rows, states = np.divmod(
                np.arange(start, min(start + self.batch_size, len(scores))), number
            )
            found = self._score(self.images[rows], kept(rows, states), self.targets[rows])
            scores[start : start + len(rows)] = found.numpy()
        return scores.reshape(-1, number)


def curves(score: ModelScore, maps: np.ndarray, steps: int, *, insertion: bool) -> np.ndarray:
    """
    Scores (n, steps + 1) while pixels are taken out in the order of a map, as many at each step; or
    while they are put into the baseline, for `insertion`.
    """
    n, pixels = len(maps), int(np.prod(maps.shape[1:]))
    order = np.argsort(maps.reshape(n, pixels), axis=-1)[:, ::-1]
    flat = np.empty((n, pixels), np.int32)
    np.put_along_axis(flat, order, np.arange(pixels, dtype=np.int32)[None], axis=-1)
    place = flat.reshape(maps.shape)
    ends = np.linspace(0, pixels, steps + 1, dtype=np.int32)

    def kept(rows: np.ndarray, states: np.ndarray) -> np.ndarray:
        first = place[rows] < ends[states, None, None]
        return first if insertion else ~first

    return score(kept, steps + 1)


def _cells(size: tuple[int, ...], grid: int) -> np.ndarray:
    """(H, W): the cell of a grid x grid that each pixel is in, as a nearest resize has it."""
    numbers = np.arange(grid * grid, dtype=np.float32).reshape(1, grid, grid, 1)
    return tf.image.resize(numbers, size, method="nearest").numpy()[0, ..., 0].astype(np.int64)


def subset_effects(
    score: ModelScore, *, grid: int, share: float, samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """
    What the score loses without random subsets of the cells of a grid, once for all maps.

    A cell is in a subset with probability `share`. The subsets are the same for all images.

    Returns
    -------
    lost, subsets
        (n, samples) float32, and (samples, grid grid) bool.
    """
    rng = generator(seed, Draw.PIXEL_SUBSETS)
    subsets = rng.random((samples, grid * grid)) <= share
    cells = _cells(score.images.shape[1:3], grid)
    none_out = np.concatenate([np.zeros((1, grid * grid), bool), subsets])
    scores = score(lambda _, states: ~none_out[states][:, cells], samples + 1)
    return scores[:, :1] - scores[:, 1:], subsets


def mu_fidelity(maps: np.ndarray, lost: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """
    MuFidelity (n,) of every image, by what `subset_effects` returned; 0 where the score, or the
    map, is the same for all subsets.
    """
    cells = _cells(maps.shape[1:], round(subsets.shape[1] ** 0.5)).reshape(-1)
    totals = np.zeros((len(maps), subsets.shape[1]))
    for number, flat in enumerate(maps.reshape(len(maps), -1)):
        totals[number] = np.bincount(cells, flat, subsets.shape[1])
    return rank_correlation(totals @ subsets.T, lost)
