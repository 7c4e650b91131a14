"""C-Deletion, C-Insertion, C-MuFidelity: by hand, optimum, worst, floor, what changes nothing."""

import itertools
import tracemalloc
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import planted
import pytest
import tensorflow as tf
from importances import BANK, Case
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from xplique.metrics.base import ExplanationMetric

import xplique_craft as xc
from xplique_craft import plots
from xplique_craft.metrics import ConceptDeletion, ConceptInsertion, ConceptMuFidelity
from xplique_craft.metrics.orders import (
    along_table,
    extreme_order,
    number_of_orders,
    tied_orders,
    weights_of_orders,
)
from xplique_craft.metrics.ranks_and_areas import levels
from xplique_craft.results import ImportanceFidelity

CURVES = (ConceptDeletion, ConceptInsertion)
METRICS = (*CURVES, ConceptMuFidelity)
every_metric = pytest.mark.parametrize("metric", METRICS)
TARGET = xc.ClassDifference(1, 2)  # which the planted concepts speak for


@pytest.fixture(scope="module")
def affine() -> Case:
    return Case("affine", "map")


@pytest.fixture(scope="module")
def relu() -> Case:
    return Case("relu", "map")


# -------------------------------------------------------------------------------------- by hand
def two(m: Any) -> Any:
    """f_x(m) = 1 + 3 m_1 + m_2."""
    return 1.0 + 3.0 * m[:, 0] + m[:, 1]


def both(m: Any) -> Any:
    """f_x(m) = m_1 m_2 + m_1."""
    return m[:, 0] * m[:, 1] + m[:, 0]


BY_HAND = [
    # Taken out: 5, 2, 1. Area (5 + 2) / 4 + (2 + 1) / 4 = 2.5, and (2.5 - 1) / (5 - 1).
    (two, ConceptDeletion, [3.0, 1.0], 0.375, [1.0, 0.25, 0.0]),
    # In the wrong order: 5, 4, 1. Area 9/4 + 5/4 = 3.5.
    (two, ConceptDeletion, [1.0, 3.0], 0.625, [1.0, 0.75, 0.0]),
    # Put in: 1, 4, 5. Area 5/4 + 9/4.
    (two, ConceptInsertion, [3.0, 1.0], 0.625, [0.0, 0.75, 1.0]),
    (two, ConceptInsertion, [1.0, 3.0], 0.375, [0.0, 0.25, 1.0]),
    # 2, 0, 0 without the first; 2, 1, 0 without the second. Of 2.
    (both, ConceptDeletion, [2.0, 1.0], 0.25, [1.0, 0.0, 0.0]),
    (both, ConceptDeletion, [1.0, 2.0], 0.5, [1.0, 0.5, 0.0]),
    # 0, 1, 2 with the first first; 0, 0, 2.
    (both, ConceptInsertion, [2.0, 1.0], 0.5, [0.0, 0.5, 1.0]),
    (both, ConceptInsertion, [1.0, 2.0], 0.25, [0.0, 0.0, 1.0]),
]


@pytest.mark.parametrize("metric", CURVES)
@pytest.mark.parametrize("formula", [two, both])
def test_by_hand(formula: Any, metric: Any) -> None:
    """Of one order and the other, of which one is the optimum and one the worst."""
    craft, images = planted.function_craft(formula, 2, images=3)
    measured = metric(craft, images)
    cases = [case[2:] for case in BY_HAND if case[:2] == (formula, metric)]
    values = sorted(-measured.better * expected for _, expected, _ in cases)
    for importances, expected, curve in cases:
        found = measured.evaluate(importances)
        assert isinstance(found, float)
        assert found == pytest.approx(expected, abs=1e-6)
        assert measured(np.tile(importances, (3, 1))) == found
        assert metric(craft, images[:1]).evaluate(importances) == pytest.approx(found, abs=1e-6)
        detailed = measured.detailed_evaluate(importances)
        assert list(detailed) == [0, 1, 2]
        assert_allclose(list(detailed.values()), curve, atol=1e-6)
        summary = measured.summary(importances)
        ends = [-measured.better * summary.optimum, -measured.better * summary.worst]
        assert_allclose(ends, values, atol=1e-6)
        assert_allclose(summary.curve, curve, atol=1e-6)


