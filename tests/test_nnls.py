"""The exact encoding: against scipy, against the KKT conditions, where it is easy to get wrong."""

import numpy as np
import pytest
import tensorflow as tf
from models import conditioned_bank, dependent_bank, planted_factorization, random_bank
from reference import kkt_residual, nnls_rows, unit_rows

from xplique_craft.factorization import NMF, implicit, nnls
from xplique_craft.factorization.implicit import encode

DTYPES = [np.float64, np.float32]
KKT = {np.float64: 1e-12, np.float32: 1e-5}


def encoded(activations, bank, dtype=np.float64):
    """u and the reported residual as arrays, and what they were computed from, in `dtype`."""
    activations, bank = activations.astype(dtype), bank.astype(dtype)
    u, residual = encode(activations, bank)
    assert u.dtype == residual.dtype == dtype
    assert u.shape == (len(activations), len(bank))
    assert residual.shape == (len(activations),)
    assert np.isfinite(u).all()
    assert (u.numpy() >= 0.0).all()
    return u.numpy(), residual.numpy(), activations, bank


def relative(found, expected):
    """Largest error of a row, relative to the norm of the row."""
    norms = np.maximum(np.linalg.norm(expected, axis=1), 1e-300)
    return (np.linalg.norm(found - expected, axis=1) / norms).max()


def assert_same_fit(u, activations, bank, tolerance):
    """u W and the objective are unique even where u is not."""
    expected = nnls_rows(activations, bank)
    bank, activations = bank.astype(np.float64), activations.astype(np.float64)
    size = np.linalg.norm(activations, axis=1)
    rebuilt, exact = u @ bank, expected @ bank
    assert (np.linalg.norm(rebuilt - exact, axis=1) / size).max() <= tolerance
    losses = [np.linalg.norm(activations - x, axis=1) / size for x in (rebuilt, exact)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.0, atol=tolerance)


