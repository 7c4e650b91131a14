"""Concepts of several classes as one bank, and confusions in terms of both classes' concepts."""

from dataclasses import replace

import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft.atlas.confusions import commonest, explain_confusion
from xplique_craft.atlas.merged import ALL, EXPLAINED, fidelity_of, merge_classes, merged_model
from xplique_craft.factorization.merging import merge_banks


def directions(*rows: tuple[float, ...]) -> np.ndarray:
    """A bank of these rows."""
    return np.array(rows, np.float32)


def test_the_same_concepts_stand_once() -> None:
    first = directions((1, 0, 0), (0, 2, 0))
    second = directions((0, 0, 3), (0, 4, 0.4), (1, 1, 0))
    merged = merge_banks([first, second], [4, 7], [np.array([0.7, 0.2]), np.array([0.5, 0.3, 0.1])])
    assert merged.classes.tolist() == [4, 4, 7, 7, 7]
    assert merged.concepts.tolist() == [0, 1, 0, 1, 2]
    assert merged.rows.tolist() == [0, 1, 2, 1, 3]
    cosine = 1 / np.sqrt(1.01)  # of (0, 1, 0) and (0, 4, 0.4)
    half = np.sqrt((1 + cosine) / 2)  # the mean of two unit directions halves their angle
    np.testing.assert_allclose(merged.cosines, [1, half, 1, half, 1])
    np.testing.assert_allclose(np.linalg.norm(merged.bank, axis=1)[[0, 2]], [1, 3])
    assert np.linalg.norm(merged.bank[1]) == pytest.approx((2 + np.sqrt(16.16)) / 2)
    assert merged.shared.tolist() == [1]
    assert merged.members(1).tolist() == [3, 1]  # by share


def test_concepts_of_one_class_never_become_one() -> None:
    twins = directions((1, 0), (1, 0.01))
    merged = merge_banks([twins, twins[:1]], [0, 1], [np.ones(2), np.ones(1)], 0.5)
    assert merged.rows.tolist() == [0, 1, 0]


def test_matching_takes_the_largest_sum() -> None:
    """Greedy matching would give the second class's first concept the leader it is most like."""
    leaders = directions((1, 0, 0), (0.8, 0.6, 0))
    other = directions((0.96, 0.28, 0), (0.99, 0, 0.14))  # cosines .96, .936 and .99, .79
    merged = merge_banks([leaders, other], [0, 1], [np.ones(2), np.ones(2)], 0.9)
    assert merged.rows.tolist() == [0, 1, 1, 0]


def test_a_threshold_of_one_merges_only_what_is_the_same() -> None:
    rng = np.random.default_rng(0)
    bank = rng.random((4, 6)).astype(np.float32)
    merged = merge_banks([bank, 3 * bank[::-1]], [0, 1], [np.ones(4)] * 2, 1.0)
    assert merged.rows.tolist() == [0, 1, 2, 3, 3, 2, 1, 0]
    near = merge_banks([bank, bank + 0.01], [0, 1], [np.ones(4)] * 2, 1.0)
    assert len(near.bank) == 8


def test_rows_of_zeros_are_like_nothing() -> None:
    merged = merge_banks([np.zeros((1, 3), np.float32)] * 2, [0, 1], [np.ones(1)] * 2)
    assert len(merged.bank) == 2
    assert np.isfinite(merged.bank).all()
    assert np.isfinite(merged.cosines).all()


def test_many_classes() -> None:
    """Planted: every class has two concepts of its own and one that all share."""
    rng = np.random.default_rng(1)
    common, c = rng.random(40), 40
    banks = []
    for _ in range(50):
        own = rng.random((2, c)) * (rng.random((2, c)) < 0.15) + 1e-3
        banks.append(np.concatenate([own, [common + 0.01 * rng.random(c)]]).astype(np.float32))
    merged = merge_banks(banks, range(50), [np.ones(3)] * 50)
    (row,) = merged.shared[:1]
    assert sorted(merged.classes[merged.members(row)]) == list(range(50))
    assert set(merged.concepts[merged.members(row)]) == {2}


