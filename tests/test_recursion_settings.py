"""A node takes the settings that its craft has when it is made, whatever was taken apart before."""

import copy
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import planted_levels
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft.factorization import NMF
from xplique_craft.factorization.base import Factorized
from xplique_craft.recursion import Child, ConceptNode, GrowthSettings
from xplique_craft.recursion.mixedness import measure_mixedness
from xplique_craft.sampling import stream

CHANGES = {"seed": 7, "batch_size": 4, "verbose": True, "baseline": "mean"}


@pytest.fixture
def craft() -> xc.Craft:
    """One whose concepts were taken apart already, all that is kept being made."""
    craft = planted_levels.fitted(planted_levels.images(6))
    node = taken_apart(craft)
    _ = node.shares, node.mixedness
    return craft


def taken_apart(craft: xc.Craft) -> ConceptNode:
    return craft.decompose(0, planted_levels.EARLY, 2, 50.0)


def by_copy(craft: xc.Craft) -> xc.Craft:
    return copy.copy(craft)


def itself(craft: xc.Craft) -> xc.Craft:
    return craft


@pytest.mark.parametrize("which", [itself, by_copy])
@pytest.mark.parametrize("name", CHANGES)
def test_settings_reach_the_next_node_and_no_earlier_one(
    craft: xc.Craft, which: Callable[[xc.Craft], xc.Craft], name: str
) -> None:
    before = getattr(craft, name)
    first = taken_apart(craft)
    changed = which(craft)
    setattr(changed, name, CHANGES[name])
    second = taken_apart(changed)
    below = second.siblings_below.shared.craft
    for concept_model in (second.for_parent, second.for_class, below):
        assert getattr(concept_model, name) == CHANGES[name]
    for concept_model in (first.for_parent, first.for_class, first.shared.craft):
        assert getattr(concept_model, name) == before


@pytest.mark.parametrize("which", [itself, by_copy])
def test_the_seed_of_the_bank_and_of_mixedness(
    craft: xc.Craft, which: Callable[[xc.Craft], xc.Craft]
) -> None:
    first = taken_apart(craft)
    rows, photographs = first.shared.rows("early", first.chosen, NMF()), first.crops.boxes[:, 0]
    every = first.shared.rows("early", np.arange(len(first.shared.boxes)), NMF())
    changed = which(craft)
    changed.seed = 7
    for node, seed in ((first, 0), (taken_apart(changed), 7)):
        spread = NMF().fit(every, 1, seed).relative_error ** 2
        expected = measure_mixedness(rows, photographs, NMF(), 2, spread=spread, seed=seed)
        assert node.mixedness == expected
        assert_array_equal(node.factorized.bank, NMF().fit(rows, 2, seed).bank)
    assert not np.array_equal(first.factorized.bank, taken_apart(changed).factorized.bank)


def test_the_seed_of_intervals(craft: xc.Craft) -> None:
    trees = []
    for seed in (0, 7):
        craft.seed = seed
        trees.append(craft.grow(1, number_of_concepts=2, max_images=6).view())
    first, second = (tree.branches[0].share for tree in trees)
    assert first.value == second.value
    assert (first.low, first.high) != (second.low, second.high)


