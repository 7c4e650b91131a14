"""Bootstrap intervals: worked by hand where that can be done, by their coverage elsewhere."""

import numpy as np
import pytest

from xplique_craft import _intervals
from xplique_craft._intervals import LEVEL, bootstrap_mean, bootstrap_ratio
from xplique_craft.results import Estimate


# ------------------------------------------------------------------ by hand
def test_ratio_of_sums_not_mean_of_ratios():
    estimate = bootstrap_ratio(np.array([1.0, 9.0]), np.array([1.0, 3.0]), seed=0)
    assert isinstance(estimate, Estimate)
    assert estimate.value == 2.5  # the mean of the ratios is 2
    # Of four equally likely resamples one is (1, 1), two are the sums and one is (9, 9).
    assert (estimate.low, estimate.high) == (1.0, 3.0)


def test_constant_ratios_have_no_width(rng):
    denominator = rng.uniform(1.0, 2.0, 30)
    estimate = bootstrap_ratio(0.7 * denominator, denominator, seed=0)
    np.testing.assert_allclose([estimate.value, estimate.low, estimate.high], 0.7, rtol=1e-12)


def test_signs_and_scales(rng):
    numerator, denominator = rng.normal(1.0, 0.3, 40), rng.normal(2.0, 0.3, 40)
    plain = bootstrap_ratio(numerator, denominator, seed=0)
    both = bootstrap_ratio(-1e6 * numerator, -1e6 * denominator, seed=0)
    np.testing.assert_allclose(
        [both.value, both.low, both.high], [plain.value, plain.low, plain.high], rtol=1e-10
    )
    mirrored = bootstrap_ratio(-numerator, denominator, seed=0)
    np.testing.assert_allclose(
        [mirrored.value, mirrored.low, mirrored.high],
        [-plain.value, -plain.high, -plain.low],
        rtol=1e-10,
    )


def test_against_a_plain_bootstrap(rng):
    numerator, denominator = rng.normal(1.0, 0.5, 25), rng.uniform(1.0, 3.0, 25)
    ratios = []
    for _ in range(20_000):
        drawn = rng.integers(0, 25, 25)
        ratios.append(numerator[drawn].sum() / denominator[drawn].sum())
    estimate = bootstrap_ratio(numerator, denominator, seed=0)
    low, high = np.percentile(ratios, [5.0, 95.0])
    width = high - low
    np.testing.assert_allclose([estimate.low, estimate.high], [low, high], atol=0.06 * width)
    assert estimate.value == numerator.sum() / denominator.sum()


def test_intervals_of_means_against_the_normal(rng):
    """For many images the interval is mean +- 1.645 standard errors."""
    values = rng.normal([0.0, 10.0], [1.0, 3.0], (400, 2))
    found = bootstrap_mean(values, seed=0)
    error = values.std(axis=0, ddof=1) / np.sqrt(400)
    expected = values.mean(axis=0)[:, None] + 1.6449 * error[:, None] * [-1.0, 1.0]
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=0.12 * error.max())
    assert found.shape == (2, 2)


def test_two_images_are_stretched():
    """Resampled means are sqrt(1 - 1/n) too narrow: those of 0 and 1 are 0, 1/2 or 1."""
    found = bootstrap_mean(np.array([[0.0], [1.0]]), seed=0)
    half = 0.5 * np.sqrt(2.0)
    np.testing.assert_allclose(found, [[0.5 - half, 0.5 + half]], rtol=1e-12)


def test_equal_values_have_no_width():
    np.testing.assert_allclose(bootstrap_mean(np.full((9, 3), 0.3), seed=1), 0.3, rtol=1e-12)


# ------------------------------------------------------------------ one image, no images
def test_one_image_has_no_interval():
    estimate = bootstrap_ratio(np.array([3.0]), np.array([4.0]), seed=0)
    assert estimate.value == 0.75
    assert np.isnan([estimate.low, estimate.high]).all()
    found = bootstrap_mean(np.array([[1.0, 2.0, 3.0]]), seed=0)
    assert found.shape == (3, 2)
    assert np.isnan(found).all()


# ------------------------------------------------------------------ coverage
def test_coverage_of_ratios():
    """90% intervals of 60 images hold the true ratio in 84% to 96% of 300 repetitions."""
    rng = np.random.default_rng(7)
    held = 0
    for repetition in range(300):
        denominator = rng.gamma(4.0, 0.5, 60)
        numerator = 0.8 * denominator + rng.normal(0.0, 0.4, 60)
        estimate = bootstrap_ratio(numerator, denominator, seed=repetition)
        held += estimate.low <= 0.8 <= estimate.high
        assert estimate.low <= estimate.value <= estimate.high
    assert 0.84 <= held / 300 <= 0.96


@pytest.mark.parametrize("n", [20, 60])
def test_coverage_of_means(n):
    rng = np.random.default_rng(8)
    held = np.zeros(2)
    for repetition in range(300):
        values = np.stack([rng.normal(1.0, 2.0, n), rng.uniform(0.0, 2.0, n)], axis=1)
        found = bootstrap_mean(values, seed=repetition)
        held += (found[:, 0] <= 1.0) & (found[:, 1] >= 1.0)
    assert (held / 300 >= 0.84).all()
    assert (held / 300 <= 0.96).all()


def test_level():
    assert LEVEL == 0.90


# ------------------------------------------------------------------ seeds and memory
def test_seeds(rng):
    values = rng.random((30, 2))
    first, again, other = (bootstrap_mean(values, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    ratios = [bootstrap_ratio(values[:, 0], values[:, 1], seed) for seed in (0, 0, 1)]
    assert ratios[0] == ratios[1] != ratios[2]


def test_global_generator_is_left_alone(rng):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    bootstrap_mean(rng.random((30, 2)), 0)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_blocks_do_not_change_the_numbers(rng, monkeypatch):
    """Resampling weights are held a block at a time; how many is nobody's business."""
    values = rng.random((50, 3))
    whole = bootstrap_mean(values, 0)
    for entries in (1, 50 * 7, 50 * 999):
        monkeypatch.setattr(_intervals, "_BLOCK", entries)
        np.testing.assert_allclose(bootstrap_mean(values, 0), whole, rtol=1e-12)
