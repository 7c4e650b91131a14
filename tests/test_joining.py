"""Halves that are given: joined, they are one model again, which splits at the same layer."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal
from splittable import MODELS, SHAPE, Subclassed, assert_composes, backbone, error_of, randomised

from xplique_craft.splitting.split import join_models, split_model
from xplique_craft.where_to_cut import candidate_layers


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(5, *SHAPE)).astype(np.float32)


def test_join_of_the_parts_of_a_split(images, rng):
    for build in MODELS:
        model = randomised(build(), rng)
        parts = split_model(model, candidate_layers(model)[-1].name)
        split = join_models(parts.input_to_latent, parts.latent_to_logit)
        assert split.input_to_latent is parts.input_to_latent
        assert split.latent_to_logit is parts.latent_to_logit
        assert split.layer == parts.layer
        assert_composes(split, model, images)
        again = split_model(split.model, split.layer)
        assert_composes(again, model, images)


def test_join_of_models_whose_names_collide(images):
    first, second = backbone("first"), backbone("second", channels=4)
    head = keras.Sequential([keras.Input((None, None, 4)), second, layers.GlobalMaxPooling2D()])
    split = join_models(
        keras.Sequential([keras.Input(SHAPE), first, layers.Dropout(0.1, name="drop")]), head
    )
    names = [layer.name for layer in split.model.layers]
    assert len(names) == len(set(names))
    assert split.layer == "drop"
    expected = np.asarray(head(first(images)))
    assert_allclose(np.asarray(split.model(images)), expected, rtol=1e-5, atol=1e-5)
    assert_allclose(
        np.asarray(split.latent_to_logit(split.input_to_latent(images))), expected, rtol=1e-5
    )


def test_join_where_the_last_layer_is_called_again(images):
    relu = layers.ReLU(name="relu")
    g = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(3, 1, name="c"), relu])
    h = keras.Sequential([keras.Input((8, 8, 3)), layers.Dense(2, name="d"), relu])
    split = join_models(g, h)
    assert split.layer == "latent"
    again = split_model(split.model, "latent")
    expected = np.asarray(h(g(images)))
    assert_array_equal(np.asarray(split.model(images)), expected)
    assert_array_equal(np.asarray(again.latent_to_logit(again.input_to_latent(images))), expected)


def test_join_with_identities(images):
    image, latent = keras.Input(SHAPE), keras.Input(SHAPE)
    try:
        first, second = keras.Model(image, image), keras.Model(latent, latent)
    except ValueError:
        pytest.skip(f"Keras {keras.__version__} makes no model of an input alone")
    split = join_models(first, second)
    assert split.layer == "latent"
    assert_array_equal(np.asarray(split.model(images)), images)
    assert split_model(split.model, "latent").layer == "latent"


def test_join_of_subclassed_models(images):
    for g, h in (
        (backbone(), Subclassed(name="head")),
        (Subclassed(name="body"), backbone("b", 4, 4)),
    ):
        h(g(images))
        split = join_models(g, h)
        assert_allclose(np.asarray(split.model(images)), np.asarray(h(g(images))), rtol=1e-5)
        latent = split.input_to_latent(images)
        assert_allclose(np.asarray(latent), np.asarray(g(images)), rtol=1e-5)
        assert_allclose(np.asarray(split.latent_to_logit(latent)), np.asarray(h(latent)), rtol=1e-5)
    message = error_of(join_models, Subclassed(name="fresh"), backbone())
    assert message.startswith("TypeError: input_to_latent 'fresh' is a subclassed model whose")


def test_join_errors():
    g, h = backbone("g"), backbone("h", channels=5)
    message = error_of(join_models, g, h)
    assert message == (
        "ValueError: latent_to_logit 'h' takes (None, None, None, 5), but input_to_latent 'g' "
        "gives (None, None, None, 4). Cut both at the same layer."
    )
    assert "takes (None, 8)" in error_of(
        join_models, g, keras.Sequential([keras.Input((8,)), layers.Dense(2)])
    )
    message = error_of(join_models, g, np.tanh)
    assert message.startswith("TypeError: latent_to_logit must be a keras.Model")
    assert "input_to_latent 'raw'" in error_of(join_models, keras.Sequential(name="raw"), g)
