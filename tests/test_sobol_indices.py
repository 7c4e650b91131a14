"""First-order and pairwise indices, points of other kinds, adaptive stopping, coverage."""

import numpy as np
import planted
import pytest
import tensorflow as tf
from analytic import both, ishigami, ishigami_indices, product, sobol_g
from keras import KerasTensor, ops
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions.global_sensitivity_analysis import HaltonSequenceRS

import xplique_craft as xc
from xplique_craft._intervals import bootstrap_mean
from xplique_craft.importance import SobolImportance
from xplique_craft.importance.base import jackknife_interval
from xplique_craft.importance.designs import SAMPLERS, group_sizes, points_of, star
from xplique_craft.importance.sobol import affine_indices
from xplique_craft.importance.sobol_estimators import Sample, variances


def ishigami_parts() -> tuple[list[float], float]:
    """First-order indices, and that of the only pair that interacts: the first and the third."""
    a, b = 7.0, 0.1
    first = 0.5 * (1.0 + b * np.pi**4 / 5.0) ** 2
    second = a**2 / 8.0
    mixed = b**2 * np.pi**8 * (1.0 / 18.0 - 1.0 / 50.0)
    total = first + second + mixed
    return [first / total, second / total, 0.0], mixed / total


def sobol_g_first() -> np.ndarray:
    parts = 1.0 / 3.0 / (1.0 + np.array([0.0, 1.0, 4.5])) ** 2
    return parts / (np.prod(1.0 + parts) - 1.0)


# Var(m_1 m_2) = 1/9 - 1/16 = 7/144, and E[m_1 m_2 | m_1] = m_1 / 2 has the variance 1/48.
FIRST = {
    "product": (product, [3 / 7, 3 / 7]),
    "ishigami": (ishigami, ishigami_parts()[0]),
    "sobol_g": (sobol_g, sobol_g_first()),
}


@pytest.mark.parametrize("name", FIRST)
def test_first_order_indices(name: str) -> None:
    formula, expected = FIRST[name]
    craft, image = planted.function_craft(formula, len(expected))
    importance = SobolImportance(craft, 16384, batch_size=65536, index="first").summary(image)
    assert_allclose(importance.overall, expected, atol=0.01)
    assert importance.method == "sobol first-order"


def test_what_two_concepts_do_together() -> None:
    craft, image = planted.function_craft(product, 2)
    found = SobolImportance(craft, 4096, batch_size=65536).interactions(image)
    assert found.shape == (1, 2, 2)
    assert_allclose(found[0], [[3 / 7, 1 / 7], [1 / 7, 3 / 7]], atol=0.01)


def test_the_pair_that_interacts_in_ishigami() -> None:
    first, mixed = ishigami_parts()
    craft, image = planted.function_craft(ishigami, 3)
    found = SobolImportance(craft, 4096, batch_size=65536).interactions(image)[0]
    expected = np.diag(first)
    expected[0, 2] = expected[2, 0] = mixed
    assert_allclose(found, expected, atol=0.02)
    assert_allclose(found, found.T, atol=0.0)


def test_interactions_of_a_constant_score_are_zeros_with_a_warning() -> None:
    craft, image = planted.function_craft(lambda m: 0.0 * m[:, 0] + 2.0, 2)
    with pytest.warns(UserWarning, match="does not depend on the concepts"):
        assert_array_equal(SobolImportance(craft).interactions(image), np.zeros((1, 2, 2)))


def test_an_affine_head_has_no_interactions() -> None:
    bank = planted.bank()
    images = planted.paintings(3)
    craft = planted.fitted(planted.network(bank, "affine"), bank, images)
    importance = SobolImportance(craft)
    found = importance.interactions(images)
    totals = importance.explain(images)
    assert_array_equal(found, totals[:, None] * np.eye(3))
    first = SobolImportance(craft, index="first").explain(images)
    assert_array_equal(first, totals)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_points_of_every_kind(sampler: str) -> None:
    craft, image = planted.function_craft(both, 2)
    importance = SobolImportance(craft, 2048, sampler, batch_size=65536)
    assert_allclose(importance.explain(image), [[0.6, 0.6]], atol=0.03)


def kinked(m: KerasTensor) -> KerasTensor:
    """Nearly linear, with a kink that some masks reach."""
    weights = np.array([1.0, 0.6, 0.3, 0.1], np.float32)
    return ops.relu(ops.sum(m * weights, axis=1) - 0.4)


