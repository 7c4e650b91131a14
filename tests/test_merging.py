"""Concepts of several classes as one bank, and confusions in terms of both classes' concepts."""

import numpy as np
import pytest

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
