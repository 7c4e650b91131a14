"""Numbers and bounds inside gates: rounding, tolerance, sizes of batches, counts, plans."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from keras import layers, ops
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft.factorization import PCA
from xplique_craft.gates import Coded, GatedHead
from xplique_craft.gates.coded import encode_batch
from xplique_craft.gates.compiled import HeadFunctions
from xplique_craft.gates.folding import Plan
from xplique_craft.sampling.stream import ImageBatch

CHANNELS, CLASSES = 5, 4
Tensor = keras.KerasTensor


def model_of(
    head: Callable[[Tensor], Tensor], shape: tuple[int | None, ...] = (8, 8, CHANNELS)
) -> keras.Model:
    """A model whose latent is its input; random weights, positive variances."""
    rng = np.random.default_rng(0)
    image = keras.Input(shape)
    model = keras.Model(image, head(layers.Identity(name=planted.LAYER)(image)))
    for weight in model.weights:
        drawn = rng.normal(0.0, 0.6, weight.shape)
        weight.assign(np.abs(drawn) + 0.2 if "variance" in weight.path else drawn)
    return model


def gated(model: keras.Model, batch_size: int = 64) -> GatedHead:
    return GatedHead(xc.split_model(model, planted.LAYER).network, None, batch_size)


def coded_of(u: np.ndarray, bank: np.ndarray, targets: np.ndarray, rest: Any = 0.0) -> Coded:
    """Coefficients (n, ..., k) and what gates leave as it is."""
    u, bank = u.astype(np.float32), bank.astype(np.float32)
    constant = np.zeros((*u.shape[:-1], bank.shape[1]), np.float32) + np.float32(rest)
    return Coded(
        indices=np.arange(len(u)),
        images=np.zeros((len(u), 2, 2, 1), np.float32),
        targets=np.asarray(targets, np.float32),
        activations=tf.constant(u @ bank + constant),
        u=tf.constant(u),
        gated=tf.constant(u),
        constant=tf.constant(constant),
        kkt=tf.zeros(u.shape[:-1]),
        bank=bank,
    )


def drawn(n: int = 2, k: int = 3, classes: int = CLASSES, size: int = 8) -> Coded:
    """A batch of random concepts on maps; image i is asked for class i."""
    rng = np.random.default_rng(1)
    rest = 0.1 * rng.random((n, size, size, CHANNELS))
    bank = planted.bank(k, CHANNELS)
    targets = np.eye(classes)[np.arange(n) % classes]
    return coded_of(rng.random((n, size, size, k)), bank, targets, rest)


def by_the_model(model: keras.Model, coded: Coded, gates: np.ndarray) -> np.ndarray:
    """f_x(m), (n, q), of gates (n, q, k), by the model at inference."""
    columns = []
    for q in range(gates.shape[1]):
        at = gates[:, q].reshape(len(gates), *[1] * (coded.u.shape.rank - 2), -1)
        latent = (coded.gated.numpy() * at) @ coded.bank + coded.constant.numpy()
        columns.append((model(latent, training=False).numpy() * coded.targets).sum(axis=1))
    return np.stack(columns, axis=1)


def bent(x: Tensor) -> Tensor:
    """Not affine: a convolution of one place, a ReLU, an average, the logits."""
    x = layers.ReLU()(layers.Conv2D(6, 1)(x))
    return layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))


def affine(x: Tensor) -> Tensor:
    return layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(layers.Conv2D(6, 1)(x)))


def last_bent(x: Tensor) -> Tensor:
    """The logits' channels are made by the convolution, and can be had alone."""
    return layers.GlobalAveragePooling2D()(layers.Conv2D(CLASSES, 1, activation="relu")(x))


