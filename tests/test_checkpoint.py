"""What was finished is not gone through again; an interrupted call ends with the same numbers."""

import os
import signal
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from interruptions import Calls
from numpy.testing import assert_array_equal
from warned import ours

import xplique_craft as xc
from xplique_craft._checks import caught_warnings, warn
from xplique_craft.checkpoint import Checkpoint
from xplique_craft.factorization import NMF

SIZE = (16, 16)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(12, SIZE)


@pytest.fixture(scope="module")
def split(images: np.ndarray) -> xc.Split:
    return xc.split_model(planted.network(planted.bank(), "attention", size=SIZE), planted.LAYER)


@pytest.fixture(scope="module")
def class_id(split: xc.Split, images: np.ndarray) -> int:
    return planted.predicted(split.model, images)


def craft_of(split: xc.Split, **settings: Any) -> xc.Craft:
    return xc.Craft.from_model(split, None, 3, batch_size=5, **settings)


@pytest.fixture(scope="module")
def alone(split: xc.Split, images: np.ndarray, class_id: int) -> xc.Craft:
    """Fitted in one go."""
    craft = craft_of(split)
    craft.fit(images, class_id)
    return craft


def assert_same_fit(craft: xc.Craft, expected: xc.Craft) -> None:
    found, known = craft.concepts, expected.concepts
    numbers = [vars(one.factorized).copy() for one in (found, known)]
    for one in numbers:
        del one["bank"], one["offset"], one["factorizer"]
    assert numbers[0] == numbers[1]
    assert_array_equal(found.factorized.bank, known.factorized.bank)
    assert_array_equal(found.factorized.offset, known.factorized.offset)
    assert_array_equal(found.crops_u, known.crops_u)
    assert_array_equal(found.crops.boxes, known.crops.boxes)
    assert_array_equal(found.extent.largest, known.extent.largest)
    assert_array_equal(found.extent.mean, known.extent.mean)
    assert_array_equal(craft.factorization.crops[:3], expected.factorization.crops[:3])


STAGES = {  # where it is interrupted, at which call, and what was finished by then
    "crops": ("extraction:extract_rows", 1, 0),
    "within crops": ("sampling.rows:crop_latents", 15, 0),
    "bank": ("factorization.nmf:NMF._fit", 1, 1),
    "coefficients": ("extraction:measure_extent", 1, 2),
}


