"""How often each concept matters most, and whether the model is right then."""

import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft.importance import GradientInputImportance, OcclusionImportance, SobolImportance

BANK = np.eye(3, dtype=np.float32)
# Logits: concept 0 speaks for class 0, concept 1 a little; concept 2 speaks for class 1 more.
KERNEL = np.array([[2.0, 0.0], [0.5, 0.0], [0.3, 3.0]], np.float32)


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    model = planted.network(BANK, "affine", classes=2)
    model.get_layer("logits").set_weights([KERNEL, np.zeros(2, np.float32)])
    return planted.fitted(model, BANK, images_of([0, 0, 1, 2]))


def images_of(concepts: list[int]) -> np.ndarray:
    """Images that hold one concept each."""
    images = np.zeros((len(concepts), 8, 8, 3), np.float32)
    for image, concept in zip(images, concepts, strict=True):
        image[..., concept] = 1.0
    return images


def test_by_hand(craft: xc.Craft) -> None:
    """Six images of class 0: those with concept 2 alone are predicted as class 1."""
    found = xc.measure_prevalence(craft, images_of([0, 0, 0, 1, 2, 2]))
    assert_array_equal(found.most_important, [0, 0, 0, 1, 2, 2])
    assert_array_equal(found.correct, [True, True, True, True, False, False])
    assert_allclose([p.value for p in found.prevalence], [3 / 6, 1 / 6, 2 / 6])
    assert_allclose([r.value for r in found.reliability], [1.0, 1.0, 0.0])
    for estimate in (*found.prevalence, *found.reliability):
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high
    lines = found.table().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["0", "2", "1"]
    assert "| 0 | 3 | 0.500 [" in lines[2]


def test_labels_of_several_classes(craft: xc.Craft) -> None:
    """For class 1 only concept 2 speaks: in the others no concept does."""
    found = xc.measure_prevalence(craft, images_of([0, 2, 1]), labels=[0, 1, 1])
    assert_array_equal(found.most_important, [0, 2, -1])
    assert_array_equal(found.correct, [True, True, False])
    assert_allclose([p.value for p in found.prevalence], [1 / 3, 0.0, 1 / 3])
    assert np.isnan(found.reliability[1].value)


def test_an_explainer_of_ones_own_and_a_dataset(craft: xc.Craft) -> None:
    images = images_of([0, 1, 2, 2])
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(2)
    expected = xc.measure_prevalence(craft, images)
    for explainer in (GradientInputImportance(craft), OcclusionImportance(craft)):
        found = xc.measure_prevalence(craft, dataset, 0, explainer)
        assert_array_equal(found.most_important, expected.most_important)
        assert_array_equal(found.correct, expected.correct)


def test_what_does_not_fit(craft: xc.Craft) -> None:
    with pytest.raises(ValueError, match=r"explainer must be a signed method, .* SobolImportance"):
        xc.measure_prevalence(craft, images_of([0]), explainer=SobolImportance(craft))
    other = planted.fitted(craft.split, BANK, images_of([0, 0, 1, 2]))
    with pytest.raises(ValueError, match="explainer must be of the same craft"):
        xc.measure_prevalence(craft, images_of([0]), explainer=GradientInputImportance(other))
    with pytest.raises(ValueError, match="labels must be a class index or one for each image"):
        xc.measure_prevalence(craft, images_of([0]), xc.ClassDifference(0, 1))
    with pytest.raises(ValueError, match="class indices from 5 to 5, but the model has 2 outputs"):
        xc.measure_prevalence(craft, images_of([0]), labels=5)
