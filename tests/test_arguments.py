"""
Arguments of wrong kinds, shapes and values: what is said of each, wherever it is given.

`test_malformed` draws them at random; here stand the rules, and the cases that were once wrong.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_allclose
from warned import ours
from xplique.attributions import Saliency

import xplique_craft as xc
from xplique_craft import importance, metrics, plots
from xplique_craft._checks import (
    RULES,
    as_array,
    check,
    check_array,
    check_indices,
    check_list,
    shown,
)
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.factorization import NMF, SemiNMF, XpliqueFactorizer
from xplique_craft.recursion.shares import measure_shares
from xplique_craft.results import Contributions
from xplique_craft.targets import ClassDifference, Targets, one_hot

BANK = planted.bank()
drawn = settings(max_examples=25, derandomize=True, deadline=None, database=None)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(4)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.fitted(planted.network(BANK, "relu"), BANK, images)


def _said(call: Callable[[], Any]) -> str:
    """What a documented error says; nothing where there is none."""
    try:
        call()
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


# ------------------------------------------------------------------------- one rule a parameter
def test_the_same_wrong_value_is_answered_alike_everywhere(
    craft: xc.Craft, images: np.ndarray
) -> None:
    sentences = set()
    for call in (
        lambda: xc.Craft.from_model(craft.split, None, 3, batch_size=0),
        lambda: importance.OcclusionImportance(craft, batch_size=0),
        lambda: ConceptAttribution(craft, batch_size=0),
        lambda: xc.compare(craft, images, batch_size=0),
        lambda: craft.variant(batch_size=0),
    ):
        with pytest.raises(ValueError, match=r"batch_size") as caught:
            call()
        sentences.add(str(caught.value))
    assert sentences == {"batch_size must be at least 1, received 0."}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("value", [np.nan, -3, "2", [], {}, object(), np.zeros(3), 10**400, 1 + 1j])
def test_every_rule_refuses_by_name(name: str, value: Any) -> None:
    if isinstance(value, str) and name in ("class_name", "model_name", "title"):
        return
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must be .*received "):
        check(name, value)


@drawn
@given(st.integers() | st.floats() | st.booleans() | st.text() | st.none() | st.complex_numbers())
def test_rules_give_what_they_took_or_an_error_that_names_it(value: Any) -> None:
    for name in RULES:
        said = _said(lambda name=name: check(name, value))
        assert said.startswith(f"{name} must be ") or (said == "" and check(name, value) == value)


def test_seeds_that_scikit_learn_does_not_take() -> None:
    """They were refused by it, or not, as the size of the problem was."""
    rows = np.ones((4, 3), np.float32)
    for call in (
        lambda: NMF().fit(rows, 2, 2**32),
        lambda: XpliqueFactorizer(NMF(), 2, seed=2**32),
        lambda: check("seed", 2**32),
    ):
        with pytest.raises(
            ValueError, match=r"seed must be at most 4294967295, received 4294967296"
        ):
            call()


def test_what_was_received_is_said_in_few_words() -> None:
    class Fails:
        def __repr__(self) -> str:
            raise RuntimeError

    for value in (np.zeros((9, 9)), list(range(1000)), "x" * 999, Fails(), 10**400, "a\nb" * 50):
        words = shown(value)
        assert len(words) <= 100
        assert "\n" not in words
    assert shown(np.zeros((9, 9))) == "an array of shape (9, 9) of type float64"
    assert shown(Fails()) == "an object of type Fails"
    assert shown("no") == "'no'"


# ------------------------------------------------------------------------------------- arrays
NO_ARRAYS = [
    *(None, "images", b"images", {"x": 1}, {1.0}, object(), int, np, iter([1.0]), lambda: 1),
    *(1j, np.array([1j]), np.array(["a"]), np.array([None]), np.array(["2020"], "datetime64[Y]")),
    *(np.zeros(2, [("a", "f4")]), tf.constant(["a"]), keras.Input((2,))),
    tf.data.Dataset.from_tensor_slices([1.0]),
    tf.ragged.constant([[1.0], [2.0, 3.0]]),
    tf.sparse.from_dense(np.eye(2)),
]


@pytest.mark.parametrize("value", NO_ARRAYS, ids=lambda value: type(value).__name__)
def test_what_is_no_array_of_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^u must be an array or a tensor of real numbers"):
        as_array("u", value)


def test_ragged_and_masked_arrays() -> None:
    with pytest.raises(ValueError, match=r"^u must be .* received lists of different lengths"):
        as_array("u", [[1, 2], [3]])
    with pytest.raises(ValueError, match=r"^u must be .* some values are masked"):
        as_array("u", np.ma.masked_less(np.arange(3), 2))
    kept = as_array("u", np.ma.masked_less(np.arange(3), 0))  # none is masked
    assert kept.tolist() == [0, 1, 2]


NUMBERS = arrays.arrays(
    st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint64, np.bool_]),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)


@drawn
@given(NUMBERS, st.sampled_from([None, "n", "n, c", "n, 2", "n, ..., 2", "..., c", "n, h, w, c"]))
def test_arrays_by_their_shapes(value: np.ndarray, axes: str | None) -> None:
    wanted = [] if axes is None else axes.split(", ")
    fits = axes is None or (
        value.ndim >= len(wanted) - 1 if "..." in wanted else value.ndim == len(wanted)
    )
    if fits and wanted[-1:] == ["2"]:
        fits = value.shape[-1:] == (2,)
    fits = fits and value.size > 0 and bool(np.isfinite(value).all())
    if fits:
        assert check_array("u", value, axes) is value
    else:
        with pytest.raises(ValueError, match=r"^u must (have shape|not be empty|be finite)"):
            check_array("u", value, axes)


def test_lists_and_indices() -> None:
    assert check_list("titles", ("a", "b"), "names") == ["a", "b"]
    for value in ("ab", {"a"}, {"a": 1}, None, iter("ab"), np.array("a")):
        with pytest.raises(TypeError, match=r"^titles must be a list of names, received"):
            check_list("titles", value, "names")
    assert check_indices("concepts", [2, 0]).tolist() == [2, 0]
    assert check_indices("concepts", []).tolist() == []
    for bad in ([1.0], [-1], [True]):
        with pytest.raises(ValueError, match=r"^concepts must be whole numbers from 0 on"):
            check_indices("concepts", bad)


# ------------------------------------------------------------------- wherever data comes in
def _spoilt(array: np.ndarray, value: float) -> np.ndarray:
    copy = np.array(array, np.float32)
    copy.reshape(-1)[copy.size // 2] = value
    return copy


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(craft: xc.Craft, images: np.ndarray, value: float) -> None:
    """NaN coefficients were decoded to NaN without a word."""
    u = craft.transform(images)
    factorized, adapter = craft.factorized, XpliqueFactorizer(NMF(), 2)
    rows = np.random.default_rng(0).random((9, 5)).astype(np.float32)
    adapter.fit(rows)
    for call in (
        lambda: craft.inverse_transform(_spoilt(u, value)),
        lambda: craft.transform(None, _spoilt(craft.inverse_transform(u), value)),
        lambda: craft.contributions(images, _spoilt(planted.one_hot([0] * 4, 3), value)),
        lambda: craft.quality(_spoilt(images, value)),
        lambda: factorized.encode(_spoilt(rows, value)),
        lambda: factorized.decode(_spoilt(u, value)),
        lambda: NMF().fit(_spoilt(rows, value), 2),
        lambda: adapter.encode(_spoilt(rows, value)),
        lambda: adapter.encode_differentiable(tf.constant(_spoilt(rows, value))),
        lambda: adapter.decode(np.full((2, 2), value)),
        lambda: metrics.CropCluster(_spoilt(rows, value), np.arange(9)),
    ):
        with pytest.raises(ValueError, match=r"finite|NaN or infinite"):
            call()


OF_OTHER_TYPES: dict[str, Callable[[np.ndarray], Any]] = {
    "objects": lambda x: x.astype(object),
    "complex": lambda x: x.astype(complex),
    "strings": lambda x: x.astype(str),
    "dates": lambda x: x.astype(int).astype("datetime64[D]"),
}


@pytest.mark.parametrize("kind", OF_OTHER_TYPES)
def test_arrays_of_other_types(craft: xc.Craft, images: np.ndarray, kind: str) -> None:
    """Objects and complex numbers were taken; of the latter half was lost."""
    wrong = OF_OTHER_TYPES[kind]
    u = craft.transform(images)
    a = craft.inverse_transform(u)
    for call in (
        lambda: craft.fit(wrong(images)),
        lambda: craft.contributions(wrong(images)),
        lambda: craft.explain_image(wrong(images[0])),
        lambda: craft.transform(None, wrong(a)),
        lambda: craft.inverse_transform(wrong(u)),
        lambda: craft.explain_image(images[0], photograph=wrong(images[0])),
        lambda: craft.factorized.encode(wrong(a)),
        lambda: SemiNMF().fit(wrong(a[0, 0]), 2),
        lambda: craft.quality(
            tf.data.Dataset.from_generator(
                lambda: iter([["a"]]), output_signature=tf.TensorSpec([1], tf.string)
            )
        ),
    ):
        with pytest.raises(TypeError, match=r"real numbers|numbers in an array"):
            call()
    with pytest.raises(ValueError, match=r"^targets must be one class index, 4 of them"):
        craft.contributions(images, wrong(planted.one_hot([0] * 4, 3)))


def test_all_of_an_array_is_looked_at_before_anything_is_computed(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(craft.network, "latents", lambda *_: pytest.fail("g ran before"))
    many = np.concatenate([images] * 40)
    with pytest.raises(ValueError, match=r"inputs must be finite: image 159 contains NaN"):
        craft.transform(_spoilt_last(many))
    with pytest.raises(ValueError, match=r"targets holds class indices from 9 to 9"):
        craft.contributions(images, 9)


def _spoilt_last(images: np.ndarray) -> np.ndarray:
    copy = images.copy()
    copy[-1, -1, -1, -1] = np.nan
    return copy


def test_numbers_beyond_float32_are_infinite(craft: xc.Craft, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"inputs must be finite: image 0"):
        craft.transform(np.full(images.shape, 1e300))
    with pytest.raises(ValueError, match=r"targets must be finite"):
        craft.contributions(images, np.full((4, 3), 1e300))


# ---------------------------------------------------------------------------------- datasets
def test_datasets_of_wrong_cardinality(craft: xc.Craft, images: np.ndarray) -> None:
    plain = tf.data.Dataset.from_tensor_slices(images)
    lies = tf.data.experimental.assert_cardinality(9)
    for message, dataset in {
        "a dataset without end": plain.repeat(),
        "holds no image": plain.filter(lambda _: False),
        "received elements of shape": plain.batch(2).batch(2),
        "fails when it is read: .*expected to contain 9": plain.filter(lambda _: True).apply(lies),
    }.items():
        with pytest.raises(ValueError, match=f"^inputs .*{message}"):
            craft.transform(dataset)
    unknown = plain.filter(lambda _: True)
    assert_allclose(craft.transform(unknown), craft.transform(images))


def test_a_dataset_that_fails(craft: xc.Craft) -> None:
    fails = tf.data.Dataset.from_generator(
        lambda: (1 / 0 for _ in range(1)), output_signature=tf.TensorSpec((8, 8, 3), tf.float32)
    )
    with pytest.raises(ValueError, match=r"inputs is a dataset that fails when it is read: .*Zero"):
        craft.contributions(fails)


@drawn
@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.complex64, object]),
        st.tuples(*[st.integers(0, 3)] * 2, st.just(3)) | st.just((2, 8, 8, 3)) | st.just((8, 8)),
        elements=st.sampled_from([0, 1]),
    )
)
def test_images_of_any_shape_and_type(value: np.ndarray) -> None:
    """A Craft takes (n, 8, 8, 3) real numbers; all else is refused in a sentence about inputs."""
    craft = _shared()
    right = value.shape[1:] == (8, 8, 3) and len(value) > 0 and value.dtype.kind in "fu"
    for question in (craft.transform, craft.contributions, craft.fit):
        if right and question != craft.fit:
            question(value)
        elif not right:
            with pytest.raises((TypeError, ValueError), match=r"^inputs "):
                question(value)


_KEPT: list[xc.Craft] = []


def _shared() -> xc.Craft:
    if not _KEPT:
        _KEPT.append(planted.fitted(planted.network(BANK), BANK, planted.paintings(3)))
    return _KEPT[0]


# ----------------------------------------------------------------------------------- targets
@drawn
@given(
    arrays.arrays(
        st.sampled_from([np.int64, np.float32, np.bool_, object, np.complex64, "U3"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    )
)
def test_targets_of_any_shape_and_type(value: np.ndarray) -> None:
    said = _said(lambda: one_hot(value, 2, 3))
    assert said == "" or said.startswith("targets ")
    if not said:
        weights = one_hot(value, 2, 3)
        assert weights.shape == (2, 3)
        assert np.isfinite(weights).all()


@pytest.mark.parametrize(
    "targets",
    [
        *([[0, 1], [0]], [[[[]]]], "dog", b"dog", {"a": 1}, object(), iter([0]), 1.5, 3, -1),
        *(ClassDifference(0, 3), np.ma.masked_equal([0, 1], 1), tf.ragged.constant([[1], [1, 2]])),
        tf.data.Dataset.from_tensor_slices([0]),
    ],
    ids=lambda targets: type(targets).__name__,
)
def test_targets_that_are_none_are_refused_before_the_first_image(targets: Any) -> None:
    with pytest.raises(ValueError, match=r"^targets"):
        Targets(targets, 2, 3)


def test_ragged_labels(craft: xc.Craft, images: np.ndarray) -> None:
    for labels in ([[0], [1, 2]], ["a"] * 4, np.zeros((4, 1), int), np.zeros(4), {}):
        with pytest.raises((TypeError, ValueError), match=r"^labels must be a class index"):
            xc.measure_prevalence(craft, images, labels)
    for wrong in (1, "IntegratedGradients", Saliency):
        with pytest.raises(TypeError, match=r"^explainer must be an importance method"):
            xc.measure_prevalence(craft, images, explainer=wrong)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------- operators
@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (lambda model, inputs, targets: model(inputs) * targets, r"\(n, 3\)"),
        (lambda model, inputs, targets: tf.reduce_sum(model(inputs) * targets), r"\(\)"),
        (lambda model, inputs, targets: model(inputs)[:, :1], r"\(n, 1\)"),
    ],
)
def test_operators_of_wrong_shape(
    craft: xc.Craft, images: np.ndarray, operator: Any, shape: str
) -> None:
    """One number for all images was broadcast, or failed deep inside."""
    with pytest.raises(ValueError, match=rf"operator must be .*received shape {shape}"):
        importance.OcclusionImportance(craft, operator=operator).explain(images)


def test_operators_that_fail_or_are_none(craft: xc.Craft, images: np.ndarray) -> None:
    def fails(model: Any, inputs: Any, targets: Any) -> Any:
        raise KeyError("missing")

    with pytest.raises(ValueError, match=r"operator must be .*; it raised KeyError: .*missing"):
        importance.OcclusionImportance(craft, operator=fails).explain(images)
    for wrong in (3, [], np.zeros(3), "detect", lambda x: x):
        with pytest.raises((TypeError, ValueError), match=r"^operator must be a function"):
            importance.OcclusionImportance(craft, operator=wrong)


# ---------------------------------------------------------------------- layers, models, adapter
def test_layers_of_a_tree(craft: xc.Craft) -> None:
    for layers in ({"first": 1}, {"first"}, 3, iter(["first"]), "first"):
        with pytest.raises((TypeError, ValueError), match=r"^layers must"):
            craft.grow(1, layers=layers)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"layer 'nowhere' is not in"):
        craft.grow(1, layers=["nowhere"])


def test_models_of_keras_2() -> None:
    legacy = pytest.importorskip("tf_keras")
    model = legacy.Sequential([legacy.layers.Dense(2, input_shape=(3,), name="only")])
    for call in (
        lambda: xc.split_model(model, "only"),
        lambda: xc.candidate_layers(model),
        lambda: xc.Craft(model, model),
        lambda: xc.Craft.from_model(model, "only"),
    ):
        with pytest.raises(TypeError, match=r"must be a model of Keras 3, received one of Keras 2"):
            call()


def test_the_adapter_refuses_negatives_as_xplique_does() -> None:
    rows = np.random.default_rng(0).random((9, 5)).astype(np.float32)
    adapter = XpliqueFactorizer(NMF(), 2)
    adapter.fit(rows)
    with pytest.raises(ValueError, match=r"must be non-negative"):
        adapter.encode_differentiable(tf.constant(-rows))
    compiled = tf.function(adapter.encode_differentiable)
    assert_allclose(compiled(tf.constant(rows)), adapter.encode(rows), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be non-negative"):
        compiled(tf.constant(-rows))
    signed = XpliqueFactorizer(SemiNMF(), 2)
    signed.fit(rows - 0.5)
    assert signed.encode_differentiable(tf.constant(rows - 0.5)).shape == (9, 2)


# ------------------------------------------------------------------------- warnings, intervals
def test_warnings_point_at_the_users_line(images: np.ndarray) -> None:
    """Also where Xplique's own method, or a cached property, stands between."""
    flat = xc.split_model(planted.network(BANK, "relu"), planted.LAYER)
    flat.model.get_layer("logits").set_weights([np.zeros((6, 3)), np.zeros(3)])
    nothing = planted.fitted(flat, BANK, images)
    explainer = importance.OcclusionImportance(nothing)
    for call in (
        lambda: explainer.explain(images),
        lambda: explainer(images, planted.one_hot([0] * 4, 3)),  # Xplique's
        lambda: nothing.quality(images),
    ):
        with pytest.warns(UserWarning, match=r"score") as caught:
            call()
        assert {one.filename for one in ours(caught)} == {__file__}


