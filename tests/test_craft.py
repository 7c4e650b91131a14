"""Craft: finds planted concepts, answers what it is asked, whatever the images come in."""

import warnings
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from xplique.concepts.base import BaseConceptExtractor

import xplique_craft as xc
from xplique_craft.importance import SobolImportance
from xplique_craft.sampling import crop_boxes

SIZE = (16, 24)
# Each concept has a channel of its own, and crops show each alone: then the factors are unique.
BANK = np.array([[1, 0, 0, 0.5, 0.5, 0], [0, 1, 0, 0, 0.5, 0.5], [0, 0, 1, 0.5, 0, 0.5]])


def coloured_squares(number: int = 9) -> np.ndarray:
    """Squares of one concept each, two of different concepts in every image."""
    rng = np.random.default_rng(3)
    images = []
    for i in range(number):
        first = planted.square(SIZE, int(rng.integers(0, 9)), int(rng.integers(0, 5)), 7, i % 3)
        second = planted.square(
            SIZE, int(rng.integers(0, 9)), int(rng.integers(12, 17)), 7, (i + 1) % 3
        )
        images.append(rng.uniform(0.5, 1.0) * first + rng.uniform(0.5, 1.0) * second)
    return np.stack(images).astype(np.float32)


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


def refit(craft: xc.Craft, inputs: Any, **settings: Any) -> xc.Craft:
    """The same model, class and number of concepts, fitted again."""
    other = xc.Craft.from_model(craft.split, None, 3, **{"batch_size": 4, **settings})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only .* images are predicted as class")
        other.fit(inputs, craft.class_id)
    return other


