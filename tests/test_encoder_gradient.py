"""
The gradient of concept scores with respect to pixels, through g, the encoding and the mean.

In float64 all the way, against central differences; then the float32 encoder of a craft against
that float64 gradient.
"""

from typing import NamedTuple

import keras
import models
import numpy as np
import planted
import pytest
import tensorflow as tf
from keras import layers
from numpy.testing import assert_allclose

from xplique_craft.factorization import NMF
from xplique_craft.factorization.implicit import encode_rows
from xplique_craft.keras_models import ConceptEncoding

SIDE, CHANNELS, CONCEPTS = 12, 10, 4
STEP = 1e-5


class Problem(NamedTuple):
    """A network twice, of the same weights, a bank, and images, all exact in float32."""

    single: keras.Model
    double: keras.Model
    bank: np.ndarray
    images: np.ndarray

    def scores(self, image: tf.Tensor) -> tf.Tensor:
        """(k,): mean coefficients of one image (H, W, 3), float64."""
        activations = self.double(image[None])
        u, _ = _encode(tf.reshape(activations, [-1, CHANNELS]), self.bank.astype(np.float64))
        return tf.reduce_mean(u, axis=0)


@tf.function(
    input_signature=[
        tf.TensorSpec([None, CHANNELS], tf.float64),
        tf.TensorSpec([CONCEPTS, CHANNELS], tf.float64),
    ]
)
def _encode(rows: tf.Tensor, bank: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return encode_rows(rows, bank)


def network(last: str, dtype: str) -> keras.Model:
    """Smooth up to its last layer, whose activation keeps the map non-negative."""
    image = keras.Input((SIDE, SIDE, 3), dtype=dtype)
    x = layers.Conv2D(8, 3, strides=2, activation="softplus", dtype=dtype, name="first")(image)
    x = layers.Conv2D(8, 2, activation="softplus", dtype=dtype, name="second")(x)
    x = layers.Conv2D(CHANNELS, 2, activation=last, dtype=dtype, name=planted.LAYER)(x)
    x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
    return keras.Model(image, layers.Dense(1, dtype=dtype, name="logit")(x))


@pytest.fixture(scope="module", params=["softplus", "relu"])
def problem(request: pytest.FixtureRequest) -> Problem:
    rng = np.random.default_rng(5)
    single, double = network(request.param, "float32"), network(request.param, "float64")
    weights = [rng.normal(0.0, 0.4, w.shape).astype(np.float32) for w in single.get_weights()]
    single.set_weights(weights)
    double.set_weights([w.astype(np.float64) for w in weights])
    latent = keras.Model(double.input, double.get_layer(planted.LAYER).output)
    bank = models.random_bank(rng, CONCEPTS, CHANNELS).astype(np.float32)
    images = rng.normal(0.0, 1.5, (6, SIDE, SIDE, 3)).astype(np.float32)
    return Problem(single, latent, bank, images)


@pytest.fixture(scope="module")
def jacobian(problem: Problem) -> np.ndarray:
    """d score_j / d pixel of the first image, (k, H, W, 3), float64."""
    image = tf.constant(problem.images[0], tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        scores = tf.unstack(problem.scores(image))
    return np.stack([tape.gradient(score, image).numpy() for score in scores])


def slope(problem: Problem, direction: np.ndarray) -> np.ndarray:
    """(k,): central differences of the scores of the first image along a direction."""
    image = problem.images[0].astype(np.float64)
    ahead, behind = (problem.scores(tf.constant(image + s * STEP * direction)) for s in (1, -1))
    return (ahead - behind).numpy() / (2.0 * STEP)


def test_the_problem_is_not_a_trivial_one(problem: Problem, jacobian: np.ndarray) -> None:
    """Supports differ from place to place, and every concept depends on the pixels."""
    rows = tf.reshape(problem.double(problem.images[:1].astype(np.float64)), [-1, CHANNELS])
    u, residual = _encode(rows, problem.bank.astype(np.float64))
    assert residual.numpy().max() < 1e-10
    on = u.numpy() > 0.0
    assert 0.2 < on.mean() < 0.9
    assert len(np.unique(on, axis=0)) > 2
    assert np.abs(jacobian).reshape(CONCEPTS, -1).max(axis=1).min() > 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_random_directions(problem: Problem, jacobian: np.ndarray, seed: int) -> None:
    direction = np.random.default_rng(100 + seed).normal(size=jacobian.shape[1:])
    direction /= np.linalg.norm(direction)
    expected = slope(problem, direction)
    assert np.abs(expected).max() > 1e-4
    found = (jacobian * direction).sum(axis=(1, 2, 3))
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("pixel", [(0, 0, 0), (3, 8, 1), (5, 5, 2), (9, 2, 0), (7, 10, 1)])
def test_single_pixels(problem: Problem, jacobian: np.ndarray, pixel: tuple[int, int, int]) -> None:
    direction = np.zeros(jacobian.shape[1:])
    direction[pixel] = 1.0
    expected = slope(problem, direction)
    assert np.abs(expected).max() > 1e-5
    found = jacobian[(slice(None), *pixel)]
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_the_layer_of_a_craft_in_float64(problem: Problem, jacobian: np.ndarray) -> None:
    """As a Keras model, ConceptEncoding after g."""
    encoding = ConceptEncoding(NMF(), problem.bank, np.zeros(CHANNELS), dtype="float64")
    scores = layers.GlobalAveragePooling2D(dtype="float64")(encoding(problem.double.output))
    encoder = keras.Model(problem.double.input, scores)
    image = tf.constant(problem.images[:1], tf.float64)
    for concept in range(CONCEPTS):
        with tf.GradientTape() as tape:
            tape.watch(image)
            score = encoder(image)[0, concept]
        assert score.dtype == tf.float64
        gradient = tape.gradient(score, image).numpy()[0]
        scale = np.abs(jacobian[concept]).max()
        assert_allclose(gradient, jacobian[concept], rtol=0.0, atol=1e-12 * scale)


def test_the_encoder_of_a_craft(problem: Problem, jacobian: np.ndarray) -> None:
    """In float32, to 1e-3 of the gradient's norm; and its values to 1e-5."""
    craft = planted.fitted(problem.single, problem.bank, problem.images)
    image = tf.constant(problem.images[:1])
    expected = problem.scores(tf.constant(problem.images[0], tf.float64)).numpy()
    assert_allclose(craft.encoder(image)[0], expected, rtol=1e-5, atol=1e-5 * expected.max())
    for concept in range(CONCEPTS):
        with tf.GradientTape() as tape:
            tape.watch(image)
            score = craft.encoder(image)[0, concept]
        error = tape.gradient(score, image).numpy()[0] - jacobian[concept]
        assert np.linalg.norm(error) < 1e-3 * np.linalg.norm(jacobian[concept])


def test_the_gradient_of_one_image_is_that_in_a_batch(problem: Problem) -> None:
    craft = planted.fitted(problem.single, problem.bank, problem.images)
    found: list[np.ndarray] = []
    for images in (problem.images[2:3], problem.images):
        batch = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(batch)
            scores = tf.reduce_sum(craft.encoder(batch)[:, 1])
        found.append(tape.gradient(scores, batch).numpy())
    assert_allclose(found[0][0], found[1][2], rtol=0.0, atol=1e-5 * np.abs(found[0]).max())