def test_images_count_by_what_they_gain() -> None:
    """
    f = 4 m_1 + m_2 for one image and a tenth for another, opposite orders: the sums of areas above
    f(0), (4 / 2 + 5 / 4) - ..., over the sum of gains, not the mean of both shares.
    """
    craft, _ = planted.function_craft(lambda m: 4.0 * m[:, 0] + m[:, 1], 2)
    images = np.ones((2, 2, 2, 2), np.float32)
    images[1] *= 0.1
    importances = [[2.0, 1.0], [1.0, 2.0]]
    # Deletion: 5, 1, 0 -> 1.75 of 5; and 0.5, 0.4, 0 -> 0.325 of 0.5.
    found = ConceptDeletion(craft, images).evaluate(importances)
    assert found == pytest.approx((1.75 + 0.325) / 5.5, abs=1e-6)


def test_mu_fidelity_by_hand() -> None:
    """Sets of two concepts are worth 0, 3, 1 or 4: any importances in that order are perfect."""
    craft, images = planted.function_craft(two, 2, images=4)
    measured = ConceptMuFidelity(craft, images, subset_share=0.5)
    assert measured.evaluate([5.0, 1.0]) == pytest.approx(1.0, abs=1e-12)
    assert measured.evaluate([-5.0, -1.0]) == pytest.approx(-1.0, abs=1e-12)
    assert measured.evaluate([1.0, 5.0]) < 0.9
    assert measured.evaluate([0.0, 0.0]) == 0.0
    subsets = measured._drawn(np.arange(4))
    lost = subsets @ np.array([3.0, 1.0])
    by_scipy = [spearmanr(s @ [1.0, 5.0], row)[0] for s, row in zip(subsets, lost, strict=True)]
    assert measured.evaluate([1.0, 5.0]) == pytest.approx(np.mean(by_scipy), abs=1e-9)


# ------------------------------------------------------------------- optimum, worst and the floor
@every_metric
@pytest.mark.parametrize(
    "method", ["gradient input", "integrated gradients", "occlusion", "shapley", "banzhaf"]
)
@pytest.mark.parametrize("keep_residual", [True, False])
def test_affine_heads_give_them_all_the_optimum(
    affine: Case, metric: Any, method: str, keep_residual: bool
) -> None:
    """Holistic's theorem, but for rounding: the slopes are what these methods find."""
    settings = {"keep_residual": keep_residual}
    found = affine.explain(method, TARGET, **settings)
    measured = metric(affine.craft, affine.images, TARGET, **settings)
    summary = measured.summary(found)
    assert summary.estimate.value == pytest.approx(summary.optimum, abs=1e-14)
    assert measured.evaluate(-found) == pytest.approx(summary.worst, abs=1e-12)
    assert summary.optimum == pytest.approx(1.0) or metric is not ConceptMuFidelity
    assert np.sign(summary.optimum - summary.worst) == measured.better
    assert summary.of_the_way == pytest.approx(1.0)


def test_random_orders_of_an_affine_head_are_half(affine: Case) -> None:
    """Half a concept's share is gone half way, whatever the concepts are."""
    for metric in CURVES:
        summary = metric(affine.craft, affine.images, TARGET, nb_random=1000).summary(
            np.ones((5, 3))
        )
        assert summary.random.value == pytest.approx(0.5, abs=0.01)
        assert summary.random.low < 0.45
        assert summary.random.high > 0.55
        assert_allclose(
            summary.random_curve[0],
            summary.random_curve[0, 0] - np.linspace(0, 1, 4)
            if metric is ConceptDeletion
            else np.linspace(0, 1, 4),
            atol=0.02,
        )


