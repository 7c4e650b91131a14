"""
Is a concept one thing or several? Asked of its crops before it is taken apart.

A concept may stand for fur, or for fur and grass alike; only the second is worth taking apart. Let
fur be [1, 0] at an earlier layer, and grass [0, 1]. Crops that show fur, some more of it and some
less, are described by one row of a bank, [1, 0], and a second row adds nothing. Of crops that show
fur in one half and grass in the other, one row misses half of ||A||^2, and two rows miss nothing.
So the question is what k rows describe that one does not. With A the pooled activations of the
concept's crops at the earlier layer, and B those of all crops of the class,

    gain      = (||A - U_1 W_1||^2 - ||A - U_k W_k||^2) / ||A||^2       W_1: one row, W_k: k rows
    spread    =  ||B - V_1 Z_1||^2 / ||B||^2                            Z_1: one row
    mixedness =  gain / spread

It is 0, or a little below, for a concept of one piece, and 1 for one as diverse as all crops of the
class together.

W_1 and W_k are fitted on one half of the photographs and tried on the other, and the other way
round: k rows always describe the crops that they were fitted on better than one row does, if only
their noise; they describe crops of other photographs better only where there are several things.

The gain is divided by the spread because crops of a class can have nearly everything in common at a
layer. One row then describes even very different crops well, and every gain is small; the spread is
as small. Relative errors, or the number of children that count, would mostly measure what crops
have in common.

It needs no contributions, only two small factorisations for each half of the photographs.
"""

import numpy as np

from .._checks import caught_warnings
from .._random import keyed_bits
from ..factorization import Factorizer


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
    rows, photographs
        A, (m, c), one row a crop, and (m,), the number of the photograph of each.
    factorizer, k
        What finds the banks, and how many things the concept may be made of.
    spread
        What one description misses of all crops of the class, see above.
    seed
        The halves of the photographs and the factorisations follow from it.

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
            # Of a concept of one piece the bank has a small rank: that is what is measured.
            with caught_warnings("The bank of .* concepts has rank"):
                bank = factorizer.fit(rows[half], number, seed)
            described = bank.decode(bank.encode(rows[~half])[0]).numpy()
            missed[i] += np.square(rows[~half] - described, dtype=np.float64).sum()
    return float((missed[0] - missed[1]) / norms.sum() / spread) if spread > 0.0 else float("nan")
