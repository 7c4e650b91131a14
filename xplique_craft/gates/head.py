"""
Gated concepts: f_x(m) = score(h(sum_j m_j u_j(x) W_j + E(x))).

In general f_x(m) = score(h(sum_j m_j v_j W_j + C)), with C what no gate touches:

                       v            C
    residual kept      u            E (with PCA's mean in it)
    residual dropped   u            0 (or PCA's mean)
    towards the mean   u - mean u   the same, plus (mean u) W

With the residual E kept, f_x(1) is the model's own score whatever the bank, so that what is
explained is the user's model; with it dropped (E = 0), f_x is the paper's.

Where h is affine, f_x(m) = b + sum_j c_j m_j exactly, with c_j = sum_p v_j(p) <W_j, D(p)> and D the
gradient of the score with respect to the activations, which is the same everywhere. Elsewhere the
head is folded and sliced (see `folding`), and images and gates are multiplied out in one compiled
function, so many at a time as `batch_size` of the whole head would need memory for.
"""

import math
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from xplique.commons import get_inference_function
from xplique.commons.operators import predictions_operator
from xplique.commons.operators_operations import get_operator

from .._compiled import compile_function
from ..results import EvaluationPath
from ..splitting.network import Network
from .coded import Coded
from .folding import Kernels, Plan

__all__ = ["GatedHead", "known_operator"]

CHECK = 1e-4  # of the largest logit: how far the head taken apart may be from the plain one
CHECK_TF32 = 2e-2  # the same on a GPU that rounds factors to 10 bits
ROUNDING = 2e-6  # of |D| |W_j|: what float32 cannot tell from a right angle