@pytest.mark.parametrize("k", [1, 3, 4])
def test_dynamic_programming_is_all_orders(k: int) -> None:
    table = np.random.default_rng(k).standard_normal((5, 2**k))
    orders = np.array(list(itertools.permutations(range(k))))
    every = along_table(table, np.broadcast_to(orders, (5, *orders.shape)))
    for s, subset in enumerate(itertools.product([0, 1], repeat=k)):  # bit j is concept j
        assert s == sum(bit << j for j, bit in enumerate(reversed(subset)))
    areas = (every[..., 1:] + every[..., :-1]).mean(axis=-1) / 2.0
    for highest, best in ((True, areas.max(axis=1)), (False, areas.min(axis=1))):
        order = extreme_order(table, highest=highest)
        curve = along_table(table, order[:, None])[:, 0]
        assert_allclose((curve[:, 1:] + curve[:, :-1]).mean(axis=-1) / 2.0, best)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_the_optimum_of_heads_that_bend(relu: Case, activation: str | None) -> None:
    """By all orders of three concepts, each as importances."""
    for metric in CURVES:
        measured = metric(relu.craft, relu.images, 1, activation=activation)
        areas = np.stack(
            [
                measured.summary(np.array(order, float)).per_image
                for order in itertools.permutations(range(3))
            ]
        )
        summary = measured.summary(np.arange(3.0))
        closed, opened = summary.ends
        gained = (opened - closed).sum()
        ends = [(one(areas, axis=0) - closed).sum() / gained for one in (np.min, np.max)]
        assert_allclose([summary.optimum, summary.worst], ends[:: -measured.better], atol=1e-6)


@pytest.mark.parametrize("metric", CURVES)
@pytest.mark.parametrize("head", ["affine", "relu"])
def test_the_best_order_for_all_images(affine: Case, relu: Case, metric: Any, head: str) -> None:
    """By all orders; and it is not the best of an order for each image."""
    case, targets = (affine, TARGET) if head == "affine" else (relu, 1)
    images = case.images * np.random.default_rng(0).random((5, 1, 1, 4), np.float32) ** 3
    measured = metric(case.craft, images, targets)
    orders = itertools.permutations([0.0, 1.0, 2.0])
    values = np.array([measured.evaluate(order) for order in orders])
    summary, of_each = measured.summary(np.arange(3.0)), measured.summary(np.ones((5, 3)))
    assert (summary.shared, of_each.shared) == (True, False)
    ends = np.array([values.min(), values.max()])[:: -metric.better]
    assert_allclose([summary.optimum, summary.worst], ends, atol=1e-6)
    assert "one importance for all" in summary.table()
    assert "an importance for each" in of_each.table()
    assert metric.better * of_each.optimum > metric.better * summary.optimum + 1e-4
    assert_allclose((summary.optimum_curve[1:] + summary.optimum_curve[:-1]).mean() / 2, ends[0])


# Which similar images of many concepts speak for.
FOR = {"affine": xc.ClassDifference(2, 1), "relu": xc.ClassDifference(1, 2)}


def many(k: int, n: int, head: str) -> tuple[xc.Craft, np.ndarray]:
    """Similar images of many concepts: one order is much like another one's in the next image."""
    images = planted.paintings(n, size=(2, 2), concepts=k, seed=1)
    model = planted.network(planted.bank(k, k + 2), head, size=(2, 2))
    return planted.fitted(model, planted.bank(k, k + 2), images), images


@every_metric
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("head", ["affine", "relu"])
def test_random_importances_are_in_the_band(metric: Any, shared: bool, head: str) -> None:
    """Nine in ten of those of the same form, but for the error of 200 draws and 200 tries."""
    k, n = (6, 12) if head == "affine" else (4, 12)
    craft, images = many(k, n, head)
    measured = metric(craft, images, FOR[head], nb_random=200)
    rng = np.random.default_rng(0)
    shape = (200, 1 if shared else n, k)
    drawn = rng.permuted(np.broadcast_to(np.arange(k) ** 2.0, shape), axis=-1)
    band = measured.summary(drawn[0, 0] if shared else drawn[0]).random
    values = np.array([measured.evaluate(one[0] if shared else one) for one in drawn])
    assert ((band.low <= values) & (values <= band.high)).mean() == pytest.approx(0.9, abs=0.08)
    assert values.std() > 1e-3


def test_more_than_twelve_concepts_that_bend() -> None:
    craft, images = planted.function_craft(
        lambda m: ops.tanh(m[:, 0] + m[:, 1]) + m[:, 12] * m[:, 3], 13, images=2
    )
    measured = ConceptInsertion(craft, images, nb_random=8)
    importances = np.zeros(13)
    importances[[0, 1, 3, 12]] = [4.0, 3.0, 2.0, 1.0]
    summary = measured.summary(importances)
    assert summary.optimum is None
    assert summary.worst is None
    assert summary.optimum_curve is None
    assert np.isnan(summary.of_the_way)
    curve = [0.0, np.tanh(1.0), *[np.tanh(2.0)] * 2, *[np.tanh(2.0) + 1.0] * 10]
    assert_allclose(summary.curve, np.array(curve) / curve[-1], atol=1e-6)
    assert summary.random.value < summary.estimate.value
    assert "optimum" not in str(summary)


