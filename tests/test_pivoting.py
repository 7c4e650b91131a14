"""The stages of the exact encoding, each alone: what one does badly, a later one would repair."""

import numpy as np
import pytest
import tensorflow as tf
from models import random_bank
from reference import block_pivoting, nnls_rows, projected_gradient, unit_rows

from xplique_craft.factorization import nnls
from xplique_craft.factorization.supports import solve_on_support


def problem(rng, n, k, c, signed=True):
    """G (k, k) and b (n, k), scaled to max |b| = 1, of a bank with rows of unit norm."""
    bank = rng.standard_normal((k, c)) if signed else random_bank(rng, k, c)
    directions, _ = unit_rows(bank)
    b = np.abs(rng.standard_normal((n, c))) @ directions.T
    return directions @ directions.T, b / np.abs(b).max(axis=1, keepdims=True)


# ------------------------------------------------------------------ KKT residuals, by hand
@pytest.mark.parametrize(
    ("u", "b", "expected"),
    [
        ([0.0, 0.0], [-4.0, -1.0], 0.0),
        ([0.0, 0.0], [-4.0, 1.0], 0.25),  # the second is asked for
        ([2.0, 0.0], [2.0, 1.0], 0.0),  # y = (0, 0)
        ([3.0, 0.0], [2.0, 1.0], 0.5),  # y = (1, 0.5), and u_1 is positive
        ([1.0, 0.0], [2.0, 1.0], 0.5),  # y = (-1, -0.5)
        ([-1.0, 0.0], [-4.0, -4.0], 0.25),  # below 0 itself
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, 0.0], [0.0, 0.0], 1.0),  # nothing to explain, and explained all the same
    ],
)
def test_kkt_residual_by_hand(u, b, expected):
    gram = tf.constant([[1.0, 0.5], [0.5, 1.0]], tf.float64)
    other = [[1.0, 0.0], [1.0, 0.5]]  # another row, solved, of other numbers
    found = nnls.kkt_residual(
        tf.constant([u, other[0]], tf.float64), gram, tf.constant([b, other[1]], tf.float64)
    )
    np.testing.assert_allclose(found, [expected, 0.0], rtol=1e-15, atol=0.0)


# ------------------------------------------------------------------ supports
@pytest.mark.parametrize("signed", [False, True])
def test_warm_start_is_accelerated_projected_gradient(rng, signed):
    gram, b = problem(rng, 200, 20, 64, signed)
    found = nnls._warm_start(tf.constant(gram), tf.constant(b)).numpy()
    np.testing.assert_array_equal(found, projected_gradient(gram, b, 20) > 0.0)


@pytest.mark.parametrize(("k", "ridge"), [(3, 0.0), (40, 0.0), (40, 1e-3), (110, 1e-6)])
def test_systems_of_supports_of_all_sizes(rng, k, ridge):
    gram, b = problem(rng, 60, k, 128)
    support = rng.random((60, k)) < rng.random((60, 1))
    support[0], support[1] = True, False
    given = map(tf.constant, (gram, b, support))
    plain, refined = (
        solve_on_support(*arguments, ridge, refine).numpy()
        for arguments, refine in zip([tuple(given)] * 2, (False, True), strict=True)
    )
    for row, inside in enumerate(support):
        inner = gram[np.ix_(inside, inside)]
        factor = np.linalg.inv(inner + ridge * np.eye(len(inner)))
        once = factor @ b[row, inside]
        twice = once + factor @ (b[row, inside] - inner @ once)
        for found, expected in ((plain[row], once), (refined[row], twice)):
            assert (found[~inside] == 0.0).all()
            np.testing.assert_allclose(found[inside], expected, rtol=0.0, atol=1e-11)


