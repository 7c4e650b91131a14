"""
How maps answer to noise, and to a model that is partly random: what both measures compute.

    stability        mean over noisy copies x' of ||M(x') - M(x)|| / ||M(x)||; low
    randomisation    Spearman correlation of M(x) with the map by a clone of the model whose last
                     layers with weights are at random; low

Both would be at their best for a map that is the same everywhere, which explains nothing: of such
a map they are NaN. Maps are (n, H, W).
"""

import keras
import numpy as np
from xplique.metrics import ProgressiveLayerRandomization

from .._seeding import seeded
from ..metrics.ranks_and_areas import rank_correlation

RANDOMISED = 0.25  # of the layers with weights, from the last one on, as Xplique's default
SAME = 1e-6  # of the largest value: what differs by less is rounding


def _varies(maps: np.ndarray) -> np.ndarray:
    """Which of some maps (n, H, W) are not the same everywhere, but for rounding: (n,) bool."""
    flat = maps.reshape(len(maps), -1)
    return np.ptp(flat, axis=1) > SAME * np.abs(flat).max(axis=1)


def relative_distance(moved: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """
    Mean l2 distance of maps (n, q, H, W) to (n, H, W), as a share of the latter's norm: (n,), NaN
    where the latter is the same everywhere.
    """
    distance = np.sqrt(((moved - maps[:, None]) ** 2).sum(axis=(2, 3), dtype=np.float64))
    norm = np.sqrt((maps**2).sum(axis=(1, 2), dtype=np.float64))
    none = np.full(len(maps), np.nan)
    return np.divide(distance.mean(axis=1), norm, out=none, where=_varies(maps))


def kept_order(maps: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """
    Spearman correlation of maps with those of a changed model: (n,), NaN where one of the two is
    the same everywhere.
    """
    both = _varies(maps) & _varies(changed)
    return np.where(both, rank_correlation(maps, changed), np.nan)


def randomised(model: keras.Model, seed: int) -> tuple[keras.Model | None, tuple[int, int]]:
    """
    A clone whose last layers are at random, None of a model without weights; and how many layers
    are, at least one, of how many with weights.
    """
    number = sum(bool(layer.get_weights()) for layer in model.layers)
    if number == 0:
        return None, (0, 0)
    changed = max(1, int(RANDOMISED * number))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    with seeded(seed, None):
        ProgressiveLayerRandomization(changed).randomize(clone)
    return clone, (changed, number)
