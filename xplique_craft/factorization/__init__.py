"""
Factorisations A ~ U W of activations into concepts.

`NMF` (the default) is CRAFT's; `SemiNMF` is for signed activations. The encoding of both is exact
and differentiable. `KMeans` and `PCA` are there to compare with. `XpliqueFactorizer` lets any of
them serve Xplique's HolisticCraftTf.
"""

from .adapter import XpliqueFactorizer
from .base import Factorized, Factorizer
from .nmf import NMF
from .semi_nmf import SemiNMF
from .sklearn_baselines import PCA, KMeans

__all__ = [
    "NMF",
    "PCA",
    "Factorized",
    "Factorizer",
    "KMeans",
    "SemiNMF",
    "XpliqueFactorizer",
    "get_factorizer",
    "type_of_factorizer",
]

_BY_NAME: dict[str, type[Factorizer]] = {f.name: f for f in (NMF, SemiNMF, KMeans, PCA)}


def type_of_factorizer(name: str) -> type[Factorizer] | None:
    """The package's own class of that name, if there is one."""
    return _BY_NAME.get(name)


def get_factorizer(factorizer: str | Factorizer) -> Factorizer:
    """
    A factorizer by its name.

    Parameters
    ----------
    factorizer
        "nmf", "semi-nmf", "kmeans" or "pca", or a `Factorizer` with settings of its own.

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
        if factorizer.lower() in _BY_NAME:
            return _BY_NAME[factorizer.lower()]()
        raise ValueError(
            f"factorizer must be one of {', '.join(map(repr, _BY_NAME))} or a Factorizer, received "
            f"{factorizer!r}."
        )
    raise TypeError(f"factorizer must be a name or a Factorizer instance, received {factorizer!r}.")