# ------------------------------------------------------------------ against scipy
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("signed", [False, True])
def test_thousand_random_rows_match_scipy(rng, dtype, tolerance, signed):
    activations, bank = rng.standard_normal((1000, 64)), random_bank(rng)
    if signed:
        bank = rng.standard_normal((20, 64))
    else:
        activations = np.abs(activations)
    u, residual, activations, bank = encoded(activations, bank, dtype)
    expected = nnls_rows(activations, bank)
    assert relative(u, expected) <= tolerance
    assert kkt_residual(u, activations, bank).max() <= KKT[dtype]
    assert residual.max() <= KKT[dtype]
    assert 0.05 < (expected == 0.0).mean() < 0.95  # else the problem would test nothing
    if dtype == np.float64:
        np.testing.assert_array_equal(u > 0.0, expected > 0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize(("k", "c"), [(1, 64), (1, 1), (20, 5), (100, 128)])
def test_numbers_of_concepts(rng, k, c, dtype, tolerance):
    activations = np.abs(rng.standard_normal((150, c)))
    u, residual, activations, bank = encoded(activations, random_bank(rng, k, c), dtype)
    assert kkt_residual(u, activations, bank).max() <= max(KKT[dtype], 1e-10 * (k > c))
    assert residual.max() <= max(KKT[dtype], 1e-10 * (k > c))
    if k > c:  # u is not unique
        assert_same_fit(u, activations, bank, tolerance)
    else:
        assert relative(u, nnls_rows(activations, bank)) <= tolerance


def test_one_concept_is_a_projection(rng):
    activations, bank = rng.standard_normal((40, 7)), np.abs(rng.standard_normal((1, 7)))
    u, *_ = encoded(activations, bank)
    expected = np.maximum(activations @ bank[0], 0.0) / (bank[0] @ bank[0])
    np.testing.assert_allclose(u[:, 0], expected, rtol=1e-12, atol=0.0)


def test_two_concepts_worked_by_hand():
    bank = np.array([[1.0, 0.0], [1.0, 1.0]])
    activations = np.array([[3.0, 1.0], [1.0, 3.0], [-1.0, 3.0], [2.0, -1.0], [-1.0, -1.0]])
    u, *_ = encoded(activations, bank)
    expected = [[2.0, 1.0], [0.0, 2.0], [0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(u, expected, rtol=0.0, atol=1e-12)


def test_known_coefficients_come_back(rng):
    planted = planted_factorization(rng, n=300, k=12, c=64)
    activations = planted.coefficients.astype(np.float64) @ planted.bank.astype(np.float64)
    u, *_ = encoded(activations, planted.bank)
    np.testing.assert_allclose(u, planted.coefficients, rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("shape", [(6,), (2, 6), (2, 3, 6), (2, 3, 4, 6)])
def test_any_leading_axes(rng, shape):
    activations, bank = np.abs(rng.standard_normal(shape)), random_bank(rng, 3, 6)
    u, residual = encode(activations, bank)
    assert u.shape == (*shape[:-1], 3)
    assert residual.shape == shape[:-1]
    expected = nnls_rows(activations.reshape(-1, 6), bank).reshape(u.shape)
    np.testing.assert_allclose(u, expected, rtol=1e-9, atol=1e-12)


def test_no_rows_at_all(rng):
    u, residual = encode(np.zeros((0, 64)), random_bank(rng))
    assert u.shape == (0, 20)
    assert residual.shape == (0,)


# ------------------------------------------------------------------ zeros
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_zeros_have_exact_zeros(rng, dtype):
    activations = np.abs(rng.standard_normal((30, 64)))
    activations[::3] = 0.0
    u, residual, *_ = encoded(activations, random_bank(rng), dtype)
    assert (u[::3] == 0.0).all()
    assert (residual[::3] == 0.0).all()
    assert (u[1::3].max(axis=1) > 0.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_bank_rows_of_zeros_have_no_coefficient(rng, dtype):
    activations, bank = np.abs(rng.standard_normal((50, 64))), random_bank(rng)
    bank[[0, 7, 19]] = 0.0
    u, residual, activations, bank = encoded(activations, bank, dtype)
    assert (u[:, [0, 7, 19]] == 0.0).all()
    assert np.isfinite(residual).all()
    rest = np.delete(np.arange(20), [0, 7, 19])
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    assert relative(u[:, rest], nnls_rows(activations, bank[rest])) <= tolerance


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bank_of_zeros_explains_nothing(rng, dtype):
    u, residual, *_ = encoded(np.abs(rng.standard_normal((5, 64))), np.zeros((20, 64)), dtype)
    assert (u == 0.0).all()
    assert (residual == 0.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_against_the_whole_bank_have_no_coefficients(rng, dtype):
    activations, bank = np.abs(rng.standard_normal((20, 64))), random_bank(rng)
    u, residual, *_ = encoded(-activations, bank, dtype)  # all b are negative
    assert (u == 0.0).all()
    assert (residual == 0.0).all()


# ------------------------------------------------------------------ dependent and ill-conditioned
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["duplicated", "dependent", "all the same", "more than channels"])
def test_dependent_bank_rows(rng, kind, dtype):
    activations, bank = np.abs(rng.standard_normal((200, 64))), random_bank(rng)
    if kind == "duplicated":
        bank[10:] = bank[:10]
    elif kind == "dependent":
        bank = dependent_bank(rng)
    elif kind == "all the same":
        bank[:] = bank[0]
    else:
        activations, bank = activations[:, :5], bank[:, :5]
    u, residual, activations, bank = encoded(activations, bank, dtype)
    limit = {np.float64: 1e-10, np.float32: 1e-5}[dtype]
    assert kkt_residual(u, activations, bank).max() <= limit
    assert residual.max() <= limit
    # In float32 rounding of b, 1e-7, is divided by the smallest singular value that S has.
    assert_same_fit(u, activations, bank, {np.float64: 1e-9, np.float32: 1e-4}[dtype])


def test_copies_of_a_row_share_its_coefficient(rng):
    """The solution of least norm on a support: equal coefficients for equal rows."""
    activations, bank = np.abs(rng.standard_normal((50, 64))), random_bank(rng, 5)
    u, *_ = encoded(activations, np.concatenate([bank, bank]))
    alone = nnls_rows(activations, bank)
    np.testing.assert_allclose(u[:, :5] + u[:, 5:], alone, rtol=0.0, atol=1e-9)
    both = (u[:, :5] > 0.0) & (u[:, 5:] > 0.0)
    assert both.any()
    # Their difference is in the null space: rounding over the ridge.
    np.testing.assert_allclose(u[:, :5][both], u[:, 5:][both], rtol=0.0, atol=1e-2)


def test_the_residual_never_hides_nan(rng):
    activations = np.abs(rng.standard_normal((6, 64)))
    activations[1, 3], activations[4, 0] = np.nan, np.inf
    u, residual = encode(activations, random_bank(rng))
    for numbers in (u.numpy().max(axis=1), residual.numpy()):
        np.testing.assert_array_equal(np.isnan(numbers), [False, True, False, False, True, False])


@pytest.mark.parametrize("planted", [False, True])
def test_ill_conditioned_bank_stays_exact(rng, planted):
    bank = conditioned_bank(rng, 1e6)
    activations = rng.standard_normal((200, 64))
    if planted:
        activations = np.maximum(rng.standard_normal((200, 20)), 0.0) @ bank
    u, residual, *_ = encoded(activations, bank)
    assert kkt_residual(nnls_rows(activations, bank), activations, bank).max() <= 1e-11
    assert kkt_residual(u, activations, bank).max() <= 1e-8
    assert residual.max() <= 1e-8


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6])
def test_ill_conditioned_bank_in_float32_is_reported(rng, condition):
    """Rounding limits what can be had; the residual says so, row by row."""
    activations, bank = rng.standard_normal((200, 64)), conditioned_bank(rng, condition)
    u, residual, activations, bank = encoded(activations, bank, np.float32)
    actual = kkt_residual(u, activations, bank)
    np.testing.assert_allclose(residual, actual, rtol=0.5, atol=1e-5)
    assert actual.max() <= {1e2: 2e-6, 1e4: 2e-5, 1e6: 1e-4}[condition]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nearly_equal_bank_rows(rng, dtype):
    bank = random_bank(rng)
    bank[1] = bank[0] * (1.0 + 1e-6 * rng.standard_normal(64))
    activations = np.abs(rng.standard_normal((200, 64)))
    u, _, activations, bank = encoded(activations, bank, dtype)
    assert kkt_residual(u, activations, bank).max() <= {np.float64: 1e-10, np.float32: 1e-5}[dtype]


@pytest.mark.parametrize(
    ("dtype", "spread"), [(np.float64, 0.3), (np.float64, 0.01), (np.float32, 0.01)]
)
def test_pivoting_on_correlated_rows(rng, spread, dtype):
    """2,000 rows, 50 bank rows of which any two are almost parallel: many rounds of pivoting."""
    bank = 1.0 + spread * np.abs(rng.standard_normal((50, 128)))
    directions, _ = unit_rows(bank)
    assert (directions @ directions.T).min() > (0.99 if spread < 0.1 else 0.9)
    coefficients = np.maximum(rng.standard_normal((1000, 50)), 0.0)
    activations = np.concatenate([np.abs(rng.standard_normal((1000, 128))), coefficients @ bank])
    u, residual, activations, bank = encoded(activations, bank, dtype)
    limit = max(KKT[dtype], 1e-10 * (spread < 0.1))  # 50 coefficients, each exact to 1e-11
    assert kkt_residual(u, activations, bank).max() <= limit
    assert residual.max() <= limit
    some = slice(950, 1050)
    tolerance = {np.float64: 1e-9, np.float32: 2e-3}[dtype]
    assert_same_fit(u[some], activations[some], bank, tolerance)


def test_pivoting_from_the_worst_supports(rng):
    """Whatever it starts from (nothing, everything, the complement) it ends at the solution."""
    activations, bank = np.abs(rng.standard_normal((60, 64))), random_bank(rng)
    directions, norms = unit_rows(bank)
    gram, b = tf.constant(directions @ directions.T), tf.constant(activations @ directions.T)
    expected = nnls_rows(activations, bank) * norms
    for support in (expected < -1.0, expected >= 0.0, expected == 0.0):
        u, unsolved = tf.function(nnls._pivot)(
            gram, b, tf.constant(support), 1e-11, 1e-10, True, max_rounds=200
        )
        assert unsolved.shape == (0,)
        np.testing.assert_allclose(u, expected, rtol=0.0, atol=1e-10)


def encoded_by_gram(activations, bank):
    directions, norms = unit_rows(bank)
    b = activations @ directions.T
    arguments = map(tf.constant, (directions @ directions.T, b, activations, directions))
    return tf.function(nnls.encode_gram)(*arguments).numpy() / norms


def test_rows_that_keep_failing_are_insisted_on(rng, monkeypatch):
    """With no pivoting round but one, active sets alone have to make the rows exact."""
    pivot, limits = nnls._pivot, []

    def hindered(*arguments, max_rounds, **options):
        limits.append(max_rounds)
        return pivot(*arguments, max_rounds=1, **options)

    monkeypatch.setattr(nnls, "_pivot", hindered)
    activations, bank = np.abs(rng.standard_normal((60, 64))), random_bank(rng)
    u = encoded_by_gram(activations, bank)
    assert len(limits) == 1
    np.testing.assert_allclose(u, nnls_rows(activations, bank), rtol=0.0, atol=1e-12)


def test_rows_that_pivoting_takes_for_solved_are_checked(rng, monkeypatch):
    """Where a support is singular, what violates the conditions is not seen from its signs."""
    pivot = nnls._pivot

    def mistaken(*arguments, **options):
        u, unsolved = pivot(*arguments, **options)
        return tf.where(tf.range(60)[:, None] % 2 == 0, 1.1 * u, u), unsolved

    monkeypatch.setattr(nnls, "_pivot", mistaken)
    activations, bank = np.abs(rng.standard_normal((60, 64))), random_bank(rng)
    u = encoded_by_gram(activations, bank)
    np.testing.assert_allclose(u, nnls_rows(activations, bank), rtol=0.0, atol=1e-12)


# ------------------------------------------------------------------ more concepts than channels
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-6)])
def test_twice_as_many_concepts_as_channels(rng, dtype, tolerance):
    """Of these rows pivoting alone comes back to the same supports for ever: 114, 331, 392."""
    activations, bank = np.abs(rng.standard_normal((400, 32))), rng.standard_normal((64, 32))
    activations = activations[[*range(20), 114, 331, 392]]
    u, residual, activations, bank = encoded(activations, bank, dtype)
    assert kkt_residual(u, activations, bank).max() <= tolerance
    assert residual.max() <= tolerance
    assert_same_fit(u, activations, bank, tolerance)


