"""
Is a concept one thing or several? Asked of its crops before it is taken apart.

A concept may stand for fur, or for fur and grass alike; only the second is worth taking apart. At
an earlier layer fur is [1, 0] and grass is [0, 1], say, each in several strengths. Crops of fur
alone are described by one row, scaled from crop to crop; a second row adds nothing. Of crops half
of which show fur and half grass, one row misses half of ||A||^2, and two rows miss nothing. So the
measure is what k descriptions explain beyond one. With A the pooled activations of the concept's
crops at the earlier layer, and B those of all crops of the class,

    gain      = (||A - U_1 W_1||^2 - ||A - U_k W_k||^2) / ||A||^2
    spread    = ||B - U_1 W_1||^2 / ||B||^2
    mixedness = gain / spread

Each bank is one of A's own, or of B's own, with 1 or k rows. A concept of one piece has mixedness
0, or a little below; 1 is a concept as diverse as everything in the crops of the class.

Banks for the gain are fitted on one half of the photographs and tried on the other, because k rows
always describe the crops that they were fitted on better than one does, be it by their noise. In
other photographs they do only if the several things are really there.

The gain is divided by the spread because crops have much in common at some layers, nearly
everything: there even wholly different crops are described well by one row, and all gains are
small. Relative errors, or the number of effective children, would measure what is in common.

No contribution is needed for it, only two small factorisations for each half.
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
    *,
    spread: float,
    seed: int,
) -> float:
    """
    How much better k descriptions are than one, in photographs that they were not fitted on.

    Parameters
    ----------
    rows
        A, (m, c): one row a crop.
    photographs
        (m,): number of the photograph of each crop. Banks are fitted on half of the photographs,
        drawn by the seed, and tried on the other half, and the other way round.
    factorizer
        What finds the banks.
    k
        How many things the concept may be made of.
    spread
        What one description misses of all crops of the class, see above.
    seed
        The halves and the factorisations follow from it.

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
    missed = np.zeros(2)  # ||A - U W||^2 with 1 row and with k
    for half in (first, ~first):
        if half.sum() < k or not norms[half].any():
            return float("nan")
        for i, number in enumerate((1, k)):
            with warnings.catch_warnings():
                # Of a concept of one piece the bank has a small rank: that is what is measured.
                warnings.filterwarnings("ignore", message="The bank of .* concepts has rank")
                bank = factorizer.fit(rows[half], number, seed)
            described = bank.decode(bank.encode(rows[~half])[0]).numpy()
            missed[i] += np.square(rows[~half] - described, dtype=np.float64).sum()
    return float((missed[0] - missed[1]) / norms.sum() / spread) if spread > 0.0 else float("nan")
