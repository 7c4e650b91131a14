"""How large the coefficients of a bank get in whole images: the scale of maps, and of gates."""

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from ..factorization import Factorized
from ..splitting.network import Network
from .examples import Ranking
from .rows import without_special
from .stream import Stream


@dataclass(frozen=True)
class Extent:
    """
    Coefficients over all positions of all images.

    Parameters
    ----------
    largest
        (k,): the largest magnitude that each concept's coefficient has anywhere.
    mean
        (k,): the mean of each concept's coefficient.
    special
        (s, c): the mean activations of the s first tokens, which belong to no place and have no
        coefficients; (0, 0) where all of the layer has places.
    """

    largest: np.ndarray
    mean: np.ndarray
    special: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def measure_extent(
    stream: Stream,
    network: Network,
    factorized: Factorized,
    verbose: bool,
    ranking: Ranking | None = None,
    special_tokens: int = 0,
) -> Extent:
    """
    One pass over the images: how large coefficients get, and what they are on average.

    A `ranking` is shown the coefficients on the way. Of the first `special_tokens` tokens the mean
    is taken, and nothing else.
    """
    k = len(factorized.bank)
    largest = np.zeros(k, np.float32)
    total, rows = np.zeros(k), 0
    special = MeanOfSpecial(special_tokens)
    for batch in stream.progress("scale", verbose):
        latents = batch.latents(network)
        special.add(latents)
        u, _ = factorized.encode(without_special(latents, special_tokens))
        if ranking is not None:
            ranking.add(batch.indices, batch.images.shape[1:], u.numpy())
        places = list(range(u.shape.rank - 1))
        largest = np.maximum(largest, tf.reduce_max(tf.abs(u), places).numpy())
        total += tf.reduce_sum(u, places).numpy()
        rows += int(tf.size(u)) // k
    return Extent(largest, (total / rows).astype(np.float32), special.mean)


class MeanOfSpecial:
    """
    The mean activations of the first tokens, a batch at a time.

    Parameters
    ----------
    number
        How many tokens of each image are special.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._total, self._images = np.zeros((0, 0)), 0

    def add(self, latents: tf.Tensor) -> None:
        """Activations (n, t, c) of some more images."""
        if self._number:
            tokens = latents[:, : self._number].numpy().sum(axis=0, dtype=np.float64)
            self._total = tokens + self._total if self._images else tokens
            self._images += len(latents)

    @property
    def mean(self) -> np.ndarray:
        """(s, c) float32; (0, 0) without special tokens."""
        return (self._total / max(self._images, 1)).astype(np.float32)


def mean_of_special(stream: Stream, network: Network, special_tokens: int) -> np.ndarray:
    """The mean activations (s, c) of the first tokens; the images are read where there are any."""
    found = MeanOfSpecial(special_tokens)
    for batch in stream if special_tokens else ():
        found.add(batch.latents(network))
    return found.mean
