"""
What is measured by explaining images anew: of noisy copies, and of a model that is partly random.

    stability        mean over noisy copies x' of ||M(x') - M(x)|| / ||M(x)||; low
    randomisation    Spearman correlation of M(x) with the map by a clone of the model whose last
                     layers with weights are at random, its explainer being made anew; low

Both would be at their best for a map that is the same everywhere, which explains nothing: of such
a map they are NaN. Maps are (n, H, W).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from xplique.metrics import ProgressiveLayerRandomization

from .._random import Draw, generator
from .._seeding import seeded
from .fidelity import rank_correlation
from .methods import Method
from .timing import explain, made

__all__ = ["Anew", "randomised", "relative_distance", "varies"]

RANDOMISED = 0.25  # of the layers with weights, from the last one on, as Xplique's default
SAME = 1e-6  # of the largest value: what differs by less is rounding


@dataclass(frozen=True)
class Anew:
    """
    What all methods share of the two measures.

    Parameters
    ----------
    images, targets
        (n, H, W, channels) and (n, classes): the few images of which maps are made anew.
    noise
        (q, H, W, channels): what is added to each of them, q noisy copies.
    clone
        The model with its last layers at random; None of a model without weights.
    layers
        How many layers are at random, of how many with weights.
    seed
        Of the explainers' draws.
    """

    images: np.ndarray
    targets: np.ndarray
    noise: np.ndarray
    clone: keras.Model | None
    layers: tuple[int, int]
    seed: int

    @classmethod
    def of(
        cls,
        model: keras.Model,
        images: np.ndarray,
        targets: np.ndarray,
        neighbours: int,
        radius: float,
        seed: int,
    ) -> Anew:
        """
        Draw the noise and the clone.

        Parameters
        ----------
        model, images, targets
            What is explained.
        neighbours, radius
            Noisy copies of an image, and the largest noise of a pixel.
        seed
            Of everything random.

        Returns
        -------
        anew
            To measure methods with.
        """
        rng = generator(seed, Draw.NOISY_COPIES)
        noise = rng.uniform(0.0, radius, (neighbours, *images.shape[1:])).astype(np.float32)
        clone, layers = randomised(model, seed)
        return cls(images, targets, noise, clone, layers, seed)

    def measure(self, method: Method, explainer: Any, maps: np.ndarray) -> dict[str, np.ndarray]:
        """
        Both measures of a method.

        Parameters
        ----------
        method, explainer
            Not the floor.
        maps
            (n, H, W): those of `images`.

        Returns
        -------
        per_image
            Measure's key -> (n,), NaN where an image has none.
        """
        near = (self.images[:, None] + self.noise).reshape(-1, *self.images.shape[1:])
        targets = self.targets.repeat(len(self.noise), axis=0)
        moved = explain(method, explainer, near, targets, self.seed, "noisy copies")
        moved = moved.reshape(len(maps), len(self.noise), *maps.shape[1:])
        found = {"stability": relative_distance(moved, maps)}
        if self.clone is not None:
            other = made(method, self.clone)
            of = "the model with layers at random"
            changed = explain(method, other, self.images, self.targets, self.seed, of)
            both = varies(maps) & varies(changed)
            found["randomisation"] = np.where(both, rank_correlation(maps, changed), np.nan)
        return found


def varies(maps: np.ndarray) -> np.ndarray:
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
    return np.divide(distance.mean(axis=1), norm, out=none, where=varies(maps))


def randomised(model: keras.Model, seed: int) -> tuple[keras.Model | None, tuple[int, int]]:
    """
    A clone whose last layers are at random.

    Parameters
    ----------
    model, seed
        The draws are seeded.

    Returns
    -------
    clone, layers
        None of a model without weights; how many layers are at random, at least one, of how many
        with weights.
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
