"""The console on transformers: what flows through patches, special tokens, where to cut."""

from pathlib import Path

import numpy as np
import pytest
from console_kit import error_of, run, save_pictures


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Tells red (class 0) from blue (class 1) by a class token, which is the mean of what patches say
    and reads them once more on the way: first all flows through them, then a half, then none.
    """
    import keras

    def first(x: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Cropping1D((0, 16))(x)

    def rest(x: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Cropping1D((1, 0))(x)

    def mean(x: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Reshape((1, 4))(keras.layers.GlobalAveragePooling1D()(x))

    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 8, strides=8, use_bias=False, name="embed")(pixels)
    x = keras.layers.Reshape((16, 4), name="patches")(x)
    x = keras.layers.Concatenate(axis=1, name="block0")([mean(x), x])
    token = keras.layers.Add()([first(x), mean(rest(x))])
    x = keras.layers.Concatenate(axis=1, name="block1")([token, rest(x)])
    x = keras.layers.Reshape((4,))(first(x))
    model = keras.Model(pixels, keras.layers.Dense(2, name="logits")(x))
    kernel = np.zeros((8, 8, 3, 4), np.float32)
    kernel[:, :, :, :3], kernel[:, :, 0, 3] = np.eye(3) / 64, -1 / 64
    model.get_layer("embed").set_weights([kernel])
    head = np.array([[2, 0], [0, 0], [0, 2], [0, 0]], np.float32)
    model.get_layer("logits").set_weights([head, np.zeros(2, np.float32)])
    path = tmp_path_factory.mktemp("model") / "tokens.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("of") / "pictures", np.random.default_rng(0))


@pytest.mark.filterwarnings("default:Less than half")
def test_layers_with_images_says_what_flows_through_patches(model_file: Path, folder: Path) -> None:
    result = run("layers", model_file, "--images", folder, "--preprocess", "unit", "--quiet")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.stdout.replace("* ", "").splitlines()}
    assert "through patches" in lines["layer"]
    assert lines["patches"].endswith("  100.0% [100.0, 100.0]" * 2)
    assert lines["block0"].split()[-6:] == ["50.0%", "[50.0,", "50.0]"] * 2
    assert lines["block1"].split()[-6:] == ["0.0%", "[0.0,", "0.0]"] * 2
    (marked,) = [line.split()[1] for line in result.stdout.splitlines()[:-1] if line[0] == "*"]
    assert marked == "block0"
    assert "Measured on 34 of 34 pictures." in result.stdout
    assert result.stdout.splitlines()[-1] == "* begin with --layer block0 --factorizer signed-nmf"
    assert "Warning: Less than half" in result.stderr


def test_layers_without_images_asks_for_them(model_file: Path) -> None:
    result = run("layers", model_file)
    assert result.exit_code == 0, result.output
    assert "--images FOLDER" in result.stdout.splitlines()[-1]
    assert "through patches" not in result.stdout
    assert not any(line.startswith("*") for line in result.stdout.splitlines())


def test_layers_takes_the_number_of_special_tokens(model_file: Path, folder: Path) -> None:
    options = ["--images", folder, "--preprocess", "unit", "--quiet", "--special-tokens"]
    none = run("layers", model_file, *options, 0)
    assert none.exit_code == 0, none.output
    assert "through patches" not in none.stdout  # all flows through places, by construction
    assert "special_tokens must leave some of the layer's 17 tokens, received 17" in error_of(
        "layers", model_file, "--special-tokens", 17
    )


def test_explain_cuts_by_the_rule_on_its_own_pictures(
    model_file: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    options = ["--class", 0, "--preprocess", "unit", "--output", out, "--concepts", 2, "--quiet"]
    told = error_of("explain", model_file, folder, *options)
    assert "--factorizer signed-nmf" in told
    options += ["--factorizer", "signed-nmf", "--folds", 0, "--tokens-at", "mean"]
    saved = tmp_path / "saved.safetensors"
    result = run("explain", model_file, folder, *options, "--special-tokens", 1, "--save", saved)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(
        "Cut at block0, after which 50.0% [50.0, 50.0] of the score still flows through patches"
    )
    assert "Less than half" not in result.output

    import xplique_craft as xc

    explanation = xc.load(saved)
    assert explanation.layer == "block0"
    assert explanation.quality.special_tokens == "mean"


def test_explain_says_where_only_the_class_token_counts(
    model_file: Path, folder: Path, tmp_path: Path
) -> None:
    result = run(
        *("explain", model_file, folder, "--class", 0, "--preprocess", "unit", "--quiet"),
        *("--output", tmp_path, "--layer", "block1", "--factorizer", "signed-nmf"),
        *("--folds", 0, "--concepts", 2, "--tokens-at", "kept"),
    )
    sentence = "Only 0.0% [0.0, 0.0] of the score still flows through patches after 'block1'"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "of the score still flows through patches after" in page, result.output
    assert sentence in page.replace("&#x27;", "'").replace("&#39;", "'")
