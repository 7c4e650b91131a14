"""Recursion on real models and photographs: every node adds up, and trees say what they left."""

from types import ModuleType

import numpy as np
import pytest
from numpy.testing import assert_allclose

import xplique_craft as xc
from xplique_craft.keras_models import KerasModels

pytestmark = pytest.mark.slow

CLASS, PHOTOGRAPHS = "tench", 16


@pytest.fixture(scope="module", params=["mobilenet", "squeezenet"])
def real(request: pytest.FixtureRequest, realkit: ModuleType) -> tuple[xc.Craft, np.ndarray]:
    """A craft of few concepts, and its images."""
    name = request.param
    photographs = realkit.load_images(CLASS, PHOTOGRAPHS, size=realkit.INPUT_SIZE[name])
    images = realkit.preprocess(photographs, name)
    split = xc.split_model(realkit.load_model(name), realkit.SPLIT_LAYERS[name][0])
    craft = xc.Craft.from_model(split, None, 6, 16)
    craft.fit(images, realkit.class_index(CLASS))
    return craft, images


def test_every_node_adds_up(real: tuple[xc.Craft, np.ndarray]) -> None:
    """Two levels down: children and F(0) make up the coefficient, to the gap, which is below 1%."""
    craft, images = real
    order = np.argsort(-craft.contributions(images).share)
    encoder, amount = craft.encoder, craft.contributions(images).phi[:, order[0]]
    node = craft.decompose(int(order[0]), number_of_concepts=4, percentile=80.0)
    for depth in range(2):
        found = node.contributions(images)
        u = encoder.predict(images, verbose=0)[:, node.concept_id]
        assert_allclose(found.score, u, rtol=1e-3, atol=1e-4 * u.max())
        closed = found.base + found.residual
        assert_allclose(closed + found.phi.sum(axis=1) + found.gap, found.score, rtol=1e-4)
        assert np.abs(found.gap).sum() < 0.01 * np.abs(found.score - closed).sum() + 1e-6
        passed = node.contributions(images, "through")
        assert_allclose(passed.score, amount, rtol=1e-6)
        whole = node.contributions(images, "class")
        model = craft.model.predict(images, verbose=0)[:, craft.class_id]
        assert_allclose(whole.score, model, rtol=1e-3, atol=1e-3)
        if depth == 0:
            child = int(np.argmax(found.phi.sum(axis=0)))
            encoder, amount = KerasModels.of(node.for_class).encoder, passed.phi[:, child]
            node = node.decompose(child, number_of_concepts=3, percentile=80.0)


def test_a_tree_of_real_concepts(real: tuple[xc.Craft, np.ndarray]) -> None:
    craft, images = real
    tree = craft.grow(1, number_of_concepts=4, percentile=80.0, min_share=0.2, max_images=8)
    view = tree.view()
    assert tree.nodes
    assert view.number_of_images == 8
    for branch in view.branches:
        if branch.children:
            assert branch.unexplained <= 1.0
            total = sum(child.share.value for child in branch.children) + branch.residual.value
            assert total == pytest.approx(branch.share.value, abs=1.5 * branch.gap)
            node = tree.nodes[branch.path]
            finer = node.for_class.transform(images[:1]).shape[1]
            assert finer >= craft.transform(images[:1]).shape[1]
            maps = node.maps(images[:2])
            assert maps.shape == (2, *images.shape[1:3], 4)
            assert 0.0 <= maps.min() < maps.max() <= 1.0
