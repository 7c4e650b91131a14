"""Gates: f_x(m) is h(sum_j m_j u_j W_j + E), whatever the bank, the head and the batch."""

from typing import Any

import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from xplique.commons import Tasks

from xplique_craft.gates import Coded, GatedHead

CASES = [(head, latent) for head in planted.HEADS for latent in planted.LATENTS]
WEIGHTS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.3, 0.0, 2.0]], np.float32)


class Case:
    """A craft whose bank misses a concept, so that there is a residual, and three images."""

    def __init__(self, head: str, latent: str) -> None:
        mixing = planted.bank(concepts=4, channels=6)
        self.head = head
        self.images = planted.paintings(3, concepts=4)
        self.model = planted.network(mixing, head, latent=latent)
        self.craft = planted.fitted(self.model, mixing[:3], self.images)
        self.bank = self.craft.factorized.bank

    def gated(self, batch_size: int = 64, operator: Any = None) -> GatedHead:
        return GatedHead(self.craft.network, operator, batch_size)

    def coded(self, keep_residual: bool = True) -> Coded:
        return planted.coded(self.craft, self.images, WEIGHTS, keep_residual=keep_residual)

    def expected(self, gates: np.ndarray, keep_residual: bool = True) -> np.ndarray:
        """f_x(m), (n, q), by NumPy, from coefficients and activations."""
        coded = self.coded()
        u, bank = coded.u.numpy().astype(np.float64), self.bank.astype(np.float64)
        residual = coded.activations.numpy() - u @ bank if keep_residual else 0.0
        columns = []
        for q in range(gates.shape[1]):
            at = gates[:, q].reshape(len(u), *[1] * (u.ndim - 2), -1)
            logits = planted.logits_by_numpy(self.head, self.model, (at * u) @ bank + residual)
            columns.append((logits * WEIGHTS).sum(axis=1))
        return np.stack(columns, axis=1)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


@pytest.fixture
def gates(rng: np.random.Generator) -> np.ndarray:
    """(3, 7, 3): other gates for every image, none and all among them."""
    gates = rng.random((3, 7, 3)).astype(np.float32)
    gates[:, 0], gates[:, 1] = 0.0, 1.0
    return gates


def test_the_case_is_not_trivial(case: Case) -> None:
    coded = case.coded()
    residual = coded.activations - coded.u.numpy() @ case.bank
    assert float(tf.norm(residual) / tf.norm(coded.activations)) > 0.01
    assert coded.u.shape[-1] == 3
    assert (coded.u.numpy() > 0).any(axis=tuple(range(coded.u.shape.rank - 1))).all()
    ends = case.expected(np.stack([np.zeros((3, 3)), np.ones((3, 3))], axis=1))
    assert np.abs(ends[:, 1] - ends[:, 0]).min() > 0.01


@pytest.mark.parametrize("keep_residual", [True, False])
def test_it_is_the_head_of_gated_concepts(
    case: Case, gates: np.ndarray, keep_residual: bool
) -> None:
    values = case.gated().evaluate(case.coded(keep_residual), gates)
    assert_allclose(values, case.expected(gates, keep_residual), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 21, 1000])
def test_the_batch_size_does_not_matter(case: Case, gates: np.ndarray, batch_size: int) -> None:
    values = case.gated(batch_size).evaluate(case.coded(), gates)
    assert_allclose(values, case.expected(gates), rtol=1e-5, atol=1e-5)


def test_an_image_does_not_depend_on_its_neighbours(case: Case, gates: np.ndarray) -> None:
    together = case.gated(5).evaluate(case.coded(), gates)
    alone = case.coded().rows(np.array([2]))
    assert_array_equal(alone.indices, [2])
    values = case.gated(5).evaluate(alone, gates[2:])
    assert_allclose(values, together[2:], rtol=1e-5, atol=1e-6)


def test_the_same_gates_for_all_images(case: Case, gates: np.ndarray) -> None:
    values = case.gated().evaluate(case.coded(), gates[0])
    repeated = np.broadcast_to(gates[0], gates.shape)
    assert_allclose(values, case.expected(repeated), rtol=1e-5, atol=1e-5)


