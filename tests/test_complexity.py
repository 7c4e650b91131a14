"""Complexity: planted features of known depth come in their order; errors; one pass; the figure."""

from itertools import pairwise

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft import plots
from xplique_craft._intervals import bootstrap_mean, bootstrap_of_means
from xplique_craft.metrics import measure_complexity
from xplique_craft.metrics.complexity import predicted_by_others
from xplique_craft.metrics.folds import divided
from xplique_craft.results import Complexity, Estimate, Importance

NAMES = ["zeroth", "first", "second", planted.LAYER]


@keras.saving.register_keras_serializable(package="tests")
class Counting(layers.Layer):
    """Hands images on and counts them."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.seen = self.add_weight(shape=(), dtype="int32", trainable=False, name="seen")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.seen.assign_add(tf.shape(x)[0])
        return x


def deep_network() -> keras.Model:
    """
    Images of one colour (x1, x2, x3) in [-1, 1]^3; concepts z1 = x1 + 1, z2 = |x2| and
    z3 = ||x3| - 1/2|, linear in what no, one and two nonlinearities give, and in nothing before:
    |x| is uncorrelated with x, and ||x| - 1/2| with x and |x|, where x is uniform.
    """

    def mix(x: keras.KerasTensor, kernel: list[list[float]], bias: list[float], name: str, bend):  # type: ignore[no-untyped-def]
        made = layers.Conv2D(len(bias), 1, activation=bend, name=name)
        out = made(x)
        made.set_weights([np.array(kernel, np.float32).T[None, None], np.array(bias, np.float32)])
        return out

    image = keras.Input((4, 4, 3), name="image")
    x = Counting(name="counting")(image)
    x = mix(x, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0], "zeroth", None)
    first = [[1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    x = mix(x, first, [1, 0, 0, 0, 0], "first", "relu")
    second = [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, -1, -1]]
    x = mix(x, second, [0, 0, -0.5, 0.5], "second", "relu")
    x = mix(x, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]], [0, 0, 0], planted.LAYER, "relu")
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(image, layers.Dense(2, name="logits")(x))


def colours(number: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(-1.0, 1.0, (number, 1, 1, 3))
    return np.broadcast_to(values, (number, 4, 4, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return colours(300)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.fitted(deep_network(), np.eye(3), images[:8])


@pytest.fixture(scope="module")
def found(craft: xc.Craft, images: np.ndarray) -> Complexity:
    return measure_complexity(craft, images, layers=NAMES)


# ------------------------------------------------------------------------------- known answers
def test_planted_depths(found: Complexity) -> None:
    expected = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]])
    assert_allclose(found.r2, expected, atol=0.06)
    assert_allclose(found.k, [0.0, 0.25, 0.5], atol=0.02)
    assert_array_equal(found.order, [0, 1, 2])
    assert found.layers == NAMES
    assert found.number_of_images == 300
    for one in found.by_concept:
        assert 0.0 <= one.low <= one.value + 1e-9 <= one.high + 2e-9 <= 1.0
    assert found.by_concept[0].high < found.by_concept[1].low
    assert found.by_concept[1].high < found.by_concept[2].low


def test_all_layers_by_default(craft: xc.Craft, images: np.ndarray) -> None:
    """From the first to that of the concepts, and none after it."""
    found = measure_complexity(craft, images)
    assert found.layers == ["counting", *NAMES]
    assert_allclose(found.k, [0.0, 2 / 5, 3 / 5], atol=0.02)
    assert_allclose(found.depth, np.arange(1, 6) / 5)
    last = measure_complexity(craft, images, layers=[planted.LAYER])
    assert_allclose(last.k, 0.0, atol=1e-3)
    first = measure_complexity(craft, images, layers=["zeroth"])
    assert_allclose(first.k, [0.0, 1.0, 1.0], atol=0.06)


def test_nothing_in_the_order_of_layers_or_the_batches(
    craft: xc.Craft, images: np.ndarray, found: Complexity
) -> None:
    other = measure_complexity(craft.variant(batch_size=7), images, layers=NAMES[::-1])
    assert other.layers == NAMES
    assert_allclose(other.r2, found.r2, atol=1e-4)


def test_scales_of_concepts_do_not_matter(images: np.ndarray, found: Complexity) -> None:
    """Nor their order."""
    bank = np.array([[0.0, 0.0, 1e-3], [50.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    scaled = planted.fitted(deep_network(), bank, images[:8])
    other = measure_complexity(scaled, images, layers=NAMES)
    assert_allclose(other.k, found.k[[2, 0, 1]], atol=1e-3)


def test_probes_predict_what_is_linear_and_nothing_else(rng: np.random.Generator) -> None:
    """By hand: the prediction of a part is that of the others; noise is not predicted at all."""
    features = rng.normal(size=(120, 5)) * [1e-4, 1.0, 1e4, 1.0, 0.0] + 3.0
    z = np.stack([features[:, 2] - 1e4 * features[:, 1], rng.normal(size=120)], axis=1)
    parts = divided(120, 4, 0)
    predicted = predicted_by_others(features, z, parts)
    r2 = 1.0 - np.square(z - predicted).sum(0) / np.square(z - z.mean(0)).sum(0)
    assert r2[0] > 0.999
    assert abs(r2[1]) < 0.1
    changed = z.copy()
    changed[parts[0]] += 100.0
    again = predicted_by_others(features, changed, parts)
    assert_allclose(again[parts[0]], predicted[parts[0]])
    assert not np.allclose(again[parts[1]], predicted[parts[1]])
    nothing = predicted_by_others(np.ones((120, 2)), z, parts)
    assert_allclose(nothing[parts[0]], np.tile(np.delete(z, parts[0], 0).mean(0), (30, 1)))


def test_intervals_of_a_function_of_means(rng: np.random.Generator) -> None:
    """Of the means themselves they are those of the means but for the stretch; NaN of one image."""
    values = rng.normal(size=(50, 2))
    same = bootstrap_of_means(values, lambda means: means, 3)
    stretched = bootstrap_mean(values, 3)
    mean = values.mean(axis=0)[:, None]
    assert_allclose(mean + (same - mean) * np.sqrt(50 / 49), stretched)
    assert np.isnan(bootstrap_of_means(values[:1], lambda means: means, 3)).all()


# -------------------------------------------------------------------------------------- one pass
def test_each_image_goes_through_the_network_once(craft: xc.Craft, images: np.ndarray) -> None:
    counter = craft.model.get_layer("counting").seen
    before = int(counter.value)
    measure_complexity(craft.variant(batch_size=32), images[:100])
    assert int(counter.value) - before == 100


# ------------------------------------------------------------------------------- errors, warnings
def test_layers_that_are_none(craft: xc.Craft, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="layers must not come after 'latent'"):
        measure_complexity(craft, images, layers=["average"])
    with pytest.raises(ValueError, match="'nowhere' is not in"):
        measure_complexity(craft, images, layers=["nowhere"])
    with pytest.raises(ValueError, match="layers must be at least one name"):
        measure_complexity(craft, images, layers=[])
    with pytest.raises(ValueError, match="'first' more than once"):
        measure_complexity(craft, images, layers=["first", "first"])
    with pytest.raises(TypeError, match="layers must be a list of names"):
        measure_complexity(craft, images, layers="first")


def test_too_few_images(craft: xc.Craft, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="inputs must be at least two images for each of the 5"):
        measure_complexity(craft, images[:9])
    with pytest.warns(UserWarning, match="There are 60 images in 5 folds, fewer than 20 in each"):
        few = measure_complexity(craft, images[:60], layers=NAMES)
    assert (few.k >= [-1e-9, 0.2, 0.4]).all()
    with pytest.raises(ValueError, match="folds must be at least 2"):
        measure_complexity(craft, images, folds=1)


def test_a_concept_that_is_always_the_same(images: np.ndarray) -> None:
    bank = np.concatenate([np.eye(3), [[0.0, 0.0, 0.0]]])
    craft = planted.fitted(deep_network(), bank, images[:8])
    with pytest.warns(UserWarning, match="Concepts 3 are the same in all images"):
        found = measure_complexity(craft, images[:150], layers=NAMES)
    assert np.isnan(found.k[3])
    assert np.isfinite(found.k[:3]).all()
    assert_array_equal(found.order, [0, 1, 2, 3])
    assert "not defined" in found.table()


def test_pooled_activations_and_nested_models() -> None:
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(5, "relu", name="deep")], name="part")
    image = keras.Input((4, 4, 6))
    x = inner(layers.GlobalAveragePooling2D(name="average")(image))
    model = keras.Model(image, layers.Dense(2)(layers.Dense(4, "relu", name="cut")(x)))
    images = np.random.default_rng(1).random((100, 4, 4, 6)).astype(np.float32)
    craft = xc.Craft.from_model(model, "cut", 2)
    craft.fit(images, planted.predicted(model, images))
    found = measure_complexity(craft, images)
    assert found.layers == [
        one.name for one in xc.candidate_layers(craft.model) if not one.name.startswith("dense")
    ]
    assert found.r2.shape == (len(found.layers), 2)


# ------------------------------------------------------------------------------- what is printed
def test_what_is_printed(found: Complexity) -> None:
    assert str(found).startswith("K from 0.")
    assert "high is complex" in str(found)
    lines = found.table().splitlines()
    assert len(lines) == 2 + 3
    assert lines[2].startswith("| 0 | 0.")


def importance(values: list[float], concepts: np.ndarray | None = None) -> Importance:
    overall = np.array(values)
    around = np.stack([overall - 0.1, overall + 0.1], axis=1)
    return Importance(
        overall[None], overall, around, around, "sobol total", 0, True, concepts=concepts
    )


def made() -> Complexity:
    three = [Estimate(k, k - 0.05, k + 0.05) for k in (0.2, 0.8, 0.5)]
    return Complexity(three, np.ones((2, 3)), ["a", "b"], np.array([0.5, 1.0]), 100, 5)


def test_the_figure() -> None:
    ax = plots.importance_against_complexity(importance([0.6, 0.1, 0.3]), made())
    points = {
        text.get_text(): tuple(float(x) for x in text.xy) for text in ax.texts
    }  # annotations stand at their points
    assert points == {"C0": (0.2, 0.6), "C1": (0.8, 0.1), "C2": (0.5, 0.3)}
    assert "complexity K" in ax.get_xlabel()
    assert ax.get_ylabel() == "importance (sobol total)"
    drawn = [tuple(line.get_xdata()) for line in ax.lines]
    assert (0.15000000000000002, 0.25) in drawn
    again = plots.importance_against_complexity(importance([0.5], np.array([2])), made(), ax=ax)
    assert again is ax


def test_names_of_concepts_at_one_place_cover_no_other() -> None:
    same = Complexity([Estimate(0.5, 0.4, 0.6)] * 3, np.ones((1, 3)), ["a"], np.ones(1), 100, 5)
    ax = plots.importance_against_complexity(importance([0.2, 0.2, 0.2]), same)
    heights = sorted(text.xyann[1] for text in ax.texts)
    assert all(b - a >= 10.0 for a, b in pairwise(heights))


def test_figures_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="of concept 3 there is none"):
        plots.importance_against_complexity(importance([0.1] * 4), made())
    with pytest.raises(TypeError, match="complexity must be what measure_complexity returns"):
        plots.importance_against_complexity(importance([0.1]), importance([0.1]))  # type: ignore[arg-type]
    nothing = Complexity([Estimate(*3 * [np.nan])], np.ones((1, 1)), ["a"], np.ones(1), 100, 5)
    with pytest.raises(ValueError, match="complexity must be known of one concept at least"):
        plots.importance_against_complexity(importance([0.1]), nothing)


def test_the_depths_rise(found: Complexity) -> None:
    assert all(a < b for a, b in pairwise(found.depth))
    assert found.depth[-1] == 1.0


def test_layers_of_nested_models_by_the_names_that_candidates_have() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 3, activation="relu", name="first")(image)
    last = keras.layers.Conv2D(5, 3, activation="relu", name="second")(first)
    body = keras.Model(image, last, name="body")
    outer = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(body(outer))
    split = xc.split_model(keras.Model(outer, keras.layers.Dense(3)(pooled)), "body")
    pictures = np.random.default_rng(0).random((60, 8, 8, 3)).astype(np.float32)
    craft = planted.fitted(split, planted.bank(2, 5), pictures)
    found = measure_complexity(craft, pictures, layers=["body/first"], folds=3)
    assert found.layers == ["first"]
