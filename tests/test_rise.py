"""RISE: closed form, all masks, drawn masks, Xplique's own on the same masks."""

import numpy as np
import planted
import pytest
import tensorflow as tf
from importances import Case, coverage, third_order
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions import Rise

from xplique_craft._random import keyed_bits
from xplique_craft.importance import RiseImportance

NINE = np.arange(512)[:, None] >> np.arange(9) & 1


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("relu", "pooled")


def by_hand(p: float) -> np.ndarray:
    """E[f | m_j = 1], (9,), over all 512 masks and their probabilities."""
    values = np.asarray(third_order(NINE.astype(np.float64)))
    weights = np.where(NINE == 1, p, 1.0 - p).prod(axis=1)
    return np.array([(values * weights)[NINE[:, j] == 1].sum() / p for j in range(9)])


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_all_masks_where_there_are_few(p: float) -> None:
    craft, images = planted.function_craft(third_order, 9)
    importance = RiseImportance(craft, 512, p).summary(images)
    assert importance.exact
    assert importance.evaluations == 512
    assert_allclose(importance.per_image[0], by_hand(p), atol=1e-5)
    assert_array_equal(importance.estimation_interval[:, 0], importance.overall)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_drawn_masks_come_near(p: float) -> None:
    craft, images = planted.function_craft(third_order, 9, images=100)
    importance = RiseImportance(craft, 511, p, batch_size=4096).summary(images)
    assert not importance.exact
    assert importance.evaluations == 511 * 100
    assert_allclose(importance.overall, by_hand(p), atol=0.03)
    width = np.ptp(importance.estimation_interval, axis=1)
    assert (np.abs(importance.overall - by_hand(p)) < 2.0 * width).all()
    assert (width < 0.06).all()


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_the_closed_form_of_affine_heads(p: float) -> None:
    case = Case("affine", "map")
    closed = case.explain("rise", preservation_probability=p)
    masks = case.explain("rise", preservation_probability=p, operator=planted.by_sampling)
    assert_allclose(closed, masks, atol=1e-5)
    assert RiseImportance(case.craft).summary(case.images).exact


def test_xpliques_own_on_the_same_masks(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs adds 1e-4 to the number of masks that keep a concept."""
    found = case.explain("rise", nb_samples=7, keep_residual=False, seed=3)
    for i in range(5):
        bits = keyed_bits(3, i, np.arange(7)[:, None], np.arange(3))
        masks = tf.constant(bits < np.uint64(2**63))
        monkeypatch.setattr(Rise, "_get_masks", staticmethod(lambda *_, m=masks: m))
        theirs = Rise(case.craft.decoder, nb_samples=7)
        expected = theirs.explain(case.u[i : i + 1], planted.one_hot([0], 3))
        assert_allclose(found[i], np.asarray(expected).reshape(-1), rtol=1e-4, atol=1e-5)


def test_intervals_cover() -> None:
    craft, images = planted.function_craft(third_order, 9, images=400)
    assert 0.86 <= coverage(RiseImportance(craft, 240, batch_size=8192), images) <= 0.94


def test_a_concept_that_no_mask_keeps(case: Case) -> None:
    with pytest.warns(UserWarning, match=r"None of the 2 masks of an image keeps concept"):
        found = case.explain("rise", nb_samples=2, preservation_probability=0.1)
    assert np.isfinite(found).all()
    assert (found == 0.0).any()


@pytest.mark.parametrize("p", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_probabilities(case: Case, p: float) -> None:
    with pytest.raises(ValueError, match="preservation_probability must be"):
        RiseImportance(case.craft, preservation_probability=p)


def test_a_constant_score_is_every_concepts_value() -> None:
    craft, images = planted.function_craft(lambda m: ops.sum(0.0 * m, axis=1) + 3.0, 2)
    with pytest.warns(UserWarning, match="does not depend on the concepts"):
        found = RiseImportance(craft, preservation_probability=0.3).explain(images)
    assert_allclose(found, 3.0, rtol=1e-6)
