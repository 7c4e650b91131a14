"""Images in whatever they come in, in batches of any size: the same concepts."""

from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from squares import BANK, SIZE, coloured_squares, refit

import xplique_craft as xc
from xplique_craft.importance import SobolImportance
from xplique_craft.sampling import rows


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
    found, expected = other.factorization, craft.factorization
    same = len(images) * 10 if kind == "float16" else None  # rounding may show another example
    assert_allclose(found.crops_u[:same], expected.crops_u[:same], atol=tolerance)
    assert_array_equal(found.crops.boxes[:same], expected.crops.boxes[:same])
    assert_allclose(found.crops[40], expected.crops[40], atol=1e-3)
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
    crop_latents, latents = rows.crop_latents, network.latents

    def watched_crops(network: Any, batch: np.ndarray, box: np.ndarray, *others: Any) -> Any:
        seen.append(len(batch))
        return crop_latents(network, batch, box, *others)

    def watched(batch: np.ndarray) -> Any:
        seen.append(len(batch))
        return latents(batch)

    monkeypatch.setattr(rows, "crop_latents", watched_crops)
    monkeypatch.setattr(network, "latents", watched)
    other = refit(craft, images, batch_size=2)
    other.transform(images)
    other.contributions(images)
    other.quality(images)
    assert max(seen) == 2
    assert len(seen) > 5 * 10


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
