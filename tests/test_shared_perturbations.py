"""Perturbations that all concepts share: maps of separate runs, at the cost of one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions import (
    HsicAttributionMethod,
    Occlusion,
    Rise,
    Saliency,
    SobolAttributionMethod,
)
from xplique.attributions.global_sensitivity_analysis import samplers
from xplique.attributions.global_sensitivity_analysis.hsic_estimators import (
    BinaryEstimator,
    RbfEstimator,
    SobolevEstimator,
)
from xplique.attributions.global_sensitivity_analysis.sobol_estimators import HommaEstimator

import xplique_craft as xc
from xplique_craft._seeding import explain_seeded
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.attributions.perturbations import SHARED, shared_maps, shares_perturbations

SIZE = (8, 12)
CONCEPTS = 3
SETTINGS: dict[str, tuple[type, dict[str, Any], int]] = {
    # explainer, arguments, evaluations an image
    "Occlusion": (Occlusion, {"patch_size": 3, "patch_stride": 2, "occlusion_value": 0.1}, 15 + 1),
    "Occlusion of bars": (Occlusion, {"patch_size": (8, 2), "patch_stride": (8, 2)}, 6 + 1),
    "Rise": (Rise, {"nb_samples": 41, "grid_size": 3, "mask_value": 0.2}, 41),
    "Rise on a wide grid": (Rise, {"nb_samples": 30, "grid_size": (2, 4)}, 30),
    "Sobol": (SobolAttributionMethod, {"grid_size": 3, "nb_design": 8}, 8 * 11),
    "Sobol, Homma": (
        SobolAttributionMethod,
        {"grid_size": 3, "nb_design": 8, "estimator": HommaEstimator()},
        8 * 11,
    ),
    "Sobol, blurred": (
        SobolAttributionMethod,
        {"grid_size": 3, "nb_design": 8, "perturbation_function": "blurring"},
        8 * 11,
    ),
    "Hsic": (HsicAttributionMethod, {"grid_size": 3, "nb_design": 50}, 50),
    "Hsic, RBF": (
        HsicAttributionMethod,
        {
            "grid_size": 3,
            "nb_design": 50,
            "estimator": RbfEstimator(),
            "sampler": samplers.TFSobolSequence(),
        },
        50,
    ),
    "Hsic, Sobolev": (
        HsicAttributionMethod,
        {
            "grid_size": 3,
            "nb_design": 40,
            "estimator": SobolevEstimator(),
            "sampler": samplers.TFSobolSequence(),
        },
        40,
    ),
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((2, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    images = np.random.default_rng(0).random((6, *SIZE, 3)).astype(np.float32)
    return planted.convolutional_craft(images, CONCEPTS)


def separately(craft: xc.Craft, make: type, arguments: dict[str, Any], images: Any) -> np.ndarray:
    """Xplique's own explanation of each concept by itself, with the same perturbations."""
    explainer = make(craft.encoder, **arguments)
    maps = []
    for concept in range(CONCEPTS):
        targets = planted.one_hot([concept] * len(images), CONCEPTS)
        maps.append(explain_seeded(craft.seed, explainer, explainer.explain, images, targets))
    return np.concatenate(maps, axis=-1)


def counted(function: Callable[[Any], Any]) -> tuple[Callable[[Any], Any], list[int]]:
    """The function, and how many images it was asked of each time."""
    asked: list[int] = []

    def count(images: Any) -> Any:
        asked.append(len(images))
        return function(images)

    return count, asked


@pytest.mark.parametrize("name", SETTINGS)
def test_they_are_the_maps_of_separate_runs(craft: xc.Craft, images: np.ndarray, name: str) -> None:
    """To 1e-5 of the largest value of a map."""
    make, arguments, _ = SETTINGS[name]
    arguments = {**arguments, "batch_size": 16}
    found = ConceptAttribution(craft, make, arguments).explain_concepts(images)
    expected = separately(craft, make, arguments, images)
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert found.shape == expected.shape == (2, *SIZE, CONCEPTS)
    assert (np.ptp(expected, axis=(1, 2)) > 1e-2 * scale[:, 0, 0]).all()
    assert (np.abs(found - expected) <= 1e-5 * scale).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_all_concepts_cost_the_evaluations_of_one(
    craft: xc.Craft, images: np.ndarray, name: str
) -> None:
    """Counted, as Xplique's own run for one concept is."""
    make, arguments, evaluations = SETTINGS[name]
    count, asked = counted(craft.encoder)
    explainer = make(craft.encoder, **{**arguments, "batch_size": 7})
    shared_maps(explainer, images, count)
    assert sum(asked) == len(images) * evaluations
    assert max(asked) <= 7
    own, asked_by_xplique = counted(craft.encoder)
    one = make(own, **{**arguments, "batch_size": 7})
    one.inference_function = lambda model, x, y: tf.reduce_sum(model(x) * y, axis=-1)
    one.batch_inference_function = lambda model, x, y, _: one.inference_function(model, x, y)
    one.explain(images, planted.one_hot([0, 0], CONCEPTS))
    assert sum(asked) == sum(asked_by_xplique)