def test_inexact_rows_are_warned_of(rng):
    """Concepts that are alike to 10 digits: no coefficients in float32 are exact."""
    activations, bank = rng.standard_normal((200, 64)), conditioned_bank(rng, 1e10)
    activations, bank = activations.astype(np.float32), bank.astype(np.float32)
    with pytest.warns(UserWarning, match="positions are not exact") as caught:
        _, residual = encode(activations.reshape(10, 20, 64), bank)
    (warning,) = caught
    inexact = (residual.numpy() > 1e-4).sum()
    assert 20 < inexact < 200
    expected = f"{inexact} of 200 positions are not exact: their KKT residual is up to "
    assert expected + f"{residual.numpy().max():.0e}, above 1e-04" in str(warning.message)
    assert warning.filename == __file__
    encode(activations.astype(np.float64), bank.astype(np.float64))  # without a warning
    implicit._warn_inexact(np.array([0.0, 1e-4, np.nan]), 1e-4)  # nor at the limit


def test_inexact_rows_in_float64_are_warned_of(rng):
    """A concept and almost its opposite: rows of 1 are made of coefficients of 100,000."""
    first, other = rng.standard_normal((2, 64))
    bank = np.stack([first, 1e-6 * other - first])
    with pytest.warns(UserWarning, match="above 1e-08"):
        _, residual = encode(rng.standard_normal((200, 64)), bank)
    assert 1e-8 < residual.numpy().max() < 1e-5


