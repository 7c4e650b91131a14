"""NMF and what it makes: against scikit-learn, against planted factors, and in bad company."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from models import planted_factorization, random_bank
from reference import kkt_residual, matched_cosines, nnls_rows
from sklearn.decomposition import NMF as SklearnNMF

from xplique_craft.factorization import NMF, Factorized


def relative_error(activations, u, bank):
    activations = activations.astype(np.float64)
    difference = activations - u.astype(np.float64) @ bank.astype(np.float64)
    return np.linalg.norm(difference) / np.linalg.norm(activations)


@pytest.fixture(scope="module")
def planted():
    return planted_factorization(np.random.default_rng(0), n=200, k=4, c=24)


@pytest.fixture(scope="module")
def noisy():
    """Rows of no low rank: 8 factors and as much noise."""
    return planted_factorization(np.random.default_rng(1), n=150, k=8, c=30, noise=1.0).activations


@pytest.fixture(scope="module")
def factorized(noisy):
    return NMF().fit(noisy, 5)


# ------------------------------------------------------------------ how good it is
@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
@pytest.mark.parametrize("k", [1, 3, 10])
def test_objective_is_no_worse_than_sklearn(noisy, k):
    ours = NMF().fit(noisy, k, seed=0)
    theirs = SklearnNMF(
        k, init="nndsvda", max_iter=1000, tol=1e-6, alpha_W=0.0, alpha_H=0.0, random_state=0
    )
    coefficients = theirs.fit_transform(noisy.astype(np.float64))
    reference = relative_error(noisy, coefficients, theirs.components_)
    assert ours.relative_error <= 1.001 * reference
    exact = relative_error(noisy, nnls_rows(noisy, ours.bank), ours.bank)
    assert exact <= 1.001 * reference


def test_planted_factors_are_found(planted):
    found = NMF().fit(planted.activations, 4)
    cosines, order = matched_cosines(found.bank, planted.bank)
    assert cosines.min() >= 0.99
    assert found.relative_error <= 1e-2
    u = found.transform(planted.activations)[:, order]
    for j in range(4):
        assert np.corrcoef(u[:, j], planted.coefficients[:, j])[0, 1] >= 0.99


def test_rank_one_is_exact(rng):
    u, bank = rng.uniform(0.1, 1.0, (40, 1)), rng.uniform(0.1, 1.0, (1, 9))
    found = NMF().fit((u @ bank).astype(np.float32), 1)
    np.testing.assert_allclose(matched_cosines(found.bank, bank)[0], 1.0, rtol=1e-6)
    assert found.relative_error <= 1e-5


def test_no_hidden_regularisation(planted):
    """CraftTf's alpha_W = 0.01 leaves an error that does depend on the activations' scale."""
    assert NMF().fit(planted.activations, 4).relative_error <= 1e-2
    assert NMF().fit(1e-2 * planted.activations, 4).relative_error <= 1e-2


# ------------------------------------------------------------------ what it returns
def test_bank(factorized, noisy):
    assert factorized.components_.shape == (5, 30)
    assert factorized.components_.dtype == np.float32
    assert factorized.bank is factorized.components_
    assert (factorized.bank >= 0.0).all()
    assert np.isfinite(factorized.bank).all()
    assert (np.linalg.norm(factorized.bank, axis=1) > 0.0).all()


def test_a_field_cannot_be_assigned(factorized):
    with pytest.raises(dataclasses.FrozenInstanceError):
        factorized.converged = True


@pytest.mark.parametrize("k", [1, 5, 12])
def test_relative_error_is_that_of_the_rows(noisy, k):
    found = NMF().fit(noisy, k)
    exact = relative_error(noisy, nnls_rows(noisy, found.bank), found.bank)
    assert exact <= found.relative_error * (1.0 + 1e-5)  # the exact encoding is the best one
    np.testing.assert_allclose(found.relative_error, exact, rtol=1e-2)


def test_convergence_is_a_field(noisy):
    short = NMF(max_iter=2, tolerance=0.0).fit(noisy, 5)
    assert not short.converged
    assert short.iterations == 2
    long = NMF(max_iter=5000, tolerance=1e-3).fit(noisy, 5)
    assert long.converged
    assert 2 < long.iterations < 5000
    assert long.relative_error < short.relative_error


def test_more_iterations_lower_the_error(noisy):
    errors = [NMF(max_iter=n, tolerance=0.0).fit(noisy, 8).relative_error for n in (1, 10, 100)]
    assert errors[0] > errors[1] > errors[2]


def test_rows_are_not_written_to(noisy):
    rows = noisy.copy()
    NMF(max_iter=5).fit(rows, 3)
    np.testing.assert_array_equal(rows, noisy)


def test_float64_and_strided_rows(noisy, factorized):
    wide = np.asfortranarray(noisy.astype(np.float64))
    np.testing.assert_allclose(NMF().fit(wide, 5).bank, factorized.bank, rtol=1e-2, atol=1e-3)


# ------------------------------------------------------------------ seeds
def test_global_generators_do_not_matter(noisy):
    first = NMF(max_iter=20).fit(noisy, 34, seed=3)
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(99)  # noqa: NPY002
        again = NMF(max_iter=20).fit(noisy, 34, seed=3)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    assert first.bank.tobytes() == again.bank.tobytes()


@pytest.mark.parametrize("shape", [(50, 9), (10, 40)])
def test_more_concepts_than_a_decomposition_can_start(rng, shape):
    """k > min(n, c): random values, from the seed."""
    rows = rng.random(shape).astype(np.float32)
    k = 10
    found, again, other = (NMF(max_iter=100).fit(rows, k, seed=s) for s in (0, 0, 1))
    assert found.bank.shape == (k, shape[1])
    assert found.bank.tobytes() == again.bank.tobytes()
    if k > min(shape):
        assert found.bank.tobytes() != other.bank.tobytes()
    assert found.relative_error <= 0.05
    assert np.isfinite(found.encode(rows)[0]).all()


# ------------------------------------------------------------------ rows of zeros, dead channels
def test_rows_of_zeros_and_dead_channels(planted):
    """After a ReLU both are common."""
    rows = np.zeros((250, 30), np.float32)
    rows[:200, :24] = planted.activations
    found = NMF().fit(rows, 4)
    assert matched_cosines(found.bank[:, :24], planted.bank)[0].min() >= 0.99
    assert (found.bank[:, 24:] == 0.0).all()
    assert (found.transform(rows)[200:] == 0.0).all()


@pytest.mark.filterwarnings("ignore:The bank of 8 concepts has rank")
def test_fewer_factors_than_concepts(planted):
    """Rank 4, 8 concepts: rows of the bank may be dependent, the encoding stays sound."""
    found = NMF().fit(planted.activations, 8)
    u, residual = found.encode(planted.activations)
    assert np.isfinite(u).all()
    assert float(tf.reduce_max(residual)) <= 1e-5
    assert relative_error(planted.activations, u.numpy(), found.bank) <= 1e-2


# ------------------------------------------------------------------ refusals
def test_more_concepts_than_rows():
    with pytest.raises(ValueError, match=r"at most the number of crops.* 4 concepts for 3 crops"):
        NMF().fit(np.ones((3, 5), np.float32), 4)


def test_negative_rows():
    rows = np.ones((6, 5), np.float32)
    rows[2, 1] = -0.25
    with pytest.raises(
        ValueError, match=r"non-negative.*-0\.25.*signed-nmf.*ReLU.*candidate_layers"
    ):
        NMF().fit(rows, 2)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 5)])
def test_rows_of_another_rank(shape):
    with pytest.raises(ValueError, match=r"rows must have shape \(n, c\), received \("):
        NMF().fit(np.ones(shape, np.float32), 2)


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "number_of_concepts must be at least 1, received 0"),
        (-3, ValueError, "number_of_concepts must be at least 1, received -3"),
        (2.0, TypeError, "number_of_concepts must be an integer, received 2.0 of type float"),
        (True, TypeError, "number_of_concepts must be an integer, received True"),
        (None, TypeError, "number_of_concepts must be an integer, received None"),
    ],
)
def test_bad_numbers_of_concepts(k, error, message):
    with pytest.raises(error, match=message):
        NMF().fit(np.ones((6, 5), np.float32), k)


# ------------------------------------------------------------------ encoding and decoding
@pytest.mark.parametrize("shape", [(6, 30), (2, 3, 30), (2, 3, 4, 30)])
@pytest.mark.parametrize("kind", [np.asarray, tf.constant])
def test_shapes(factorized, rng, shape, kind):
    activations = rng.random(shape).astype(np.float32)
    u, residual = factorized.encode(kind(activations))
    assert u.shape == (*shape[:-1], 5)
    assert residual.shape == shape[:-1]
    assert u.dtype == residual.dtype == tf.float32
    rows = activations.reshape(-1, 30)
    expected = nnls_rows(rows, factorized.bank).reshape(u.shape)
    np.testing.assert_allclose(u, expected, rtol=0.0, atol=1e-4 * expected.max())
    assert kkt_residual(u.numpy().reshape(-1, 5), rows, factorized.bank).max() <= 1e-5

    decoded = factorized.decode(u)
    assert decoded.shape == shape
    np.testing.assert_allclose(decoded, u.numpy() @ factorized.bank, rtol=1e-5, atol=1e-6)

    transformed = factorized.transform(kind(activations))
    assert isinstance(transformed, np.ndarray)
    np.testing.assert_array_equal(transformed, u)


def test_decoding_exactly_inverts_encoding_in_the_cone(rng):
    bank = random_bank(rng, 6, 20).astype(np.float32)
    made = Factorized(NMF(), bank, np.zeros(20, np.float32), True, 1, 0.0)
    u = rng.random((4, 3, 6)).astype(np.float32)
    np.testing.assert_allclose(made.transform(made.decode(u)), u, rtol=0.0, atol=2e-5)


def test_decoding_keeps_the_precision_of_coefficients(factorized, rng):
    u = rng.random((3, 5))
    assert factorized.decode(u).dtype == tf.float64
    expected = u @ factorized.bank.astype(np.float64)
    np.testing.assert_allclose(factorized.decode(u), expected, rtol=1e-14)


def test_decoding_whole_numbers_does_not_truncate_the_bank(factorized):
    """`np.eye(k, dtype=int)` shows what each concept decodes to."""
    np.testing.assert_allclose(factorized.decode(np.eye(5, dtype=int)), factorized.bank, rtol=1e-6)


def test_wrong_channels_are_refused_in_words(factorized):
    with pytest.raises(ValueError, match="channels"):
        factorized.encode(np.ones((20, 15), np.float32))
