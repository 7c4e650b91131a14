"""What explainers and operators of the user's give wrong, and what is said of it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from xplique.attributions import (
    HsicAttributionMethod,
    Occlusion,
    Rise,
    Saliency,
    SobolAttributionMethod,
)
from xplique.attributions.global_sensitivity_analysis import JansenEstimator
from xplique.attributions.global_sensitivity_analysis.hsic_estimators import RbfEstimator

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.importance import SaliencyImportance

SIZE = (8, 12)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((6, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.convolutional_craft(images, 3)


# -------------------------------------------------------------------------------------- operators
def whole(model: Any, x: Any, targets: Any) -> Any:
    return model(x) * targets


def kept(model: Any, x: Any, targets: Any) -> Any:
    return tf.reduce_sum(model(x) * targets, axis=-1, keepdims=True)


def together(model: Any, x: Any, targets: Any) -> Any:
    return tf.reduce_sum(model(x) * targets)


def constant(model: Any, x: Any, targets: Any) -> Any:
    return tf.ones([5])


def nothing(model: Any, x: Any, targets: Any) -> Any:
    model(x)


def words(model: Any, x: Any, targets: Any) -> Any:
    return tf.fill([tf.shape(x)[0]], "high")


def several(model: Any, x: Any, targets: Any) -> Any:
    return model(x)[:, 0], model(x)[:, 1]


def failing(model: Any, x: Any, targets: Any) -> Any:
    raise KeyError("no such class")


def two(model: Any, x: Any) -> Any:
    return model(x)


MUST = r"must be a function \(model, inputs, targets\)"
OPERATORS: list[tuple[Any, type[Exception], str]] = [
    (whole, ValueError, rf"{MUST} .* received shape \(n, [38]\)"),
    (kept, ValueError, rf"{MUST} .* received shape \(n, 1\)"),
    (together, ValueError, rf"{MUST} .* received shape \(\)"),
    (constant, ValueError, rf"{MUST} .* received shape \(5\)"),
    (nothing, ValueError, rf"{MUST} .* received None"),
    (words, ValueError, rf"{MUST} .* received .*string"),
    (several, ValueError, rf"{MUST} .* received \("),
    (failing, ValueError, rf"{MUST} .* it raised KeyError: .*no such class"),
    (two, TypeError, rf"{MUST}"),
    (5, TypeError, rf"{MUST} .*received 5"),
    ("no task", ValueError, rf"{MUST} .*received 'no task'"),
]


@pytest.mark.parametrize(
    ("operator", "error", "message"), OPERATORS, ids=[str(o[0])[:20] for o in OPERATORS]
)
def test_operators_that_give_no_score_are_refused_when_they_are_given(
    craft: xc.Craft, operator: Any, error: type[Exception], message: str
) -> None:
    """To importances and maps, and to an explainer of Xplique among its arguments."""
    for make in (SaliencyImportance, ConceptAttribution):
        with pytest.raises(error, match=f"^operator {message}"):
            make(craft, operator=operator)
    with pytest.raises(error, match=r"^(explainer_args\['operator'\]|operator) " + message):
        ConceptAttribution(craft, Saliency, {"operator": operator})


def test_operators_that_give_scores_pass(craft: xc.Craft, images: np.ndarray) -> None:
    """Of any kind of callable; they are the score that they say."""

    class Doubled:
        def __call__(self, model: Any, x: Any, targets: Any) -> Any:
            return 2.0 * ops.sum(model(x) * targets, axis=-1)

    expected = 2.0 * SaliencyImportance(craft).explain(images)
    for operator in (Doubled(), tf.function(Doubled())):
        found = SaliencyImportance(craft, operator=operator).explain(images)
        assert_allclose(found, expected, rtol=1e-4)
    assert ConceptAttribution(craft, Saliency, {"operator": "classification"}).runs_once_a_concept


# ------------------------------------------------------------------------------------- explainers
class Gives:
    """An explainer of the user's, of that answer."""

    def __init__(self, answer: Callable[[np.ndarray], Any]) -> None:
        self.answer = answer

    def explain(self, inputs: Any, targets: Any = None) -> Any:
        return self.answer(inputs)


ANSWERS: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "nothing": (lambda x: None, "received None from Gives"),
    "a number": (lambda x: 0.5, r"received shape \(\) from"),
    "words": (lambda x: np.full(x.shape[:3], "high"), "received array"),
    "objects": (lambda x: np.full(x.shape[:3], None), "received array"),
    "complex": (lambda x: np.zeros(x.shape[:3], complex), "received array"),
    "ragged": (lambda x: [[1.0], [2.0, 3.0]], r"received \[\[1.0\], \[2.0, 3.0\]\]"),
    "another size": (lambda x: x[:, 1:, :, :1], r"received shape \(6, 7, 12, 1\)"),
    "another number": (lambda x: x[1:, ..., :1], r"received shape \(5, 8, 12, 1\)"),
    "turned": (lambda x: x[..., 0].swapaxes(1, 2), r"received shape \(6, 12, 8, 1\)"),
    "NaN": (lambda x: np.nan * x[..., :1], "Gives gives maps of concept 0 that are not finite"),
    "infinite": (lambda x: x[..., :1] / 0.0, "Gives gives maps of concept 0 that are not finite"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_that_are_no_maps(craft: xc.Craft, images: np.ndarray, answer: str) -> None:
    give, message = ANSWERS[answer]
    attribution = ConceptAttribution(craft, lambda model: Gives(give))
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=message):
        attribution.explain_concepts(images, 0)


