"""
Pictures of a folder, as people look at them (uint8) and as a model eats them (float32).

Every preprocessing is the same three numbers a channel: y = (x - mean) / std, x in 0 to 255, with
the channels reversed first where the model wants BGR. `_NAMED` holds those that have a name.
"""

import math
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from ._checks import warn

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What the name of a picture may end in, in small or capital letters."""

MAX_PIXELS = 100_000_000
"""Larger pictures are skipped unless more are asked for: reading one takes about a gigabyte."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # Pillow's, of these extensions
_MODES = {1: "L", 3: "RGB"}  # channels -> mode of Pillow
_NAMED_AT_MOST = 8  # files that one warning names


@dataclass(frozen=True)
class Preprocessing:
    """
    What stands between a picture and the model, (x - mean) / std.

    Parameters
    ----------
    mean
        What is subtracted, in units of 0 to 255: one number, or one for each channel in the order
        the model sees them.
    std
        What it is then divided by, in the same units.
    bgr
        Whether the channels are reversed first, from RGB to BGR.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False

    @classmethod
    def from_spec(cls, spec: str) -> "Preprocessing":
        """
        What --preprocess means: one of the names in `_NAMED`, or "mean=R,G,B" with an optional
        ";std=R,G,B", one number or three each.
        """
        if spec in _NAMED:
            return _NAMED[spec]
        rule = (
            f"preprocess must be one of {', '.join(_NAMED)}, or mean=R,G,B with an optional "
            f";std=R,G,B (numbers between 0 and 255), not {spec!r}"
        )
        values: dict[str, tuple[float, ...]] = {}
        for part in spec.split(";"):
            name, _, numbers = part.partition("=")
            try:
                values[name.strip()] = tuple(float(number) for number in numbers.split(","))
            except ValueError:
                raise ValueError(f"{rule}.") from None
        if "mean" not in values or not values.keys() <= {"mean", "std"}:
            raise ValueError(f"{rule}.")
        if any(len(numbers) not in (1, 3) for numbers in values.values()):
            raise ValueError(f"{rule}: one number or three.")
        if not all(math.isfinite(number) for numbers in values.values() for number in numbers):
            raise ValueError(f"{rule}: they must be finite.")
        if not all(number > 0 for number in values.get("std", (1.0,))):
            raise ValueError(f"{rule}: a std must be above 0.")
        return cls(mean=values["mean"], std=values.get("std", (1.0,)))

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """
        Pictures (n, H, W, channels), 0 to 255 and RGB where there are three channels, as the model
        takes them: float32 of the same shape.
        """
        self.check_channels(pictures.shape[-1])
        inputs = np.array(pictures[..., ::-1] if self.bgr else pictures, np.float32, order="C")
        # in place: the pictures of a folder may fill much of the memory
        inputs -= np.asarray(self.mean, np.float32)
        inputs /= np.asarray(self.std, np.float32)
        return inputs

    def check_channels(self, channels: int) -> None:
        """A ValueError if this is for another number of channels than the model's."""
        if channels != 3 and (self.bgr or max(len(self.mean), len(self.std)) == 3):
            raise ValueError(
                f"preprocess must suit the model's number of channels, {channels}, and this one is "
                "for 3; take none, unit, tf or mean=M;std=S with one number each."
            )


_NAMED = {
    "none": Preprocessing(),
    "unit": Preprocessing(std=(255.0,)),
    "tf": Preprocessing(mean=(127.5,), std=(127.5,)),
    "torch": Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    "caffe": Preprocessing(mean=(103.939, 116.779, 123.68), bgr=True),
}


def paths_of_pictures(folder: Path) -> list[Path]:
    """The files of a folder that are named like pictures, in alphabetical order; at least one."""
    if not folder.is_dir():
        raise ValueError(f"folder must be a folder of pictures, and {folder} is none.")
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    )
    if not paths:
        raise ValueError(
            f"folder must hold pictures, and {folder} has no file that ends in "
            f"{', '.join(EXTENSIONS)} (subfolders are not looked into)."
        )
    return paths


