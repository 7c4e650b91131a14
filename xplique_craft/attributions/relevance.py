"""
Relevance: what a concept does at a place for the score, not only that it is there.

    r_j(p) = v_j(p) df/du_j(p) = v_j(p) <W_j, df/dA(p)>        at A = v W + C, all gates open

with v what gates multiply (U, or U - mean U where they lead towards the mean) and C what they leave
(see `gates`). With the residual kept, A is the image's own activations. A concept that is active
where the model does not use it has activation but no relevance. Where h is affine, sum_p r_j(p) is
the contribution phi_j; elsewhere it is its first-order part.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from xplique.commons import get_inference_function

from ..factorization import Factorized

__all__ = ["ConceptRelevance"]


def _slope(score: Callable[..., Any], head: Any, point: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """df/dA, of the shape of A and in its precision, whatever that of h."""
    with tf.GradientTape() as tape:
        tape.watch(point)
        inputs = tf.cast(point, head.inputs[0].dtype)
        value = score(head, inputs, tf.cast(targets, head.outputs[0].dtype))
    return tape.gradient(value, point, unconnected_gradients=tf.UnconnectedGradients.ZERO)


class ConceptRelevance(keras.layers.Layer):
    """
    Activations (n, ..., c) -> relevance of each concept for one score, sum_p r_j(p), (n, k).

    Differentiable to the activations through v; df/dA is held, as in a product of the two at the
    image, so an explainer of it finds where the relevant part of the concept comes from. In float32
    whatever Keras' policy; only h is in the precision it has.

    Parameters
    ----------
    head
        h.
    operator
        Xplique's operator, see `ConceptExplainer`.
    factorized
        The bank with its encoding.
    reference
        (k,): coefficients that gates lead towards when they close; None for 0.
    keep_residual
        Whether what the concepts do not explain stays in A.
    weights
        (classes,): weights of the logits in the score.
    """

    def __init__(
        self,
        head: keras.Model,
        operator: Callable[..., Any] | str | None,
        factorized: Factorized,
        reference: np.ndarray | None,
        keep_residual: bool,
        weights: np.ndarray,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.head, self.operator, self.factorized = head, operator, factorized
        self.reference, self.keep_residual = reference, keep_residual
        self.weights_of_logits = np.asarray(weights, np.float32)
        self.supports_jit = False  # supports differ in size from row to row

    def call(self, activations: tf.Tensor) -> tf.Tensor:
        """Encode, differentiate the score, multiply, sum over places."""
        bank = tf.constant(self.factorized.bank, tf.float32)
        u, _ = self.factorized.encode(activations)
        u = tf.ensure_shape(u, (*activations.shape[:-1], len(self.factorized.bank)))
        gated = u if self.reference is None else u - self.reference
        point = activations if self.keep_residual else self.factorized.decode(u)
        score = get_inference_function(self.head, self.operator)[0]
        targets = tf.repeat(self.weights_of_logits[None], tf.shape(activations)[0], axis=0)
        slope = tf.stop_gradient(_slope(score, self.head, tf.stop_gradient(point), targets))
        parts = gated * tf.tensordot(slope, bank, [[-1], [-1]])
        return tf.reduce_sum(parts, list(range(1, parts.shape.rank - 1)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(n, k)."""
        return input_shape[0], len(self.factorized.bank)

    def get_config(self) -> dict[str, Any]:
        """What another of it is made from, in memory: explainers that clone models need it."""
        return {
            "head": self.head,
            "operator": self.operator,
            "factorized": self.factorized,
            "reference": self.reference,
            "keep_residual": self.keep_residual,
            "weights": self.weights_of_logits,
            "name": self.name,
        }
