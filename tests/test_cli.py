"""The console: help, layers, pictures and their preprocessing, labels, errors, whole runs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from xplique_craft import __version__
from xplique_craft._console import best_layer
from xplique_craft._labels import find_class, read_labels
from xplique_craft._pictures import Preprocessing, read_pictures
from xplique_craft.cli import app
from xplique_craft.splitting import Candidate

IMAGENET = [
    ["n01440764", "tench, Tinca tinca"],
    ["n02012849", "crane"],
    ["n03126707", "crane"],
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_of(*arguments: object) -> str:
    """The one line that a user's error is answered with."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that tells red (class 0) from blue (class 1), of pictures divided by 255."""
    import keras

    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 1, activation="relu", name="colours")(pixels)
    x = keras.layers.MaxPooling2D(4, name="pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    model = keras.Model(pixels, keras.layers.Dense(2, name="logits")(x))
    kernel = np.zeros((1, 1, 3, 4), np.float32)
    kernel[0, 0, (0, 1, 2, 0), (0, 1, 2, 3)] = 1.0
    kernel[0, 0, 1, 3] = 1.0  # the last channel sees yellow
    model.get_layer("colours").set_weights([kernel, np.zeros(4, np.float32)])
    head = np.array([[2, 0], [0, 0], [0, 2], [1, 0]], np.float32)
    model.get_layer("logits").set_weights([head, np.zeros(2, np.float32)])
    path = tmp_path_factory.mktemp("model") / "red_or_blue.keras"
    model.save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Thirty reddish pictures (some with a yellow half) and four blue ones."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(34):
        pixels = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
        pixels[..., 0 if index < 30 else 2] += 150
        if index % 3 == 0 and index < 30:
            pixels[:, 20:, 1] += 120
        Image.fromarray(pixels).save(pictures / f"{index:02d}.png")
    return pictures


# --- help -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["CRAFT", "demo", "layers", "explain"]),
        (["layers"], ["non-negative", "affine head", "MODEL"]),
        (["explain"], ["predicts", "x / 127.5 - 1", "--held-out", "BGR", "IMAGES_FOLDER"]),
        (["demo"], ["Nothing is downloaded", "--classes"]),
    ],
)
def test_help_teaches(arguments: list[str], words: list[str]) -> None:
    result = run(*arguments, "--help")
    assert result.exit_code == 0
    assert [word for word in words if word not in result.output] == []


def test_version() -> None:
    assert run("--version").output == f"xplique-craft {__version__}\n"


def test_help_does_not_import_tensorflow() -> None:
    code = "import sys, xplique_craft.cli; print('tensorflow' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"


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
    with pytest.raises(ValueError, match="not 'tensh'; the nearest: 'tench'"):
        find_class("tensh", labels)
    with pytest.raises(ValueError, match=r"several: give the index, 1 \(crane, .* or 2 \(crane"):
        find_class("crane", labels)


@pytest.mark.parametrize("text", ["3", "{", '["a", 5]', '{"a": "b"}'])
def test_other_labels_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"labels must be a text file .*labels\.json is not"):
        read_labels(path)


# --- commands ---------------------------------------------------------------------------------


def test_layers_marks_the_one_to_begin_with(model_file: Path) -> None:
    result = run("layers", model_file)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    (marked,) = [line.split() for line in lines[:-1] if line.startswith("*")]
    assert marked == ["*", "pool", "8", "x", "8", "x", "4", "yes", "yes"]
    assert any("colours" in line and "32 x 32 x 4" in line for line in lines)
    assert lines[-1] == "* begin with --layer pool"


def test_best_layer_has_positions_and_is_not_the_classes_own_maps() -> None:
    features = Candidate("features", (7, 7, 512), True, False)
    signed = Candidate("signed", (7, 7, 512), False, False)
    maps = Candidate("maps", (7, 7, 10), True, True)
    pooled = Candidate("pooled", (1, 1, 512), True, True)
    flat = Candidate("flat", (512,), True, True)
    assert best_layer([features, signed, maps, pooled, flat], 10) is features
    assert best_layer([features, signed, maps, pooled, flat], 1000) is maps
    assert best_layer([Candidate("open", (None, None, 3), True, True), flat], 10).name == "open"
    assert best_layer([signed, pooled, flat], 10) is None


def test_errors_of_users(model_file: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    good = ["explain", model_file, folder, "--output", out]
    assert "no file" in error_of("layers", tmp_path / "absent.keras")
    (tmp_path / "bad.keras").write_text("not a model")
    assert "cannot load" in error_of("layers", tmp_path / "bad.keras")
    assert "number of outputs, 2, not 5" in error_of(*good, "--class", 5)
    assert "--labels FILE" in error_of(*good, "--class", "red")
    assert "preprocess must be" in error_of(*good, "--class", 0, "--preprocess", "keras")
    assert "the model's own, 32x32" in error_of(*good, "--class", 0, "--size", "64x64")
    assert "as 224x224" in error_of(*good, "--class", 0, "--size", "big")
    empty = tmp_path / "empty"
    empty.mkdir()
    line = error_of("explain", model_file, empty, "--class", 0, "--output", out)
    assert "no file that ends in" in line
    assert not out.exists()
    assert "classes must be all, or some of astronaut" in error_of("demo", "--classes", "dog")


def test_open_input_size_asks_for_size(folder: Path, tmp_path: Path) -> None:
    import keras

    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 1, activation="relu")(pixels)
    path = tmp_path / "open.keras"
    keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x)).save(path)
    line = error_of("explain", path, folder, "--class", 0, "--output", tmp_path / "report")
    assert "--size 224x224" in line


def test_explain_writes_a_page(model_file: Path, folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("red\nblue\n")
    out = tmp_path / "new" / "report"
    result = run(
        *("explain", model_file, folder, "--class", "red", "--labels", labels, "--output", out),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 3, "--quiet"),
    )
    assert result.exit_code == 0, result.output
    page = out / "report.html"
    assert "red" in page.read_text(encoding="utf-8")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("red: 30 of 34 pictures are predicted as it and used, 21 to find")
    for name in ("agreement", "reconstruction share", "explained share"):
        assert sum(line.strip().startswith(name) for line in lines) == 1
    assert sum(line.startswith("  concept ") for line in lines) == 3
    assert lines[-1] == f"Report: {page.resolve()}"


@pytest.mark.filterwarnings("default")
def test_explain_warns_of_few_pictures(model_file: Path, folder: Path, tmp_path: Path) -> None:
    for path in sorted(folder.iterdir())[8:30]:
        path.unlink()
    result = run(
        *("explain", model_file, folder, "--class", "0", "--output", tmp_path / "report"),
        *("--preprocess", "unit", "--concepts", 2, "--quiet"),
    )
    assert result.exit_code == 0, result.output
    assert "Cut at pool" in result.stdout
    assert "Concepts of 8 pictures are hardly reliable" in result.stderr


def test_demo_writes_a_page(tmp_path: Path) -> None:
    result = run("demo", "--classes", "astronaut,coffee", "--output", tmp_path, "--quiet")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "astronaut" in text
    assert "coffee" in text
    assert "Explained 2 classes in" in result.stdout