@pytest.mark.parametrize("kind", [bool, np.int64, np.float16, np.float64])
def test_answers_of_any_number_are_maps(craft: xc.Craft, images: np.ndarray, kind: type) -> None:
    """Lists of them, too."""
    given = (images[..., :1] > 0.5).astype(kind)
    for answer in (given, given[..., 0].tolist(), tf.constant(given)):
        found = ConceptAttribution(craft, lambda model, a=answer: Gives(lambda x: a))
        maps = found.explain_concepts(images, 0)
        assert maps.dtype == np.float32
        assert (maps == given.astype(np.float32)).all()


@pytest.mark.parametrize("made", [None, 3, "Saliency", keras.Model])
def test_functions_that_make_no_explainer(craft: xc.Craft, made: Any) -> None:
    with pytest.raises(TypeError, match=r"a function that returns an explainer, .* that returns "):
        ConceptAttribution(craft, lambda model: made)


class Forgotten(JansenEstimator):
    """Its `return` was."""

    def __call__(self, masks: Any, outputs: Any, nb_design: int) -> Any:
        return None


class OneTooFew(JansenEstimator):
    """A row of the grid is missing."""

    def __call__(self, masks: Any, outputs: Any, nb_design: int) -> Any:
        return np.zeros((3, 4, 1), np.float32)


class Careless(RbfEstimator):
    """As above, for Hsic."""

    def __call__(self, masks: Any, outputs: Any, nb_design: int) -> Any:
        return None


FAILING: list[tuple[Any, dict[str, Any], str]] = [
    (SobolAttributionMethod, {"estimator": Forgotten()}, "an index for each of .* not None"),
    (SobolAttributionMethod, {"estimator": OneTooFew()}, r"of \(4, 4\), not shape \(3, 4, 1\)"),
    (Rise, {"nb_samples": 8, "grid_size": "wide"}, "Rise fails on these images"),
    (Occlusion, {"patch_size": 4, "patch_stride": 0}, "Occlusion fails on these images"),
    (HsicAttributionMethod, {"estimator": Careless()}, "HsicAttributionMethod fails on these"),
]


@pytest.mark.parametrize(("explainer", "arguments", "message"), FAILING)
def test_arguments_that_an_explainer_cannot_work_with(
    craft: xc.Craft, images: np.ndarray, explainer: Any, arguments: dict[str, Any], message: str
) -> None:
    """What it stumbles over is said, and that its arguments are `explainer_args`."""
    if explainer in (SobolAttributionMethod, HsicAttributionMethod):
        arguments = {"grid_size": 4, "nb_design": 8, **arguments}
    with pytest.raises(ValueError, match=message) as raised:
        ConceptAttribution(craft, explainer, arguments).explain_concepts(images[:1])
    assert "explainer_args" in str(raised.value)


def test_what_a_user_s_own_explainer_raises_is_left_to_it(
    craft: xc.Craft, images: np.ndarray
) -> None:
    def raising(inputs: Any) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ConceptAttribution(craft, lambda model: Gives(raising)).explain_concepts(images)


# ------------------------------------------------------------------------------------- the score
def test_relevance_without_a_gradient_is_refused() -> None:
    """A square root has none at 0, where the second concept is absent."""

    def formula(m: Any) -> Any:
        return ops.sqrt(m[:, 0]) + m[:, 1]

    craft, images = planted.function_craft(formula, 2, images=2)
    images[..., 0] = 0.0
    attribution = ConceptAttribution(
        craft, Occlusion, {"patch_size": 1, "patch_stride": 1}, output="relevance"
    )
    with pytest.raises(ValueError, match="relevance of concepts is NaN or infinite at some"):
        attribution.explain(images, 0)


@pytest.mark.parametrize("smoothing", [1e3, 1e6])
def test_a_gaussian_wider_than_the_map_leaves_its_mean(
    craft: xc.Craft, images: np.ndarray, smoothing: float
) -> None:
    """And takes no longer for it."""
    maps = ConceptAttribution(craft, smoothing=smoothing).explain(images).numpy()
    mean = maps.mean(axis=(1, 2), keepdims=True)
    assert_allclose(maps, np.broadcast_to(mean, maps.shape), rtol=1e-3)