# ------------------------------------------------------------------ invariances
@pytest.mark.parametrize(
    ("dtype", "scale", "tolerance"),
    [
        (np.float64, 1e-20, 1e-9),
        (np.float64, 1e20, 1e-9),
        (np.float32, 1e-12, 1e-4),
        (np.float32, 1e12, 1e-4),
    ],
)
def test_scaling_rows_scales_coefficients(rng, dtype, scale, tolerance):
    activations, bank = np.abs(rng.standard_normal((50, 64))), random_bank(rng)
    expected = nnls_rows(activations, bank)
    u, residual, *_ = encoded(scale * activations, bank, dtype)
    assert relative(u.astype(np.float64) / scale, expected) <= tolerance
    assert residual.max() <= KKT[dtype]


@pytest.mark.parametrize(("dtype", "exponent"), [(np.float64, 20), (np.float32, 12)])
def test_rows_of_very_different_scales_together(rng, dtype, exponent):
    activations, bank = np.abs(rng.standard_normal((50, 64))), random_bank(rng)
    scales = 10.0 ** rng.integers(-exponent, exponent + 1, (50, 1))
    u, *_ = encoded(scales * activations, bank, dtype)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    assert relative(u.astype(np.float64) / scales, nnls_rows(activations, bank)) <= tolerance


