"""A tree, and the explanation of a class, go on where they were interrupted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import planted
import planted_levels
import pytest
from interruptions import Calls, written
from numpy.testing import assert_array_equal

import xplique_craft as xc
from xplique_craft.explanation import explain_class

GROWTH: dict[str, Any] = {
    "number_of_concepts": 2,
    "min_mixedness": 0.0,
    "min_share": 0.0,
    "max_unexplained": 1e9,
}


@pytest.fixture(scope="module")
def levels() -> xc.Craft:
    craft = planted_levels.fitted(planted_levels.images())
    craft.grow(**GROWTH)
    return craft


def fresh(craft: xc.Craft) -> xc.Craft:
    """The same craft, of which nothing is known yet but its concepts, and its model at layers."""
    other = xc.Craft.from_model(
        craft.split, None, craft.number_of_concepts, craft.batch_size, craft.patch_size
    )
    other._concepts = replace(craft.concepts)
    for key, value in craft.concepts._made.items():
        if isinstance(key, tuple) and key[0] in ("model", "encoder"):
            other._concepts.keep(key, value)
    return other


@pytest.fixture(scope="module")
def grown(levels: xc.Craft, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(fresh(levels).grow(**GROWTH).view(), tmp_path_factory.mktemp("grown"))


BRANCHES = {
    "contributions": ("recursion.shared_crops:contributions_of", 1, 0),
    "rows": ("recursion.shared_crops:crop_latents", 3, 1),
    "first mixedness": ("recursion.shared_crops:measure_mixedness", 1, 2),
    "first children": ("recursion.child_concepts:measure_extent", 1, 3),
    "second mixedness": ("recursion.shared_crops:measure_mixedness", 2, 4),
    "third children": ("recursion.child_concepts:measure_extent", 3, 7),
}


@pytest.mark.parametrize("stage", BRANCHES)
def test_a_tree_grows_on(
    stage: str, levels: xc.Craft, grown: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, at, finished = BRANCHES[stage]
    calls = Calls(where, monkeypatch)
    with calls.interrupted(at):
        fresh(levels).grow(**GROWTH, checkpoint=tmp_path)
    assert "grow was interrupted" in calls.said
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "grow").iterdir()}
    assert len(files) == 1 + finished
    tree = fresh(levels).grow(**GROWTH, checkpoint=tmp_path)
    assert written(tree.view(), tmp_path) == grown
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert calls.number >= 1
    calls.number = 0
    fresh(levels).grow(**GROWTH, checkpoint=tmp_path)
    assert calls.number == 0


def test_nodes_that_were_kept_answer_as_before(levels: xc.Craft, tmp_path: Path) -> None:
    first = fresh(levels).grow(**GROWTH, checkpoint=tmp_path)
    second = fresh(levels).grow(**GROWTH, checkpoint=tmp_path)
    images = planted_levels.images(3, seed=5)
    assert first.nodes.keys() == second.nodes.keys() != set()
    for path, node in first.nodes.items():
        other = second.nodes[path]
        assert_array_equal(other.factorized.bank, node.factorized.bank)
        assert_array_equal(other.crops_u, node.crops_u)
        assert_array_equal(other.chosen, node.chosen)
        assert_array_equal(other.maps(images), node.maps(images))
        assert other.measure(images) == node.measure(images)
        assert other.shares == node.shares
        assert other.layer == node.layer


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"depth": 1}, r"another depth \(2, and it is 1 now\)"),
        ({"inputs": planted_levels.images(5, seed=3)}, "other inputs"),
        ({"layers": ["early"], "depth": 1}, "another depth .*another layers"),
    ],
)
def test_another_tree_is_refused(
    changed: dict[str, Any], said: str, levels: xc.Craft, tmp_path: Path
) -> None:
    settings = {"number_of_concepts": 2, "min_share": 0.9}
    fresh(levels).grow(**settings, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=said):
        fresh(levels).grow(**settings | changed, checkpoint=tmp_path)
    other = fresh(levels)
    other.keep_residual = False
    with pytest.raises(ValueError, match=r"keep_residual \(True, and it is False now\)"):
        other.grow(**settings, checkpoint=tmp_path)


# --------------------------------------------------------------------------------- a class
PAGE_STAGES = {
    "selection": ("explanation.of_class:select", 1, 0),
    "fit": ("extraction:measure_extent", 1, 1),
    "quality": ("questions:measure_quality", 1, 1),
    "quality held out": ("questions:measure_quality", 2, 2),
    "contributions": ("questions:contributions_of", 1, 3),
    "importance": ("importance.base:_Gathered.importance", 1, 4),
    "coefficients": ("explanation.of_class:mean_coefficients", 1, 5),
    "maps": ("explanation.of_class:drawn_maps", 1, 6),
    "residual": ("explanation.of_class:drawn_residual", 1, 7),
    "stability": ("explanation.of_concepts:stability", 1, 8),
    "purity": ("explanation.of_concepts:purity", 1, 9),
    "tree": ("recursion.child_concepts:measure_extent", 1, 10),
}


def explained(craft: xc.Craft, x: np.ndarray, **settings: Any) -> Any:
    settings = {
        "photographs": (255 * x[..., :3]).astype(np.uint8),
        "nb_design": 4,
        "folds": 2,
        "judge": eyes(3),
        **settings,
    }
    return explain_class(craft, x, craft_class(craft, x), tree_depth=1, **settings)


def eyes(channels: int, scale: float = 1.0) -> keras.Model:
    """A judge that sees the mean of each channel, times the scale."""
    image = keras.Input((8, 8, channels))
    means = keras.layers.GlobalAveragePooling2D()(image)
    kernel = keras.initializers.Constant(scale * np.eye(channels))
    return keras.Model(image, keras.layers.Dense(channels, kernel_initializer=kernel)(means))


def craft_class(craft: xc.Craft, x: np.ndarray) -> int:
    return planted.predicted(craft.model, x)


@pytest.fixture(scope="module")
def page(levels: xc.Craft, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    found = explained(unfitted(levels), planted_levels.images())
    return written(found, tmp_path_factory.mktemp("page"))


def unfitted(craft: xc.Craft) -> xc.Craft:
    return xc.Craft.from_model(
        craft.split, None, craft.number_of_concepts, craft.batch_size, craft.patch_size
    )


@pytest.mark.parametrize("stage", PAGE_STAGES)
def test_an_explanation_goes_on(
    stage: str, levels: xc.Craft, page: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, at, finished = PAGE_STAGES[stage]
    x = planted_levels.images()
    calls = Calls(where, monkeypatch)
    with calls.interrupted(at):
        explained(unfitted(levels), x, checkpoint=tmp_path)
    assert f"checkpoint={str(tmp_path)!r}" in calls.said
    assert len(list((tmp_path / "explain_class").iterdir())) == 1 + finished
    found = explained(unfitted(levels), x, checkpoint=tmp_path)
    assert written(found, tmp_path) == page
    assert calls.number >= 1
    calls.number = 0
    explained(unfitted(levels), x, checkpoint=tmp_path)
    assert calls.number == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"folds": 3}, r"another folds \(2, and it is 3 now\)"),
        ({"folds": 0}, r"another folds \(2, and it is 0 now\)"),
        ({"judge": eyes(3, 2.0)}, "another judge|other judge"),
        ({"judge": None}, "other judge"),
        ({"prepare": lambda pictures: pictures[..., ::-1] ** 2}, "another judge|other judge"),
    ],
)
def test_a_page_of_other_measures_is_refused(
    changed: dict[str, Any],
    said: str,
    levels: xc.Craft,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = planted_levels.images()
    calls = Calls("explanation.of_class:select", monkeypatch)
    with calls.interrupted(1):
        explained(unfitted(levels), x, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=said):
        explained(unfitted(levels), x, checkpoint=tmp_path, **changed)
