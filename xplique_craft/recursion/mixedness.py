"""
Mixedness: whether a concept is one thing or several, at an earlier layer.

With A the pooled activations of the concept's crops there,

    mixedness = (||A - U_1 W_1||^2 - ||A - U_k W_k||^2) / ||A||^2 / spread

on photographs that neither bank was fitted on, where the spread is ||A - U_1 W_1||^2 / ||A||^2 of
all crops of the class. One description, scaled from crop to crop, covers a concept that is more or
less there; what it misses is what changes from one crop to the next. Of a concept of one piece that
is little, or noise, of which k descriptions explain nothing in other photographs: 0, or below. It
is 1 where as much changes, and can be described, as in the crops of the class as a whole.

What all crops have in common (in some layers nearly everything) so counts for nothing, which it
would in the number of effective children or in relative errors.

It is computed before a concept is taken apart and needs no contribution, only two small
factorisations for each half of the photographs.
"""

import warnings

import numpy as np

from .._random import keyed_bits
from ..factorization import Factorizer

__all__ = ["measure_mixedness"]


def measure_mixedness(
    rows: np.ndarray,
    photographs: np.ndarray,
    factorizer: Factorizer,
    k: int,
    spread: float,
    seed: int,
) -> float:
    """
    How much better k descriptions are than one, in photographs that they have not seen.

    Parameters
    ----------
    rows
        A, (m, c): one row a crop.
    photographs
        (m,): number of the photograph of each crop. Half of them, drawn by the seed, are fitted,
        the other half is described, and the other way round.
    factorizer
        How descriptions are found.
    k
        Their number.
    spread
        Of all crops of the class, see above.
    seed
        Of the halves and the factorisations.

    Returns
    -------
    mixedness
        0 for a concept of one piece; NaN where a half holds fewer than k crops or only zeros, or
        where the crops of the class are all alike.
    """
    unique = np.unique(photographs)
    order = unique[np.argsort(keyed_bits(seed, unique), kind="stable")]
    first = np.isin(photographs, order[: len(order) // 2])
    norms = np.square(rows, dtype=np.float64).sum(axis=1)
    left = np.zeros(2)
    for half in (first, ~first):
        if half.sum() < k or not norms[half].any():
            return float("nan")
        for i, number in enumerate((1, k)):
            with warnings.catch_warnings():
                # Of a concept of one piece the bank has a small rank: that is what is measured.
                warnings.filterwarnings("ignore", message="The bank of .* concepts has rank")
                bank = factorizer.fit(rows[half], number, seed)
            described = bank.decode(bank.encode(rows[~half])[0]).numpy()
            left[i] += np.square(rows[~half] - described, dtype=np.float64).sum()
    return float((left[0] - left[1]) / norms.sum() / spread) if spread > 0.0 else float("nan")