def matched(found: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which found row is which known one, and their cosines."""
    cosines = (found / np.linalg.norm(found, axis=1, keepdims=True)) @ (
        known / np.linalg.norm(known, axis=1, keepdims=True)
    ).T
    rows, columns = linear_sum_assignment(-cosines)
    order = rows[np.argsort(columns)]
    return order, cosines[order, np.arange(len(known))]


# ----------------------------------------------------------------------------------- what it finds
def test_it_finds_the_planted_concepts(craft: xc.Craft) -> None:
    _, cosines = matched(craft.factorized.bank, BANK)
    assert cosines.min() > 0.99


def test_it_finds_how_much_of_them_there_is_where(craft: xc.Craft, images: np.ndarray) -> None:
    order, _ = matched(craft.factorized.bank, BANK)
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
    _, cosines = matched(other.factorized.bank, craft.factorized.bank)
    assert cosines.min() > 1.0 - 1e-3
    assert other.factorized.relative_error == pytest.approx(
        craft.factorized.relative_error, abs=2e-3
    )


# ----------------------------------------------------------------------------------- what it gives
def test_fit_gives_crops_coefficients_and_bank(
    craft: xc.Craft, images: np.ndarray, class_id: int
) -> None:
    crops, crops_u, bank = refit(craft, images).fit(images, class_id)
    number = len(images) * len(crop_boxes(*SIZE))
    assert len(crops) == number
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
    for i in [0, 17, 29, 30, 111, len(found.crops) - 1]:
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


# ------------------------------------------------------------------------------------------ inputs
def all_kinds(images: np.ndarray) -> dict[str, Any]:
    dataset = tf.data.Dataset.from_tensor_slices(images)
    labelled = tf.data.Dataset.from_tensor_slices((images, np.arange(len(images))))
    one_hot = tf.data.Dataset.from_tensor_slices((images, np.eye(len(images))))
    return {
        "tensor": tf.constant(images),
        "list": list(images),
        "float64": images.astype(np.float64),
        "float16": images.astype(np.float16),
        "unbatched": dataset,
        "batched": dataset.batch(5),
        "prefetched": dataset.batch(2).prefetch(tf.data.AUTOTUNE),
        "labels": labelled,
        "labels, batched": labelled.batch(5).prefetch(1),
        "one-hot": one_hot.batch(4),
        "float64 dataset": tf.data.Dataset.from_tensor_slices(images.astype(np.float64)),
        "generator": tf.data.Dataset.from_generator(
            lambda: iter(images), output_signature=tf.TensorSpec((*SIZE, 3), tf.float32)
        ),
    }


@pytest.mark.parametrize("kind", all_kinds(np.zeros((1, *SIZE, 3), np.float32)))
def test_inputs_of_all_kinds(craft: xc.Craft, images: np.ndarray, kind: str) -> None:
    inputs = all_kinds(images)[kind]
    tolerance = 5e-3 if kind == "float16" else 1e-4
    other = planted.fitted(craft.split, craft.factorized.bank, inputs, craft.class_id, batch_size=4)
    assert_allclose(other.factorization.crops_u, craft.factorization.crops_u, atol=tolerance)
    assert_array_equal(other.factorization.crops.boxes, craft.factorization.crops.boxes)
    assert_allclose(other.factorization.crops[40], craft.factorization.crops[40], atol=1e-3)
    assert_allclose(other.transform(inputs), craft.transform(images), atol=tolerance)
    assert_allclose(other.ablation_effects(inputs), craft.ablation_effects(images), atol=tolerance)


def test_pixels_from_0_to_255(craft: xc.Craft, images: np.ndarray) -> None:
    pixels = np.rint(255 * images).astype(np.uint8)
    expected = refit(craft, pixels.astype(np.float32))
    other = refit(craft, pixels)
    assert_array_equal(other.factorized.bank, expected.factorized.bank)
    assert_array_equal(other.transform(pixels), expected.transform(pixels.astype(np.float32)))


def test_a_shuffled_dataset_is_refused_or_understood(craft: xc.Craft, images: np.ndarray) -> None:
    """Read twice in two orders, its crops would be of other images than their coefficients."""
    dataset = tf.data.Dataset.from_tensor_slices(images)
    steady = dataset.shuffle(9, seed=1, reshuffle_each_iteration=False)
    found = refit(craft, steady).factorization
    best = int(found.crops_u[:, 0].argmax())
    resized = tf.image.resize(found.crops[best][None], SIZE)
    pooled = craft.input_to_latent_model(resized).numpy().mean(axis=(1, 2))
    assert_allclose(found.reducer.transform(pooled)[0], found.crops_u[best], atol=1e-4)
    with pytest.raises(ValueError, match="another order, each time it is read"):
        refit(craft, dataset.shuffle(9, seed=1))


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_batches_do_not_matter(craft: xc.Craft, images: np.ndarray, batch_size: int) -> None:
    """Encodings of a given bank agree to 1e-4."""
    other = planted.fitted(craft.split, craft.factorized.bank, images, batch_size=batch_size)
    assert_allclose(other.transform(images), craft.transform(images), atol=1e-4)
    assert_allclose(other.factorization.crops_u, craft.factorization.crops_u, atol=1e-4)
    assert_allclose(
        SobolImportance(other, 64).explain(images, craft.class_id),
        SobolImportance(craft, 64).explain(images, craft.class_id),
        atol=1e-4,
    )


def test_batch_size_bounds_what_g_sees(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, seen = craft.network, []
    crop_latents, latents = network.crop_latents, network.latents

    def watched_crops(batch: np.ndarray, box: np.ndarray) -> Any:
        seen.append(len(batch))
        return crop_latents(batch, box)

    def watched(batch: np.ndarray) -> Any:
        seen.append(len(batch))
        return latents(batch)

    monkeypatch.setattr(network, "crop_latents", watched_crops)
    monkeypatch.setattr(network, "latents", watched)
    other = refit(craft, images, batch_size=2)
    other.transform(images)
    other.contributions(images)
    other.quality(images)
    assert max(seen) == 2
    assert len(seen) > 5 * 30


def test_models_of_images_of_any_size(images: np.ndarray) -> None:
    """Fitted on one size, asked about another."""
    model = planted.network(BANK, "relu", size=(None, None))
    craft = xc.Craft.from_model(model, planted.LAYER, 3)
    craft.fit(images, planted.predicted(model, images))
    large = images.repeat(2, axis=1).repeat(2, axis=2)
    u = craft.transform(large)
    assert u.shape == (9, 32, 48, 3)
    assert_allclose(u[:, ::2, ::2], craft.transform(images), atol=1e-4)
    assert_allclose(craft.contributions(large).score, craft.contributions(images).score, atol=1e-3)


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
    _, cosines = matched(other.factorized.bank, BANK)
    assert cosines.min() > 0.9


def test_at_most_so_many_crops(craft: xc.Craft, images: np.ndarray) -> None:
    """A seeded sample of all crops; the same for any batches."""
    few, same = (refit(craft, images, max_crops=50, batch_size=b) for b in (2, 64))
    other = refit(craft, images, max_crops=50, seed=1)
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
    _, cosines = matched(craft.factorized.bank, BANK)
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
