"""Concept maps made of crops: against a reference in NumPy, where, for which layers, and errors."""

from typing import Any

import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter
from xplique.attributions import Saliency

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.attributions import crop_maps as module
from xplique_craft.attributions.crop_maps import (
    CELLS,
    PASSES,
    crop_maps,
    crops_laid_back,
    drawn_maps,
    scale_of_crops,
)
from xplique_craft.concept_model import ConceptModel, Concepts
from xplique_craft.sampling.crops import IMAGE_WINDOWS


def of_colours(
    images: np.ndarray, latent: str = "map", kind: str = "affine", **settings: Any
) -> xc.Craft:
    """Its concepts are the colours, so that a crop's coefficients are its mean pixel."""
    model = planted.network(np.eye(3), kind, size=images.shape[1:3], latent=latent)
    return planted.fitted(model, np.eye(3), images, **settings)


def coefficients(images: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(n, 3): of one crop of each image, enlarged to the size of the image."""
    top, left, height, width = box
    crop = images[:, top : top + height, left : left + width]
    return tf.image.resize(crop, images.shape[1:3]).numpy().astype(np.float64).mean(axis=(1, 2))


def by_numpy(images: np.ndarray, cell: int) -> np.ndarray:
    """The formula of the module, pixel by pixel, then cell by cell of so many pixels."""
    n, height, width, k = images.shape
    above, below = np.zeros((n, height, width, k)), np.zeros((height, width))
    for box in IMAGE_WINDOWS.candidates(images.shape[1:]):
        top, left, rows, columns = box
        weight = 1.0 / np.sqrt(rows * columns)
        part = np.s_[top : top + rows, left : left + columns]
        above[:, part[0], part[1]] += weight * coefficients(images, box)[:, None, None]
        below[part] += weight
    blocks = above.reshape(n, height // cell, cell, width // cell, cell, k).sum(axis=(2, 4))
    weights = below.reshape(height // cell, cell, width // cell, cell).sum(axis=(1, 3))
    maps = blocks / weights[..., None]
    return gaussian_filter(maps, (0, maps.shape[1] / 14, maps.shape[2] / 14, 0), mode="reflect")


@pytest.mark.parametrize(("size", "cell"), [((16, 24), 1), ((28, 28), 1), ((56, 56), 2)])
def test_maps_against_numpy(size: tuple[int, int], cell: int) -> None:
    """Mean coefficients of the crops around a place, the smaller ones counting more."""
    images = planted.paintings(3, size, seed=1)
    craft = of_colours(images)
    expected = by_numpy(images, cell)
    found = crop_maps(craft.network, craft.factorized, images)
    assert_allclose(found, expected, atol=2e-5)
    assert np.ptp(found, axis=(1, 2)).min() > 0.02
    # In units of the largest coefficient of any crop of the images of `fit`.
    concepts = craft.factorization
    largest = np.max(
        [coefficients(images[[i]], np.array(box))[0] for i, *box in concepts.crops.boxes], axis=0
    )
    attribution = ConceptAttribution(craft, by="crops", batch_size=2)
    maps = attribution.explain_concepts(images)
    assert maps.shape == images.shape
    assert_allclose(maps, tf.image.resize(expected / largest, size), atol=1e-4)
    assert_array_equal(attribution.explain_concepts(images, [2, 0]), maps[..., [2, 0]])
    assert_allclose(drawn_maps(craft, images), np.clip(maps, 0.0, 1.0), atol=1e-6)


@pytest.mark.parametrize("method", ["explain", "explain_concepts"])
def test_passes_are_those_that_are_stated(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of g for each crop, 29 of them in an image, as the page says."""
    images = planted.paintings(3, (24, 16))
    attribution = ConceptAttribution(of_colours(images), by="crops", batch_size=2)
    own, passes = module.crop_latents, []

    def watched(network: Any, batch: Any, *given: Any) -> Any:
        passes.append(len(batch))
        return own(network, batch, *given)

    monkeypatch.setattr(module, "crop_latents", watched)
    getattr(attribution, method)(images)
    assert sum(passes) == 3 * 29
    assert PASSES == crops_laid_back(attribution.craft, images) == 29


@pytest.mark.parametrize("latent", ["pooled", "tokens"])
def test_layers_need_no_places(latent: str) -> None:
    """Pooled activations and tokens have the maps of a layer with places."""
    images = planted.paintings(4, (16, 24), seed=2)
    craft = of_colours(images, latent)
    attribution = ConceptAttribution(craft, by="crops")
    expected = by_numpy(images, 1) / scale_of_crops(craft)
    assert_allclose(attribution.explain_concepts(images), expected, atol=1e-4)
    whole = attribution.explain(images, 1).numpy()
    assert whole.shape == (4, 16, 24, 1)
    assert np.ptp(whole, axis=(1, 2)).min() > 1e-3 * np.abs(whole).max()


@pytest.mark.parametrize("latent", ["map", "pooled"])
def test_class_maps_are_of_the_whole_score(latent: str) -> None:
    """Contributions by crops, and the residual where it acts, or evenly where it has no places."""
    images = planted.paintings(5, (16, 24), seed=3)
    model = planted.network(planted.bank(), "affine", size=(16, 24), latent=latent)
    craft = planted.fitted(model, planted.bank()[:2], images)
    found = craft.contributions(images, 1)
    assert np.abs(found.residual).min() > 1e-3
    unit = 16 * 24 if latent == "map" else CELLS**2
    for residual, total in ((True, found.score - found.base), (False, found.phi.sum(axis=1))):
        attribution = ConceptAttribution(craft, by="crops", residual=residual)
        maps = attribution.explain(images, 1).numpy()
        assert_allclose(maps.mean(axis=(1, 2, 3)) * unit, total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("latent", ["map", "pooled"])
def test_the_contributions_are_where_the_crops_say(latent: str) -> None:
    """Each concept's share of the map of its crops, its contribution in all."""
    images = planted.paintings(3, (16, 24), seed=4)
    craft = of_colours(images, latent)
    maps = by_numpy(images, 1)
    shares = maps / maps.sum(axis=(1, 2), keepdims=True)
    phi = craft.contributions(images, 2).phi
    expected = np.einsum("nhwk,nk->nhw", shares, phi)
    attribution = ConceptAttribution(craft, by="crops", smoothing=0.0, residual=False)
    found = attribution.explain(images, 2).numpy()[..., 0]
    unit = 1.0 if latent == "map" else 16 * 24 / CELLS**2
    assert_allclose(found, expected * unit, atol=1e-4 * np.abs(expected).max())


def test_signed_coefficients_are_drawn_by_their_size() -> None:
    """Maps are signed; what is drawn is not, and 1 is the largest of either sign."""
    images = planted.paintings(6, (16, 24), seed=5)
    model = planted.network(np.eye(3), "affine", size=(16, 24))
    craft = xc.Craft.from_model(model, planted.LAYER, 2, factorizer="pca")
    craft.fit(images, planted.predicted(model, images))
    maps = ConceptAttribution(craft, by="crops").explain_concepts(images)
    assert maps.min() < -0.05
    drawn = drawn_maps(craft, images)
    assert_allclose(drawn, np.abs(maps), atol=1e-6)
    assert_allclose(scale_of_crops(craft), np.abs(craft.factorization.crops_u).max(axis=0))


# ---------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    "settings",
    [
        {"explainer": Saliency},
        {"output": "relevance"},
        {"explainer": lambda model: Saliency(model)},
    ],
    ids=["a class", "relevance", "a function"],
)
def test_crops_tell_no_more_than_where_a_concept_is_found(settings: dict[str, Any]) -> None:
    craft = of_colours(planted.paintings(2, (16, 24)))
    with pytest.raises(ValueError, match="by must be 'positions' where an explainer makes the"):
        ConceptAttribution(craft, by="crops", **settings)


def test_a_way_that_is_none() -> None:
    craft = of_colours(planted.paintings(2, (16, 24)))
    with pytest.raises(ValueError, match="by must be 'positions' or 'crops', received 'pixels'"):
        ConceptAttribution(craft, by="pixels")


def test_concepts_of_no_crops_have_no_scale() -> None:
    """As children in a tree, which were found in crops that others chose."""
    images = planted.paintings(2, (16, 24))
    found = of_colours(images)
    concepts = found.concepts
    bare = Concepts(concepts.factorized, concepts.class_id, images, concepts.extent)
    children = ConceptModel(found.split, bare)
    with pytest.raises(ValueError, match="concepts that were not found by fit: how large"):
        ConceptAttribution(children, by="crops").explain_concepts(images)