def test_xpliques_own_run_under_the_same_global_seed(craft: xc.Craft, images: np.ndarray) -> None:
    """Rise, which draws: as anyone would run it on one image who sets TensorFlow's seed first."""
    settings = {"nb_samples": 23, "grid_size": 3, "batch_size": 32}
    found = ConceptAttribution(craft, Rise, settings).explain_concepts(images, 1)
    for image, own in zip(images, found, strict=True):
        tf.random.set_seed(craft.seed)
        explainer = Rise(craft.encoder, nb_samples=23, grid_size=3)
        expected = explainer.explain(image[None], planted.one_hot([1], CONCEPTS))
        assert_allclose(own, expected[0], rtol=1e-5)


def test_the_four_share_and_the_others_say_that_they_do_not(craft: xc.Craft) -> None:
    assert set(SHARED) == {Occlusion, Rise, SobolAttributionMethod, HsicAttributionMethod}
    small = {"grid_size": 2, "nb_design": 4}
    assert not ConceptAttribution(craft).runs_once_a_concept
    assert not ConceptAttribution(craft, Occlusion).runs_once_a_concept
    assert not ConceptAttribution(craft, Rise, output="relevance").runs_once_a_concept
    assert not ConceptAttribution(craft, SobolAttributionMethod, small).runs_once_a_concept
    assert not ConceptAttribution(craft, HsicAttributionMethod, small).runs_once_a_concept
    assert ConceptAttribution(craft, Saliency).runs_once_a_concept
    assert ConceptAttribution(craft, lambda model: Occlusion(model)).runs_once_a_concept


class OwnHsic(BinaryEstimator):
    """Estimates in a way of its own."""

    def __call__(self, masks: Any, outputs: Any, nb_design: Any) -> Any:
        return 2.0 * super().__call__(masks, outputs, nb_design)


class OwnOcclusion(Occlusion):
    """Explains in a way of its own."""

    def explain(self, inputs: Any, targets: Any = None) -> Any:
        return 2.0 * super().explain(inputs, targets)


def doubled(model: Any, inputs: Any, targets: Any) -> Any:
    return 2.0 * tf.reduce_sum(model(inputs) * targets, axis=-1)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (OwnOcclusion, {}),
        (Occlusion, {"operator": doubled}),
        (HsicAttributionMethod, {"grid_size": 2, "nb_design": 20, "estimator": OwnHsic()}),
    ],
)
def test_what_is_the_users_own_is_run_as_it_is(
    craft: xc.Craft, images: np.ndarray, make: type, arguments: dict[str, Any]
) -> None:
    """Once a concept: nothing that was overridden is passed over."""
    attribution = ConceptAttribution(craft, make, arguments)
    assert attribution.runs_once_a_concept
    plain = {name: value for name, value in arguments.items() if name in ("grid_size", "nb_design")}
    of_xplique = Occlusion if make is OwnOcclusion else make
    shared = ConceptAttribution(craft, of_xplique, plain or None).explain_concepts(images)
    found = attribution.explain_concepts(images)
    assert_allclose(found, 2.0 * shared, rtol=0.0, atol=2e-5 * np.abs(shared).max())


def test_masks_of_several_channels_run_once_a_concept(craft: xc.Craft, images: np.ndarray) -> None:
    arguments = {"grid_size": 2, "nb_design": 8, "nb_channels": 3}
    attribution = ConceptAttribution(craft, SobolAttributionMethod, arguments)
    assert not shares_perturbations(SobolAttributionMethod(craft.encoder, **arguments))
    assert attribution.explain_concepts(images, 0).shape == (2, *SIZE, 1)


def test_hsic_of_a_concept_that_is_nowhere_is_dark() -> None:
    """Its scores are all 0, and so is the width of their kernel."""
    images = np.stack([planted.square(SIZE, 2, 2, 4, 0), planted.square(SIZE, 2, 6, 4, 0)])
    craft = planted.fitted(planted.network(np.eye(3), size=SIZE), np.eye(3), images)
    attribution = ConceptAttribution(
        craft, HsicAttributionMethod, {"grid_size": 4, "nb_design": 64}
    )
    maps = attribution.explain_concepts(images)
    assert np.isfinite(maps).all()
    assert_array_equal(maps[..., 2], 0.0)
    assert maps[..., 0].max() > 0.0


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_batch_size_does_not_matter(
    craft: xc.Craft, images: np.ndarray, batch_size: int
) -> None:
    attribution = ConceptAttribution(craft, Occlusion, batch_size=batch_size)
    expected = ConceptAttribution(craft, Occlusion, batch_size=9).explain_concepts(images)
    found = attribution.explain_concepts(images)
    assert_allclose(found, expected, rtol=0.0, atol=1e-5 * np.abs(expected).max())
