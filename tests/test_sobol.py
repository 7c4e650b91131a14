"""Sobol indices: closed forms, analytic functions, Xplique's own parts, seeds and intervals."""

import warnings

import keras
import numpy as np
import planted
import pytest
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions import global_sensitivity_analysis as gsa
from xplique.attributions.base import BlackBoxExplainer

import xplique_craft as xc
from xplique_craft.importance import SobolImportance
from xplique_craft.importance.designs import replicate_sizes, replicated_design, scrambled_points
from xplique_craft.importance.sobol import affine_indices
from xplique_craft.results import Importance

BANK = planted.bank(concepts=4, channels=6)
SAMPLERS = ("HaltonSequenceRS", "LatinHypercubeRS", "ScipySobolSequenceRS", "TFSobolSequenceRS")
ESTIMATORS = ("Jansen", "Homma", "Janon", "Glen", "Saltelli")


def product(m: keras.KerasTensor) -> keras.KerasTensor:
    """m_1 m_2: both concepts are needed. ST = (1/12 1/3) / (1/9 - 1/16) = 4/7."""
    return m[:, 0] * m[:, 1]


def both(m: keras.KerasTensor) -> keras.KerasTensor:
    """min(m_1, m_2): the variance is 1/18, what remains given one of them 1/30. ST = 3/5."""
    return ops.minimum(m[:, 0], m[:, 1])


def ishigami(m: keras.KerasTensor) -> keras.KerasTensor:
    x = 2.0 * np.pi * m - np.pi
    first, second, third = x[:, 0], x[:, 1], x[:, 2]
    return ops.sin(first) + 7.0 * ops.sin(second) ** 2 + 0.1 * third**4 * ops.sin(first)


def sobol_g(m: keras.KerasTensor) -> keras.KerasTensor:
    """prod (|4 m_j - 2| + a_j) / (1 + a_j), a = 0, 1, 4.5."""
    a = np.array([0.0, 1.0, 4.5], np.float32)
    return ops.prod((ops.abs(4.0 * m - 2.0) + a) / (1.0 + a), axis=1)


def ishigami_indices() -> list[float]:
    a, b = 7.0, 0.1
    first = 0.5 * (1.0 + b * np.pi**4 / 5.0) ** 2
    second = a**2 / 8.0
    mixed = b**2 * np.pi**8 * (1.0 / 18.0 - 1.0 / 50.0)
    total = first + second + mixed
    return [(first + mixed) / total, second / total, mixed / total]


def sobol_g_indices() -> list[float]:
    parts = 1.0 / 3.0 / (1.0 + np.array([0.0, 1.0, 4.5])) ** 2
    total = np.prod(1.0 + parts) - 1.0
    return [parts[j] * np.prod(np.delete(1.0 + parts, j)) / total for j in range(3)]


