"""What is alike and is not the same: arrays by their names, models, factorizers, settings."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from numpy.testing import assert_array_equal
from saving_kit import same

import xplique_craft as xc
from xplique_craft._checks import warn
from xplique_craft._compiled import OUT_OF_MEMORY
from xplique_craft.checkpoint import Checkpoint, of_factorizer
from xplique_craft.factorization import NMF
from xplique_craft.splitting.fingerprint import fingerprint_of, first_difference
from xplique_craft.splitting.probe import STEADY, Probe


# -------------------------------------------------------------------------------------- saving
def test_arrays_whose_names_meet_stay_apart(tmp_path: Path) -> None:
    value = {"a.b 2": np.zeros(2), "a.b": np.ones(2), "a": {"b": np.full(2, 2.0)}}
    found = xc.load(xc.save(value, tmp_path / "file"))
    assert_array_equal(found["a.b 2"], value["a.b 2"])
    assert_array_equal(found["a.b"], value["a.b"])
    assert_array_equal(found["a"]["b"], value["a"]["b"])


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (10**100, ValueError, "more than 100 digits"),
        (-(10**99), ValueError, "more than 100 digits, its sign counted"),
        (10**5000, ValueError, "more than 100 digits"),
        (-(10**5000), ValueError, "more than 100 digits"),
        (np.ma.array([1.0, 2.0], mask=[True, False]), TypeError, "a masked array"),
        (np.ma.masked, TypeError, "a masked array"),
        (np.asmatrix(np.eye(2)), TypeError, "is a matrix, and files hold plain arrays"),
        (np.zeros(2).view(np.recarray), TypeError, "is a recarray, and files hold plain arrays"),
        (np.zeros((1,) * 33), ValueError, "has 33 axes, at most 32"),
        (np.zeros((0, 2**31)), ValueError, r"an empty array of shape \(0, 2147483648\)"),
        (np.zeros((2**31, 0), bool), ValueError, r"an empty array of shape \(2147483648, 0\)"),
        ("\ud83d\ude00", ValueError, "two halves of one character"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_could_not_be_loaded_as_it_was_is_not_saved(
    tmp_path: Path, value: Any, error: type[Exception], says: str
) -> None:
    for held in ({"a": value}, [value], {"a": (value,)}):
        with pytest.raises(error, match=rf"^\w+\.[\.a0]+ cannot be saved: it .*{says}"):
            xc.save(held, tmp_path / "new" / "file")
    assert not (tmp_path / "new").exists()


def test_names_that_would_be_loaded_as_others_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.a\.'.*' cannot be saved: it holds two halves"):
        xc.save({"a": {"\ud83d\ude00": 1, "\U0001f600": 2}}, tmp_path / "file")


@pytest.mark.parametrize(
    "value",
    [
        10**100 - 1,
        1 - 10**99,
        np.zeros((1,) * 32).T,
        np.zeros((0, 2**31 - 1)),
        np.zeros((2**31 - 1, 0), bool).T,
        "\ude00\ud83d \U0001f600",
        np.arange(6)[::-2],
        np.broadcast_to(np.float32(2), (3, 1, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_at_the_limits_is_saved(tmp_path: Path, value: Any) -> None:
    assert same(plain(xc.load(xc.save({"a": value}, tmp_path / "file"))), plain({"a": value}))


def plain(value: Any) -> Any:
    """A value whose arrays have one order in memory, and the bytes' order of this machine."""
    if isinstance(value, np.ndarray):
        return np.array(value, value.dtype.newbyteorder("="), order="C", subok=False)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.generic):  # two types may be one kind of number
        return np.dtype(value.dtype.str).newbyteorder("=").type(value)
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return {plain(k): plain(one) for k, one in value.items()} if type(value) is dict else value