def test_the_control_variate_makes_few_points_enough() -> None:
    """With 32 points the error is under a third of that of the same points without it."""
    craft, images = planted.function_craft(kinked, 4, images=32)
    reference = SobolImportance(craft, 8192, batch_size=65536).explain(images[:4]).mean(axis=0)
    importance = SobolImportance(craft, 32, batch_size=8192)
    errors = np.abs(importance.explain(images) - reference).sum(axis=1)

    sizes = group_sizes(32)
    parts = [points_of("sobol", 8, s, np.arange(32), seed=0, group=g) for g, s in enumerate(sizes)]
    gates = star(np.concatenate(parts, axis=1)).astype(np.float64)
    values = np.maximum(gates @ [1.0, 0.6, 0.3, 0.1] - 0.4, 0.0)
    numerators = 0.5 * np.square(values[:, :, 2:] - values[:, :, :1]).mean(axis=1)
    plain = numerators / values[:, :, :2].var(axis=(1, 2), ddof=1)[:, None]
    without = np.abs(plain - reference).sum(axis=1)
    assert errors.mean() < without.mean() / 3.0
    assert errors.mean() < 0.03


# -------------------------------------------------------------------------------- adaptive points
def test_points_double_until_the_interval_is_narrow() -> None:
    craft, images = planted.function_craft(ishigami, 3, images=4)
    settings = {"batch_size": 65536, "tolerance": 0.05}
    found = SobolImportance(craft, 32, **settings).summary(images)
    assert_allclose(found.per_image, [ishigami_indices()] * 4, atol=0.15)
    assert 4 * 32 * 5 < found.evaluations < 4 * 4096 * 5
    fixed = SobolImportance(craft, 32, batch_size=65536).summary(images)
    wide = np.ptp(fixed.estimation_interval, axis=1)
    assert (np.ptp(found.estimation_interval, axis=1) < 0.5 * wide).all()


def test_a_budget_that_ends_too_early_is_said() -> None:
    craft, images = planted.function_craft(ishigami, 3, images=3)
    importance = SobolImportance(craft, 32, batch_size=65536, tolerance=1e-4, max_design=64)
    with pytest.warns(UserWarning, match=r"3 of 3 images are wider than \+-0.0001 with 64 points"):
        importance.explain(images)


def test_doubling_is_the_same_as_that_many_points_at_once() -> None:
    craft, images = planted.function_craft(ishigami, 3, images=2)
    settings = {"batch_size": 65536, "tolerance": 0.0, "max_design": 128}
    with pytest.warns(UserWarning, match="with 128 points: raise max_design"):
        found = SobolImportance(craft, 32, **settings).summary(images)
    assert_allclose(
        found.per_image, SobolImportance(craft, 128, batch_size=65536).explain(images), rtol=1e-9
    )
    assert found.evaluations == 2 * 128 * 5


def test_doubling_does_not_depend_on_the_batch() -> None:
    craft, images = planted.function_craft(ishigami, 3, images=3)
    settings = {"tolerance": 0.08, "max_design": 512}
    together = SobolImportance(craft, 32, batch_size=65536, **settings).explain(images)
    alone = SobolImportance(craft, 32, batch_size=2, **settings).explain(images)
    assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "grid"}, "sampler must be one of 'sobol', .* received 'grid'"),
        ({"index": "second"}, "index must be 'total' or 'first', received 'second'"),
        ({"tolerance": -1.0}, "tolerance must be at least 0"),
        ({"tolerance": 0.1, "sampler": "latin hypercube"}, "points that can be extended"),
        ({"tolerance": 0.1, "max_design": 16}, "max_design must be at least nb_design, 32"),
        ({"estimator": "jansen"}, "estimator must be None or an estimator of Xplique"),
        ({"sampler": HaltonSequenceRS}, r"an instance as HaltonSequenceRS\(\), received"),
        ({"tolerance": 0.1, "nb_design": 8}, "nb_design of at least 16, .* received 8"),
        ({"index": "first", "sampler": lambda k, n: None}, "index='first' needs our points"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str) -> None:
    craft, _ = planted.function_craft(product, 2)
    with pytest.raises(ValueError, match=message):
        SobolImportance(craft, **settings)


