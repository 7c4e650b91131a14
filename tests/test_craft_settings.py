"""Settings and models that a craft refuses, and heads that it warns of."""

import warnings
from typing import Any

import keras
import numpy as np
import planted
import pytest
from keras import layers, ops
from numpy.testing import assert_allclose
from warned import ours

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution

SIZE = (8, 12)
BANK = planted.bank()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(5, SIZE)


@pytest.fixture(scope="module")
def split(images: np.ndarray) -> xc.Split:
    return xc.split_model(planted.network(BANK, "relu", size=SIZE), planted.LAYER)


@pytest.fixture
def craft(split: xc.Split) -> xc.Craft:
    """Not fitted."""
    return xc.Craft.from_model(split, None, 3, batch_size=4)


# ---------------------------------------------------------------------------------------- settings
def plain(x: Any) -> Any:
    return x


@pytest.mark.parametrize("g", [plain, None, "model", layers.Dense(3), np.eye(3)], ids=type)
def test_halves_that_are_no_keras_models(split: xc.Split, g: Any) -> None:
    with pytest.raises(TypeError, match=r"input_to_latent must be a keras\.Model"):
        xc.Craft(g, split.latent_to_logit)
    with pytest.raises(TypeError, match=r"latent_to_logit must be a keras\.Model"):
        xc.Craft(split.input_to_latent, g)


def test_halves_that_do_not_fit_each_other(split: xc.Split) -> None:
    other = xc.split_model(planted.network(planted.bank(channels=7), size=SIZE), planted.LAYER)
    with pytest.raises(ValueError, match=r"takes \(None, 8, 12, 7\), but .* gives .* 12, 5\)"):
        xc.Craft(split.input_to_latent, other.latent_to_logit)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"number_of_concepts": 0}, ValueError, "number_of_concepts must be at least 1, received"),
        ({"number_of_concepts": 2.0}, TypeError, "number_of_concepts must be an integer"),
        ({"number_of_concepts": True}, TypeError, "number_of_concepts must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, received 0"),
        ({"batch_size": None}, TypeError, "batch_size must be an integer, received None"),
        ({"patch_size": 0}, ValueError, "patch_size must be at least 1, received 0"),
        ({"patch_size": 8.5}, TypeError, "patch_size must be an integer, received 8.5"),
        ({"patch_size": []}, ValueError, "patch_size must name at least one size"),
        ({"seed": -3}, ValueError, "seed must be at least 0, received -3"),
        ({"seed": None}, TypeError, "seed must be an integer, received None"),
        ({"factorizer": "nmff"}, ValueError, "factorizer must be .*'nmff'"),
        ({"factorizer": 3}, TypeError, "factorizer must be .* received 3"),
        ({"baseline": "median"}, ValueError, "baseline must be 'zero' or 'mean'.*'median'"),
        ({"max_crops": 0}, ValueError, "max_crops must be at least 1, received 0"),
    ],
    ids=str,
)
def test_settings_are_checked(
    split: xc.Split, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        xc.Craft.from_model(split, None, **settings)
    with pytest.raises(error, match=message):
        xc.Craft(split.input_to_latent, split.latent_to_logit, **settings)


def test_names_that_are_misspelt(split: xc.Split) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'nb_concepts'"):
        xc.Craft.from_model(split, None, nb_concepts=10)


def test_the_layer_is_given_once(split: xc.Split) -> None:
    with pytest.raises(TypeError, match=r"layer must be given.*candidate_layers"):
        xc.Craft.from_model(split.model)
    with pytest.raises(ValueError, match=r"is split already \(at 'latent'\), received 'mix'"):
        xc.Craft.from_model(split, "mix")


def test_an_unknown_attribute(craft: xc.Craft) -> None:
    with pytest.raises(AttributeError, match="'Craft' object has no attribute 'concept_bank'"):
        _ = craft.concept_bank
    assert not hasattr(craft, "plot_nothing")


# ----------------------------------------------------------------------------------------- softmax
SOFTMAXES = {
    "dense": lambda x: layers.Dense(3, activation="softmax")(x),
    "layer": lambda x: layers.Softmax()(layers.Dense(3)(x)),
    "activation": lambda x: layers.Activation("softmax")(layers.Dense(3)(x)),
    "operation": lambda x: ops.softmax(layers.Dense(3)(x)),
}


@pytest.mark.parametrize("kind", SOFTMAXES)
def test_a_head_that_ends_in_softmax_warns_once(images: np.ndarray, kind: str) -> None:
    image = keras.Input((*SIZE, 3))
    x = layers.Conv2D(5, 3, activation="relu", name=planted.LAYER)(image)
    model = keras.Model(image, SOFTMAXES[kind](layers.GlobalAveragePooling2D()(x)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        craft = xc.Craft.from_model(model, planted.LAYER, 3)
        craft.fit(images, planted.predicted(model, images))
        craft.estimate_importance()
        craft.contributions(images)
        ConceptAttribution(craft).explain(images)
        xc.Craft.from_model(craft.split, None, 2)
    messages = [str(w.message) for w in caught if "softmax" in str(w.message)]
    assert len(messages) == 1
    assert "its scores are probabilities" in messages[0]
    assert "Explain its logits instead" in messages[0]
    found = craft.contributions(images)
    own = model(images).numpy()[:, craft.class_id]
    assert_allclose(found.score, own, atol=1e-5)
    assert_allclose(found.base + found.residual + found.phi.sum(axis=1) + found.gap, own, atol=1e-5)


def test_a_head_that_begins_with_a_normalisation(images: np.ndarray) -> None:
    """f_x(0) is no neutral baseline there; gating towards the mean activation is offered."""
    image = keras.Input((*SIZE, 3))
    x = layers.Conv2D(5, 3, activation="relu", name=planted.LAYER)(image)
    x = layers.GlobalAveragePooling2D()(layers.LayerNormalization()(x))
    split = xc.split_model(keras.Model(image, layers.Dense(1)(x)), planted.LAYER)
    craft = xc.Craft.from_model(split, None, 3)
    with pytest.warns(UserWarning, match="begins with a normalisation.*baseline='mean'") as caught:
        craft.fit(images)
    assert len(ours(caught)) == 1
    mean = xc.Craft.from_model(split, None, 3, baseline="mean")
    mean.fit(images)
    found = mean.contributions(images)
    own = split.model(images).numpy()[:, 0]
    assert_allclose(found.base + found.residual + found.phi.sum(axis=1) + found.gap, own, atol=1e-4)
    u = mean.transform(images)
    bank = mean.factorized.bank
    residual = split.input_to_latent(images).numpy() - u @ bank
    closed = split.latent_to_logit(u.mean(axis=(0, 1, 2)) @ bank + residual).numpy()[:, 0]
    assert_allclose(found.base + found.residual, closed, atol=1e-4)


@pytest.mark.parametrize("wrong", [float("nan"), -1.0, "x", None])
def test_the_tolerance_of_contributions_is_checked_where_it_is_set(wrong: Any) -> None:
    craft = xc.Craft.from_model(planted.network(planted.bank()), planted.LAYER)
    with pytest.raises((TypeError, ValueError), match="tolerance must be"):
        craft.tolerance = wrong
    craft.tolerance = 0.5
    assert craft.tolerance == 0.5