def test_an_interval_of_an_index_ends_at_zero() -> None:
    """Of a concept that does nothing the t-interval is all of noise, and reached below 0."""
    craft, images = planted.function_craft(lambda m: m[:, 0] * m[:, 1] + 1e-2 * m[:, 2] ** 2, 3, 2)
    for index in ("total", "first"):
        found = importance.SobolImportance(craft, 16, index=index).summary(images)
        lows = found.estimation_interval[:, 0]
        assert (lows >= np.minimum(0.0, found.overall)).all()
        assert (found.estimation_interval[:, 1] >= found.overall).all()
    assert importance.SobolImportance(craft, 16).summary(images).estimation_interval.min() >= 0.0


# ------------------------------------------------------------------------------- pictures, pages
def test_photographs_far_beyond_a_pixel_are_no_pixels(craft: xc.Craft, images: np.ndarray) -> None:
    """Of 16 bits, they were drawn as white."""
    deep = np.full((8, 8, 3), 40_000, np.uint16)
    with pytest.raises(ValueError, match=r"photograph must hold pixels in \[0, 255\], .* 4e\+04"):
        craft.explain_image(images[0], photograph=deep)
    with pytest.raises(ValueError, match=r"restore must be a function .* fails .*missing"):
        craft.explain_image(images[0], restore=lambda _: {}["missing"])


def test_figures_of_other_things() -> None:
    for function, argument in (
        (plots.waterfall, "result"),
        (plots.importance_bars, "importance"),
        (plots.class_map, "explanation"),
        (plots.fidelity_curves, "comparison"),
        (plots.concept_tree, "view"),
        (plots.concept_crops, "card"),
    ):
        with pytest.raises(TypeError, match=f"^{argument} must be .*, received 'no'"):
            function("no")  # type: ignore[operator]


def test_shares_of_nothing_are_told() -> None:
    """They were NaN without a word."""
    zero = np.zeros(3)
    nothing = Contributions(np.zeros((3, 2)), zero, zero, zero, zero, np.zeros((3, 2)), 1, True)
    with pytest.warns(UserWarning, match=r"the parent and the class score .* are NaN"):
        shares = measure_shares(nothing, nothing, nothing, zero, 0)
    assert np.isnan(shares.of_parent[0].value)


def test_files_that_hold_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "model.keras"
    broken.write_bytes(b"no")
    for path, error in (
        (broken, ValueError),
        (tmp_path / "x.keras", ValueError),
        (3, TypeError),
    ):
        with pytest.raises(error, match=r"path`? must be"):
            xc.load_model(path)  # type: ignore[arg-type]
