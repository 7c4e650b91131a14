"""
Factorisations A ~ U W of activations into concepts.

`NMF` (the default) is CRAFT's. Its encoding of new activations is exact and differentiable.
"""

from .base import Factorized, Factorizer
from .nmf import NMF

__all__ = ["NMF", "Factorized", "Factorizer", "get_factorizer"]


def get_factorizer(factorizer: str | Factorizer) -> Factorizer:
    """
    A factorizer by its name.

    Parameters
    ----------
    factorizer
        "nmf", or a `Factorizer` with settings of its own.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If it is neither a name nor a `Factorizer`.
    """
    if isinstance(factorizer, Factorizer):
        return factorizer
    if isinstance(factorizer, str):
        if factorizer.lower() == "nmf":
            return NMF()
        raise ValueError(f"factorizer must be 'nmf' or a Factorizer, received {factorizer!r}.")
    raise TypeError(f"factorizer must be a name or a Factorizer instance, received {factorizer!r}.")
