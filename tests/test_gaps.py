"""Heads whose score jumps as gates open: contributions cannot add up there, and it is said."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import planted
import pytest
from keras import layers, ops
from numpy.testing import assert_allclose

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.importance import IntegratedGradientsImportance, ShapleyImportance

ADD_UP = r"The contributions of 6 of 6 images do not add up: they miss up to 100% of the score"
IMAGES = planted.paintings(6)
BANK = planted.bank()


class Divided(layers.Layer):
    """Activations by their sum, as a layer of the user's that no class tells apart."""

    def call(self, x: Any) -> Any:
        return x / (ops.sum(x, axis=-1, keepdims=True) + 1e-9)


def noise(seed: int) -> keras.Initializer:
    return keras.initializers.RandomNormal(stddev=1.0, seed=seed)


def fitted(follows: Callable[[], list[layers.Layer]], **settings: Any) -> xc.Craft:
    """A craft of two of the three concepts, so that a residual remains; logits begin at 1."""
    image = keras.Input((8, 8, 3))
    mix = layers.Conv2D(5, 1, use_bias=False, activation="relu")
    x = layers.Identity(name=planted.LAYER)(mix(image))
    for layer in follows():
        x = layer(x)
    logits = layers.Dense(3, kernel_initializer=noise(1), bias_initializer="ones")
    model = keras.Model(image, logits(x))
    mix.set_weights([BANK[None, None]])
    return planted.fitted(model, BANK[:2], IMAGES, **settings)


HEADS: dict[str, Callable[[], list[layers.Layer]]] = {
    "unit": lambda: [layers.GlobalAveragePooling2D(), layers.UnitNormalization()],
    "behind a ReLU": lambda: [
        layers.GlobalAveragePooling2D(),
        layers.Dense(6, activation="relu", use_bias=False, kernel_initializer=noise(2)),
        layers.UnitNormalization(),
    ],
    "divided by the sum": lambda: [layers.GlobalAveragePooling2D(), Divided()],
}


@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_forgets_the_size_is_told(head: str) -> None:
    """With the residual dropped all of the score is gained in the first instant."""
    craft = fitted(HEADS[head], keep_residual=False)
    with pytest.warns(UserWarning, match=ADD_UP):
        found = craft.contributions(IMAGES)
    total = found.score - found.base - found.residual
    assert (np.abs(total) > 1e-3).all()
    assert_allclose(found.gap, total, rtol=5e-3)
    with pytest.warns(UserWarning, match=ADD_UP):
        ConceptAttribution(craft).explain(IMAGES)
    with pytest.warns(UserWarning, match=ADD_UP):
        IntegratedGradientsImportance(craft).explain(IMAGES)
    with pytest.warns(UserWarning, match=ADD_UP):
        ShapleyImportance(craft).summary(IMAGES)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("settings", [{}, {"baseline": "mean", "keep_residual": False}])
def test_what_the_warning_recommends_helps(head: str, settings: dict[str, Any]) -> None:
    """No warning, which would be an error, and next to no gap."""
    found = fitted(HEADS[head], **settings).contributions(IMAGES)
    assert np.abs(found.gap).max() < 1e-2 * np.abs(found.phi).max()


def test_shapley_values_add_up_where_contributions_do_not() -> None:
    craft = fitted(HEADS["unit"], keep_residual=False)
    shapley = ShapleyImportance(craft).explain(IMAGES)
    with pytest.warns(UserWarning, match=ADD_UP):
        found = craft.contributions(IMAGES)
    assert_allclose(shapley.sum(axis=1), found.score - found.base - found.residual, atol=1e-5)


@pytest.mark.parametrize("follows", ["layer", "softmax", "group"])
def test_heads_that_are_steep_but_do_not_jump_are_not_warned_of(follows: str) -> None:
    """LayerNormalization has an epsilon, a softmax is smooth: their integrals are found."""
    layer = {
        "layer": lambda: layers.LayerNormalization(),
        "softmax": lambda: layers.Softmax(),
        "group": lambda: layers.GroupNormalization(1, epsilon=1e-3),
    }[follows]
    mean = layers.GlobalAveragePooling2D
    craft = fitted(lambda: [mean(), layer()], keep_residual=False)
    found = craft.contributions(IMAGES)
    total = found.score - found.base - found.residual
    assert (np.abs(found.gap) < 2e-3 * np.abs(total)).all()


def test_a_gap_that_is_rounding_alone_is_not_warned_of() -> None:
    """The score of 1,000,000 hardly depends on the concepts, and float32 has seven digits."""

    def formula(m: Any) -> Any:
        return 1e6 + ops.square(m[:, 0] - 0.3) + 0.1 * m[:, 1]

    craft, images = planted.function_craft(formula, 2, images=3)
    assert craft.contributions(images).score.min() > 9e5
