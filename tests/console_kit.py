"""For the tests of the console: how it is run, a model and pictures that it explains."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from xplique_craft.console.app import app


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


def save_model(path: Path) -> Path:
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
    model.save(path)
    return path


def save_pictures(folder: Path, rng: np.random.Generator) -> Path:
    """Thirty reddish pictures (some with a yellow half) and four blue ones."""
    folder.mkdir()
    for index in range(34):
        pixels = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
        pixels[..., 0 if index < 30 else 2] += 150
        if index % 3 == 0 and index < 30:
            pixels[:, 20:, 1] += 120
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return folder
