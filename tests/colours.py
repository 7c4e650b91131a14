"""For the tests of `explain_model`: a small model of colours, and images of its classes."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

import xplique_craft as xc

SIDE = 24
NAMES = ["red", "green", "blue", "none"]
QUICK: dict[str, Any] = {
    "number_of_concepts": 2,
    "images_per_class": 8,
    "batch_size": 7,
    "patch_size": 12,
    "number_of_views": 0,
    "class_names": NAMES,
}


def model() -> keras.Model:
    """Tells red, green and blue; there is a fourth class, which it never predicts."""
    pixels = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 255.0)(pixels)
    x = keras.layers.Conv2D(6, 3, activation="relu", name="colours")(x)
    x = keras.layers.MaxPooling2D(4, name="pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    model = keras.Model(pixels, keras.layers.Dense(4, name="logits")(x), name="colours")
    rng = np.random.default_rng(0)
    kernel = 0.02 * rng.random((3, 3, 3, 6), np.float32)
    for channel in range(6):
        kernel[1, 1, channel % 3, channel] += 0.5 + 0.1 * channel
    model.get_layer("colours").set_weights([kernel, np.zeros(6, np.float32)])
    head = np.zeros((6, 4), np.float32)
    head[np.arange(6), np.arange(6) % 3] = 1.0
    model.get_layer("logits").set_weights([head, np.array([0, 0, 0, -9], np.float32)])
    return model


def images(each: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (3 each, H, W, 3) of the three colours by turns, with dark parts, and the labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(3 * each) % 3
    found = rng.integers(0, 60, (3 * each, SIDE, SIDE, 3), dtype=np.uint8)
    for image, label in zip(found, labels, strict=True):
        top, left = rng.integers(0, SIDE // 2, 2)
        image[top : top + 14, left : left + 14, label] += rng.integers(120, 190, dtype=np.uint8)
        image[:, : rng.integers(1, 6), (label + 1) % 3] += np.uint8(90)
    return found, labels


def folder_of(path: Path, each: int = 10) -> Path:
    """The same as files, a folder for each class."""
    found, labels = images(each)
    for number, (image, label) in enumerate(zip(found, labels, strict=True)):
        (path / NAMES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / NAMES[label] / f"{number:03d}.png")
    return path


def split() -> xc.Split:
    return xc.split_model(model(), "colours")


def files(folder: Path) -> dict[str, bytes]:
    """All that a finished folder holds, but for what is hidden."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name[0] != "."
    }
