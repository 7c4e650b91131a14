"""Recursion on planted levels: both banks, three scores, places; and adding up everywhere."""

import keras
import numpy as np
import planted
import planted_levels
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference import matched_cosines

import xplique_craft as xc
from xplique_craft.importance import SobolImportance
from xplique_craft.keras_models import KerasModels
from xplique_craft.recursion import ConceptNode
from xplique_craft.recursion.shares import split_contribution
from xplique_craft.results import Contributions


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted_levels.images()


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted_levels.fitted(images)


@pytest.fixture(scope="module")
def mixture(craft: xc.Craft) -> int:
    """Index of u_0 = a + 0.8 b among the concepts found."""
    _, order = matched_cosines(craft.factorized.bank, planted_levels.LATE_BANK)
    return int(order[0])


@pytest.fixture(scope="module")
def node(craft: xc.Craft, mixture: int) -> ConceptNode:
    return craft.decompose(mixture, planted_levels.EARLY, 2, tolerance=1e-3)


@pytest.fixture(scope="module")
def order(node: ConceptNode) -> np.ndarray:
    """Which children are a and b."""
    return matched_cosines(node.factorized.bank, planted_levels.EARLY_BANK[:2])[1]


def planted_parts(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, 2): what a and b add to a weighted sum of u_0, u_1, u_2."""
    return (images.mean(axis=(1, 2)) * (planted_levels.MIXING @ weights))[:, :2]


# ------------------------------------------------------------------------------ what it recovers
def test_both_banks(craft: xc.Craft, node: ConceptNode) -> None:
    late, _ = matched_cosines(craft.factorized.bank, planted_levels.LATE_BANK)
    early, _ = matched_cosines(node.factorized.bank, planted_levels.EARLY_BANK[:2])
    assert late.min() >= 0.98
    assert early.min() >= 0.98


def test_contributions_to_the_parent(
    craft: xc.Craft, node: ConceptNode, images: np.ndarray, mixture: int, order: np.ndarray
) -> None:
    norms = np.linalg.norm(planted_levels.LATE_BANK[0]) / np.linalg.norm(
        craft.factorized.bank[mixture]
    )
    found = node.contributions(images)
    expected = norms * planted_parts(images, np.array([1.0, 0.0, 0.0]))
    assert_allclose(found.phi[:, order], expected, rtol=0.02)


def test_contributions_to_the_class_through_the_parent(
    node: ConceptNode, images: np.ndarray, order: np.ndarray
) -> None:
    weights = planted_levels.WEIGHTS[0] * [1.0, 0.0, 0.0]
    found = node.contributions(images, "through")
    assert_allclose(found.phi[:, order], planted_parts(images, weights), rtol=0.02)


def test_contributions_to_the_class_at_large(
    node: ConceptNode, images: np.ndarray, order: np.ndarray
) -> None:
    """b has a second way to the class, by u_1."""
    found = node.contributions(images, "class")
    expected = planted_parts(images, planted_levels.WEIGHTS[0])
    assert_allclose(found.phi[:, order], expected, rtol=0.02)
    through = node.contributions(images, "through").phi[:, order]
    assert (found.phi[:, order[1]] > 1.1 * through[:, 1]).all()


def test_places(node: ConceptNode, images: np.ndarray, order: np.ndarray) -> None:
    """At the early layer's resolution, and nowhere else than a and b are."""
    maps = node.maps(images)[..., order]
    assert maps.shape == (*images.shape[:3], 2)
    assert maps.min() >= 0.0
    assert maps.max() <= 1.0
    for j in range(2):
        there = images[..., j] > 0.0
        assert maps[..., j][there].sum() > 0.99 * maps[..., j].sum()
        edge = maps[..., j] > 0.5 * maps[..., j].max(axis=(1, 2), keepdims=True)
        assert (edge == there).mean() > 0.9