# --------------------------------------------------------------------- by the slow definition
def slow(case: Case, importances: np.ndarray, keep: bool, softmax: bool, insertion: bool) -> float:
    """The metric image by image and step by step in float64, of class 1."""
    residual = planted.coded(case.craft, case.images, keep_residual=keep).constant.numpy()
    above = gained = 0.0
    for i, row in enumerate(importances):
        order = sorted(range(3), key=lambda j: -row[j])
        scores = []
        for s in range(4):
            gates = np.array([float((j in order[:s]) == insertion) for j in range(3)])
            u = case.u[i].astype(np.float64) * gates
            activations = u @ BANK[:3].astype(np.float64) + residual[i]
            logits = planted.logits_by_numpy(case.head, case.model, activations[None])[0]
            scores.append((np.exp(logits) / np.exp(logits).sum() if softmax else logits)[1])
        closed, opened = (scores[0], scores[-1]) if insertion else (scores[-1], scores[0])
        above += sum(a + b for a, b in itertools.pairwise(scores)) / 6.0 - closed
        gained += opened - closed
    return above / gained


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("head", ["affine", "relu"])
def test_the_definition(affine: Case, relu: Case, head: str, keep: bool, softmax: bool) -> None:
    case = affine if head == "affine" else relu
    importances = np.random.default_rng(0).random((5, 3))
    sign = -1.0 if head == "affine" and not softmax else 1.0  # which raises the score
    targets = sign * planted.one_hot([1] * 5, 3)
    for metric in CURVES:
        measured = metric(
            case.craft,
            case.images,
            targets,
            activation="softmax" if softmax else None,
            keep_residual=keep,
        )
        expected = slow(case, importances, keep, softmax, metric is ConceptInsertion)
        assert measured.evaluate(importances) == pytest.approx(expected, abs=2e-5)


def test_mu_fidelity_by_its_definition(relu: Case) -> None:
    importances = np.random.default_rng(1).standard_normal((5, 3))
    measured = ConceptMuFidelity(relu.craft, relu.images, 1, nb_samples=30, subset_share=0.4)
    coded = planted.coded(relu.craft, relu.images)
    correlations = []
    for i, subsets in enumerate(measured._drawn(np.arange(5))):
        u = relu.u[i].astype(np.float64)
        rest = coded.constant[i].numpy()
        scores = [
            planted.logits_by_numpy("relu", relu.model, ((u * ~s) @ BANK[:3] + rest)[None])[0, 1]
            for s in [np.zeros(3, bool), *subsets]
        ]
        # The same sets are worth the same, to the last bit: no other scores are equal.
        which, lost = subsets @ [1, 2, 4], scores[0] - np.array(scores[1:])
        lost = np.array([lost[which == one].mean() for one in which])
        assert np.diff(np.unique(lost)).min() > 1e-4
        correlations.append(spearmanr(subsets @ importances[i], lost)[0])
    assert measured.evaluate(importances) == pytest.approx(np.mean(correlations), abs=1e-12)


def test_levels() -> None:
    values = np.array([[3.0, 1.0, 1.0 + 1e-9, 2.0, 3.0 - 1e-9], [0.0, 1e-9, 0.0, 5.0, 5.0]])
    found = levels(values, np.array([1e-6, 1e-10]))
    assert_array_equal(found, [[2, 0, 0, 1, 2], [0, 1, 0, 2, 2]])


def test_rounding_is_no_rank() -> None:
    """
    A ReLU that never bends: contributions are exact but for float32, which tells silent concepts
    from each other, and sets that differ in nothing else.
    """
    k, rng = 6, np.random.default_rng(0)
    present = rng.random((12, 1, 1, k)) < 0.4
    images = (rng.random((12, 2, 2, k)) * present).astype(np.float32)
    model = planted.function_network(
        lambda m: ops.relu(
            ops.sum(m * (1.0 + ops.arange(k, dtype="float32")), axis=1, keepdims=True) + 2.0
        )[:, 0],
        k,
    )
    craft = planted.fitted(model, np.eye(k), images)
    exact = images.mean(axis=(1, 2)) * (1.0 + np.arange(k))
    measured = ConceptMuFidelity(craft, images)
    assert measured.evaluate(exact) == pytest.approx(1.0, abs=1e-4)
    dust = exact + 1e-8 * rng.standard_normal(exact.shape) * exact.max()
    assert measured.evaluate(dust) == pytest.approx(1.0, abs=1e-4)


