"""Craft: finds planted concepts, whatever the seed, the settings and the way it is made."""

from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from reference import matched_cosines
from squares import BANK, SIZE, coloured_squares, refit
from xplique.concepts.base import BaseConceptExtractor

import xplique_craft as xc
from xplique_craft.importance import SobolImportance
from xplique_craft.sampling.crops import IMAGE_WINDOWS


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return coloured_squares()


@pytest.fixture(scope="module")
def model(images: np.ndarray) -> keras.Model:
    return planted.network(BANK, "relu", size=SIZE, stride=2)


@pytest.fixture(scope="module")
def class_id(model: keras.Model, images: np.ndarray) -> int:
    return planted.predicted(model, images)


@pytest.fixture(scope="module")
def craft(model: keras.Model, images: np.ndarray, class_id: int) -> xc.Craft:
    craft = xc.Craft.from_model(model, planted.LAYER, 3, batch_size=4)
    craft.fit(images, class_id)
    return craft


# ----------------------------------------------------------------------------------- what it finds
def test_it_finds_the_planted_concepts(craft: xc.Craft) -> None:
    cosines, _ = matched_cosines(craft.factorized.bank, BANK)
    assert cosines.min() > 0.99


def test_it_finds_how_much_of_them_there_is_where(craft: xc.Craft, images: np.ndarray) -> None:
    _, order = matched_cosines(craft.factorized.bank, BANK)
    scale = np.linalg.norm(craft.factorized.bank[order], axis=1) / np.linalg.norm(BANK, axis=1)
    cells = images.reshape(len(images), 8, 2, 12, 2, 3).mean(axis=(2, 4))
    assert_allclose(craft.transform(images)[..., order] * scale, cells, atol=0.05)


def test_nothing_shrinks_the_coefficients(craft: xc.Craft, images: np.ndarray) -> None:
    """Three concepts make up the activations exactly, so the error is the solver's alone."""
    assert craft.quality(images).relative_error < 0.01
    assert craft.factorized.relative_error < 0.01


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_scale_of_activations_does_not_matter(
    craft: xc.Craft, images: np.ndarray, scale: float
) -> None:
    """A hidden penalty would weigh more on small activations."""
    model = planted.network(BANK * scale, "relu", size=SIZE, stride=2)
    other = xc.Craft.from_model(model, planted.LAYER, 3)
    other.fit(images, planted.predicted(model, images))
    cosines, _ = matched_cosines(other.factorized.bank, craft.factorized.bank)
    assert cosines.min() > 1.0 - 1e-3
    assert other.factorized.relative_error == pytest.approx(
        craft.factorized.relative_error, abs=2e-3
    )


# ----------------------------------------------------------------------------------- what it gives
def test_fit_gives_crops_coefficients_and_bank(
    craft: xc.Craft, images: np.ndarray, class_id: int
) -> None:
    crops, crops_u, bank = refit(craft, images).fit(images, class_id)
    fitted = len(images) * len(IMAGE_WINDOWS.boxes(SIZE))
    number = len(crops)
    assert fitted < number <= fitted + 3 * len(images)  # and examples
    assert crops_u.shape == (number, 3)
    assert bank.shape == (3, 6)
    assert crops_u.dtype == bank.dtype == np.float32
    assert crops_u.min() >= 0.0
    assert bank.min() >= 0.0


def test_the_crops_are_those_that_the_coefficients_are_of(
    craft: xc.Craft, images: np.ndarray
) -> None:
    """The pixels of a crop, resized, through g, averaged and encoded."""
    found = craft.factorization
    for i in [0, 17, 29, 30, 89, 90, len(found.crops) - 1]:
        image, top, left, height, width = found.crops.boxes[i]
        pixels = images[image, top : top + height, left : left + width]
        assert_array_equal(found.crops[i], pixels)
        resized = tf.image.resize(pixels[None], SIZE)
        pooled = craft.input_to_latent_model(resized).numpy().mean(axis=(1, 2))
        assert_allclose(craft.transform(None, pooled)[0], found.crops_u[i], atol=1e-4)


def test_everything_is_float32(craft: xc.Craft, images: np.ndarray) -> None:
    u = craft.transform(images)
    assert u.dtype == np.float32
    assert craft.transform(images.astype(np.float64)).dtype == np.float32
    assert craft.inverse_transform(u).dtype == np.float32
    assert craft.factorization.crops_u.dtype == np.float32
    assert craft.coefficient_scale.dtype == np.float32