# -------------------------------------------------------------------------------------- rounding
def test_slopes_are_zero_where_float32_sees_a_right_angle_and_only_there() -> None:
    """Of 1e-4 between the gradient and a concept nothing is lost, of 1e-7 nothing is left."""
    model = model_of(lambda x: layers.Dense(3, use_bias=False)(x), (2,))
    model.layers[-1].set_weights([np.array([[1e-4, 1e-7, 3e-6], [1.0, 1.0, 1.0]])])
    bank = np.array([[2.0, 0.0], [0.0, 3.0]])
    coded = coded_of(np.array([[5.0, 1.0]] * 3), bank, np.eye(3))
    slopes = gated(model).affine_slopes(coded)
    assert_allclose(slopes, [[1e-3, 3.0], [0.0, 3.0], [3e-5, 3.0]], rtol=1e-5)
    assert slopes[1, 0] == 0.0


# ----------------------------------------------------------------------------- the check of itself
@pytest.mark.parametrize(("lie", "found_out"), [(1e-2, True), (-1e-2, True), (1e-6, False)])
@pytest.mark.parametrize("head", ["bent", "affine"])
def test_a_small_lie_is_found_out(head: str, lie: float, found_out: bool) -> None:
    """Of the logits' size 1e-4 is allowed."""
    model = model_of(bent if head == "bent" else affine)
    layer = model.layers[-1]
    own = layer.call
    # Where a dense layer is sliced it is asked for its weights alone, and never called.
    layer.call = lambda x, training=None: (1.0 + lie) * own(x)
    gate, coded = gated(model), drawn()
    if found_out:
        with pytest.warns(UserWarning, match="taken apart differs from itself"):
            values = gate.evaluate(coded, np.ones((1, 3)))
        assert gate.path.kind == "plain"
        assert not gate.affine
    else:
        values = gate.evaluate(coded, np.ones((1, 3)))
        assert gate.path.kind != "plain"
    expected = by_the_model(model, coded, np.ones((2, 1, 3)))
    assert_allclose(values, expected, rtol=1e-4)


@pytest.mark.parametrize(("asked", "lies"), [(17, 17), (17, 0), (0, 39), (39, 0)])
def test_a_lie_of_one_class_is_found_out(asked: int, lies: int) -> None:
    """Those that are asked for are checked, and some from the first to the last."""

    def head(x: Tensor) -> Tensor:
        return layers.Dense(40)(layers.GlobalAveragePooling2D()(layers.Conv2D(6, 1)(x)))

    model = model_of(head)
    own, more = model.layers[-1].call, np.eye(40, dtype=np.float32)[lies]
    model.layers[-1].call = lambda x, training=None: own(x) * (1.0 + more)
    coded = drawn(1)
    coded = coded_of(coded.u.numpy(), coded.bank, np.eye(40)[[asked]], coded.constant.numpy())
    with pytest.warns(UserWarning, match="taken apart differs from itself"):
        values = gated(model).evaluate(coded, np.ones((1, 3)))
    assert_allclose(values, by_the_model(model, coded, np.ones((1, 1, 3))), rtol=1e-4)


def test_a_lie_is_found_out_on_an_image_that_says_nothing() -> None:
    """All logits of no activation are 0, true or not: concepts of size 1 are made up for it."""
    model = model_of(affine)
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(0.0 * layer.bias)
    own = model.layers[-1].call
    model.layers[-1].call = lambda x, training=None: 1.1 * own(x)
    coded = coded_of(np.zeros((1, 8, 8, 3)), planted.bank(3, CHANNELS), np.eye(CLASSES)[:1])
    gate = gated(model)
    with pytest.warns(UserWarning, match="taken apart differs from itself"):
        assert not gate.is_affine(coded)


@pytest.mark.parametrize("biases", [[-50.0] * 4, [1e4, 0.0, -1e4, 5.0]], ids=str)
def test_what_is_rounded_in_large_logits_is_no_lie(biases: list[float]) -> None:
    """Their size is that of the largest, whatever its sign; a warning would be an error."""
    model, coded = model_of(bent), drawn()
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([np.abs(kernel), np.array(biases)])
    gate = gated(model)
    values = gate.evaluate(coded, np.ones((1, 3)))
    assert gate.path.kind == "folded and sliced"
    assert_allclose(values, by_the_model(model, coded, np.ones((2, 1, 3))), rtol=1e-4)


