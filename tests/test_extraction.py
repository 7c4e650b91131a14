"""Rows for the factorisation: streamed, sampled by key, whatever the batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import xplique_craft as xc
from xplique_craft._random import keyed_bits
from xplique_craft.factorization import NMF
from xplique_craft.sampling.crops import IMAGE_WINDOWS
from xplique_craft.sampling.examples import covered as covered_by
from xplique_craft.sampling.examples import examples_for_each
from xplique_craft.sampling.extent import measure_extent
from xplique_craft.sampling.rows import extract_rows
from xplique_craft.sampling.stream import Stream
from xplique_craft.splitting.network import Network

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


def rows_of(
    network, inputs, *, batch_size=4, max_crops=10_000, seed=0, patch_size=None, positions=0
):
    stream = Stream(inputs, network.input_shape, batch_size)
    return extract_rows(
        stream,
        network,
        NMF(),
        class_id=0,
        patch_size=patch_size,
        max_crops=max_crops,
        positions=positions,
        seed=seed,
        verbose=False,
    )


def test_every_crop_gives_the_mean_of_its_activations(network, images):
    found = rows_of(network, images)
    assert found.rows.shape == (11 * 10, 5)
    assert found.images == 11
    for i in (0, 57, 109):
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


def test_positions_are_drawn_by_image_whatever_the_batches(network, images):
    activations = network.latents(images).numpy().reshape(11, -1, 5)
    found = rows_of(network, images, positions=7)
    assert found.positions.shape == (11 * 7, 5)
    np.testing.assert_array_equal(found.position_images, np.arange(11).repeat(7))
    same = (found.positions.reshape(11, 7, 1, 5) == activations[:, None]).all(axis=-1)
    where = same.argmax(axis=2)
    assert same.any(axis=2).all()
    assert (np.diff(where, axis=1) > 0).all()  # each once, in their order
    assert len(np.unique(where)) > 30
    for batch_size in (1, 64):
        again = rows_of(network, images, positions=7, batch_size=batch_size)
        np.testing.assert_allclose(again.positions, found.positions, rtol=1e-4, atol=1e-6)
    other = rows_of(network, images, positions=7, seed=1)
    assert not np.allclose(other.positions, found.positions)


def test_positions_are_limited_as_crops_are(network, images):
    few = rows_of(network, images, positions=10_000, max_crops=40)
    assert len(few.positions) == len(few.rows) == 40
    every = rows_of(network, images, positions=10_000)
    assert len(every.positions) == 11 * 64
    assert {tuple(row) for row in few.positions} <= {tuple(row) for row in every.positions}
    assert rows_of(network, images).positions.shape == (0, 5)


def test_pooled_activations_have_no_positions(images):
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D(name="last")(layers.Conv2D(5, 3, activation="relu")(image))
    network = xc.split_model(keras.Model(image, layers.Dense(2)(x)), "last").network
    assert rows_of(network, images, positions=7).positions.shape == (0, 5)


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
        crops.append(found[[5, 100, 31]])
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
    craft = xc.Craft.from_model(model, "last", 3, patch_size=6, max_crops=50)
    crops, crops_u, _ = craft.fit(images)
    assert len(crops) == len(crops_u) == 50


# ------------------------------------------------------------ crops and positions in one bank
class Told(NMF):
    """What it is asked to fit."""

    def _fit(self, rows, k, seed, weights):
        self.told = rows, weights
        return super()._fit(rows, k, seed, weights)


def fitted_on(images, **settings):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="last")(x)
    model = keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))
    factorizer = Told()
    craft = xc.Craft.from_model(model, "last", 3, factorizer=factorizer, **settings)
    craft.fit(images)
    return craft, *factorizer.told


@pytest.mark.parametrize("wanted", [0.3, 2.0])
def test_positions_weigh_a_share_of_the_crops(images, wanted):
    _, rows, weights = fitted_on(images, position_weight=wanted)
    crops = np.linalg.norm(rows[: 11 * 10])
    positions = np.linalg.norm(np.sqrt(weights[11 * 10 :, None]) * rows[11 * 10 :])
    assert (weights[: 11 * 10] == 1.0).all()
    assert len(rows) == 11 * (10 + 16)
    np.testing.assert_allclose(positions / crops, wanted, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"position_weight": 0.0}, {"patch_size": 6}])
def test_crops_alone(images, settings):
    """The paper's bank, and that of crops at several scales."""
    _, rows, weights = fitted_on(images, **settings)
    assert weights is None
    assert len(rows) == 11 * (16 if "patch_size" in settings else 10)


