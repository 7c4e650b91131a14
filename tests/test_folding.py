"""Heads taken apart: whatever they are made of, f_x(m) is what the whole head gives."""

import warnings
from collections.abc import Callable

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from keras import layers, ops
from numpy.testing import assert_allclose

import xplique_craft as xc
from xplique_craft.gates import Coded, GatedHead
from xplique_craft.gates.folding import Plan, Run
from xplique_craft.importance import OcclusionImportance, ShapleyImportance, SobolImportance

CHANNELS, CLASSES, K = 5, 4, 3
Tensor = keras.KerasTensor
RNG = np.random.default_rng(0)
TARGETS = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, -1.0]], np.float32)


def conv(filters: int, size: int = 1, **settings: object) -> layers.Layer:
    return layers.Conv2D(filters, size, **settings)


def logits(x: Tensor) -> Tensor:
    return layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))


def squeezenet(a: Tensor) -> Tensor:
    x = layers.Dropout(0.5)(a)
    return layers.GlobalAveragePooling2D()(conv(CLASSES, activation="relu")(x))


def fire(a: Tensor) -> Tensor:
    x = layers.ReLU()(conv(4)(a))
    left, right = layers.ReLU()(conv(6)(x)), layers.ReLU()(conv(6, 3, padding="same")(x))
    x = layers.Concatenate()([left, right])
    return layers.GlobalAveragePooling2D()(layers.ReLU()(conv(CLASSES)(x)))


def mobilenet(a: Tensor) -> Tensor:
    x = layers.DepthwiseConv2D(3, strides=2, padding="same")(a)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(conv(7)(x)))
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Reshape((CLASSES,))(conv(CLASSES)(layers.Dropout(0.1)(x)))


def residual(a: Tensor) -> Tensor:
    x = conv(8, 3, padding="same")(layers.ReLU()(conv(CHANNELS)(a)))
    x = layers.Add()([conv(CHANNELS)(x), a])  # A is read past the convolutions
    return logits(layers.Activation("gelu")(x))


def spatial_first(a: Tensor) -> Tensor:
    x = layers.AveragePooling2D(2)(layers.ZeroPadding2D(1)(a))
    return logits(layers.Activation("tanh")(layers.BatchNormalization()(x)))


def flattened(a: Tensor) -> Tensor:
    return layers.Dense(CLASSES)(layers.Dense(6, activation="silu")(layers.Flatten()(a)))


def softmax(a: Tensor) -> Tensor:
    return layers.Softmax()(logits(conv(6, activation="relu")(a)))


def dense_softmax(a: Tensor) -> Tensor:
    pooled = layers.GlobalMaxPooling2D()(a)
    return layers.Dense(CLASSES, activation="softmax")(pooled)


def two_readers(a: Tensor) -> Tensor:
    """The sliced part splits and meets again; one branch is read by a softmax too."""
    x = conv(CLASSES)(a)
    gate = layers.Softmax()(layers.GlobalAveragePooling2D()(x))
    left = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    right = layers.GlobalMaxPooling2D()(layers.ReLU()(x))
    return layers.Multiply()([layers.Add()([left, right]), gate])


def sliced_branches(a: Tensor) -> Tensor:
    x = layers.ReLU()(conv(6)(a))
    left, right = conv(CLASSES)(x), conv(CLASSES, 3, padding="same", activation="sigmoid")(x)
    return layers.GlobalAveragePooling2D()(layers.Multiply()([left, right]))


def raw_operations(a: Tensor) -> Tensor:
    x = ops.mean(a, axis=(1, 2)) + 1.0
    return layers.Dense(CLASSES)(ops.tanh(layers.Dense(6)(ops.expand_dims(x, 1))[:, 0]))


def normalised_last(a: Tensor) -> Tensor:
    """Batch normalisation and a raw mean after the last convolution treat channels alone."""
    x = layers.ReLU()(layers.BatchNormalization()(conv(CLASSES, 3)(layers.ReLU()(conv(6)(a)))))
    return ops.mean(x, axis=(1, 2))


def attention(a: Tensor) -> Tensor:
    x = layers.Reshape((64, CHANNELS))(a)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    return layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x))


def grouped(a: Tensor) -> Tensor:
    """The last convolution has groups: which channels it reads depends on the channel."""
    x = layers.ReLU()(conv(8)(a))
    return layers.GlobalAveragePooling2D()(layers.ReLU()(conv(CLASSES, groups=2)(x)))


def normalised(a: Tensor) -> Tensor:
    return logits(layers.LayerNormalization()(a))