def test_the_check_is_made_once() -> None:
    model = model_of(bent)
    gate, coded = gated(model), drawn()
    asked: list[int] = []
    own = gate.network.logits
    gate.network.__dict__["logits"] = lambda x: asked.append(1) or own(x)
    for _ in range(2):
        gate.evaluate(coded, np.ones((1, 3)))
        gate.scores(coded.activations, coded.targets)
    assert len(asked) == 4  # points of the one check


# ------------------------------------------------------------------------- layers that are special
class HalvedInTraining(layers.Layer):
    """What it does unless it is told otherwise is what it does in training."""

    def call(self, x: Any, training: bool = True) -> Any:
        return 0.5 * x if training else x


def test_layers_are_called_as_at_inference() -> None:
    def head(x: Tensor) -> Tensor:
        x = HalvedInTraining()(layers.ReLU()(layers.Conv2D(6, 1)(x)))
        return layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))

    model, coded = model_of(head), drawn()
    gate, gates = gated(model), np.random.default_rng(2).random((2, 3, 3))
    values = gate.evaluate(coded, gates)
    assert gate.path.kind == "folded and sliced"  # and nobody had to be warned
    assert_allclose(values, by_the_model(model, coded, gates), rtol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"center": False}, {"scale": False}], ids=str)
def test_batch_normalisation_of_some_channels_has_the_layers_own_epsilon(
    settings: dict[str, bool],
) -> None:
    def head(x: Tensor) -> Tensor:
        x = layers.Conv2D(CLASSES, 3, activation="tanh")(x)
        return layers.GlobalAveragePooling2D()(
            layers.BatchNormalization(epsilon=0.7, **settings)(x)
        )

    model, coded = model_of(head), drawn()
    gate, gates = gated(model), np.random.default_rng(2).random((2, 3, 3))
    values = gate.evaluate(coded, gates)
    assert gate.path.kind == "folded and sliced"
    assert_allclose(values, by_the_model(model, coded, gates), rtol=1e-4, atol=1e-5)
    gradients = gate.gradients(coded, np.array([0.5]), np.ones(1)).numpy()
    step = 1e-2 * np.eye(3)[1]
    ends = np.stack([np.full((2, 3), 0.5) + step, np.full((2, 3), 0.5) - step], axis=1)
    rises = by_the_model(model, coded, ends)
    slope = (gradients * coded.gated.numpy()).sum(axis=(1, 2))[:, 1]
    assert_allclose(slope, (rises[:, 0] - rises[:, 1]) / 2e-2, rtol=1e-2)


def test_a_causal_convolution_looks_back_only() -> None:
    """Its channels are computed alone, and padded on the left."""

    def head(x: Tensor) -> Tensor:
        x = layers.Conv1D(CLASSES, 3, padding="causal", dilation_rate=2, activation="tanh")(x)
        return layers.Flatten()(layers.Cropping1D((0, 8))(x))  # the first place alone

    model = model_of(head, (9, CHANNELS))
    rng = np.random.default_rng(3)
    coded = coded_of(rng.random((2, 9, 3)), planted.bank(3, CHANNELS), np.eye(4)[:2])
    gate, gates = gated(model), rng.random((2, 3, 3))
    assert_allclose(
        gate.evaluate(coded, gates), by_the_model(model, coded, gates), rtol=1e-4, atol=1e-6
    )
    assert gate.path.kind == "folded and sliced"


@pytest.mark.parametrize("where", ["hidden", "logits"])
def test_one_layer_of_another_precision_is_enough_to_evaluate_all_plainly(where: str) -> None:
    def head(x: Tensor) -> Tensor:
        kinds = {"dtype": "float64"}
        x = layers.Dense(6, activation="tanh", **(kinds if where == "hidden" else {}))(x)
        x = layers.GlobalAveragePooling2D(dtype="float32")(x)
        return layers.Dense(CLASSES, **(kinds if where == "logits" else {}))(x)

    model, coded = model_of(head), drawn()
    gate, gates = gated(model), np.random.default_rng(2).random((2, 3, 3))
    assert_allclose(
        gate.evaluate(coded, gates), by_the_model(model, coded, gates), rtol=1e-4, atol=1e-6
    )
    assert gate.path.kind == "plain"
    assert "not float32 throughout" in gate.path.reason


