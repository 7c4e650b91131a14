"""Active sets: exact where pivoting is not, whatever the bank; certain to end."""

from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from models import conditioned_bank, dependent_bank, random_bank
from reference import kkt_residual, lawson_hanson, nnls_rows, unit_rows

from xplique_craft.factorization import active_set


@tf.function
def solve(gram, b, max_rounds):
    return active_set.solve_by_active_set(gram, b, max_rounds)


def solved(activations, bank, max_rounds=1000):
    """u of rows, solved by active sets alone, in the bank's own scale."""
    directions, norms = unit_rows(bank)
    b = activations @ directions.T
    scale = np.abs(b).max(axis=1, keepdims=True, initial=0.0)
    b = np.divide(b, scale, out=np.zeros_like(b), where=scale > 0.0)
    u = solve(*map(tf.constant, (directions @ directions.T, b, max_rounds)))
    assert (u.numpy() >= 0.0).all()
    return scale * u.numpy() / norms


def signs(rng, *shape):
    return rng.integers(-1, 2, shape).astype(np.float64)


def twice(bank, change):
    return np.concatenate([bank, change * bank])


# (activations, bank) of each kind, and how far u W may be from the one that is exact.
KINDS = {
    "few": lambda rng: (rng.standard_normal((80, 64)), random_bank(rng), 1e-12),
    "signed": lambda rng: (
        np.abs(rng.standard_normal((40, 32))),
        rng.standard_normal((64, 32)),
        1e-12,
    ),
    "in the cone": lambda rng: (rng.random((40, 64)) @ np.eye(64, 32), np.eye(64, 32), 1e-12),
    "many": lambda rng: (rng.standard_normal((60, 5)), rng.standard_normal((60, 5)), 1e-12),
    "duplicated": lambda rng: (
        rng.standard_normal((60, 16)),
        twice(rng.standard_normal((20, 16)), 1.0),
        1e-12,
    ),
    "opposite": lambda rng: (
        rng.standard_normal((60, 16)),
        twice(rng.standard_normal((20, 16)), -1.0),
        1e-12,
    ),
    "nearly equal": lambda rng: (
        rng.standard_normal((60, 16)),
        twice(rng.standard_normal((20, 16)), 1.0 + 1e-7 * rng.standard_normal((20, 16))),
        1e-7,
    ),
    "dependent": lambda rng: (np.abs(rng.standard_normal((60, 64))), dependent_bank(rng), 1e-12),
    "of low rank": lambda rng: (
        rng.standard_normal((60, 32)),
        rng.standard_normal((40, 4)) @ rng.standard_normal((4, 32)),
        1e-12,
    ),
    "ties": lambda rng: (signs(rng, 60, 8), signs(rng, 24, 8), 1e-12),
    "ill-conditioned": lambda rng: (
        rng.standard_normal((60, 64)),
        conditioned_bank(rng, 1e5),
        1e-9,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_solved(rng, kind):
    activations, bank, tolerance = KINDS[kind](rng)
    activations[3] = 0.0
    u = solved(activations, bank)
    assert kkt_residual(u, activations, bank).max() <= 1e-11
    assert (u[3] == 0.0).all()
    expected = nnls_rows(activations, bank) @ bank
    size = np.maximum(np.linalg.norm(activations, axis=1), 1.0)
    assert (np.linalg.norm(u @ bank - expected, axis=1) / size).max() <= tolerance


def test_supports_are_independent(rng):
    """Of 60 concepts in 5 channels no row needs more than 5, copies of concepts never two."""
    activations, bank, _ = KINDS["many"](rng)
    assert (solved(activations, bank) > 0.0).sum(axis=1).max() <= 5
    activations, bank, _ = KINDS["duplicated"](rng)
    u = solved(activations, bank)
    assert not ((u[:, :20] > 0.0) & (u[:, 20:] > 0.0)).any()


def test_unused_concepts_and_no_rows_at_all(rng):
    bank = random_bank(rng)
    bank[[0, 7]] = 0.0
    assert solved(np.zeros((0, 64)), bank).shape == (0, 20)
    u = solved(np.abs(rng.standard_normal((20, 64))), bank)
    assert (u[:, [0, 7]] == 0.0).all()
    assert (u.max(axis=1) > 0.0).all()
    assert (solved(-np.abs(rng.standard_normal((5, 64))), bank) == 0.0).all()


def scaled_problem(rng, n, k, c):
    directions, _ = unit_rows(rng.standard_normal((k, c)))
    b = rng.standard_normal((n, c)) @ directions.T
    return directions @ directions.T, b / np.abs(b).max(axis=1, keepdims=True)


ROUNDS = (0, 1, 2, 3, 5, 8, 12, 17, 23, 60)


def test_round_by_round(rng):
    """As a plain loop over rows does it; coefficients join, and leave again."""
    gram, b = scaled_problem(rng, 40, 24, 14)
    steps = [solve(*map(tf.constant, (gram, b, rounds))).numpy() for rounds in ROUNDS]
    for u, rounds in zip(steps, ROUNDS, strict=True):
        expected = [lawson_hanson(gram, row, rounds) for row in b]
        np.testing.assert_allclose(u, expected, rtol=0.0, atol=1e-9)
    moved = [np.abs(y - x).max(axis=1) > 1e-9 for x, y in pairwise(steps)]
    assert 0 == moved[-1].sum() < moved[-2].sum() < moved[-3].sum()
    assert ((steps[7] > 0.0) & (steps[-1] == 0.0)).any()
    losses = [0.5 * ((u @ gram) * u).sum(axis=1) - (u * b).sum(axis=1) for u in steps]
    assert (np.diff(losses, axis=0) <= 1e-12).all()


def test_what_is_asked_for_less_than_the_tolerance_does_not_join():
    b = np.array([[1.0, 5e-12], [1.0, 2e-11], [1.0, 0.0], [-1.0, -0.5]])
    u = solve(*map(tf.constant, (np.eye(2), b, 100)))
    np.testing.assert_allclose(u, [[1.0, 0.0], [1.0, 2e-11], [1.0, 0.0], [0.0, 0.0]], rtol=1e-9)


def test_large_coefficients_of_one_row_do_not_blur_another():
    """Two concepts that are almost opposite make the first row's coefficients 1e9."""
    gram = np.eye(4)
    gram[0, 1] = gram[1, 0] = 1e-9 - 1.0
    b = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1e-8]])
    u = solve(*map(tf.constant, (gram, b, 100))).numpy()
    np.testing.assert_allclose(u, [[1e9, 1e9, 0.0, 0.0], [0.0, 0.0, 1.0, 1e-8]], rtol=1e-3)