# --------------------------------------------------------------- as concepts of a model
MIXING = planted.bank(concepts=4, channels=6)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(12, concepts=4)


@pytest.fixture(scope="module")
def crafts(images: np.ndarray) -> list[xc.Craft]:
    """Two classes of one model whose banks have the second and the third concept in common."""
    split = xc.split_model(planted.network(MIXING, "affine", classes=5), planted.LAYER)
    return [
        planted.fitted(split, MIXING[:3], images[:6], 1),
        planted.fitted(split, 2 * MIXING[1:], images[3:9], 3),
    ]


def test_merged_concepts_answer_as_one_set(crafts: list[xc.Craft], images: np.ndarray) -> None:
    shares = [craft.contributions(images).share for craft in crafts]
    merged = merge_classes(crafts, shares, 0.99)
    assert merged.classes.tolist() == [1, 1, 1, 3, 3, 3]
    assert merged.rows.tolist() == [0, 1, 2, 1, 2, 3]
    assert_array_equal(merged.shares, np.concatenate(shares))
    whole = merged_model(crafts, merged, images)
    exact = xc.unite([crafts[0], crafts[1]])
    assert len(whole.bank) == 4
    assert_allclose(
        whole.inverse_transform(whole.transform(images)),
        exact.inverse_transform(exact.transform(images)),
        atol=1e-4,
    )
    found = fidelity_of(whole, images, [1, 3])
    assert found[EXPLAINED].number_of_images == found[ALL].number_of_images == 12
    for fidelity in found.values():
        assert fidelity.emd.value < 1e-4 < fidelity.random_concepts.emd.value


def test_banks_around_means_of_their_own_are_refused(crafts: list[xc.Craft]) -> None:
    apart = crafts[0].variant(
        factorized=replace(crafts[0].factorized, offset=np.ones(6, np.float32))
    )
    with pytest.raises(ValueError, match="must be directions from 0 to be united"):
        merge_classes([apart, crafts[1]], [np.ones(3)] * 2)


def test_commonest_confusions() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2, -1, 3])
    predictions = np.array([1, 1, 0, 0, 1, 1, 0, 1, 0])
    assert commonest(labels, predictions, np.arange(3), 2) == [(0, 1, 2), (1, 0, 1)]
    assert commonest(labels, predictions, np.array([1, 2]), 5) == [(2, 1, 1)]
    assert commonest(labels, labels, np.arange(4), 5) == []


def test_a_confusion_in_terms_of_both_classes(crafts: list[xc.Craft], images: np.ndarray) -> None:
    merged = merge_classes(crafts, [np.ones(3)] * 2, 0.99)
    rows = np.array([3, 0, 1])
    pair = merged_model(crafts, merged, images, rows)
    found = explain_confusion(pair, rows, (1, 3), (7, 20), images[:4], images[4:6], None, [])
    assert (found.actual, found.predicted, found.number, found.labelled) == (1, 3, 7, 20)
    assert found.images == 4

    u = pair.transform(images).mean(axis=(1, 2))
    order = [rows.tolist().index(row) for row in found.rows]
    assert_allclose(found.in_confused, u[:4].mean(axis=0)[order], rtol=1e-5)
    assert_allclose(found.in_actual, u[4:6].mean(axis=0)[order], rtol=1e-5)
    assert np.isnan(found.in_predicted).all()

    dense = pair.model.layers[-1].get_weights()[0]  # the head is the mean over places, then this
    by_hand = u[:4].mean(axis=0) * (pair.bank @ (dense[:, 3] - dense[:, 1]))
    assert_allclose(found.speaks_for, by_hand[order], rtol=1e-4, atol=1e-6)
    assert (np.diff(found.speaks_for) <= 0).all()