@pytest.mark.parametrize(("dtype", "exponent"), [(np.float64, 20), (np.float32, 12)])
def test_scaling_bank_rows_scales_coefficients_inversely(rng, dtype, exponent):
    activations, bank = np.abs(rng.standard_normal((50, 64))), random_bank(rng)
    scales = 10.0 ** rng.integers(-exponent, exponent + 1, 20)
    u, *_ = encoded(activations, scales[:, None] * bank, dtype)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    assert relative(u.astype(np.float64) * scales, nnls_rows(activations, bank)) <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_permuting_bank_rows_permutes_coefficients(rng, dtype, tolerance):
    activations, bank = np.abs(rng.standard_normal((50, 64))), random_bank(rng)
    order = rng.permutation(20)
    u, *_ = encoded(activations, bank, dtype)
    permuted, *_ = encoded(activations, bank[order], dtype)
    assert relative(permuted, u[:, order]) <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_encodings_do_not_depend_on_the_batch(rng, dtype, tolerance):
    activations, bank = np.abs(rng.standard_normal((97, 64))), random_bank(rng)
    whole, *_ = encoded(activations, bank, dtype)
    parts = [encoded(activations[i : i + 10], bank, dtype)[0] for i in range(0, 97, 10)]
    assert relative(np.concatenate(parts), whole) <= tolerance
    backwards, *_ = encoded(activations[::-1], bank, dtype)
    assert relative(backwards[::-1], whole) <= tolerance


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_batch_has_the_same_bits(rng, dtype):
    activations, bank = np.abs(rng.standard_normal((97, 64))), random_bank(rng)
    first, again = (encoded(activations, bank, dtype) for _ in range(2))
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()


# ------------------------------------------------------------------ types
def test_a_float64_bank_serves_float32_activations(rng):
    activations = np.abs(rng.standard_normal((20, 64))).astype(np.float32)
    bank = random_bank(rng)
    u, _ = encode(activations, bank)
    assert u.dtype == tf.float32
    np.testing.assert_array_equal(encode(activations, tf.constant(bank))[0], u)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.int32])
def test_other_types_are_widened_or_refused_in_words(rng, dtype):
    """Models under a mixed policy have half-precision activations."""
    activations = tf.cast(rng.integers(0, 5, (20, 64)), dtype)
    bank = random_bank(rng)
    try:
        u, _ = encode(activations, bank)
    except (TypeError, ValueError) as error:
        assert "activations" in str(error)  # noqa: PT017
        assert dtype.name in str(error)  # noqa: PT017
    else:
        expected = nnls_rows(tf.cast(activations, tf.float64).numpy(), bank)
        assert relative(tf.cast(u, tf.float64).numpy(), expected) <= 2e-2


# ------------------------------------------------------------------ a real model
@pytest.mark.slow
def test_real_activations(realkit, rng):
    import keras

    model = realkit.load_model("mobilenet")
    images = realkit.preprocess(realkit.load_images("tench", 60, size=224), "mobilenet")
    layer = model.get_layer(realkit.SPLIT_LAYERS["mobilenet"][0])
    latents = keras.Model(model.input, layer.output).predict(images, verbose=0)
    rows = latents.reshape(-1, latents.shape[-1])
    bank = NMF(max_iter=200).fit(latents.mean(axis=(1, 2)), 25).bank
    rows = rows[rng.choice(len(rows), 1000, replace=False)]
    u, residual, rows, bank = encoded(rows, bank, np.float32)
    assert relative(u, nnls_rows(rows, bank)) <= 1e-4
    assert kkt_residual(u, rows, bank).max() <= 1e-5
    assert residual.max() <= 1e-5