@pytest.mark.parametrize("stage", STAGES)
def test_fit_goes_on(
    stage: str,
    split: xc.Split,
    images: np.ndarray,
    class_id: int,
    alone: xc.Craft,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where, at, finished = STAGES[stage]
    calls = Calls(where, monkeypatch)
    craft = craft_of(split)
    with calls.interrupted(at):
        craft.fit(images, class_id, checkpoint=tmp_path)
    assert craft.factorization is None
    assert f"checkpoint={str(tmp_path)!r}" in calls.said
    assert len(list((tmp_path / "fit").iterdir())) == 1 + finished
    before = [Calls(path, monkeypatch) for path, *_ in list(STAGES.values())[: finished + 1]]
    other = craft_of(split)
    other.fit(images, class_id, checkpoint=str(tmp_path))
    assert_same_fit(other, alone)
    if finished:  # both kinds of calls in crops
        assert [one.number for one in before[:2]] == [0, 0]
    assert calls.number >= 1
    again = craft_of(split)
    calls.number = 0
    again.fit(images, class_id, checkpoint=tmp_path)
    assert_same_fit(again, alone)
    assert calls.number == 0


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_a_fitted_craft_stays_as_it_was(
    stage: str,
    checkpoint: bool,
    split: xc.Split,
    images: np.ndarray,
    class_id: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    craft = craft_of(split)
    craft.fit(images[:6], class_id)
    craft.estimate_importance(nb_design=4)
    before, sensitivity = craft.concepts, craft.sensitivity
    where, at, _ = STAGES[stage]
    calls = Calls(where, monkeypatch)
    with calls.interrupted(at):
        craft.fit(images, class_id, **({"checkpoint": tmp_path} if checkpoint else {}))
    assert craft.concepts is before
    assert craft.sensitivity is sensitivity
    craft.fit(images, class_id)
    assert craft.sensitivity is None


def test_a_dataset_goes_on(
    split: xc.Split,
    images: np.ndarray,
    class_id: int,
    alone: xc.Craft,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dataset() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(images).batch(4)

    calls = Calls("extraction:measure_extent", monkeypatch)
    with calls.interrupted(1):
        craft_of(split).fit(dataset(), class_id, checkpoint=tmp_path)
    craft = craft_of(split)
    craft.fit(dataset(), class_id, checkpoint=tmp_path)
    assert_same_fit(craft, alone)


def other_weights(split: xc.Split) -> xc.Split:
    clone = keras.models.clone_model(split.model)
    clone.set_weights([1.01 * weight for weight in split.model.get_weights()])
    return xc.split_model(clone, split.layer)


OTHERS: dict[str, tuple[Callable[..., Any], str]] = {
    "images": (lambda s, x, c, at: craft_of(s).fit(x[::-1], c, checkpoint=at), "other images"),
    "class": (
        lambda s, x, c, at: craft_of(s).fit(x, (c + 1) % 3, checkpoint=at),
        r"another class_id \(\d, and it is \d now\)",
    ),
    "seed": (
        lambda s, x, c, at: craft_of(s, seed=3).fit(x, c, checkpoint=at),
        r"another seed \(0, and it is 3 now\)",
    ),
    "factorizer": (
        lambda s, x, c, at: craft_of(s, factorizer=NMF(tolerance=1.0000001e-6)).fit(
            x, c, checkpoint=at
        ),
        "other factorizer",
    ),
    "patches": (
        lambda s, x, c, at: craft_of(s, patch_size=8).fit(x, c, checkpoint=at),
        r"another patch_size",
    ),
    "model": (
        lambda s, x, c, at: craft_of(other_weights(s)).fit(x, c, checkpoint=at),
        r"another model \(layer '.*' .* has other values of its",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_call_is_refused(
    what: str, split: xc.Split, images: np.ndarray, class_id: int, tmp_path: Path
) -> None:
    craft_of(split).fit(images, class_id, checkpoint=tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "fit").iterdir()}
    call, said = OTHERS[what]
    with pytest.raises(ValueError, match=rf"^checkpoint must be .*`fit` .*{said}.*another folder"):
        call(split, images, class_id, tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "fit").iterdir()} == before


def test_a_model_whose_code_is_another_is_refused(images: np.ndarray, tmp_path: Path) -> None:
    """Its layers and weights are the same: what it computes is not."""

    class Power(keras.layers.Layer):
        def __init__(self, power: float, **settings: Any) -> None:
            super().__init__(**settings)
            self.power = power

        def call(self, x: Any) -> Any:
            return x**self.power

        def get_config(self) -> dict[str, Any]:
            return super().get_config()  # which leaves the power out

    def split_of(power: float) -> xc.Split:
        x = image = keras.Input((*SIZE, 3))
        x = Power(power, name="power")(x)
        x = keras.layers.ReLU(name="cut")(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        x = keras.layers.Dense(1, kernel_initializer="ones")(x)
        return xc.split_model(keras.Model(image, x), "cut")

    craft_of(split_of(1.0)).fit(images, 0, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"another model \(its layers and weights are the same"):
        craft_of(split_of(2.0)).fit(images, 0, checkpoint=tmp_path)


@pytest.mark.parametrize("stage", ["crops", "bank", "coefficients"])
def test_a_damaged_stage_is_gone_through_again(
    stage: str,
    split: xc.Split,
    images: np.ndarray,
    class_id: int,
    alone: xc.Craft,
    tmp_path: Path,
) -> None:
    craft_of(split).fit(images, class_id, checkpoint=tmp_path)
    path = tmp_path / "fit" / f"{stage}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    craft = craft_of(split)
    with pytest.warns(UserWarning, match=f"checkpoint: .*{stage}.*checksum.* gone through again"):
        craft.fit(images, class_id, checkpoint=tmp_path)
    assert_same_fit(craft, alone)
    assert path.read_bytes() == whole


def test_a_stage_of_another_name_is_not_taken(
    split: xc.Split, images: np.ndarray, class_id: int, alone: xc.Craft, tmp_path: Path
) -> None:
    craft_of(split).fit(images, class_id, checkpoint=tmp_path)
    folder = tmp_path / "fit"
    (folder / "bank.safetensors").write_bytes((folder / "crops.safetensors").read_bytes())
    craft = craft_of(split)
    with pytest.warns(UserWarning, match=r"'bank' was gone through again"):
        craft.fit(images, class_id, checkpoint=tmp_path)
    assert_same_fit(craft, alone)


@pytest.mark.parametrize(
    ("checkpoint", "error"), [(3, TypeError), ("", ValueError), ("a\0b", ValueError)]
)
def test_what_is_no_folder(
    checkpoint: Any, error: type[Exception], split: xc.Split, images: np.ndarray, class_id: int
) -> None:
    with pytest.raises(error, match="checkpoint"):
        craft_of(split).fit(images, class_id, checkpoint=checkpoint)


def test_a_file_is_no_folder(
    split: xc.Split,
    images: np.ndarray,
    class_id: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is said before anything is computed."""
    (tmp_path / "file").write_text("")
    calls = Calls("extraction:extract_rows", monkeypatch)
    with pytest.raises(OSError, match="checkpoint"):
        craft_of(split).fit(images, class_id, checkpoint=tmp_path / "file")
    assert calls.number == 0


def test_what_cannot_be_kept_is_not_lost(
    split: xc.Split,
    images: np.ndarray,
    class_id: int,
    alone: xc.Craft,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is full after the first file."""
    inner, number = xc.checkpoint.write_saved, [0]

    def full(*args: Any) -> Path:
        number[0] += 1
        if number[0] > 1:
            raise OSError(28, "No space left on device")
        return inner(*args)

    monkeypatch.setattr(xc.checkpoint, "write_saved", full)
    craft = craft_of(split)
    with pytest.warns(UserWarning, match=r"checkpoint: .*'bank' of fit could not be kept: .*space"):
        craft.fit(images, class_id, checkpoint=tmp_path)
    assert_same_fit(craft, alone)


def test_warnings_are_given_again(tmp_path: Path) -> None:
    """The notes of a page come from them: it is the same page after an interruption."""

    def stage() -> int:
        with caught_warnings("nothing"):
            warn("nothing to know")  # as of a bank of small rank, where that is what is measured
        warn("something to know")
        return 7

    for _ in range(2):
        with caught_warnings() as told, Checkpoint(tmp_path, "test", dict) as kept:
            assert kept.once("a stage", stage) == 7
        assert told == ["something to know"]


def test_a_stage_that_fails_has_warned(tmp_path: Path) -> None:
    def stage() -> int:
        warn("something to know")
        raise ValueError("no stage")

    with Checkpoint(tmp_path, "test", dict) as kept:
        for _ in range(2):
            with (
                pytest.warns(UserWarning, match="something to know"),
                pytest.raises(ValueError, match="no stage"),
            ):
                kept.once("a stage", stage)
    assert [path.name for path in (tmp_path / "test").iterdir()] == ["asked.safetensors"]


@pytest.mark.parametrize("name", ["a/b\\c:d", "..", "é" * 80, "x" * 300])
def test_any_name_of_a_stage_is_one_file(name: str, tmp_path: Path) -> None:
    for number in (1, 2):
        with Checkpoint(tmp_path, "test", dict) as kept:
            assert kept.once(name, lambda: number) == 1  # noqa: B023
            assert kept.once(name + "!", lambda: 5) == 5
    assert len(list((tmp_path / "test").iterdir())) == 3


@pytest.mark.slow
def test_a_process_that_is_interrupted_goes_on(tmp_path: Path, alone: xc.Craft) -> None:
    """SIGINT while the bank is looked for; another process finds it."""
    script = tmp_path / "fit.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import numpy as np
            import planted
            import xplique_craft as xc
            from xplique_craft import extraction
            from xplique_craft.factorization import NMF

            if sys.argv[2] == "wait":
                def wait(*_):
                    print("looking for the bank", flush=True)
                    sys.stdin.read()
                NMF._fit = wait
            else:
                extraction.extract_rows = None  # crops are there
            images = planted.paintings(12, (16, 16))
            model = planted.network(planted.bank(), "attention", size=(16, 16))
            craft = xc.Craft.from_model(model, planted.LAYER, 3, batch_size=5)
            craft.fit(images, planted.predicted(model, images), checkpoint=sys.argv[1])
            np.save(sys.argv[2], craft.concepts.crops_u)
            """
        )
    )
    folder = str(tmp_path / "checkpoint")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path])}
    with subprocess.Popen(
        [sys.executable, str(script), folder, "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stdout.readline() == "looking for the bank\n"
        child.send_signal(signal.SIGINT)
        _, said = child.communicate()
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt: fit was interrupted. What it had finished is kept" in said
    found = tmp_path / "u.npy"
    subprocess.run([sys.executable, script, folder, found], env=environment, check=True)
    assert_array_equal(np.load(found), alone.concepts.crops_u)


def test_without_a_checkpoint_nothing_is_said_or_read(
    split: xc.Split, images: np.ndarray, class_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Calls("checkpoint:fingerprint_of", monkeypatch)
    calls = Calls("extraction:extract_rows", monkeypatch)
    with calls.interrupted(1):
        craft_of(split).fit(images, class_id)
    assert calls.said == ""
    assert asked.number == 0


def test_no_warning_is_lost_or_doubled(
    split: xc.Split, images: np.ndarray, class_id: int, tmp_path: Path
) -> None:
    """Most images are of another class: it is said once by each call."""
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            craft_of(split).fit(images, (class_id + 1) % 3, checkpoint=tmp_path)
        (one,) = ours(caught)
        assert "predicted as class" in str(one.message)
        assert one.filename == __file__