# ------------------------------------------------------------------------- what changes nothing
@every_metric
@pytest.mark.parametrize("head", ["affine", "relu"])
def test_what_changes_nothing(affine: Case, relu: Case, metric: Any, head: str) -> None:
    case = affine if head == "affine" else relu
    importances = np.random.default_rng(2).standard_normal((5, 3))

    def value(importances: Any, images: Any = case.images, **settings: Any) -> float:
        return metric(case.craft, images, TARGET, **settings).evaluate(importances)

    expected = value(importances)
    assert value(0.3 * importances) == pytest.approx(expected, abs=1e-12)  # sizes
    assert value(importances, batch_size=2) == pytest.approx(expected, abs=1e-6)
    tensors = value(tf.constant(importances), tf.constant(case.images))
    assert tensors == pytest.approx(expected, abs=1e-6)  # kinds
    operator = value(importances, operator=planted.by_sampling)
    assert operator == pytest.approx(expected, abs=1e-3 if metric is ConceptMuFidelity else 1e-5)
    assert value(importances[0]) == value(np.tile(importances[0], (5, 1)))
    shuffled = [3, 0, 4, 2, 1]
    if metric is not ConceptMuFidelity:  # whose sets are drawn for each image
        found = value(importances[shuffled], case.images[shuffled])
        assert found == pytest.approx(expected, abs=1e-6)


# -------------------------------------------------------------------------------------------- ties
@pytest.mark.parametrize("metric", CURVES)
@pytest.mark.parametrize("formula", [two, both])
def test_equal_importances_are_the_mean_of_their_orders(formula: Any, metric: Any) -> None:
    """Of two orders one is the best: equal importances are half way, whichever comes first."""
    craft, images = planted.function_craft(formula, 2, images=3)
    measured = metric(craft, images)
    expected = [case[3] for case in BY_HAND if case[:2] == (formula, metric)]
    for constant in (np.ones(2), np.zeros((3, 2))):
        assert measured.evaluate(constant) == pytest.approx(np.mean(expected), abs=1e-6)
    assert np.mean(expected) == 0.5 or formula is both


@pytest.mark.parametrize("metric", CURVES)
def test_ties_of_heads_that_bend(relu: Case, metric: Any) -> None:
    """All of them by hand; with importances of each image, ties of each image."""
    measured = metric(relu.craft, relu.images, 1)
    orders = np.array(list(itertools.permutations(range(3))), float)
    values = [measured.evaluate(order) for order in orders]
    assert measured.evaluate(np.ones(3)) == pytest.approx(np.mean(values), abs=1e-9)
    assert np.ptp(values) > 0.01
    first = [measured.summary(row).curves for row in ([3.0, 2, 1], [3.0, 1, 2])]
    rows = np.tile([[3.0, 1, 1]], (5, 1))
    rows[3] = [1, 2, 3]
    curves = measured.summary(rows).curves
    assert_allclose(np.delete(curves, 3, 0), np.delete(np.mean(first, axis=0), 3, 0), atol=1e-9)
    assert_array_equal(curves[3], measured.summary([1.0, 2, 3]).curves[3])


