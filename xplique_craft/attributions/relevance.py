"""
Relevance: what a concept does at a place for the score, not only that it is there.

    r_j(p) = v_j(p) df/du_j(p) = v_j(p) <W_j, df/dA(p)>        at A = v W + C, all gates open

Here v is what gates multiply (U, or U - mean U where they lead towards the mean) and C what they
leave (see `gates.coded`). With the residual kept, A is the image's own activations. A concept that
is active where the model does not use it has activation but no relevance. Where h is affine,
sum_p r_j(p) is the contribution phi_j; elsewhere it is its first-order part.

The unit of relevance is decided in one place, the function `relevance`, which is called by
`relevance_of`, for the concepts' own maps, by `ConceptRelevance`, for the maps of explainers, and
by `residual_places`, for what the concepts leave.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from xplique.commons import get_inference_function

from ..concept_model import ConceptModel
from ..gates import Coded, GatedHead
from ..gates.coded import encode_places, with_special
from ..splitting.graph import call_unnoticed

POINTS = 8  # of the integrals that lay class maps out


def relevance(gated: Any, slopes: Any) -> Any:
    """
    r_j(p) of v_j(p) and df/du_j(p), all (n, ..., k), in units of the score for each cell.

    Every map of relevance is in the unit that this function gives it, and class maps of relevance
    add up in it; the residual's part in them too, whose C and dh/dA are (n, ..., c).
    """
    return gated * slopes


def relevance_of_all(parts: np.ndarray) -> np.ndarray:
    """Parts of the score (n,), as float64, in the unit of relevance."""
    return np.asarray(relevance(parts.astype(np.float64), 1.0))


def relevance_of(coded: Coded, head: GatedHead, *, integrated: bool = False) -> np.ndarray:
    """
    Relevance of each concept at each place of the layer, (n, ..., k) float32.

    With `integrated`, the slopes are not those with all gates open but their mean while the gates
    open together: r_j(p) then adds up to the contribution phi_j on any head, but for what 8 points
    leave of the integral.
    """
    nodes, weights = _gauss() if integrated else (np.ones(1), np.ones(1))
    found = relevance(coded.gated, head.gradients(coded, nodes, weights)).numpy()
    if not np.isfinite(found).all():
        raise ValueError(
            "The relevance of concepts is NaN or infinite at some places: the score has no "
            "gradient there, as that of a square root at 0. Take output='activation', or cut the "
            "model at another layer."
        )
    return found


def residual_places(
    coded: Coded, head: GatedHead, *, relevant: bool, opened: bool = False
) -> np.ndarray:
    """
    What closed gates leave, C (see `gates.coded`), laid out where it acts on the score.

    Parameters
    ----------
    coded
        n images.
    head
        Their score.
    relevant
        Whether it is in the unit of relevance; else it is in that of contributions.
    opened
        True: sum_c C(p) dh/dA(p) at the activations with all gates open, as the relevance of
        concepts. False: integrated gradients from no activation to C, which add up to
        f_x(0) - h(0), but for what their 8 points leave.

    Returns
    -------
    places
        (n, ..., 1) float32.
    """
    point, nodes, weights = coded.constant, *_gauss()
    if opened:
        point = coded.constant + tf.tensordot(coded.gated, coded.bank, 1)
        nodes = weights = np.ones(1)
    slopes = head.slopes_of_activations(
        point, coded.targets, nodes, weights, None if opened else coded.nothing
    )
    left = coded.constant if coded.nothing is None else coded.constant - coded.nothing
    acts = relevance(left, slopes) if relevant else left * slopes
    return tf.reduce_sum(acts, -1, keepdims=True).numpy()


def _gauss() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of Gauss-Legendre quadrature over [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    return (nodes + 1.0) / 2.0, weights / 2.0


def relevance_model(
    concept_model: ConceptModel, operator: Callable[..., Any] | str | None, weights: tf.Variable
) -> keras.Model:
    """The Keras model from images to what `ConceptRelevance` gives for their activations."""
    latent = concept_model.input_to_latent_model
    layer = ConceptRelevance(concept_model, operator, weights)
    relevance = call_unnoticed(layer, latent.outputs[0])
    return keras.Model(latent.inputs[0], relevance, name="relevance")


class ConceptRelevance(keras.layers.Layer):
    """
    Activations (n, ..., c) -> relevance of each concept for one score, sum_p r_j(p), (n, k).

    An explainer that differentiates it finds where the relevant part of a concept comes from: v
    changes with the activations, while df/dA is held at its value for the image. All is computed
    in float32 whatever Keras' policy; only h has the precision it has.

    Parameters
    ----------
    concept_model
        The split model with its bank, and what is done to concepts when gates close.
    operator
        Xplique's operator, which makes the score; None for the sum of logits times weights.
    weights
        (classes,) float32: weights of the logits in the score. They are read on every call, so that
        one model, traced once, serves all targets.
    """

    def __init__(
        self,
        concept_model: ConceptModel,
        operator: Callable[..., Any] | str | None,
        weights: tf.Variable,
    ) -> None:
        super().__init__(name="concept_relevance", dtype="float32")
        self.concept_model, self.operator = concept_model, operator
        self.head = concept_model.latent_to_logit_model
        self.weights_of_logits = weights
        self.supports_jit = False  # supports differ in size from row to row

    def call(self, activations: tf.Tensor) -> tf.Tensor:
        """Encode, differentiate the score, multiply, sum over places."""
        factorized, reference = self.concept_model.factorized, self.concept_model.reference
        special = self.concept_model.special
        u, _ = encode_places(activations, factorized, len(special))
        u = tf.ensure_shape(u, (*activations.shape[:-1], len(factorized.bank)))
        gated = u if reference is None else u - reference
        point = activations if self.concept_model.keep_residual else factorized.decode(u)
        if len(special):
            kept = self.concept_model.keeps_special_tokens
            gated = with_special(np.zeros((len(special), u.shape[-1]), np.float32), gated)
            point = with_special(activations[:, : len(special)] if kept else special, point)
        slope = tf.stop_gradient(self._slope(tf.stop_gradient(point)))
        bank = tf.constant(factorized.bank, tf.float32)
        parts = relevance(gated, tf.tensordot(slope, bank, [[-1], [-1]]))
        return tf.reduce_sum(parts, list(range(1, parts.shape.rank - 1)))

    def _slope(self, point: tf.Tensor) -> tf.Tensor:
        """df/dA, of the shape and in the precision of A, whatever the precision of h."""
        score = get_inference_function(self.head, self.operator)[0]
        targets = tf.repeat(self.weights_of_logits[None], tf.shape(point)[0], axis=0)
        with tf.GradientTape() as tape:
            tape.watch(point)
            inputs = tf.cast(point, self.head.inputs[0].dtype)
            value = score(self.head, inputs, tf.cast(targets, self.head.outputs[0].dtype))
        return tape.gradient(value, point, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(n, k)."""
        return input_shape[0], len(self.concept_model.bank)

    def get_config(self) -> dict[str, Any]:
        """The arguments as they are: explainers that clone models make the layer again of them."""
        return {
            "concept_model": self.concept_model,
            "operator": self.operator,
            "weights": self.weights_of_logits,
        }