def test_the_batch_size_of_what_is_read(craft: xc.Craft, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: set[int] = set()

    class Watched(stream.Stream):
        def __init__(self, inputs: Any, input_shape: Any, batch_size: int, *args: Any) -> None:
            sizes.add(batch_size)
            super().__init__(inputs, input_shape, batch_size, *args)

    monkeypatch.setattr("xplique_craft.concept_model.Stream", Watched)
    craft.batch_size = 4
    node = craft.decompose(0, "cells", 2, 50.0)
    _ = node.shares, node.maps(craft.concepts.inputs)
    assert sizes == {4}


def test_the_baseline_of_children_and_of_the_craft(craft: xc.Craft) -> None:
    """Closed gates leave of the parent what the residual has of it, and what means have of it."""
    first, images = taken_apart(craft), craft.concepts.inputs
    craft.baseline = "mean"
    second = taken_apart(craft)
    for node, share in ((first, 0.0), (second, 1.0)):
        split, bank, u = (
            node.for_parent.split,
            node.factorized.bank,
            node.for_parent.transform(images),
        )
        constant = split.input_to_latent(images).numpy() - u @ bank
        constant += share * u.mean(axis=(0, 1, 2)) @ bank
        found = node.contributions()
        closed = split.latent_to_logit(constant).numpy()[:, 0]
        assert_allclose(found.base + found.residual, closed, rtol=1e-4, atol=1e-6)
    assert second.shares.unexplained > first.shares.unexplained + 0.1
    assert_array_equal(
        second.contributions(images, "through").score, craft.contributions(images).phi[:, 0]
    )


def test_whether_the_craft_keeps_its_residual(craft: xc.Craft) -> None:
    """The children's is always kept; the parent's contribution is that of the craft's own head."""
    images = craft.concepts.inputs
    first = taken_apart(craft)
    craft.keep_residual = False
    second = taken_apart(craft)
    assert first.shared.craft.keep_residual
    assert not second.shared.craft.keep_residual
    assert second.for_class.keep_residual
    own = second.shared.contributions(images)
    assert_array_equal(own.residual, np.zeros(6))
    assert_array_equal(own.score, craft.contributions(images).score)
    assert first.shared.contributions(images).residual.all()


def test_what_depends_on_the_images_alone_is_computed_once(
    craft: xc.Craft, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("computed again")

    first = taken_apart(craft)
    own = first.shared.contributions(craft.concepts.inputs)
    monkeypatch.setattr("xplique_craft.recursion.shared_crops.crop_latents", refuse)
    monkeypatch.setattr("xplique_craft.recursion.shared_crops.split_model", refuse)
    craft.seed = 7
    second = taken_apart(craft)
    assert second.for_class.split is first.for_class.split
    assert second.shared.contributions(craft.concepts.inputs) is own
    assert second.crops_u.shape == first.crops_u.shape


class Rough(NMF):
    """NMF whose error is a setting of its own, and depends on the seed."""

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error

    def fit(self, rows: np.ndarray, number_of_concepts: int, seed: int = 0) -> Factorized:
        return replace(
            super().fit(rows, number_of_concepts, seed), relative_error=self.error + seed
        )


def test_what_crops_have_in_common_is_known_by_factorizer_and_seed(craft: xc.Craft) -> None:
    """Two factorizers of one name, and two seeds, have a spread each."""
    for seed in (0, 1):
        craft.seed = seed
        shared = taken_apart(craft).shared
        chosen = np.arange(len(shared.boxes))
        rows, photographs = shared.rows("early", chosen, NMF()), shared.boxes[:, 0]
        for error in (0.5, 0.7):
            spread = (error + seed) ** 2
            expected = measure_mixedness(rows, photographs, NMF(), 2, spread=spread, seed=seed)
            assert shared.mixedness("early", chosen, Rough(error), 2) == expected


def test_a_child_is_taken_apart_as_by_its_node() -> None:
    by_child, by_node = signature(Child.decompose), signature(ConceptNode.decompose)
    assert list(by_child.parameters) == [n for n in by_node.parameters if n != "concept_id"]
    for name, parameter in by_child.parameters.items():
        assert parameter == by_node.parameters[name]
    for name in ("layer", "number_of_concepts", "percentile"):
        assert by_child.parameters[name].default == getattr(GrowthSettings, name)
    assert Child.decompose.__doc__.strip().startswith("Take this child apart")


def test_a_child_hands_on_what_it_is_given(craft: xc.Craft) -> None:
    node = craft.decompose(0, "cells", 2, 50.0)
    given = NMF(max_iter=500)
    below = node.children[1].decompose("early", 3, 40.0, factorizer=given, tolerance=0.5)
    assert below.path == (0, 1)
    assert below.layer == "early"
    settings = below.settings
    assert settings.factorizer is given
    assert (settings.number_of_concepts, settings.percentile) == (3, 40.0)
    assert settings.tolerance == 0.5
