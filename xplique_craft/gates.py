"""
Gated concepts: f_x(m) = score(h(sum_j m_j u_j(x) W_j + E(x))).

In general f_x(m) = score(h(sum_j m_j v_j W_j + C)), with C what no gate touches:

                       v            C
    residual kept      u            E (with PCA's mean in it)
    residual dropped   u            0 (or PCA's mean)
    towards the mean   u - mean u   the same, plus (mean u) W

With the residual E kept, f_x(1) is the model's own score whatever the bank, so that what is
explained is the user's model; with it dropped (E = 0), f_x is the paper's.

Where h is affine, f_x(m) = b + sum_j c_j m_j exactly, with c_j = sum_p u_j(p) <W_j, D(p)> and D the
gradient of the score with respect to the activations, which is the same everywhere. Elsewhere
images and gates are multiplied out and evaluated `batch_size` at a time in one compiled function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from xplique.commons import get_inference_function
from xplique.commons.operators import predictions_operator
from xplique.commons.operators_operations import get_operator

from ._compiled import compile_function
from .network import Network

__all__ = ["Coded", "GatedHead"]


@dataclass(frozen=True)
class Coded:
    """
    A batch of images in terms of concepts.

    Parameters
    ----------
    indices
        (n,): numbers of the images.
    activations
        A, (n, ..., c).
    u
        U, (n, ..., k).
    gated
        v, (n, ..., k): what gates multiply.
    constant
        C, (n, ..., c): what they leave.
    kkt
        (n, ...): relative KKT residual of the encoding.
    targets
        (n, classes) float32: weights of the logits in the score.
    size
        (H, W) of the images.
    """

    indices: np.ndarray
    activations: tf.Tensor
    u: tf.Tensor
    gated: tf.Tensor
    constant: tf.Tensor
    kkt: tf.Tensor
    targets: np.ndarray
    size: tuple[int, ...]

    def rows(self, rows: np.ndarray) -> "Coded":
        """Some of the images."""
        return Coded(
            indices=self.indices[rows],
            activations=tf.gather(self.activations, rows),
            u=tf.gather(self.u, rows),
            gated=tf.gather(self.gated, rows),
            constant=tf.gather(self.constant, rows),
            kkt=tf.gather(self.kkt, rows),
            targets=self.targets[rows],
            size=self.size,
        )


class _Compiled:
    """The compiled functions of one head and operator, which all its gated heads share."""

    def __init__(self, network: Network, operator: Callable[..., Any] | str | None) -> None:
        self.head = network.latent_to_logit
        self.operator = get_inference_function(self.head, operator)[0]
        places = [None, *self.head.input_shape[1:-1]]
        self.latent = tf.TensorSpec([*places, self.head.input_shape[-1]], tf.float32)
        self.coefficients = tf.TensorSpec([*places, None], tf.float32)
        self.bank = tf.TensorSpec([None, self.head.input_shape[-1]], tf.float32)
        self.targets = tf.TensorSpec([None, None], tf.float32)
        self.gates = tf.TensorSpec([None, None, None], tf.float32)

    def _score(self, activations: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        activations = tf.ensure_shape(activations, self.latent.shape)
        activations = tf.cast(activations, self.head.inputs[0].dtype)
        targets = tf.cast(targets, self.head.outputs[0].dtype)
        return tf.cast(self.operator(self.head, activations, targets), tf.float32)

    @cached_property
    def scores(self) -> Any:
        """(activations, targets) -> (n,)."""
        return compile_function(self._score, [self.latent, self.targets])

    @cached_property
    def evaluate(self) -> Any:
        """(gated, constant, bank, gates, targets, batch_size) -> (n, q)."""

        def evaluate(
            gated: tf.Tensor,
            constant: tf.Tensor,
            bank: tf.Tensor,
            gates: tf.Tensor,
            targets: tf.Tensor,
            batch_size: tf.Tensor,
        ) -> tf.Tensor:
            number, k = tf.shape(gates)[1], tf.shape(gates)[2]
            total = tf.shape(gated)[0] * number
            flat = tf.reshape(gates, [total, k])
            lifted = [-1, *[1] * (gated.shape.rank - 2), k]

            def some(i: tf.Tensor) -> tf.Tensor:
                pairs = tf.range(i * batch_size, tf.minimum((i + 1) * batch_size, total))
                image = pairs // number
                kept = tf.gather(gated, image) * tf.reshape(tf.gather(flat, pairs), lifted)
                activations = tf.tensordot(kept, bank, 1) + tf.gather(constant, image)
                return self._score(activations, tf.gather(targets, image))

            steps = (total + batch_size - 1) // batch_size
            values = tf.TensorArray(tf.float32, steps, infer_shape=False, element_shape=[None])
            _, values = tf.while_loop(
                lambda i, _: i < steps,
                lambda i, values: (i + 1, values.write(i, some(i))),
                (tf.constant(0), values),
                parallel_iterations=1,
            )
            return tf.reshape(values.concat(), [tf.shape(gated)[0], number])

        scalar = tf.TensorSpec([], tf.int32)
        tensors = [self.coefficients, self.latent, self.bank, self.gates, self.targets, scalar]
        return compile_function(evaluate, tensors)

    @cached_property
    def slopes(self) -> Any:
        """(gated, constant, bank, targets, nodes, weights) -> (n, k)."""

        def slopes(
            gated: tf.Tensor,
            constant: tf.Tensor,
            bank: tf.Tensor,
            targets: tf.Tensor,
            nodes: tf.Tensor,
            weights: tf.Tensor,
        ) -> tf.Tensor:
            explained = tf.tensordot(gated, bank, 1)

            def add(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                point = nodes[i] * explained + constant
                with tf.GradientTape() as tape:
                    tape.watch(point)
                    score = self._score(point, targets)
                gradient = tape.gradient(
                    score, point, unconnected_gradients=tf.UnconnectedGradients.ZERO
                )
                return i + 1, total + weights[i] * gradient

            _, gradient = tf.while_loop(
                lambda i, _: i < tf.size(nodes),
                add,
                (tf.constant(0), tf.zeros_like(constant)),
                parallel_iterations=1,
            )
            along = tf.tensordot(gradient, tf.transpose(bank), 1)
            return tf.reduce_sum(gated * along, list(range(1, gated.shape.rank - 1)))

        vector = tf.TensorSpec([None], tf.float32)
        tensors = [self.coefficients, self.latent, self.bank, self.targets, vector, vector]
        return compile_function(slopes, tensors)


def _normalised(operator: Callable[..., Any] | str | None) -> Callable[..., Any] | str | None:
    """None for the operator of classification under any of its names."""
    if isinstance(operator, str):
        try:
            operator = get_operator(operator)
        except AssertionError as error:
            raise ValueError(
                f"operator must be a callable (model, inputs, targets) -> (n,), or the name of one "
                f"of Xplique's tasks, received {operator!r}."
            ) from error
    return None if operator is predictions_operator else operator


class GatedHead:
    """
    f_x(m) for many images and gates at once.

    Parameters
    ----------
    network
        The split model.
    operator
        Xplique's: (model, inputs, targets) -> (n,), a Tasks or its string; None for the score of
        classification, the sum of logits times targets.
    batch_size
        Images times gates evaluated at once.
    """

    def __init__(
        self, network: Network, operator: Callable[..., Any] | str | None, batch_size: int
    ) -> None:
        self.network = network
        self.batch_size = batch_size
        operator = _normalised(operator)
        self.affine = operator is None and network.affine_head
        self.evaluations = 0
        self._compiled: _Compiled = network.shared(operator, lambda: _Compiled(network, operator))

    def scores(self, activations: tf.Tensor, targets: np.ndarray) -> np.ndarray:
        """Scores (n,) of activations (n, ..., c) for targets (n, classes)."""
        self.evaluations += len(targets)
        return self._compiled.scores(activations, targets).numpy()

    def baseline(self, coded: Coded) -> np.ndarray:
        """h(0), (n,): the score of no activation, evaluated once for each distinct target."""
        unique, inverse = np.unique(coded.targets, axis=0, return_inverse=True)
        zeros = tf.zeros([len(unique), *coded.activations.shape[1:]])
        return self.scores(zeros, unique)[inverse.reshape(-1)]

    def evaluate(self, coded: Coded, bank: np.ndarray, gates: np.ndarray) -> np.ndarray:
        """
        f_x(m) for every image and its gates.

        Parameters
        ----------
        coded
            n images.
        bank
            W, (k, c).
        gates
            (n, q, k), or (q, k) for all images.

        Returns
        -------
        values
            (n, q).
        """
        n = len(coded.targets)
        gates = np.broadcast_to(gates, (n, *gates.shape[-2:])).astype(np.float32)
        if self.affine:
            slopes, constant = self.affine_form(coded, bank)
            return np.einsum("nqk,nk->nq", gates, slopes) + constant[:, None]
        self.evaluations += n * gates.shape[1]
        return self._compiled.evaluate(
            coded.gated, coded.constant, bank, gates, coded.targets, self.batch_size
        ).numpy()

    def slopes(
        self, coded: Coded, bank: np.ndarray, nodes: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Weighted sum of df_x/dm_j, (n, k), over nodes (q,) that all gates are set to."""
        self.evaluations += len(coded.targets) * len(nodes)
        return self._compiled.slopes(
            coded.gated, coded.constant, bank, coded.targets, nodes, weights
        ).numpy()

    def affine_form(self, coded: Coded, bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(c, b) of f_x(m) = b + sum_j c_j m_j, (n, k) and (n,), float64; affine heads only."""
        slopes = self.slopes(coded, bank, np.zeros(1), np.ones(1)).astype(np.float64)
        return slopes, self.scores(coded.constant, coded.targets).astype(np.float64)
