"""
Contributions of concepts to all outputs of the model at once.

    phi_ij = integral_0^1 d logit_i / dm_j (t, ..., t) dt

for output i and concept j, the gates opening together, as `importance.contributions` has it for one
score. Where h is affine, phi_ij = h(v_j W_j)_i - h(0)_i: k evaluations of what is left of h once
the bank is folded in give all outputs. Elsewhere the derivative of h along v_j W_j is taken in
forward mode, where one pass gives it for all outputs, at Gauss-Legendre nodes between closed and
open gates; what that misses is seen in the sum over concepts, which is known. Where TensorFlow has
no forward mode for a layer of h (a recurrent one, the encoding of a concept's children), the
derivatives of each output are taken in reverse mode, one output after the other.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from .._compiled import compile_function
from .._once import cached_property
from ..splitting.network import Network
from .coded import Coded
from .compiled import HeadFunctions, shaped
from .folding import Run
from .head import GatedHead

NODES = 32  # a head of ReLUs is then known to about 0.1% of what the concepts add
COPIES = 4  # of the largest tensor that a derivative along one direction needs at once


class AllOutputs(GatedHead):
    """
    A gated head, asked for all outputs.

    Parameters
    ----------
    network
        The split model.
    batch_size
        Images times concepts taken through h at once, or as many more as fit into the same memory
        where folding and slicing leave smaller tensors.
    """

    def __init__(self, network: Network, batch_size: int) -> None:
        super().__init__(network, None, batch_size)

    def phi(self, coded: Coded, outputs: np.ndarray) -> np.ndarray:
        """
        Contributions of each concept to each of some outputs.

        Parameters
        ----------
        coded
            n images.
        outputs
            (s,): which outputs.

        Returns
        -------
        phi
            (n, k, s) float64.
        """
        affine = self.is_affine(coded)
        taken_apart = self._compiled.plan.taken_apart
        functions: DirectionFunctions = self.network.shared(
            (DirectionFunctions, taken_apart),
            lambda: DirectionFunctions(self.network, taken_apart),
        )
        at, weights = np.polynomial.legendre.leggauss(NODES)
        nodes, weights = 0.5 + 0.5 * at, 0.5 * weights
        n, k = len(coded.images), coded.number_of_concepts
        if not (affine or functions.have_forward_mode(coded, outputs, nodes, weights)):
            return self._output_by_output(coded, outputs, nodes, weights)
        images, concepts = self._directions_at_once(n, k, len(outputs))
        self.evaluations += n * k * (1 if affine else NODES)
        found = np.empty((n, k, len(outputs)))
        for i in range(0, n, images):
            some = slice(i, i + images)
            for j in range(0, k, concepts):
                last = min(j + concepts, k)
                found[some, j:last] = functions.along(
                    coded.gated[some],
                    coded.constant[some],
                    coded.bank,
                    outputs,
                    [j, last],
                    nodes,
                    weights,
                ).numpy()
        return found

    def _output_by_output(
        self, coded: Coded, outputs: np.ndarray, nodes: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """(n, k, s): the same in reverse mode."""
        found = []
        for output in outputs.tolist():
            targets = np.zeros_like(coded.targets)
            targets[:, output] = 1.0
            found.append(self.slopes(replace(coded, targets=targets), nodes, weights))
        return np.stack(found, axis=-1)

    def logits_at_ends(self, coded: Coded) -> tuple[np.ndarray, np.ndarray]:
        """Logits (n, classes) with all gates closed, and with all open."""
        opened = coded.constant + tf.tensordot(coded.gated, coded.bank, 1)
        closed = self.network.logits(coded.constant).numpy()
        return closed.astype(np.float64), self.network.logits(opened).numpy().astype(np.float64)

    def _directions_at_once(self, n: int, k: int, channels: int) -> tuple[int, int]:
        """Images, and concepts of each, that go through h together."""
        plan = self._compiled.plan
        room = self.batch_size * plan.largest(plan.whole, self.network.number_of_classes)
        one = max(
            plan.largest(plan.tail, channels),
            plan.largest(plan.front, channels),
            plan.entries(plan.front, channels),
        )
        pairs = room / (one if self.affine else COPIES * one)
        pairs = self.batch_size if math.isnan(pairs) else max(1, int(pairs))
        return int(np.clip(pairs // k, 1, n)), min(k, pairs)


class DirectionFunctions(HeadFunctions):
    """
    The compiled derivative of h along concepts.

    Parameters
    ----------
    network
        The split model.
    taken_apart
        Whether h is folded and sliced.
    """

    def __init__(self, network: Network, taken_apart: bool) -> None:
        super().__init__(network, None, taken_apart)
        self._forward: bool | None = None  # not tried yet

    def have_forward_mode(
        self, coded: Coded, outputs: np.ndarray, nodes: np.ndarray, weights: np.ndarray
    ) -> bool:
        """Whether TensorFlow can take derivatives along concepts; tried once, on one image."""
        if self._forward is None:
            some = (coded.gated[:1], coded.constant[:1], coded.bank, outputs[:1], [0, 1])
            try:
                self.along(*some, nodes[:1], weights[:1])
                self._forward = True
            except tf.errors.ResourceExhaustedError:
                raise
            except Exception:  # each layer that has none says so in its own way
                self._forward = False
        return self._forward

    def _logits(self, run: Run, frontier: list[tf.Tensor], channels: tf.Tensor) -> tf.Tensor:
        """(n, s): the chosen logits, of what stands at the frontier."""
        if self.plan.taken_apart:
            return run.logits(frontier)
        activations = tf.cast(frontier[0], self.head.inputs[0].dtype)
        logits = tf.cast(self.head(activations, training=False), tf.float32)
        return tf.gather(logits, channels, axis=-1)

    @cached_property
    def along(self) -> Any:
        """(gated, constant, bank, channels, range of concepts, nodes, weights) -> (n, j, s)."""
        plan = self.plan
        affine = plan.taken_apart and not plan.tail.steps

        def along(
            gated: tf.Tensor,
            constant: tf.Tensor,
            bank: tf.Tensor,
            channels: tf.Tensor,
            concepts: tf.Tensor,
            nodes: tf.Tensor,
            weights: tf.Tensor,
        ) -> tf.Tensor:
            run = Run(plan, channels)
            tables = self._tables(run, bank)
            some = gated[..., concepts[0] : concepts[1]]
            rows = [table[concepts[0] : concepts[1]] for table in tables]
            laid, fixed = self._laid_out(run, some, constant, rows)
            n, j = tf.shape(some)[0], tf.shape(some)[-1]
            directions = []
            for one, like in zip(laid, plan.tail.inputs, strict=True):
                flat = tf.reshape(one, tf.concat([[n * j], tf.shape(one)[2:]], axis=0))
                directions.append(shaped(flat, like))
            shape = tf.stack([n, j, tf.size(channels)])
            if affine:
                return tf.reshape(run.logits(directions), shape)
            whole = run(plan.pointwise, [constant])
            explained = [
                tf.tensordot(gated, table, 1) + value
                for table, value in zip(tables, whole, strict=True)
            ]
            opened = run(plan.front, explained)
            starts = [tf.repeat(rest, j, axis=0) for rest in fixed]
            moved = [
                tf.repeat(one - rest, j, axis=0) for one, rest in zip(opened, fixed, strict=True)
            ]

            def add(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                points = [
                    shaped(nodes[i] * way + start, like)
                    for way, start, like in zip(moved, starts, plan.tail.inputs, strict=True)
                ]
                with tf.autodiff.ForwardAccumulator(points, directions) as forward:
                    logits = self._logits(run, points, channels)
                slope = forward.jvp(logits, unconnected_gradients=tf.UnconnectedGradients.ZERO)
                return i + 1, total + weights[i] * tf.reshape(slope, shape)

            _, total = tf.while_loop(
                lambda i, _: i < tf.size(nodes),
                add,
                (tf.constant(0), tf.zeros(shape)),
                parallel_iterations=1,
            )
            return total

        pair = tf.TensorSpec([2], tf.int32)
        numbers = tf.TensorSpec([None], tf.float32)
        tensors = [self.coefficients, self.latent, self.bank, self.channels]
        signature = [*tensors, pair, numbers, numbers]
        return compile_function(along, signature, rows=[0, 1], room=self.room)