class _Compiled:
    """The compiled functions of one head and operator, which all its gated heads share."""

    def __init__(
        self,
        network: Network,
        operator: Callable[..., Any] | str | None,
        taken_apart: bool = True,
    ) -> None:
        self.head = network.latent_to_logit
        self.operator = get_inference_function(self.head, operator)[0]
        self.plan = Plan(self.head, taken_apart and operator is None)
        self.verified = not self.plan.taken_apart
        places = [None, *self.head.input_shape[1:-1]]
        self.latent = tf.TensorSpec([*places, self.head.input_shape[-1]], tf.float32)
        self.coefficients = tf.TensorSpec([*places, None], tf.float32)
        self.bank = tf.TensorSpec([None, self.head.input_shape[-1]], tf.float32)
        self.targets = tf.TensorSpec([None, None], tf.float32)
        self.channels = tf.TensorSpec([None], tf.int32)

    def sliced(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (n, s) of the logits that the targets (n, classes) need, and which, (s,)."""
        if not self.plan.taken_apart:
            return targets, np.arange(targets.shape[1])
        channels = np.flatnonzero(targets.any(axis=0))
        channels = channels if len(channels) else np.arange(1)
        return targets[:, channels], channels

    # ------------------------------------------------------------- parts, inside functions
    def _tail(
        self, frontier: list[tf.Tensor], targets: tf.Tensor, channels: tf.Tensor, kernels: Kernels
    ) -> tf.Tensor:
        """Scores (n,) of what stands at the frontier."""
        if self.plan.taken_apart:
            last = self.plan.run(self.plan.tail, frontier, channels, kernels)[0]
            return tf.reduce_sum(self.plan.logits(last, channels) * targets, axis=-1)
        activations = tf.ensure_shape(frontier[0], self.latent.shape)
        activations = tf.cast(activations, self.head.inputs[0].dtype)
        targets = tf.cast(targets, self.head.outputs[0].dtype)
        return tf.cast(self.operator(self.head, activations, targets), tf.float32)

    def _tables(self, bank: tf.Tensor, channels: tf.Tensor, kernels: Kernels) -> list[tf.Tensor]:
        """The bank at the boundary, W' = B(W) - B(0), (k, c') for each of its tensors."""
        k, c = tf.shape(bank)[0], self.bank.shape[1]
        rows = tf.concat([bank, tf.zeros([1, c])], axis=0)
        places = [1] * (self.latent.shape.rank - 2)
        rows = tf.reshape(rows, [k + 1, *places, c])
        images = self.plan.run(self.plan.pointwise, [rows], channels, kernels)
        images = [tf.reshape(image, [k + 1, image.shape[-1] or -1]) for image in images]
        return [image[:-1] - image[-1:] for image in images]

    def _laid_out(
        self,
        gated: tf.Tensor,
        constant: tf.Tensor,
        tables: list[tf.Tensor],
        channels: tf.Tensor,
        kernels: Kernels,
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """
        Frontier tensors of n images: F(v_j W_j) - F(0), (n, k, ...), and F(C), (n, ...).
        """
        n, k = tf.shape(gated)[0], tf.shape(gated)[-1]
        whole = self.plan.run(self.plan.pointwise, [constant], channels, kernels)
        each = [tf.einsum("n...k,kc->nk...c", gated, table) for table in tables]
        if not self.plan.front.steps:
            return each, whole
        stacked = []
        for one, rest in zip(each, whole, strict=True):
            flat = tf.reshape(one, tf.concat([[n * k], tf.shape(one)[2:]], axis=0))
            stacked.append(tf.concat([flat, rest, tf.zeros_like(rest[:1])], axis=0))
        stacked = [
            _shaped(value, tensor)
            for value, tensor in zip(stacked, self.plan.front.inputs, strict=True)
        ]
        outputs = self.plan.run(self.plan.front, stacked, channels, kernels)
        laid = []
        for output in outputs:
            shape = tf.concat([[n, k], tf.shape(output)[1:]], axis=0)
            laid.append(tf.reshape(output[: n * k] - output[-1:], shape))
        return laid, [output[n * k : -1] for output in outputs]

    # -------------------------------------------------------------------------- functions
    @cached_property
    def scores(self) -> Any:
        """(activations, targets, channels) -> (n,)."""
        plan = self.plan

        def scores(activations: tf.Tensor, targets: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
            kernels = plan.kernels(channels)
            values = plan.run(plan.pointwise, [activations], channels, kernels)
            values = plan.run(plan.front, values, channels, kernels)
            return self._tail(values, targets, channels, kernels)

        return compile_function(scores, [self.latent, self.targets, self.channels])

    @cached_property
    def slope(self) -> Any:
        """(activations, targets, channels) -> derivative of the score, (n, ..., c)."""
        plan = self.plan

        def slope(activations: tf.Tensor, targets: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
            kernels = plan.kernels(channels)
            with tf.GradientTape() as tape:
                tape.watch(activations)
                values = plan.run(plan.pointwise, [activations], channels, kernels)
                values = plan.run(plan.front, values, channels, kernels)
                score = self._tail(values, targets, channels, kernels)
            return tape.gradient(
                score, activations, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )

        return compile_function(slope, [self.latent, self.targets, self.channels])

    @cached_property
    def evaluate(self) -> Any:
        """(gated, constant, bank, gates, targets, channels, images, masks) -> (n, q)."""
        plan = self.plan

        def evaluate(
            gated: tf.Tensor,
            constant: tf.Tensor,
            bank: tf.Tensor,
            gates: tf.Tensor,
            targets: tf.Tensor,
            channels: tf.Tensor,
            images: tf.Tensor,
            masks: tf.Tensor,
        ) -> tf.Tensor:
            n, q = tf.shape(gates)[0], tf.shape(gates)[1]
            kernels = plan.kernels(channels)
            tables = self._tables(bank, channels, kernels)

            def of_images(i: tf.Tensor) -> tf.Tensor:
                some = slice(i * images, (i + 1) * images)
                laid, whole = self._laid_out(gated[some], constant[some], tables, channels, kernels)
                b = tf.shape(gated[some])[0]
                flat = [tf.reshape(one, [b, tf.shape(one)[1], -1]) for one in laid]
                rest = [tf.reshape(one, [b, 1, -1]) for one in whole]

                def of_masks(m: tf.Tensor) -> tf.Tensor:
                    at = gates[some, m * masks : (m + 1) * masks]
                    pairs = b * tf.shape(at)[1]
                    frontier = [
                        tf.reshape(
                            tf.matmul(at, one) + fixed,
                            tf.concat([[pairs], tf.shape(like)[1:]], axis=0),
                        )
                        for one, fixed, like in zip(flat, rest, whole, strict=True)
                    ]
                    frontier = [
                        _shaped(value, tensor)
                        for value, tensor in zip(frontier, plan.tail.inputs, strict=True)
                    ]
                    weights = tf.repeat(targets[some], tf.shape(at)[1], axis=0)
                    values = self._tail(frontier, weights, channels, kernels)
                    return tf.transpose(tf.reshape(values, [b, tf.shape(at)[1]]))

                return tf.transpose(_for_each(of_masks, (q + masks - 1) // masks))

            return _for_each(of_images, (n + images - 1) // images)

        scalar = tf.TensorSpec([], tf.int32)
        gates = tf.TensorSpec([None, None, None], tf.float32)
        tensors = [self.coefficients, self.latent, self.bank, gates, self.targets, self.channels]
        return compile_function(evaluate, [*tensors, scalar, scalar])

    @cached_property
    def gradients(self) -> Any:
        """(gated, constant, bank, targets, channels, nodes, weights) -> (n, ..., k)."""
        plan = self.plan

        def gradients(
            gated: tf.Tensor,
            constant: tf.Tensor,
            bank: tf.Tensor,
            targets: tf.Tensor,
            channels: tf.Tensor,
            nodes: tf.Tensor,
            weights: tf.Tensor,
        ) -> tf.Tensor:
            kernels = plan.kernels(channels)
            tables = self._tables(bank, channels, kernels)
            whole = plan.run(plan.pointwise, [constant], channels, kernels)
            fixed = plan.run(plan.front, whole, channels, kernels)
            with tf.GradientTape() as outer:
                outer.watch(gated)
                explained = [
                    tf.tensordot(gated, table, 1) + value
                    for table, value in zip(tables, whole, strict=True)
                ]
                opened = plan.run(plan.front, explained, channels, kernels)
            moved = [one - rest for one, rest in zip(opened, fixed, strict=True)]

            def add(i: tf.Tensor, *totals: tf.Tensor) -> tuple[tf.Tensor, ...]:
                points = [nodes[i] * one + rest for one, rest in zip(moved, fixed, strict=True)]
                with tf.GradientTape() as tape:
                    tape.watch(points)
                    score = self._tail(points, targets, channels, kernels)
                found = tape.gradient(
                    score, points, unconnected_gradients=tf.UnconnectedGradients.ZERO
                )
                sums = [total + weights[i] * one for total, one in zip(totals, found, strict=True)]
                return i + 1, *sums

            state = (tf.constant(0), *map(tf.zeros_like, fixed))
            _, *totals = tf.while_loop(
                lambda i, *_: i < tf.size(nodes), add, state, parallel_iterations=1
            )
            return outer.gradient(opened, gated, output_gradients=totals)

        vector = tf.TensorSpec([None], tf.float32)
        tensors = [self.coefficients, self.latent, self.bank, self.targets, self.channels]
        return compile_function(gradients, [*tensors, vector, vector])


def _shaped(value: tf.Tensor, like: Any) -> tf.Tensor:
    """A tensor that is known to have the shape of another, but for its channels."""
    places = [None] * (len(like.shape) > 1)
    return tf.ensure_shape(value, [None, *like.shape[1:-1], *places])


def _for_each(function: Callable[[tf.Tensor], tf.Tensor], number: tf.Tensor) -> tf.Tensor:
    """Rows that a function gives for 0, 1, ..., number - 1, one after the other."""
    parts = tf.TensorArray(
        tf.float32, number, infer_shape=False, element_shape=[None, None], clear_after_read=True
    )
    _, parts = tf.while_loop(
        lambda i, _: i < number,
        lambda i, parts: (i + 1, parts.write(i, function(i))),
        (tf.constant(0), parts),
        parallel_iterations=1,
    )
    return parts.concat()


def known_operator(operator: Callable[..., Any] | str | None) -> Callable[..., Any] | str | None:
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
        classification, the sum of logits times targets. Heads are folded and sliced for that one
        only: an operator of the user's may read all of the model.
    batch_size
        Images times gates evaluated at once, or as many more as fit into the same memory where
        folding and slicing leave smaller tensors. Images of other targets are best explained in
        calls of their own: of a batch every channel is computed that any of its targets needs.

    Attributes
    ----------
    affine
        Whether f_x has a closed form.
    evaluations
        How often the head, or what is left of it, was evaluated so far, in images; gradients count
        as one.
    forward_passes
        The same with a gradient counted as three.
    multiply_adds
        What that took in convolutions, dense layers and gates; a gradient counts as three
        evaluations. NaN where the model leaves sizes open.
    """

    def __init__(
        self, network: Network, operator: Callable[..., Any] | str | None, batch_size: int
    ) -> None:
        self.network = network
        self.batch_size = batch_size
        operator = known_operator(operator)
        self._operator = operator
        self.evaluations = 0
        self.forward_passes = 0.0
        self.multiply_adds = 0.0

    @property
    def _compiled(self) -> _Compiled:
        """Looked up on every use: one that fails its check is replaced for all heads."""
        network, operator = self.network, self._operator
        return network.shared(operator, lambda: _Compiled(network, operator))

    @property
    def affine(self) -> bool:
        """Whether f_x has a closed form: all of h is affine, and the score its logits' sum."""
        plan = self._compiled.plan
        return self._operator is None and plan.taken_apart and not plan.tail.steps

    def is_affine(self, coded: Coded) -> bool:
        """Whether f_x has a closed form, once that is checked on one of these images."""
        self._verify(coded.activations, coded.targets)
        return self.affine

    def path(self, evaluations: float, concepts: int) -> EvaluationPath:
        """
        Which path was taken.

        Parameters
        ----------
        evaluations
            How often f_x would have been evaluated by the whole head.
        concepts
            k.
        """
        plan = self._compiled.plan
        kinds = [
            name for name, is_so in (("folded", plan.folded), ("sliced", plan.slices)) if is_so
        ]
        reason = ""
        if self._operator is not None:
            reason = "the operator is not the sum of logits times targets"
        elif not plan.taken_apart:
            reason = "the head is not float32 throughout, or failed the check against itself"
        elif not kinds:
            reason = "the head begins and ends with layers that are not taken apart"
        return EvaluationPath(
            kind="closed form" if self.affine else " and ".join(kinds) or "plain",
            reason=reason,
        )

    def scores(self, activations: tf.Tensor, targets: np.ndarray) -> np.ndarray:
        """Scores (n,) of activations (n, ..., c) for targets (n, classes)."""
        self._verify(activations, targets)
        self._count(len(targets), targets, tail=1.0, ahead=1.0)
        return self._compiled.scores(activations, *self._compiled.sliced(targets)).numpy()

    def baseline(self, coded: Coded) -> np.ndarray:
        """h(0), (n,): the score of no activation, evaluated once for each distinct target."""
        self._verify(coded.activations, coded.targets)
        unique, inverse = _distinct(coded.targets)
        zeros = tf.zeros([len(unique), *coded.activations.shape[1:]])
        return self.scores(zeros, unique)[inverse]

    def ends(self, coded: Coded, bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f_x(0) and f_x(1), (n,) each: all gates closed, and all open."""
        closed = self.scores(coded.constant, coded.targets)
        opened = coded.constant + tf.tensordot(coded.gated, bank.astype(np.float32), 1)
        return _finite(closed), _finite(self.scores(opened, coded.targets))

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
        n, (q, k) = len(coded.targets), gates.shape[-2:]
        gates = np.broadcast_to(gates, (n, q, k)).astype(np.float32)
        if self.is_affine(coded):
            slopes, constant = self.affine_form(coded, bank)
            return np.einsum("nqk,nk->nq", gates, slopes) + constant[:, None]
        targets, channels = self._compiled.sliced(coded.targets)
        images, masks = self._blocks(n, q, k, len(channels))
        entries = self._compiled.plan.entries(self._compiled.plan.front, len(channels))
        self._count(n, coded.targets, tail=q, ahead=k + 2.0, rest=q * k * entries)
        values = self._compiled.evaluate(
            coded.gated, coded.constant, bank, gates, targets, channels, images, masks
        )
        return _finite(values.numpy())

    def gradients(
        self, coded: Coded, bank: np.ndarray, nodes: np.ndarray, weights: np.ndarray
    ) -> tf.Tensor:
        """
        Derivatives of the score by the coefficients at every position.

        Parameters
        ----------
        coded
            n images.
        bank
            W, (k, c).
        nodes, weights
            (q,): all gates are set to each node, and what comes out is summed with these weights.

        Returns
        -------
        gradients
            (n, ..., k).
        """
        self._verify(coded.activations, coded.targets)
        n, q = len(coded.targets), len(nodes)
        self._count(n, coded.targets, tail=3.0 * q, ahead=4.0, evaluations=n * q)
        targets, channels = self._compiled.sliced(coded.targets)
        return self._compiled.gradients(
            coded.gated, coded.constant, bank, targets, channels, nodes, weights
        )

    def slopes(
        self, coded: Coded, bank: np.ndarray, nodes: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Weighted sum of df_x/dm_j, (n, k), over nodes (q,) that all gates are set to."""
        return _over_positions(coded.gated * self.gradients(coded, bank, nodes, weights))

    def affine_slopes(self, coded: Coded, bank: np.ndarray) -> np.ndarray:
        """
        c of f_x(m) = b + sum_j c_j m_j, (n, k) float64; affine heads only.

        The gradient is the same everywhere, so it is taken once for each distinct target. Where it
        is orthogonal to a concept as far as float32 can tell, the slope is 0.
        """
        unique, inverse = _distinct(coded.targets)
        zeros = tf.zeros([len(unique), *coded.constant.shape[1:]])
        self._count(len(unique), unique, tail=3.0, ahead=3.0, evaluations=len(unique))
        slope = self._compiled.slope(zeros, *self._compiled.sliced(unique))
        bank = bank.astype(np.float32)
        along = tf.tensordot(slope, bank, [[-1], [-1]])
        length = tf.norm(slope, axis=-1, keepdims=True) * np.linalg.norm(bank, axis=1)
        along = tf.where(tf.abs(along) > ROUNDING * length, along, 0.0)
        return _over_positions(coded.gated * tf.gather(along, inverse))

    def affine_form(self, coded: Coded, bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(c, b) of f_x(m) = b + sum_j c_j m_j, (n, k) and (n,), float64; affine heads only."""
        constant = self.scores(coded.constant, coded.targets)
        return self.affine_slopes(coded, bank), constant.astype(np.float64)

    # ---------------------------------------------------------------------------- inside
    def _blocks(self, n: int, q: int, k: int, channels: int) -> tuple[int, int]:
        """Images, and masks of each, that are evaluated at once."""
        plan = self._compiled.plan
        room = self.batch_size * plan.largest(plan.whole, self.network.number_of_classes)
        pairs = room / plan.largest(plan.tail, channels)
        ahead = max(plan.largest(plan.front, channels), plan.entries(plan.front, channels))
        alone = room / ((k + 2) * ahead)
        if math.isnan(pairs) or math.isnan(alone):
            pairs, alone = self.batch_size, 1
        pairs = max(int(pairs), 1)
        images = int(np.clip(min(pairs // q, alone), 1, n))
        return images, max(1, min(q, pairs // images))

    def _count(
        self,
        n: int,
        targets: np.ndarray,
        *,
        tail: float,
        ahead: float,
        rest: float = 0.0,
        evaluations: int | None = None,
    ) -> None:
        """Count the evaluations of n images: so many of the tail, and of what is ahead of it."""
        plan, channels = self._compiled.plan, len(self._compiled.sliced(targets)[1])
        self.evaluations += int(n * tail) if evaluations is None else evaluations
        self.forward_passes += n * tail
        self.multiply_adds += n * (
            tail * plan.multiply_adds(plan.tail, channels)
            + ahead * plan.multiply_adds(plan.front, channels)
            + plan.multiply_adds(plan.pointwise, channels)
            + rest
        )

    def _verify(self, activations: tf.Tensor, targets: np.ndarray) -> None:
        """
        Compare with the plain head once: two made-up concepts at random gates on one image.

        Where they differ, everything is evaluated plainly from then on, with a warning.
        """
        compiled = self._compiled
        if compiled.verified:
            return
        rng = np.random.default_rng(0)
        some, classes = activations[:1], targets.shape[1]
        spread = np.linspace(0, classes - 1, 8).astype(int)
        read = np.union1d(np.flatnonzero(targets.any(axis=0))[:8], spread)
        weights = np.zeros((1, classes), np.float32)
        weights[0, read] = rng.uniform(0.5, 1.0, len(read))
        size = float(tf.reduce_mean(tf.abs(some))) or 1.0
        bank = (size * rng.random((2, some.shape[-1]))).astype(np.float32)
        gated = tf.constant(rng.random((*some.shape[:-1], 2)), tf.float32)
        gates = np.concatenate([np.eye(2), rng.random((2, 2))]).astype(np.float32)[None]
        points = [tf.tensordot(gated * m, bank, 1) + some for m in gates[0]]
        logits = np.stack([self.network.logits(point).numpy()[0] for point in points])
        expected = logits @ weights[0]
        picked, channels = compiled.sliced(weights)
        scale = np.abs(logits).max() * max(1.0, np.abs(weights).sum())
        if self.affine:
            slope = compiled.slope(some, picked, channels)
            slopes = _over_positions(gated * tf.tensordot(slope, bank, [[-1], [-1]]))
            values = compiled.scores(some, picked, channels).numpy() + gates[0] @ slopes[0]
        else:
            values = compiled.evaluate(gated, some, bank, gates, picked, channels, 1, 4).numpy()
            values = values.reshape(-1)
        compiled.verified = True
        difference = np.inf
        if values.shape == expected.shape:
            difference = float(np.abs(values - expected).max())
        if not difference <= _tolerance() * scale + 1e-30:
            warnings.warn(
                f"The head taken apart differs from itself by {difference:.3g} where its logits "
                f"reach {scale:.3g}: it is evaluated whole from now on, which is slower. Does it "
                "hold a layer that computes something else than its class says?",
                stacklevel=4,
            )
            whole = _Compiled(self.network, self._operator, taken_apart=False)
            self.network.share(self._operator, whole)


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError(
            "The score of gated concepts is NaN or infinite for some gates: the head, or the "
            "operator, is not defined where concepts are dimmed. Take another operator, or "
            "Craft(..., baseline='mean'), whose gates lead towards the mean activation."
        )
    return values


def _tolerance() -> float:
    """How far the head taken apart may be from the plain one, of the largest logit."""
    rounds = tf.config.experimental.tensor_float_32_execution_enabled()
    return CHECK_TF32 if rounds and tf.config.list_physical_devices("GPU") else CHECK


def _distinct(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows, and which of them each row is; mostly they are all the same."""
    if (targets == targets[0]).all():
        return targets[:1], np.zeros(len(targets), int)
    unique, inverse = np.unique(targets, axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)


def _over_positions(values: tf.Tensor) -> np.ndarray:
    """(n, ..., k) -> (n, k) float64."""
    values = tf.cast(values, tf.float64)
    return tf.reduce_sum(values, list(range(1, values.shape.rank - 1))).numpy()
