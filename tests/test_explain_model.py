"""A whole model explained: every class as `explain_class` does, into a folder that goes on."""

import shutil
from pathlib import Path
from typing import Any

import colours
import numpy as np
import pytest
import tensorflow as tf
from colours import NAMES, QUICK, files, folder_of
from numpy.testing import assert_allclose

import xplique_craft as xc
from xplique_craft.atlas import PictureFolder, of_one_class
from xplique_craft.sampling.lazy_images import LazyImages
from xplique_craft.splitting.network import Network


@pytest.fixture(scope="module")
def split() -> xc.Split:
    return colours.split()


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    return colours.images()


@pytest.fixture(scope="module")
def atlas(
    split: xc.Split, data: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> xc.Atlas:
    return xc.explain_model(split, *data, folder=tmp_path_factory.mktemp("atlas"), **QUICK)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images g is given at a time, crops not counted."""
    found: list[int] = []
    inner = Network.__dict__["latents"].func

    def latents(self: Network) -> Any:
        made = inner(self)

        def call(images: Any) -> Any:
            found.append(len(images))
            return made(images)

        return call

    monkeypatch.setattr(Network, "latents", property(latents))
    return found


# ------------------------------------------------------------------------------------ what it says
def test_a_class_is_what_explain_class_says_of_its_images(
    atlas: xc.Atlas, split: xc.Split, data: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = data
    alone = xc.explain_class(
        xc.Craft.from_model(split, None, 2, batch_size=7, patch_size=12),
        images[labels == 1][:8],
        1,
        class_names=NAMES,
        titles=[f"image {i}" for i in np.flatnonzero(labels == 1)[:8]],
        number_of_views=0,
        folds=0,
    )
    found = atlas.explanation(1)
    assert found.class_name == alone.class_name == "green"
    assert found.number_of_images == alone.number_of_images
    assert_allclose(found.contributions.phi, alone.contributions.phi, rtol=1e-3, atol=1e-4)
    assert_allclose(found.contributions.share, alone.contributions.share, atol=1e-4)
    for card, other in zip(found.cards, alone.cards, strict=True):
        assert card.concept == other.concept
        for crop, same in zip(card.crops, other.crops, strict=True):
            assert np.array_equal(crop, same)


def test_the_summary_counts(atlas: xc.Atlas, data: tuple[np.ndarray, np.ndarray]) -> None:
    summary = atlas.summary
    assert (summary.images, summary.layer, summary.model_name) == (30, "colours", "colours")
    assert [one.class_name for one in summary.classes] == NAMES[:3]
    assert atlas.classes == [0, 1, 2]
    for one in summary.classes:
        assert (one.predicted, one.labelled, one.right, one.accuracy) == (10, 10, 10, 1.0)
        assert one.shares.shape == (2,)
        assert one.agreement is not None
        assert one.failed is None
    assert "3 of 3 classes" in str(atlas)


def test_what_classes_say_together(atlas: xc.Atlas, split: xc.Split, data: Any) -> None:
    images, _labels = data
    merged = atlas.summary.merged
    assert merged is not None
    assert merged.classes.tolist() == [0, 0, 1, 1, 2, 2]
    assert_allclose(merged.shares, np.concatenate([one.shares for one in atlas.summary.classes]))
    concepts = atlas.concepts(split, images)
    assert np.array_equal(concepts.bank, merged.bank)
    assert set(atlas.summary.fidelity) == {"explained classes", "all"}
    fidelity = atlas.summary.fidelity["all"]
    held_out = np.sort(np.concatenate([atlas.images(one)[1] for one in range(3)]))
    again = xc.output_fidelity(atlas.concepts(split, images), images[held_out])
    assert fidelity.emd.value == pytest.approx(again.emd.value, abs=1e-4)
    assert fidelity.number_of_images == len(held_out)
    for page in ("index", "shared", "map", "confusions"):
        assert (atlas.folder / f"{page}.html").exists()


def test_confusions_are_explained(split: xc.Split, data: Any, tmp_path: Path) -> None:
    images, labels = data
    wrong = labels.copy()
    wrong[np.flatnonzero(labels == 2)[:3]] = 0  # blue ones that are said to be red
    found = xc.explain_model(split, images, wrong, folder=tmp_path, **QUICK).summary.confusions
    (one,) = found
    assert (one.actual, one.predicted, one.number, one.labelled, one.images) == (0, 2, 3, 13, 3)
    merged = xc.Atlas(tmp_path).summary.merged
    assert merged is not None
    assert sorted(one.rows) == np.unique(merged.rows[merged.classes != 1]).tolist()
    best = merged.classes[merged.members(one.rows[0])]
    assert 2 in best  # a concept of blue speaks most for blue
    assert one.in_confused[0] > one.in_actual[0]
    assert len(one.pictures) == 3


def test_banks_that_cannot_be_merged_are_said(split: xc.Split, data: Any, tmp_path: Path) -> None:
    settings = QUICK | {"factorizer": "signed-nmf"}
    summary = xc.explain_model(split, *data, folder=tmp_path, **settings).summary
    assert summary.merged is None
    assert not summary.fidelity
    assert any("cannot be merged into one bank" in note for note in summary.notes)
    with pytest.raises(ValueError, match="are not merged"):
        xc.Atlas(tmp_path).concepts(split, data[0])


def test_the_folder_alone_is_the_atlas(atlas: xc.Atlas, split: xc.Split) -> None:
    again = xc.Atlas(str(atlas.folder))
    fitted, held_out = again.images(2)
    assert sorted([*fitted, *held_out]) == list(range(2, 24, 3))  # the first eight blue ones
    craft = again.craft(2, split)
    assert craft.class_id == 2
    assert craft.bank.shape == (2, 6)
    assert not (atlas.folder / "routing").exists()
    assert "green" in (atlas.folder / "classes" / "0001.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"^class_id must be a class that is explained here, one "):
        again.explanation(3)


def test_g_runs_once_on_each_image(
    data: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once on each crop: never again on a whole image, whatever is asked of it."""
    images, labels = data
    split = colours.split()
    given = counted(monkeypatch)
    xc.explain_model(split, images, labels, classes=[1], folder=tmp_path, **QUICK)
    noise = [number for number in given if number == 1]  # by which models are told
    assert sum(given) - len(noise) == len(images)


# ------------------------------------------------------------------------- however they are given
def test_a_dataset_and_a_folder_and_a_file_say_the_same(
    atlas: xc.Atlas,
    split: xc.Split,
    data: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
) -> None:
    images, labels = data
    expected = atlas.explanation(0).contributions.phi
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    file = np.memmap(tmp_path / "images", np.uint8, "w+", shape=images.shape)
    file[:] = images
    for name, given in {"dataset": (dataset,), "file": (file, labels)}.items():
        found = xc.explain_model(split, *given, classes=[0], folder=tmp_path / name, **QUICK)
        assert np.array_equal(found.explanation(0).contributions.phi, expected), name
        assert found.summary.classes[0].right == 10
    folder = folder_of(tmp_path / "pictures")
    found = xc.explain_model(split, folder, classes=[0], folder=tmp_path / "of_files", **QUICK)
    assert_allclose(found.explanation(0).contributions.phi, expected, rtol=1e-3, atol=1e-4)
    assert found.summary.classes[0].right == 10
    # Of a folder the red ones come last but for what their files are called.
    assert found.explanation(0).images == []
    assert found.images(0)[0].min() >= 20


def test_pictures_that_cannot_be_read_are_said_and_left_out(
    split: xc.Split, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "pictures")
    (folder / "red" / "damaged.png").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=r"1 of 31 files of .* cannot be read and are skipped"):
        found = xc.explain_model(
            split,
            PictureFolder(folder, resize="squash"),
            {"red": 0},
            classes=[0],
            folder=tmp_path / "atlas",
            preprocess=lambda pictures: pictures.astype("float32"),
            **QUICK,
        )
    assert found.summary.images == 31
    assert found.summary.classes[0].labelled == 10
    assert "1 of 31 pictures" in found.summary.notes[0]


