"""
Windows: where parts of an input are, how they are cut, and how they are brought to another size.

What the concept bank is fitted on decides everything. By default these are crops of 1/3 of the
image's side and the whole image (3x3 and 1 of them, covering the image to its borders), beside
positions of whole images (see `rows`): crops give clean concepts, positions and the whole image
keep the bank on the activations that the model sees when it predicts. One patch size gives the
paper's crops (section 3.1). Examples of a concept are looked for among more windows.

`Windows` lists all that the package asks of such a geometry, and `ImageWindows` answers it for
images. Signals over time, cut into intervals, would be another answer.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from .._checks import check

# (share of the side, crops a side) of what a bank is fitted on, and of what may show a concept
FITTED_SCALES = ((1 / 3, 3), (1.0, 1))
SHOWN_SCALES = ((2 / 7, 4), (1 / 2, 3), (5 / 7, 2))
OVERLAP = 0.8  # stride of the paper's crops, in patches


def check_patch_size(patch_size: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """
    Patch sizes as a tuple, None for the default of several scales.

    Raises
    ------
    TypeError, ValueError
        If one is not a positive integer, or there is none.
    """
    if patch_size is None:
        return None
    several = isinstance(patch_size, (list, tuple)) or getattr(patch_size, "ndim", 0) > 0
    sizes: Any = patch_size if several else [patch_size]
    if len(sizes) == 0:
        raise ValueError("patch_size must name at least one size in pixels, received none.")
    return tuple(check("patch_size", size) for size in sizes)


def describe_patch_size(patch_size: tuple[int, ...] | None) -> str:
    """Patch sizes in words, for people."""
    if patch_size is None:
        sides = [str(Fraction(side).limit_denominator(100)) for side, _ in FITTED_SCALES[:-1]]
        return f"{', '.join(sides)} of the side and the whole image"
    return ", ".join(str(size) for size in patch_size) + " px"


class Windows(ABC):
    """
    The geometry of parts of an input.

    A box says where one part is: where it starts along each axis of the input, then how far it
    reaches along each. Of an image these are top, left, height and width.
    """

    axes: ClassVar[int]  # along how many an input is cut: a box has twice as many entries

    @abstractmethod
    def boxes(self, shape: Sequence[int], patch_size: tuple[int, ...] | None = None) -> np.ndarray:
        """
        Where the parts of an input of this shape are, (b, 2 axes) int.

        A patch size is how far a part reaches along every axis; None gives parts of several scales
        up to the whole input. A ValueError where a part would be larger than the input.
        """

    @abstractmethod
    def candidates(self, shape: Sequence[int]) -> np.ndarray:
        """Where the parts are that may show a concept best, (b, 2 axes) int."""

    @abstractmethod
    def cut(self, whole: np.ndarray, box: Sequence[int]) -> np.ndarray:
        """The part of one input that is in a box."""

    @abstractmethod
    def resize(self, part: np.ndarray, size: Sequence[int] | np.ndarray) -> np.ndarray:
        """A part at another size (one number for each axis), in the type of number it has."""

    @abstractmethod
    def to_input_size(self, batch: tf.Tensor, box: Sequence[Any]) -> tf.Tensor:
        """
        The same part of every input, resized to the size of the input, for the model to take.

        It is called inside compiled functions: where the box starts may be tensors, how far it
        reaches are ints.
        """

    @abstractmethod
    def to_size(self, parts: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
        """Parts of one size, (n, ...), resized to inputs of this shape, in compiled functions."""

    @abstractmethod
    def picture(
        self, photograph: np.ndarray, box: Sequence[int], size: Sequence[int]
    ) -> np.ndarray:
        """
        A part as people look at it.

        It is cut from the photograph, whose size may differ from the `size` at which the model
        takes it, and to which the box refers.
        """


class ImageWindows(Windows):
    """Crops of images (H, W, channels); boxes are top, left, height, width in pixels."""

    axes: ClassVar[int] = 2

    def boxes(self, shape: Sequence[int], patch_size: tuple[int, ...] | None = None) -> np.ndarray:
        """
        Crops that cover the image to its borders: at several scales in its own proportions, or
        squares that overlap by a fifth of their side or more.
        """
        if patch_size is None:
            return _of_scales(FITTED_SCALES, shape)
        height, width = shape[:2]
        boxes = []
        for side in patch_size:
            if side > min(height, width):
                raise ValueError(
                    f"patch_size must be at most the image's smaller side, {min(height, width)}, "
                    f"received {side}. Give a smaller one, or None for crops at several scales."
                )
            stride = max(1, int(OVERLAP * side))
            rows, columns = (-(-(size - side) // stride) + 1 for size in (height, width))
            for top in _starts(height, side, rows):
                boxes += [(top, left, side, side) for left in _starts(width, side, columns)]
        return np.array(boxes)

    def candidates(self, shape: Sequence[int]) -> np.ndarray:
        """Crops of 2/7, 1/2 and 5/7 of the side, 4x4, 3x3 and 2x2 of them."""
        return _of_scales(SHOWN_SCALES, shape)

    def cut(self, whole: np.ndarray, box: Sequence[int]) -> np.ndarray:
        """Pixels (height, width, channels) of a crop."""
        top, left, height, width = box
        return whole[top : top + height, left : left + width]

    def resize(self, part: np.ndarray, size: Sequence[int] | np.ndarray) -> np.ndarray:
        """A crop at another size (bilinear); whole numbers are rounded."""
        if part.shape[:2] == tuple(size):
            return part
        resized = tf.image.resize(part, size).numpy()
        return (np.rint(resized) if part.dtype.kind in "iu" else resized).astype(part.dtype)

    def to_input_size(self, batch: tf.Tensor, box: Sequence[Any]) -> tf.Tensor:
        """The same crop of every image (n, H, W, channels), resized to (H, W) (bilinear)."""
        top, left, height, width = box
        shape = batch.shape[1:]
        if (height, width) == tuple(shape[:2]):
            return batch
        return self.to_size(batch[:, top : top + height, left : left + width], shape)

    def to_size(self, parts: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
        """Crops (n, height, width, channels) resized to images (H, W, channels) (bilinear)."""
        return tf.ensure_shape(tf.image.resize(parts, shape[:2]), [None, *shape])

    def picture(
        self, photograph: np.ndarray, box: Sequence[int], size: Sequence[int]
    ) -> np.ndarray:
        """A crop of a photograph (H', W', 3); the box refers to an image of `size` (H, W)."""
        high, wide = photograph.shape[0] / size[0], photograph.shape[1] / size[1]
        top, left, height, width = (int(end) for end in box)
        bottom, right = round((top + height) * high), round((left + width) * wide)
        return photograph[round(top * high) : bottom, round(left * wide) : right]


class ShownWindows(ImageWindows):
    """All windows that may show a concept, and the whole image."""

    def boxes(self, shape: Sequence[int], patch_size: tuple[int, ...] | None = None) -> np.ndarray:
        """The candidates and the whole image, whatever crops a bank was fitted on."""
        return np.concatenate([self.candidates(shape), [(0, 0, *shape[:2])]])


class PhotographWindows(ImageWindows):
    """
    Crops that are cut from photographs, of whatever size.

    Parameters
    ----------
    size
        (H, W) of the images that the boxes refer to.
    """

    def __init__(self, size: Sequence[int]) -> None:
        self.size = tuple(size)

    def cut(self, whole: np.ndarray, box: Sequence[int]) -> np.ndarray:
        """Pixels (height', width', channels) of a crop of a photograph."""
        return self.picture(whole, box, self.size)


def _of_scales(scales: Sequence[tuple[float, int]], shape: Sequence[int]) -> np.ndarray:
    """(b, 4): crops in the image's proportions, so many along each side, from border to border."""
    height, width = shape[:2]
    boxes = []
    for share, number in scales:
        # So large at least that side by side they leave no pixel out.
        high, wide = (max(round(share * size), -(-size // number)) for size in (height, width))
        for top in _starts(height, high, number):
            boxes += [(top, left, high, wide) for left in _starts(width, wide, number)]
    return np.array(boxes)


def _starts(size: int, side: int, number: int) -> np.ndarray:
    """Starts of `number` equally spaced windows of `side` that reach from border to border."""
    return np.rint(np.linspace(0, size - side, number)).astype(int)


IMAGE_WINDOWS = ImageWindows()
SHOWN_WINDOWS = ShownWindows()
