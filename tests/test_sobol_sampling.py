"""Sobol indices by sampling: Xplique's own parts, seeds, designs, intervals."""

from typing import Any

import numpy as np
import planted
import pytest
from analytic import ANALYTIC, both, product
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions import global_sensitivity_analysis as gsa

import xplique_craft as xc
from xplique_craft.importance import SobolImportance
from xplique_craft.importance.designs import SAMPLERS as POINTS
from xplique_craft.importance.designs import group_sizes, points_of, star
from xplique_craft.importance.sobol_estimators import Sample, variances

BANK = planted.bank(concepts=4, channels=6)
SAMPLERS = ("HaltonSequenceRS", "LatinHypercubeRS", "ScipySobolSequenceRS", "TFSobolSequenceRS")
ESTIMATORS = ("Jansen", "Homma", "Janon", "Glen", "Saltelli")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(7, concepts=4)


@pytest.fixture(scope="module")
def affine(images: np.ndarray) -> xc.Craft:
    return planted.fitted(planted.network(BANK, "affine"), BANK, images)


@pytest.fixture(scope="module")
def relu(images: np.ndarray) -> xc.Craft:
    return planted.fitted(planted.network(BANK, "relu"), BANK, images)


# -------------------------------------------------------------------------------- Xplique's parts
class Recorded:
    """A sampler that remembers what it drew: Xplique's Latin hypercube takes no seed."""

    def __init__(self, name: str) -> None:
        self.sampler = getattr(gsa, name)()
        self.gates = np.empty((0, 0))

    def __call__(self, dimension: int, nb_design: int) -> np.ndarray:
        self.gates = np.asarray(self.sampler(dimension, nb_design))
        return self.gates


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_and_estimators_of_xplique(sampler: str, estimator: str) -> None:
    craft, image = planted.function_craft(both, 2)
    recorded, oracle = Recorded(sampler), getattr(gsa, f"{estimator}Estimator")()
    importance = SobolImportance(craft, 1024, recorded, oracle, batch_size=8192).summary(image)
    expected = oracle(recorded.gates, recorded.gates.min(axis=1), 1024)
    assert_allclose(importance.overall, expected, atol=1e-5)
    if sampler != "LatinHypercubeRS":  # the others draw the same points every time
        assert_allclose(importance.overall, [0.6, 0.6], atol=0.08)
    assert importance.evaluations == 1024 * 4
    assert np.isnan(importance.estimation_interval).all()  # their points are not replicated


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_of_xplique_with_our_estimator(sampler: str) -> None:
    craft, image = planted.function_craft(product, 2)
    recorded = Recorded(sampler)
    indices = SobolImportance(craft, 1024, recorded, batch_size=8192).explain(image)
    gates = recorded.gates.reshape(1, 4, 1024, 2).swapaxes(1, 2)  # A, B, C_1 and C_2 of a point
    sample = Sample(gates, gates.prod(axis=-1), np.zeros(1024, int))
    assert_allclose(indices, variances(sample, "total")[0], atol=1e-5)
    if sampler != "LatinHypercubeRS":
        assert_allclose(indices, [[4 / 7, 4 / 7]], atol=0.05)


def test_an_estimator_of_xplique_with_our_sampler() -> None:
    craft, image = planted.function_craft(product, 2)
    importance = SobolImportance(craft, 1024, estimator=gsa.JansenEstimator(), batch_size=8192)
    assert_allclose(importance.explain(image), [[4 / 7, 4 / 7]], atol=0.03)


def test_a_sampler_of_another_shape_is_refused(relu: xc.Craft, images: np.ndarray) -> None:
    importance = SobolImportance(relu, 32, lambda k, n: np.zeros((n, k)))
    with pytest.raises(ValueError, match=r"replicated design of shape \(192, 4\), received"):
        importance.explain(images)