# --------------------------------------------------------------------------------- plans and sizes
def names(steps: tuple[Any, ...]) -> list[str]:
    return [type(step.operation).__name__ for step in steps]


def test_a_plan_by_hand() -> None:
    def head(x: Tensor) -> Tensor:
        x = layers.BatchNormalization()(layers.Conv2D(6, 1)(x))
        x = layers.Conv2D(7, 3, activation="tanh")(x)
        return layers.GlobalAveragePooling2D()(layers.Conv2D(CLASSES, 1)(x))

    model = model_of(head)
    plan = Plan(model)
    assert names(plan.pointwise.steps) == ["Identity", "Conv2D", "BatchNormalization"]
    assert names(plan.front.steps) == ["Conv2D"]
    assert names(plan.tail.steps) == ["Activation", "Conv2D", "GlobalAveragePooling2D"]
    assert names(plan.cut) == ["Conv2D"]
    assert names(plan.whole.steps) == [
        *names(plan.pointwise.steps),
        *names(plan.front.steps),
        *names(plan.tail.steps),
    ]
    assert plan.folded is True
    assert plan.slices is True
    assert [tuple(t.shape[1:]) for t in plan.front.inputs] == [(8, 8, 6)]
    assert [tuple(t.shape[1:]) for t in plan.tail.inputs] == [(6, 6, 7)]
    # Of an image: 8 x 8 x 5 activations, 6 x 6 x 7 at the frontier, 6 x 6 of each logit.
    assert plan.largest(plan.whole, CLASSES) == 8 * 8 * 6
    assert plan.largest(plan.pointwise, 1) == 8 * 8 * 6
    assert plan.largest(plan.front, 1) == 8 * 8 * 6
    assert plan.entries(plan.front, 1) == 6 * 6 * 7
    assert plan.largest(plan.tail, 1) == 6 * 6 * 7
    assert plan.largest(plan.tail, 9) == 6 * 6 * 9
    assert plan.entries(plan.tail, 3) == 3
    whole = Plan(model, taken_apart=False)
    assert whole.folded is False
    assert whole.slices is False
    assert names(whole.tail.steps) == names(whole.whole.steps)
    assert "Activation" not in names(whole.tail.steps)


def test_entries_of_several_tensors_add_up() -> None:
    def head(x: Tensor) -> Tensor:
        left, right = layers.Conv2D(6, 3)(x), layers.AveragePooling2D(2)(x)
        both = [layers.GlobalMaxPooling2D()(layers.ReLU()(y)) for y in (left, right)]
        return layers.Dense(CLASSES)(layers.Concatenate()(both))

    plan = Plan(model_of(head))
    assert plan.entries(plan.front, 1) == 6 * 6 * 6 + 4 * 4 * CHANNELS
    assert plan.largest(plan.front, 1) == 8 * 8 * CHANNELS


def test_sizes_that_are_left_open_are_not_numbers() -> None:
    plan = Plan(model_of(bent, (None, None, CHANNELS)))
    assert np.isnan(plan.largest(plan.whole, 1))
    assert np.isnan(plan.entries(plan.front, 1))


@pytest.mark.parametrize(
    ("batch_size", "n", "q", "expected"),
    [
        (64, 100, 11, (5, 11)),  # 64 pairs, so 5 images of 11 masks
        (64, 3, 11, (3, 11)),
        (64, 100, 2, (12, 2)),  # 32 images of 2 masks, but 64 / (3 + 2) concepts' own tensors
        (64, 100, 100, (1, 64)),
        (8, 5, 2, (1, 2)),
        (1, 5, 7, (1, 1)),
        (4, 5, 7, (1, 4)),
    ],
)
def test_images_and_masks_at_once(
    batch_size: int, n: int, q: int, expected: tuple[int, int]
) -> None:
    """The largest tensor of this head is as large before its frontier as after it."""
    head = gated(model_of(bent), batch_size)
    assert head._blocks(batch_size, n, q, 3, 1) == expected


