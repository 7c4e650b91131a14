"""Active sets: exact where pivoting is not, whatever the bank; certain to end."""

import numpy as np
import pytest
import tensorflow as tf
from models import conditioned_bank, dependent_bank, random_bank
from reference import kkt_residual, nnls_rows, unit_rows

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


def test_rounds_one_after_the_other(rng):
    """What the row asks for most joins first, the objective falls, and u is never below 0."""
    activation, bank = rng.standard_normal((1, 6)), rng.standard_normal((12, 6))
    steps = [solved(activation, bank, rounds) for rounds in range(16)]
    supports = [np.flatnonzero(u[0] > 0.0).tolist() for u in steps]
    assert supports[:2] == [[], []]  # in the first round the empty support is solved
    assert supports[2] == [np.argmax(activation @ unit_rows(bank)[0].T)]
    assert max(map(len, supports)) > 3
    losses = [np.linalg.norm(activation - u @ bank) for u in steps]
    assert (np.diff(losses) <= 1e-12).all()
    assert kkt_residual(steps[2], activation, bank).max() > 1e-3
    assert kkt_residual(steps[-1], activation, bank).max() <= 1e-11


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
    activations, bank = rng.standard_normal((60, 16)), rng.standard_normal((10, 16))
    directions, norms = unit_rows(bank)
    b = activations @ directions.T
    b /= np.abs(b).max(axis=1, keepdims=True)
    given = map(tf.constant, (directions @ directions.T, b))
    u = tf.function(active_set.solve_by_active_set)(*given, 1000).numpy()
    others = np.delete(np.arange(10), 2)
    assert (nnls_rows(activations, bank)[:, 2] > 0.0).sum() > 20
    assert (u[:, 2] == 0.0).all()
    scale = np.abs(activations @ directions.T).max(axis=1, keepdims=True)
    expected = nnls_rows(activations, bank[others]) * norms[others] / scale
    np.testing.assert_allclose(u[:, others], expected, rtol=0.0, atol=1e-12)
