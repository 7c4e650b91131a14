"""Hierarchical and hybrid forms with signed activations, asked what any other model is asked."""

import warnings
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from token_forms import FORMS, SIDE, Form, LayerScale
from transformers import ClassToken

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution

K = 3
QUICK = ("convnext", "swin, normalised after", "mobilevit")


class Fitted(NamedTuple):
    """A form, its model, and the concepts found in some images."""

    form: Form
    model: keras.Model
    craft: xc.Craft
    images: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """(n,), the model's own."""
        return self.model(self.images).numpy()[:, self.craft.class_id]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name)
        for name in FORMS
    ],
)
def fitted(request: pytest.FixtureRequest) -> Fitted:
    coarse = np.random.default_rng(0).random((8, 4, 4, 3)).astype(np.float32)
    images = np.kron(coarse, np.ones((1, SIDE // 4, SIDE // 4, 1), np.float32))
    keras.utils.set_random_seed(1)
    form = FORMS[request.param]
    model = form.make()
    craft = xc.Craft.from_model(model, form.layer, K, factorizer="signed-nmf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what is predicted, and normalisations
        craft.fit(images, planted.predicted(model, images))
    return Fitted(form, model, craft, images)


def test_it_is_cut_where_it_should_be(fitted: Fitted) -> None:
    """Where all that follows reads the layer alone, and every image has a row of its own."""
    names = {candidate.name: candidate for candidate in xc.candidate_layers(fitted.model)}
    for layer in (fitted.form.layer, fitted.form.earlier):
        assert not names[layer].non_negative
    assert names[fitted.form.layer].shape[:-1] == fitted.form.places
    a = fitted.craft.network.latents(fitted.images)
    assert a.shape[:-1] == (8, *fitted.form.places)
    assert min(tf.reduce_mean(tf.cast(sign * a > 0.0, tf.float32)) for sign in (1, -1)) > 0.05
    np.testing.assert_allclose(
        fitted.craft.network.logits(a), fitted.model(fitted.images), atol=1e-5
    )
    for candidate in names.values():
        split = xc.split_model(fitted.model, candidate.name)
        assert len(split.input_to_latent(fitted.images[:3])) == 3


def test_gates_are_what_the_whole_head_makes_of_them(fitted: Fitted) -> None:
    """Open ones give the score; any others what the model gives for such activations."""
    craft = fitted.craft.variant(batch_size=8)
    (coded,) = craft.batches(fitted.images)
    head = craft.head()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that the head differs from itself, taken apart
        values = head.evaluate(coded, np.stack([np.ones(K), [0.3, 0.8, 0.1]]))
    np.testing.assert_allclose(values[:, 0], fitted.scores, atol=1e-5)
    u, a = craft.transform(fitted.images), craft.network.latents(fitted.images).numpy()
    dimmed = a + (u * (np.array([0.3, 0.8, 0.1]) - 1.0).astype(np.float32)) @ craft.bank
    expected = craft.network.logits(dimmed).numpy()[:, craft.class_id]
    np.testing.assert_allclose(values[:, 1], expected, atol=1e-5)


def test_contributions_and_maps_add_up(fitted: Fitted) -> None:
    found = fitted.craft.contributions(fitted.images)
    np.testing.assert_allclose(found.score, fitted.scores, atol=1e-5)
    total = found.base + found.residual + found.phi.sum(axis=1)
    size = np.abs(found.phi).sum(axis=1)
    assert (np.abs(total + found.gap - found.score) < 1e-6).all()
    assert (np.abs(found.gap) < 1e-2 * size + 1e-6).all()
    cells = np.prod(fitted.form.places) - len(fitted.craft.special)
    maps = ConceptAttribution(fitted.craft).explain(fitted.images).numpy()
    np.testing.assert_allclose(
        maps.mean(axis=(1, 2, 3)) * cells, found.score - found.base, atol=1e-4
    )


def test_concepts_are_where_their_coefficients_are(fitted: Fitted, tmp_path: Path) -> None:
    craft, images = fitted.craft, fitted.images
    u = craft.transform(images)
    if u.ndim == 3:
        side = int((u.shape[1] - len(craft.special)) ** 0.5)
        grid = u[:, len(craft.special) :].reshape(8, side, side, K)
    else:
        grid = u
    maps = ConceptAttribution(craft, smoothing=0.0).explain_concepts(images)
    expected = tf.image.resize(grid / craft.coefficient_scale, (SIDE, SIDE))
    np.testing.assert_allclose(maps, expected, atol=1e-5)
    assert ConceptAttribution(craft, by="crops").explain(images[:1]).shape == (1, SIDE, SIDE, 1)
    path = craft.save(tmp_path / "craft")
    again = xc.Craft.load(path, fitted.model)
    np.testing.assert_array_equal(again.transform(images), u)
    known = {"LayerScale": LayerScale, "ClassToken": ClassToken}
    with keras.saving.custom_object_scope(known):
        craft.encoder.save(tmp_path / "encoder.keras")
        np.testing.assert_allclose(
            xc.load_model(tmp_path / "encoder.keras")(images), craft.encoder(images), atol=1e-5
        )


@pytest.mark.slow
def test_children_at_an_earlier_layer(fitted: Fitted) -> None:
    """From tokens to tokens, and to the convolutions before them."""
    node = fitted.craft.decompose(0, fitted.form.earlier, 2, 50)
    found = node.contributions(fitted.images[:3])
    np.testing.assert_allclose(
        found.base + found.residual + found.phi.sum(axis=1) + found.gap,
        fitted.craft.encoder(fitted.images[:3])[:, 0],
        atol=1e-4,
    )
    assert node.maps(fitted.images[:2]).shape == (2, SIDE, SIDE, 2)


@pytest.mark.slow
def test_a_page_and_one_image(fitted: Fitted, tmp_path: Path) -> None:
    pictures = (fitted.images * 255).astype(np.uint8)
    explained = fitted.craft.explain_image(fitted.images[0], photograph=pictures[0])
    assert explained.maps.shape == (SIDE, SIDE, K)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = xc.explain_class(
            fitted.craft, fitted.images, fitted.craft.class_id, photographs=pictures, folds=0
        )
    assert xc.report.write_report(found, tmp_path / "page.html").stat().st_size > 1e4


def _blocks(kind: str) -> keras.Model:
    """A class token, and after `start` a block of attention of some kind."""
    layers, ops = keras.layers, keras.ops
    pixels = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 2, strides=2)(pixels)
    x = ClassToken()(layers.Reshape((16, 8))(x))
    x = layers.Activation("linear", name="start")(x)
    y = layers.LayerNormalization()(x)
    attention = layers.MultiHeadAttention(2, 4)
    if kind == "mask":
        y = attention(y, y, attention_mask=np.ones((1, 17, 17), bool))
    elif kind == "scores":
        y, _ = attention(y, y, return_attention_scores=True)
    else:
        gate, value = ops.split(layers.Dense(16)(attention(y, y)), 2, axis=-1)
        y = ops.silu(gate) * value
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    return keras.Model(pixels, layers.Dense(3)(x[:, 0]))


@pytest.mark.parametrize("kind", ["mask", "scores", "split"])
def test_blocks_that_are_written_otherwise(kind: str) -> None:
    """Masks, attention that gives its scores too, gates that split their channels."""
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).random((6, 8, 8, 3), np.float32)
    craft = xc.Craft.from_model(_blocks(kind), "start", 2, factorizer="signed-nmf", patch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random weights predict any class
        craft.fit(images, 0)
    found = craft.contributions(images)
    np.testing.assert_allclose(found.score, craft.model.predict(images, verbose=0)[:, 0], rtol=1e-4)
    parts = found.base + found.residual + found.phi.sum(axis=1) + found.gap
    np.testing.assert_allclose(parts, found.score, atol=1e-4)
    assert np.abs(found.gap).max() < 1e-2 * np.abs(found.score).max()


def test_windows_that_are_pooled_at_once() -> None:
    """No layer stands between windows laid among the images and the average of a head."""
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 2, strides=2, activation="relu", name="patches")(pixels)
    y = keras.ops.reshape(x, (-1, 4, 8))
    y = keras.ops.reshape(keras.layers.MultiHeadAttention(2, 4)(y, y), (-1, 16, 8))
    model = keras.Model(pixels, keras.layers.Dense(3)(keras.ops.mean(y, axis=1)))
    names = [candidate.name for candidate in xc.candidate_layers(model)]
    assert "patches" in names