def test_maps_stay_within_the_parent(craft: xc.Craft, node: ConceptNode, mixture: int) -> None:
    """A child may be where its parent is not: there it counts for nothing."""
    image = np.zeros((1, *planted_levels.SIZE, 4), np.float32)
    image[0, :8, :8, 0] = 0.8
    image[0, 8:, 8:] = [0.3, 0.0, 0.0, 1.0]
    own = node.for_class.transform(image)[0]
    assert own[12, 12].max() > 0.0
    place = craft.transform(image)[0, ..., mixture] / craft.coefficient_scale[mixture]
    maps = node.maps(image)[0].max(axis=-1)
    assert_allclose(maps[3, 3], (own / node.for_class.coefficient_scale)[3, 3].max(), rtol=0.3)
    assert maps[12, 12] < place.max() * maps[3, 3]


def test_children_in_crops(node: ConceptNode, order: np.ndarray, images: np.ndarray) -> None:
    """The best crops of a child show it, each another photograph, and nearly nothing else."""
    for j in range(2):
        child = node.children[order[j]]
        crops = child.crops.cut(range(4))
        assert len(set(child.crops.boxes[:, 0])) == len(child.crops) == len(child.crops_u)
        assert (np.diff(child.crops_u) <= 0.0).all()
        for crop in crops:
            assert crop[..., j].sum() > 0.9 * crop[..., :2].sum()
        assert_array_equal(child.maps(images[:2]), node.maps(images[:2])[..., order[j]])


def test_only_crops_with_enough_of_the_parent(
    craft: xc.Craft, node: ConceptNode, mixture: int
) -> None:
    u = craft.factorization.crops_u[:, mixture]
    chosen = u >= np.percentile(u, 90.0)
    assert_array_equal(node.crops.boxes, craft.factorization.crops.boxes[chosen])
    assert len(node.crops_u) == len(node.crops) == chosen.sum()
    more = craft.decompose(mixture, planted_levels.EARLY, 2, 50.0)
    assert len(more.crops) == (u >= np.percentile(u, 50.0)).sum() > chosen.sum()


def test_rows_are_the_pooled_activations_of_the_crops(
    craft: xc.Craft, node: ConceptNode, images: np.ndarray
) -> None:
    pooled = node.for_class.input_to_latent_model
    for i in (0, 7, len(node.crops) - 1):
        crop = keras.ops.image.resize(node.crops[i][None], planted_levels.SIZE)
        row = pooled(crop).numpy().mean(axis=(1, 2))
        assert_allclose(node.factorized.transform(row)[0], node.crops_u[i], atol=1e-4)


# ------------------------------------------------------------------------------------ adding up
def test_the_planted_node_adds_up(
    craft: xc.Craft, node: ConceptNode, images: np.ndarray, mixture: int
) -> None:
    found = node.contributions(images)
    u = craft.encoder.predict(images, verbose=0)[:, mixture]
    assert_allclose(found.score, u, rtol=1e-5)
    total = found.base + found.residual + found.phi.sum(axis=1)
    assert_allclose(total + found.gap, u, rtol=1e-5)
    assert_allclose(total, u, rtol=2e-3)
    assert node.shares.unexplained < 1e-3
    assert node.shares.gap < 1e-3


def test_what_is_not_explained_is_what_closed_gates_leave(
    craft: xc.Craft, images: np.ndarray, mixture: int
) -> None:
    """With one child for a and b, F(0) is the parent's coefficient in E' alone."""
    node = craft.decompose(mixture, planted_levels.EARLY, 1)
    bank, split = node.factorized.bank, node.for_parent.split
    activations = split.input_to_latent(images).numpy()
    residual = activations - node.for_class.transform(images) @ bank
    closed = split.latent_to_logit(residual).numpy()[:, mixture]
    found = node.contributions(images)
    assert_allclose(found.base + found.residual, closed, rtol=1e-4)
    assert closed.min() > 0.0
    assert node.shares.unexplained == pytest.approx(closed.sum() / found.score.sum(), rel=1e-4)