HALVES = st.text(st.sampled_from('\ud83d\ude00\U0001f600a\0\n"\\'), max_size=5)
LONG = st.builds(
    lambda sign, power, more: sign * 10**power + more,
    st.sampled_from([1, -1]),
    st.sampled_from([0, 18, 19, 63, 98, 99, 100, 101, 4299, 4300, 5000]),
    st.integers(-1, 1),
)
KINDS_OF_NUMBERS = [*map(np.dtype, [*"?bBhHiIlLqQefdgFDO", "S3", "U2", "M8[s]"])]
KINDS_OF_NUMBERS += [kind.newbyteorder(">") for kind in KINDS_OF_NUMBERS]
KINDS_OF_NUMBERS += [np.dtype("f4,i2"), np.dtype(tf.bfloat16.as_numpy_dtype)]
SHAPES = st.one_of(
    st.lists(st.integers(0, 3), max_size=4),
    st.permutations([0, 1]).flatmap(
        lambda ends: st.sampled_from([2**31 - 1, 2**31, 2**40]).map(lambda long: [*ends, long])
    ),
    st.integers(25, 64).map(lambda number: [1] * number),
)
FORMS: list[Callable[[np.ndarray], Any]] = [
    lambda a: a,
    lambda a: a.T,
    lambda a: a[::-1] if a.ndim else a[()],
    lambda a: a[..., ::2] if a.ndim else a,
    lambda a: np.broadcast_to(a, (2, *a.shape)) if a.ndim < 60 else a,
    lambda a: np.ma.array(a),
    lambda a: a.view(np.recarray),
    lambda a: a.reshape(1, -1).view(np.matrix) if a.size else a,
]
ARRAYS = st.builds(
    lambda form, shape, kind, start: form(
        (np.arange(np.prod(shape)) + start).reshape(shape).astype(kind)
    ),
    st.sampled_from(FORMS),
    SHAPES,
    st.sampled_from(KINDS_OF_NUMBERS),
    st.integers(-2, 2),
)
OTHERS = st.sampled_from(
    [b"bytes", 1j, {1}, frozenset(), range(3), Fraction(1, 3), np.str_("text")]
)
ODD_VALUES = st.recursive(
    st.one_of(LONG, HALVES, ARRAYS, OTHERS, st.floats(), st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(HALVES, inner, max_size=3),
        st.dictionaries(st.integers(), inner, max_size=1),
    ),
    max_leaves=5,
)


@given(value=ODD_VALUES)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_what_is_saved_is_loaded_and_what_is_not_is_refused(
    value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.safetensors"
    path.unlink(missing_ok=True)
    refusal = ""
    try:
        xc.save(value, path)
    except (TypeError, ValueError) as error:
        refusal = str(error)
    if refusal:
        assert "be saved" in refusal
        assert not path.exists()
    else:
        assert same(plain(xc.load(path)), plain(value))


# -------------------------------------------------------------------------------------- models
def model(bend: layers.Layer, factor: float = 1.0) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = bend(layers.Conv2D(4, 3)(image))
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)) * factor)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (model(layers.ReLU(max_value=1.0)), "max_value 1.0, not None"),
        (model(layers.ReLU(threshold=0.02)), "threshold 0.02, not 0.0"),
        (model(layers.ReLU(), 1.004), "1.004, not 1.0"),
        (model(layers.LeakyReLU()), "is a LeakyReLU"),
    ],
)
def test_models_of_other_constants_are_told_apart(other: keras.Model, says: str) -> None:
    own = fingerprint_of(model(layers.ReLU()))
    assert first_difference(own, fingerprint_of(model(layers.ReLU(name="other")))) is None
    assert says in str(first_difference(own, fingerprint_of(other)))


def called(bend: Callable[[Any], Any]) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(image)
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(bend(x))))


def scaled(factor: float) -> Callable[[Any], Any]:
    return lambda x: x * factor