def test_classes_that_fail_are_recorded_and_others_go_on(
    split: xc.Split, data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images, labels = data
    some = np.concatenate([images[labels == 0], images[labels == 1][:2]])
    with pytest.warns(UserWarning, match=r"2 of 3 classes could not be explained \(green: "):
        atlas = xc.explain_model(
            split, some, classes=[3, 0, 1], folder=tmp_path, **{**QUICK, "number_of_concepts": 20}
        )
    assert atlas.classes == [0]
    red, green, none = atlas.summary.classes
    assert red.failed is None
    assert green.number_of_images == 0
    assert "must be at most" in str(green.failed) or "concepts" in str(green.failed)
    assert none.failed == "Only 0 of 12 images are predicted as it, and 2 are needed at least."
    assert red.labelled is None
    assert np.isnan(red.accuracy)
    with pytest.raises(ValueError, match="No class could be explained; none: Only 0 of 12"):
        xc.explain_model(split, some, classes=[3], folder=tmp_path / "none", **QUICK)


# --------------------------------------------------------------------------------- stop and go on
def test_ctrl_c_goes_on_to_the_same_files(
    atlas: xc.Atlas,
    split: xc.Split,
    data: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner, calls = of_one_class.explain_class, []

    def second_interrupted(*arguments: Any, **settings: Any) -> Any:
        calls.append(arguments[2])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return inner(*arguments, **settings)

    monkeypatch.setattr(of_one_class, "explain_class", second_interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"explain_model was interrupted.*folder='"):
        xc.explain_model(split, *data, folder=tmp_path, **QUICK)
    with pytest.raises(ValueError, match="folder must hold what `explain_model` finished"):
        xc.Atlas(tmp_path)
    xc.explain_model(split, *data, folder=tmp_path, **QUICK)
    assert calls == [0, 1, 1, 2]
    assert files(tmp_path) == files(atlas.folder)
    xc.explain_model(split, *data, folder=tmp_path, **QUICK)
    assert len(calls) == 4


def test_a_pass_goes_on_with_the_first_batch_that_is_not_there(
    atlas: xc.Atlas,
    split: xc.Split,
    data: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from xplique_craft.atlas import routing

    inner, written = routing.write_saved, []

    def third_interrupted(kind: str, value: Any, path: Path, kinds: Any) -> Path:
        written.append(path.name)
        if len(written) == 3:
            raise KeyboardInterrupt
        return inner(kind, value, path, kinds)

    monkeypatch.setattr(routing, "write_saved", third_interrupted)
    with pytest.raises(KeyboardInterrupt):
        xc.explain_model(split, *data, folder=tmp_path, **QUICK)
    assert written == [f"{i:06d}.safetensors" for i in range(3)]
    xc.explain_model(split, *data, folder=tmp_path, **QUICK)
    assert written[3:] == [f"{i:06d}.safetensors" for i in (2, 3, 4)]
    assert files(tmp_path) == files(atlas.folder)


def test_a_folder_of_another_call_is_refused(
    atlas: xc.Atlas, split: xc.Split, data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    copy = shutil.copytree(atlas.folder, tmp_path / "copy")
    images, labels = data
    for changed, words in {
        "seed": "another seed \\(0, and it is 1 now\\)",
        "number_of_concepts": "another number_of_concepts",
        "images_per_class": "another images_per_class",
    }.items():
        other = {**QUICK, changed: 1 if changed == "seed" else 3}
        with pytest.raises(
            ValueError, match=rf"^folder must be a folder of the same call.*{words}"
        ):
            xc.explain_model(split, images, labels, folder=copy, **other)
    with pytest.raises(ValueError, match="other images"):
        xc.explain_model(split, 255 - images, labels, folder=copy, **QUICK)


# --------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"classes": []}, "classes must be at least one index"),
        ({"classes": [4]}, "classes must be below the number of the model's outputs, 4"),
        ({"classes": 1}, "classes must be a list of indices"),
        ({"images_per_class": 1}, "images_per_class must be at least 2, received 1"),
        ({"number_of_concepts": 0}, "number_of_concepts must be at least 1"),
        ({"labels": [0, 1]}, "labels must be of all 30 images, received 2"),
        ({"labels": np.full(30, 9)}, "labels must be below the model's number of classes, 4"),
        ({"labels": np.zeros((30, 2))}, "labels must be classes"),
        ({"folder": 3}, "`folder` must be a path"),
        ({"preprocess": "tf"}, "preprocess must be left out where images are no folder"),
        ({"images": "no/such/folder"}, "images must be a folder of pictures"),
        ({"layer": "colours"}, "layer must be left out where the model is split already"),
        ({"model": 3}, "model must be a Keras model"),
        ({"load_model": 3}, "load_model must be a function"),
        ({"n_jobs": "two"}, "n_jobs must be a whole number"),
        ({"photographs": np.zeros((2, 8, 8, 3), np.uint8)}, "photographs must be of all 30 images"),
        ({"patch_size": 99}, "patch_size"),
        ({"class_names": ["a"]}, "class_names must name the model's 4 classes"),
    ],
)
def test_what_is_malformed_is_refused_at_once(
    split: xc.Split,
    data: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    wrong: dict[str, Any],
    words: str,
) -> None:
    asked = {"model": split, "images": data[0], "labels": data[1], "folder": tmp_path / "new"}
    with pytest.raises((TypeError, ValueError), match=words):
        xc.explain_model(**{**asked, **QUICK, **wrong})
    assert not (tmp_path / "new").exists()


def test_images_that_are_no_pixels_need_photographs(
    split: xc.Split, data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images = data[0] / 127.5 - 1.0
    with pytest.raises(ValueError, match=r"^photographs must be given where the images are prep"):
        xc.explain_model(split, images, folder=tmp_path / "new", **QUICK)


# ----------------------------------------------------------------------------------- lazy images
@pytest.fixture
def reads() -> list[list[int]]:
    return []


def test_lazy_images_are_read_when_they_are_asked_for(reads: list[list[int]]) -> None:
    def read(numbers: np.ndarray) -> np.ndarray:
        reads.append(numbers.tolist())
        return np.stack([np.full((2, 2, 1), number) for number in numbers])

    images = LazyImages(np.array([3, 5, 7, 9]), (2, 2, 1), read, lambda numbers: numbers[:, None])
    few = images.picked(np.array([2, 0]))
    assert reads == []
    assert (images.shape, few.shape, len(few)) == ((4, 2, 2, 1), (2, 2, 2, 1), 2)
    assert few[0].max() == 7
    assert images[1:3].max() == 7
    assert np.asarray(few).max() == 7
    assert reads == [[7], [5, 7], [7, 3]]
    known = few.known(1, 5)
    assert known is not None
    assert known.tolist() == [[3]]
