"""The derivative of the encoding: implicit = central differences = unrolled = closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from derivatives import gradients
from models import convolution_model, dependent_bank, random_bank
from reference import central_differences, implicit_jacobian, nnls_rows, unit_rows, unrolled_nnls

from xplique_craft.factorization.implicit import encode, encode_rows

MARGIN = 0.02


def jacobian(activations, bank):
    """du/da (n, k, c): rows do not depend on each other."""
    columns = [
        gradients(activations, bank, np.broadcast_to(unit, (len(activations), len(bank))))[1]
        for unit in np.eye(len(bank))
    ]
    return np.stack(columns, axis=1)


def strict_rows(rng, bank, n):
    """Rows at which complementarity is strict by a margin, and their solutions."""
    rows = np.abs(rng.standard_normal((60 * n, bank.shape[1])))
    u = nnls_rows(rows, bank)
    directions, norms = unit_rows(bank)
    slack = (u @ bank - rows) @ directions.T
    distance = np.where(u > 0.0, u * norms, slack).min(axis=1)
    chosen = np.flatnonzero(distance > MARGIN)[:n]
    assert len(chosen) == n
    return rows[chosen], u[chosen]


@pytest.fixture
def problem(rng):
    """Six rows of strict complementarity with their supports, a bank of 4 and a cotangent."""
    bank = random_bank(rng, 4, 10)
    activations, u = strict_rows(rng, bank, 6)
    assert len(np.unique(u > 0.0, axis=0)) > 1
    assert 0 < (u == 0.0).sum() < u.size
    return activations, bank, rng.standard_normal(u.shape), u


# ------------------------------------------------------------------ four ways to the derivative
def test_forward_is_the_solution(problem):
    activations, bank, cotangent, expected = problem
    u, *_ = gradients(activations, bank, cotangent)
    np.testing.assert_allclose(u, expected, rtol=1e-11, atol=1e-13)


def test_closed_form_by_activations(problem):
    activations, bank, _, u = problem
    expected = np.zeros((*u.shape, bank.shape[1]))
    for i, support in enumerate(u > 0.0):
        inside = bank[support]
        expected[i, support] = np.linalg.solve(inside @ inside.T, inside)
    found = jacobian(activations, bank)
    assert (found[u == 0.0] == 0.0).all()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())


def test_full_kkt_system_by_both(problem):
    activations, bank, cotangent, _ = problem
    by_rows = jacobian(activations, bank)
    for i, row in enumerate(activations):
        by_row, by_bank = implicit_jacobian(row, bank)
        np.testing.assert_allclose(by_rows[i], by_row, atol=1e-12 * np.abs(by_row).max())
        expected = np.tensordot(cotangent[i], by_bank, 1)
        *_, found = gradients(row[None], bank, cotangent[i : i + 1])
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())


def test_central_differences_by_activations(problem):
    activations, bank, _, _ = problem
    expected = np.stack(
        [central_differences(lambda x: nnls_rows(x[None], bank)[0], row) for row in activations]
    )
    found = jacobian(activations, bank)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6 * np.abs(expected).max())


def test_central_differences_by_bank(problem):
    activations, bank, cotangent, _ = problem
    expected = central_differences(
        lambda w: (nnls_rows(activations, w) * cotangent).sum(keepdims=True), bank
    )[0, 0]
    *_, found = gradients(activations, bank, cotangent)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6 * np.abs(expected).max())


def test_unrolled_solver_by_both(problem):
    activations, bank, cotangent, expected = problem

    @tf.function
    def unrolled(activations, bank):
        u = unrolled_nnls(activations, bank)
        return u, *tf.gradients(tf.reduce_sum(u * cotangent), [activations, bank])

    u, by_rows, by_bank = unrolled(tf.constant(activations), tf.constant(bank))
    np.testing.assert_allclose(u, expected, rtol=0.0, atol=1e-9)
    _, *found = gradients(activations, bank, cotangent)
    for ours, theirs in zip(found, (by_rows, by_bank), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-6 * np.abs(theirs).max())


def test_large_supports(rng):
    """Fifty concepts: supports of many sizes, solved together in several groups."""
    bank = random_bank(rng, 50, 128)
    activations = np.abs(rng.standard_normal((40, 128)))
    activations[:20] += rng.gamma(1.0, 1.0, (20, 50)) @ bank  # most of these need all concepts
    cotangent = rng.standard_normal((40, 50))
    u, by_rows, _ = gradients(activations, bank, cotangent)
    sizes = (u > 0.0).sum(axis=1)
    assert sizes.min() < 24 < 32 < sizes.max()
    for i, support in enumerate(u > 0.0):
        inside = bank[support]
        expected = np.linalg.solve(inside @ inside.T, cotangent[i, support]) @ inside
        np.testing.assert_allclose(by_rows[i], expected, atol=1e-11 * np.abs(expected).max())


# ------------------------------------------------------------------ identities
def test_the_fit_is_stationary_in_u(problem):
    """Envelope theorem: of L = 1/2 ||A - UW||^2, dL/dA = E and dL/dW = -U^T E."""
    activations, bank, _, u = problem
    rows, directions = tf.constant(activations), tf.constant(bank)

    @tf.function
    def differentiate(rows, directions):
        with tf.GradientTape() as tape:
            tape.watch([rows, directions])
            coefficients, _ = encode_rows(rows, directions)
            loss = 0.5 * tf.reduce_sum(tf.square(rows - coefficients @ directions))
        return tape.gradient(loss, (rows, directions))

    by_rows, by_bank = differentiate(rows, directions)
    error = activations - u @ bank
    np.testing.assert_allclose(by_rows, error, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(by_bank, -u.T @ error, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("exponent", [0, 6])
def test_euler_identities(problem, rng, exponent):
    """u is homogeneous of degree 1 in a, and of degree -1 in its own bank row alone."""
    activations, bank, cotangent, _ = problem
    bank = 10.0 ** rng.uniform(-exponent, exponent, (4, 1)) * bank
    u, by_rows, by_bank = gradients(activations, bank, cotangent)
    total = (u * cotangent).sum(axis=1)
    scale = np.abs(u * cotangent).sum()
    np.testing.assert_allclose((by_rows * activations).sum(1), total, atol=1e-11 * scale)
    expected = -(u * cotangent).sum(axis=0)
    np.testing.assert_allclose((by_bank * bank).sum(1), expected, atol=1e-12 * scale)


# ------------------------------------------------------------------ one concept
def test_one_concept(rng):
    bank = np.abs(rng.standard_normal((1, 7)))
    activations = rng.standard_normal((12, 7))
    cotangent = rng.standard_normal((12, 1))
    u, by_rows, by_bank = gradients(activations, bank, cotangent)
    square = (bank @ bank.T).item()
    dots = activations @ bank[0]
    on = (dots > 0.0)[:, None]
    assert on.any()
    assert not on.all()
    np.testing.assert_allclose(u, on * dots[:, None] / square, rtol=1e-12, atol=0.0)
    np.testing.assert_allclose(by_rows, on * cotangent * bank / square, rtol=1e-12, atol=0.0)
    slopes = activations / square - 2.0 * dots[:, None] * bank / square**2
    expected = (on * cotangent * slopes).sum(axis=0)
    np.testing.assert_allclose(by_bank[0], expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())


# ------------------------------------------------------------------ float32
def test_float32(problem):
    activations, bank, cotangent, _ = problem
    _, *exact = gradients(activations, bank, cotangent)
    _, *found = gradients(activations, bank, cotangent, np.float32)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-5 * np.abs(theirs).max())


# ------------------------------------------------------------------ degenerate, on purpose
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kink_has_the_derivative_with_the_coefficient_kept_at_zero(dtype):
    """u_2 = 0 and y_2 = 0: to one side u_2 grows; returned is the side where it stays 0."""
    for second in ([0.0, 1.0], [1.0, 1.0], [2.0, 0.5]):
        bank = np.array([[1.0, 0.0], second])
        row = np.array([[2.0, 0.0]])
        for unit, expected in ([[1.0, 0.0]], [[1.0, 0.0]]), ([[0.0, 1.0]], [[0.0, 0.0]]):
            u, by_row, _ = gradients(row, bank, unit, dtype)
            np.testing.assert_allclose(u, [[2.0, 0.0]], rtol=0.0, atol=1e-6)
            np.testing.assert_allclose(by_row, expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_zero_activations_have_no_derivative(rng, dtype):
    """All of u and y are 0; with every coefficient kept at 0 nothing moves."""
    bank = random_bank(rng, 4, 10)
    activations = np.zeros((3, 10))
    activations[1] = bank.sum(axis=0)
    u, by_rows, by_bank = gradients(activations, bank, np.ones((3, 4)), dtype)
    assert (u[[0, 2]] == 0.0).all()
    assert (by_rows[[0, 2]] == 0.0).all()
    assert np.abs(by_rows[1]).max() > 0.1
    *_, alone = gradients(activations[1:2], bank, np.ones((1, 4)), dtype)
    np.testing.assert_allclose(by_bank, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bank_rows_of_zeros_have_no_derivative(problem, dtype):
    activations, bank, cotangent, _ = problem
    wider = np.insert(bank, 2, 0.0, axis=0)
    u, by_rows, by_bank = gradients(activations, wider, np.insert(cotangent, 2, 7.0, 1), dtype)
    _, expected, expected_bank = gradients(activations, bank, cotangent, dtype)
    assert (u[:, 2] == 0.0).all()
    assert (by_bank[2] == 0.0).all()
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(by_rows, expected, rtol=0.0, atol=tolerance)
    np.testing.assert_allclose(np.delete(by_bank, 2, 0), expected_bank, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 1e-3)])
def test_dependent_rows_reconstruct_with_the_right_derivative(rng, dtype, tolerance):
    """
    u is not unique, u W is: its derivative is the projection on the span of the support.

    So is the derivative of everything that looks at u through u W, the model's score above all.
    """
    bank = dependent_bank(rng, 8, 24)
    activations, _ = strict_rows(rng, bank[:6], 8)
    direction = rng.standard_normal((8, 24))
    u, by_rows, _ = gradients(activations, bank, direction @ bank.T, dtype)
    assert np.isfinite(u).all()
    reduced = nnls_rows(activations, bank)
    for i in range(8):
        if (u[i] > 0.0).sum() == 0:
            continue
        inside = bank[u[i] > 1e-4]
        expected = direction[i] @ np.linalg.pinv(inside) @ inside
        np.testing.assert_allclose(
            by_rows[i], expected, rtol=0.0, atol=tolerance * np.abs(direction).max()
        )
    np.testing.assert_allclose(u @ bank, reduced @ bank, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-4), (np.float32, 1e-2)])
def test_copies_of_a_row_share_its_derivative(problem, dtype, tolerance):
    """Of the solution of least norm, which gives each of two copies a half."""
    activations, bank, cotangent, _ = problem
    _, by_rows, by_bank = gradients(activations, bank, cotangent)
    twice, nothing = np.concatenate([bank, bank]), np.zeros_like(cotangent)
    first = gradients(activations, twice, np.hstack([cotangent, nothing]), dtype)
    second = gradients(activations, twice, np.hstack([nothing, cotangent]), dtype)
    both = gradients(activations, twice, np.hstack([cotangent, cotangent]), dtype)
    scale = tolerance * np.abs(by_rows).max()
    np.testing.assert_allclose(both[1], by_rows, rtol=0.0, atol=scale)
    np.testing.assert_allclose(first[1], 0.5 * by_rows, rtol=0.0, atol=scale)
    np.testing.assert_allclose(second[1], 0.5 * by_rows, rtol=0.0, atol=scale)
    moved = both[2][:4] + both[2][4:]  # both copies moved alike
    np.testing.assert_allclose(moved, by_bank, rtol=0.0, atol=tolerance * np.abs(by_bank).max())


# ------------------------------------------------------------------ as part of a program
def test_inside_a_function_of_unknown_batch(problem):
    activations, bank, cotangent, _ = problem
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 10], tf.float64),
            tf.TensorSpec([None, 4], tf.float64),
        ]
    )
    def differentiate(rows, weights):
        traces.append(rows.shape)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            u, _ = encode(rows, bank)
            total = tf.reduce_sum(u * weights)
        return u, tape.gradient(total, rows)

    expected = gradients(activations, bank, cotangent)
    for n in (1, 4, 6):
        u, by_rows = differentiate(activations[:n], cotangent[:n])
        np.testing.assert_allclose(u, expected[0][:n], rtol=0.0, atol=1e-12)
        np.testing.assert_allclose(by_rows, expected[1][:n], rtol=0.0, atol=1e-12)
    assert len(traces) == 1


def test_eagerly_and_of_any_shape(problem):
    activations, bank, cotangent, _ = problem
    maps = tf.constant(activations.reshape(1, 2, 3, 10))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        u, _ = encode(maps, bank)
        total = tf.reduce_sum(u * cotangent.reshape(u.shape))
    found = tape.gradient(total, maps)
    _, expected, _ = gradients(activations, bank, cotangent)
    np.testing.assert_allclose(found, expected.reshape(1, 2, 3, 10), rtol=0.0, atol=1e-12)


def test_the_residual_has_no_gradient(problem):
    activations, bank, cotangent, _ = problem

    @tf.function
    def differentiate(rows, bank, weight):
        with tf.GradientTape() as tape:
            tape.watch([rows, bank])
            u, residual = encode_rows(rows, bank)
            total = tf.reduce_sum(u * cotangent) + weight * tf.reduce_sum(residual)
        return tape.gradient(total, (rows, bank))

    inputs = tf.constant(activations), tf.constant(bank)
    _, *expected = gradients(activations, bank, cotangent)
    for weight in (0.0, 1e6):
        found = differentiate(*inputs, tf.constant(weight, tf.float64))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-12)


def test_through_a_keras_model(rng):
    """d/dx of the mean coefficient of one concept over the positions of an image."""
    model = convolution_model()
    images = rng.uniform(0.0, 1.0, (2, 6, 6, 3))
    latents = model(images).numpy().reshape(-1, 10)
    bank = np.abs(latents[[3, 9, 20, 30]]) * rng.uniform(0.0, 1.0, (4, 10))

    def concept_scores(x):
        rows = model(x).numpy().reshape(-1, 10)
        return nnls_rows(rows, bank).reshape(len(x), -1, 4).mean(axis=1)

    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        u, _ = encode(model(x), bank)
        scores = tf.reduce_mean(u, axis=[1, 2])
        total = tf.reduce_sum(scores[:, 2])
    np.testing.assert_allclose(scores, concept_scores(images), rtol=1e-9)
    found = tape.gradient(total, x).numpy()
    expected = central_differences(lambda v: concept_scores(v)[:, 2].sum(keepdims=True), images)[0]
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6 * np.abs(expected).max())
    assert np.abs(found).max() > 1e-3


def test_as_a_lambda_of_a_functional_model(problem):
    """The graph of a Keras model traces it symbolically, with no batch at all."""
    activations, bank, cotangent, expected = problem
    inputs = keras.Input((10,), dtype="float64")
    outputs = keras.layers.Lambda(lambda a: encode(a, bank)[0], output_shape=(4,), dtype="float64")
    model = keras.Model(inputs, outputs(inputs))
    assert model.output_shape == (None, 4)
    x = tf.constant(activations)
    np.testing.assert_allclose(model(x), expected, rtol=0.0, atol=1e-11)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(model(x) * cotangent)
    _, by_rows, _ = gradients(activations, bank, cotangent)
    np.testing.assert_allclose(tape.gradient(total, x), by_rows, rtol=0.0, atol=1e-11)