def test_more_at_once_where_slices_are_small() -> None:
    """Of an image 8 x 8 x 5 activations, and 8 x 8 of one logit: 5 times as many."""
    head = gated(model_of(last_bent), 12)
    assert head._blocks(12, 100, 60, 1, 1) == (1, 60)
    assert head._blocks(12, 100, 70, 1, 1) == (1, 60)
    assert head._blocks(12, 100, 2, 1, 1) == (20, 2)  # 60 pairs; 12 x 5 / (1 + 2)
    assert head._blocks(12, 100, 2, 1, 5) == (4, 2)


def test_one_image_at_once_where_sizes_are_left_open() -> None:
    head = gated(model_of(bent, (None, None, CHANNELS)), 12)
    assert head._blocks(12, 100, 5, 3, 1) == (1, 5)
    assert head._blocks(12, 100, 50, 3, 1) == (1, 12)


# ------------------------------------------------------------------------------ targets and counts
def test_targets_that_ask_for_nothing() -> None:
    model, coded = model_of(bent), drawn()
    nothing = coded_of(coded.u.numpy(), coded.bank, np.zeros((2, CLASSES)), coded.constant.numpy())
    head = gated(model)
    assert_array_equal(head.evaluate(nothing, np.ones((4, 3))), np.zeros((2, 4)))
    assert_array_equal(head.scores(nothing.activations, nothing.targets), np.zeros(2))
    functions = HeadFunctions(head.network, None)
    weights, channels = functions.sliced(nothing.targets)
    assert_array_equal(weights, np.zeros((2, 1)))
    assert_array_equal(channels, [0])


def test_only_what_targets_ask_for_is_sliced_out() -> None:
    network = gated(model_of(bent)).network
    targets = np.array([[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0]], np.float32)
    weights, channels = HeadFunctions(network, None).sliced(targets)
    assert_array_equal(channels, [1, 3])
    assert_array_equal(weights, [[2.0, 0.0], [0.0, -1.0]])
    weights, channels = HeadFunctions(network, None, taken_apart=False).sliced(targets)
    assert_array_equal(channels, np.arange(4))
    assert_array_equal(weights, targets)


def test_evaluations_are_counted_in_images() -> None:
    model, coded = model_of(bent), drawn(5)
    head = gated(model, 2)
    counts = []
    for ask in [
        lambda: head.scores(coded.activations, coded.targets),
        lambda: head.ends(coded),
        lambda: head.baseline(coded),  # of each distinct target, and 5 images have 4
        lambda: head.evaluate(coded, np.ones((7, 3))),
        lambda: head.slopes(coded, np.array([0.1, 0.5, 0.9]), np.ones(3)),
        lambda: head.slopes_at(coded, np.array([0, 0, 4]), np.array([0.2, 0.4, 0.6])),
    ]:
        before = head.evaluations
        ask()
        counts.append(head.evaluations - before)
    assert counts == [5, 10, 4, 35, 15, 3]


def test_slopes_at_nodes_of_ones_own() -> None:
    """Rows in any order, an image often or never, more of them than fit at once."""
    model, coded = model_of(bent), drawn(4)
    rows, nodes = np.array([2, 0, 2, 3, 0]), np.array([0.1, 0.9, 0.5, 0.0, 0.25])
    slopes, scores = gated(model, 2).slopes_at(coded, rows, nodes)
    assert slopes.dtype == scores.dtype == np.float64
    assert slopes.shape == (5, 3)
    gates = np.repeat(nodes[:, None, None], 3, axis=2)
    assert_allclose(
        scores, by_the_model(model, coded.rows(rows), gates)[:, 0], rtol=1e-4, atol=1e-5
    )
    whole = gated(model)
    for i, (row, node) in enumerate(zip(rows, nodes, strict=True)):
        expected = whole.slopes(coded, np.array([node]), np.ones(1))[row]
        assert_allclose(slopes[i], expected, rtol=1e-4, atol=1e-6)


