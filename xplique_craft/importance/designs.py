"""
Points for Sobol indices: replicated designs of seeded, scrambled Sobol sequences.

A design over k gates stacks A (N, k), B (N, k) and C_1, ..., C_k, where C_j is A with its column j
taken from B: N (k + 2) rows, in the order of Xplique's replicated samplers.

Every scramble is a random linear matrix scramble with a digital shift (scipy's); every image gets a
digital shift of its own on top, so that errors average out over images. The shifts depend on the
seed and on the number of the image only, never on the batch.
"""

import numpy as np
from scipy.stats import qmc

from .._random import keyed_bits

__all__ = ["REPLICATES", "replicate_sizes", "replicated_design", "scrambled_points"]

REPLICATES = 8  # independent scrambles, from which the estimation interval comes
_BITS = 30  # of scipy's Sobol points


def replicate_sizes(nb_design: int) -> np.ndarray:
    """
    How `nb_design` points are shared among independent scrambles: 8 of them, or as many as leave
    two points to each.
    """
    number = max(1, min(REPLICATES, nb_design // 2))
    return np.array([len(part) for part in np.array_split(np.arange(nb_design), number)])


def scrambled_points(
    dimension: int, number: int, indices: np.ndarray, *, seed: int, replicate: int = 0
) -> np.ndarray:
    """
    Scrambled Sobol points, randomised for every image by itself.

    Parameters
    ----------
    dimension
        d.
    number
        Points, N.
    indices
        (n,): numbers of the images.
    seed, replicate
        What the scramble is keyed by, besides the images' own shifts.

    Returns
    -------
    points
        (n, N, d) in (0, 1).
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, replicate, 0x50B01]))
    sobol = qmc.Sobol(dimension, scramble=True, bits=_BITS, seed=rng)
    base = sobol.random_base2(int(np.ceil(np.log2(max(number, 1)))))[:number]
    bits = (base * 2**_BITS).astype(np.uint64)
    image = np.asarray(indices)[:, None]
    shifts = keyed_bits(seed, replicate, image, np.arange(dimension)) >> np.uint64(64 - _BITS)
    shifted = bits[None] ^ shifts[:, None]
    return (shifted.astype(np.float64) + 0.5) / 2**_BITS


def replicated_design(points: np.ndarray) -> np.ndarray:
    """
    Gates of a replicated design.

    Parameters
    ----------
    points
        (n, N, 2 k): A and B side by side.

    Returns
    -------
    gates
        (n, N (k + 2), k) float32: A, B, C_1, ..., C_k.
    """
    n, number, double = points.shape
    k = double // 2
    a, b = points[..., :k].astype(np.float32), points[..., k:].astype(np.float32)
    c = np.repeat(a[:, None], k, axis=1)  # (n, k, N, k)
    index = np.arange(k)
    c[:, index, :, index] = np.moveaxis(b, 2, 0)
    return np.concatenate([a, b, c.reshape(n, k * number, k)], axis=1)
