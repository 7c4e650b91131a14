"""The console's --checkpoint: the same command goes on where it was interrupted."""

from pathlib import Path

import keras
import numpy as np
import pytest
from interruptions import Calls
from PIL import Image
from typer.testing import CliRunner, Result

from xplique_craft.console.app import app

COMMANDS = {  # the last stage of each
    "explain": ("importance.base:_Gathered.importance", 1, ["--layer", "cut"]),
    "compare": (
        "comparison.run:seconds_and_maps",
        2,
        ["--layer", "cut", "--methods", "Saliency,GradientInput,random"],
    ),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model file, and a folder of pictures that it predicts as class 0."""
    folder = tmp_path_factory.mktemp("given")
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(5, 3, activation="relu", name="cut")(x)
    logits = keras.layers.Dense(2)
    x = logits(keras.layers.GlobalAveragePooling2D()(x))
    logits.bias.assign([1e4, 0.0])
    model = folder / "model.keras"
    found = keras.Model(image, x)
    found.save(model)
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
    return model, folder / "pictures"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_goes_on(
    command: str, given: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, at, more = COMMANDS[command]

    def run(*arguments: object) -> Result:
        words = [command, *given, "--class", 0, "--concepts", 3, *more, "--quiet", *arguments]
        return CliRunner().invoke(app, [str(word) for word in words])

    expected = run("--output", tmp_path / "alone")
    assert expected.exit_code == 0, expected.output
    fits, stages = Calls("extraction:extract_rows", monkeypatch), Calls(where, monkeypatch)
    stages.interrupts = at
    checkpoint = ("--checkpoint", tmp_path / "kept")
    interrupted = run("--output", tmp_path / "page", *checkpoint)
    assert interrupted.exit_code == 130
    goes_on = f"the same command with --checkpoint {str(tmp_path / 'kept')!r} goes on from there."
    assert goes_on in interrupted.stderr.splitlines()[-1]
    assert not list((tmp_path / "page").glob("*.html"))
    stages.number = stages.interrupts = fits.number = 0
    found = run("--output", tmp_path / "page", *checkpoint)
    assert found.exit_code == 0, found.output
    assert fits.number == 0
    if command == "explain":
        pages = [(tmp_path / name / "report.html").read_bytes() for name in ("alone", "page")]
        assert pages[0] == pages[1]
    else:
        assert stages.number == 2  # of three methods
    refused = run("--output", tmp_path / "page", "--seed", 1, *checkpoint)
    assert refused.exit_code == 2
    assert "checkpoint must be" in refused.stderr
