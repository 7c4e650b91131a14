"""
Points for Sobol indices, and designs made of them.

Points come in independent *groups*, from which the estimation interval is computed: scrambled Sobol
sequences (a random linear matrix scramble with a digital shift, scipy's), scrambled Halton
sequences, Latin hypercubes, or plain Monte Carlo. Every image gets a shift of its own on top, so
that errors average out over images. All of it depends on the seed, the group and the number of the
image only, never on the batch; sequences are extended by asking for more of their points.

A point of 2 k coordinates makes a star of k + 2 gates: A, B, and C_1, ..., C_k, where C_j is A with
coordinate j taken from B; with D_1, ..., D_k, where D_j is B with coordinate j taken from A, it has
2 k + 2.
"""

from functools import lru_cache

import numpy as np
from scipy.stats import qmc

from .._random import Draw, generator, keyed_bits

GROUPS = 8  # independent groups of draws, from which the estimation interval comes
SAMPLERS = ("sobol", "halton", "latin hypercube", "monte carlo")
_BITS = 30  # of scipy's Sobol points


def group_sizes(number: int) -> np.ndarray:
    """Draws in each independent group: 8 groups, or as many as leave two draws to each."""
    groups = max(1, min(GROUPS, number // 2))
    return np.array([len(part) for part in np.array_split(np.arange(number), groups)])


def keyed_uniform(seed: int, *keys: np.ndarray | int) -> np.ndarray:
    """Uniform numbers in (0, 1), one for every combination of keys (see `keyed_bits`)."""
    return ((keyed_bits(seed, *keys) >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52


def points_of(
    sampler: str,
    dimension: int,
    number: int,
    indices: np.ndarray,
    *,
    seed: int,
    group: int = 0,
    start: int = 0,
) -> np.ndarray:
    """
    Points of one group, randomised for every image by itself: (n, number - start, dimension).

    They are in (0, 1). `indices` are the numbers (n,) of the images. The first `start` points are
    left out, for they are known already; Latin hypercubes cannot be extended so.
    """
    image = np.asarray(indices)[:, None]
    axes = np.arange(dimension)
    if sampler == "monte carlo":
        which = np.arange(start, number)[:, None]
        return keyed_uniform(seed, group, image[..., None], which, axes)
    base = _base(sampler, dimension, number, seed, group)[start:]
    if sampler == "sobol":
        shifts = keyed_bits(seed, group, image, axes) >> np.uint64(64 - _BITS)
        bits = (base * 2**_BITS).astype(np.uint64)
        return ((bits[None] ^ shifts[:, None]).astype(np.float64) + 0.5) / 2**_BITS
    return (base[None] + keyed_uniform(seed, group, image, axes)[:, None]) % 1.0


@lru_cache(maxsize=64)  # batches of one call, and calls of one explainer, share them
def _base(sampler: str, dimension: int, number: int, seed: int, group: int) -> np.ndarray:
    """Points (N, d) of a group, before the images' own shifts."""
    rng = generator(seed, group, Draw.SOBOL_POINTS)
    if sampler == "sobol":
        sobol = qmc.Sobol(dimension, scramble=True, bits=_BITS, seed=rng)
        base = sobol.random_base2(int(np.ceil(np.log2(max(number, 1)))))[:number]
    else:
        kind = qmc.Halton if sampler == "halton" else qmc.LatinHypercube
        base = kind(dimension, seed=rng).random(number)
    base.setflags(write=False)
    return base


def star(points: np.ndarray, both_ways: bool = False) -> np.ndarray:
    """
    Gates of a design of points (n, N, 2 k), A and B side by side: (n, N, k + 2, k) float32, which
    are A, B, C_1, ..., C_k; with D_1, ..., D_k after them if it goes `both_ways`.
    """
    k = points.shape[-1] // 2
    a, b = points[..., None, :k].astype(np.float32), points[..., None, k:].astype(np.float32)
    own = np.eye(k, dtype=bool)
    parts = [a, b, np.where(own, b, a)]
    if both_ways:
        parts.append(np.where(own, a, b))
    return np.concatenate(parts, axis=-2)
