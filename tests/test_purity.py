"""Purity of a craft: judges that see everything or nothing, what they are shown, errors."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import planted
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

import xplique_craft as xc
from xplique_craft.concept_model import ConceptModel
from xplique_craft.metrics import purity
from xplique_craft.results import Purity

MIXING = planted.bank(concepts=4, channels=6)
SIZE = (12, 12)


def scenes(number: int = 24, seed: int = 0) -> np.ndarray:
    """Each quarter of an image is all of one concept, so every crop of a third has one most."""
    rng = np.random.default_rng(seed)
    found = np.zeros((number, *SIZE, 4), np.float32)
    for image in found:
        for quarter, concept in enumerate(rng.permutation(4)):
            top, left = 6 * (quarter // 2), 6 * (quarter % 2)
            image[top : top + 6, left : left + 6, concept] = rng.uniform(0.5, 1.0)
    return found


def judge(layer: Any, channels: int = 4, size: int = 6) -> keras.Model:
    """A network of one layer after its input."""
    image = keras.Input((size, size, channels))
    return keras.Model(image, layer(image))


def eyes() -> keras.Model:
    """A judge that sees the painting's channels."""
    return judge(keras.layers.GlobalAveragePooling2D())


class Noise(keras.layers.Layer):
    """Sees every picture as a direction of its own, which has nothing to do with what it shows."""

    def call(self, images: Any) -> Any:
        totals = keras.ops.sum(images, axis=(1, 2, 3))
        angles = 1e4 * totals[:, None] * np.array([1.0, 2.7, 5.3, 11.1], np.float32)
        return keras.ops.sin(angles)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return scenes()


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.fitted(planted.network(MIXING, size=SIZE), MIXING, images)


# ------------------------------------------------------------------------------- known answers
def test_a_judge_that_sees_the_concepts(craft: xc.Craft) -> None:
    found = purity(craft, eyes(), trials=200, shown=12)
    assert found.accuracy.value == 1.0
    assert [one.value for one in found.by_concept] == [1.0] * 4
    assert found.floor.value < 0.5
    assert (found.chance, found.left_out, found.shown) == (0.2, [], 12)
    assert (found.number_of_trials, found.number_of_images) == (200, 24)


def test_a_judge_of_noise(craft: xc.Craft) -> None:
    found = purity(craft, judge(Noise()), trials=1000)
    assert found.accuracy.value == pytest.approx(0.2, abs=0.09)
    assert found.floor.value == pytest.approx(0.2, abs=0.09)


def test_concepts_of_no_meaning_are_at_their_floor(craft: xc.Craft) -> None:
    """Which crops hold the most of them was drawn at random."""
    noise = np.random.default_rng(0).random(craft.concepts.crops_u.shape)
    meaningless = ConceptModel(craft.split, replace(craft.concepts, crops_u=noise))
    found = purity(meaningless, eyes())
    assert found.accuracy.value == pytest.approx(found.floor.value, abs=0.1)
    assert found.accuracy.value < 0.5


def test_an_impure_concept_stands_out(images: np.ndarray) -> None:
    """The last one is two of the painting's, and has as much of the one as of the other."""
    bank = np.stack([*np.eye(4)[:2], [0.0, 0.0, 1.0, 1.0]])
    craft = planted.fitted(planted.network(np.eye(4), size=SIZE), bank, images)
    found = purity(craft, eyes(), trials=300, shown=20)
    values = [one.value for one in found.by_concept]
    assert values[0] == values[1] == 1.0
    assert values[2] < 0.9
    assert found.accuracy.value == pytest.approx(np.mean(values), abs=1e-6)


def test_on_held_out_images(craft: xc.Craft) -> None:
    """Of windows at many places, which go through g."""
    found = purity(craft, eyes(), inputs=scenes(16, seed=5), trials=200, shown=8)
    assert found.accuracy.value > 0.95
    assert found.number_of_images == 16


def test_the_same_by_a_dataset(craft: xc.Craft) -> None:
    import tensorflow as tf

    held = scenes(16, seed=5)
    data = tf.data.Dataset.from_tensor_slices(held).filter(lambda _: True)
    given = {"trials": 60, "shown": 8}
    assert purity(craft, eyes(), inputs=data, **given) == purity(
        craft, eyes(), inputs=held, **given
    )


