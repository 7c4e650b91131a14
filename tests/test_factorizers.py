"""What every factorizer promises, and what each of the others than NMF does beyond that."""

from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from models import planted_factorization
from reference import matched_cosines

from xplique_craft import factorization
from xplique_craft.factorization import (
    FACTORIZERS,
    NMF,
    PCA,
    Factorizer,
    KMeans,
    SemiNMF,
    SignedNMF,
    get_factorizer,
    type_of_factorizer,
)

EVERY = [get_factorizer(name) for name in FACTORIZERS]
every_factorizer = pytest.mark.parametrize("factorizer", EVERY, ids=lambda f: f.name)


@pytest.fixture(scope="module")
def noisy():
    """Rows of no low rank: 8 factors and as much noise."""
    return planted_factorization(np.random.default_rng(1), n=150, k=8, c=30, noise=1.0).activations


# ------------------------------------------------------------------ what all factorizers promise
@every_factorizer
@pytest.mark.parametrize("signed", [False, True])
def test_contract(factorizer, signed, noisy):
    rows = noisy - noisy.mean() if signed else noisy
    if signed and factorizer.requires_non_negative:
        with pytest.raises(ValueError, match="non-negative"):
            factorizer.fit(rows, 5)
        return
    before = rows.copy()
    found = factorizer.fit(rows, 5)
    np.testing.assert_array_equal(rows, before)
    assert found.factorizer is factorizer
    assert found.bank.shape == (5, 30)
    assert found.bank.dtype == found.offset.dtype == np.float32
    assert found.offset.shape == (30,)
    assert np.isfinite(found.bank).all()
    assert found.converged

    u, residual = found.encode(rows)
    assert u.shape == (150, 5)
    assert residual.shape == (150,)
    if isinstance(factorizer, (KMeans, PCA)):
        assert np.isnan(residual).all()  # they solve no such problem
    else:
        assert float(tf.reduce_max(residual)) <= 1e-5
    if not factorizer.signed_coefficients:
        assert float(tf.reduce_min(u)) >= 0.0
    decoded = found.decode(u).numpy()
    np.testing.assert_allclose(decoded, found.explained(u) + found.offset, rtol=0.0, atol=1e-6)
    error = np.linalg.norm(rows - decoded) / np.linalg.norm(rows)
    np.testing.assert_allclose(found.relative_error, error, rtol=1e-2)
    assert error < 1.0

    maps, _ = found.encode(rows.reshape(5, 6, 5, 30))
    np.testing.assert_allclose(tf.reshape(maps, [150, 5]), u, rtol=0.0, atol=1e-3)


def test_pca_is_the_best_of_all(noisy):
    """No U W + offset of rank k is nearer (Eckart & Young)."""
    errors = {f.name: f.fit(noisy, 5).relative_error for f in EVERY}
    assert errors["pca"] == min(errors.values())
    assert errors["semi-nmf"] <= 1.02 * errors["nmf"]  # it has the larger set to choose from
    assert errors["kmeans"] == max(errors.values())


def test_semi_nmf_descends(rng):
    rows = rng.standard_normal((100, 12)).astype(np.float32)
    errors = [SemiNMF(n, tolerance=0.0).fit(rows, 4).relative_error for n in (1, 2, 4, 8, 32)]
    assert all(after < before for before, after in pairwise(errors))
    found = SemiNMF().fit(rows, 4)
    assert found.iterations > 4
    assert found.relative_error <= 1.01 * errors[-1]


def test_semi_nmf_explains_planted_factors(rng):
    """All but 2% of them; which factors it finds is not unique, as W may have any sign."""
    planted = planted_factorization(rng, n=200, k=4, c=24)
    bank = rng.standard_normal((4, 24)).astype(np.float32)
    found = SemiNMF(max_iter=2000, tolerance=1e-8).fit(planted.coefficients @ bank, 4)
    assert found.relative_error <= 0.02


def test_small_rank_is_said():
    rows = np.random.default_rng(0).random((40, 2)) @ np.random.default_rng(1).random((2, 12))
    with pytest.warns(
        UserWarning, match=r"bank of 6 concepts has rank \d only.*at most \d concepts"
    ):
        NMF(max_iter=3000).fit(np.concatenate([rows, rows])[:, [0, 1] * 6], 6)


