"""What is alike and is not the same: arrays by their names, models, factorizers, settings."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_array_equal

import xplique_craft as xc
from xplique_craft._checks import warn
from xplique_craft._compiled import OUT_OF_MEMORY
from xplique_craft.checkpoint import Checkpoint, of_factorizer
from xplique_craft.factorization import NMF
from xplique_craft.splitting.fingerprint import fingerprint_of, first_difference


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
        (10**120, ValueError, "more than 100 digits"),
        (np.ma.array([1.0, 2.0], mask=[True, False]), TypeError, "a masked array"),
    ],
)
def test_what_could_not_be_loaded_as_it_was_is_not_saved(
    tmp_path: Path, value: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=rf"result\.a cannot be saved: it .*{says}"):
        xc.save({"a": value}, tmp_path / "file")
    assert not (tmp_path / "file").exists()


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
