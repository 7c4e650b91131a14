"""The same numbers on a GPU as on the CPU: encoder, its gradient, gates. `pytest -m gpu`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import xplique_craft as xc
from xplique_craft.factorization.implicit import encode

pytestmark = pytest.mark.gpu

SIDE, CONCEPTS = 32, 6


def relative(found: Any, expected: Any) -> float:
    """Largest difference, relative to the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((16, SIDE, SIDE, 3)).astype(np.float32)


def craft_on(device: str, images: np.ndarray) -> xc.Craft:
    """A craft whose network lives on a device; the bank is the same on all."""
    with tf.device(device):
        keras.utils.set_random_seed(0)
        x = image = keras.Input((SIDE, SIDE, 3))
        x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.Conv2D(24, 3, padding="same", activation="relu", name="last")(x)
        x = layers.Conv2D(12, 1, activation="relu")(x)
        x = layers.Dense(4)(layers.GlobalAveragePooling2D()(x))
        craft = xc.Craft.from_model(keras.Model(image, x), "last", CONCEPTS)
        craft.fit(images, int(np.bincount(craft.model(images).numpy().argmax(1)).argmax()))
    return craft


@pytest.fixture(scope="module")
def crafts(images: np.ndarray) -> tuple[xc.Craft, xc.Craft]:
    cpu, gpu = craft_on("/CPU:0", images), craft_on("/GPU:0", images)
    # One bank for both: NMF may turn rounding into another optimum.
    object.__setattr__(gpu, "_concepts", cpu.concepts)
    return cpu, gpu


def test_encoding_and_gradient() -> None:
    rng = np.random.default_rng(0)
    rows, bank = rng.random((5000, 64)), rng.random((25, 64))
    results = {}
    for device in ("/CPU:0", "/GPU:0"):
        with tf.device(device):
            a = tf.constant(rows, tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(a)
                u, residual = encode(a, bank.astype(np.float32))
                total = tf.reduce_sum(u * tf.range(25, dtype=tf.float32))
            results[device] = (u, tape.gradient(total, a), residual)
    for found, expected in zip(results["/GPU:0"][:2], results["/CPU:0"][:2], strict=True):
        assert relative(found, expected) <= 1e-4
    assert float(tf.reduce_max(results["/GPU:0"][2])) <= 1e-5


QUESTIONS: dict[str, Callable[[xc.Craft, np.ndarray], Any]] = {
    "encoder": lambda craft, images: craft.encoder(images),
    "transform": lambda craft, images: craft.transform(images),
    "contributions": lambda craft, images: craft.contributions(images).phi,
    "ablation": lambda craft, images: craft.ablation_effects(images),
    "importance": lambda craft, images: craft.estimate_importance(images, nb_design=64),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions(crafts: tuple[xc.Craft, xc.Craft], images: np.ndarray, question: str) -> None:
    cpu, gpu = crafts
    with tf.device("/CPU:0"):
        expected = QUESTIONS[question](cpu, images)
    with tf.device("/GPU:0"):
        found = QUESTIONS[question](gpu, images)
    assert relative(found, expected) <= 1e-4
