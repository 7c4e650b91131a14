"""
What a model makes of one image of noise: two models may have the same layers and weights and yet
compute something else, where a setting is another, or the version of Keras.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from .._random import keyed_bits
from .network import Network

STEADY = 1e-5  # relative: what one machine changes from one time to the next is below it
ALIKE = 1e-3  # relative: what layers compiled in other ways change is below it
SIDE = 32  # of an image where models take any size
SAME = 1e-2  # relative: what another machine or version of TensorFlow changes is far below it


@dataclass(frozen=True)
class Probe:
    """
    What the model makes of one image of noise.

    Parameters
    ----------
    shape, low, high
        Of the image.
    activations
        (c,): the activations at the cut, averaged over positions.
    logits
        (classes,).
    uneven
        (c,): the activations again, averaged with unequal weights, so that the same activations at
        other positions are told; None of files that were written before it was kept.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    activations: np.ndarray
    logits: np.ndarray
    uneven: np.ndarray | None = None

    @classmethod
    def of(cls, network: Network, shape: tuple[int, ...], low: float, high: float) -> Probe:
        """The same image for every version of NumPy."""
        size = int(np.prod(shape))
        noise = (keyed_bits(0, np.arange(size)) >> np.uint64(40)).astype(np.float64) / 2**24
        image = (low + (high - low) * noise).reshape(1, *shape).astype(np.float32)
        latents = network.latents(tf.convert_to_tensor(image))
        rows = latents.numpy().reshape(-1, latents.shape[-1])
        logits = network.logits(latents).numpy()[0]
        return cls(shape, low, high, rows.mean(axis=0), logits, _unevenly(rows))

    @classmethod
    def steady(
        cls, network: Network, shape: tuple[int, ...], low: float, high: float
    ) -> Probe | None:
        """The same; None for a model that draws at random, and makes something else each time."""
        first, second = (cls.of(network, shape, low, high) for _ in range(2))
        return None if first.difference(second, STEADY) else first

    def difference(self, other: Probe, same: float = SAME) -> str | None:
        """
        Where another model parts from this one, by more than `same`, relatively, in words; None
        where it does not.
        """
        for name, before, now in (
            ("activations", self.activations, other.activations),
            ("activations at single positions", self.uneven, other.uneven),
            ("outputs", self.logits, other.logits),
        ):
            if before is None or now is None:
                continue
            if before.shape != now.shape:
                return f"it has {now.shape} {name}, not {before.shape}"
            size = float(np.linalg.norm(before))
            if not np.isfinite(size):
                continue
            apart = float(np.linalg.norm(now - before))
            if not apart <= same * size:
                return (
                    f"its layers and weights are the same, but its {name} are not (they differ by "
                    f"{apart / size if size else apart:.2g} of their size): a layer is set "
                    "otherwise, or what it computes has changed with the version of Keras"
                )
        return None


def same_network(first: Network, second: Network) -> bool:
    """Whether two networks, however they were made, make the same of one image at the same cut."""
    if first is second:
        return True
    if first.input_shape != second.input_shape:
        return False
    shape = tuple(side or SIDE for side in first.input_shape)
    probes = (Probe.of(network, shape, 0.0, 1.0) for network in (first, second))
    return next(probes).difference(next(probes), ALIKE) is None


def _unevenly(rows: np.ndarray) -> np.ndarray:
    """
    A mean of rows with the weights 1, 1/2, 1/3, ... in an order drawn once for all: however many
    there are, a few stand out, and none is left out.
    """
    order = np.argsort(keyed_bits(1, np.arange(len(rows))), kind="stable")
    weights = 1.0 / (1.0 + np.argsort(order))
    mean = weights @ rows.astype(np.float64) / weights.sum()
    return np.asarray(mean, np.float32)