NUMBERS = np.linspace(0.5, 1.0, 4, dtype=np.float32)
MORE = NUMBERS + np.float32(1e-6) * np.eye(4, dtype=np.float32)[2]
CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], str]] = {
    "array": (lambda x: x * NUMBERS, lambda x: x * MORE, "has another argument 1"),
    "tensor": (
        lambda x: keras.ops.add(x, tf.constant(NUMBERS)),
        lambda x: keras.ops.add(x, tf.constant(MORE)),
        "has another argument 1",
    ),
    "array in a list": (
        lambda x: keras.ops.concatenate([x, np.zeros((1, 6, 6, 1), "f")], -1),
        lambda x: keras.ops.concatenate([x, np.ones((1, 6, 6, 1), "f")], -1),
        "has another argument 0",
    ),
    "scalar": (lambda x: x * np.float32(1), lambda x: x * np.float32(1.5), "1.5, not 1.0"),
    "part": (lambda x: x[:, ::2], lambda x: x[:, 1::2], "has argument 1 "),
    "side": (lambda x: x - 2.0, lambda x: 2.0 - x, "has argument 0 2.0, not a tensor"),
    "activation": (
        layers.Conv2D(3, 1, activation=layers.ReLU(max_value=2.0)),
        layers.Conv2D(3, 1, activation=layers.ReLU(max_value=2.5)),
        "has activation max_value 2.5, not 2.0",
    ),
    "kind of activation": (
        layers.Activation(layers.ReLU()),
        layers.Activation(layers.LeakyReLU()),
        "has activation LeakyReLU, not ReLU",
    ),
    "layer within": (
        layers.TimeDistributed(layers.Conv1D(3, 1, activation=layers.ELU(alpha=0.5))),
        layers.TimeDistributed(layers.Conv1D(3, 1, activation=layers.ELU(alpha=0.25))),
        "has layer activation alpha 0.25, not 0.5",
    ),
    "square": (
        layers.Lambda(lambda x: x),
        layers.Lambda(lambda x: x * x),
        "has another function as ",
    ),
    "factor": (
        layers.Lambda(lambda x: x * 1.001),
        layers.Lambda(lambda x: x * 1.0),
        "has another function as ",
    ),
    "closure": (
        layers.Lambda(scaled(1.001)),
        layers.Lambda(scaled(1.0)),
        "has another function as ",
    ),
    "mirror": (
        layers.Lambda(lambda x: x[:, :, ::1]),
        layers.Lambda(lambda x: x[:, :, ::-1]),
        "has another function as ",
    ),
    "arguments": (
        layers.Lambda(lambda x, rate: x * rate, arguments={"rate": 1.0}),
        layers.Lambda(lambda x, rate: x * rate, arguments={"rate": 1.5}),
        "has arguments rate 1.5, not 1.0",
    ),
    "activation's code": (
        layers.Activation(lambda x: x * 1.001),
        layers.Activation(lambda x: x * 1.0),
        "has another activation as ",
    ),
}


@pytest.mark.filterwarnings("ignore:.*Lambda")
@pytest.mark.parametrize("name", CALLS)
def test_models_are_told_by_all_that_they_are_called_with(name: str, tmp_path: Path) -> None:
    one, two, says = CALLS[name]
    own = called(one)
    told = fingerprint_of(own)
    assert says in str(first_difference(told, fingerprint_of(called(two))))
    older = [replace(layer, settings={}) for layer in told]  # as files of earlier versions have it
    assert first_difference(older, told) is first_difference(told, older) is None
    own.save(tmp_path / "model.keras")
    if not name.startswith("activation's"):  # which Keras cannot read
        again = keras.models.load_model(tmp_path / "model.keras", safe_mode=False)
        assert first_difference(told, fingerprint_of(again)) is None


def test_how_a_function_is_written_does_not_count() -> None:
    def bent(x: Any) -> Any:
        return keras.ops.where(x > 0.5, x, x * 2.0)

    def other(y: Any) -> Any:
        """It has another name, and says what it does."""
        # in other lines
        return keras.ops.where(
            y > 0.5,
            y,
            y * 2.0,
        )

    own = fingerprint_of(called(layers.Lambda(bent)))
    assert first_difference(own, fingerprint_of(called(layers.Lambda(other)))) is None


