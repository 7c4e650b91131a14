"""Our coordinate descent: scikit-learn's iteration, so its loss, and never more."""

import numpy as np
import pytest
from models import planted_factorization
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import NMF as SklearnNMF

from xplique_craft.factorization import NMF
from xplique_craft.factorization.hals import hals, svd_start


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    found = planted_factorization(rng, n=400, k=6, c=40, noise=0.5).activations
    return (found / found.max()).astype(np.float32)


def loss(rows, u, bank):
    return 0.5 * np.square(rows - u @ bank, dtype=np.float64).sum()


def test_one_sweep_by_hand():
    """One column, two concepts: u_1 first, then u_2 from what is left, then W."""
    a = np.array([[4.0, 2.0]], np.float32)
    u, bank = np.array([[1.0, 1.0]], np.float32), np.array([[1, 0], [1, 1]], np.float32)
    found_u, found_w, iterations, _ = hals(a, u, bank, 1, 0.0)
    # G = [[1, 1], [1, 2]], B = (4, 6): u_1 = 4 - 1 = 3, u_2 = (6 - 3) / 2 = 1.5
    assert_allclose(found_u, [[3.0, 1.5]])
    # G = [[9, 4.5], [4.5, 2.25]], B = ((12, 6), (6, 3)):
    # w_1 = ((12, 6) - 4.5 (1, 1)) / 9, w_2 = ((6, 3) - 4.5 w_1) / 2.25
    first = np.array([7.5, 1.5]) / 9
    assert_allclose(found_w, [first, (np.array([6.0, 3.0]) - 4.5 * first) / 2.25], rtol=1e-6)
    assert iterations == 1


def test_it_goes_through_scikit_learns_factors(rows):
    u, bank = svd_start(rows, 6, seed=0)
    for steps in (1, 7, 60):
        found_u, found_w, _, _ = hals(rows, u, bank, steps, 0.0)
        other = SklearnNMF(6, init="custom", max_iter=steps, tol=0.0)
        other_u = other.fit_transform(rows, W=u.copy(), H=bank.copy())
        assert_allclose(found_w, other.components_, rtol=2e-3, atol=2e-4)
        assert_allclose(found_u, other_u, rtol=2e-3, atol=2e-4)


def test_the_loss_falls_with_every_sweep(rows):
    u, bank = svd_start(rows, 6, seed=0)
    losses = [loss(rows, u, bank)]
    for _ in range(15):
        u, bank, _, _ = hals(rows, u, bank, 1, 0.0)
        losses.append(loss(rows, u, bank))
    assert (np.diff(losses) <= 1e-4 * losses[0]).all()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("k", [1, 3, 12])
def test_both_solvers_reach_the_same_loss(rows, k):
    found = [NMF(max_iter=3000, solver=solver).fit(rows, k) for solver in ("hals", "sklearn")]
    assert found[0].relative_error == pytest.approx(found[1].relative_error, rel=1e-3)
    assert found[0].converged == (k < 12)  # more concepts than the rows hold: a long valley


def test_a_concept_that_died_stays_and_harms_no_other():
    rng = np.random.default_rng(1)
    rows = (rng.random((50, 2)) @ rng.random((2, 10))).astype(np.float32)
    bank = np.concatenate([rng.random((2, 10)), np.zeros((1, 10))]).astype(np.float32)
    u = np.concatenate([rng.random((50, 2)), np.zeros((50, 1))], axis=1).astype(np.float32)
    found_u, found_w, _, _ = hals(rows, u, bank, 500, 0.0)
    assert np.isfinite(found_u).all()
    assert np.isfinite(found_w).all()
    assert_array_equal(found_w[2], 0.0)
    assert loss(rows, found_u, found_w) < 1e-5


def test_the_start_is_non_negative_positive_and_seeded(rows):
    u, bank = svd_start(rows, 6, seed=3)
    assert u.min() > 0.0
    assert bank.min() > 0.0
    again = svd_start(rows, 6, seed=3)
    assert_array_equal(u, again[0])
    assert_array_equal(bank, again[1])
    assert u.shape == (400, 6)
    assert bank.shape == (6, 40)


def test_the_rule_for_small_problems():
    """Both give the same bank, so the rule shows in the iteration that is run: see the counts."""
    rng = np.random.default_rng(0)
    small = rng.random((30, 8)).astype(np.float32)
    auto, chosen = NMF().fit(small, 3), NMF(solver="sklearn").fit(small, 3)
    assert auto.iterations == chosen.iterations
    assert_array_equal(auto.bank, chosen.bank)
    large = rng.random((5000, 100)).astype(np.float32)
    auto = NMF(max_iter=5).fit(large, 5)
    assert_array_equal(auto.bank, NMF(max_iter=5, solver="hals").fit(large, 5).bank)


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="'auto', 'sklearn' or 'hals', received 'mu'"):
        NMF(solver="mu")
