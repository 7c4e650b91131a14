"""The console: help, layers, errors, whole runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from console_kit import error_of, run, save_model, save_pictures

from xplique_craft import __version__
from xplique_craft.console.options import FactorizerName
from xplique_craft.factorization import FACTORIZERS
from xplique_craft.splitting.layers import Candidate, recommended_layer


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "red_or_blue.keras")


@pytest.fixture(scope="module")
def signed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tells red (class 0) from blue (class 1) at a layer whose activations have signs."""
    import keras

    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 1, activation="tanh", name="signed")(pixels)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    model = keras.Model(pixels, keras.layers.Dense(2, name="logits")(x))
    kernel = np.zeros((1, 1, 3, 4), np.float32)
    kernel[0, 0] = [[1, 0, 1, -1], [0, 1, -1, 1], [-1, 0, 0, 1]]
    model.get_layer("signed").set_weights([kernel, np.zeros(4, np.float32)])
    head = np.array([[2, -2], [0, 0], [0.5, 0], [0, 0]], np.float32)
    model.get_layer("logits").set_weights([head, np.zeros(2, np.float32)])
    path = tmp_path_factory.mktemp("signed") / "signed.keras"
    model.save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    return save_pictures(tmp_path / "pictures", rng)


# --- help -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["CRAFT", "demo", "layers", "explain"]),
        (["layers"], ["non-negative", "affine head", "MODEL"]),
        (["explain"], ["predicts", "x / 127.5 - 1", "--held-out", "BGR", "IMAGES_FOLDER"]),
        (
            ["explain"],
            ["--factorizer", "signed-nmf", "semi-nmf", "kmeans", "pca", "signed", "--baseline"],
        ),
        (["explain-model"], ["predicts", "--jobs", "--classes", "goes on", "--images-per-class"]),
        (["demo"], ["Nothing is downloaded", "--classes"]),
    ],
)
def test_help_teaches(arguments: list[str], words: list[str]) -> None:
    result = run(*arguments, "--help")
    assert result.exit_code == 0
    assert [word for word in words if word not in result.output] == []


def test_version() -> None:
    assert run("--version").output == f"xplique-craft {__version__}\n"


