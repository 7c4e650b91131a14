"""The geometry of parts of an input is one noun, which a signal over time answers as images do."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import xplique_craft as xc
from xplique_craft.factorization import NMF
from xplique_craft.sampling.crops import IMAGE_WINDOWS, Windows
from xplique_craft.sampling.examples import Ranking, encode_boxes
from xplique_craft.sampling.lazy_crops import Crops
from xplique_craft.sampling.rows import crop_latents, extract_rows
from xplique_craft.sampling.stream import Stream

LENGTH, CHANNELS = 24, 2


class SignalWindows(Windows):
    """Intervals of signals (T, channels): half of it at a time, and all of it."""

    axes: ClassVar[int] = 1

    def boxes(self, shape: Sequence[int], patch_size: tuple[int, ...] | None = None) -> np.ndarray:
        starts = [(0, shape[0])] if patch_size is None else []
        for size in patch_size or (shape[0] // 2,):
            starts += [(start, size) for start in range(0, shape[0] - size + 1, size)]
        return np.array(starts)

    def candidates(self, shape: Sequence[int]) -> np.ndarray:
        return self.boxes(shape, (shape[0] // 2, shape[0] // 4))

    def cut(self, whole: np.ndarray, box: Sequence[int]) -> np.ndarray:
        return whole[box[0] : box[0] + box[1]]

    def resize(self, part: np.ndarray, size: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.repeat(part, size[0] // len(part), axis=0)

    def to_input_size(self, batch: tf.Tensor, box: Sequence[Any]) -> tf.Tensor:
        part = tf.ensure_shape(batch[:, box[0] : box[0] + box[1]], [None, box[1], batch.shape[2]])
        return self.to_size(part, batch.shape[1:])

    def to_size(self, parts: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
        repeated = tf.repeat(parts, shape[0] // parts.shape[1], axis=1)
        return tf.ensure_shape(repeated, [None, *shape])

    def picture(
        self, photograph: np.ndarray, box: Sequence[int], size: Sequence[int]
    ) -> np.ndarray:
        return self.cut(photograph, box)


WINDOWS = SignalWindows()


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    x = signal = keras.Input((LENGTH, CHANNELS))
    x = layers.Conv1D(5, 3, strides=2, padding="same", activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return xc.split_model(keras.Model(signal, layers.Dense(2)(x)), "last").network


@pytest.fixture(scope="module")
def signals() -> np.ndarray:
    return np.random.default_rng(0).random((7, LENGTH, CHANNELS)).astype(np.float32)


def test_signals_give_rows(network, signals):
    found = extract_rows(
        Stream(signals, network.input_shape, 3),
        network,
        NMF(),
        class_id=0,
        patch_size=None,
        max_crops=100,
        seed=0,
        verbose=False,
        windows=WINDOWS,
    )
    expected = [[i, *box] for i in range(7) for box in ((0, 24), (0, 12), (12, 12))]
    np.testing.assert_array_equal(found.boxes, expected)
    assert (found.images, found.channels) == (7, CHANNELS)
    for row, (i, start, length) in zip(found.rows, found.boxes, strict=True):
        part = np.repeat(signals[i, start : start + length], LENGTH // length, axis=0)
        pooled = network.latents(part[None]).numpy().mean(axis=(0, 1))
        np.testing.assert_allclose(row, pooled, rtol=1e-4, atol=1e-6)


def test_examples_of_signals(network, signals):
    rows = network.latents(signals).numpy()
    factorized = NMF().fit(rows.reshape(-1, rows.shape[-1]), 2)
    u = factorized.transform(rows)
    ranking = Ranking(3, WINDOWS)
    for start in (0, 3):
        some = np.arange(start, min(start + 3, 6))
        ranking.add(some, signals.shape[1:], u[some])
    boxes = ranking.boxes
    assert boxes.shape[1] == 3
    places = [(0, 12), (12, 12), (0, 6), (6, 6), (12, 6), (18, 6)]
    means = np.stack([u[:6, a // 2 : (a + n) // 2].mean(axis=1) for a, n in places], axis=1)
    expected = set()
    for j in range(2):
        for i in np.argsort(-means[..., j].max(axis=1))[:3]:
            expected.add((i, *places[means[i, :, j].argmax()]))
    assert {tuple(box) for box in boxes.tolist()} == expected
    found = encode_boxes(
        Stream(signals, network.input_shape, 3), network, factorized, boxes, WINDOWS
    )
    image, start, length = boxes[0]
    part = np.repeat(signals[image, start : start + length], LENGTH // length, axis=0)
    pooled = network.latents(part[None]).numpy().mean(axis=1)
    np.testing.assert_allclose(found[0], factorized.transform(pooled)[0], rtol=1e-3, atol=1e-5)


def test_signals_are_cut_lazily(signals):
    boxes = np.array([[2, 0, 12], [5, 6, 6]])
    crops = Crops(boxes, lambda numbers: signals[numbers], CHANNELS, windows=WINDOWS)
    assert crops.shape == (2, 12, CHANNELS)
    np.testing.assert_array_equal(crops[1], signals[5, 6:12])
    np.testing.assert_array_equal(crops[:][1], np.repeat(signals[5, 6:12], 2, axis=0))


def test_one_function_is_compiled_for_each_size_of_crops():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    x = layers.Conv2D(5, 3, activation="relu", name="last")(x)
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    network = xc.split_model(model, "last").network
    traces = []
    shared = network.shared
    network.shared = lambda key, make: traces.append(key) or shared(key, make)
    images = tf.zeros((2, 16, 16, 3))
    for box in IMAGE_WINDOWS.boxes((16, 16)):
        crop_latents(network, images, box)
    assert len(traces) == 10
    assert sorted({key[-2:] for key in traces}) == [(6, 6), (16, 16)]
    assert len(network._shared) == 2


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [((0, 0, 10, 20), slice(0, 20), slice(0, 60)), ((3, 5, 4, 6), slice(6, 14), slice(15, 33))],
)
def test_pictures_are_cut_where_the_model_looked(box, rows, columns):
    """A photograph of 20 x 60 that the model takes at 10 x 20."""
    photograph = np.arange(20 * 60 * 3).reshape(20, 60, 3)
    shown = IMAGE_WINDOWS.picture(photograph, np.array(box), (10, 20))
    np.testing.assert_array_equal(shown, photograph[rows, columns])
