"""Growing trees: what is taken apart and what is not, as numbers, text and record."""

from typing import Any

import numpy as np
import planted_levels
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal
from reference import matched_cosines

import xplique_craft as xc
from xplique_craft.recursion import ConceptTree


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted_levels.images()


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted_levels.fitted(images)


@pytest.fixture(scope="module")
def mixture(craft: xc.Craft) -> int:
    return int(matched_cosines(craft.factorized.bank, planted_levels.LATE_BANK)[1][0])


@pytest.fixture(scope="module")
def tree(craft: xc.Craft) -> ConceptTree:
    return craft.grow(number_of_concepts=2)


# --------------------------------------------------------------------------- what is taken apart
def test_only_the_mixture_is_taken_apart(tree: ConceptTree, mixture: int) -> None:
    assert set(tree.nodes) == {(mixture,)}
    states = {branch.path: branch.state_text for branch in tree.view().branches}
    assert states.pop((mixture,)) == "taken apart"
    assert set(states.values()) == {"of one piece"}
    mixed = {branch.path[0]: branch.mixedness for branch in tree.view().branches}
    assert mixed.pop(mixture) > 0.8
    assert max(mixed.values()) < 0.1


def test_what_is_small_stays_whole(craft: xc.Craft, mixture: int) -> None:
    tree = craft.grow(number_of_concepts=2, min_share=0.9)
    assert not tree.nodes
    assert {branch.state_text for branch in tree.view().walk()} == {"share below 90%"}
    assert all(np.isnan(branch.mixedness) for branch in tree.view().walk())


def test_what_is_mixed_enough(craft: xc.Craft) -> None:
    """Everything is, if nothing is asked of mixedness but that it is not below 0."""
    tree = craft.grow(number_of_concepts=2, min_mixedness=0.0, min_share=0.0, depth=1)
    assert set(tree.nodes) == {(0,), (1,), (2,)}
    below = [branch for branch in tree.view().walk() if len(branch.path) == 2]
    assert len(below) == 6
    assert {branch.state_text for branch in below} == {"depth 1 reached"}


def test_where_there_is_no_layer_left(tree: ConceptTree) -> None:
    below = [branch for branch in tree.view().walk() if len(branch.path) == 2]
    assert [branch.state_text for branch in below] == ["there is no earlier layer"] * 2


def test_where_crops_are_too_few(craft: xc.Craft) -> None:
    tree = craft.grow(number_of_concepts=30)
    assert {branch.state_text for branch in tree.view().walk()} == {"too few crops hold it"}


def test_parts_that_do_not_explain_it(craft: xc.Craft, mixture: int) -> None:
    """One part for two things leaves a good deal of them."""
    unexplained = craft.decompose(mixture, number_of_concepts=1).shares.unexplained
    settings = {"number_of_concepts": 1, "min_mixedness": 0.0, "depth": 1, "min_share": 0.3}
    kept = craft.grow(**settings, max_unexplained=1.01 * unexplained)
    assert set(kept.nodes) == {(mixture,)}
    whole = craft.grow(**settings, max_unexplained=0.99 * unexplained)
    assert not whole.nodes
    assert (
        whole.view().branches[0].state_text
        == f"its parts leave {unexplained:.0%} of it unexplained"
    )
    assert not whole.view().branches[0].children


def test_layers_by_name(craft: xc.Craft, mixture: int) -> None:
    tree = craft.grow(number_of_concepts=2, layers=["cells", "early"], min_mixedness=0.3)
    assert tree.nodes[mixture,].layer == "cells"
    assert all(node.layer == "early" for path, node in tree.nodes.items() if len(path) == 2)
    with pytest.raises(ValueError, match=r"must come before 'late'.*received 'late'"):
        craft.grow(number_of_concepts=2, layers=["late"], depth=1)


# ------------------------------------------------------------------------------------- numbers
def test_shares_add_up_at_every_level(
    craft: xc.Craft, tree: ConceptTree, images: np.ndarray
) -> None:
    view = tree.view()
    total = sum(branch.share.value for branch in view.branches) + view.residual.value
    assert total == pytest.approx(1.0, abs=1e-5)
    for branch in view.walk():
        if branch.children:
            parts = sum(child.share.value for child in branch.children) + branch.residual.value
            assert parts == pytest.approx(branch.share.value, abs=1.1 * branch.gap)
            assert branch.gap < 0.01
    found = craft.contributions(images)
    for branch in view.branches:
        assert branch.share.value == pytest.approx(found.share[branch.path[0]])
        assert branch.share.low < branch.share.value < branch.share.high
    order = [branch.share.value for branch in view.branches]
    assert order == sorted(order, reverse=True)


def test_numbers_are_those_of_the_nodes(tree: ConceptTree, mixture: int) -> None:
    shares = tree.nodes[mixture,].shares
    (branch,) = (b for b in tree.view().branches if b.path == (mixture,))
    assert branch.unexplained == shares.unexplained
    for child in branch.children:
        index = child.path[-1]
        assert child.share == shares.through_parent[index]
        assert child.of_parent == shares.of_parent[index]
        assert child.at_large == shares.at_large[index]


def test_held_out_images(craft: xc.Craft, mixture: int) -> None:
    others = planted_levels.images(7, seed=5)
    tree = craft.grow(1, number_of_concepts=2, inputs=others)
    view = tree.view()
    assert view.number_of_images == 7
    (branch,) = (b for b in view.branches if b.path == (mixture,))
    share = craft.contributions(others).share[mixture]
    assert branch.share.value == pytest.approx(share)
    parts = sum(child.share.value for child in branch.children) + branch.residual.value
    assert parts == pytest.approx(share, abs=0.01)


