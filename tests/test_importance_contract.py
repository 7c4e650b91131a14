"""
What every importance method promises besides what `test_contract_questions` asks of all questions.

The registry is walked.
"""

from typing import Any

import numpy as np
import planted
import pytest
import tensorflow as tf
from contracts import DRAWN
from importances import Case
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions.base import BlackBoxExplainer
from xplique.commons import Tasks

import xplique_craft as xc
from xplique_craft import importance as xi
from xplique_craft.results import Importance

METHODS = sorted(xi.METHODS)
CLASSES = {
    "banzhaf": xi.BanzhafImportance,
    "gradient input": xi.GradientInputImportance,
    "hsic": xi.HsicImportance,
    "integrated gradients": xi.IntegratedGradientsImportance,
    "occlusion": xi.OcclusionImportance,
    "rise": xi.RiseImportance,
    "saliency": xi.SaliencyImportance,
    "shapley": xi.ShapleyImportance,
    "smooth grad": xi.SmoothGradImportance,
    "sobol total": xi.SobolImportance,
    "tcav": xi.TcavImportance,
}
SIGNED = {
    *("banzhaf", "gradient input", "integrated gradients", "occlusion"),
    *("shapley", "smooth grad"),
}


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("relu", "map")


@pytest.fixture(scope="module")
def affine() -> Case:
    return Case("affine", "pooled")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permutations and sets are drawn for any number of concepts."""
    monkeypatch.setattr("xplique_craft.importance.shapley.MOST_ENUMERATED", 0)
    monkeypatch.setattr("xplique_craft.importance.banzhaf.MOST_ENUMERATED", 0)


def test_the_registry() -> None:
    assert xi.METHODS == CLASSES
    assert {name for name, method in xi.METHODS.items() if method.signed} == SIGNED
    assert set(xi.__all__) == {
        "METHODS",
        "ImportanceMethod",
        *(method.__name__ for method in CLASSES.values()),
    }


@pytest.mark.parametrize("method", METHODS)
def test_it_is_an_explainer_of_xplique(case: Case, method: str) -> None:
    explainer = xi.METHODS[method](case.craft, batch_size=7)
    assert isinstance(explainer, BlackBoxExplainer)
    assert explainer.model is case.craft.model
    assert explainer.batch_size == 7
    found = explainer.explain(case.images)
    assert isinstance(found, np.ndarray)
    assert found.shape == (5, 3)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert_array_equal(explainer(case.images, None), found)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_and_targets_of_any_kind(case: Case, method: str) -> None:
    explainer = xi.METHODS[method](case.craft, batch_size=8)
    classes = np.array([1, 0, 2, 1, 1])
    labels = planted.one_hot(classes, 3)
    found = explainer.explain(case.images, labels)
    assert_array_equal(explainer.explain(tf.constant(case.images), tf.constant(labels)), found)
    assert_array_equal(explainer.explain(case.images, classes), found)
    dataset = tf.data.Dataset.from_tensor_slices((case.images, labels)).batch(8)
    assert_allclose(explainer.explain(dataset), found, rtol=1e-6, atol=1e-7)
    difference = explainer.explain(case.images, xc.ClassDifference(2, 1))
    weights = planted.one_hot([2] * 5, 3) - planted.one_hot([1] * 5, 3)
    assert_array_equal(explainer.explain(case.images, weights), difference)
    assert np.abs(difference - found).max() > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_several_targets_at_once(case: Case, method: str) -> None:
    explainer = xi.METHODS[method](case.craft, batch_size=8)
    found = explainer.summaries(case.images, {"one": 1, "why": xc.ClassDifference(0, 2)})
    assert list(found) == ["one", "why"]
    assert_array_equal(found["one"].per_image, explainer.explain(case.images, 1))
    why = explainer.explain(case.images, xc.ClassDifference(0, 2))
    assert_array_equal(found["why"].per_image, why)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("operator", [planted.by_sampling, Tasks.CLASSIFICATION])
def test_operators(case: Case, affine: Case, method: str, operator: Any) -> None:
    """They may compute what is the default; known as such or not."""
    for one in (case, affine):
        if one is affine and method in ("hsic", "sobol total"):
            continue  # exact for the one, drawn for the other
        expected = one.explain(method, 1)
        assert_allclose(one.explain(method, 1, operator=operator), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_residual_is_kept_or_not(case: Case, method: str) -> None:
    kept, dropped = (case.explain(method, 1, keep_residual=keep) for keep in (True, False))
    assert_array_equal(case.explain(method, 1), kept)
    if method != "tcav":  # signs hardly change
        assert np.abs(kept - dropped).max() > 1e-3
    bare = planted.fitted(
        case.craft.split, case.craft.factorized.bank, case.images, keep_residual=False
    )
    assert_allclose(xi.METHODS[method](bare).explain(case.images, 1), dropped, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("head", ["relu", "affine"])
def test_summaries(case: Case, affine: Case, method: str, head: str) -> None:
    one = case if head == "relu" else affine
    explainer = xi.METHODS[method](one.craft)
    importance = explainer.summary(one.images, 1)
    assert isinstance(importance, Importance)
    assert importance.method == method
    assert importance.signed == (method in SIGNED)
    assert_array_equal(importance.per_image, explainer.explain(one.images, 1))
    assert_allclose(importance.overall, importance.per_image.mean(axis=0))
    low, high = importance.image_interval.T
    assert ((low <= importance.overall) & (importance.overall <= high)).all()
    if importance.exact:
        assert_array_equal(importance.estimation_interval, np.stack([importance.overall] * 2, 1))
    phi = one.craft.contributions(one.images, 1).phi
    assert_allclose(importance.contributions.phi, phi, rtol=1e-6, atol=1e-6)
    assert (importance.evaluations == 0) == (head == "affine" and importance.exact)
    assert importance.path.kind == ("closed form" if head == "affine" else "folded and sliced")
    assert method in importance.table()


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("method", sorted(DRAWN))
class TestDraws:
    """Same seed, same bits; draws belong to images, not to batches."""

    def test_the_seed(self, case: Case, method: str) -> None:
        first, again, other = (
            case.explain(method, 1, seed=seed, **DRAWN[method]) for seed in (3, 3, 4)
        )
        assert_array_equal(first, again)
        assert (first != other).any(axis=1).all()

    def test_other_images(self, case: Case, method: str) -> None:
        explainer = xi.METHODS[method](case.craft, **DRAWN[method])
        some, all_of_them = explainer.explain(case.images[:2], 1), explainer.explain(case.images, 1)
        assert_allclose(some, all_of_them[:2], rtol=1e-3, atol=1e-4)

    def test_equal_images_have_their_own(self, case: Case, method: str) -> None:
        images = np.repeat(case.images[:1], 2, axis=0)
        first, second = xi.METHODS[method](case.craft, **DRAWN[method]).explain(images, 1)
        assert np.abs(first - second).max() > 1e-4

    def test_the_estimation_interval(self, case: Case, method: str) -> None:
        settings = {name: 8 * value for name, value in DRAWN[method].items()}
        settings = {"nb_design": 7} if method == "hsic" else settings
        settings = {"nb_samples": 7} if method == "rise" else settings
        importance = xi.METHODS[method](case.craft, **settings).summary(case.images, 1)
        assert not importance.exact
        low, high = importance.estimation_interval.T
        assert ((low <= importance.overall) & (importance.overall <= high)).all()
        assert (high - low).max() > 1e-4


def nothing(m: Any) -> Any:
    return ops.sum(0.0 * m, axis=1) + 3.0


def off(m: Any) -> Any:
    return ops.relu(m[:, 0] - 4.0) + 3.0


@pytest.fixture(scope="module", params=[nothing, off], ids=["nothing", "off"])
def constant(request: pytest.FixtureRequest) -> tuple[xc.Craft, np.ndarray]:
    return planted.function_craft(request.param, 3, images=2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_constant_scores(constant: tuple[xc.Craft, np.ndarray], method: str, weight: float) -> None:
    """Zeros, or the score itself where importances are scores; never NaN, and a warning."""
    craft, images = constant
    explainer = xi.METHODS[method](craft, **({"noise": 0.05} if method == "smooth grad" else {}))
    with pytest.warns(
        UserWarning, match=r"importances of 2 of 2 images are .* does not depend on the concepts"
    ):
        found = explainer.explain(images, np.full((2, 1), weight))
    expected = 3.0 * weight if method == "rise" else 0.0
    assert_allclose(found, np.full((2, 3), expected), atol=1e-6)


# ------------------------------------------------------------------------------ wrong arguments
@pytest.mark.parametrize("method", METHODS)
def test_shared_arguments(case: Case, method: str) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, received 0"):
        xi.METHODS[method](case.craft, batch_size=0)
    with pytest.raises(ValueError, match="seed must be at least 0, received -1"):
        xi.METHODS[method](case.craft, seed=-1)
    with pytest.raises(ValueError, match="targets must be"):
        case.explain(method, np.ones((4, 3)))


@pytest.mark.parametrize(
    ("method", "settings", "error", "match"),
    [
        ("rise", {"nb_samples": 0}, ValueError, "nb_samples must be at least 1, received 0"),
        ("rise", {"preservation_probability": "a"}, TypeError, "must be a number"),
        (
            "rise",
            {"preservation_probability": 1.0},
            ValueError,
            r"preservation_probability must be in \(0, 1\)",
        ),
        ("smooth grad", {"nb_samples": 0}, ValueError, "nb_samples must be at least 1"),
        ("smooth grad", {"nb_samples": 2.5}, TypeError, "nb_samples must be an integer"),
        ("smooth grad", {"noise": -0.1}, ValueError, "noise must be at least 0, received -0.1"),
        ("smooth grad", {"noise": float("inf")}, ValueError, "noise must be finite"),
        ("smooth grad", {"noise": float("nan")}, ValueError, "noise must be at least 0"),
        ("hsic", {"nb_design": 1}, ValueError, "nb_design must be at least 2, received 1"),
        ("hsic", {"bandwidth": "wide"}, ValueError, "bandwidth must be .deviation. or .median."),
        ("banzhaf", {"nb_samples": 0}, ValueError, "nb_samples must be at least 1, received 0"),
        ("banzhaf", {"estimator": "mean"}, ValueError, "estimator must be .kernel. or .msr."),
        ("shapley", {"nb_permutations": 0}, ValueError, "nb_permutations must be at least 1"),
        ("integrated gradients", {"steps": 1}, ValueError, "steps must be at least 2, received 1"),
        ("sobol total", {"nb_design": 1}, ValueError, "nb_design must be at least 2"),
    ],
)
def test_own_arguments(
    case: Case, method: str, settings: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        xi.METHODS[method](case.craft, **settings)