def test_with_the_residual_all_gates_open_give_the_models_own_score(case: Case) -> None:
    own = (case.model(case.images).numpy() * WEIGHTS).sum(axis=1)
    values = case.gated().evaluate(case.coded(), np.ones((1, 3)))[:, 0]
    assert np.all(np.abs(values - own) <= 1e-4 * np.maximum(1.0, np.abs(own)))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_that_holds_for_any_bank(case: Case, rng: np.random.Generator, scale: float) -> None:
    """Two random rows, one of them twice, and one of zeros."""
    rows = scale * rng.random((2, case.bank.shape[1]))
    odd = np.concatenate([rows, rows[:1], np.zeros_like(rows[:1])])
    craft = planted.fitted(case.craft.split, odd, case.images)
    coded = planted.coded(craft, case.images, WEIGHTS)
    own = (case.model(case.images).numpy() * WEIGHTS).sum(axis=1)
    values = case.gated().evaluate(coded, np.ones((1, 4)))[:, 0]
    assert np.all(np.abs(values - own) <= 1e-4 * np.maximum(1.0, np.abs(own)))


def test_without_the_residual_closed_gates_are_no_activation(case: Case) -> None:
    coded, head = case.coded(keep_residual=False), case.gated()
    nothing = planted.logits_by_numpy(case.head, case.model, np.zeros_like(coded.activations))
    expected = (nothing * WEIGHTS).sum(axis=1)
    assert_allclose(head.evaluate(coded, np.zeros((1, 3)))[:, 0], expected, atol=1e-5)
    assert_allclose(head.baseline(coded), expected, atol=1e-5)


def test_slopes_are_derivatives_by_the_gates(case: Case) -> None:
    coded, step = case.coded(), 1e-4
    slopes = case.gated().slopes(coded, np.array([0.4]), np.ones(1))
    for j in range(3):
        ends = np.full((3, 2, 3), 0.4)
        ends[:, :, j] += [step, -step]
        values = case.expected(ends)
        expected = (values[:, 0] - values[:, 1]) / (2 * step)
        assert_allclose(slopes[:, j], expected, rtol=1e-3, atol=1e-4)


def test_the_affine_form_where_the_head_is_affine(case: Case, gates: np.ndarray) -> None:
    head = case.gated()
    assert head.affine == (case.head == "affine")
    if not head.affine:
        return
    slopes, constant = head.affine_form(case.coded())
    values = np.einsum("nqk,nk->nq", gates, slopes) + constant[:, None]
    assert_allclose(values, case.expected(gates), rtol=1e-5, atol=1e-5)


def test_evaluations_are_counted(case: Case, gates: np.ndarray) -> None:
    head = case.gated(batch_size=4)
    head.evaluate(case.coded(), gates)
    assert head.evaluations == (6 if head.affine else 21)  # the affine form: slopes and constants


@pytest.mark.parametrize(
    "operator",
    ["classification", Tasks.CLASSIFICATION, planted.by_sampling],
    ids=["name", "task", "function"],
)
def test_operators_that_are_the_default_score(
    case: Case, gates: np.ndarray, operator: object
) -> None:
    values = case.gated(operator=operator).evaluate(case.coded(), gates)
    assert_allclose(values, case.expected(gates), rtol=1e-5, atol=1e-5)


def test_an_operator_of_ones_own(case: Case, gates: np.ndarray) -> None:
    """It is not affine though the head may be."""

    def squared(model: Any, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return tf.square(tf.reduce_sum(model(inputs) * targets, axis=-1))

    head = case.gated(operator=squared)
    assert not head.affine
    values = head.evaluate(case.coded(), gates)
    assert_allclose(values, case.expected(gates) ** 2, rtol=1e-4, atol=1e-4)


def test_gates_for_many_images_are_evaluated_in_bounded_batches() -> None:
    """The head never sees more than batch_size activations at once."""
    seen: list[int] = []

    def watched(model: object, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda x: seen.append(len(x)), [inputs], [])
        return planted.by_sampling(model, inputs, targets)

    case = Case("relu", "pooled")
    head = case.gated(batch_size=8, operator=watched)
    values = head.evaluate(case.coded(), np.ones((3, 11, 3), np.float32))
    assert values.shape == (3, 11)
    assert sum(seen) == 33
    assert max(seen) == 8
