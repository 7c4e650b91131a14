"""Pictures that people look at: what is accepted, what is refused, and in which words."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from xplique_craft.photographs import are_pixels, as_pictures, as_titles, as_uint8

PIXELS = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3) * 3  # 0 to 213
IMAGES = PIXELS / 100.0 - 1.0  # as a model takes them


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_any_type_gives_the_same_pictures(dtype: Any) -> None:
    found = as_pictures(PIXELS.astype(dtype), IMAGES)
    assert found.dtype == np.uint8
    assert_array_equal(found, PIXELS)


def test_pixels_are_rounded_and_clipped() -> None:
    given = np.array([-0.4, 0.5, 1.5, 254.6, 255.4, 300.0]).reshape(1, 1, 6, 1)
    assert as_uint8(given, (1,))[0, 0, :, 0].tolist() == [0, 0, 2, 255, 255, 255]


@pytest.mark.parametrize("given", [PIXELS[..., :1], PIXELS[..., 0], PIXELS[..., 0].tolist()])
def test_grey_pictures_have_three_channels(given: Any) -> None:
    assert_array_equal(as_pictures(given, IMAGES), PIXELS[..., :1].repeat(3, axis=-1))


def test_pictures_of_another_size_than_the_images() -> None:
    large = PIXELS.repeat(2, axis=1).astype(np.uint8)
    assert_array_equal(as_pictures(large, IMAGES), large)


def test_one_picture() -> None:
    assert_array_equal(as_pictures(PIXELS[0], IMAGES[0]), PIXELS[0])
    assert as_pictures(PIXELS[0, ..., 0], IMAGES[0]).shape == (3, 4, 3)


def test_a_function_restores_the_images() -> None:
    assert_array_equal(as_pictures(lambda images: 100.0 * (images + 1.0), IMAGES), PIXELS)


def test_images_that_are_pixels_are_shown() -> None:
    assert_array_equal(as_pictures(None, PIXELS.astype(np.float32)), PIXELS)
    assert as_pictures(None, IMAGES) is None
    assert as_pictures(None, PIXELS.repeat(2, axis=-1)) is None


@pytest.mark.parametrize(
    ("images", "shown"),
    [
        (np.ones((2, 2, 3), np.uint8), True),
        (np.ones((2, 2, 3)), False),
        (np.full((2, 2, 1), 255.0), True),
        (np.full((2, 2, 3), 255.5), False),
        (np.full((2, 2, 4), 9, np.uint8), False),
        (np.array([[[-0.1, 7.0, 9.0]]]), False),
        (np.array([[[np.nan, 7.0, 9.0]]]), False),
    ],
)
def test_what_can_be_shown_as_it_is(images: np.ndarray, shown: bool) -> None:
    assert are_pixels(images) is shown


def test_dark_pictures() -> None:
    """All black is a picture; a part of one may hold 0 and 1 alone."""
    assert as_uint8(np.zeros((2, 2, 3)), ()).max() == 0
    assert as_uint8(np.ones((2, 2, 3)), (), whole=False).min() == 1


def test_pictures_are_kept_as_they_were() -> None:
    mine = PIXELS.astype(np.uint8)
    found = as_pictures(mine, IMAGES)
    mine[:] = 7
    assert_array_equal(found, PIXELS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PIXELS[:1], r"p must have shape \(2, H, W, 3\) or \(2, H, W\), received \(1, 3, 4, 3\)\."),
        (PIXELS[..., :2], r"p must have shape .* received \(2, 3, 4, 2\)\."),
        (PIXELS[0, 0], r"p must have shape .* received \(4, 3\)\."),
        (7, r"p must have shape .* received \(\)\."),
        (PIXELS / 255, r"p must hold pixels in \[0, 255\], .* 0 to 0\.835: .*multiply them by 255"),
        (IMAGES - 2.0, r"p must hold pixels in \[0, 255\], received values from -3 to -0\.87: "),
        (
            PIXELS * np.array([1, np.nan, 1]),
            "p must hold pixels in .*, received values that are not finite",
        ),
        (
            PIXELS + np.array([0, np.inf, 0]),
            "p must hold pixels in .*, received values that are not finite",
        ),
        (lambda images: images[:1], r"p\(images\) must have shape .* received \(1, 3, 4, 3\)"),
    ],
)
def test_what_is_no_picture(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        as_pictures(given, IMAGES, "p")


def test_titles() -> None:
    assert as_titles(None, 2) == ["image 0", "image 1"]
    assert as_titles(("a", 7), 2) == ["a", "7"]
    with pytest.raises(ValueError, match="titles must name 2 images, received 1 names"):
        as_titles(["a"], 2)
