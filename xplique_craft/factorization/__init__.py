"""
Factorisations A ~ U W of activations into concepts.

`NMF` (the default) is CRAFT's; `SignedNMF` is the same for signed activations; `SemiNMF` takes them
too, and finds concepts that cancel each other. The encoding of these is exact and differentiable.
`KMeans` and `PCA` are there to compare with. `XpliqueFactorizer` lets any of them serve Xplique's
HolisticCraftTf.

A new factorizer is a class in a file of its own, and here its names and a line of `FACTORIZERS`,
from which `Craft`, the console and saved models know it. TensorFlow, scikit-learn and Xplique are
loaded with the first class that is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import lazy_loader

if TYPE_CHECKING:
    from .adapter import XpliqueFactorizer
    from .base import Factorized, Factorizer
    from .nmf import NMF
    from .semi_nmf import SemiNMF
    from .signed_nmf import SignedNMF
    from .sklearn_baselines import PCA, KMeans

__all__ = [
    "FACTORIZERS",
    "NMF",
    "PCA",
    "Factorized",
    "Factorizer",
    "KMeans",
    "SemiNMF",
    "SignedNMF",
    "XpliqueFactorizer",
    "get_factorizer",
    "type_of_factorizer",
]


class FactorizerEntry(NamedTuple):
    """
    What is known of a factorizer before its class is loaded.

    Parameters
    ----------
    module, class_name
        The file in this folder that defines the class, and the name of the class there.
    summary
        What its concepts are and when to take it, in a line of the console's help.
    requires_non_negative
        Whether activations must be >= 0, as the class says too.
    """

    module: str
    class_name: str
    summary: str
    requires_non_negative: bool = False


FACTORIZERS = {
    "nmf": FactorizerEntry(
        "nmf",
        "NMF",
        "parts that add up: CRAFT's, for non-negative layers",
        requires_non_negative=True,
    ),
    "signed-nmf": FactorizerEntry(
        "signed_nmf", "SignedNMF", "the same for signed layers: transformers, GELU, before a ReLU"
    ),
    "semi-nmf": FactorizerEntry(
        "semi_nmf", "SemiNMF", "parts that may cancel, for signed layers: harder to recognise"
    ),
    "kmeans": FactorizerEntry(
        "sklearn_baselines", "KMeans", "clusters, one concept a position; to compare with"
    ),
    "pca": FactorizerEntry("sklearn_baselines", "PCA", "directions with two ends; to compare with"),
}
"""The package's own factorizers, by the names that `Craft(factorizer=...)` gives them."""

_FILES = {"base": ["Factorized", "Factorizer"], "adapter": ["XpliqueFactorizer"]}
for _entry in FACTORIZERS.values():
    _FILES.setdefault(_entry.module, []).append(_entry.class_name)
if not TYPE_CHECKING:  # type checkers read the imports above, and know no other name
    __getattr__, _, _ = lazy_loader.attach(__name__, submod_attrs=_FILES)


def __dir__() -> list[str]:
    return list(__all__)


def type_of_factorizer(name: str) -> "type[Factorizer] | None":
    """The package's own class of that name, if there is one."""
    entry = FACTORIZERS.get(name)
    if entry is None:
        return None
    return getattr(import_module(f".{entry.module}", __name__), entry.class_name)


def get_factorizer(factorizer: "str | Factorizer") -> "Factorizer":
    """
    A factorizer by its name.

    Parameters
    ----------
    factorizer
        A name in `FACTORIZERS`, for a factorizer with the default settings; or a `Factorizer` with
        settings of its own, which is returned as it is.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If it is neither a name nor a `Factorizer`.
    """
    from . import base

    if isinstance(factorizer, base.Factorizer):
        return factorizer
    if not isinstance(factorizer, str):
        raise TypeError(
            f"factorizer must be a name or a Factorizer instance, received {factorizer!r}."
        )
    found = type_of_factorizer(factorizer.lower())
    if found is None:
        raise ValueError(
            f"factorizer must be one of {', '.join(map(repr, FACTORIZERS))} or a Factorizer, "
            f"received {factorizer!r}."
        )
    return found()
