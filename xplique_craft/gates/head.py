"""
Gated concepts: f_x(m) = score(h(sum_j m_j v_j W_j + C)), see `coded` for v and C.

Where h is affine, f_x(m) = b + sum_j c_j m_j exactly, with c_j = sum_p v_j(p) <W_j, D(p)> and D the
gradient of the score with respect to the activations, which is the same everywhere. Elsewhere the
head is folded and sliced (see `folding`), and images and gates are multiplied out in one compiled
function, so many at a time as `batch_size` of the whole head would need memory for.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from .._checks import warn
from .._once import alone
from ..results import EvaluationPath
from ..splitting.network import Network
from ..targets import distinct
from .coded import Coded
from .compiled import HeadFunctions, known_operator

CHECK = 1e-4  # of the largest logit: how far the head taken apart may be from the plain one
CHECK_TF32 = 2e-2  # the same on a GPU that rounds factors to 10 bits
EPSILON = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
ROUNDING = 2e-6  # of |D| |W_j|: what float32 cannot tell from a right angle


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
    """

    def __init__(
        self, network: Network, operator: Callable[..., Any] | str | None, batch_size: int
    ) -> None:
        self.network = network
        self.batch_size = batch_size
        operator = known_operator(operator)
        self._operator = operator
        self.evaluations = 0

    def check(self) -> None:
        """Raise a ValueError now if the operator does not give a score for each image."""
        _ = self._compiled

    @property
    def _compiled(self) -> HeadFunctions:
        """Looked up on every use: one that fails its check is replaced for all heads."""
        network, operator = self.network, self._operator
        return network.shared(operator, lambda: HeadFunctions(network, operator))

    @property
    def rounding(self) -> float:
        """What scores are rounded by, of the largest: by the coarsest numbers in the head."""
        layers = self.network.latent_to_logit._flatten_layers()
        return 8.0 * max(EPSILON.get(layer.compute_dtype, EPSILON["float32"]) for layer in layers)

    @property
    def affine(self) -> bool:
        """Whether f_x has a closed form: all of h is affine, and the score its logits' sum."""
        plan = self._compiled.plan
        return self._operator is None and plan.taken_apart and not plan.tail.steps

    def is_affine(self, coded: Coded) -> bool:
        """Whether f_x has a closed form, once that is checked on one of these images."""
        self._verify(coded.activations, coded.targets)
        return self.affine

    @property
    def path(self) -> EvaluationPath:
        """How gates are put through the head, and why not in a cheaper way."""
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
            kind="closed form" if self.affine else " and ".join(kinds) or "plain", reason=reason
        )

    def scores(self, activations: tf.Tensor, targets: np.ndarray) -> np.ndarray:
        """Scores (n,) of activations (n, ..., c) for targets (n, classes)."""
        self._verify(activations, targets)
        self.evaluations += len(targets)
        return self._compiled.scores(activations, *self._compiled.sliced(targets)).numpy()

    def baseline(self, coded: Coded) -> np.ndarray:
        """
        h(0), (n,): the score of no activation, or of what stands for it (`Coded.nothing`).

        It is evaluated once for each distinct target where it is the same for all images.
        """
        self._verify(coded.activations, coded.targets)
        empty = coded.empty
        if len(empty) > 1:
            return self.scores(empty, coded.targets)
        unique, inverse = distinct(coded.targets)
        shape = [len(unique), *empty.shape[1:]]
        return self.scores(tf.broadcast_to(empty, shape), unique)[inverse]

    def ends(self, coded: Coded) -> tuple[np.ndarray, np.ndarray]:
        """f_x(0) and f_x(1), (n,) each: all gates closed, and all open."""
        closed = self.scores(coded.constant, coded.targets)
        opened = coded.constant + tf.tensordot(coded.gated, coded.bank, 1)
        return _finite(closed), _finite(self.scores(opened, coded.targets))

    def evaluate(self, coded: Coded, gates: np.ndarray) -> np.ndarray:
        """
        f_x(m) for every image and its gates.

        Parameters
        ----------
        coded
            n images.
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
            slopes, constant = self.affine_form(coded)
            return np.einsum("nqk,nk->nq", gates, slopes) + constant[:, None]
        targets, channels = self._compiled.sliced(coded.targets)
        self.evaluations += n * q
        values = self._compiled.values(
            self.batch_size,
            lambda batch: self._blocks(batch, n, q, k, len(channels)),
            coded.gated,
            coded.constant,
            coded.bank,
            gates,
            targets,
            channels,
        )
        return _finite(values)

    def gradients(self, coded: Coded, nodes: np.ndarray, weights: np.ndarray) -> tf.Tensor:
        """
        Derivatives of the score by the coefficients at every position.

        Parameters
        ----------
        coded
            n images.
        nodes, weights
            (q,): all gates are set to each node, and what comes out is summed with these weights.

        Returns
        -------
        gradients
            (n, ..., k).
        """
        self._verify(coded.activations, coded.targets)
        everywhere = np.broadcast_to(nodes, (len(coded.targets), len(nodes)))
        found = self._gradients(
            coded.gated, coded.constant, coded.bank, coded.targets, everywhere, weights
        )
        return coded.where_coefficients_are(found[0])

    def slopes_of_activations(
        self,
        activations: tf.Tensor,
        targets: np.ndarray,
        nodes: np.ndarray,
        weights: np.ndarray,
        start: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """
        Derivatives of the score by activations (n, ..., c), (n, ..., c).

        They are taken on the way from `start`, (1, ..., c) or (n, ..., c), or from 0, as far as
        each node (q,) says, and summed with the weights (q,).
        """
        self._verify(activations, targets)
        if self.affine:  # the same everywhere, once for each distinct target
            unique, inverse = distinct(targets)
            zeros = tf.zeros([len(unique), *activations.shape[1:]])
            self.evaluations += len(unique)
            slope = self._compiled.slope(zeros, *self._compiled.sliced(unique))
            return tf.gather(slope, inverse) * float(np.sum(weights))
        picked = self._compiled.sliced(targets)
        total = tf.zeros_like(activations)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            self.evaluations += len(targets)
            point = node * activations if start is None else start + node * (activations - start)
            total += weight * self._compiled.slope(point, *picked)
        return total

    def slopes(self, coded: Coded, nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted sum of df_x/dm_j, (n, k), over nodes (q,) that all gates are set to."""
        return _over_positions(coded.gated * self.gradients(coded, nodes, weights))

    def slopes_at(
        self, coded: Coded, rows: np.ndarray, nodes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        df_x/dm_j and f_x on the way from closed to open gates, at a node of its own for each row.

        Parameters
        ----------
        coded
            n images.
        rows
            (m,): which of the images each row is of; an image may have many rows or none.
        nodes
            (m,): what all gates are set to.

        Returns
        -------
        slopes
            (m, k) float64.
        scores
            (m,) float64.
        """
        slopes, scores = [], []
        self._verify(coded.activations, coded.targets)
        for first in range(0, len(rows), self.batch_size):
            some = slice(first, first + self.batch_size)
            gated = tf.gather(coded.gated, rows[some])
            constant = tf.gather(coded.constant, rows[some])
            targets, at = coded.targets[rows[some]], nodes[some, None]
            gradients, score = self._gradients(gated, constant, coded.bank, targets, at, np.ones(1))
            slopes.append(_over_positions(gated * gradients))
            scores.append(_finite(score.numpy()))
        return np.concatenate(slopes), np.concatenate(scores).astype(np.float64)

    def affine_slopes(self, coded: Coded) -> np.ndarray:
        """
        c of f_x(m) = b + sum_j c_j m_j, (n, k) float64; affine heads only.

        The gradient is the same everywhere, so it is taken once for each distinct target. Where it
        is orthogonal to a concept as far as float32 can tell, the slope is 0.
        """
        unique, inverse = distinct(coded.targets)
        zeros = tf.zeros([len(unique), *coded.constant.shape[1:]])
        self.evaluations += len(unique)
        slope = self._compiled.slope(zeros, *self._compiled.sliced(unique))
        along = tf.tensordot(slope, coded.bank, [[-1], [-1]])
        length = tf.norm(slope, axis=-1, keepdims=True) * np.linalg.norm(coded.bank, axis=1)
        along = tf.where(tf.abs(along) > ROUNDING * length, along, 0.0)
        return _over_positions(coded.gated * tf.gather(along, inverse))

    def affine_form(self, coded: Coded) -> tuple[np.ndarray, np.ndarray]:
        """(c, b) of f_x(m) = b + sum_j c_j m_j, (n, k) and (n,), float64; affine heads only."""
        constant = self.scores(coded.constant, coded.targets)
        return self.affine_slopes(coded), constant.astype(np.float64)

    # ---------------------------------------------------------------------------- inside
    def _gradients(
        self,
        gated: tf.Tensor,
        constant: tf.Tensor,
        bank: np.ndarray,
        targets: np.ndarray,
        nodes: np.ndarray,
        weights: np.ndarray,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(n, ..., k), and the scores (n,), at nodes (n, q), summed with weights (q,)."""
        self.evaluations += nodes.size
        targets, channels = self._compiled.sliced(targets)
        return self._compiled.gradients(gated, constant, bank, targets, channels, nodes, weights)

    def _blocks(self, batch: float, n: int, q: int, k: int, channels: int) -> tuple[int, int]:
        """Images, and masks of each, that are evaluated at once."""
        plan = self._compiled.plan
        room = batch * plan.largest(plan.whole, self.network.number_of_classes)
        pairs = room / plan.largest(plan.tail, channels)
        ahead = max(plan.largest(plan.front, channels), plan.entries(plan.front, channels))
        alone = room / ((k + 2) * ahead)
        if math.isnan(pairs) or math.isnan(alone):
            pairs, alone = batch, 1
        pairs = max(int(pairs), 1)
        images = int(np.clip(min(pairs // q, alone), 1, n))
        return images, max(1, min(q, pairs // images))

    def _verify(self, activations: tf.Tensor, targets: np.ndarray) -> None:
        """Compare with the plain head, unless that was done; other threads wait for it."""
        compiled = self._compiled
        if not compiled.verified:
            with alone(id(compiled), "verified"):
                if not self._compiled.verified:
                    self._compare(compiled, activations, targets)

    def _compare(
        self, compiled: HeadFunctions, activations: tf.Tensor, targets: np.ndarray
    ) -> None:
        """
        Compare with the plain head: two made-up concepts at random gates on one image.

        Where they differ, everything is evaluated plainly from then on, with a warning.
        """
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
            tensors = (gated, some, bank, gates, picked, channels)
            values = compiled.values(4, lambda batch: (1, max(1, int(batch))), *tensors)
            values = values.reshape(-1)
        difference = np.inf
        if values.shape == expected.shape:
            difference = float(np.abs(values - expected).max())
        if difference <= _tolerance() * scale + 1e-30:
            compiled.verified = True
        else:
            whole = HeadFunctions(self.network, self._operator, taken_apart=False)
            self.network.share(self._operator, whole)
            warn(
                f"The head taken apart differs from itself by {difference:.3g} where its logits "
                f"reach {scale:.3g}: it is evaluated whole from now on, which is slower. Does it "
                "hold a layer that computes something else than its class says?"
            )


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


def _over_positions(values: tf.Tensor) -> np.ndarray:
    """(n, ..., k) -> (n, k) float64."""
    values = tf.cast(values, tf.float64)
    return tf.reduce_sum(values, list(range(1, values.shape.rank - 1))).numpy()
