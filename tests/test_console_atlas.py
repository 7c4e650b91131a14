"""The console's explain-model: folders of pictures in, a folder of pages out."""

from pathlib import Path

import numpy as np
import pytest
from console_kit import error_of, run, save_model, save_pictures

import xplique_craft as xc


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "red_or_blue.keras")


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Ten reddish pictures and the four blue ones, each class in a folder that has its name."""
    pictures = save_pictures(tmp_path / "pictures", rng)
    for index, path in enumerate(sorted(pictures.iterdir())):
        where = pictures / ("Rouge" if index < 30 else "n002")
        where.mkdir(exist_ok=True)
        if 10 <= index < 30:
            path.unlink()
        else:
            path.rename(where / path.name)
    return pictures


def test_every_class_and_the_same_command_again(
    model_file: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.json").write_text('[["n001", "rouge"], ["n002", "bleu"]]')
    command = ["explain-model", model_file, folder, "--output", tmp_path / "atlas", "--quiet"]
    command += ["--labels", tmp_path / "labels.json", "--preprocess", "unit", "--concepts", 2]
    command += ["--patch-size", 16, "--images-per-class", 8]
    first = run(*command)
    assert first.exit_code == 0, first.output
    assert "2 of 2 classes explained, from 14 pictures" in first.output
    assert "0    rouge: agreement 1.000" in first.output
    assert str(tmp_path / "atlas") in first.output
    atlas = xc.Atlas(tmp_path / "atlas")
    assert [one.right for one in atlas.summary.classes] == [10, 4]
    assert atlas.summary.model_name == "red_or_blue"
    titles = [view.title for view in atlas.explanation(1).images]
    assert titles[0].startswith("n002/3")
    again = run(*command)
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    line = error_of(*command, "--seed", 1)
    assert "folder must be a folder of the same call" in line
    some = run(*command[:4], tmp_path / "one", *command[5:], "--classes", "rouge")
    assert "1 of 1 classes explained" in some.output


def test_what_is_wrong_is_said_in_a_line(model_file: Path, folder: Path, tmp_path: Path) -> None:
    command = ["explain-model", model_file, folder, "--output", tmp_path / "atlas"]
    assert "classes must be below" in error_of(*command, "--classes", "0,9")
    assert "class must be an index" in error_of(*command, "--classes", "rouge")
    assert "classes must be at least one" in error_of(*command, "--classes", ",")
    assert "preprocess must be one of" in error_of(*command, "--preprocess", "keras")
    assert "output must be a folder" in error_of(*command[:4], model_file)
    assert "folder must be a folder of pictures" in error_of(
        "explain-model", model_file, tmp_path / "no", *command[3:]
    )
    assert not (tmp_path / "atlas").exists()