# ------------------------------------------------------------------------------------ randomness
def test_the_same_seed_gives_the_same_bits(relu: xc.Craft, images: np.ndarray) -> None:
    first = SobolImportance(relu, seed=3).explain(images)
    assert_array_equal(SobolImportance(relu, seed=3).explain(images), first)
    other = SobolImportance(relu, seed=4).explain(images)
    assert np.abs(other - first).max() > 1e-4


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_draws_belong_to_images_not_to_batches(
    relu: xc.Craft, images: np.ndarray, batch_size: int
) -> None:
    expected = SobolImportance(relu, batch_size=1000).explain(images)
    values = SobolImportance(relu, batch_size=batch_size).explain(images)
    assert_allclose(values, expected, atol=1e-5)


def test_fewer_images_change_nothing_for_those_that_stay(
    relu: xc.Craft, images: np.ndarray
) -> None:
    expected = SobolImportance(relu).explain(images)[:3]
    assert_allclose(SobolImportance(relu).explain(images[:3]), expected, atol=1e-5)


def test_every_image_has_points_of_its_own(relu: xc.Craft, images: np.ndarray) -> None:
    same = np.stack([images[0]] * 3)
    values = SobolImportance(relu).explain(same)
    assert np.abs(values[0] - values[1]).max() > 1e-3
    assert np.abs(values[1] - values[2]).max() > 1e-3


def test_errors_average_out_over_images() -> None:
    """Points that are the same for all images would leave the error of one image."""
    craft, image = planted.function_craft(product, 2, images=64)
    importance = SobolImportance(craft, 32, batch_size=8192).summary(image)
    one = np.sqrt(np.mean((importance.per_image - 4 / 7) ** 2))
    assert_allclose(importance.overall, 4 / 7, atol=0.5 * one)


# --------------------------------------------------------------------------------------- designs
def test_scrambled_sobol_points_are_uniform_and_even() -> None:
    """One of 64 points in each 64th of [0, 1], in every dimension and for every image."""
    points = points_of("sobol", 6, 64, np.arange(5), seed=1)
    assert points.shape == (5, 64, 6)
    assert points.min() > 0.0
    assert points.max() < 1.0
    strata = np.sort((points * 64).astype(int), axis=1)
    assert_array_equal(strata, np.broadcast_to(np.arange(64)[None, :, None], points.shape))


def test_latin_hypercubes_are_even_up_to_their_shift() -> None:
    points = points_of("latin hypercube", 3, 16, np.arange(4), seed=1)
    shift = points[:, :1] * 16 % 1.0  # within a stratum every point sits where it will
    assert shift.shape == (4, 1, 3)
    gaps = np.diff(np.sort(points, axis=1), axis=1)
    assert gaps.max() <= 2 / 16 + 1e-9


@pytest.mark.parametrize("sampler", POINTS)
def test_points_are_uniform(sampler: str) -> None:
    """Moments of 2,048 points: the mean of x is 1/2, of x^2 1/3, of x y 1/4."""
    points = points_of(sampler, 4, 256, np.arange(8), seed=3).reshape(-1, 4)
    assert points.min() > 0.0
    assert points.max() < 1.0
    assert_allclose(points.mean(axis=0), 0.5, atol=0.02)
    assert_allclose(np.square(points).mean(axis=0), 1 / 3, atol=0.02)
    assert_allclose((points[:, :1] * points[:, 1:]).mean(axis=0), 0.25, atol=0.02)


@pytest.mark.parametrize("sampler", POINTS)
def test_points_are_keyed_by_image_seed_and_group(sampler: str) -> None:
    base = points_of(sampler, 4, 16, np.array([0, 1, 2]), seed=1)
    assert_array_equal(points_of(sampler, 4, 16, np.array([2, 0]), seed=1), base[[2, 0]])
    assert not np.array_equal(base[0], base[1])
    assert not np.array_equal(points_of(sampler, 4, 16, np.array([0]), seed=2)[0], base[0])
    group = points_of(sampler, 4, 16, np.array([0]), seed=1, group=1)
    assert not np.array_equal(group[0], base[0])


@pytest.mark.parametrize("sampler", ["sobol", "halton", "monte carlo"])
def test_sequences_are_extended(sampler: str) -> None:
    whole = points_of(sampler, 5, 24, np.arange(3), seed=2)
    assert_array_equal(points_of(sampler, 5, 10, np.arange(3), seed=2), whole[:, :10])
    assert_array_equal(points_of(sampler, 5, 24, np.arange(3), seed=2, start=10), whole[:, 10:])