# --------------------------------------------------------------------------------------- coverage
def test_the_estimation_interval_covers_as_often_as_it_says() -> None:
    """Nominal 90%, 500 repetitions each: 86-94%."""
    weights = np.random.default_rng(0).random((6, 12))
    bias = np.random.default_rng(1).normal(-1.2, 0.8, 12)

    def bent(gates: np.ndarray) -> np.ndarray:
        return np.maximum(gates @ weights + bias, 0.0).mean(axis=-1)

    def sample(formula: object, k: int, number: int, images: int, seed: int) -> Sample:
        sizes = group_sizes(number)
        parts = [
            points_of("sobol", 2 * k, size, np.arange(images), seed=seed, group=group)
            for group, size in enumerate(sizes)
        ]
        gates = star(np.concatenate(parts, axis=1))
        return Sample(gates, formula(gates), np.repeat(np.arange(len(sizes)), sizes))  # type: ignore[operator]

    reference = variances(sample(bent, 6, 8192, 4, 999), "total")[0].mean(axis=0)
    cases = {
        "product": (lambda g: g[..., 0] * g[..., 1], np.array([4 / 7, 4 / 7])),
        "bent": (bent, reference),
    }
    for name, (formula, truth) in cases.items():
        found, without = variances(sample(formula, len(truth), 64, 500, 5), "total")
        assert without is not None
        intervals = np.stack(
            [jackknife_interval(found[i], without[:, i]) for i in range(len(found))]
        )
        inside = (intervals[..., 0] <= truth) & (truth <= intervals[..., 1])
        assert 0.86 <= inside.mean() <= 0.94, name


def test_the_image_interval_covers_as_often_as_it_says() -> None:
    """Nominal 90%, 500 repetitions of 30 images drawn from a known population: 86-94%."""
    rng = np.random.default_rng(3)
    slopes = rng.gamma(2.0, 1.0, (100_000, 3)) * [1.0, 0.5, 0.2]
    population = affine_indices(slopes)
    truth = population.mean(axis=0)
    inside = []
    for seed in range(500):
        drawn = population[rng.integers(0, len(population), 30)]
        low, high = bootstrap_mean(drawn, seed).T
        inside.append((low <= truth) & (truth <= high))
    assert 0.86 <= np.mean(inside) <= 0.94


# ---------------------------------------------------------------------------------- other targets
def test_several_targets_from_one_bank() -> None:
    bank, images = planted.bank(), planted.paintings(5)
    craft = planted.fitted(planted.network(bank, "relu"), bank, images)
    importance = SobolImportance(craft, 16)
    targets = {"first": 0, "why 1 and not 2": xc.ClassDifference(1, 2), "own": np.arange(5) % 3}
    found = importance.summaries(images, targets)
    assert list(found) == list(targets)
    weights = np.tile(np.array([0.0, 1.0, -1.0], np.float32), (5, 1))
    assert_allclose(found["first"].per_image, importance.explain(images, 0), atol=1e-6)
    assert_allclose(
        found["why 1 and not 2"].per_image, importance.explain(images, weights), atol=1e-6
    )
    assert_allclose(found["own"].per_image, importance.explain(images, np.arange(5) % 3), atol=1e-6)
    difference = craft.contributions(images, xc.ClassDifference(1, 2)).phi
    expected = craft.contributions(images, 1).phi - craft.contributions(images, 2).phi
    assert_allclose(difference, expected, atol=2e-3 * np.abs(expected).max())


def test_targets_that_are_none_or_too_few() -> None:
    bank, images = planted.bank(), planted.paintings(5)
    craft = planted.fitted(planted.network(bank, "affine"), bank, images)
    with pytest.raises(ValueError, match="targets must name at least one target"):
        SobolImportance(craft).summaries(images, {})
    for number in (3, 9):
        with pytest.raises(ValueError, match=r"targets\['a'\] must be one class index, 5 of them"):
            SobolImportance(craft).summaries(images, {"a": np.zeros(number, int)})
        stream = tf.data.Dataset.from_generator(
            lambda: iter(images), output_signature=tf.TensorSpec((8, 8, 3))
        )
        with pytest.raises(ValueError, match=r"targets\['a'\] must be"):
            SobolImportance(craft).summaries(stream, {"a": np.zeros(number, int)})
    with pytest.raises(TypeError, match=r"targets must be a mapping, .* received list"):
        SobolImportance(craft).summaries(images, [0, 1])
    with pytest.raises(ValueError, match=r"instead_of must be below .* outputs, 3, received 7"):
        SobolImportance(craft).explain(images, xc.ClassDifference(0, 7))