def test_a_patch_size_takes_positions_where_they_are_asked_for(images):
    _, rows, weights = fitted_on(images, patch_size=6, position_weight=0.5)
    assert len(rows) == len(weights) == 11 * (16 + 16)


# ---------------------------------------------------------------------------------- examples
def test_examples_are_the_best_windows_by_the_coefficients_of_whole_images(images):
    craft = fitted_on(images)[0]
    u = craft.transform(images)
    fitted, shown = craft.concepts.crops.boxes[:110], craft.concepts.crops.boxes[110:]
    assert not {tuple(box) for box in fitted} & {tuple(box) for box in shown}
    candidates = IMAGE_WINDOWS.candidates((SIDE, SIDE))
    fine = u.repeat(2, axis=1).repeat(2, axis=2)  # a cell is 2 x 2 pixels
    means = np.stack(
        [
            fine[:, top : top + high, left : left + wide].mean(axis=(1, 2))
            for top, left, high, wide in candidates
        ],
        axis=1,
    )
    expected = set()
    for j in range(3):
        best = means[..., j].argmax(axis=1)
        order = np.argsort(-means[np.arange(11), best, j], kind="stable")
        for i in order[:11]:  # 4 passes an image are 14 a concept, and there are 11 images
            if means[i, best[i], j] > 0.0:
                expected.add((i, *candidates[best[i]]))
    expected -= {tuple(box) for box in fitted}
    assert {tuple(box) for box in shown.tolist()} == expected


def test_coefficients_of_all_crops_are_those_of_g_alone(images):
    craft = fitted_on(images)[0]
    crops, crops_u = craft.concepts.crops, craft.concepts.crops_u
    assert len(crops) == len(crops_u) > 110
    for i in (3, 57, 109, 110, len(crops) - 1):
        activations = craft.network.latents(tf.image.resize(crops[i][None], (SIDE, SIDE)))
        expected = craft.factorized.transform(activations.numpy().mean(axis=(1, 2)))[0]
        np.testing.assert_allclose(crops_u[i], expected, rtol=1e-3, atol=1e-5)


def test_few_images_and_many_concepts_get_fewer_examples():
    assert examples_for_each(100, 10) == 12
    assert examples_for_each(80, 25) == 12
    assert examples_for_each(50, 25) == 8
    assert examples_for_each(5, 2) == 5
    assert examples_for_each(4, 20) == 0


def test_passes_stay_within_15_an_image(images, monkeypatch):
    """All that goes through g, cards included; how many these are, the next test goes through."""
    seen = []
    activations = Network.activations

    def counted(self, images):
        tf.py_function(lambda x: seen.append(len(x)), [images], [])
        return activations(self, images)

    monkeypatch.setattr(Network, "activations", counted)
    many = np.random.default_rng(1).random((40, SIDE, SIDE, 3)).astype(np.float32)
    fitted_on(many, batch_size=16)
    assert 11 * 40 < sum(seen) <= 15 * 40


def test_examples_never_take_more_than_four_passes_an_image():
    for images in range(1, 200):
        for k in (1, 2, 5, 10, 14, 25, 64):
            assert 0 <= k * examples_for_each(images, k) <= 4 * images


def test_a_dataset_is_read_once_for_all_examples(images):
    reads = []

    def watched():
        reads.append(1)
        yield from images

    spec = tf.TensorSpec((SIDE, SIDE, 3), tf.float32)
    dataset = tf.data.Dataset.from_generator(watched, output_signature=spec)
    craft = fitted_on(dataset, batch_size=2)[0]
    assert len(craft.concepts.crops) > 110
    assert len(reads) == 3  # crops, extent, examples


@pytest.mark.parametrize("cells", [(7, 7), (3, 5), (20, 20)])
def test_what_windows_cover_adds_up(cells):
    places = IMAGE_WINDOWS.candidates((17, 23))
    covered = covered_by(places, (17, 23), cells)
    assert covered.shape == (29, cells[0] * cells[1])
    np.testing.assert_allclose(covered.sum(axis=1), 1.0)
    ramp = np.linspace(0, 1, cells[0] + 1)
    rows = np.repeat((ramp[1:] + ramp[:-1]) / 2, cells[1])  # the height of the middle of a cell
    middle = (places[:, 0] + places[:, 2] / 2) / 17
    assert np.corrcoef(covered @ rows, middle)[0, 1] > 0.95