def test_a_star_by_hand() -> None:
    points = np.array([[[0.1, 0.2, 0.3, 0.4]]])
    expected = [
        *[[0.1, 0.2], [0.3, 0.4]],  # A, B
        *[[0.3, 0.2], [0.1, 0.4]],  # A with one gate from B
        *[[0.1, 0.4], [0.3, 0.2]],  # B with one gate from A
    ]
    assert_allclose(star(points)[0, 0], expected[:4], rtol=1e-6)
    assert_allclose(star(points, both_ways=True)[0, 0], expected, rtol=1e-6)


def test_stars_are_xpliques_replicated_design() -> None:
    theirs = np.asarray(gsa.HaltonSequenceRS()(3, 8))
    points = np.concatenate([theirs[:8], theirs[8:16]], axis=1)[None]
    assert_allclose(star(points)[0].swapaxes(0, 1).reshape(-1, 3), theirs, atol=1e-7)


@pytest.mark.parametrize(
    ("nb_design", "sizes"), [(2, [2]), (5, [3, 2]), (32, [4] * 8), (33, [5] + [4] * 7)]
)
def test_designs_are_shared_among_groups(nb_design: int, sizes: list[int]) -> None:
    assert_array_equal(group_sizes(nb_design), sizes)


# ------------------------------------------------------------------------------------- intervals
def test_the_estimation_interval_covers() -> None:
    """Nominal 90%: of 120 intervals, whose concepts are pairwise dependent, at least 80%."""
    covered = []
    for formula, truth in (ANALYTIC["product"], ANALYTIC["ishigami"]):
        craft, images = planted.function_craft(formula, len(truth), images=4)
        for seed in range(24):
            interval = SobolImportance(craft, 64, batch_size=8192, seed=seed).summary(images)
            low, high = interval.estimation_interval.T
            covered += list((low <= truth) & (truth <= high))
            assert (low < high).all()
    assert np.mean(covered) >= 0.8
    assert np.mean(covered) < 1.0


def test_more_points_narrow_the_estimation_interval() -> None:
    craft, images = planted.function_craft(product, 2, images=4)

    def width(nb_design: int) -> float:
        interval = SobolImportance(craft, nb_design, batch_size=8192).summary(images)
        return float(np.ptp(interval.estimation_interval, axis=1).mean())

    assert width(1024) < 0.3 * width(32)


def test_the_image_interval_covers_the_spread_of_images(
    affine: xc.Craft, images: np.ndarray
) -> None:
    """A t-interval of the mean, which a bootstrap stretched by sqrt(n / (n - 1)) comes near."""
    importance = SobolImportance(affine).summary(images)
    error = importance.per_image.std(axis=0, ddof=1) / np.sqrt(len(images))
    width = np.ptp(importance.image_interval, axis=1)
    assert_allclose(width, 2 * 1.645 * error, rtol=0.12)
    assert (importance.image_interval[:, 0] <= importance.overall).all()
    assert (importance.overall <= importance.image_interval[:, 1]).all()


def test_one_image_has_no_interval_over_images(affine: xc.Craft, images: np.ndarray) -> None:
    assert np.isnan(SobolImportance(affine).summary(images[:1]).image_interval).all()


def test_two_points_have_no_estimation_interval(relu: xc.Craft, images: np.ndarray) -> None:
    importance = SobolImportance(relu, nb_design=2).summary(images)
    assert np.isnan(importance.estimation_interval).all()
    assert np.isfinite(importance.overall).all()


def test_what_a_users_sampler_or_estimator_raises_is_said(
    relu: xc.Craft, images: np.ndarray
) -> None:
    def failing(*_: Any) -> None:
        raise KeyError("lost")

    for settings in ({"sampler": failing}, {"estimator": failing}):
        name = next(iter(settings))
        with pytest.raises(ValueError, match=rf"{name}\(.*raised KeyError: 'lost'"):
            SobolImportance(relu, 8, **settings).explain(images)
    with pytest.raises(ValueError, match=r"must return \d+ numbers, received shape \(1,\)"):
        SobolImportance(relu, 8, estimator=lambda *_: [1.0]).explain(images)
