"""`Importance`, the result: what it says, sorts, selects and draws."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft import plots
from xplique_craft.importance import OcclusionImportance, SobolImportance
from xplique_craft.results import Importance

BANK = np.eye(3, dtype=np.float32)
# c_j = kernel_j times the mean of concept j, which is 1 in every image: +1, -3, +2.
KERNEL = np.array([[1.0, 0.0], [-3.0, 1.0], [2.0, 0.0]], np.float32)


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    model = planted.network(BANK, "affine", classes=2)
    model.get_layer("logits").set_weights([KERNEL, np.array([0.5, 0.0], np.float32)])
    return planted.fitted(model, BANK, np.ones((4, 8, 8, 3), np.float32))


@pytest.fixture(scope="module")
def occlusion(craft: xc.Craft) -> Importance:
    return OcclusionImportance(craft).summary(np.ones((4, 8, 8, 3), np.float32))


@pytest.fixture(scope="module")
def sobol(craft: xc.Craft) -> Importance:
    return SobolImportance(craft).summary(np.ones((4, 8, 8, 3), np.float32))


def test_by_hand(occlusion: Importance, sobol: Importance) -> None:
    """Score 0.5 + 1 - 3 + 2 = 0.5, of which h(0) is 0.5: shares are not defined."""
    assert_allclose(occlusion.overall, [1.0, -3.0, 2.0], rtol=1e-5)
    assert_allclose(sobol.overall, [1 / 14, 9 / 14, 4 / 14], rtol=1e-5)
    assert_array_equal(occlusion.sign, [1, -1, 1])
    assert_array_equal(sobol.sign, [1, -1, 1])  # not the method's own: the contributions' sign
    assert occlusion.base == pytest.approx(0.5)
    assert occlusion.residual_part == pytest.approx(0.0, abs=1e-6)
    assert sobol.path is not None
    assert sobol.path.kind == "closed form"
    assert str(sobol.path) == "closed form"
    assert (sobol.evaluations, sobol.exact) == (0, True)


def test_shares_add_up_with_the_residual(craft: xc.Craft) -> None:
    images = planted.paintings(5, size=(8, 8))
    found = SobolImportance(craft).summary(images, xc.ClassDifference(0, 1))
    assert found.contributions is not None
    total = found.share.sum() + found.contributions.residual_share
    assert total == pytest.approx(1.0, abs=1e-5)


def test_order_and_sorting(occlusion: Importance) -> None:
    assert_array_equal(occlusion.order, [1, 2, 0])
    ordered = occlusion.sorted()
    assert_array_equal(ordered.numbers, [1, 2, 0])
    assert_allclose(ordered.overall, [-3.0, 2.0, 1.0], rtol=1e-5)
    assert_array_equal(ordered.per_image, occlusion.per_image[:, [1, 2, 0]])
    assert_array_equal(ordered.sign, [-1, 1, 1])
    assert_array_equal(occlusion.top(2).numbers, [1, 2])
    assert_array_equal(occlusion.top(9).numbers, [1, 2, 0])
    assert_array_equal(ordered.select([0, 2]).overall, occlusion.overall[[0, 2]])


def test_selecting_keeps_what_belongs_to_a_concept(sobol: Importance) -> None:
    one = sobol.select([1])
    assert one.overall.shape == (1,)
    assert one.image_interval.shape == one.estimation_interval.shape == (1, 2)
    assert_array_equal(one.sign, [-1])
    assert one.records()[0]["concept"] == 1
    assert one.records()[0]["importance"] == pytest.approx(9 / 14)


def test_what_cannot_be_selected(sobol: Importance) -> None:
    with pytest.raises(ValueError, match=r"concepts must be among \[0, 1, 2\], .* received \[7\]"):
        sobol.select([7])
    with pytest.raises(ValueError, match=r"concepts must be among \[1\], .* received \[0\]"):
        sobol.select([1]).select([0])
    with pytest.raises(ValueError, match="at least one, received"):
        sobol.select([])
    with pytest.raises(ValueError, match="number must be at least 1, received 0"):
        sobol.top(0)


def test_records_and_table(occlusion: Importance) -> None:
    records = occlusion.records()
    assert [record["concept"] for record in records] == [0, 1, 2]
    assert records[1]["importance"] == pytest.approx(-3.0, rel=1e-5)
    assert records[1]["estimation_low"] == records[1]["estimation_high"] == records[1]["importance"]
    lines = occlusion.sorted().table().splitlines()
    assert lines[2].startswith("| 1 | -3.000 | - |")
    assert "occlusion, exact, 4 images, 0 evaluations of the head; closed form" in lines[-1]
    assert "base 0.500, residual part" in lines[-1]


def test_without_contributions_nothing_is_said_of_the_score(occlusion: Importance) -> None:
    bare = dataclasses.replace(occlusion, contributions=None, path=None, signed=False)
    assert np.isnan(bare.share).all()
    assert np.isnan(bare.sign).all()
    assert np.isnan([bare.base, bare.residual_part]).all()
    assert "| ? |" in bare.table()


def test_it_is_drawn_with_its_signs(occlusion: Importance) -> None:
    ax = plots.importance_bars(occlusion.top(2))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert [label[-1] for label in labels] == ["1", "2"]
    widths = [bar.get_width() for bar in ax.patches]
    assert_allclose(widths, [-3.0, 2.0], rtol=1e-5)
    low, high = ax.get_xlim()
    assert low < -3.0
    assert high > 2.0
    plt.close(ax.figure)