def test_shares_of_the_class_make_up_the_share_of_the_parent(
    craft: xc.Craft, node: ConceptNode, images: np.ndarray, mixture: int
) -> None:
    shares = node.measure(images)
    through = [share.value for share in shares.through_parent]
    whole = craft.contributions(images).share[mixture]
    assert sum(through) + shares.residual_through_parent.value == pytest.approx(whole, rel=2e-3)
    parts = sum(share.value for share in shares.of_parent) + shares.residual_of_parent.value
    assert parts == pytest.approx(1.0, abs=2e-3)
    for share in (*shares.of_parent, *shares.through_parent, *shares.at_large):
        assert share.low < share.value < share.high
    assert shares.number_of_images == len(images)


@pytest.fixture(scope="module")
def deep() -> tuple[xc.Craft, ConceptNode, ConceptNode, np.ndarray]:
    """Two levels below a craft of a network of no plan, whose head bends."""
    rng = np.random.default_rng(0)
    images = rng.random((10, 16, 24, 3)).astype(np.float32)
    model = planted.convolutional(bend="relu")
    craft = xc.Craft.from_model(model, "third", 3, 4, planted_levels.PATCHES)
    craft.fit(images, planted.predicted(model, images))
    strongest = int(np.argmax(craft.contributions(images).share))
    node = craft.decompose(strongest, planted.LAYER, 3, 80.0)
    child = int(np.argmax([share.value for share in node.shares.of_parent]))
    return craft, node, node.decompose(child, "first", 2, 80.0), images


def test_every_node_adds_up(deep: tuple[xc.Craft, ConceptNode, ConceptNode, np.ndarray]) -> None:
    craft, node, below, images = deep
    for at, encoder in ((node, craft.encoder), (below, KerasModels.of(node.for_class).encoder)):
        found = at.contributions(images)
        u = encoder.predict(images, verbose=0)[:, at.concept_id]
        closed = found.base + found.residual
        assert_allclose(closed + found.phi.sum(axis=1) + found.gap, u, rtol=1e-4, atol=1e-6)
        assert np.abs(found.gap).sum() / np.abs(u).sum() == pytest.approx(at.shares.gap, rel=1e-3)
        assert at.shares.gap < 0.01
        assert at.shares.unexplained == pytest.approx(np.abs(closed).sum() / u.sum(), rel=1e-4)


def test_the_class_score_is_passed_on(
    deep: tuple[xc.Craft, ConceptNode, ConceptNode, np.ndarray],
) -> None:
    """What a concept adds to the score is what its children add through it, level by level."""
    craft, node, below, images = deep
    amount = craft.contributions(images).phi[:, node.concept_id]
    for at in (node, below):
        found = at.contributions(images, "through")
        assert_allclose(found.score, amount, rtol=1e-6)
        parts = found.base + found.residual + found.phi.sum(axis=1) + found.gap
        assert_allclose(parts, amount, rtol=1e-4, atol=1e-6)
        amount = found.phi[:, below.concept_id]


def test_paths_and_layers(deep: tuple[xc.Craft, ConceptNode, ConceptNode, np.ndarray]) -> None:
    craft, node, below, _ = deep
    assert node.parent is craft
    assert below.parent is node
    assert below.path == (node.concept_id, below.concept_id)
    assert below.children[1].path == (*below.path, 1)
    assert (craft.layer, node.layer, below.layer) == ("third", planted.LAYER, "first")
    assert repr(below.children[0]).startswith(f"Child(C{node.concept_id}.{below.concept_id}.0 at")


def test_a_child_counts_within_its_parents_place(
    deep: tuple[xc.Craft, ConceptNode, ConceptNode, np.ndarray],
) -> None:
    """Crops of a child's child: by its coefficient times how much of the parent there is."""
    craft, node, below, _ = deep
    parent = craft.factorization.crops_u[:, node.concept_id]
    every = node.siblings_below.coefficients[:, below.concept_id]
    own = node.crops_u[:, below.concept_id]
    chosen = parent >= np.percentile(parent, 80.0)
    assert_allclose(every[chosen], own * parent[chosen] / parent.max(), rtol=1e-5)
    kept = every >= np.percentile(every, 80.0)
    assert_array_equal(below.crops.boxes, craft.factorization.crops.boxes[kept])


