"""Rows for the factorisation: streamed, sampled by key, whatever the batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import xplique_craft as xc
from xplique_craft._random import keyed_bits
from xplique_craft.factorization import NMF
from xplique_craft.sampling.extent import measure_extent
from xplique_craft.sampling.rows import extract_rows
from xplique_craft.sampling.stream import Stream

SIDE = 16


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return xc.split_model(keras.Model(image, layers.Dense(2)(x)), "last").network


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((11, SIDE, SIDE, 3)).astype(np.float32)


def rows_of(network, inputs, *, batch_size=4, max_crops=10_000, seed=0, patch_size=None):
    stream = Stream(inputs, network.input_shape, batch_size)
    return extract_rows(
        stream,
        network,
        NMF(),
        class_id=0,
        patch_size=patch_size,
        max_crops=max_crops,
        seed=seed,
        verbose=False,
    )


def test_every_crop_gives_the_mean_of_its_activations(network, images):
    found = rows_of(network, images)
    assert found.rows.shape == (11 * 30, 5)
    assert found.images == 11
    for i in (0, 57, 329):
        image, top, left, height, width = found.boxes[i]
        crop = images[image, top : top + height, left : left + width]
        resized = tf.image.resize(crop[None], (SIDE, SIDE))
        expected = network.latents(resized).numpy().mean(axis=(0, 1, 2))
        np.testing.assert_allclose(found.rows[i], expected, rtol=1e-4, atol=1e-6)


def test_predictions_are_counted(network, images):
    logits = network.logits(network.latents(images)).numpy()
    assert rows_of(network, images).predicted == int((logits.argmax(axis=1) == 0).sum())


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_sample_does_not_depend_on_the_batches(network, images, batch_size):
    expected = rows_of(network, images, max_crops=40)
    found = rows_of(network, images, max_crops=40, batch_size=batch_size)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_allclose(found.rows, expected.rows, rtol=1e-4, atol=1e-6)


def test_the_sample_is_part_of_all_and_depends_on_the_seed(network, images):
    every = {tuple(box) for box in rows_of(network, images).boxes}
    first = rows_of(network, images, max_crops=40)
    assert len(first.rows) == len(first.boxes) == 40
    assert {tuple(box) for box in first.boxes} <= every
    other = rows_of(network, images, max_crops=40, seed=1)
    assert not np.array_equal(first.boxes, other.boxes)


def test_the_sample_is_uniform_over_images_and_crops():
    keys = keyed_bits(3, np.arange(2000)[:, None], np.arange(30)).reshape(-1)
    chosen = np.argsort(keys)[:6000]
    images = np.bincount(chosen // 30, minlength=2000)
    crops = np.bincount(chosen % 30, minlength=30)
    assert images.mean() == 3.0
    assert 2.2 < images.var() < 3.3  # binomial-like: 30 x 0.1 x 0.9 = 2.7
    assert crops.min() > 140  # 200 each
    assert crops.max() < 260


def test_keyed_bits_are_those_of_their_keys():
    whole = keyed_bits(5, np.arange(10)[:, None], np.arange(4))
    np.testing.assert_array_equal(whole[7, 2], keyed_bits(5, 7, 2)[0])
    assert len(np.unique(whole)) == 40
    assert not np.array_equal(whole, keyed_bits(6, np.arange(10)[:, None], np.arange(4)))


def test_extent_is_largest_and_mean_over_all_places(network, images):
    factorized = NMF().fit(rows_of(network, images).rows, 3)
    extent = measure_extent(Stream(images, network.input_shape, 4), network, factorized, False)
    activations = network.latents(images)
    u = factorized.encode(activations)[0].numpy()
    np.testing.assert_allclose(extent.largest, u.max(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(extent.mean, u.mean(axis=(0, 1, 2)), rtol=1e-4)


def test_a_dataset_and_its_array_give_the_same_fit(images):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="last")(x)
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    class_id = int(np.bincount(model.predict(images, verbose=0).argmax(axis=1)).argmax())
    banks, crops = [], []
    dataset = tf.data.Dataset.from_tensor_slices((images, np.eye(2)[np.zeros(11, int)]))
    for inputs in (images, dataset, dataset.batch(3).prefetch(1)):
        craft = xc.Craft.from_model(model, "last", 3, batch_size=4)
        found, _, bank = craft.fit(inputs, class_id)
        banks.append(bank)
        crops.append(found[[5, 300, 31]])
    np.testing.assert_array_equal(banks[0], banks[1])
    np.testing.assert_array_equal(banks[0], banks[2])
    np.testing.assert_array_equal(crops[0], crops[1])
    np.testing.assert_array_equal(crops[0], crops[2])


def test_a_dataset_in_another_order_each_time_is_refused(network, images):
    shuffled = tf.data.Dataset.from_tensor_slices(images).shuffle(11, seed=0)
    stream = Stream(shuffled, network.input_shape, 4)
    list(stream)
    with pytest.raises(ValueError, match="reshuffle_each_iteration=False"):
        list(stream)  # 11! orders


def test_crops_are_limited_by_max_crops(images):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="last")(x)
    model = keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))
    craft = xc.Craft.from_model(model, "last", 3, max_crops=50)
    crops, crops_u, _ = craft.fit(images)
    assert len(crops) == len(crops_u) == 50
