"""What the console reads: pictures and their preprocessing, labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xplique_craft.console.labels import find_class, read_labels
from xplique_craft.picture_files import Preprocessing, read_pictures

IMAGENET = [
    ["n01440764", "tench, Tinca tinca"],
    ["n02012849", "crane"],
    ["n03126707", "crane"],
]


# --- preprocessing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("none", (0.0, 51.0, 255.0)),
        ("unit", (0.0, 0.2, 1.0)),
        ("tf", (-1.0, -0.6, 1.0)),
        # (0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225
        ("torch", (-2.1179039, -1.1428571, 2.64)),
        # B 255 - 103.939, G 51 - 116.779, R 0 - 123.68
        ("caffe", (151.061, -65.779, -123.68)),
        ("mean=123,117,104", (-123.0, -66.0, 151.0)),
        ("mean=100,50,55;std=50,2,100", (-2.0, 0.5, 2.0)),
        ("mean=51;std=10", (-5.1, 0.0, 20.4)),
    ],
)
def test_preprocessing(spec: str, expected: tuple[float, ...]) -> None:
    picture = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    inputs = Preprocessing.from_spec(spec)(picture)
    assert inputs.dtype == np.float32
    assert inputs.shape == picture.shape
    np.testing.assert_allclose(inputs.ravel(), expected, rtol=1e-5, atol=1e-5)
    assert picture.ravel().tolist() == [0, 51, 255]


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("imagenet", "must be one of none, unit, tf, torch, caffe, or mean="),
        ("mean=1,2", "one number or three"),
        ("mean=a,b,c", "not 'mean=a,b,c'"),
        ("std=1,1,1", "not 'std=1,1,1'"),
        ("mean=1;std=0", "a std must be above 0"),
        ("mean=1;scale=2", "not 'mean=1;scale=2'"),
    ],
)
def test_preprocessing_refuses(spec: str, rule: str) -> None:
    with pytest.raises(ValueError, match="preprocess must be") as error:
        Preprocessing.from_spec(spec)
    assert rule in str(error.value)


@pytest.mark.parametrize("spec", ["torch", "caffe", "mean=1,2,3"])
def test_grey_pictures_refuse_three_numbers(spec: str) -> None:
    with pytest.raises(ValueError, match="number of channels, 1"):
        Preprocessing.from_spec(spec)(np.zeros((1, 2, 2, 1), np.uint8))


# --- pictures ---------------------------------------------------------------------------------


def test_crop_keeps_the_centre_and_squash_keeps_all(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = (10, 20, 30)  # the middle third is what an 8x8 crop of the centre shows
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    cropped, names = read_pictures(tmp_path, (8, 8), "crop")
    assert names == ["wide.png"]
    assert cropped.shape == (1, 8, 8, 3)
    assert (cropped == (10, 20, 30)).all()
    squashed, _ = read_pictures(tmp_path, (8, 8), "squash")
    assert squashed[0, 4, 0].tolist() == [0, 0, 0]
    assert squashed[0, 4, 4].tolist() == [10, 20, 30]
    upright, _ = read_pictures(tmp_path, (4, 12), "squash")
    assert upright.shape == (1, 4, 12, 3)


def test_grey_and_colour(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 77, np.uint8)).save(tmp_path / "grey.png")
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.PNG")
    colour, names = read_pictures(tmp_path, (4, 4))
    assert names == ["grey.png", "red.PNG"]
    assert colour.dtype == np.uint8
    assert colour[:, 0, 0].tolist() == [[77, 77, 77], [255, 0, 0]]
    grey, _ = read_pictures(tmp_path, (4, 4), channels=1)
    assert grey[:, 0, 0].tolist() == [[77], [76]]  # luma of red: 0.299 * 255


def test_exif_turns_pictures_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: stored turned by a quarter
    image.paste((255, 255, 255), (0, 0, 4, 4))  # stored left, seen at the top
    image.save(tmp_path / "turned.png", exif=exif)
    pictures, _ = read_pictures(tmp_path, (8, 4), "squash")
    assert pictures[0, 0, 0].tolist() == [255, 255, 255]
    assert pictures[0, 7, 3].tolist() == [0, 0, 0]


def test_unreadable_pictures_are_skipped_by_name(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "good.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    Image.fromarray(np.full((4, 4), 60000, np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "notes.txt").write_text("no picture either, and not looked at")
    with pytest.warns(
        UserWarning, match="2 of 3 files .* skipped: broken.jpg .*, deep.png .*8 bit"
    ):
        pictures, names = read_pictures(tmp_path, (4, 4))
    assert names == ["good.png"]
    assert pictures.shape == (1, 4, 4, 3)


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file that ends in \.bmp, .*\.webp"):
        read_pictures(tmp_path, (4, 4))
    with pytest.raises(ValueError, match=r"absent is none"):
        read_pictures(tmp_path / "absent", (4, 4))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"of the 1 files .* none can; the first: broken\.jpg"):
        read_pictures(tmp_path, (4, 4))


# --- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines.txt", "tench, Tinca tinca\nshark\n"),
        ("list.json", '["tench, Tinca tinca", "shark"]'),
        ("imagenet.json", '[["n1", "tench, Tinca tinca"], ["n2", "shark"]]'),
        ("by_index.json", '{"0": "tench, Tinca tinca", "1": "shark"}'),
        ("by_index_with_id.json", '{"0": ["n1", "tench, Tinca tinca"], "1": ["n2", "shark"]}'),
        ("by_name.json", '{"shark": 1, "tench, Tinca tinca": 0}'),
    ],
)
def test_forms_of_labels(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    labels = read_labels(path)
    assert find_class("TENCH", labels) == (0, "tench")
    assert find_class("Tinca tinca", labels) == (0, "tench")
    assert find_class("tench, Tinca tinca", labels) == (0, "tench")
    assert find_class("shark", labels) == (1, "shark")
    assert find_class("1", labels) == (1, "shark")
    assert find_class("7", labels) == (7, None)


def test_class_without_labels_is_an_index() -> None:
    assert find_class("217", None) == (217, None)
    with pytest.raises(ValueError, match="--labels FILE"):
        find_class("tench", None)


def test_unknown_and_ambiguous_classes(tmp_path: Path) -> None:
    path = tmp_path / "imagenet.json"
    path.write_text(json.dumps(IMAGENET))
    labels = read_labels(path)
    assert find_class("n01440764", labels) == (0, "tench")
    with pytest.raises(ValueError, match=r"not 'tensh'\. Did you mean 'tench'"):
        find_class("tensh", labels)
    with pytest.raises(ValueError, match=r"not 'xyzzy'\. None of them is near"):
        find_class("xyzzy", labels)
    with pytest.raises(ValueError, match=r"several: give the index, 1 \(crane, .* or 2 \(crane"):
        find_class("crane", labels)


@pytest.mark.parametrize("text", ["3", "{", '["a", 5]', '{"a": "b"}'])
def test_other_labels_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"labels must be a text file .*labels\.json is not"):
        read_labels(path)