def test_which_orders_ties_allow() -> None:
    """Each once where they are few; else draws, that are keyed by the image."""
    rows = np.array([[1, 1, 1, 1, 0], [2, 1, 2, 1, 2], [5, 4, 3, 2, 1], [1, 1, 1, 1, 1.0]])
    allowed = number_of_orders(rows)
    assert_array_equal(allowed, [24, 12, 1, 120])
    weights = weights_of_orders(allowed, 24)
    assert_allclose(weights.sum(axis=1), 1.0)
    indices = np.array([7, 8, 9, 10])
    orders = tied_orders(rows, 0, indices, 24)
    for row, order, weight, number in zip(rows, orders, weights, allowed, strict=True):
        assert (np.diff(row[order], axis=1) <= 0).all()
        assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(5), (24, 1)))
        if number <= 24:
            assert len(np.unique(order[weight > 0], axis=0)) == (weight > 0).sum() == number
    assert_array_equal(orders[3, 12:], orders[3, :12, ::-1])  # reversed
    assert len(np.unique(orders[3], axis=0)) > 18
    assert_array_equal(tied_orders(rows[3:], 0, indices[3:], 24), orders[3:])
    assert (tied_orders(rows[3:], 0, indices[:1], 24) != orders[3:]).any()
    assert (tied_orders(rows[3:], 1, indices[3:], 24) != orders[3:]).any()
    assert_array_equal(tied_orders(rows[2:3], 0, indices[2:3], 1), [[np.arange(5)]])


@pytest.mark.parametrize("head", ["affine", "relu"])
def test_the_order_of_the_bank_says_nothing(head: str) -> None:
    """Ties of many concepts, with the bank in one order and another: exact where affine."""
    k = 7
    _, images = many(k, 6, head)
    bank = planted.bank(k, k + 2)
    model = planted.network(bank, head, size=(2, 2))
    importances = np.array([1.0, 0, 0, 0, 0, 0, 0])
    values = []
    for order in (np.arange(k), np.arange(k)[::-1], np.roll(np.arange(k), 3)):
        craft = planted.fitted(model, bank[order], images)
        measured = ConceptInsertion(craft, images, FOR[head])
        values.append(measured.evaluate(importances[order]))
        first = measured.evaluate(importances[order] - 1e-3 * np.arange(k))
        assert abs(values[-1] - first) > 0.01  # an order of the bank would tell
    assert np.ptp(values) < (1e-5 if head == "affine" else 5e-3)


def test_insertion_is_deletion_from_behind(relu: Case) -> None:
    importances = np.random.default_rng(3).standard_normal((5, 3))
    insertion = ConceptInsertion(relu.craft, relu.images, 1).summary(importances)
    deletion = ConceptDeletion(relu.craft, relu.images, 1).summary(-importances)
    assert_allclose(insertion.per_image, deletion.per_image, atol=1e-12)
    assert_allclose(insertion.optimum, deletion.worst, atol=1e-6)


@every_metric
def test_the_seed(relu: Case, metric: Any) -> None:
    first, again, other = (
        metric(relu.craft, relu.images, 1, seed=seed).summary(np.arange(3.0)) for seed in (3, 3, 4)
    )
    assert first.random == again.random
    assert first.random != other.random


