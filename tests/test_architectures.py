"""Signed activations, tokens and pooled features, explained end to end."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers
from transformers import transformer

import xplique_craft as xc
from xplique_craft.report import write_report

SIDE = 32
CONCEPTS = 4


def convolutional(activation: str) -> keras.Model:
    x = image = keras.Input((SIDE, SIDE, 3))
    for i, filters in enumerate((8, 12)):
        x = layers.Conv2D(
            filters, 3, strides=2, padding="same", activation=activation, name=f"conv{i}"
        )(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(8, activation=activation, name="hidden")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name=activation)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Pictures with structure: smooth blobs of three colours."""
    rng = np.random.default_rng(0)
    coarse = rng.random((20, 4, 4, 3)).astype(np.float32)
    return np.kron(coarse, np.ones((1, SIDE // 4, SIDE // 4, 1), np.float32))


CASES = {
    "gelu": (lambda: convolutional("gelu"), "conv1", "signed-nmf", "zero"),
    "silu": (lambda: convolutional("silu"), "conv1", "signed-nmf", "mean"),
    "tokens": (transformer, "block0", "signed-nmf", "zero"),
    "tokens, semi-NMF": (transformer, "block0", "semi-nmf", "mean"),
    "pooled": (lambda: convolutional("gelu"), "pool", "signed-nmf", "zero"),
}


@pytest.fixture(scope="module", params=CASES)
def explained(request, images):
    make, layer, factorizer, baseline = CASES[request.param]
    keras.utils.set_random_seed(1)
    model = make()
    logits = model.predict(images, verbose=0)
    class_id = int(np.bincount(logits.argmax(axis=1)).argmax())
    craft = xc.Craft.from_model(model, layer, CONCEPTS, factorizer=factorizer, baseline=baseline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # how many are predicted as the class does not matter here
        craft.fit(images, class_id)
    return request.param, craft, logits[:, class_id]


def test_all_gates_open_give_the_models_own_score(explained, images):
    _, craft, scores = explained
    found = craft.contributions(images)
    assert np.abs(found.score - scores).max() <= 1e-4 * max(1.0, np.abs(scores).max())
    total = found.base + found.residual + found.phi.sum(axis=1) + found.gap
    np.testing.assert_allclose(total, found.score, atol=1e-5)
    whole = np.abs(found.score - found.base - found.residual)
    assert np.abs(found.gap).sum() <= 2e-3 * whole.sum()


def test_quality_is_reported(explained, images):
    _, craft, _ = explained
    quality = craft.quality(images)
    assert 0.5 <= quality.agreement.value <= 1.0
    assert quality.relative_error < 0.7
    assert quality.kkt_residual < 1e-5
    assert quality.number_of_images == len(images)


def test_shapes_follow_the_activations(explained, images):
    name, craft, _ = explained
    expected = {"gelu": (8, 8), "silu": (8, 8), "pooled": ()}.get(name, (17,))
    assert craft.transform(images[:3]).shape == (3, *expected, CONCEPTS)
    assert craft.estimate_importance(images[:3]).shape == (CONCEPTS,)
    assert craft.encoder(images[:3]).shape == (3, CONCEPTS)


def test_importance_is_a_share_of_variance(explained, images):
    _, craft, _ = explained
    importance = craft.estimate_importance(images[:6], nb_design=256)
    assert (importance >= 0.0).all()
    assert 0.9 < importance.sum() < 2.5  # 1 without interactions, more with them


def test_maps_where_there_are_places(explained, images):
    name, craft, _ = explained
    attribution = xc.attributions.ConceptAttribution(craft)
    if name == "pooled":
        with pytest.raises(ValueError, match="pooled ones have none"):
            attribution.explain(images[:2])
    else:
        assert attribution.explain(images[:2]).shape == (2, SIDE, SIDE, 1)
        maps = attribution.explain_concepts(images)
        assert maps.shape == (len(images), SIDE, SIDE, CONCEPTS)
        assert 0.5 < np.abs(maps).max() <= 1.0 + 1e-6


def test_a_page_is_written(explained, images, tmp_path):
    name, craft, _ = explained
    photographs = (images * 255).astype(np.uint8)
    explanation = xc.explain_class(craft, images, craft.class_id, photographs=photographs)
    page = write_report(explanation, tmp_path / "page.html").read_text(encoding="utf-8")
    by_place = craft.factorizer.crops_by_place and name != "pooled"
    assert ("crops laid back over the photograph" in page) is not by_place
    assert ("no part of any concept" in page) is name.startswith("tokens")
    assert explanation.images[0].maps.shape[:2] == images.shape[1:3]
    assert (explanation.images[0].residual_map is None) == (name == "pooled")


def test_nmf_refuses_signed_activations_and_names_signed_nmf(images):
    craft = xc.Craft.from_model(convolutional("gelu"), "conv1", CONCEPTS)
    with pytest.raises(ValueError, match="factorizer='signed-nmf'"):
        craft.fit(images)


def test_a_head_that_begins_with_a_normalisation_is_warned_of(images):
    craft = xc.Craft.from_model(transformer(), "block0", CONCEPTS, factorizer="semi-nmf")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only .* are predicted")
        with pytest.warns(UserWarning, match="baseline='mean'"):
            craft.fit(images)


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (16, (32, 32), (4, 4)),
        (17, (32, 32), (4, 4)),
        (8, (32, 64), (2, 4)),
        (9, (64, 32), (4, 2)),
        (13, (32, 32), None),
    ],
)
def test_tokens_are_taken_for_a_grid_in_the_images_proportions(tokens, size, grid):
    from xplique_craft.attributions.maps import grid_of

    assert grid_of(tokens, size) == grid


def test_the_class_token_comes_first_and_is_left_out():
    from xplique_craft.attributions.maps import to_grid

    tokens = np.arange(17, dtype=np.float32).reshape(1, 17, 1)
    np.testing.assert_array_equal(
        to_grid(tokens, (32, 32))[0, :, :, 0], np.arange(1, 17).reshape(4, 4)
    )