# ------------------------------------------------------------------ pivoting
@pytest.mark.parametrize("start", [0.0, 0.5, 1.0])
def test_pivoting_round_by_round(rng, start):
    """As a plain loop over rows does it; there are rows that go over to single swaps."""
    gram, b = problem(rng, 40, 24, 16)
    gram += 1e-3 * np.eye(24)
    support = rng.random(b.shape) < start

    @tf.function
    def pivot(rounds):
        return nnls._pivot(*map(tf.constant, (gram, b, support)), 1e-11, 0.0, False, rounds)

    singles, left = 0, []
    for rounds in (0, 1, 2, 3, 4, 6, 9, 13, 20, 60):
        u, unsolved = pivot(tf.constant(rounds))
        rows = [block_pivoting(gram, x, s, rounds) for x, s in zip(b, support, strict=True)]
        np.testing.assert_allclose(u, [row.u for row in rows], rtol=0.0, atol=1e-9)
        assert unsolved.numpy().tolist() == [i for i, row in enumerate(rows) if not row.solved]
        singles, left = sum(row.singles for row in rows), [*left, len(unsolved)]
    assert left[0] == left[1] == 40 > left[5] > left[6] > left[7] > left[8] > left[9] == 0
    assert singles > 20


def stages(monkeypatch, activations, bank):
    """How many rounds pivoting has, and the rows of active sets (None if they are not asked)."""
    pivot, seen = nnls._pivot, {"rows": None}

    def counted(*arguments, max_rounds, **options):
        seen["rounds"] = int(max_rounds)
        return pivot(*arguments, max_rounds=max_rounds, **options)

    def given(gram, b, max_rounds):
        seen["rows"], seen["active rounds"] = len(b), max_rounds
        return tf.zeros_like(b)

    monkeypatch.setattr(nnls, "_pivot", counted)
    monkeypatch.setattr(nnls, "solve_by_active_set", given)
    directions, _ = unit_rows(bank)
    b = (activations @ directions.T.astype(activations.dtype)).astype(np.float64)
    nnls.encode_gram(*map(tf.constant, (directions @ directions.T, b, activations, directions)))
    return seen


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ordinary_rows_are_solved_by_pivoting_alone(rng, monkeypatch, dtype):
    activations = np.abs(rng.standard_normal((300, 64))).astype(dtype)
    seen = stages(monkeypatch, activations, random_bank(rng))
    assert seen == {"rounds": 30, "rows": None}


@pytest.mark.parametrize(("k", "c", "rounds"), [(16, 16, 26), (17, 16, 10), (64, 16, 10)])
def test_of_more_concepts_than_channels_pivoting_gives_up_soon(rng, monkeypatch, k, c, rounds):
    seen = stages(monkeypatch, rng.standard_normal((300, c)), rng.standard_normal((k, c)))
    assert seen["rounds"] == rounds
    if k == 64:
        assert 0 < seen["rows"] < 300
        assert seen["active rounds"] == 640


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ridge_is_taken_out_again(rng, dtype):
    """Of exact products the coefficients are exact, whatever their precision is said to be."""
    bank, activations = random_bank(rng), np.abs(rng.standard_normal((100, 64))).astype(dtype)
    directions, norms = unit_rows(bank)
    given = directions @ directions.T, activations @ directions.T, activations, directions
    u = tf.function(nnls.encode_gram)(*map(tf.constant, given)).numpy() / norms
    np.testing.assert_allclose(u, nnls_rows(activations, bank), rtol=0.0, atol=1e-9)


# ------------------------------------------------------------------ memory
def pieces(n, k):
    """The sizes of the pieces that n rows are solved in; each row ends up where it was."""
    sizes, rows = [], np.random.default_rng(n).standard_normal((n, k))

    def solve(x, y):
        sizes.append(len(x))
        return x + 2.0 * y

    found = nnls.by_rows(solve, k, tf.constant(rows), tf.constant(rows[:, :1]))
    np.testing.assert_array_equal(found, rows + 2.0 * rows[:, :1])
    return sizes


def test_rows_are_solved_in_pieces(monkeypatch):
    assert pieces(5000, 50) == [3355, 1645]  # of 50 x 50 numbers of 8 bytes: 64 MiB
    monkeypatch.setattr(nnls, "SYSTEM_ENTRIES", 40)
    assert pieces(10, 3) == [4, 4, 2]
    assert pieces(9, 3) == [4, 4, 1]
    assert pieces(8, 3) == [4, 4]
    assert pieces(3, 7) == [1, 1, 1]
    assert pieces(0, 3) == [0]  # the shape (0, 3) has to come from somewhere


def test_how_many_concepts_there_are_is_known_inside_a_function():
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float64)])
    def solve(rows):
        found = nnls.by_rows(lambda x: x, 3, rows)
        assert found.shape == (None, 3)
        return found

    assert solve(np.ones((5, 3))).shape == (5, 3)
