"""Concepts that Xplique's own classes have found, asked as ours are."""

import numpy as np
import planted
import pytest
import tensorflow as tf
from sklearn.exceptions import NotFittedError
from xplique.attributions import Saliency
from xplique.concepts import CraftTf
from xplique.concepts.tf.holistic_craft import HolisticCraftTf
from xplique.concepts.tf.layered_model_latent_extractor import LayeredModelExtractorBuilder

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.factorization import SemiNMF, XpliqueFactorizer
from xplique_craft.importance import IntegratedGradientsImportance

CONCEPTS = 3


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((8, 16, 24, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return planted.convolutional()


@pytest.fixture(scope="module")
def split(model):
    places = [c.name for c in xc.candidate_layers(model) if len(c.shape) == 3]
    return xc.split_model(model, places[-1])


@pytest.fixture(scope="module")
def craft_tf(split, images):
    craft = CraftTf(split.input_to_latent, split.latent_to_logit, CONCEPTS, patch_size=8)
    craft.fit(images, class_id=1)
    return craft


def holistic_of(model, split, images, factorizer=None):
    number = [layer.name for layer in model.layers].index(split.layer)
    extractor = LayeredModelExtractorBuilder.build(model, number, batch_size=4)
    craft = HolisticCraftTf(extractor, CONCEPTS, factorizer)
    craft.fit(images, class_id=1)
    return craft


@pytest.fixture(scope="module")
def holistic(model, split, images):
    return holistic_of(model, split, images)


def test_craft_tf_encodes_as_it_does(craft_tf, split, images):
    concepts = xc.from_craft_tf(craft_tf, split=split)
    assert concepts.split is split
    assert concepts.class_id == 1
    np.testing.assert_array_equal(concepts.bank, craft_tf.factorization.concept_bank_w)
    np.testing.assert_allclose(
        concepts.transform(images), craft_tf.transform(images), rtol=1e-3, atol=1e-4
    )
    whole = np.abs(concepts.transform(images)).max(axis=(0, 1, 2))
    np.testing.assert_allclose(concepts.coefficient_scale, whole, rtol=1e-5)


def test_holistic_encodes_as_it_does(holistic, split, images):
    concepts = xc.from_holistic(holistic, split.layer, inputs=images)
    np.testing.assert_allclose(
        concepts.transform(images), holistic.transform(images), rtol=1e-3, atol=1e-4
    )
    assert concepts.inputs_of_fit is images


def test_the_residual_is_dropped_as_theirs_is(craft_tf, split, images):
    dropped = xc.from_craft_tf(craft_tf, split=split)
    rebuilt = np.tensordot(dropped.transform(images), dropped.bank, 1)
    logits = split.network.logits(rebuilt).numpy()[:, 1]
    found = dropped.contributions(images)
    np.testing.assert_allclose(found.score, logits, rtol=1e-4)
    np.testing.assert_allclose(found.residual, 0.0, atol=1e-6)
    kept = xc.from_craft_tf(craft_tf, split=split, keep_residual=True).contributions(images)
    scores = split.model.predict(images, verbose=0)[:, 1]
    np.testing.assert_allclose(kept.score, scores, rtol=1e-4)
    assert np.abs(kept.score - found.score).max() > 1e-3


def test_exact_encoding_is_closer_and_has_a_gradient(craft_tf, split, images):
    own = xc.from_craft_tf(craft_tf, split=split)
    exact = xc.from_craft_tf(craft_tf, split=split, encoding="exact")
    activations = split.network.latents(images).numpy()

    def error(concepts):
        return np.linalg.norm(activations - np.tensordot(concepts.transform(images), own.bank, 1))

    assert error(exact) < error(own)
    assert exact.quality(images).kkt_residual < 1e-5 < own.quality(images).kkt_residual
    assert np.isfinite(ConceptAttribution(exact, Saliency).explain_concepts(images[:2])).all()


def test_everything_is_asked_as_of_ours(craft_tf, holistic, split, images):
    for concepts in (
        xc.from_craft_tf(craft_tf, split=split),
        xc.from_holistic(holistic, split, inputs=images),
    ):
        quality = concepts.quality(images)
        assert quality.number_of_images == len(images)
        assert 0.0 < quality.relative_error < 1.0
        found = IntegratedGradientsImportance(concepts).summary(images)
        assert found.per_image.shape == (len(images), CONCEPTS)
        assert concepts.estimate_importance().shape == (CONCEPTS,)
        assert ConceptAttribution(concepts).explain_concepts(images).shape == (8, 16, 24, CONCEPTS)
        with pytest.raises(ValueError, match="found its concepts by fit"):
            concepts.stability()


def test_two_models_are_joined_where_no_split_is_given(craft_tf, images):
    concepts = xc.from_craft_tf(craft_tf)
    np.testing.assert_allclose(
        concepts.transform(images), craft_tf.transform(images), rtol=1e-3, atol=1e-4
    )


def test_our_factorizer_inside_theirs_is_encoded_as_ours(model, split, images):
    adapter = XpliqueFactorizer(SemiNMF(), CONCEPTS)
    craft = holistic_of(model, split, images, adapter)
    concepts = xc.from_holistic(craft, split)
    assert concepts.factorized is adapter.factorized
    assert concepts.factorized.factorizer.differentiable


def test_the_own_encoding_runs_in_no_graph(craft_tf, split):
    concepts = xc.from_craft_tf(craft_tf, split=split)
    with pytest.raises(NotImplementedError, match="encoding='exact'"):
        tf.function(concepts.factorized.encode)(tf.zeros([2, len(concepts.bank.T)]))
    with pytest.raises(TypeError, match="finds none itself"):
        concepts.factorized.factorizer.fit(np.ones((5, 4), np.float32), 2)


def test_what_is_refused(craft_tf, holistic, model, split, images):
    with pytest.raises(TypeError, match="must be a fitted xplique"):
        xc.from_craft_tf(holistic)
    with pytest.raises(TypeError, match="craft must be a fitted HolisticCraftTf"):
        xc.from_holistic(craft_tf, split)
    with pytest.raises(NotFittedError):
        xc.from_craft_tf(CraftTf(split.input_to_latent, split.latent_to_logit, CONCEPTS))
    with pytest.raises(ValueError, match="encoding must be"):
        xc.from_craft_tf(craft_tf, encoding="fast")
    other = xc.candidate_layers(model)[0].name
    with pytest.raises(ValueError, match="the same model cut at the same layer"):
        xc.from_holistic(holistic, other)
    with pytest.raises(ValueError, match="the same model cut at the same layer"):
        xc.from_craft_tf(craft_tf, split=xc.split_model(model, other))
    with pytest.raises(ValueError, match="were not"):
        _ = xc.from_holistic(holistic, split).inputs_of_fit


def test_images_of_other_activations_than_they_take(craft_tf, split):
    concepts = xc.from_craft_tf(craft_tf, split=split)
    with pytest.raises(ValueError, match="non-negative"):
        concepts.transform(None, activations=-tf.ones([2, 3, len(concepts.bank.T)]))
