"""NMF of channels split by sign: what it finds, and its encoding in float64."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from models import planted_factorization
from reference import central_differences, matched_cosines, nnls_rows

from xplique_craft.factorization import NMF, Factorized, SemiNMF, SignedNMF
from xplique_craft.factorization.signed_nmf import split_by_sign
from xplique_craft.metrics.sanity import random_bank

K, C = 4, 12


@pytest.fixture(scope="module")
def bank() -> np.ndarray:
    """(4, 12): each pushes three channels up, and three down that the next one pushes up."""
    pushed = np.random.default_rng(3).uniform(0.5, 1.5, C)
    block = np.arange(C) // 3
    up, down = (np.stack([block == (j + i) % K for j in range(K)]) for i in (0, 1))
    return (up * 1.0 - down * 1.0) * pushed


@pytest.fixture(scope="module")
def sparse() -> np.ndarray:
    """
    (400, 4): one concept in a row, or two that push no channel in common.

    Of each concept there is as much as of the others, so the mean is where there is none.
    """
    amounts = np.random.default_rng(4).gamma(1.0, 1.0, (2, 50))
    rows = [np.outer(amounts[0], one) for one in np.eye(K)]
    for first, second in ((0, 2), (2, 0), (1, 3), (3, 1)):
        both = np.outer(amounts[0], np.eye(K)[first]) + np.outer(amounts[1], np.eye(K)[second])
        rows.append(both)
    return np.concatenate(rows)


def by_hand(rows: np.ndarray, found: Factorized) -> np.ndarray:
    """The problem of the docstring, solved by SciPy in float64."""
    scale = found.scale.astype(np.float64)
    return nnls_rows(
        split_by_sign((rows - found.offset) / scale), split_by_sign(found.bank / scale)
    )


# ------------------------------------------------------------------------- what it finds
def test_planted_concepts_are_found(bank: np.ndarray, sparse: np.ndarray) -> None:
    """Bank, coefficients and rows, wherever the mean lies; rows hold both signs of each channel."""
    rows = 5.0 + sparse @ bank
    found = SignedNMF().fit(rows, K)
    cosines, order = matched_cosines(found.bank.astype(np.float64), bank)
    assert cosines.min() > 0.9999
    np.testing.assert_allclose(found.offset, np.full(C, 5.0), rtol=1e-5)
    u = found.encode(rows)[0].numpy()[:, order]
    sizes = np.linalg.norm(found.bank[order], axis=1) / np.linalg.norm(bank, axis=1)
    np.testing.assert_allclose(u * sizes, sparse, atol=0.02)
    np.testing.assert_allclose(found.decode(found.encode(rows)[0]), rows, atol=0.02)
    assert found.relative_error < 1e-3


def test_units_of_channels_do_not_matter(bank: np.ndarray, sparse: np.ndarray) -> None:
    """Concepts in other units are the same concepts: an outlier channel counts as any other."""
    rows = sparse @ bank
    units = np.ones(C)
    units[5] = 500.0
    plain, other = SignedNMF().fit(rows, K), SignedNMF().fit(rows * units, K)
    np.testing.assert_allclose(other.scale, plain.scale * units, rtol=1e-5)
    cosines, order = matched_cosines(other.directions.astype(np.float64), plain.directions)
    assert cosines.min() > 0.9999
    parts = [
        found.encode(given)[0].numpy() * np.linalg.norm(found.directions, axis=1)
        for found, given in ((other, rows * units), (plain, rows))
    ]
    np.testing.assert_allclose(parts[0][:, order], parts[1], atol=0.02)


@pytest.mark.filterwarnings("ignore:The coefficients of")
def test_an_outlier_channel_eats_no_concept(bank: np.ndarray, sparse: np.ndarray) -> None:
    """A channel that is far off in a few rows, as transformers have one; semi-NMF's finds it."""
    rng = np.random.default_rng(5)
    rows = np.column_stack([sparse @ bank, np.where(rng.random(400) < 0.02, -500.0, 0.0)])
    found = SignedNMF().fit(rows, K)
    cosines, _ = matched_cosines(found.bank[:, :C].astype(np.float64), bank)
    assert cosines.min() > 0.95
    taken = SemiNMF().fit(rows, K).bank
    assert (np.abs(taken[:, C]) > 0.99).any()  # of unit norm: one concept is this channel


def test_channels_that_hardly_vary_count_little(bank: np.ndarray, sparse: np.ndarray) -> None:
    rows = np.column_stack([sparse @ bank, np.full(400, 7.0)])
    found = SignedNMF().fit(rows, K)
    assert (found.bank[:, C] == 0.0).all()
    assert found.scale[C] == pytest.approx(0.1 * np.median(np.std(rows, axis=0)[:C]), rel=1e-4)
    moved = rows.copy()
    moved[:, C] += 1e-3
    np.testing.assert_allclose(found.encode(moved)[0], found.encode(rows)[0], atol=1e-2)


def test_a_row_of_weight_two_does_as_much_as_two(bank: np.ndarray, sparse: np.ndarray) -> None:
    rows = (sparse @ bank)[:60]
    weights = np.where(np.arange(60) < 30, 2.0, 1.0)
    twice = SignedNMF().fit(np.concatenate([rows, rows[:30]]), K)
    found = SignedNMF().fit(rows, K, weights=weights)
    np.testing.assert_allclose(found.offset, twice.offset, atol=1e-6)
    np.testing.assert_allclose(found.scale, twice.scale, rtol=1e-5)
    cosines, _ = matched_cosines(found.bank.astype(np.float64), twice.bank)
    assert cosines.min() > 0.99
    assert found.relative_error == pytest.approx(twice.relative_error, rel=1e-2)


