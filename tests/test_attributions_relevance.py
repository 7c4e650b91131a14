"""The unit of relevance: every map of it follows the one function that decides it."""

from typing import Any

import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose
from xplique.attributions import Occlusion, SmoothGrad

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.attributions import relevance as module

SIZE = (8, 12)
WAYS: dict[str, dict[str, Any]] = {
    "own": {},
    "own, with details": {"detail": 1.0},
    "shared perturbations": {"explainer": Occlusion, "explainer_args": {"patch_size": 4}},
    "gradients": {"explainer": SmoothGrad, "explainer_args": {"nb_samples": 3}},
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((3, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.convolutional_craft(images, 3)


@pytest.mark.parametrize("way", WAYS)
def test_another_unit_is_a_change_at_one_place(
    craft: xc.Craft, images: np.ndarray, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Concept maps and class maps, the concepts' own and an explainer's: here in thousandths."""
    settings, targets = {**WAYS[way], "output": "relevance"}, [0, 2, 0]
    before = ConceptAttribution(craft, **settings)
    maps, whole = before.explain_concepts(images, targets=targets), before.explain(images, targets)
    own = module.relevance
    monkeypatch.setattr(module, "relevance", lambda gated, slopes: 1000.0 * own(gated, slopes))
    after = ConceptAttribution(craft, **settings)
    scale = 1000.0 * np.abs(maps).max()
    found = after.explain_concepts(images, targets=targets)
    assert_allclose(found, 1000.0 * maps, rtol=0.0, atol=1e-4 * scale)
    scale = 1000.0 * np.abs(whole).max()
    assert_allclose(after.explain(images, targets), 1000.0 * whole, rtol=0.0, atol=1e-4 * scale)


def test_activation_has_no_unit_of_relevance(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maps never ask for it."""
    expected = ConceptAttribution(craft, output="activation").explain(images)
    monkeypatch.setattr(module, "relevance", None)
    assert_allclose(ConceptAttribution(craft, output="activation").explain(images), expected)
