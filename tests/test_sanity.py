"""Quality beside its floor."""

import keras
import numpy as np
import planted
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft.metrics.sanity import random_bank, shuffled_weights


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((24, 16, 24, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    model = planted.convolutional(filters=24)
    class_id = planted.predicted(model, images)
    craft = xc.Craft.from_model(model, planted.LAYER, 6, patch_size=8)
    craft.fit(images[:16], class_id)
    return craft


def test_the_fitted_bank_is_above_the_floor(craft: xc.Craft, images: np.ndarray) -> None:
    check = xc.sanity_check(craft, images[16:])
    assert check.own == craft.quality(images[16:])
    for floor in (check.random_weights, check.random_bank):
        assert floor.relative_error > 1.2 * check.own.relative_error
        assert floor.number_of_images == 8
    assert check.random_weights != check.random_bank
    lines = check.table().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "fitted",
        "of shuffled weights",
        "random",
    ]
    assert f"{check.own.relative_error:.3f}" in lines[2]


def test_it_is_seeded(craft: xc.Craft, images: np.ndarray) -> None:
    first = xc.sanity_check(craft, images[16:], seed=1)
    assert xc.sanity_check(craft, images[16:], seed=1) == first
    other = xc.sanity_check(craft, images[16:], seed=2)
    assert other.random_bank != first.random_bank
    assert other.random_weights != first.random_weights
    assert other.own == first.own


def test_the_craft_and_its_model_stay_as_they_were(craft: xc.Craft, images: np.ndarray) -> None:
    weights = [weight.copy() for weight in craft.model.get_weights()]
    bank = craft.factorized.components_.copy()
    xc.sanity_check(craft, images[16:])
    for before, after in zip(weights, craft.model.get_weights(), strict=True):
        assert_array_equal(before, after)
    assert_array_equal(craft.factorized.components_, bank)


def test_shuffled_weights_are_the_same_numbers() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.abs(rng.normal(size=weight.shape)))
    copy = shuffled_weights(model, seed=3)
    for before, after in zip(model.get_weights(), copy.get_weights(), strict=True):
        assert_allclose(np.sort(before.reshape(-1)), np.sort(after.reshape(-1)))
    assert not np.array_equal(model.get_weights()[0], copy.get_weights()[0])
    gamma, beta, mean, variance = model.layers[2].get_weights()
    order = [list(gamma).index(value) for value in copy.layers[2].get_weights()[0]]
    for before, after in zip((beta, mean, variance), copy.layers[2].get_weights()[1:], strict=True):
        assert_array_equal(after, before[order])  # what belongs to a channel stays together


def test_random_banks(craft: xc.Craft) -> None:
    bank = random_bank(craft.factorized, seed=0).components_
    assert bank.shape == craft.factorized.components_.shape
    assert bank.min() >= 0.0
    norms = np.linalg.norm(craft.factorized.components_, axis=1)
    assert_allclose(np.linalg.norm(bank, axis=1), norms, rtol=1e-5)
    assert not np.allclose(bank, random_bank(craft.factorized, seed=1).components_)


def test_random_banks_of_pca_are_orthogonal(craft: xc.Craft, images: np.ndarray) -> None:
    other = xc.Craft.from_model(craft.split, None, 4, factorizer="pca", patch_size=8)
    other.fit(images, craft.class_id)
    bank = random_bank(other.factorized, seed=0).components_
    assert_allclose(bank @ bank.T, np.eye(4), atol=1e-5)
    assert not np.allclose(np.abs(bank), np.abs(other.factorized.components_))


def test_wrong_arguments(craft: xc.Craft, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="seed must be at least 0, received -1"):
        xc.sanity_check(craft, images, seed=-1)
