"""A class explained with its tree, as a record and on the page."""

from pathlib import Path

import numpy as np
import planted
import pytest

import xplique_craft as xc
from xplique_craft.report import write_report
from xplique_craft.results import ClassExplanation


@pytest.fixture(scope="module")
def explanation() -> ClassExplanation:
    images = np.random.default_rng(0).random((30, 16, 24, 3)).astype(np.float32)
    model = planted.convolutional(filters=12)
    class_id = planted.predicted(model, images)
    pictures = (255 * images).astype(np.uint8)
    craft = xc.Craft.from_model(model, planted.LAYER, 3, patch_size=8)
    return xc.explain_class(craft, images, class_id, photographs=pictures, tree_depth=1)


def test_every_concept_is_in_the_tree(explanation: ClassExplanation) -> None:
    assert explanation.tree is not None
    paths = sorted(branch.path for branch in explanation.tree.branches)
    assert paths == [(0,), (1,), (2,)]
    for branch in explanation.tree.branches:
        assert 1 <= len(branch.crops) <= 6
        assert branch.crops[0].dtype == np.uint8


def test_the_tree_is_on_the_page(explanation: ClassExplanation, tmp_path: Path) -> None:
    page = write_report([explanation], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What the concepts are made of" in page


def test_no_tree_unless_asked_for(explanation: ClassExplanation) -> None:
    images = np.random.default_rng(0).random((12, 16, 24, 3)).astype(np.float32)
    model = planted.convolutional(filters=12)
    craft = xc.Craft.from_model(model, planted.LAYER, 3, patch_size=8)
    found = xc.explain_class(
        craft,
        images,
        planted.predicted(model, images),
        photographs=(255 * images).astype(np.uint8),
    )
    assert found.tree is None
    with pytest.raises(ValueError, match="tree_depth must be at least 0, received -1"):
        xc.explain_class(craft, images, 0, tree_depth=-1, photographs=images.astype(np.uint8))