def windowed(a: Tensor) -> Tensor:
    """Windows are laid among the images first: up to there it is affine, and yet not folded."""
    x = ops.transpose(ops.reshape(a, (-1, 4, 2, 4, 2, CHANNELS)), (0, 1, 3, 2, 4, 5))
    x = layers.MultiHeadAttention(1, 4)(*2 * [ops.reshape(x, (-1, 4, CHANNELS))])
    x = ops.transpose(ops.reshape(x, (-1, 4, 4, 2, 2, CHANNELS)), (0, 1, 3, 2, 4, 5))
    return logits(ops.reshape(x, (-1, 8, 8, CHANNELS)))


def normalised_at_the_end(a: Tensor) -> Tensor:
    """As a transformer ends: all tokens are normalised, of which the first one is read."""
    x = layers.Dense(6, activation="gelu")(layers.Reshape((64, CHANNELS))(a))
    x = layers.Cropping1D((0, 63))(layers.LayerNormalization()(x))
    return layers.Dense(CLASSES)(layers.Reshape((6,))(x))


def block(x: Tensor) -> Tensor:
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(y, y)])
    y = layers.Dense(7, activation="gelu")(layers.LayerNormalization()(x))
    return x + layers.Dense(CHANNELS)(y)


def one_token(a: Tensor) -> Tensor:
    """Two blocks, of which the head reads one token."""
    x = layers.LayerNormalization()(block(block(layers.Reshape((64, CHANNELS))(a))))
    return layers.Dense(CLASSES)(x[:, 0])


def other_tokens(a: Tensor) -> Tensor:
    """Some tokens of one block, past a step that mixes them all."""
    x = layers.Dropout(0.5)(block(layers.Reshape((64, CHANNELS))(a)))
    x = layers.Cropping1D((1, 60))(layers.Conv1D(CHANNELS, 3, padding="same")(x))
    return layers.Dense(CLASSES)(layers.GlobalMaxPooling1D()(x))


def tokens_of_logits(a: Tensor) -> Tensor:
    """Logits of every token, of which some are read: channels and tokens are left out together."""
    x = layers.Softmax()(layers.Dense(CLASSES)(block(layers.Reshape((64, CHANNELS))(a))))
    return layers.GlobalAveragePooling1D()(layers.Cropping1D((1, 0))(x))


def affine(a: Tensor) -> Tensor:
    return logits(layers.BatchNormalization()(conv(6, 3)(a)))


HEADS = {
    squeezenet: "folded and sliced",
    fire: "folded and sliced",
    mobilenet: "folded and sliced",
    residual: "folded and sliced",
    spatial_first: "folded and sliced",
    flattened: "folded and sliced",
    softmax: "folded",
    dense_softmax: "plain",
    two_readers: "folded",
    sliced_branches: "folded and sliced",
    raw_operations: "folded and sliced",
    grouped: "folded",
    normalised_last: "folded and sliced",
    attention: "folded and sliced",
    normalised: "sliced",
    windowed: "folded and sliced",
    one_token: "folded and sliced",
    other_tokens: "folded and sliced",
    tokens_of_logits: "folded",
    normalised_at_the_end: "folded and sliced",
    affine: "closed form",
}


def model_of(head: Callable[[Tensor], Tensor], size: int | None = 8) -> keras.Model:
    image = keras.Input((size, size, CHANNELS), name="image")
    latent = layers.Identity(name=planted.LAYER)(image)
    model = keras.Model(image, head(latent), name=head.__name__)
    for weight in model.weights:
        drawn = RNG.normal(0.0, 0.6, weight.shape)
        weight.assign(np.abs(drawn) + 0.2 if "variance" in weight.path else drawn)
    return model


class Case:
    def __init__(self, head: Callable[[Tensor], Tensor], size: int | None = 8) -> None:
        self.model = model_of(head, size)
        self.images = RNG.random((2, 8, 8, CHANNELS)).astype(np.float32)
        self.bank = planted.bank(K, CHANNELS)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The model ends in a softmax")
            warnings.filterwarnings("ignore", message="What follows .* begins with a normal")
            self.craft = planted.fitted(self.model, self.bank, self.images)
        self.coded: Coded = planted.coded(self.craft, self.images, TARGETS)
        self.gates = RNG.random((2, 9, K)).astype(np.float32)

    def expected(self, gates: np.ndarray) -> np.ndarray:
        """f_x(m) by the model itself on its input, which is the latent, (n, q)."""
        u, rest = self.coded.gated.numpy(), self.coded.constant.numpy()
        columns = []
        for q in range(gates.shape[1]):
            latent = (u * gates[:, None, None, q]) @ self.bank + rest
            columns.append((self.model(latent).numpy() * TARGETS).sum(axis=1))
        return np.stack(columns, axis=1)


