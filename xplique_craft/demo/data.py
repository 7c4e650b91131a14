"""
The demo's images: random square crops of fourteen photographs, one photograph a class.

The photographs come inside the wheels of scikit-image and scikit-learn; they are read as files,
so that nothing is ever downloaded. Crop i of a class is drawn from its own random stream, keyed
by (seed, split, class, i): it does not depend on how many crops are asked for.
"""

from functools import cache
from importlib.resources import files
from typing import Literal, get_args

import numpy as np
from PIL import Image

from .._checks import check, check_choice, check_int

Sample = Literal["fit", "held_out", "train"]
"""Which of the three independent draws of crops."""

# class name -> (package that carries the photograph, its file there)
_SOURCES = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
    "tissue": ("skimage", "data/ihc.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "brick": ("skimage", "data/brick.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "coins": ("skimage", "data/coins.png"),
    "temple": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}

CLASS_NAMES = tuple(_SOURCES)
"""Names of the classes; the index of a name is its class id."""

CROP_SIDE = 96
"""Height and width of a crop, in pixels."""

MOST = 10_000  # crops at a time: 270 MB
_REGION_SIDES = (96, 224)  # the side of a region, both ends included
_LARGEST_SIDE = 1000  # of the shorter side: the retina is halved, or its crops would be bare
_SPLITS = get_args(Sample)


def photograph(class_name: str) -> np.ndarray:
    """
    The whole photograph behind a class.

    Parameters
    ----------
    class_name
        One of `CLASS_NAMES`.

    Returns
    -------
    pixels
        (H, W, 3), uint8; grey photographs have three equal channels, and the one of the retina is
        at half its size. The array is a copy.

    Raises
    ------
    ValueError
        If the class is unknown.
    FileNotFoundError
        If the installed scikit-image or scikit-learn does not carry the photograph.
    """
    return np.array(_read(check_choice("class_name", class_name, CLASS_NAMES)))


def crops(
    class_name: str,
    number: int,
    *,
    split: Sample = "fit",
    seed: int = 0,
) -> np.ndarray:
    """
    Random square regions of a class's photograph, resized to `CROP_SIDE` with antialiasing.

    A region's side is uniform between 96 and 224 pixels (at most the photograph's shorter side),
    its place is uniform over the photograph. The splits are independent draws from the same
    photograph: their regions differ, but may overlap.

    Parameters
    ----------
    class_name
        One of `CLASS_NAMES`.
    number
        How many crops; `crops(name, 3)` equals `crops(name, 5)[:3]`.
    split
        "fit" for the images that concepts are fitted on, "held_out" for those they are checked
        on, "train" for those the classifier was trained on.
    seed
        Draws other crops for another number; 0 or more.

    Returns
    -------
    images
        (number, 96, 96, 3), uint8.

    Raises
    ------
    TypeError, ValueError
        If the class or the split is unknown, or the number or the seed is no integer or negative,
        or the number above 10,000.
    """
    class_id = CLASS_NAMES.index(check_choice("class_name", class_name, CLASS_NAMES))
    check_choice("split", split, _SPLITS)
    number, seed = check_int("number", number, 0, MOST), check("seed", seed)
    image = _read(class_name)
    images = np.empty((number, CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8)
    for index in range(number):
        key = np.random.SeedSequence(seed, spawn_key=(_SPLITS.index(split), class_id, index))
        box = _random_box(np.random.default_rng(key), image.width, image.height)
        # cut first: resizing with a `box` would blend in the pixels around it
        region = image.crop(box).resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BICUBIC)
        images[index] = np.asarray(region)
    return images


def _random_box(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """A square (left, top, right, bottom) inside an image of that width and height."""
    smallest, largest = _REGION_SIDES
    side = min(int(rng.integers(smallest, largest, endpoint=True)), width, height)
    left = int(rng.integers(width - side, endpoint=True))
    top = int(rng.integers(height - side, endpoint=True))
    return left, top, left + side, top + side


@cache
def _read(class_name: str) -> Image.Image:
    """The photograph of a known class, in RGB and at the size that regions are drawn on."""
    package, name = _SOURCES[class_name]
    source = files(package).joinpath(name)
    if not source.is_file():
        raise FileNotFoundError(
            f"The photograph of class {class_name!r} should be {name} inside the installed package "
            f"{package!r}, and is not there. Install a version whose wheel carries it: "
            "scikit-image 0.25 and scikit-learn 1.7 do."
        )
    with source.open("rb") as stream, Image.open(stream) as image:
        pixels = image.convert("RGB")
    return pixels.reduce(2) if min(pixels.size) > _LARGEST_SIDE else pixels
