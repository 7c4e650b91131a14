"""Every convolution of Keras, last in a head that is taken apart: gates give the plain numbers."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from keras import layers
from numpy.testing import assert_allclose

import xplique_craft as xc
from xplique_craft.gates import Coded, GatedHead

CHANNELS = 4
PLACES = {1: (9,), 2: (4, 5), 3: (4, 4, 5)}
TARGETS = np.array([[0.0, 1.0, 0.0, -1.0]], np.float32)  # some of the channels
KINDS = [
    *(f"Conv{rank}D{ending}" for rank in PLACES for ending in ("", "Transpose")),
    *(f"{kind}Conv{rank}D" for kind in ("Depthwise", "Separable") for rank in (1, 2)),
]


def _cases() -> Iterator[Any]:
    for kind in KINDS:
        paddings = ["same", "valid"]
        if kind == "Conv1D":  # Keras lists it for SeparableConv1D, which then fails
            paddings.append("causal")
        for padding in paddings:
            for step, size in (("strides", 2), ("dilation_rate", 3)):  # 3 pads one side more
                if (kind, step) == ("Conv3DTranspose", "dilation_rate"):
                    continue  # TensorFlow has none
                yield pytest.param(
                    kind, {"padding": padding, step: size}, id=f"{kind}-{padding}-{step}"
                )


def _check(kind: str, settings: dict[str, Any], *, size_known: bool = True) -> str:
    """Hold gated scores and their derivatives against the model itself; say how they were had."""
    rng = np.random.default_rng(0)
    rank = next(int(letter) for letter in kind if letter.isdigit())
    places = PLACES[rank]
    image = keras.Input((*(places if size_known else [None] * rank), CHANNELS))
    x = layers.ReLU()(layers.Dense(CHANNELS)(layers.Identity(name=planted.LAYER)(image)))
    filters = {} if kind.startswith("Depthwise") else {"filters": CHANNELS}
    x = getattr(layers, kind)(**filters, kernel_size=2, activation="tanh", **settings)(x)
    model = keras.Model(image, getattr(layers, f"GlobalAveragePooling{rank}D")()(x))
    for weight in model.weights:
        weight.assign(rng.normal(0.0, 0.6, weight.shape))

    bank = planted.bank(2, CHANNELS)
    gated = tf.constant(rng.random((1, *places, 2)), tf.float32)
    constant = tf.constant(0.1 * rng.random((1, *places, CHANNELS)), tf.float32)
    coded = Coded(
        indices=np.arange(1),
        images=np.zeros((1, *places, CHANNELS)),
        targets=TARGETS,
        activations=tf.tensordot(gated, bank, 1) + constant,
        u=gated,
        gated=gated,
        constant=constant,
        kkt=tf.zeros((1, *places)),
        bank=bank,
    )

    def score(m: Any) -> tf.Tensor:
        return tf.reduce_sum(model(tf.tensordot(gated * m, bank, 1) + constant) * TARGETS)

    head = GatedHead(xc.split_model(model, planted.LAYER).network, None, 64)
    gates = rng.random((1, 4, 2)).astype(np.float32)
    values = head.evaluate(coded, gates)
    assert_allclose(values[0], [score(m) for m in gates[0]], rtol=1e-4, atol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(gated)
        whole = score(np.ones(2, np.float32))
    one = np.ones(1)
    assert_allclose(head.gradients(coded, one, one), tape.gradient(whole, gated), atol=1e-5)
    return head.path.kind


@pytest.mark.parametrize(("kind", "settings"), list(_cases()))
def test_a_convolution_that_ends_a_head(kind: str, settings: dict[str, Any]) -> None:
    alone = kind in ("Conv1D", "Conv2D", "Conv3D")  # of these, channels can be computed alone
    assert _check(kind, settings) == ("folded and sliced" if alone else "folded")


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_dilation_where_sizes_are_left_open(padding: str) -> None:
    settings = {"padding": padding, "dilation_rate": 3}
    assert _check("Conv2D", settings, size_known=False) == "folded and sliced"


def test_dilation_that_differs_from_side_to_side() -> None:
    settings = {"padding": "same", "dilation_rate": (1, 3)}
    assert _check("Conv2D", settings) == "folded and sliced"


def test_a_craft_of_a_network_that_ends_with_dilation() -> None:
    """Everything that follows `fit`, not the scores alone."""
    image = keras.Input((8, 8, 3))
    latent = layers.Conv2D(5, 1, activation="relu", name=planted.LAYER)(image)
    x = layers.Conv2D(3, 3, padding="same", dilation_rate=2, activation="relu")(latent)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    for number, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(number).normal(0.0, 0.6, weight.shape))
    images = planted.paintings(4)
    craft = planted.fitted(model, planted.bank(), images)
    scores = model(images).numpy()[:, 1]
    contributions = craft.contributions(images, 1)
    together = contributions.phi.sum(axis=1) + contributions.base + contributions.residual
    assert_allclose(contributions.score, scores, rtol=1e-4, atol=1e-5)
    assert_allclose(together + contributions.gap, scores, rtol=1e-4, atol=1e-5)
    assert craft.quality(images).agreement.value == 1.0
    assert np.isfinite(craft.estimate_importance(images, targets=1)).all()