def test_a_sample_of_the_images(craft: xc.Craft, images: np.ndarray) -> None:
    """Drawn by the seed, whatever the images come in."""
    some = craft.grow(1, number_of_concepts=2, max_images=6).view()
    assert some.number_of_images == 6
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(5)
    again = craft.grow(1, number_of_concepts=2, max_images=6, inputs=dataset).view()
    shares = [branch.share.value for branch in some.walk()]
    assert [branch.share.value for branch in again.walk()] == pytest.approx(shares, rel=1e-4)
    rows = craft.contributions(images)
    assert not np.isclose(some.branches[0].share.value, rows.share.max(), rtol=1e-6)


def test_growing_again_gives_the_same(craft: xc.Craft, tree: ConceptTree) -> None:
    assert str(craft.grow(number_of_concepts=2)) == str(tree)


# ---------------------------------------------------------------------------------- as a text
def test_the_text(tree: ConceptTree, mixture: int) -> None:
    lines = str(tree).splitlines()
    view = tree.view()
    first, second = view.branches[0], view.branches[1]
    assert lines[0].startswith("Class 0: 3 concepts at late; shares of the score above its base")
    assert lines[1].startswith(f"C{mixture} {100 * first.share.value:.1f}% [")
    assert lines[1].endswith(
        f"taken apart at early: {100 * first.unexplained:.1f}% unexplained, "
        f"gap {100 * first.gap:.1f}%"
    )
    assert lines[2].startswith(f"├─ {first.children[0].label} ")
    assert f"of C{mixture}, " in lines[2]
    assert lines[4].startswith("└─ not explained 0.0% [")
    assert lines[5].startswith(f"{second.label} ")
    assert lines[-1].startswith("not explained ")
    assert "-0.0" not in str(tree)
    assert len(lines) == 1 + 5 + 1 + 1


# ------------------------------------------------------------------------------- as a record
def pictures(images: np.ndarray) -> np.ndarray:
    return np.rint(255.0 * images[..., :3]).astype(np.uint8)


def test_crops_at_every_branch(tree: ConceptTree, images: np.ndarray) -> None:
    view = tree.view(pictures(images), 3)
    assert all(len(branch.crops) == 3 for branch in view.walk())
    for path, node in tree.nodes.items():
        (branch,) = (b for b in view.walk() if b.path == path)
        for child in branch.children:
            boxes = node.children[child.path[-1]].crops.boxes[:3]
            for crop, (image, top, left, height, width) in zip(child.crops, boxes, strict=True):
                expected = pictures(images)[image, top : top + height, left : left + width]
                assert_array_equal(crop, expected)


def test_pictures_of_another_size_or_by_a_function(tree: ConceptTree, images: np.ndarray) -> None:
    plain = tree.view(pictures(images), 2)
    large = tree.view(pictures(images).repeat(3, axis=1).repeat(3, axis=2), 2)
    by_function = tree.view(pictures, 2)
    for one, other, third in zip(plain.walk(), large.walk(), by_function.walk(), strict=True):
        for a, b, c in zip(one.crops, other.crops, third.crops, strict=True):
            assert_array_equal(a, b[1::3, 1::3])
            assert_array_equal(a, c)


def test_without_pictures(tree: ConceptTree) -> None:
    assert all(branch.crops == () for branch in tree.view().walk())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((16, 16, 16, 3), 0.5), r"pixels in \[0, 255\], .* to 0.5: .* by 255"),
        (np.zeros((16, 16, 16, 4), np.uint8), r"have shape \(\d+, H, W, 3\) or .* 16, 16, 4\)"),
        (lambda images: images[0], r"have shape \(\d+, H, W, 3\) or"),
    ],
)
def test_pictures_that_are_none(tree: ConceptTree, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"photographs must .*{message}"):
        tree.view(given)


def test_pictures_in_other_forms(tree: ConceptTree, images: np.ndarray) -> None:
    """Numbers of another type are the same pictures; grey ones are drawn in three channels."""
    plain = tree.view(pictures(images), 2)
    floats = tree.view(pictures(images).astype(np.float32), 2)
    grey = tree.view(pictures(images)[..., 0], 2)
    for one, other, third in zip(plain.walk(), floats.walk(), grey.walk(), strict=True):
        for a, b, c in zip(one.crops, other.crops, third.crops, strict=True):
            assert_array_equal(a, b)
            assert_array_equal(a[..., :1].repeat(3, axis=-1), c)


def test_too_few_pictures(tree: ConceptTree, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="photographs must hold one picture for each image"):
        tree.view(pictures(images)[:2])


# -------------------------------------------------------------------------------- the settings
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, "depth must be at least 1"),
        ({"min_share": -0.1}, "min_share must be at least 0"),
        ({"min_mixedness": float("nan")}, "min_mixedness must be at least 0"),
        ({"layers": ["early"]}, "layers must name one layer for each of the 2 times"),
        ({"layers": "early"}, "layers must name one layer"),
        ({"percentile": 120.0}, "percentile must be in"),
        ({"max_images": 0}, "max_images must be at least 1"),
        ({"max_unexplained": -1.0}, "max_unexplained must be at least 0"),
    ],
)
def test_settings_out_of_range(craft: xc.Craft, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        craft.grow(**settings)
