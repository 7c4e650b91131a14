"""HSIC: Xplique's own on the same masks, the masks, drawn against all of them."""

import numpy as np
import planted
import pytest
from importances import Case, coverage, third_order
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions.global_sensitivity_analysis import BinaryEstimator

from xplique_craft.importance import HsicImportance
from xplique_craft.importance.hsic import balanced_masks, binary_hsic

AND = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], bool)


def plain(masks: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """trace(H K_j H L) / q^2 with every matrix written out."""
    q = len(values)
    centring = np.eye(q) - 1.0 / q
    kernel = np.exp(-np.square(values[:, None] - values) / (2.0 * width**2))
    of_gates = 1.5 - np.square(masks.T[:, :, None] * 1.0 - masks.T[:, None])
    return np.array([np.trace(centring @ k @ centring @ kernel) for k in of_gates]) / q**2


def test_and_by_hand() -> None:
    """(1 - exp(-1 / (2 w^2))) / 16, with w the deviation sqrt(3) / 4, or the median 0."""
    values = AND.all(axis=1)[None] * 1.0
    assert_allclose(binary_hsic(AND, values), (1.0 - np.exp(-8.0 / 3.0)) / 16.0)
    assert_allclose(binary_hsic(AND, values, "median"), 1.0 / 16.0)
    assert_allclose(binary_hsic(AND, values + 2.0, "median"), (1.0 - np.exp(-1.0 / 8.0)) / 16.0)


def test_it_is_the_formula(rng: np.random.Generator) -> None:
    masks, values = rng.random((3, 40, 5)) < 0.4, rng.normal(size=(3, 40))
    found = binary_hsic(masks, values)
    expected = [plain(m, v, v.std()) for m, v in zip(masks, values, strict=True)]
    assert_allclose(found, expected, rtol=1e-10)


def test_xpliques_estimator_on_the_same_masks(rng: np.random.Generator) -> None:
    """Theirs gives q times HSIC, in float32."""
    masks, values = rng.random((3, 64, 5)) < 0.5, rng.uniform(0.5, 2.0, (3, 64))
    found = 64 * binary_hsic(masks, values, "median")
    for m, v, ours in zip(masks, values, found, strict=True):
        theirs = BinaryEstimator()(m.astype(np.float32)[..., None, None], v, 64)
        assert_allclose(ours, np.asarray(theirs).reshape(-1), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("bandwidth", ["deviation", "median"])
def test_changes_of_the_score(rng: np.random.Generator, bandwidth: str) -> None:
    masks, values = rng.random((2, 32, 4)) < 0.5, rng.normal(size=(2, 32))
    found = binary_hsic(masks, values, bandwidth)
    assert_allclose(binary_hsic(masks, -3.0 * values, bandwidth), found, rtol=1e-9)
    shifted = binary_hsic(masks, values + 5.0, bandwidth)
    assert np.allclose(shifted, found, rtol=1e-6) == (bandwidth == "deviation")


@pytest.mark.parametrize("bandwidth", ["deviation", "median"])
@pytest.mark.parametrize("constant", [0.0, -3.0, 1e-30])
def test_constant_scores_give_zeros(bandwidth: str, constant: float) -> None:
    values = np.array([[constant] * 4, [0.0, 0.0, 0.0, 1.0]])
    found = binary_hsic(AND, values, bandwidth)
    assert_array_equal(found[0], 0.0)
    assert (found[1] > 0.0).all()


# ------------------------------------------------------------------------------------- masks
@pytest.mark.parametrize("k", [1, 5, 25, 31])
def test_in_every_group_gates_are_balanced_and_independent(k: int) -> None:
    masks = balanced_masks(k, 32, np.array([0, 7]), seed=1, group=2)
    assert masks.shape == (2, 32, k)
    centred = masks - 0.5
    products = np.einsum("nqi,nqj->nij", centred, centred)
    assert_array_equal(products, np.broadcast_to(8.0 * np.eye(k), (2, k, k)))
    assert_array_equal(masks.sum(axis=1), 16)


def test_each_mask_by_itself_is_uniform() -> None:
    """Of 8 masks of three gates, each is 1/8 of what many images have at any place."""
    masks = balanced_masks(3, 16, np.arange(4000), seed=0)
    codes = masks @ np.array([1, 2, 4])
    for place in (0, 5, 15):
        assert_allclose(np.bincount(codes[:, place], minlength=8) / 4000, 1 / 8, atol=0.02)


def test_masks_are_keyed_by_seed_group_and_image() -> None:
    masks = balanced_masks(6, 16, np.array([3, 4]), seed=1, group=0)
    assert_array_equal(masks[1:], balanced_masks(6, 16, np.array([4]), seed=1, group=0))
    assert (masks[0] != masks[1]).any()
    for seed, group in ((2, 0), (1, 1)):
        other = balanced_masks(6, 16, np.array([3, 4]), seed=seed, group=group)
        assert (other != masks).any(axis=(1, 2)).all()


def test_any_number_of_masks_and_gates() -> None:
    """Words repeat where there are more gates than words; masks of no power of 2 are the first."""
    many = balanced_masks(9, 4, np.arange(3), seed=0)
    assert many.shape == (3, 4, 9)
    assert_array_equal(many.sum(axis=1), 2)
    some, next_power = (balanced_masks(4, q, np.arange(3), seed=0) for q in (11, 16))
    assert_array_equal(some, next_power[:, :11])
    assert balanced_masks(2, 1, np.arange(3), seed=0).shape == (3, 1, 2)


# ------------------------------------------------------------------------------------ the method
def test_drawn_masks_against_all_of_them() -> None:
    craft, images = planted.function_craft(third_order, 9, images=40)
    exact = HsicImportance(craft, 512).summary(images[:1])
    drawn = HsicImportance(craft, 256, batch_size=4096).summary(images)
    assert exact.exact
    assert not drawn.exact
    assert exact.evaluations == 512
    assert_allclose(drawn.overall / 256, exact.overall / 512, rtol=0.03, atol=5e-4)
    gates = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(np.float64)
    scores = np.asarray(third_order(gates))
    assert_allclose(exact.overall, 512 * plain(gates, scores, scores.std()), rtol=1e-4)


def test_intervals_cover() -> None:
    """Sets of four images: a squared quantity of one image is skewed where it is small."""
    craft, images = planted.function_craft(third_order, 9, images=400)
    assert 0.86 <= coverage(HsicImportance(craft, 128, batch_size=8192), images, 4) <= 0.94


def test_memory_is_bounded_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("relu", "pooled")
    whole = case.explain("hsic", nb_design=7)
    monkeypatch.setattr("xplique_craft.importance._draws._ENTRIES_AT_ONCE", 2 * 7 * 7)
    assert_allclose(case.explain("hsic", nb_design=7), whole, rtol=1e-3)


def test_bandwidths() -> None:
    craft = Case("relu", "pooled").craft
    with pytest.raises(ValueError, match="bandwidth must be 'deviation' or 'median'"):
        HsicImportance(craft, bandwidth="mean")