def read_pictures(
    folder: Path,
    size: tuple[int, int],
    resize: Literal["crop", "squash"] = "crop",
    *,
    channels: int = 3,
    max_pixels: int = MAX_PIXELS,
    verbose: bool = False,
) -> tuple[np.ndarray, list[str]]:
    """
    The pictures of a folder at one `size` (H, W), with their file names, in alphabetical order.

    Pictures are turned upright as their EXIF data says, palettes and CMYK become RGB, transparency
    is dropped, and of an animation the first picture is taken, which a warning says. Files that
    cannot be read are skipped, and one warning names them: damaged ones, those of more than 8 bits
    a channel that Pillow would cut off, pipes and devices, which might never end. Symbolic links to
    files are followed; subfolders are not looked into.

    Parameters
    ----------
    resize
        "crop": scaled until it covers (H, W), then its centre is kept. "squash": height and width
        are scaled apart, and everything is kept.
    channels
        1 for grey pictures, 3 for RGB.
    max_pixels
        Pictures whose height times width, as their files' headers say, is above this are skipped
        before any of their pixels is read.

    Returns
    -------
    pictures, names
        (n, H, W, channels) uint8, and n names.
    """
    paths = paths_of_pictures(folder)
    pictures = np.empty((len(paths), *size, channels), np.uint8)
    names: list[str] = []
    skipped, remarks = [], []
    for path in tqdm(paths, desc="reading pictures", disable=not verbose):
        picture, said = read_picture(path, size, resize, channels, max_pixels)
        if picture is None:
            skipped += said
        else:
            pictures[len(names)] = picture
            names.append(path.name)
            remarks += said
    warn_of_files(folder, len(paths), skipped, remarks)
    return pictures[: len(names)], names


def read_picture(
    path: Path,
    size: tuple[int, int],
    resize: str = "crop",
    channels: int = 3,
    max_pixels: int = MAX_PIXELS,
) -> tuple[np.ndarray | None, list[str]]:
    """
    One picture (H, W, channels) uint8, as `read_pictures` reads them, and what is to be said of it.

    The picture is None where it cannot be read, which is then said.
    """
    try:
        with _warnings_kept() as said:
            picture = _read(path, size, resize, channels, max_pixels)
    # Pillow answers a damaged file with nearly any exception, by format and by damage
    except Exception as error:
        return None, [f"{path.name} ({str(error) or type(error).__name__})"]
    return picture, [f"{path.name}: {remark}" for remark in said]


def warn_of_files(
    folder: Path, number: int, skipped: Sequence[str], remarks: Sequence[str]
) -> None:
    """Say which of so many files were skipped, or a ValueError if all were; and what of others."""
    if len(skipped) == number:
        raise ValueError(
            f"folder must hold pictures that can be read, and of the {number} files of {folder}"
            f" none can; the first: {skipped[0]}."
        )
    if skipped:
        warn(
            f"{len(skipped)} of {number} files of {folder} cannot be read and are skipped: "
            f"{_listed(skipped)}."
        )
    if remarks:
        warn(
            f"Pictures of {folder} are read, but see to it that they are right: {_listed(remarks)}."
        )


def _read(
    path: Path, size: tuple[int, int], resize: str, channels: int, max_pixels: int
) -> np.ndarray:
    """One picture, (H, W, channels) uint8."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file: a folder, a pipe, a socket or a device")
    with Image.open(path, formats=_FORMATS) as file:
        if file.width * file.height > max_pixels:
            raise ValueError(
                f"{file.width} x {file.height} pixels, more than the {max_pixels:,} of --max-pixels"
            )
        if file.mode == "F" or file.mode.startswith("I"):
            # Pillow would clip these at 255 without a word
            raise ValueError(f"mode {file.mode}, more than 8 bits a channel: convert it to 8 bits")
        if file.format != "MPO" and getattr(file, "is_animated", False):
            # the others of an MPO are what cameras make besides
            warnings.warn("it holds several pictures, and the first is taken", stacklevel=2)
        image = ImageOps.exif_transpose(file).convert(_MODES[channels])
    height, width = size
    if resize == "crop":
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


@contextmanager
def _warnings_kept() -> Iterator[list[str]]:
    """What is warned of inside, in words; Pillow's own bound of pixels is replaced by ours."""
    bound, said = Image.MAX_IMAGE_PIXELS, list[str]()
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
        said += dict.fromkeys(str(warning.message) for warning in caught)
    finally:
        Image.MAX_IMAGE_PIXELS = bound


def _listed(words: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(words) - _NAMED_AT_MOST
    return ", ".join(words[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
