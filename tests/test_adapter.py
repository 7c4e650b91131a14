"""Our factorizers inside Xplique's HolisticCraftTf."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from xplique.concepts.factorizer import ConceptFactorizer
from xplique.concepts.tf.holistic_craft import HolisticCraftTf
from xplique.concepts.tf.layered_model_latent_extractor import LayeredModelExtractorBuilder

from xplique_craft.factorization import (
    NMF,
    PCA,
    KMeans,
    SemiNMF,
    SignedNMF,
    XpliqueFactorizer,
)

EVERY = [NMF(), SignedNMF(), SemiNMF(), KMeans(), PCA()]


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).random((60, 7)).astype(np.float32)


@pytest.mark.parametrize("factorizer", EVERY, ids=lambda f: f.name)
def test_the_interface(factorizer, rows):
    adapter = XpliqueFactorizer(factorizer, n_components=3)
    assert isinstance(adapter, ConceptFactorizer)
    assert not adapter.is_fitted
    with pytest.raises(ValueError, match="call fit"):
        adapter.encode(rows)
    bank, u = adapter.fit(rows)
    assert adapter.is_fitted
    assert bank.shape == (3, 7)
    assert adapter.requires_positive_activations == (factorizer.name == "nmf")
    np.testing.assert_array_equal(adapter.get_concept_bank(), bank)
    np.testing.assert_allclose(adapter.encode(rows), u, atol=1e-6)
    before = u.copy()
    decoded = adapter.decode(u)
    np.testing.assert_array_equal(u, before)  # Xplique's own decode overwrites its input
    np.testing.assert_allclose(decoded, u @ bank + adapter.factorized.offset, atol=1e-5)
    assert isinstance(adapter.decode(tf.constant(u)), tf.Tensor)


@pytest.mark.parametrize("factorizer", EVERY, ids=lambda f: f.name)
def test_differentiable_encoding(factorizer, rows):
    adapter = XpliqueFactorizer(factorizer, n_components=3)
    adapter.fit(rows)
    tensor = tf.constant(rows)
    if factorizer.name == "kmeans":
        with pytest.raises(NotImplementedError, match="no gradient"):
            adapter.encode_differentiable(tensor)
        return
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        u = adapter.encode_differentiable(tensor)
    gradient = tape.gradient(u, tensor).numpy()
    np.testing.assert_allclose(u, adapter.encode(rows), atol=1e-6)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("factorizer", [NMF(), SignedNMF(), SemiNMF()], ids=lambda f: f.name)
@pytest.mark.filterwarnings("ignore")
def test_inside_holistic_craft(factorizer):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="last")(x)
    x = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    images = np.random.default_rng(0).random((8, 16, 16, 3)).astype(np.float32)
    extractor = LayeredModelExtractorBuilder.build(model, split_layer=1, batch_size=4)
    craft = HolisticCraftTf(
        extractor, number_of_concepts=3, factorizer=XpliqueFactorizer(factorizer, 3)
    )
    craft.fit(images, 0)
    assert craft.factorization.concept_bank_w.shape == (3, 6)
    _, u = craft.encode(images)[0]
    activations = keras.Model(image, model.get_layer("last").output)(images).numpy()
    rebuilt = craft.factorizer.decode(np.asarray(u).reshape(-1, 3))
    flat = activations.reshape(-1, 6)[: len(rebuilt)]
    assert np.linalg.norm(flat - rebuilt) / np.linalg.norm(flat) < 0.6


def test_what_is_no_factorizer_is_refused():
    with pytest.raises(TypeError, match="must be a Factorizer"):
        XpliqueFactorizer("nmf")