def test_names_of_layers_within_layers_and_how_they_are_trained_do_not_count() -> None:
    def within(**how: Any) -> keras.Model:
        return called(layers.TimeDistributed(layers.Conv1D(3, 1, kernel_initializer="ones", **how)))

    own = fingerprint_of(within())
    other = within(name="other", kernel_regularizer="l2", bias_initializer="zeros")
    assert first_difference(own, fingerprint_of(other)) is None


# --------------------------------------------------------------------------------------- probes
@pytest.mark.parametrize("side", [6, 60])
def test_the_same_activations_at_other_positions_are_told(side: int) -> None:
    """Also where there are many positions; files that were written before are compared as then."""
    shape = (side + 2, side + 2, 3)

    def probe(step: int) -> Probe:
        keras.utils.set_random_seed(0)
        image = keras.Input(shape)
        x = layers.Conv2D(4, 3, activation="relu")(image)
        x = layers.Identity(name="cut")(x[:, :, ::step])
        model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
        return Probe.of(xc.split_model(model, "cut").network, shape, 0.0, 1.0)

    one, mirrored = probe(1), probe(-1)
    assert one.difference(probe(1), STEADY) is None
    assert "its activations at single positions are not" in str(one.difference(mirrored))
    older = replace(one, uneven=None)
    assert older.difference(mirrored) is mirrored.difference(older) is None


# ---------------------------------------------------------------------------------- factorizers
class Started(NMF):
    def __init__(self, start: Any) -> None:
        super().__init__()
        self.start = start


def test_factorizers_are_told_apart_by_all_of_their_arrays() -> None:
    start = np.zeros(5000)
    other = start.copy()
    other[2500] = 1.0
    assert of_factorizer(Started(start)) == of_factorizer(Started(start.copy()))
    assert of_factorizer(Started(start)) != of_factorizer(Started(other))
    assert of_factorizer(Started([1, start])) != of_factorizer(Started([1, other]))
    assert of_factorizer(Started(object())) is None


def test_nothing_is_kept_for_a_factorizer_that_cannot_be_told(tmp_path: Path) -> None:
    def asked() -> dict[str, Any]:
        return {"factorizer": of_factorizer(Started(object()))}

    with pytest.warns(UserWarning, match="checkpoint: nothing is kept"):
        kept = Checkpoint(tmp_path / "folder", "fit", asked)
    assert [kept.once("stage", lambda: 1), kept.once("stage", lambda: 2)] == [1, 2]
    assert not list(tmp_path.rglob("*.safetensors"))


# ---------------------------------------------------------------------------------- checkpoints
def checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(folder, "fit", lambda: {"a": float("nan"), "b": 1})


def test_a_setting_that_is_nan_is_the_same_again(tmp_path: Path) -> None:
    assert checkpoint(tmp_path).once("stage", lambda: 1) == 1
    assert checkpoint(tmp_path).once("stage", lambda: 2) == 1


def test_a_stage_is_kept_where_its_warning_is_an_error(tmp_path: Path) -> None:
    def make() -> int:
        warn("something")
        return 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="something"):
            checkpoint(tmp_path).once("stage", make)
    with pytest.warns(UserWarning, match="something"):
        assert checkpoint(tmp_path).once("stage", lambda: 2) == 1


def test_that_memory_ran_out_is_not_said_again(tmp_path: Path) -> None:
    def make() -> int:
        warn(f"{OUT_OF_MEMORY} g")
        return 1

    with pytest.warns(UserWarning, match="Out of memory"):
        checkpoint(tmp_path).once("stage", make)
    assert checkpoint(tmp_path).once("stage", lambda: 2) == 1