def test_what_is_encoded_once(relu: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again for each question, where it needs more memory than may be kept; same numbers."""
    passes = []
    known = xc.Craft.variant

    def counted(self: Any, **settings: Any) -> Any:
        model = known(self, **settings)
        batches = model.batches

        def one(*arguments: Any, **more: Any) -> Any:
            passes.append(1)
            return batches(*arguments, **more)

        model.batches = one
        return model

    monkeypatch.setattr(xc.Craft, "variant", counted)
    found = []
    for _ in range(2):
        passes.clear()
        measured = ConceptInsertion(relu.craft, relu.images, 1, batch_size=2)
        found.append(
            [measured.evaluate(row) for row in np.eye(3)]
            + [measured.detailed_evaluate(np.ones(3))[1]]
        )
        found[-1].append(measured.summary(np.ones(3)).optimum)
        found[-1].append(len(passes))
        monkeypatch.setattr("xplique_craft.metrics.subset_scores.MOST_KEPT", 1)
    assert [one.pop() for one in found] == [1, 7]
    assert_allclose(*found, atol=1e-7)


def test_images_in_another_order_each_time(relu: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told where they are read more than once."""
    images = np.concatenate([relu.images * (1.0 + i / 10.0) for i in range(4)])
    dataset = tf.data.Dataset.from_tensor_slices(images).shuffle(20, seed=0).batch(4)
    assert ConceptInsertion(relu.craft, dataset, 1).evaluate(np.arange(3.0)) > 0.0
    monkeypatch.setattr("xplique_craft.metrics.subset_scores.MOST_KEPT", 1)
    for metric in METRICS:
        with pytest.raises(ValueError, match="another order, each time it is read"):
            metric(relu.craft, dataset, 1).summary(np.arange(3.0))


@every_metric
def test_blocks_change_nothing(
    affine: Case, relu: Case, metric: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image at a time."""
    cases = [(affine, np.eye(3)[[0, 1, 2, 0, 1]]), (relu, np.ones(3))]
    found = []
    for _ in range(2):
        for case, importances in cases:
            summary = metric(case.craft, case.images, TARGET, nb_random=8).summary(importances)
            found.append([summary.estimate.value, summary.random.low, summary.random.value])
        monkeypatch.setattr("xplique_craft.metrics.subset_scores.MOST_ENTRIES", 1)
        monkeypatch.setattr("xplique_craft.importance._draws._ENTRIES_AT_ONCE", 1)
    assert_allclose(found[:2], found[2:], atol=1e-6)


@pytest.mark.parametrize("metric", [ConceptDeletion, ConceptMuFidelity])
def test_memory_is_that_of_blocks(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all images at once, random sets or orders alone would need 8 n q k bytes, 20 MB."""
    k, n = 8, 1500
    craft, _ = planted.function_craft(lambda m: ops.sum(m, axis=1), k)
    images = np.random.default_rng(0).random((n, 2, 2, k), np.float32)
    monkeypatch.setattr("xplique_craft.metrics.subset_scores.MOST_ENTRIES", 50_000)
    monkeypatch.setattr("xplique_craft._intervals._BLOCK", 50_000)
    settings = {"nb_samples": 200} if metric is ConceptMuFidelity else {}
    measured = metric(craft, images, nb_random=2 if settings else 200, **settings)
    measured.evaluate(np.zeros(k) + np.eye(k)[0])  # compiled
    tracemalloc.start()
    try:
        measured.summary(np.tile(np.eye(k)[0], (n, 1)))
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


def test_datasets_and_their_labels(relu: Case) -> None:
    labels = planted.one_hot([1] * 5, 3)
    dataset = tf.data.Dataset.from_tensor_slices((relu.images, labels)).batch(2)
    expected = ConceptDeletion(relu.craft, relu.images, 1).evaluate(np.arange(3.0))
    found = ConceptDeletion(relu.craft, dataset).evaluate(np.arange(3.0))
    assert found == pytest.approx(expected, abs=1e-6)


def test_children_of_a_concept() -> None:
    """Against the head of the children, set by set."""
    images = np.random.default_rng(0).random((6, 16, 24, 3)).astype(np.float32)
    craft = planted.convolutional_craft(images)
    children = craft.decompose(0, "half", 3, 50.0).for_class
    (coded,) = children.batches(images)
    order = [2, 0, 1]
    gates = np.array([[j in order[:s] for j in range(3)] for s in range(4)], np.float32)
    curves = children.head().evaluate(coded, gates).astype(np.float64)
    gained = (curves[:, 3] - curves[:, 0]).sum()
    above = (curves[:, 1:] + curves[:, :-1]).sum(axis=1) / 6.0 - curves[:, 0]
    found = ConceptInsertion(children, images).summary([2.0, 1.0, 3.0])
    assert found.estimate.value == pytest.approx(above.sum() / gained, abs=1e-5)
    assert found.worst < found.optimum


# ------------------------------------------------------------------------------- what it is told
@every_metric
def test_it_is_a_metric_of_xplique(relu: Case, metric: Any) -> None:
    measured = metric(relu.craft, relu.images, None, 7, activation="softmax")
    assert isinstance(measured, ExplanationMetric)
    assert measured.batch_size == 7
    assert measured.inputs is relu.images
    assert measured.targets is None
    assert_allclose(measured.model(relu.images).numpy().sum(axis=1), 1.0, rtol=1e-5)
    assert metric(relu.craft, relu.images).model is relu.craft.model
    one_hot = tf.constant(planted.one_hot([1] * 5, 3))
    found = measured.inference_function(relu.craft.model, tf.constant(relu.images), one_hot)
    assert found.shape == (5,)


def test_summaries(relu: Case) -> None:
    for metric, words in ((ConceptDeletion, "low is good"), (ConceptInsertion, "high is good")):
        summary = metric(relu.craft, relu.images, 1).summary(np.arange(3.0))
        assert isinstance(summary, ImportanceFidelity)
        assert summary.curves.shape == (5, 4)
        assert summary.random_curve.shape == (3, 4)
        estimate = summary.estimate
        assert estimate.low < estimate.value < estimate.high
        for said in (str(summary), summary.table()):
            assert words in said
            assert f"{summary.optimum:.3f}" in said
            assert f"{summary.random.low:.3f}" in said
        told = "other authors count C-Deletion the other way round" in summary.table()
        assert told == (metric is ConceptDeletion)
        ends = (1.0, 0.0) if metric is ConceptDeletion else (0.0, 1.0)
        assert_allclose(summary.curve[[0, -1]], ends, atol=1e-6)
    summary = ConceptMuFidelity(relu.craft, relu.images, 1).summary(np.arange(3.0))
    assert summary.curves is None
    assert summary.optimum is None
    assert "high is good" in str(summary)
    with pytest.raises(ValueError, match=r"C-MuFidelity has no curves"):
        _ = summary.ends


@pytest.mark.parametrize("metric", CURVES)
def test_where_there_is_nothing_to_tell(affine: Case, metric: Any) -> None:
    """Concepts that do nothing, or lower the score: directions would turn."""
    craft, images = planted.function_craft(lambda m: 3.0 + 0.0 * m[:, 0], 2)
    for measured, importances in (
        (metric(craft, images), [1.0, 2.0]),
        (metric(affine.craft, affine.images, xc.ClassDifference(2, 1)), np.ones(3)),
    ):
        with pytest.warns(UserWarning, match=r"concepts raise the score by .* is NaN"):
            assert np.isnan(measured.evaluate(importances))
        with pytest.warns(UserWarning, match=r"is not defined"):
            summary = measured.summary(importances)
        assert np.isnan(summary.curve).all()
        assert "not defined" in str(summary)
        with pytest.raises(ValueError, match=r"`result` must have curves"):
            plots.concept_curves(summary)
    assert ConceptMuFidelity(craft, images).evaluate([1.0, 2.0]) == 0.0


@every_metric
def test_wrong_arguments(relu: Case, metric: Any) -> None:
    craft, images = relu.craft, relu.images
    with pytest.raises(ValueError, match="activation must be None, 'softmax' or 'sigmoid'"):
        metric(craft, images, activation="relu")
    with pytest.raises(ValueError, match="nb_random must be at least 1"):
        metric(craft, images, nb_random=0)
    with pytest.raises(TypeError, match="keep_residual must be True or False"):
        metric(craft, images, keep_residual="no")
    with pytest.raises(TypeError, match="concepts must be a fitted Craft"):
        metric(relu.model, images)
    with pytest.raises(ValueError, match=r"operator must be .* it raised"):
        metric(craft, images, operator=lambda model, inputs, targets: 1 / 0)
    measured = metric(craft, images)
    with pytest.raises(ValueError, match=r"importances must have shape \(3,\), .* or \(5, 3\)"):
        measured.evaluate(np.ones((4, 3)))
    with pytest.raises(ValueError, match="importances must be finite"):
        measured.evaluate([1.0, np.nan, 0.0])
    with pytest.raises(ValueError, match="targets must be"):
        metric(craft, images, np.ones((4, 3)))


# ---------------------------------------------------------------------------------------- figure
def test_the_figure(relu: Case) -> None:
    for metric, words in ((ConceptDeletion, "taken out"), (ConceptInsertion, "put in")):
        summary = metric(relu.craft, relu.images, 1).summary(np.arange(3.0))
        ax = plots.concept_curves(summary)
        assert summary.direction in ax.get_title(loc="left")
        assert words in ax.get_xlabel()
        (drawn,) = [line for line in ax.lines if "this importance" in line.get_label()]
        assert_array_equal(drawn.get_ydata(), summary.curve)
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        assert any(f"{summary.optimum:.3f}" in label for label in labels)
        assert any(f"{summary.random.value:.3f}" in label for label in labels)
        ax.figure.canvas.draw()
    again = plots.concept_curves(summary, ax=ax)
    assert again is ax
    assert plt.get_fignums() == []
    with pytest.raises(ValueError, match="received C-MuFidelity"):
        plots.concept_curves(ConceptMuFidelity(relu.craft, relu.images, 1).summary(np.ones(3)))
