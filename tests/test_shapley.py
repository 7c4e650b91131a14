"""Shapley values: subsets, permutations, axioms, brute force over all orders."""

import itertools

import numpy as np
import planted
import pytest
from importances import BANK, Case, coverage, third_order
from numpy.testing import assert_allclose, assert_array_equal

from xplique_craft.importance import ShapleyImportance
from xplique_craft.importance.shapley import subset_weights


@pytest.fixture
def never_enumerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permutations for any number of concepts."""
    monkeypatch.setattr("xplique_craft.importance.shapley.MOST_ENUMERATED", 0)


@pytest.fixture(scope="module", params=["relu-map", "relu-pooled", "attention-map"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param.split("-"))


def over_all_orders(case: Case) -> np.ndarray:
    """(5, 3): mean of what a concept adds to those before it, residual kept."""
    u = case.u.astype(np.float64)
    coded = planted.coded(case.craft, case.images)
    residual = coded.constant.numpy()

    def score(open_gates: tuple[int, ...]) -> np.ndarray:
        gates = np.isin(np.arange(3), open_gates)
        activations = (u * gates) @ BANK[:3].astype(np.float64) + residual
        return planted.logits_by_numpy(case.head, case.model, activations)[:, 0]

    phi = np.zeros((5, 3))
    for order in itertools.permutations(range(3)):
        for place, j in enumerate(order):
            phi[:, j] += (score(order[: place + 1]) - score(order[:place])) / 6.0
    return phi


def test_subsets_are_all_orders(case: Case) -> None:
    importance = ShapleyImportance(case.craft).summary(case.images)
    assert_allclose(importance.per_image, over_all_orders(case), atol=2e-5)
    assert importance.exact
    assert importance.signed
    assert importance.evaluations == 5 * 8


@pytest.mark.usefixtures("never_enumerated")
def test_permutations_come_near(case: Case) -> None:
    found = case.explain("shapley", nb_permutations=400, batch_size=4096)
    assert_allclose(found, over_all_orders(case), atol=0.02)


@pytest.mark.usefixtures("never_enumerated")
@pytest.mark.parametrize("pairs", [1, 4])
def test_permutations_are_efficient_however_few(case: Case, pairs: int) -> None:
    importance = ShapleyImportance(case.craft, pairs).summary(case.images)
    parts = importance.contributions
    total = parts.score - parts.base - parts.residual
    assert_allclose(importance.per_image.sum(axis=1), total, atol=2e-5)
    assert not importance.exact
    assert importance.evaluations == 5 * (2 * pairs * 2 + 2)
    assert np.isnan(importance.estimation_interval).all() == (pairs == 1)


@pytest.mark.usefixtures("never_enumerated")
def test_a_permutation_and_its_reverse_are_exact_for_pairs() -> None:
    """Each of two gates gets the interaction in one of the two orders."""

    def pairwise(m):
        return m[:, 0] * m[:, 1] - 2.0 * m[:, 1] * m[:, 2] + m[:, 3]

    craft, images = planted.function_craft(pairwise, 4)
    found = ShapleyImportance(craft, 1).explain(images)
    assert_allclose(found, [[0.5, -0.5, -1.0, 1.0]], atol=1e-6)


def test_weights_by_hand() -> None:
    """k = 2: phi_1 = 1/2 (f(1) - f()) + 1/2 (f(12) - f(2)); subsets (), 1, 2, 12."""
    assert_allclose(subset_weights(2), np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]) / 2.0)
    assert_allclose(subset_weights(1), [[-1.0], [1.0]])


@pytest.mark.parametrize("k", [1, 3, 7, 12])
def test_weights_satisfy_the_axioms(k: int) -> None:
    """Weights of every phi_j: they add to nothing, and all phi to f(1) - f(0)."""
    weights = subset_weights(k)
    assert_allclose(weights.sum(axis=0), 0.0, atol=1e-12)
    total = np.zeros(2**k)
    total[0], total[-1] = -1.0, 1.0
    assert_allclose(weights.sum(axis=1), total, atol=1e-12)
    assert_allclose(np.abs(weights).sum(axis=0), 2.0)


def test_more_than_twelve_concepts() -> None:
    """13 concepts, f = product of three of them plus a sum: 1/3 each, and what each adds."""

    def formula(m):
        return 3.0 * m[:, 0] * m[:, 1] * m[:, 2] + m[:, 3] - m[:, 12]

    craft, images = planted.function_craft(formula, 13, images=20)
    importance = ShapleyImportance(craft, 32, batch_size=8192).summary(images)
    expected = np.zeros(13)
    expected[[0, 1, 2, 3, 12]] = [1.0, 1.0, 1.0, 1.0, -1.0]
    assert not importance.exact
    assert importance.evaluations == 20 * (2 * 32 * 12 + 2)
    assert_allclose(importance.overall, expected, atol=0.06)
    assert_allclose(importance.per_image[:, 3:], np.tile(expected[3:], (20, 1)), atol=1e-5)
    assert_allclose(importance.per_image.sum(axis=1), 3.0, atol=1e-5)
    assert_array_equal(importance.sign[[0, 3, 12]], [1.0, 1.0, -1.0])


@pytest.mark.usefixtures("never_enumerated")
def test_intervals_cover() -> None:
    craft, images = planted.function_craft(third_order, 9, images=400)
    assert 0.86 <= coverage(ShapleyImportance(craft, 32, batch_size=8192), images) <= 0.94


@pytest.mark.usefixtures("never_enumerated")
def test_memory_is_bounded_by_chunks(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    whole = case.explain("shapley", nb_permutations=9)
    monkeypatch.setattr("xplique_craft.importance._draws._ENTRIES_AT_ONCE", 2 * 38 * 3)
    assert_allclose(case.explain("shapley", nb_permutations=9), whole, atol=1e-5)