@pytest.mark.parametrize(
    "command", ["", "layers", "explain", "explain-model", "compare", "report", "demo"]
)
def test_help_does_not_import_tensorflow(command: str) -> None:
    code = (
        f"import sys; sys.argv = 'xplique-craft {command} --help'.split()\n"
        "from xplique_craft.console.app import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print(end.code, file=sys.stderr)\n"
        "heavy = ('tensorflow', 'keras', 'xplique', 'sklearn', 'scipy', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert f"Usage: xplique-craft {command}".strip() in answer.stdout
    assert answer.stderr == "0\n[]\n"


def test_help_lists_the_factorizers_in_their_order() -> None:
    lines = [line.strip() for line in run("explain", "--help").output.splitlines()]
    listed = [
        f"{name:<{max(map(len, FACTORIZERS))}}  {entry.summary}"
        for name, entry in FACTORIZERS.items()
    ]
    first = lines.index(listed[0])
    assert lines[first : first + len(listed)] == listed
    assert [choice.value for choice in FactorizerName] == list(FACTORIZERS)


# --- commands ---------------------------------------------------------------------------------


def test_layers_marks_the_one_to_begin_with(model_file: Path) -> None:
    result = run("layers", model_file)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    (marked,) = [line.split() for line in lines[:-1] if line.startswith("*")]
    assert marked == ["*", "pool", "8", "x", "8", "x", "4", "yes", "yes"]
    assert any("colours" in line and "32 x 32 x 4" in line for line in lines)
    assert lines[-1] == "* begin with --layer pool"


def test_recommended_layer_has_positions_and_is_not_the_classes_own_maps() -> None:
    features = Candidate("features", (7, 7, 512), True, False)
    signed = Candidate("signed", (7, 7, 512), False, False)
    maps = Candidate("maps", (7, 7, 10), True, True)
    pooled = Candidate("pooled", (1, 1, 512), True, True)
    flat = Candidate("flat", (512,), True, True)
    assert recommended_layer([features, signed, maps, pooled, flat], 10) is features
    assert recommended_layer([features, signed, maps, pooled, flat], 1000) is maps
    assert (
        recommended_layer([Candidate("open", (None, None, 3), True, True), flat], 10).name == "open"
    )
    assert recommended_layer([signed, pooled, flat], 10) is None
    assert recommended_layer([signed, pooled, flat], 10, signed=True) is signed
    assert recommended_layer([features, signed, pooled], 10, signed=True) is features
    assert recommended_layer([pooled, flat], 10, signed=True) is None


def test_errors_of_users(model_file: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    good = ["explain", model_file, folder, "--output", out]
    assert "no file" in error_of("layers", tmp_path / "absent.keras")
    (tmp_path / "bad.keras").write_text("not a model")
    assert "cannot load" in error_of("layers", tmp_path / "bad.keras")
    assert "class must be below the number of the model's outputs, 2, received 5" in error_of(
        *good, "--class", 5
    )
    assert "--labels FILE" in error_of(*good, "--class", "red")
    assert "preprocess must be" in error_of(*good, "--class", 0, "--preprocess", "keras")
    assert "preprocess must be" in error_of(*good, "--class", 0, "--judge-preprocess", "keras")
    absent = error_of(*good, "--class", 0, "--judge", tmp_path / "bad.keras")
    assert "judge must be a saved Keras model, and Keras cannot load" in absent
    assert "folds must be at least 2, received 1" in error_of(*good, "--class", 0, "--folds", 1)
    same = error_of(*good, "--class", 0, "--judge", model_file)
    assert "judge must be another network" in same
    assert "the model's own, 32x32" in error_of(*good, "--class", 0, "--size", "64x64")
    assert "as 224x224" in error_of(*good, "--class", 0, "--size", "big")
    assert "`--save` must be a file that can be written (it is a folder)" in error_of(
        *good, "--class", 0, "--save", tmp_path
    )
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


@pytest.fixture(scope="session")
def judge_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that sees the mean of each colour."""
    import keras

    image = keras.Input((16, 16, 3))
    path = tmp_path_factory.mktemp("judge") / "judge.keras"
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)).save(path)
    return path


def test_explain_writes_a_page(
    model_file: Path, judge_file: Path, folder: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("red\nblue\n")
    out = tmp_path / "new" / "report"
    result = run(
        *("explain", model_file, folder, "--class", "red", "--labels", labels, "--output", out),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 3, "--quiet"),
        *("--save", out / "saved.safetensors", "--folds", 3),
        *("--judge", judge_file, "--judge-preprocess", "unit"),
    )
    assert result.exit_code == 0, result.output
    page = out / "report.html"
    again = tmp_path / "again.html"
    assert run("report", out / "saved.safetensors", "--output", again).exit_code == 0
    assert again.read_bytes() == page.read_bytes()
    text = page.read_text(encoding="utf-8")
    assert "4 images were left out, predicted as another class: blue (4)." in text
    lines = result.stdout.splitlines()
    assert lines[0].startswith("red: 30 of 34 pictures are predicted as it and used, 21 to find")
    for name in ("agreement", "reconstruction share", "explained share", "KKT residual"):
        assert sum(line.strip().startswith(name) for line in lines) == 1
    assert sum(line.startswith("  concept ") for line in lines) == 3
    (stability,) = (line for line in lines if line.startswith("Stability"))
    assert "over 3 folds" in stability
    (purity,) = (line for line in lines if line.startswith("Purity"))
    assert "of random crops" in purity
    assert lines[-1] == f"Report: {page.resolve()}"


def test_signed_layers_ask_for_another_factorizer(
    signed_file: Path, folder: Path, tmp_path: Path
) -> None:
    answer = run("layers", signed_file).output.splitlines()[-1]
    assert answer == "Signed layers: begin with --layer signed --factorizer signed-nmf"
    command = ["explain", signed_file, folder, "--class", 0, "--output", tmp_path / "report"]
    line = error_of(*command, "--preprocess", "unit", "--quiet")
    assert "known to be non-negative and has positions. Add --factorizer signed-nmf" in line


@pytest.mark.parametrize(
    ("factorizer", "note", "encoding"),
    [
        ("semi-nmf", "Gates lead towards the mean activation", None),
        ("pca", "Coefficients are signed here", "not applicable"),
    ],
)
def test_factorizer_and_baseline_reach_the_page(
    signed_file: Path,
    folder: Path,
    tmp_path: Path,
    factorizer: str,
    note: str,
    encoding: str | None,
) -> None:
    result = run(
        *("explain", signed_file, folder, "--class", 0, "--output", tmp_path / "report"),
        *("--preprocess", "unit", "--concepts", 2, "--quiet"),
        *("--factorizer", factorizer, "--baseline", "mean"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Cut at signed (")
    (line,) = [line for line in result.stdout.splitlines() if "KKT residual" in line]
    said = line.split("residual")[1].strip()
    assert said == encoding or (encoding is None and float(said) < 1e-3)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert note in page
    assert "Gates lead towards the mean activation" in page


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
