"""
What every importance, attribution and measure promises, whatever it computes.

The registries are walked: a new entry is tested by being there. Factorizers have contracts of their
own, in `test_contract_factorizers`; so does what is of importances alone, in
`test_importance_contract`.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import contracts
import explainers
import matplotlib.pyplot as plt
import numpy as np
import planted
import pytest
import tensorflow as tf
import xplique.attributions
from contracts import ATTRIBUTIONS, IMPORTANCES, OTHERS, QUESTIONS, SIZE, Question
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from xplique.attributions import Rise

import xplique_craft as xc
from xplique_craft import comparison, importance

N = 5
SHUFFLED = np.array([3, 0, 4, 2, 1])
ORDER = np.array([2, 0, 1])
# By gradients, and by draws that all concepts share; every other explainer is slow to compile.
QUICK = ("own", "Rise activation", "Saliency activation")
SLOW = {one.name for one in ATTRIBUTIONS if not one.name.startswith(QUICK)} | {"randomisation"}


def walked(questions: list[Question]) -> list[Any]:
    """As parameters of a test."""
    return [
        pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.name in SLOW else [])
        for one in questions
    ]


every_question = pytest.mark.parametrize("question", walked(QUESTIONS))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((N, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return contracts.craft_of(images)


@pytest.fixture(scope="module")
def known(images: np.ndarray, craft: xc.Craft) -> dict[Any, np.ndarray]:
    """What was answered already."""
    return {}


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    return planted.one_hot([1, 0, 2, 1, 1], 3)


@pytest.fixture
def answer(
    images: np.ndarray, craft: xc.Craft, targets: np.ndarray, known: dict[Any, np.ndarray]
) -> Any:
    """What a question gives of these images; asked once, whatever test comes first."""

    def of(question: Question) -> np.ndarray:
        if question.name not in known:
            known[question.name] = asked(question, craft, images, targets)
        return known[question.name]

    return of


def asked(
    question: Question,
    craft: xc.Craft,
    images: Any,
    targets: Any,
    batch_size: int = 64,
    seed: int = 0,
) -> np.ndarray:
    with (
        warnings.catch_warnings()
    ):  # what is said of few images, and of flat ones, is not asked here
        warnings.simplefilter("ignore", UserWarning)
        return question.ask(craft, images, targets, batch_size, seed)


def close(found: np.ndarray, expected: np.ndarray, share: float = 1e-3) -> None:
    """Equal up to a share of the largest number."""
    scale = np.nanmax(np.abs(expected))
    assert scale > 0.0
    assert_allclose(found, expected, rtol=0.0, atol=share * scale)


# ----------------------------------------------------------------------------------- the registries
def test_no_entry_is_left_out() -> None:
    """A new one has to be written down here, or is found by the registry itself."""
    assert {one.name for one in IMPORTANCES} == set(importance.METHODS)
    assert {type(one) for one in contracts.MEASURES} == {type(one) for one in comparison.DEFAULTS}
    classes = {name for name, one in vars(xplique.attributions).items() if isinstance(one, type)}
    assert {*contracts.MAPS, "FEM"} == {*classes, None}
    assert classes == set(explainers.ARGUMENTS)


# ------------------------------------------------------------------------------------- before a fit
@every_question
def test_before_fit(craft: xc.Craft, images: np.ndarray, question: Question) -> None:
    unfitted = xc.Craft.from_model(craft.split, number_of_concepts=3)
    with pytest.raises(NotFittedError, match=r"not fitted: call fit\(inputs, class_id\)"):
        question.ask(unfitted, images, 0, 8, 0)


# -------------------------------------------------------------- answers, and what they leave behind
@every_question
def test_answers_and_what_they_leave(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    known: dict[Any, np.ndarray],
    question: Question,
) -> None:
    """Finite numbers of a known shape; arguments, the craft and all that is global stay."""
    images, targets = images.copy(), targets.copy()
    given = images.copy(), targets.copy()
    tf.random.get_global_generator()
    before = contracts.global_state()
    craft_before = contracts.state_of_craft(craft)
    found = asked(question, craft, images, targets)
    after, craft_after = contracts.global_state(), contracts.state_of_craft(craft)
    changed = [name for name, value in before.items() if name in after and after[name] != value]
    assert changed == []
    assert [name for name, value in craft_before.items() if craft_after[name] != value] == []
    assert_array_equal(images, given[0])
    assert_array_equal(targets, given[1])
    assert isinstance(found, np.ndarray)
    assert found.shape == question.shape
    assert found.dtype == question.dtype
    if question.name not in ("prevalence",):  # NaN where a concept is never the first
        assert np.isfinite(found).all()
    known.setdefault(question.name, found)


LEFT: dict[str, Callable[[pytest.MonkeyPatch], object]] = {
    "the generator of random": lambda _: random.random(),
    "the generator of numpy.random": lambda _: np.random.random(),  # noqa: NPY002
    "the generator of that seed": lambda _: tf.random.uniform([1]),
    "tf.random's generator": lambda _: tf.random.get_global_generator().normal([1]),
    "classes of Xplique": lambda patch: patch.setattr(Rise, "_get_masks", None),
    "settings of Matplotlib": lambda patch: patch.setitem(plt.rcParams, "font.size", 3.0),
    "the environment": lambda patch: patch.setenv("XPLIQUE_CRAFT_LEFT", "1"),
    "warnings": lambda _: warnings.simplefilter("ignore", UserWarning),
    "what NumPy does of errors": lambda _: np.seterr(under="raise"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_would_be_seen(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    tf.random.set_seed(1)
    tf.random.get_global_generator()
    with np.errstate(), warnings.catch_warnings():
        before = contracts.global_state()
        assert contracts.global_state() == before
        LEFT[name](monkeypatch)
        after = contracts.global_state()
    assert [key for key, value in before.items() if after[key] != value] == [name]


@every_question
def test_arguments_that_cannot_be_written(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray, answer: Any, question: Question
) -> None:
    """As those of a memory map; nor need they be contiguous. And the same bits come again."""
    images, targets = np.asfortranarray(images), np.asfortranarray(targets)
    images.flags.writeable = targets.flags.writeable = False
    expected = answer(question)
    assert_array_equal(asked(question, craft, images, targets), expected)


# -------------------------------------------------------------------------------------------- draws
@pytest.mark.parametrize("question", walked([one for one in QUESTIONS if one.draws]))
def test_another_seed(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    answer: Any,
    question: Question,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xplique_craft.importance.shapley.MOST_ENUMERATED", 0)
    monkeypatch.setattr("xplique_craft.importance.banzhaf.MOST_ENUMERATED", 0)
    first, again, other = (asked(question, craft, images, targets, seed=s) for s in (3, 3, 4))
    assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("question", walked([one for one in QUESTIONS if not one.draws]))
def test_no_seed_where_nothing_is_drawn(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray, answer: Any, question: Question
) -> None:
    expected = answer(question)
    assert_array_equal(asked(question, craft, images, targets, seed=4), expected)


# ---------------------------------------------------------------------- in what order, in what form
@pytest.mark.parametrize("question", walked([one for one in QUESTIONS if not one.own_draws]))
def test_the_order_of_the_images(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray, answer: Any, question: Question
) -> None:
    expected = answer(question)
    found = asked(question, craft, images[SHUFFLED], targets[SHUFFLED])
    close(found, expected[SHUFFLED] if question.by_image else expected)


@pytest.fixture(scope="module")
def reordered(craft: xc.Craft) -> Any:
    """The same bank in another order."""
    return contracts.in_order(craft, ORDER)


NOT_REORDERED = "sanity check"  # its floors look for concepts of their own


@pytest.mark.parametrize(
    "question",
    walked([one for one in QUESTIONS if not one.own_draws and one.name != NOT_REORDERED]),
)
def test_the_order_of_the_concepts(
    reordered: Any, images: np.ndarray, targets: np.ndarray, answer: Any, question: Question
) -> None:
    expected, found = answer(question), asked(question, reordered, images, targets)
    close(found, expected[..., ORDER] if question.by_concept else expected)


@every_question
def test_the_batch_size(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    answer: Any,
    question: Question,
) -> None:
    for batch_size in (3,) if question in ATTRIBUTIONS else (1, 3):
        close(asked(question, craft, images, targets, batch_size), answer(question))


def datasets_of(images: np.ndarray, targets: np.ndarray) -> Iterator[tuple[Any, Any]]:
    pairs = tf.data.Dataset.from_tensor_slices((images, targets))
    yield pairs.batch(3).prefetch(1), None
    yield tf.constant(images), tf.constant(targets)
    yield list(images), targets.argmax(axis=1)


@pytest.mark.parametrize("form", range(3))
@pytest.mark.parametrize(
    "question", walked([one for one in QUESTIONS if one.datasets and one.name not in SLOW])
)
def test_arrays_tensors_and_datasets(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    answer: Any,
    question: Question,
    form: int,
) -> None:
    inputs, labels = list(datasets_of(images, targets))[form]
    if labels is None and question in OTHERS:
        labels = targets  # labels of a dataset are targets to explainers alone
    close(asked(question, craft, inputs, labels), answer(question))