@pytest.fixture(scope="module", params=HEADS, ids=lambda head: head.__name__)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_gated_scores(case: Case) -> None:
    head = GatedHead(case.craft.network, None, 64)
    values = head.evaluate(case.coded, case.gates)
    expected = case.expected(case.gates)
    assert_allclose(values, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert head.path.kind == HEADS[globals()[case.model.name]]


@pytest.mark.parametrize(
    ("head", "steps"),
    [
        # Of the last block: attention, sum, norm, dense, gelu, dense, sum; then the last norm.
        (one_token, 8),
        (other_tokens, 1),  # what the convolution gives
        (tokens_of_logits, 1),  # what the softmax gives
        (normalised_at_the_end, 2),
        (attention, 0),
        (windowed, 0),
        (flattened, 0),
    ],
)
def test_tokens_that_nobody_reads_are_left_out(
    head: Callable[[Tensor], Tensor], steps: int
) -> None:
    model = model_of(head)
    latent = model.get_layer(planted.LAYER).output
    plan = Plan(keras.Model(latent, model.output))
    assert len(plan.read) == steps
    run = Run(plan, tf.range(CLASSES))
    images = RNG.random((2, 8, 8, CHANNELS)).astype(np.float32)
    frontier = run(plan.front, run(plan.pointwise, [tf.constant(images)]))
    assert_allclose(run.logits(frontier), model(images), rtol=1e-4, atol=1e-4)
    run = Run(plan, tf.constant([2]))
    frontier = run(plan.front, run(plan.pointwise, [tf.constant(images)]))
    assert_allclose(run.logits(frontier), model(images)[:, 2:3], rtol=1e-4, atol=1e-4)


def test_small_batches_give_the_same(case: Case) -> None:
    values = GatedHead(case.craft.network, None, 2).evaluate(case.coded, case.gates)
    expected = case.expected(case.gates)
    assert_allclose(values, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_derivatives(case: Case) -> None:
    """By the coefficients at every position, against the model's own gradient."""
    head = GatedHead(case.craft.network, None, 64)
    found = head.gradients(case.coded, np.array([0.3, 1.0]), np.array([0.5, 2.0]))
    expected = 0.0
    explained = case.coded.gated.numpy() @ case.bank
    for node, weight in ((0.3, 0.5), (1.0, 2.0)):
        latent = tf.constant(node * explained + case.coded.constant.numpy(), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(latent)
            score = tf.reduce_sum(case.model(latent) * TARGETS)
        expected = expected + weight * tape.gradient(score, latent).numpy() @ case.bank.T
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_scores_and_ends(case: Case) -> None:
    head = GatedHead(case.craft.network, None, 64)
    own = (case.model(case.images).numpy() * TARGETS).sum(axis=1)
    assert_allclose(head.scores(case.coded.activations, TARGETS), own, rtol=1e-4, atol=1e-5)
    closed, opened = head.ends(case.coded)
    assert_allclose(opened, own, rtol=1e-4, atol=1e-5)
    assert_allclose(closed, case.expected(np.zeros((2, 1, K)))[:, 0], rtol=1e-4, atol=1e-5)


def test_only_the_channels_of_the_targets_are_computed() -> None:
    plan = Plan(model_of(squeezenet))
    run = Run(plan, tf.constant([2]))
    assert [tuple(kernel.shape) for kernel, _ in run.kernels.values()] == [(1, 1, CHANNELS, 1)]
    (frontier,) = run(plan.pointwise, [tf.ones([1, 8, 8, CHANNELS])])
    assert frontier.shape == (1, 8, 8, 1)
    assert frontier.numpy().min() != pytest.approx(0.0)  # the activation is left to the tail


def test_a_custom_operator_is_given_the_whole_head() -> None:
    case = Case(squeezenet)
    head = GatedHead(case.craft.network, planted.by_sampling, 64)
    values = head.evaluate(case.coded, case.gates)
    assert_allclose(values, case.expected(case.gates), rtol=1e-4, atol=1e-5)
    path = head.path
    assert (path.kind, path.reason) == (
        "plain",
        "the operator is not the sum of logits times targets",
    )


def test_sizes_that_are_left_open() -> None:
    case = Case(fire, size=None)
    head = GatedHead(case.craft.network, None, 64)
    values = head.evaluate(case.coded, case.gates)
    assert_allclose(values, case.expected(case.gates), rtol=1e-4, atol=1e-5)
    assert head.path.kind == "folded and sliced"


def test_reduced_precision_is_evaluated_whole() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        case = Case(squeezenet)
    finally:
        keras.config.set_dtype_policy(policy)
    head = GatedHead(case.craft.network, None, 64)
    values = head.evaluate(case.coded, case.gates)
    assert head.path.kind == "plain"
    assert "not float32" in head.path.reason
    expected = case.expected(case.gates)
    assert_allclose(values, expected, atol=0.03 * np.abs(expected).max())


def test_a_layer_that_lies_is_found_out() -> None:
    """A convolution whose call was replaced by one that is not affine."""
    model = model_of(squeezenet)
    layer = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    own = layer.call
    layer.call = lambda inputs: ops.square(own(inputs))
    images = RNG.random((2, 8, 8, CHANNELS)).astype(np.float32)
    craft = planted.fitted(xc.split_model(model, planted.LAYER), planted.bank(K, CHANNELS), images)
    coded = planted.coded(craft, images, TARGETS)
    head = GatedHead(craft.network, None, 64)
    gates = RNG.random((2, 4, K)).astype(np.float32)
    with pytest.warns(UserWarning, match=r"taken apart differs from itself .* evaluated whole"):
        values = head.evaluate(coded, gates)
    u, rest = coded.gated.numpy(), coded.constant.numpy()
    for q in range(4):
        latent = (u * gates[:, None, None, q]) @ craft.factorized.bank + rest
        expected = (model(latent).numpy() * TARGETS).sum(axis=1)
        assert_allclose(values[:, q], expected, rtol=1e-4, atol=1e-5)
    again = GatedHead(craft.network, None, 64)  # the finding is kept with the network
    again.evaluate(coded, gates)
    assert again.path.kind == "plain"


def test_a_lie_is_found_out_on_a_black_image_and_by_all_heads() -> None:
    """The contributions beside a summary come from the whole head, too."""
    model = model_of(affine)
    layer = next(layer for layer in model.layers if isinstance(layer, layers.Dense))
    own = layer.call
    layer.call = lambda inputs, training=None: ops.square(own(inputs))
    images = RNG.random((2, 8, 8, CHANNELS)).astype(np.float32)
    images[0] = 0.0
    craft = planted.fitted(xc.split_model(model, planted.LAYER), planted.bank(K, CHANNELS), images)
    with (
        pytest.warns(UserWarning, match="taken apart differs from itself"),
        pytest.warns(UserWarning, match="importances of 1 of 2 images are the same"),
    ):
        found = OcclusionImportance(craft).summary(images, 1)
    assert found.contributions is not None
    assert_allclose(found.contributions.phi, craft.contributions(images, 1).phi)
    assert not found.contributions.exact
    score = (model(images).numpy())[:, 1]
    assert_allclose(found.contributions.score, score, rtol=1e-4, atol=1e-5)


def test_a_tensor_added_to_itself() -> None:
    def doubled(a: Tensor) -> Tensor:
        x = logits(a)
        return layers.Add()([x, x])

    case = Case(doubled)
    values = OcclusionImportance(case.craft).explain(case.images, 0)
    expected = OcclusionImportance(case.craft, operator=planted.by_sampling).explain(case.images, 0)
    assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_large_biases_do_not_hide_what_concepts_do() -> None:
    """Importance does not depend on affine changes of the score."""
    case = Case(affine)
    expected = SobolImportance(case.craft).explain(case.images, 0)
    layer = next(layer for layer in case.model.layers if isinstance(layer, layers.Dense))
    layer.bias.assign(layer.bias + 1e6)
    assert_allclose(SobolImportance(case.craft).explain(case.images, 0), expected, rtol=1e-4)


def test_the_policy_of_the_moment_does_not_matter() -> None:
    case = Case(fire)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = GatedHead(case.craft.network, None, 64)
        values = head.evaluate(case.coded, case.gates)
    finally:
        keras.config.set_dtype_policy(policy)
    assert head.path.kind == "folded and sliced"
    assert_allclose(values, case.expected(case.gates), rtol=1e-4, atol=1e-5)


def test_scores_that_are_not_finite_are_refused() -> None:
    craft, image = planted.function_craft(lambda m: ops.log(m[:, 0]) + m[:, 1], 2)
    for method in (OcclusionImportance, ShapleyImportance):
        with pytest.raises(ValueError, match="NaN or infinite for some gates"):
            method(craft).explain(image)


def test_an_affine_layer_that_lies_is_found_out_before_its_closed_form() -> None:
    model = model_of(affine)
    layer = next(layer for layer in model.layers if isinstance(layer, layers.Dense))
    own = layer.call
    layer.call = lambda inputs, training=None: ops.square(own(inputs))
    images = RNG.random((2, 8, 8, CHANNELS)).astype(np.float32)
    craft = planted.fitted(xc.split_model(model, planted.LAYER), planted.bank(K, CHANNELS), images)
    with pytest.warns(UserWarning, match="taken apart differs from itself"):
        found = OcclusionImportance(craft).explain(images, 1)
    expected = OcclusionImportance(craft, operator=planted.by_sampling).explain(images, 1)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