def test_maps_below_maps(deep: tuple[xc.Craft, ConceptNode, ConceptNode, np.ndarray]) -> None:
    _, node, below, images = deep
    outer = node.children[below.concept_id].maps(images[:3])
    inner = below.maps(images[:3])
    assert inner.shape == (3, 16, 24, 2)
    assert (inner <= outer[..., None] + 1e-6).all()
    assert inner.max() > 0.0
    assert_array_equal(below.maps(images[:3], [1])[..., 0], inner[..., 1])


# ------------------------------------------------------------------------- what else it is asked
def test_importance_by_any_explainer(
    node: ConceptNode, images: np.ndarray, order: np.ndarray
) -> None:
    """F is a sum of what the children add, so their indices are those of its slopes."""
    phi = planted_parts(images[:4], np.array([1.0, 0.0, 0.0]))
    expected = phi**2 / (phi**2).sum(axis=1, keepdims=True)
    found = SobolImportance(node.for_parent, 256, batch_size=256).explain(images[:4])
    assert_allclose(found[:, order], expected, atol=0.02)
    phi = planted_parts(images[:4], planted_levels.WEIGHTS[0])
    expected = phi**2 / (phi**2).sum(axis=1, keepdims=True)
    found = SobolImportance(node.for_class, 256, batch_size=256).explain(images[:4])
    assert_allclose(found[:, order], expected, atol=0.02)


def test_quality_for_the_parent_and_for_the_class(node: ConceptNode, images: np.ndarray) -> None:
    parent, whole = node.quality(images), node.quality(images, "class")
    assert parent.reconstruction_share.value == pytest.approx(1.0, abs=0.02)
    assert parent.explained_share.value == pytest.approx(1.0, abs=0.01)
    parts = planted_parts(images, planted_levels.WEIGHTS[0]).sum()
    score = (images.mean(axis=(1, 2)) @ planted_levels.MIXING @ planted_levels.WEIGHTS[0]).sum()
    assert whole.explained_share.value == pytest.approx(parts / score, abs=0.02)


def test_other_images_than_those_of_fit(node: ConceptNode) -> None:
    others = planted_levels.images(5, seed=9)
    assert node.contributions(others).phi.shape == (5, 2)
    assert node.measure(others).number_of_images == 5
    assert node.contributions().phi.shape == (16, 2)


def test_nothing_is_computed_twice(node: ConceptNode, images: np.ndarray) -> None:
    assert node.contributions(images) is node.contributions(images)
    assert node.shares is node.shares


def test_the_bank_does_not_depend_on_the_batches(
    craft: xc.Craft, node: ConceptNode, images: np.ndarray, mixture: int
) -> None:
    other = planted_levels.fitted(images, batch_size=5)
    cosines, where = matched_cosines(other.factorized.bank, craft.factorized.bank)
    again = other.decompose(int(where[mixture]), planted_levels.EARLY, 2)
    found, _ = matched_cosines(again.factorized.bank, node.factorized.bank)
    assert cosines.min() > 0.999
    assert found.min() > 0.999


# ----------------------------------------------------------------------------- pure functions
def test_an_amount_is_divided_in_proportion() -> None:
    """By hand: the second image lacks the parent, so its amount is divided by nothing."""
    parts = Contributions(
        phi=np.array([[2.0, 1.0], [0.0, 0.0]]),
        base=np.array([0.5, 0.0]),
        residual=np.array([0.4, 0.0]),
        score=np.array([4.0, 0.0]),
        gap=np.array([0.1, 0.0]),
        errors=np.array([[0.2, 0.1], [0.0, 0.0]]),
        points=8,
        exact=False,
    )
    found = split_contribution(parts, np.array([8.0, 3.0]))
    assert_allclose(found.phi, [[4.0, 2.0], [0.0, 0.0]])
    assert_allclose(found.base, [1.0, 0.0])
    assert_allclose(found.residual, [0.8, 3.0])
    assert_allclose(found.gap, [0.2, 0.0])
    assert_allclose(found.errors, [[0.4, 0.2], [0.0, 0.0]])
    assert_allclose(found.score, [8.0, 3.0])
