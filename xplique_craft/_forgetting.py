"""
What Xplique keeps of every model that it explains, and how a model of ours is not kept.

Xplique has a dictionary of models that explainers were made of, and a few TensorFlow functions by
which all explainers run their model; these keep the graph, and so the weights, of each model that
they were called with. Nothing is ever taken out of either. Here an explainer is made without being
noted in the dictionary, and is given copies of the functions that belong to its model: when the
model goes, they go with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from xplique.attributions.base import BlackBoxExplainer
from xplique.commons.operators import predictions_operator
from xplique.commons.operators_operations import (
    batch_gradients_predictions,
    batch_predictions,
    get_gradient_of_operator,
    gradients_predictions,
    operator_batching,
)

from ._once import once
from ._seeding import RUNNING

_OWN = "_xplique_craft_functions"  # where a model keeps its copies of Xplique's functions


def make_unnoticed(make: Callable[[], Any], model: Any = None) -> Any:
    """
    Make an explainer of a model, of which nothing stays behind in Xplique.

    Parameters
    ----------
    make
        Makes the explainer.
    model
        The Keras model that it explains. None leaves the functions that it runs as they are.

    Returns
    -------
    explainer
        What `make` returned. Explainers of the same model share what TensorFlow traces for them.
    """
    kept = BlackBoxExplainer._cache_models
    with RUNNING:
        before = set(kept)
        try:
            explainer = make()
        finally:
            for key in set(kept) - before:
                kept.pop(key, None)
        if isinstance(model, keras.Model):
            own = once(vars(model), _OWN, _copies)
            for name, value in list(getattr(explainer, "__dict__", {}).items()):
                if id(value) in own:
                    setattr(explainer, name, own[id(value)])
    return explainer


def _copies() -> dict[int, Any]:
    """Copies of Xplique's functions that were not traced yet, by the `id` of the original."""
    operator = tf.function(predictions_operator.python_function)
    gradient = get_gradient_of_operator(operator)
    copies = {
        predictions_operator: operator,
        batch_predictions: operator_batching(operator),
        gradients_predictions: gradient,
        batch_gradients_predictions: operator_batching(gradient),
    }
    return {id(original): copy for original, copy in copies.items()}