def test_slopes_are_summed_with_weights() -> None:
    model, coded = model_of(bent), drawn(3)
    head = gated(model)
    one, two = (head.slopes(coded, np.array([node]), np.ones(1)) for node in (0.2, 0.8))
    found = head.slopes(coded, np.array([0.2, 0.8]), np.array([3.0, -0.5]))
    assert_allclose(found, 3.0 * one - 0.5 * two, rtol=1e-4, atol=1e-5)


def test_a_score_that_activations_do_not_reach_has_no_slope() -> None:
    def head(x: Tensor) -> Tensor:
        return bent(ops.stop_gradient(x))

    model, coded = model_of(head), drawn()
    assert_array_equal(gated(model).slopes(coded, np.array([0.5]), np.ones(1)), np.zeros((2, 3)))


# ---------------------------------------------------------------------------------- coded batches
@pytest.mark.parametrize("keep_residual", [True, False])
@pytest.mark.parametrize("towards_the_mean", [True, False])
def test_what_gates_touch_and_what_they_leave(keep_residual: bool, towards_the_mean: bool) -> None:
    """PCA, so that there is an offset: the table at the top of the file."""
    rng = np.random.default_rng(4)
    rows = rng.random((40, 6)).astype(np.float32)
    factorized = PCA().fit(rows, 2)
    activations = tf.constant(rows[:12].reshape(3, 4, 6))
    batch = ImageBatch(7, np.zeros((3, 5, 4, 1), np.float32), None)
    reference = np.array([0.3, -0.2], np.float32) if towards_the_mean else None
    targets = np.eye(3, dtype=np.float32)
    coded = Coded.of(
        batch, targets, activations, factorized, reference=reference, keep_residual=keep_residual
    )
    bank, offset = factorized.bank, factorized.offset
    u = coded.u.numpy()
    assert_allclose(u, factorized.transform(activations), atol=1e-6)
    closed = np.zeros(2) if reference is None else reference
    assert_allclose(coded.gated, u - closed, atol=1e-6)
    rest = activations.numpy() - u @ bank if keep_residual else offset
    assert_allclose(coded.constant, np.broadcast_to(rest + closed @ bank, (3, 4, 6)), atol=1e-5)
    assert np.abs(offset).min() > 0.1
    assert_array_equal(coded.indices, [7, 8, 9])
    assert coded.size == (5, 4)
    assert coded.number_of_concepts == 2


def test_some_images_of_a_batch() -> None:
    coded = drawn(4)
    rows = np.array([3, 1])
    some = coded.rows(rows)
    names = ("indices", "images", "targets", "activations", "u", "gated", "constant", "kkt")
    for name in names:
        assert_array_equal(getattr(some, name), np.asarray(getattr(coded, name))[rows])


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 0, 4), (2, 3, 0)])
def test_activations_of_no_shape_are_refused(shape: tuple[int, ...]) -> None:
    factorized = planted.Given(planted.bank(2, 4)).fit(np.ones((5, 4), np.float32), 2)
    with pytest.raises(ValueError, match=r"must have shape .* none of them 0, received"):
        encode_batch(tf.zeros(shape), factorized)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_activations_that_the_factorizer_cannot_take_are_refused(value: float) -> None:
    """Wherever they are."""
    factorized = planted.Given(planted.bank(2, 4)).fit(np.ones((5, 4), np.float32), 2)
    activations = np.ones((2, 3, 4), np.float32)
    activations[1, 2, 3] = value
    with pytest.raises(ValueError):  # noqa: PT011 what it says is the factorizer's business
        encode_batch(activations, factorized)
    assert encode_batch(np.ones((2, 4), np.float32), factorized)[0].shape == (2, 2)
