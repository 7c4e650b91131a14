"""
Which explainer makes the maps: what may be chosen, and how it is made of a model of concepts.

The choice is a class of `xplique.attributions` with its arguments, or a function that makes an
explainer of a Keras model. None stands for the concepts' own maps, which need no explainer.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
from xplique.attributions import FEM
from xplique.attributions.base import BlackBoxExplainer, WhiteBoxExplainer

from .._checks import check_is
from .._forgetting import make_unnoticed
from ..concept_model import ConceptModel
from ..explainer import ConceptExplainer
from ..gates.compiled import check_scores, known_operator


def check_explainer(explainer: Any, arguments: dict[str, Any] | None) -> None:
    """
    Refuse what cannot explain concepts, and arguments that the explainer does not have.

    They are the `explainer` and the `explainer_args` of `ConceptAttribution`; the TypeError or
    ValueError says what to give instead.
    """
    if arguments is not None:
        check_is("explainer_args", arguments, Mapping, "a dictionary, or None")
    if explainer is None:
        if arguments:
            raise ValueError(
                f"explainer_args are of an explainer, and explainer is None, received {arguments}."
                " Give a class of xplique.attributions with them."
            )
    elif isinstance(explainer, BlackBoxExplainer):
        raise TypeError(
            "explainer must be a class or a function that makes one, for the concepts are another "
            f"model, received an instance of {type(explainer).__name__}: give the class, and its "
            "arguments as explainer_args."
        )
    elif not callable(explainer):
        raise TypeError(
            "explainer must be None, a class of xplique.attributions, or a function model -> "
            f"explainer, received {explainer!r}."
        )
    elif isinstance(explainer, type):
        _check_class(explainer, arguments or {})
    elif arguments:
        raise ValueError(
            "explainer_args are of a class; a function model -> explainer passes its own, "
            f"received {arguments}."
        )


def _check_class(explainer: type, arguments: dict[str, Any]) -> None:
    if not issubclass(explainer, BlackBoxExplainer) or issubclass(explainer, ConceptExplainer):
        raise TypeError(
            "explainer must be a class of xplique.attributions, which explains any Keras model, "
            f"received {explainer.__name__}."
        )
    if issubclass(explainer, FEM):
        raise ValueError(
            "FEM asks of no target: it shows what the last convolution finds unusual, and its map "
            "would be the same for every concept. Take any other class of xplique.attributions, or "
            "None for the concepts' activations."
        )
    known = [name for name in inspect.signature(explainer).parameters if name != "model"]
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise TypeError(
            f"explainer_args has {', '.join(map(repr, unknown))}, which {explainer.__name__} does "
            f"not take; it takes {', '.join(known)}."
        )


def make_explainer(
    explainer: Any, arguments: dict[str, Any], model: keras.Model, concept_model: ConceptModel
) -> Any:
    """
    Make the chosen explainer of a model, images -> (n, k), of a concept model's concepts.

    A class that takes a batch_size gets that of the concept model, unless there is one among the
    arguments. A ValueError says why the explainer cannot be made: it needs gradients that the
    encoding has not, or refuses the model or an argument.
    """
    if not isinstance(explainer, type):
        made = make_unnoticed(partial(explainer, model), model)
        if not callable(getattr(made, "explain", None)):
            raise TypeError(
                "explainer must be a function that returns an explainer, which has a method "
                f"explain(inputs, targets), received one that returns {made!r}."
            )
        return made
    factorizer = concept_model.factorized.factorizer
    if issubclass(explainer, WhiteBoxExplainer) and not factorizer.differentiable:
        raise ValueError(
            f"{explainer.__name__} needs the gradient of the concepts, and the encoding of "
            f"{factorizer!r} has none. Take an explainer that perturbs the image, as Occlusion, or "
            "concepts whose encoding has one: factorizer='nmf' or 'signed-nmf', and of Xplique's "
            "encoding='exact'."
        )
    operator = known_operator(arguments.get("operator"))
    if operator is not None:
        check_scores(model, operator, "explainer_args['operator']")
    if "batch_size" in inspect.signature(explainer).parameters:
        arguments = {"batch_size": concept_model.batch_size, **arguments}
    try:
        return make_unnoticed(partial(explainer, model, **arguments), model)
    except (AssertionError, StopIteration, TypeError, ValueError) as error:
        reason = str(error).rstrip(".") or "there is no convolution in it"
        raise ValueError(
            f"{explainer.__name__} cannot be made for the concepts at {concept_model.layer!r}: "
            f"{reason}. It explains the part of the model before that layer, with the concepts as "
            "its outputs; its arguments are explainer_args."
        ) from error
