"""
CRAFT for Xplique, complete and faithful to the model.

In the order of use:

    split_model, candidate_layers     where a Keras model can be cut into g and h
    Craft                             finds the concepts of a class, and answers questions of them
    importance                        how much each concept matters: Sobol, Shapley, gradients...
    measure_prevalence, sanity_check  how often each matters most; what no concepts would reach
    attributions                      where each concept is, and why this class
    explain_class, report             everything about a class, as one page
    metrics                           whether concepts are of one kind: the intruder test
    compare                           concept maps and heatmaps measured against each other
    plots                             figures of results
    factorization                     how activations become concepts
    load_model                        reads a saved encoder or decoder

Importing the package is quick; TensorFlow is loaded with the first name that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import attributions, factorization, importance, metrics, plots, report
    from .comparison import compare
    from .craft import Craft
    from .explanation.of_class import explain_class
    from .keras_models import load_model
    from .metrics.prevalence import measure_prevalence
    from .metrics.sanity import sanity_check
    from .splitting.split import Candidate, Split, candidate_layers, join_models, split_model
    from .targets import ClassDifference

__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "ClassDifference",
    "Craft",
    "Split",
    "attributions",
    "candidate_layers",
    "compare",
    "explain_class",
    "factorization",
    "importance",
    "join_models",
    "load_model",
    "measure_prevalence",
    "metrics",
    "plots",
    "report",
    "sanity_check",
    "split_model",
]

_HOMES = {
    "Candidate": "splitting",
    "ClassDifference": "targets",
    "Craft": "craft",
    "Split": "splitting",
    "candidate_layers": "splitting",
    "compare": "comparison",
    "explain_class": "explanation",
    "join_models": "splitting",
    "load_model": "keras_models",
    "measure_prevalence": "metrics.prevalence",
    "sanity_check": "metrics.sanity",
    "split_model": "splitting",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
