"""
Scores of what an activation makes of the logits: softmax or sigmoid before the operator.

An operator (model, inputs, targets) -> (n,) is shown the model with the activation after it, as
Xplique's metrics do with theirs, so that any operator and any head work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from .._checks import check_choice
from .compiled import known_operator

ACTIVATIONS: dict[str | None, Callable[[Any], Any]] = {
    None: tf.identity,
    "softmax": tf.nn.softmax,
    "sigmoid": tf.nn.sigmoid,
}


@dataclass(frozen=True)
class Activated:
    """
    An operator that sees activation(model). Two of the same settings are equal, so that heads share
    what was compiled for them.

    Parameters
    ----------
    activation
        What is done to the logits, a name of `ACTIVATIONS`.
    operator
        What makes a score of them; None for the sum of what is left of them times the targets.
    """

    activation: str
    operator: Callable[..., Any] | None = None

    def __call__(self, model: Any, inputs: Any, targets: Any) -> Any:
        """Scores (n,)."""
        final = ACTIVATIONS[self.activation]

        def activated(x: Any) -> Any:
            return final(model(x))

        if self.operator is None:
            return tf.reduce_sum(activated(inputs) * targets, axis=-1)
        return self.operator(activated, inputs, targets)


def activated_operator(
    operator: Callable[..., Any] | str | None, activation: str | None
) -> Callable[..., Any] | None:
    """
    The operator that an operator of Xplique's and an activation make together; None is the sum of
    logits times targets. A ValueError or TypeError says what is wrong with either.
    """
    check_choice("activation", activation, ACTIVATIONS)
    known = known_operator(operator)
    return known if activation is None else Activated(activation, known)
