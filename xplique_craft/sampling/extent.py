"""How large the coefficients of a bank get in whole images: the scale of maps, and of gates."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ..factorization import Factorized
from ..splitting.network import Network
from .examples import Ranking
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
    """

    largest: np.ndarray
    mean: np.ndarray


def measure_extent(
    stream: Stream,
    network: Network,
    factorized: Factorized,
    verbose: bool,
    ranking: Ranking | None = None,
) -> Extent:
    """
    One pass over the images: how large coefficients get, and what they are on average.

    A `ranking` is shown the coefficients on the way.
    """
    k = len(factorized.bank)
    largest = np.zeros(k, np.float32)
    total, rows = np.zeros(k), 0
    for batch in stream.progress("scale", verbose):
        u, _ = factorized.encode(network.latents(batch.images))
        if ranking is not None:
            ranking.add(batch.indices, batch.images.shape[1:], u.numpy())
        places = list(range(u.shape.rank - 1))
        largest = np.maximum(largest, tf.reduce_max(tf.abs(u), places).numpy())
        total += tf.reduce_sum(u, places).numpy()
        rows += int(tf.size(u)) // k
    return Extent(largest, (total / rows).astype(np.float32))