@every_factorizer
@pytest.mark.parametrize("exponent", [-9, 3, 6, 12])
def test_the_scale_of_activations_does_not_matter(noisy, factorizer, exponent):
    """No layer promises activations around 1."""
    expected = factorizer.fit(noisy, 5)
    scaled = factorizer.fit(noisy * np.float32(10.0**exponent), 5)
    np.testing.assert_allclose(scaled.relative_error, expected.relative_error, rtol=1e-3)
    cosines, _ = matched_cosines(scaled.bank.astype(np.float64), expected.bank)
    assert cosines.min() >= 0.99


@every_factorizer
@pytest.mark.parametrize("k", [5, 34])
def test_same_seed_same_bits(noisy, factorizer, k):
    if isinstance(factorizer, PCA) and k > noisy.shape[1]:
        with pytest.raises(ValueError, match=r"at most min\(crops, channels\) = 30.*received 34"):
            factorizer.fit(noisy, k)
        return
    if isinstance(factorizer, SemiNMF):
        factorizer = SemiNMF(max_iter=3, tolerance=0.0)  # for the time it takes
    first, again = (factorizer.fit(noisy, k, seed=3) for _ in range(2))
    assert first.bank.tobytes() == again.bank.tobytes()
    assert first.relative_error == again.relative_error


# ------------------------------------------------------------------ refusals
@every_factorizer
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(factorizer, value):
    rows = np.ones((6, 5), np.float32)
    rows[2, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        factorizer.fit(rows, 2)


@every_factorizer
def test_rows_of_zeros_alone(factorizer):
    with pytest.raises(ValueError, match=r"All activations are 0.*preprocessing"):
        factorizer.fit(np.zeros((6, 5), np.float32), 2)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"max_iter": 10.0}, TypeError, "max_iter must be an integer"),
        ({"tolerance": -1e-4}, ValueError, "tolerance"),
        ({"tolerance": np.nan}, ValueError, "tolerance"),
        ({"tolerance": "small"}, (TypeError, ValueError), "tolerance"),
    ],
)
def test_bad_settings(settings, error, message):
    for factorizer in (NMF, SignedNMF, SemiNMF):
        with pytest.raises(error, match=message):
            factorizer(**settings)


def test_settings_are_shown():
    nmf = NMF(max_iter=5, tolerance=1e-3, solver="hals")
    assert repr(nmf) == "NMF(max_iter=5, tolerance=0.001, solver='hals')"
    assert repr(SignedNMF(solver="hals")).startswith("SignedNMF(max_iter=1000, tolerance=1e-06, ")
    assert repr(SemiNMF(max_iter=5, tolerance=1e-3)) == "SemiNMF(max_iter=5, tolerance=0.001)"
    assert repr(KMeans(max_iter=5, restarts=2)) == "KMeans(max_iter=5, restarts=2)"
    assert repr(PCA()) == "PCA()"


# ------------------------------------------------------------------ by name
def test_factorizers_by_name():
    for factorizer in EVERY:
        assert type(get_factorizer(factorizer.name)) is type(factorizer)
        assert type(get_factorizer(factorizer.name.upper())) is type(factorizer)
        assert get_factorizer(factorizer) is factorizer
        assert isinstance(factorizer, Factorizer)


@pytest.mark.parametrize("name", FACTORIZERS)
def test_the_table_says_what_the_classes_say(name):
    entry, found = FACTORIZERS[name], type_of_factorizer(name)
    assert found.name == name
    assert found.__name__ == entry.class_name
    assert found.__module__ == f"xplique_craft.factorization.{entry.module}"
    assert found.requires_non_negative is entry.requires_non_negative
    assert getattr(factorization, entry.class_name) is found
    assert entry.class_name in factorization.__all__


def test_unknown_factorizers():
    assert type_of_factorizer("nmff") is None
    with pytest.raises(ValueError, match=r"factorizer must be one of 'nmf'.*received 'nmff'"):
        get_factorizer("nmff")
    for wrong in (NMF, None, 3):
        with pytest.raises(TypeError, match="factorizer must be a name or a Factorizer"):
            get_factorizer(wrong)


def test_k_means_of_very_large_rows(rng: np.random.Generator) -> None:
    """Whose squares no float32 holds; scaled by a power of two they give the same clusters."""
    rows = rng.random((20, 5)).astype(np.float32)
    large, small = (KMeans().fit(rows * np.float32(2.0**power), 3) for power in (120, 0))
    np.testing.assert_array_equal(large.bank, small.bank * np.float32(2.0**120))
    assert large.relative_error == small.relative_error
