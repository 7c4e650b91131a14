"""Sobol indices: closed forms, analytic functions, invariances, what a summary says."""

import warnings

import keras
import numpy as np
import planted
import pytest
from analytic import ANALYTIC
from numpy.testing import assert_allclose, assert_array_equal
from warned import ours
from xplique.attributions import global_sensitivity_analysis as gsa
from xplique.attributions.base import BlackBoxExplainer

import xplique_craft as xc
from xplique_craft.importance import SobolImportance
from xplique_craft.importance.sobol import affine_indices
from xplique_craft.results import Importance

BANK = planted.bank(concepts=4, channels=6)
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
    found = affine_indices(np.array([[3.0, -4.0, 0.0]]))
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
    assert len(ours(caught)) == 1
    assert "2 of 2 images" in str(ours(caught)[0].message)


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
