"""What the concepts leave unexplained, laid out: its sum, its places, and how it is drawn."""

from typing import Any

import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions import Occlusion

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.attributions.maps import resize_sums
from xplique_craft.attributions.residual import drawn_residual

SIZE = (8, 12)
CELLS = 4 * 6
FEW = planted.bank()[:2]  # of three concepts that are painted


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(4, SIZE, seed=1)


def of_few(images: np.ndarray, kind: str = "affine", **settings: Any) -> xc.Craft:
    """A craft whose bank lacks a concept, so that its residual has a part in the score."""
    latent = settings.pop("latent", "map")
    stride = 1 if latent == "pooled" else 2
    model = planted.network(planted.bank(), kind, size=SIZE, stride=stride, latent=latent)
    return planted.fitted(model, FEW, images, **settings)


def cam(craft: xc.Craft, activations: np.ndarray, class_id: int) -> np.ndarray:
    """Activations (n, h, w, c) times the kernel of an affine head, at every place."""
    kernel = craft.model.get_layer("logits").get_weights()[0].astype(np.float64)
    return activations.astype(np.float64) @ kernel[:, class_id] / CELLS


OCCLUSION: dict[str, Any] = {"explainer": Occlusion, "explainer_args": {"patch_size": 4}}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"by": "crops"},
        {"output": "relevance"},
        OCCLUSION,
        {"output": "relevance", **OCCLUSION},
    ],
    ids=["own", "crops", "relevance", "Occlusion", "Occlusion of relevance"],
)
def test_class_maps_of_affine_heads_are_of_the_whole_score(
    images: np.ndarray, settings: dict[str, Any]
) -> None:
    """score - h(0), within 1e-4; without the residual, what the concepts explain."""
    craft = of_few(images)
    found = craft.contributions(images, 1)
    assert np.abs(found.residual).min() > 0.01
    for residual, total in ((True, found.score - found.base), (False, found.phi.sum(axis=1))):
        maps = ConceptAttribution(craft, residual=residual, **settings).explain(images, 1).numpy()
        assert_allclose(maps.mean(axis=(1, 2, 3)) * CELLS, total, rtol=0.0, atol=1e-4)


def test_relevance_of_affine_heads_is_the_class_activation_map(images: np.ndarray) -> None:
    """Concepts and residual together are A, whatever the bank is."""
    craft = of_few(images)
    attribution = ConceptAttribution(craft, output="relevance", smoothing=0.0)
    expected = cam(craft, craft.network.latents(images).numpy(), 1)[..., None]
    assert_allclose(attribution.explain(images, 1), resize_sums(expected, SIZE), atol=1e-5)


@pytest.mark.parametrize("output", ["activation", "relevance"])
@pytest.mark.parametrize("smoothing", [0.0, None])
def test_the_residual_is_where_it_acts(
    images: np.ndarray, output: str, smoothing: float | None
) -> None:
    """E at every place, times what the head makes of it."""
    craft = of_few(images)
    whole, parts = (
        ConceptAttribution(craft, output=output, smoothing=smoothing, residual=residual)
        .explain(images, 2)
        .numpy()
        for residual in (True, False)
    )
    activations = craft.network.latents(images).numpy()
    left = activations - craft.transform(images) @ FEW
    expected = resize_sums(cam(craft, left, 2)[..., None], SIZE, smoothing)
    assert_allclose(whole - parts, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["relu", "attention"])
def test_the_residuals_part_is_exact_where_heads_bend(images: np.ndarray, kind: str) -> None:
    """f_x(0) - h(0) to the digit, though its places are an integral of 8 points."""
    craft = of_few(images, kind)
    found = craft.contributions(images, 1)
    whole, parts = (
        ConceptAttribution(craft, residual=residual).explain(images, 1).numpy()
        for residual in (True, False)
    )
    total = (whole - parts).mean(axis=(1, 2, 3)) * CELLS
    assert_allclose(total, found.residual, rtol=1e-4, atol=1e-5)
    assert np.ptp(whole - parts, axis=(1, 2)).min() > 1e-3


def test_a_craft_that_drops_the_residual_has_none(images: np.ndarray) -> None:
    craft = of_few(images, keep_residual=False)
    whole, parts = (
        ConceptAttribution(craft, residual=residual).explain(images).numpy()
        for residual in (True, False)
    )
    assert_array_equal(whole, parts)
    assert drawn_residual(craft, images) is None


# ------------------------------------------------------------------------------- over photographs
@pytest.mark.parametrize("batch_size", [1, 64])
def test_what_is_drawn_by_hand(images: np.ndarray, batch_size: int) -> None:
    """Signed, in one unit for all images: its largest value, or an even part of the score."""
    craft = of_few(images, class_id=1, batch_size=batch_size)
    left = craft.network.latents(images).numpy() - craft.transform(images) @ FEW
    expected = resize_sums(cam(craft, left, 1)[..., None], SIZE, None)[..., 0]
    found = craft.contributions(images)
    even = abs((found.score - found.base).mean()) / CELLS
    unit = max(even, np.abs(expected).max())
    drawn = drawn_residual(craft, images)
    assert drawn is not None
    assert drawn.dtype == np.float32
    assert_allclose(drawn, expected / unit, atol=1e-4)
    assert np.abs(drawn).max() <= 1.0


def test_a_residual_that_hardly_matters_is_dark(images: np.ndarray) -> None:
    """However small all of its values are, the largest is not drawn as if it were something."""
    model = planted.network(planted.bank(), "affine", size=SIZE)
    whole = planted.fitted(model, planted.bank(), images)
    drawn = drawn_residual(whole, images)
    assert drawn is not None
    assert np.abs(drawn).max() < 1e-3


def test_what_has_no_places_is_not_drawn(images: np.ndarray) -> None:
    assert drawn_residual(of_few(images, latent="pooled"), images) is None
    assert drawn_residual(of_few(images, latent="tokens"), images) is not None


def test_a_score_of_nothing_is_drawn_as_nothing(images: np.ndarray) -> None:
    """Nor does its unit, which is 0, make it NaN."""
    craft = of_few(images)
    kernel, bias = craft.model.get_layer("logits").get_weights()
    craft.model.get_layer("logits").set_weights([0.0 * kernel, bias])
    drawn = drawn_residual(craft, images)
    assert drawn is not None
    assert_array_equal(drawn, 0.0)


@pytest.mark.parametrize("kind", ["relu", "attention"])
def test_class_maps_by_default_add_up_where_heads_bend(images: np.ndarray, kind: str) -> None:
    """To score - h(0), and without the residual to f_x(1) - f_x(0)."""
    craft = of_few(images, kind)
    found = craft.contributions(images, 1)
    for residual, total in ((True, found.score - found.base), (False, None)):
        maps = ConceptAttribution(craft, residual=residual).explain(images, 1).numpy()
        expected = found.score - found.base - found.residual if total is None else total
        assert_allclose(maps.mean(axis=(1, 2, 3)) * CELLS, expected, rtol=1e-4, atol=1e-5)
