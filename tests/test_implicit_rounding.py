"""Coefficients that rounding may have made draw no gradient; real ones do."""

import numpy as np
import pytest
import tensorflow as tf
from derivatives import gradients
from models import random_bank
from reference import nnls_rows, unit_rows

from xplique_craft.factorization import implicit


def pair(rng, angle, channels):
    """(2, c): concepts at that tangent of an angle, in no special direction."""
    rotation = np.linalg.qr(rng.standard_normal((channels, channels)))[0]
    return np.array([[1.0, 0.0], [1.0, angle]]) @ rotation[:2]


def drawn(activations, bank, dtype):
    """(n, k) bool: the coefficients that have a derivative."""
    shape = len(activations), len(bank)
    columns = [
        gradients(activations, bank, np.broadcast_to(unit, shape), dtype)[1].any(axis=1)
        for unit in np.eye(len(bank))
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("channels", [8, 64, 256])
@pytest.mark.parametrize("angle", [0.3, 0.1, 0.03, 0.01])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_concept_draws_no_gradient_where_only_its_neighbour_is(rng, dtype, angle, channels):
    """Cosines of 0.958 to 0.99995: what rounding makes of u_2 = 0 grows with 1 / (1 - cos^2)."""
    bank = pair(rng, angle, channels).astype(np.float32).astype(dtype)
    activations = rng.uniform(0.2, 3.0, (500, 1)).astype(dtype) * bank[:1]
    u, *_ = gradients(activations, bank, np.ones((500, 2)), dtype)
    assert (u[:, 1] > 0.0).any()
    assert drawn(activations, bank, dtype).sum(axis=0).tolist() == [500, 0]
    _, by_rows, _ = gradients(activations, bank, np.broadcast_to([1.0, 0.0], (500, 2)), dtype)
    alone = np.broadcast_to(bank[0] / (bank[0] @ bank[0]), by_rows.shape)
    np.testing.assert_allclose(by_rows, alone, rtol=0.0, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("common", [1.0, 3.0])
def test_absent_concepts_of_larger_banks_draw_no_gradient(rng, common):
    """Mean cosines of 0.82 and 0.96; every row is some of the concepts, to the last digit."""
    bank = rng.gamma(1.0, 1.0, (12, 256)) + common * rng.gamma(1.0, 1.0, (1, 256))
    coefficients = rng.uniform(0.2, 1.0, (300, 12)) * (rng.random((300, 12)) < 0.4)
    found = drawn(coefficients @ bank, bank, np.float32)
    np.testing.assert_array_equal(found, coefficients > 0.0)


def test_no_real_coefficient_is_taken_for_rounding(rng):
    """Cosines around 0.9: the gradient's support is that of u, and small coefficients stay."""
    bank = rng.gamma(1.0, 1.0, (8, 64)) + 2.0 * rng.gamma(1.0, 1.0, (1, 64))
    directions, _ = unit_rows(bank)
    cosines = (directions @ directions.T)[~np.eye(8, dtype=bool)]
    assert 0.85 < cosines.mean() < 0.95
    noise = rng.gamma(1.0, 1.0, (400, 64))
    for activations in (noise, noise + rng.gamma(0.2, 2.0, (400, 8)) @ bank):
        u = nnls_rows(activations, bank)
        assert 0.2 < (u > 0.0).mean() < 0.95
        for dtype in (np.float64, np.float32):
            np.testing.assert_array_equal(drawn(activations, bank, dtype), u > 0.0)
    coefficients = np.where(rng.random((400, 8)) < 0.5, 1.0, 5e-4)
    assert drawn(coefficients @ bank, bank, np.float32).all()


def test_a_small_coefficient_is_kept_where_its_neighbour_is_not(rng):
    """Of two concepts at 0.99995 that both may go for rounding, not both can."""
    bank = np.concatenate([pair(rng, 0.01, 32), random_bank(rng, 1, 32)])
    activations = rng.uniform(0.5, 2.0, (200, 1)) * (bank[2] + 1e-3 * bank[1])
    cotangent = np.broadcast_to([1.0, 1.0, 0.0], (200, 3))
    _, by_rows, _ = gradients(activations, bank, cotangent, np.float32)
    either = [
        np.linalg.solve(inside @ inside.T, inside)[0] for inside in (bank[[1, 2]], bank[[0, 2]])
    ]
    nearest = min(np.abs(by_rows - one).max(axis=1).max() for one in either)
    assert nearest < 0.03 * np.abs(either).max()


def test_nothing_above_a_hundredth_is_left_out(rng):
    """Concepts so alike that rounding alone might explain a share of 8%."""
    bank = pair(rng, 3e-3, 64).astype(np.float32)
    activations = (bank[0] + rng.uniform(0.02, 0.07, (300, 1)) * bank[1]).astype(np.float32)
    u, *_ = gradients(activations, bank, np.ones((300, 2)), np.float32)
    shares = u.min(axis=1) / u.max(axis=1)
    assert (shares > 0.011).sum() > 200
    assert drawn(activations, bank, np.float32)[shares > 0.011].all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_bounds_what_products_lose(rng, dtype):
    """r by hand, and against products of both precisions."""
    row = np.zeros((2, 16), dtype)
    row[0, :2] = 3.0, 4.0
    eps, wide = np.finfo(dtype).eps, np.finfo(np.float64).eps
    found = implicit._rounding(tf.constant(row), 7)
    np.testing.assert_allclose(found, [[5.0 * (4.0 * eps + 7.0 * wide)], [0.0]], rtol=1e-6)
    if dtype == np.float32:
        rows, directions = rng.random((200, 256)), unit_rows(rng.random((10, 256)))[0]
        rows = rows.astype(np.float32)
        lost = np.abs(rows.astype(np.float64) @ directions.T - rows @ directions.T.astype(dtype))
        assert (lost <= implicit._rounding(tf.constant(rows), 10).numpy()).all()