def test_transform_and_back(craft: xc.Craft, images: np.ndarray) -> None:
    u = craft.transform(images)
    activations = craft.input_to_latent_model(images).numpy()
    assert u.shape == (9, 8, 12, 3)
    assert u.min() >= 0.0
    assert_allclose(craft.inverse_transform(u), u @ craft.factorized.bank, atol=1e-6)
    assert_allclose(craft.inverse_transform(u), activations, atol=0.02)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_of_activations_at_hand(craft: xc.Craft, images: np.ndarray, dtype: type) -> None:
    activations = craft.input_to_latent_model(images).numpy().astype(dtype)
    expected = craft.transform(images)
    assert_allclose(craft.transform(images, activations), expected, atol=1e-5)
    assert_allclose(craft.transform(None, tf.constant(activations)), expected, atol=1e-5)
    pooled = craft.transform(None, activations.mean(axis=(1, 2)))
    assert pooled.shape == (9, 3)


def test_the_coefficient_scale_is_the_largest_coefficient(
    craft: xc.Craft, images: np.ndarray
) -> None:
    assert_allclose(craft.coefficient_scale, craft.transform(images).max(axis=(0, 1, 2)), rtol=1e-4)


# -------------------------------------------------------------------------------------- importance
def test_the_importance_of_the_images_of_fit_is_kept(craft: xc.Craft, images: np.ndarray) -> None:
    importances = craft.estimate_importance(nb_design=64)
    expected = SobolImportance(craft, 64, batch_size=4, seed=0).summary(images, craft.class_id)
    assert_array_equal(importances, expected.overall)
    assert_array_equal(craft.sensitivity.importances, importances)
    assert_array_equal(craft.sensitivity.most_important_concepts, np.argsort(-importances))
    other = craft.estimate_importance(images[:2], nb_design=64)
    assert np.abs(other - importances).max() > 1e-3
    assert_array_equal(craft.sensitivity.importances, importances)


def test_the_importance_for_other_classes(craft: xc.Craft, images: np.ndarray) -> None:
    other = (craft.class_id + 1) % 3
    expected = SobolImportance(craft, batch_size=4).summary(images, other).overall
    assert_array_equal(craft.estimate_importance(images, targets=other), expected)
    own = craft.estimate_importance(images)
    assert np.abs(own - expected).max() > 1e-3


def test_the_importance_does_not_take_labels_for_targets(
    craft: xc.Craft, images: np.ndarray
) -> None:
    """Of a dataset of (image, label) the class of fit is explained."""
    wrong = (craft.class_id + 1) % 3
    pairs = tf.data.Dataset.from_tensor_slices((images, [wrong] * len(images)))
    assert_allclose(craft.estimate_importance(pairs), craft.estimate_importance(images), atol=1e-5)


# ------------------------------------------------------------------------------------------- seeds
def test_the_same_seed_gives_the_same_bits(craft: xc.Craft, images: np.ndarray) -> None:
    noisy = images + 0.3 * np.random.default_rng(0).random(images.shape, np.float32)
    first, second = refit(craft, noisy, seed=5), refit(craft, noisy, seed=5)
    assert_array_equal(first.factorized.bank, second.factorized.bank)
    assert_array_equal(first.factorization.crops_u, second.factorization.crops_u)
    assert_array_equal(first.estimate_importance(), second.estimate_importance())
    assert first.quality(noisy) == second.quality(noisy)


def test_more_concepts_than_channels_are_seeded_too(craft: xc.Craft, images: np.ndarray) -> None:
    """They begin from random values; other seeds end elsewhere."""
    banks = []
    for seed in (0, 0, 1):
        other = xc.Craft.from_model(craft.split, None, 8, seed=seed)
        with pytest.warns(UserWarning, match="has rank"):
            banks.append(other.fit(images, craft.class_id)[2])
    assert_array_equal(banks[0], banks[1])
    assert np.abs(banks[0] - banks[2]).max() > 1e-3


def test_a_fit_leaves_the_global_generators_alone(craft: xc.Craft, images: np.ndarray) -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the state that users share
    tf.random.set_seed(1)
    expected = tf.random.uniform([3]).numpy()
    tf.random.set_seed(1)
    refit(craft, images).estimate_importance()
    assert_array_equal(tf.random.uniform([3]).numpy(), expected)
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


