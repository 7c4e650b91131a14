"""
Banks of several concept sets as one: their rows one below the other, encoded together.

Encoded together, every concept competes with all others for the activations, so U W of the union is
never farther from A than that of one of its banks.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .base import ExactFactorizer, Factorized
from .nmf import NMF
from .semi_nmf import SemiNMF


def for_any_bank(factorized: Factorized) -> Factorized:
    """The same bank, encoded exactly where its own encoding is bound to it and takes no other."""
    own = factorized.factorizer
    if not own.of_one_bank:
        return factorized
    return replace(factorized, factorizer=NMF() if own.requires_non_negative else SemiNMF())


def united(parts: Sequence[Factorized], name: str = "concepts") -> Factorized:
    """
    The union of several banks.

    Parameters
    ----------
    parts
        Banks (k_i, c) of the same channels, with their encodings.
    name
        What messages call them.

    Returns
    -------
    union
        The bank (sum k_i, c), in the order of the parts, with the encoding that they share; exact
        non-negative least squares where theirs takes no other bank. Nothing is known of its error
        on rows that it was fitted on, for it was not.

    Raises
    ------
    ValueError
        If they are encoded in different ways, or around means of their own, as PCA's.
    """
    parts = [for_any_bank(part) for part in parts]
    factorizers = [part.factorizer for part in parts]
    if any(part.offset.any() for part in parts):
        raise ValueError(
            f"{name} must be directions from 0 to be united, and {factorizers[0]!r} has found "
            "directions around a mean of its own images. Take concepts of NMF or semi-NMF."
        )
    exact = all(isinstance(one, ExactFactorizer) for one in factorizers)
    kinds = sorted({type(one).__name__ for one in factorizers})
    if not exact and len(kinds) > 1:
        raise ValueError(
            f"{name} must be encoded in one way to be united, received concepts of "
            f"{' and '.join(kinds)}. Take concepts of factorizers of one kind."
        )
    # What takes signed activations takes the others too, and both solve the same problem.
    chosen = next((one for one in factorizers if not one.requires_non_negative), factorizers[0])
    bank = np.concatenate([part.bank for part in parts])
    return Factorized(
        factorizer=chosen,
        bank=bank,
        offset=np.zeros(bank.shape[1], np.float32),
        converged=all(part.converged for part in parts),
        iterations=max(part.iterations for part in parts),
        relative_error=float("nan"),
    )
