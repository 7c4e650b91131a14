"""
Pictures that people look at: what is accepted as one, and what is said of what is none.

Models take preprocessed images; people look at photographs. Whatever draws therefore takes the
photographs as they were, or a function that restores them, and shows the images themselves only
where these hold pixels already. One set of rules serves every function that takes photographs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._checks import as_array, check_list
from ._files import readable

FAR_BEYOND = 128.0  # what is less far beyond [0, 255] is clipped to it, what is farther refused


def are_pixels(images: np.ndarray) -> bool:
    """
    Whether images, as the model takes them, can be shown as they are.

    They can if they have 1 or 3 channels and are uint8 or lie in [0, 255]; an image of which no
    value is above 1 is taken for one that was divided by 255, which would be shown as black.
    """
    if images.shape[-1] not in (1, 3):
        return False
    if images.dtype == np.uint8:
        return True
    return bool(images.min() >= 0 and 1.0 < images.max() <= 255.0)


def as_pictures(
    photographs: Any, images: np.ndarray, name: str = "photographs"
) -> np.ndarray | None:
    """
    Photographs of images as what is drawn.

    Parameters
    ----------
    photographs
        One picture for each image, of any size: uint8 or pixels in [0, 255], (..., H', W', 3) or
        grey, (..., H', W', 1) or (..., H', W'); or a function that makes them of the images; None
        where the images themselves are pixels.
    images
        (..., H, W, channels), as the model takes them.
    name
        What messages of errors call `photographs`.

    Returns
    -------
    pictures
        uint8 (..., H', W', 3); None where no photographs were given and the images are no pixels.

    Raises
    ------
    ValueError
        If they are not pictures, or not one for each image.
    """
    if photographs is None and not are_pixels(images):
        return None
    if callable(photographs):
        photographs, name = call_restore(photographs, images, name), f"{name}(images)"
    return as_uint8(images if photographs is None else photographs, images.shape[:-3], name)


def call_restore(function: Callable[[np.ndarray], Any], images: np.ndarray, name: str) -> Any:
    """What a function makes of images; a ValueError that names it where it fails."""
    try:
        return function(images)
    except Exception as error:  # of whoever wrote it
        raise ValueError(
            f"{name} must be a function from images to pictures, and fails for images of shape "
            f"{images.shape}: {type(error).__name__}: {error}"
        ) from error


def as_uint8(
    pixels: Any, number: tuple[int, ...], name: str = "photographs", *, whole: bool = True
) -> np.ndarray:
    """
    Pixels, uint8 or in [0, 255], in colour or grey, as uint8 (*number, H, W, 3).

    What a restoring function leaves just beyond [0, 255] is clipped to it. A `whole` picture has
    some value above 1, or it was divided by 255; a part of one may be all dark.

    Raises
    ------
    ValueError
        If the shape does not fit, or the values are not finite or seem to be in [0, 1].
    """
    pixels = as_array(name, pixels, "pixels in [0, 255], numbers in an array")
    shape, axes = pixels.shape, "".join(f"{n}, " for n in number)
    if len(shape) == len(number) + 2:
        pixels = pixels[..., None]
    if (
        pixels.ndim != len(number) + 3
        or pixels.shape[:-3] != number
        or pixels.shape[-1] not in (1, 3)
        or 0 in pixels.shape
    ):
        raise ValueError(
            f"{name} must have shape ({axes}H, W, 3) or ({axes}H, W), received {shape}."
        )
    if pixels.dtype != np.uint8:
        _check_values(pixels, name, whole)
        pixels = np.clip(np.rint(pixels), 0, 255)
    pixels = pixels.astype(np.uint8)  # always a copy: results keep what they show
    return pixels if pixels.shape[-1] == 3 else pixels.repeat(3, axis=-1)


def _check_values(pixels: np.ndarray, name: str, whole: bool) -> None:
    if not np.isfinite(pixels).all():
        raise ValueError(
            f"{name} must hold pixels in [0, 255], received values that are not finite."
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < -FAR_BEYOND or high > 255.0 + FAR_BEYOND:
        raise ValueError(
            f"{name} must hold pixels in [0, 255], received values from {low:.3g} to {high:.3g}."
        )
    if whole and high <= 1.0 and (low, high) != (0.0, 0.0):
        raise ValueError(
            f"{name} must hold pixels in [0, 255], received values from {low:.3g} to {high:.3g}: "
            "if they are in [0, 1], multiply them by 255."
        )


def as_titles(titles: Sequence[str] | None, number: int) -> list[str]:
    """
    Titles of a number of pictures, one for each or an error; "image 0", ... without any.

    Characters that cannot be shown, as those of file names that are not UTF-8, are replaced.
    """
    if titles is None:
        return [f"image {i}" for i in range(number)]
    titles = check_list("titles", titles, "titles")
    if len(titles) != number:
        raise ValueError(f"titles must name {number} images, received {len(titles)} names.")
    return [readable(title) for title in titles]