# ------------------------------------------------------------------------------- crops and latents
@pytest.mark.parametrize(("patch_size", "number"), [(8, 12), (16, 2), ((6, 16), 26), (1, 384)])
def test_crops_of_given_sizes(
    craft: xc.Craft, images: np.ndarray, patch_size: Any, number: int
) -> None:
    """Strides of 80% of the patch at most, from border to border; one pixel is a patch too."""
    other = refit(craft, images[:3], patch_size=patch_size)
    found = other.factorization.crops
    boxes = found.boxes[found.boxes[:, 0] == 1]
    assert len(boxes) == number
    covered = np.zeros(SIZE, int)
    for _, top, left, height, width in boxes:
        assert height == width
        covered[top : top + height, left : left + width] += 1
    assert covered.min() >= 1
    cosines, _ = matched_cosines(other.factorized.bank, BANK)
    assert cosines.min() > 0.9


def test_at_most_so_many_crops(craft: xc.Craft, images: np.ndarray) -> None:
    """A seeded sample of all crops; the same for any batches."""
    few, same = (
        refit(craft, images, patch_size=(5, 8), max_crops=50, batch_size=b) for b in (2, 64)
    )
    other = refit(craft, images, patch_size=(5, 8), max_crops=50, seed=1)
    assert len(few.factorization.crops) == 50
    assert few.factorization.crops_u.shape == (50, 3)
    assert_array_equal(few.factorization.crops.boxes, same.factorization.crops.boxes)
    assert not np.array_equal(few.factorization.crops.boxes, other.factorization.crops.boxes)
    assert len(np.unique(few.factorization.crops.boxes, axis=0)) == 50


@pytest.mark.parametrize("head", planted.HEADS)
@pytest.mark.parametrize(("latent", "shape"), [("tokens", (9, 96, 3)), ("pooled", (9, 3))])
def test_tokens_and_pooled_activations(
    images: np.ndarray, head: str, latent: str, shape: tuple[int, ...]
) -> None:
    model = planted.network(BANK, head, latent=latent, size=SIZE, stride=2)
    craft = xc.Craft.from_model(model, planted.LAYER, 3)
    craft.fit(images, planted.predicted(model, images))
    cosines, _ = matched_cosines(craft.factorized.bank, BANK)
    assert cosines.min() > 0.95
    assert craft.transform(images).shape == shape
    importances = craft.estimate_importance()
    assert importances.shape == (3,)
    assert 0.9 < importances.sum() < 2.0
    found = craft.contributions(images)
    own = model(images).numpy()[:, craft.class_id]
    assert_allclose(found.score, own, atol=1e-4)
    assert craft.quality(images).agreement.value == pytest.approx(1.0)


# --------------------------------------------------------------------------------- ways to make it
def test_it_is_an_extractor_of_xplique(craft: xc.Craft) -> None:
    assert isinstance(craft, BaseConceptExtractor)
    assert (craft.number_of_concepts, craft.batch_size, craft.seed) == (3, 4, 0)
    assert craft.keep_residual
    assert xc.Craft.from_model(craft.split).number_of_concepts == 20


def test_from_halves_or_the_whole(
    craft: xc.Craft, model: keras.Model, images: np.ndarray, class_id: int
) -> None:
    split = xc.split_model(model, planted.LAYER)
    other = xc.Craft(split.input_to_latent, split.latent_to_logit, 3, 4)
    other.fit(images, class_id)
    assert_allclose(other.factorized.bank, craft.factorized.bank, atol=1e-5)
    assert_allclose(other.contributions(images).phi, craft.contributions(images).phi, atol=1e-4)
    assert_allclose(other.model(images), model(images), atol=1e-5)


def test_crafts_of_one_split_share_what_is_compiled(craft: xc.Craft, images: np.ndarray) -> None:
    other = xc.Craft.from_model(craft.split, None, 2)
    assert other.network is craft.network
    assert other.model is craft.model
    assert other.layer == planted.LAYER


def test_a_second_fit_replaces_the_first(craft: xc.Craft, images: np.ndarray) -> None:
    other = refit(craft, images)
    other.estimate_importance()
    scale = other.coefficient_scale
    with pytest.warns(UserWarning, match="images are predicted as class"):
        other.fit(0.5 * images[:6], (craft.class_id + 1) % 3)
    assert other.class_id == (craft.class_id + 1) % 3
    assert other.sensitivity is None
    assert len(other.factorization.inputs) == 6
    assert np.abs(other.coefficient_scale - scale).max() > 1e-3


def test_a_craft_is_quiet_unless_verbose(
    craft: xc.Craft, images: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    refit(craft, images).contributions(images)
    out = capfd.readouterr()
    assert out.out == ""
    assert "image/s" not in out.err
    refit(craft, images, verbose=True)
    assert "crops" in capfd.readouterr().err