ANALYTIC = {
    "product": (product, [4 / 7, 4 / 7]),
    "both": (both, [3 / 5, 3 / 5]),
    "ishigami": (ishigami, ishigami_indices()),
    "sobol_g": (sobol_g, sobol_g_indices()),
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(7, concepts=4)


@pytest.fixture(scope="module")
def affine(images: np.ndarray) -> xc.Craft:
    return planted.fitted(planted.network(BANK, "affine"), BANK, images)


@pytest.fixture(scope="module")
def relu(images: np.ndarray) -> xc.Craft:
    return planted.fitted(planted.network(BANK, "relu"), BANK, images)


@pytest.fixture(scope="module")
def bare(images: np.ndarray) -> xc.Craft:
    """The residual dropped, so that f_x is a product of gates and coefficients only."""
    return planted.fitted(planted.network(BANK, "relu"), BANK, images, keep_residual=False)


# ------------------------------------------------------------------------------------ exact
def test_affine_heads_have_a_closed_form(affine: xc.Craft, images: np.ndarray) -> None:
    """c_j = sum_p u_j(p) <W_j, D>, D the class's weights over the number of places."""
    kernel = affine.model.get_layer("logits").get_weights()[0][:, 0].astype(np.float64)
    c = images.mean(axis=(1, 2)).astype(np.float64) * (BANK @ kernel)
    importance = SobolImportance(affine).summary(images)
    expected = c**2 / (c**2).sum(axis=1, keepdims=True)
    assert_allclose(importance.per_image, expected, atol=1e-6)
    assert_allclose(importance.per_image.sum(axis=1), 1.0, atol=1e-6)
    assert_allclose(importance.overall, expected.mean(axis=0), atol=1e-6)


def test_the_closed_form_samples_nothing(affine: xc.Craft, images: np.ndarray) -> None:
    importance = SobolImportance(affine, nb_design=2).summary(images)
    assert importance.exact
    assert importance.evaluations == 0
    assert_array_equal(importance.estimation_interval[:, 0], importance.overall)
    assert_array_equal(importance.estimation_interval[:, 1], importance.overall)
    assert (importance.image_interval[:, 0] < importance.image_interval[:, 1]).all()


def test_the_closed_form_agrees_with_sampling(affine: xc.Craft, images: np.ndarray) -> None:
    exact = SobolImportance(affine).summary(images[:3])
    sampled = SobolImportance(affine, 4096, batch_size=4096, operator=planted.by_sampling).summary(
        images[:3]
    )
    assert not sampled.exact
    assert_allclose(sampled.per_image, exact.per_image, atol=0.01)


def test_affine_indices_by_hand() -> None:
    found = affine_indices(np.array([[3.0, -4.0, 0.0]]), np.array([2.0]))
    assert_allclose(found, [[0.36, 0.64, 0.0]], atol=1e-15)


def test_differences_of_classes_are_targets_too(affine: xc.Craft, images: np.ndarray) -> None:
    kernel = affine.model.get_layer("logits").get_weights()[0].astype(np.float64)
    c = images.mean(axis=(1, 2)).astype(np.float64) * (BANK @ (kernel[:, 1] - kernel[:, 2]))
    targets = np.tile([[0.0, 1.0, -1.0]], (len(images), 1))
    expected = c**2 / (c**2).sum(axis=1, keepdims=True)
    assert_allclose(SobolImportance(affine).explain(images, targets), expected, atol=1e-6)


# ---------------------------------------------------------------------------- known functions
@pytest.mark.parametrize("name", ANALYTIC)
def test_functions_with_known_indices(name: str) -> None:
    formula, expected = ANALYTIC[name]
    craft, images = planted.function_craft(formula, len(expected), images=8)
    importance = SobolImportance(craft, 4096, batch_size=8192).summary(images)
    assert_allclose(importance.overall, expected, atol=0.01)
    assert not importance.exact
    assert importance.evaluations == 8 * 4096 * (len(expected) + 2)


def test_a_concept_that_only_matters_together_is_not_missed() -> None:
    """Its first-order index is 0: only the total one sees it."""
    craft, image = planted.function_craft(lambda m: (m[:, 0] - 0.5) * (m[:, 1] - 0.5), 3)
    overall = SobolImportance(craft, 1024, batch_size=4096).summary(image).overall
    assert_allclose(overall, [1.0, 1.0, 0.0], atol=0.03)


# -------------------------------------------------------------------------------- invariances
@pytest.mark.parametrize(("slope", "constant"), [(3.0, 0.0), (1.0, 5.0), (-0.5, -2.0)])
def test_affine_changes_of_the_score_do_not_matter(
    relu: xc.Craft, images: np.ndarray, slope: float, constant: float
) -> None:
    def changed(model: keras.Model, inputs: object, targets: object) -> object:
        return slope * planted.by_sampling(model, inputs, targets) + constant

    expected = SobolImportance(relu).explain(images)
    assert_allclose(SobolImportance(relu, operator=changed).explain(images), expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["affine", "relu"])
def test_permuting_the_bank_permutes_the_indices(
    request: pytest.FixtureRequest, kind: str, images: np.ndarray
) -> None:
    """Exactly where exact; of sampled ones within what sampling leaves."""
    craft: xc.Craft = request.getfixturevalue(kind)
    order = [2, 0, 3, 1]
    other = planted.fitted(craft.split, BANK[order], images)
    expected = SobolImportance(craft, 512, batch_size=4096).explain(images[:2])
    permuted = SobolImportance(other, 512, batch_size=4096).explain(images[:2])
    assert_allclose(permuted, expected[:, order], atol=1e-5 if kind == "affine" else 0.02)


def test_the_scale_of_a_bank_row_does_not_matter(relu: xc.Craft, images: np.ndarray) -> None:
    scaled = planted.fitted(relu.split, BANK * np.array([[1.0], [7.0], [0.01], [300.0]]), images)
    assert_allclose(
        SobolImportance(scaled).explain(images), SobolImportance(relu).explain(images), atol=1e-4
    )


def test_an_absent_concept_has_no_importance(relu: xc.Craft, images: np.ndarray) -> None:
    without = images.copy()
    without[..., 1] = 0.0
    importance = SobolImportance(relu).explain(without)
    assert_allclose(importance[:, 1], 0.0, atol=1e-10)
    assert importance.max() > 0.1


# -------------------------------------------------------------------------------- Xplique's parts
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_and_estimators_of_xplique(sampler: str, estimator: str) -> None:
    craft, image = planted.function_craft(both, 2)
    importance = SobolImportance(
        craft,
        1024,
        getattr(gsa, sampler)(),
        getattr(gsa, f"{estimator}Estimator")(),
        batch_size=8192,
    ).summary(image)
    # Xplique's Latin hypercube draws without a seed: its errors differ from run to run.
    tolerance = 0.3 if sampler == "LatinHypercubeRS" else 0.08
    assert_allclose(importance.overall, [0.6, 0.6], atol=tolerance)
    assert importance.evaluations == 1024 * 4
    assert np.isnan(importance.estimation_interval).all()  # their points are not replicated


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_of_xplique_with_our_estimator(sampler: str) -> None:
    craft, image = planted.function_craft(product, 2)
    importance = SobolImportance(craft, 1024, getattr(gsa, sampler)(), batch_size=8192)
    assert_allclose(importance.explain(image), [[4 / 7, 4 / 7]], atol=0.05)


def test_an_estimator_of_xplique_with_our_sampler() -> None:
    craft, image = planted.function_craft(product, 2)
    importance = SobolImportance(craft, 1024, estimator=gsa.JansenEstimator(), batch_size=8192)
    assert_allclose(importance.explain(image), [[4 / 7, 4 / 7]], atol=0.03)


def test_our_jansen_is_xpliques(relu: xc.Craft, images: np.ndarray) -> None:
    """On one design; theirs takes the variance of f(A) alone, ours of f(A) and f(B)."""
    sampler, k = gsa.HaltonSequenceRS(), 4
    design = np.asarray(sampler(k, 64))
    ours = SobolImportance(relu, 64, sampler).explain(images)
    theirs = SobolImportance(relu, 64, sampler, gsa.JansenEstimator()).explain(images)
    head = SobolImportance(relu)._gated_head()
    values = head.evaluate(planted.coded(relu, images), BANK, design).astype(np.float64)
    ratio = values[:, :64].var(axis=1, ddof=1) / values[:, :128].var(axis=1, ddof=1)
    assert_allclose(ours, theirs * ratio[:, None], atol=1e-5)


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
def test_scrambled_points_are_uniform_and_even() -> None:
    """One of 64 points in each 64th of [0, 1], in every dimension and for every image."""
    points = scrambled_points(6, 64, np.arange(5), seed=1)
    assert points.shape == (5, 64, 6)
    assert points.min() > 0.0
    assert points.max() < 1.0
    strata = np.sort((points * 64).astype(int), axis=1)
    assert_array_equal(strata, np.broadcast_to(np.arange(64)[None, :, None], points.shape))


def test_scrambled_points_are_keyed_by_image_seed_and_replicate() -> None:
    base = scrambled_points(4, 16, np.array([0, 1, 2]), seed=1)
    assert_array_equal(scrambled_points(4, 16, np.array([2, 0]), seed=1), base[[2, 0]])
    assert not np.array_equal(base[0], base[1])
    assert not np.array_equal(scrambled_points(4, 16, np.array([0]), seed=2)[0], base[0])
    replicate = scrambled_points(4, 16, np.array([0]), seed=1, replicate=1)
    assert not np.array_equal(replicate[0], base[0])


def test_a_replicated_design_by_hand() -> None:
    points = np.array([[[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]])
    expected = [
        *[[0.1, 0.2], [0.5, 0.6]],  # A
        *[[0.3, 0.4], [0.7, 0.8]],  # B
        *[[0.3, 0.2], [0.7, 0.6]],  # the first gate from B
        *[[0.1, 0.4], [0.5, 0.8]],  # the second
    ]
    assert_allclose(replicated_design(points)[0], expected, rtol=1e-6)


def test_a_replicated_design_is_in_xpliques_order() -> None:
    theirs = np.asarray(gsa.HaltonSequenceRS()(3, 8))
    points = np.concatenate([theirs[:8], theirs[8:16]], axis=1)[None]
    assert_allclose(replicated_design(points)[0], theirs, atol=1e-7)


@pytest.mark.parametrize(
    ("nb_design", "sizes"), [(2, [2]), (5, [3, 2]), (32, [4] * 8), (33, [5] + [4] * 7)]
)
def test_designs_are_shared_among_scrambles(nb_design: int, sizes: list[int]) -> None:
    assert_array_equal(replicate_sizes(nb_design), sizes)


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


# --------------------------------------------------------------------------------------- summary
@pytest.mark.parametrize("nb_design", [2, 3, 20, 33])
def test_the_summary_adds_up(relu: xc.Craft, images: np.ndarray, nb_design: int) -> None:
    explainer = SobolImportance(relu, nb_design)
    for _ in range(2):
        importance = explainer.summary(images)
        assert isinstance(importance, Importance)
        assert importance.method == "sobol total"
        assert importance.per_image.shape == (7, 4)
        assert_allclose(importance.overall, importance.per_image.mean(axis=0), atol=1e-7)
        assert importance.evaluations == 7 * nb_design * (4 + 2)


def test_it_is_an_explainer_of_xplique(affine: xc.Craft, images: np.ndarray) -> None:
    explainer = SobolImportance(affine, batch_size=5)
    targets = planted.one_hot([0] * 7, 3)
    assert isinstance(explainer, BlackBoxExplainer)
    assert explainer.model is affine.model
    assert explainer.batch_size == 5
    assert_array_equal(explainer(images, targets), explainer.explain(images, 0))
    assert_array_equal(explainer.explain(images), explainer.explain(images, 0))


def test_keep_residual_is_the_crafts_unless_given(
    relu: xc.Craft, bare: xc.Craft, images: np.ndarray
) -> None:
    """On a bank that misses a concept the two differ."""
    few = planted.fitted(relu.split, BANK[:3], images)
    few_bare = planted.fitted(relu.split, BANK[:3], images, keep_residual=False)
    kept, dropped = SobolImportance(few).explain(images), SobolImportance(few_bare).explain(images)
    assert np.abs(kept - dropped).max() > 1e-3
    assert_array_equal(SobolImportance(few, keep_residual=False).explain(images), dropped)
    assert_array_equal(SobolImportance(few_bare, keep_residual=True).explain(images), kept)


@pytest.mark.parametrize("head", ["affine", "relu"])
@pytest.mark.parametrize("nb_design", [32, 1024])
def test_a_constant_score_gives_zeros_and_one_warning(
    request: pytest.FixtureRequest, images: np.ndarray, head: str, nb_design: int
) -> None:
    """No image shows a concept."""
    craft: xc.Craft = request.getfixturevalue(head)
    black = np.zeros_like(images[:2])
    with pytest.warns(UserWarning, match="does not depend on the concepts") as caught:
        importance = SobolImportance(craft, nb_design, batch_size=1024).summary(black)
    assert_array_equal(importance.per_image, np.zeros((2, 4)))
    assert_array_equal(importance.overall, np.zeros(4))
    assert len(caught) == 1
    assert "2 of 2 images" in str(caught[0].message)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_constant_score_gives_zeros_with_xpliques_estimators(
    relu: xc.Craft, images: np.ndarray, estimator: str
) -> None:
    importance = SobolImportance(relu, 32, estimator=getattr(gsa, f"{estimator}Estimator")())
    with pytest.warns(UserWarning, match="does not depend on the concepts"):
        values = importance.explain(np.zeros_like(images[:2]))
    assert_array_equal(values, np.zeros((2, 4)))


def test_only_the_constant_images_are_zeros(relu: xc.Craft, images: np.ndarray) -> None:
    mixed = images[:3].copy()
    mixed[1] = 0.0
    with pytest.warns(UserWarning, match="1 of 3 images"):
        values = SobolImportance(relu).explain(mixed)
    assert_array_equal(values[1], np.zeros(4))
    assert values[[0, 2]].max(axis=1).min() > 0.1


def test_a_score_constant_but_for_rounding_is_constant(images: np.ndarray) -> None:
    """The class's weights are orthogonal to all concepts, as well as float32 can tell."""
    model = planted.network(BANK, "affine")
    bias = model.get_layer("logits").get_weights()[1]
    rest = np.linalg.svd(BANK)[2][-1]
    model.get_layer("logits").set_weights([np.stack([rest] * 3, axis=1), bias])
    craft = planted.fitted(model, BANK, images)
    assert np.abs(BANK @ rest).max() < 1e-6
    with pytest.warns(UserWarning, match="does not depend on the concepts"):
        values = SobolImportance(craft).explain(images)
    assert_array_equal(values, np.zeros((7, 4)))


def test_nothing_warns_where_the_score_depends_on_the_concepts(
    relu: xc.Craft, images: np.ndarray
) -> None:
    """Not even where the score is mostly a constant."""

    def lifted(model: keras.Model, inputs: object, targets: object) -> object:
        return planted.by_sampling(model, inputs, targets) + 100.0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = SobolImportance(relu, operator=lifted).explain(images)
    assert_allclose(values, SobolImportance(relu).explain(images), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"nb_design": 1}, ValueError, "nb_design must be at least 2, received 1"),
        ({"nb_design": 32.0}, TypeError, "nb_design must be an integer"),
        ({"seed": -1}, ValueError, "seed must be at least 0, received -1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, received 0"),
    ],
)
def test_settings_are_checked(
    affine: xc.Craft, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SobolImportance(affine, **settings)
