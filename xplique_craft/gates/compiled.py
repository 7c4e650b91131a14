"""
The functions of a head that gates need, each traced once: scores, gradients, many gates at once.

Images and gates are multiplied out inside one function, so many at a time as it is told, so that
the memory is bounded and nothing loops in Python.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from xplique.commons import get_inference_function
from xplique.commons.exceptions import InvalidOperatorException
from xplique.commons.operators import predictions_operator
from xplique.commons.operators_operations import get_operator

from .._checks import check_callable, shown
from .._compiled import compile_function, one_after_the_other
from .._once import cached_property
from ..splitting.network import Network
from .folding import Plan, Run

_OPERATOR = "a function (model, inputs, targets) -> (n,), or the name of one of Xplique's tasks"


class HeadFunctions:
    """
    The compiled functions of one head and operator, which all its gated heads share.

    Parameters
    ----------
    network
        The split model, whose head h it is.
    operator
        Xplique's; None for the score of classification, the sum of logits times targets.
    taken_apart
        False evaluates h as it is: nothing is folded and nothing is sliced.
    """

    def __init__(
        self,
        network: Network,
        operator: Callable[..., Any] | str | None,
        taken_apart: bool = True,
    ) -> None:
        self.head = network.latent_to_logit
        self.operator = get_inference_function(self.head, operator)[0]
        if operator is not None:
            check_scores(self.head, self.operator)
        self.plan = Plan(self.head, taken_apart and operator is None)
        self.verified = not self.plan.taken_apart
        places = [None, *self.head.input_shape[1:-1]]
        self.latent = tf.TensorSpec([*places, self.head.input_shape[-1]], tf.float32)
        self.coefficients = tf.TensorSpec([*places, None], tf.float32)
        self.bank = tf.TensorSpec([None, self.head.input_shape[-1]], tf.float32)
        self.targets = tf.TensorSpec([None, None], tf.float32)
        self.channels = tf.TensorSpec([None], tf.int32)
        self.room = network.room_of_h

    def sliced(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (n, s) of the logits that the targets (n, classes) need, and which, (s,)."""
        if not self.plan.taken_apart:
            return targets, np.arange(targets.shape[1])
        channels = np.flatnonzero(targets.any(axis=0))
        channels = channels if len(channels) else np.arange(1)
        return targets[:, channels], channels

    # ------------------------------------------------------------- parts, inside functions
    def _tail(self, run: Run, frontier: list[tf.Tensor], targets: tf.Tensor) -> tf.Tensor:
        """Scores (n,) of what stands at the frontier."""
        if self.plan.taken_apart:
            return tf.reduce_sum(run.logits(frontier) * targets, axis=-1)
        activations = tf.ensure_shape(frontier[0], self.latent.shape)
        activations = tf.cast(activations, self.head.inputs[0].dtype)
        targets = tf.cast(targets, self.head.outputs[0].dtype)
        return tf.cast(self.operator(self.head, activations, targets), tf.float32)

    def _score(self, activations: tf.Tensor, targets: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
        """Scores (n,) of activations."""
        run = Run(self.plan, channels)
        frontier = run(self.plan.front, run(self.plan.pointwise, [activations]))
        return self._tail(run, frontier, targets)

    def _tables(self, run: Run, bank: tf.Tensor) -> list[tf.Tensor]:
        """The bank at the boundary, W' = B(W) - B(0), (k, c') for each of its tensors."""
        k, c = tf.shape(bank)[0], self.bank.shape[1]
        rows = tf.concat([bank, tf.zeros([1, c])], axis=0)
        places = [1] * (self.latent.shape.rank - 2)
        rows = tf.reshape(rows, [k + 1, *places, c])
        images = run(self.plan.pointwise, [rows])
        images = [tf.reshape(image, [k + 1, image.shape[-1] or -1]) for image in images]
        return [image[:-1] - image[-1:] for image in images]

    def _laid_out(
        self, run: Run, gated: tf.Tensor, constant: tf.Tensor, tables: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Frontier tensors of n images: F(v_j W_j) - F(0), (n, k, ...), and F(C), (n, ...)."""
        n, k = tf.shape(gated)[0], tf.shape(gated)[-1]
        whole = run(self.plan.pointwise, [constant])
        each = [tf.einsum("n...k,kc->nk...c", gated, table) for table in tables]
        if not self.plan.front.steps:
            return each, whole
        stacked = []
        for one, rest, like in zip(each, whole, self.plan.front.inputs, strict=True):
            flat = tf.reshape(one, tf.concat([[n * k], tf.shape(one)[2:]], axis=0))
            together = tf.concat([flat, rest, tf.zeros_like(rest[:1])], axis=0)
            stacked.append(shaped(together, like))
        outputs = run(self.plan.front, stacked)
        laid = []
        for output in outputs:
            shape = tf.concat([[n, k], tf.shape(output)[1:]], axis=0)
            laid.append(tf.reshape(output[: n * k] - output[-1:], shape))
        return laid, [output[n * k : -1] for output in outputs]

    # -------------------------------------------------------------------------- functions
    def _of_activations(self, function: Callable[..., tf.Tensor]) -> Any:
        """Compile a function of (activations, targets, channels)."""
        signature = [self.latent, self.targets, self.channels]
        return compile_function(function, signature, rows=[0, 1], room=self.room)

    @cached_property
    def scores(self) -> Any:
        """(activations, targets, channels) -> (n,)."""
        return self._of_activations(self._score)

    @cached_property
    def slope(self) -> Any:
        """(activations, targets, channels) -> derivative of the score, (n, ..., c)."""

        def slope(activations: tf.Tensor, targets: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(activations)
                score = self._score(activations, targets, channels)
            return tape.gradient(
                score, activations, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )

        return self._of_activations(slope)

    def values(
        self, batch_size: float, blocks: Callable[[float], tuple[int, int]], *tensors: Any
    ) -> np.ndarray:
        """
        f_x(m), (n, q), of the tensors that `evaluate` takes.

        How many images, and masks of each, are evaluated at once is what `blocks` makes of a batch
        size, of this one or of the largest one that there is room for.
        """
        while True:
            batch = self.room.bounded(batch_size)
            images, masks = blocks(batch)
            try:
                found = self.evaluate(*tensors, images, masks).numpy()
            except tf.errors.ResourceExhaustedError as error:
                self.room.halve(batch, error, alone=images * masks == 1)
                continue
            self.room.went_through()
            return found

    @cached_property
    def evaluate(self) -> Any:
        """(gated, constant, bank, gates, targets, channels, images, masks) -> (n, q)."""

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
            run = Run(self.plan, channels)
            tables = self._tables(run, bank)

            def of_images(i: tf.Tensor) -> tf.Tensor:
                some = slice(i * images, (i + 1) * images)
                laid, whole = self._laid_out(run, gated[some], constant[some], tables)
                b = tf.shape(gated[some])[0]
                flat = [tf.reshape(one, [b, tf.shape(one)[1], -1]) for one in laid]
                rest = [tf.reshape(one, [b, 1, -1]) for one in whole]

                def of_masks(m: tf.Tensor) -> tf.Tensor:
                    at = gates[some, m * masks : (m + 1) * masks]
                    pairs = b * tf.shape(at)[1]
                    frontier = []
                    for one, fixed, like, end in zip(
                        flat, rest, whole, self.plan.tail.inputs, strict=True
                    ):
                        shape = tf.concat([[pairs], tf.shape(like)[1:]], axis=0)
                        frontier.append(shaped(tf.reshape(tf.matmul(at, one) + fixed, shape), end))
                    weights = tf.repeat(targets[some], tf.shape(at)[1], axis=0)
                    values = self._tail(run, frontier, weights)
                    return tf.transpose(tf.reshape(values, [b, tf.shape(at)[1]]))

                found = one_after_the_other(of_masks, (q + masks - 1) // masks)
                return tf.transpose(found)

            return one_after_the_other(of_images, (n + images - 1) // images)

        scalar = tf.TensorSpec([], tf.int32)
        gates = tf.TensorSpec([None, None, None], tf.float32)
        tensors = [self.coefficients, self.latent, self.bank, gates, self.targets, self.channels]
        return compile_function(evaluate, [*tensors, scalar, scalar])

    @cached_property
    def gradients(self) -> Any:
        """(gated, constant, bank, targets, channels, nodes, weights) -> (n, ..., k) and (n,)."""
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
            run = Run(plan, channels)
            tables = self._tables(run, bank)
            whole = run(plan.pointwise, [constant])
            fixed = run(plan.front, whole)
            with tf.GradientTape() as outer:
                outer.watch(gated)
                explained = [
                    tf.tensordot(gated, table, 1) + value
                    for table, value in zip(tables, whole, strict=True)
                ]
                opened = run(plan.front, explained)
            moved = [one - rest for one, rest in zip(opened, fixed, strict=True)]

            def add(i: tf.Tensor, scores: tf.Tensor, *totals: tf.Tensor) -> tuple[tf.Tensor, ...]:
                points = [
                    _like(nodes[:, i], one) * one + rest
                    for one, rest in zip(moved, fixed, strict=True)
                ]
                with tf.GradientTape() as tape:
                    tape.watch(points)
                    score = self._tail(run, points, targets)
                found = tape.gradient(
                    score, points, unconnected_gradients=tf.UnconnectedGradients.ZERO
                )
                sums = [total + weights[i] * one for total, one in zip(totals, found, strict=True)]
                return i + 1, scores + weights[i] * score, *sums

            state = (tf.constant(0), tf.zeros_like(nodes[:, 0]), *map(tf.zeros_like, fixed))
            _, scores, *totals = tf.while_loop(
                lambda i, *_: i < tf.size(weights), add, state, parallel_iterations=1
            )
            return outer.gradient(opened, gated, output_gradients=totals), scores

        nodes = tf.TensorSpec([None, None], tf.float32)
        weights = tf.TensorSpec([None], tf.float32)
        tensors = [self.coefficients, self.latent, self.bank, self.targets, self.channels]
        signature = [*tensors, nodes, weights]
        return compile_function(gradients, signature, rows=[0, 1, 3, 5], room=self.room)


def _like(numbers: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """One number a row, (n,) -> (n, 1, ..., 1), to be multiplied with a value (n, ...)."""
    return tf.reshape(numbers, [-1] + [1] * (value.shape.rank - 1))


def shaped(value: tf.Tensor, like: Any) -> tf.Tensor:
    """A tensor that is known to have the shape of another, but for its channels."""
    places = [None] * (len(like.shape) > 1)
    return tf.ensure_shape(value, [None, *like.shape[1:-1], *places])


def known_operator(operator: Callable[..., Any] | str | None) -> Callable[..., Any] | None:
    """None for the operator of classification under any of its names; an error if it is none."""
    if operator is not None and not isinstance(operator, str):
        check_callable("operator", operator, _OPERATOR)
    try:
        found = get_operator(operator)  # Xplique counts its arguments
    except (AssertionError, TypeError, ValueError, InvalidOperatorException) as error:
        kind = ValueError if isinstance(operator, str) else TypeError
        raise kind(f"operator must be {_OPERATOR}, received {shown(operator)}.") from error
    return None if found is predictions_operator else found


def check_scores(model: keras.Model, operator: Callable[..., Any], name: str = "operator") -> None:
    """
    Raise a ValueError unless an operator gives one score for each input of a model.

    It is traced for that, by TensorFlow, and not run.
    """
    inputs, outputs = model.inputs[0], model.outputs[0]
    signature = [
        tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype),
        tf.TensorSpec([None, *outputs.shape[1:]], outputs.dtype),
    ]
    traced = tf.function(lambda x, t: operator(model, x, t), input_signature=signature)
    must = (
        f"{name} must be {_OPERATOR}, one score for each input, as "
        "tf.reduce_sum(model(inputs) * targets, axis=-1) gives"
    )
    try:
        found = traced.get_concrete_function().structured_outputs
    except Exception as error:  # whatever an operator of the user's raises
        said = str(error).strip().splitlines() or [""]
        raise ValueError(f"{must}; it raised {type(error).__name__}: {said[-1].strip()}") from error
    dtype: Any = getattr(found, "dtype", None)
    if dtype is None or not (dtype.is_floating or dtype.is_integer):
        raise ValueError(f"{must}; received {found!r}.")
    shape = found.shape
    if shape.rank is not None and (shape.rank != 1 or shape[0] is not None):
        sizes = ", ".join("n" if size is None else str(size) for size in shape)
        raise ValueError(f"{must}; received shape ({sizes}).")