def test_rows_that_are_all_alike_are_refused() -> None:
    with pytest.raises(ValueError, match=r"All rows of activations are alike.*more varied images"):
        SignedNMF().fit(np.full((6, 5), 2.0, np.float32), 2)


def test_where_activations_are_positive_it_is_no_nmf(rng: np.random.Generator) -> None:
    """Its concepts are around the mean, NMF's around 0: each decodes nothing as what it is."""
    rows = planted_factorization(rng, n=100, k=K, c=C).activations
    found = SignedNMF().fit(rows, K)
    np.testing.assert_allclose(found.decode(np.zeros((1, K)))[0], rows.mean(axis=0), rtol=1e-4)
    np.testing.assert_array_equal(NMF().fit(rows, K).decode(np.zeros((1, K)))[0], np.zeros(C))
    np.testing.assert_array_equal(found.nothing, found.offset)
    assert NMF().fit(rows, K).nothing is None


# --------------------------------------------------------------- the encoding, in float64
@pytest.fixture(scope="module")
def problem(bank: np.ndarray, sparse: np.ndarray) -> tuple[Factorized, np.ndarray]:
    """A fitted bank, and rows of both signs that it does not explain."""
    rng = np.random.default_rng(6)
    rows = 1.0 + sparse @ (bank + 0.3 * rng.standard_normal(bank.shape))
    found = SignedNMF().fit(rows + 0.2 * rng.standard_normal(rows.shape), K)
    return found, rows[:40] + 0.4 * rng.standard_normal((40, C))


def test_the_encoding_is_exact(problem: tuple[Factorized, np.ndarray]) -> None:
    found, rows = problem
    u, residual = found.encode(rows)
    np.testing.assert_allclose(u, by_hand(rows, found), rtol=1e-9, atol=1e-11)
    assert 0 < int(tf.reduce_sum(tf.cast(u == 0.0, tf.int32))) < 40 * K
    assert residual.shape == (40,)
    assert float(tf.reduce_max(residual)) <= 1e-8
    of_float32, residual = found.encode(rows.astype(np.float32))
    np.testing.assert_allclose(of_float32, u, atol=1e-5 * float(tf.reduce_max(u)))
    assert float(tf.reduce_max(residual)) <= 1e-4


def test_the_conditions_hold_by_themselves(problem: tuple[Factorized, np.ndarray]) -> None:
    """Karush-Kuhn-Tucker of the split problem, with no solver: min(u, uG - b) = 0."""
    found, rows = problem
    scale = found.scale.astype(np.float64)
    parts = split_by_sign((rows - found.offset) / scale)
    directions = split_by_sign(found.bank / scale)
    u = found.encode(rows)[0].numpy()
    slack = (u @ directions - parts) @ directions.T
    largest = np.abs(parts @ directions.T).max()
    assert np.abs(np.minimum(u, slack)).max() <= 1e-8 * largest


def test_its_derivative_is_that_of_central_differences(
    problem: tuple[Factorized, np.ndarray],
) -> None:
    found, rows = problem
    rng = np.random.default_rng(7)
    cotangent = rng.standard_normal((len(rows), K))
    # Where no coefficient, slack or channel is next to 0, the encoding has no kink nearby.
    scale = found.scale.astype(np.float64)
    parts, directions = (rows - found.offset) / scale, split_by_sign(found.bank / scale)
    u = by_hand(rows, found)
    slack = (u @ directions - split_by_sign(parts)) @ directions.T
    near = np.minimum(np.where(u > 0.0, u, slack).min(axis=1), np.abs(parts).min(axis=1))
    smooth = np.flatnonzero(near > 1e-3)
    assert len(smooth) >= 8
    tensor = tf.constant(rows[smooth])
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        score = tf.reduce_sum(found.encode(tensor)[0] * cotangent[smooth])
    gradient = tape.gradient(score, tensor).numpy()
    for i, number in enumerate(smooth):
        expected = central_differences(
            lambda row, number=number: np.atleast_1d(
                by_hand(row[None], found)[0] @ cotangent[number]
            ),
            rows[number],
            1e-5,
        )[0]
        np.testing.assert_allclose(gradient[i], expected, atol=1e-6 * np.abs(gradient).max())


def test_the_bank_is_all_that_the_encoding_needs(problem: tuple[Factorized, np.ndarray]) -> None:
    """What is split is made again of W: other rows of it are other concepts, at once."""
    found, rows = problem
    fewer = replace(found, bank=found.bank[[2, 0]])
    expected = nnls_rows(
        split_by_sign((rows - found.offset) / found.scale.astype(np.float64)),
        split_by_sign(found.bank[[2, 0]] / found.scale.astype(np.float64)),
    )
    np.testing.assert_allclose(fewer.encode(rows)[0], expected, rtol=1e-9, atol=1e-11)
    random = random_bank(found, 1)
    assert not np.allclose(random.bank, found.bank)
    norms = [np.linalg.norm(one.directions, axis=1) for one in (random, found)]
    np.testing.assert_allclose(*norms, rtol=1e-5)