# ------------------------------------------------------------------------- what the judge is shown
def test_crops_are_cut_from_the_photographs(craft: xc.Craft, images: np.ndarray) -> None:
    """Photographs of twice the size, where the concepts have colours, given or made."""
    seen: list[np.ndarray] = []

    def prepare(crops: np.ndarray) -> np.ndarray:
        seen.append(crops)
        return crops / 255.0

    def restore(some: np.ndarray) -> np.ndarray:
        colours = np.minimum(some[..., :3] + some[..., 3:], 1.0)  # red, green, blue and white
        return np.rint(255 * colours.repeat(2, axis=1).repeat(2, axis=2)).astype(np.uint8)

    pictures = restore(images)
    colours = judge(keras.layers.GlobalAveragePooling2D(), 3)
    given = {"trials": 100, "shown": 12, "prepare": prepare}
    found = purity(craft, colours, photographs=pictures, **given)
    assert max(crops.max() for crops in seen) > 120.0
    assert seen[0].shape[1:] == (6, 6, 3)
    assert found.accuracy.value > 0.9
    assert purity(craft, colours, photographs=restore, **given) == found


def test_the_judge_sees_a_crop_once(craft: xc.Craft) -> None:
    seen = []

    def prepare(crops: np.ndarray) -> np.ndarray:
        seen.append(len(crops))
        return crops

    purity(craft, eyes(), prepare=prepare, batch_size=7)
    assert max(seen) <= 7
    assert sum(seen) <= len(craft.concepts.crops.boxes) + 1  # one picture is shown beforehand


def test_the_seed_decides(craft: xc.Craft) -> None:
    given = {"trials": 200, "shown": 8}
    noise = judge(Noise())
    first, again, other = (purity(craft, noise, seed=seed, **given) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_it_is_a_method_too(craft: xc.Craft) -> None:
    given = {"trials": 80, "shown": 8, "seed": 3, "batch_size": 9}
    assert craft.purity(eyes(), **given) == purity(craft, eyes(), **given)


# -------------------------------------------------------------------------------- left out, errors
def test_concepts_of_few_photographs_are_left_out(images: np.ndarray) -> None:
    some = images.copy()
    some[4:, ..., 3] = 0.0  # in four photographs only
    craft = planted.fitted(planted.network(np.eye(4), size=SIZE), np.eye(4), some)
    with pytest.warns(UserWarning, match="Concepts 3 are left out"):
        found = purity(craft, eyes(), trials=90, shown=8)
    assert found.left_out == [3]
    assert np.isnan(found.by_concept[3].value)
    assert found.accuracy.value == 1.0
    assert "without concepts 3" in str(found)


def test_the_explained_model_is_no_judge(craft: xc.Craft) -> None:
    clone = keras.models.clone_model(craft.model)
    clone.set_weights(craft.model.get_weights())
    part = keras.Model(craft.model.inputs, craft.model.get_layer(planted.LAYER).output)
    for same in (craft.model, part, clone):
        with pytest.raises(ValueError, match="judge must be another network"):
            purity(craft, same)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"shown": 4}, "shown must be at least 5"),
        ({"trials": 3}, "trials must be at least one for each of the 4 concepts"),
        ({"inputs": scenes(4)}, "inputs must be at least 5 images"),
        ({"photographs": np.zeros((3, 8, 8, 3), np.uint8)}, "photographs must have shape"),
        ({"photographs": lambda images: 1 / 0}, "photographs must be a function"),
        ({"prepare": lambda crops: 1 / 0}, "prepare must be a function"),
    ],
)
def test_what_is_refused(craft: xc.Craft, given: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        purity(craft, eyes(), **given)


def test_what_is_no_craft_and_no_judge(craft: xc.Craft) -> None:
    with pytest.raises(TypeError, match="judge must be a Keras model"):
        purity(craft, "judge")  # type: ignore[arg-type]
    with pytest.raises(NotFittedError):
        purity(xc.Craft.from_model(craft.split), eyes())
    one = planted.fitted(craft.split, MIXING[:1], scenes())
    with pytest.raises(ValueError, match="Of the 1 concepts, 1 have crops of 5 photographs"):
        purity(one, eyes())


def test_what_is_printed(craft: xc.Craft) -> None:
    found: Purity = purity(craft, eyes(), trials=80, shown=8)
    assert str(found).startswith("1.000 [")
    assert "chance 0.20" in str(found)
    lines = found.table().splitlines()
    assert len(lines) == 2 + 4 + 3
    assert lines[-1] == "| chance | 0.200 |"


def test_a_restored_photograph_is_asked_for_by_batches(craft: xc.Craft) -> None:
    largest = []

    def restore(some: np.ndarray) -> np.ndarray:
        largest.append(len(some))
        return 255 * some[..., :3]

    colours = judge(keras.layers.GlobalAveragePooling2D(), 3)
    purity(craft, colours, photographs=restore, batch_size=4)
    assert max(largest) <= 4
    assert_array_equal(largest[0], 1)