@pytest.mark.parametrize("answer", [np.nan, -1.0, 0.0])
def test_what_cannot_be_solved_is_refused(rng, monkeypatch, answer):
    """Systems with concept 2 fail, as rounding may make them: rows do without it, and end."""
    solve_on_support = active_set.solve_on_support

    def failing(gram, b, support, ridge):
        z = solve_on_support(gram, b, support, ridge)
        wrong = tf.constant([j == 2 for j in range(10)])
        wrong = support[:, 2:3] & (np.isnan(answer) | wrong)
        return tf.where(wrong, tf.constant(answer, tf.float64), z)

    monkeypatch.setattr(active_set, "solve_on_support", failing)
    gram, b = scaled_problem(rng, 60, 10, 7)
    others = np.delete(np.arange(10), 2)
    solved_without = tf.function(active_set.solve_by_active_set)
    for rounds in ROUNDS:
        u = solved_without(*map(tf.constant, (gram, b, rounds))).numpy()
        expected = [lawson_hanson(gram, row, rounds, failing=2) for row in b]
        np.testing.assert_allclose(u, expected, rtol=0.0, atol=1e-9)
    assert (u[:, 2] == 0.0).all()
    assert np.abs(np.minimum(u, u @ gram - b))[:, others].max() <= 1e-11
    assert (b - u @ gram)[:, 2].max() > 0.1  # which asks to join, and is refused
