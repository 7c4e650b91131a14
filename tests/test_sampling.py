"""Where crops are cut, and that pixels are cut only when, and as far as, they are asked for."""

import numpy as np
import pytest
import tensorflow as tf

from xplique_craft.sampling.crops import (
    FITTED_SCALES,
    IMAGE_WINDOWS,
    SHOWN_SCALES,
    check_patch_size,
    describe_patch_size,
)
from xplique_craft.sampling.lazy_crops import Crops


def covered(boxes, height, width):
    """How many boxes hold each pixel, (height, width)."""
    number = np.zeros((height, width), int)
    for top, left, high, wide in boxes:
        assert top >= 0
        assert left >= 0
        assert high >= 1
        assert wide >= 1
        assert top + high <= height
        assert left + wide <= width
        number[top : top + high, left : left + wide] += 1
    return number


# ------------------------------------------------------------------ boxes
FITTED_AND_SHOWN = [
    pytest.param(IMAGE_WINDOWS.boxes, FITTED_SCALES, id="fitted"),
    pytest.param(IMAGE_WINDOWS.candidates, SHOWN_SCALES, id="shown"),
]


@pytest.mark.parametrize(("boxes_of", "scales"), FITTED_AND_SHOWN)
@pytest.mark.parametrize(("height", "width"), [(224, 224), (227, 227), (96, 64), (31, 200), (6, 7)])
def test_several_scales_each_cover_the_image(boxes_of, scales, height, width):
    boxes = boxes_of((height, width))
    assert boxes.dtype.kind == "i"
    start = 0
    for share, number in scales:
        scale = boxes[start : start + number**2]
        assert np.abs(scale[:, 2:] - [share * height, share * width]).max() <= 1.0
        assert len(np.unique(scale[:, 2:], axis=0)) == 1
        assert covered(scale, height, width).min() >= 1
        start += number**2
    assert boxes.shape == (start, 4)


def test_crops_that_a_bank_is_fitted_on_end_with_the_whole_image():
    boxes = IMAGE_WINDOWS.boxes((227, 96))
    assert len(boxes) == 10
    np.testing.assert_array_equal(boxes[-1], [0, 0, 227, 96])


@pytest.mark.parametrize(("boxes_of", "scales"), FITTED_AND_SHOWN)
def test_every_side_is_covered_by_every_scale(boxes_of, scales):
    for side in range(6, 400):
        boxes = boxes_of((side, 6))
        start = 0
        for _, number in scales:
            scale = boxes[start : start + number**2]
            tops, high = np.unique(scale[:, 0]), scale[0, 2]
            assert tops[0] == 0
            assert tops[-1] + high == side
            assert (np.diff(tops) <= high).all(), (side, number)
            start += number**2


def test_boxes_by_hand():
    boxes = IMAGE_WINDOWS.boxes((12, 24))
    np.testing.assert_array_equal(boxes[:4], [[0, i, 4, 8] for i in (0, 8, 16)] + [[4, 0, 4, 8]])
    boxes = IMAGE_WINDOWS.candidates((14, 28))
    np.testing.assert_array_equal(
        boxes[:5], [[0, i, 4, 8] for i in (0, 7, 13, 20)] + [[3, 0, 4, 8]]
    )
    np.testing.assert_array_equal(boxes[16:19], [[0, i, 7, 14] for i in (0, 7, 14)])
    np.testing.assert_array_equal(
        boxes[25:29], [[0, 0, 10, 20], [0, 8, 10, 20], [4, 0, 10, 20], [4, 8, 10, 20]]
    )


@pytest.mark.parametrize("side", range(1, 6))
def test_tiny_images(side):
    boxes = IMAGE_WINDOWS.boxes((side, side))
    assert covered(boxes, side, side).min() >= 1


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 40), (41, 97)])
@pytest.mark.parametrize("patch", [1, 2, 7, 16, 40])
def test_patches_cover_the_image(height, width, patch):
    boxes = IMAGE_WINDOWS.boxes((height, width), (patch,))
    assert (boxes[:, 2:] == patch).all()
    assert covered(boxes, height, width).min() >= 1
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    for axis in (0, 1):
        steps = np.diff(np.unique(boxes[:, axis]))
        assert (steps <= max(1, int(0.8 * patch))).all()


def test_every_patch_covers_every_side():
    for size in range(1, 60):
        for patch in range(1, size + 1):
            tops = np.unique(IMAGE_WINDOWS.boxes((size, patch), (patch,))[:, 0])
            assert tops[0] == 0
            assert tops[-1] == size - patch
            assert (np.diff(tops) <= max(1, int(0.8 * patch))).all()


def test_patches_of_one_pixel():
    boxes = IMAGE_WINDOWS.boxes((3, 5), (1,))
    assert len(boxes) == 15
    assert (covered(boxes, 3, 5) == 1).all()


def test_a_patch_as_large_as_the_image():
    np.testing.assert_array_equal(IMAGE_WINDOWS.boxes((32, 32), (32,)), [[0, 0, 32, 32]])


def test_several_patch_sizes():
    boxes = IMAGE_WINDOWS.boxes((64, 48), (16, 32))
    expected = np.concatenate(
        [IMAGE_WINDOWS.boxes((64, 48), (16,)), IMAGE_WINDOWS.boxes((64, 48), (32,))]
    )
    np.testing.assert_array_equal(boxes, expected)


@pytest.mark.parametrize(("height", "width", "smaller"), [(64, 40, 40), (30, 64, 30)])
def test_patches_larger_than_the_image(height, width, smaller):
    with pytest.raises(
        ValueError, match=rf"patch_size .*smaller side, {smaller}, received 41.*None"
    ):
        IMAGE_WINDOWS.boxes((height, width), (16, 41))


# ------------------------------------------------------------------ patch_size
@pytest.mark.parametrize(
    ("patch_size", "expected"),
    [
        (None, None),
        (64, (64,)),
        (np.int64(64), (64,)),
        ([64, 32], (64, 32)),
        ((64, np.int32(32)), (64, 32)),
        (np.array([64, 32]), (64, 32)),
    ],
)
def test_patch_sizes(patch_size, expected):
    checked = check_patch_size(patch_size)
    assert checked == expected
    assert checked is None or all(type(size) is int for size in checked)


@pytest.mark.parametrize(
    ("patch_size", "error", "message"),
    [
        (0, ValueError, "patch_size must be at least 1, received 0"),
        ([64, -1], ValueError, "patch_size must be at least 1, received -1"),
        ([], ValueError, "patch_size must name at least one size"),
        (64.0, TypeError, "patch_size must be an integer, received 64.0 of type float"),
        (True, TypeError, "patch_size must be an integer, received True of type bool"),
        ("64", TypeError, "patch_size must be an integer, received '64' of type str"),
        ([None], TypeError, "patch_size must be an integer, received None"),
        ([[64, 32]], TypeError, "patch_size must be an integer"),
    ],
)
def test_bad_patch_sizes(patch_size, error, message):
    with pytest.raises(error, match=message):
        check_patch_size(patch_size)


def test_patch_sizes_in_words():
    assert describe_patch_size(None) == "1/3 of the side and the whole image"
    assert describe_patch_size((64,)) == "64 px"
    assert describe_patch_size((64, 32)) == "64, 32 px"


# ------------------------------------------------------------------ crops
IMAGES = np.random.default_rng(0).random((4, 20, 30, 3)).astype(np.float32)
BOXES = np.array([[2, 0, 0, 8, 8], [0, 5, 6, 8, 8], [3, 12, 22, 8, 8], [0, 1, 1, 8, 8]])
MIXED = np.array([[2, 0, 0, 8, 8], [0, 5, 6, 10, 12], [3, 4, 2, 16, 8], [0, 0, 0, 20, 30]])


class Source:
    """The images behind crops; remembers which were asked for."""

    def __init__(self, images=IMAGES):
        self.images, self.asked = images, []

    def __call__(self, indices):
        self.asked += np.asarray(indices).tolist()
        return self.images[indices]


def pixels(box, images=IMAGES):
    image, top, left, height, width = box
    return images[image, top : top + height, left : left + width]


def test_length_and_shape():
    assert len(Crops(BOXES, Source(), 3)) == 4
    assert Crops(BOXES, Source(), 3).shape[:3] == (4, 8, 8)
    assert Crops(MIXED, Source(), 3).shape[:3] == (4, 20, 30)


@pytest.mark.parametrize("boxes", [BOXES, MIXED])
def test_one_crop_at_its_own_size(boxes):
    crops = Crops(boxes, Source(), 3)
    for i, box in enumerate(boxes):
        for index in (i, i - 4, np.int64(i)):
            np.testing.assert_array_equal(crops[index], pixels(box))
    assert isinstance(crops[0], np.ndarray)


def test_iterating():
    for crop, box in zip(Crops(MIXED, Source(), 3), MIXED, strict=True):
        np.testing.assert_array_equal(crop, pixels(box))


@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        (slice(None), [0, 1, 2, 3]),
        (slice(1, 3), [1, 2]),
        (slice(-2, None), [2, 3]),
        (slice(None, None, -2), [3, 1]),
        (slice(0, 100), [0, 1, 2, 3]),
        ([2, 0, 2], [2, 0, 2]),
        (np.array([3, -4]), [3, 0]),
        ([True, False, False, True], [0, 3]),
        (np.array([False, True, False, False]), [1]),
    ],
)
def test_several_crops_of_one_size(index, chosen):
    crops = Crops(BOXES, Source(), 3)[index]
    assert isinstance(crops, np.ndarray)
    assert crops.shape == (len(chosen), 8, 8, 3)
    np.testing.assert_array_equal(crops, [pixels(BOXES[i]) for i in chosen])


def test_several_crops_of_different_sizes_become_the_largest():
    crops = Crops(MIXED, Source(), 3)[:3]
    assert crops.shape == (3, 16, 12, 3)  # the largest height and the largest width of the three
    assert crops.dtype == np.float32
    for crop, box in zip(crops, MIXED, strict=False):
        expected = tf.image.resize(pixels(box), (16, 12))
        np.testing.assert_allclose(crop, expected, rtol=0.0, atol=1e-6)
    assert Crops(MIXED, Source(), 3)[[0, 1]].shape == (2, 10, 12, 3)


def test_resized_photographs_are_rounded_not_cut_off():
    """uint8 in, uint8 out, at most half a step from the exact value: no picture grows darker."""
    photographs = np.random.default_rng(1).integers(0, 256, (4, 20, 30, 3)).astype(np.uint8)
    crops = Crops(MIXED, Source(photographs), 3)[:]
    assert crops.dtype == np.uint8
    for crop, box in zip(crops, MIXED, strict=True):
        expected = tf.image.resize(pixels(box, photographs), (20, 30)).numpy()
        assert np.abs(crop - expected).max() <= 0.5 + 1e-4


def test_as_an_array():
    crops = Crops(BOXES, Source(), 3)
    expected = [pixels(box) for box in BOXES]
    np.testing.assert_array_equal(np.asarray(crops), expected)
    np.testing.assert_array_equal(np.array(crops), expected)
    wide = np.asarray(crops, np.float64)
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide, np.asarray(expected, np.float64))
    with pytest.raises(ValueError, match="copy=False cannot be met"):
        np.array(crops, copy=False)


@pytest.mark.parametrize(
    "index", [slice(4, None), slice(2, 2), np.array([], int), np.zeros(4, bool)]
)
def test_no_crops(index):
    with pytest.raises(ValueError, match=r"No crop was chosen.*empty"):
        Crops(BOXES, Source(), 3)[index]


@pytest.mark.parametrize("index", [4, -5, [0, 4], [True, False]])
def test_crops_that_do_not_exist(index):
    with pytest.raises(IndexError):
        Crops(BOXES, Source(), 3)[index]


# ------------------------------------------------------------------ laziness
def test_nothing_is_read_before_it_is_asked_for():
    source = Source()
    crops = Crops(BOXES, source, 3)
    assert (len(crops), crops.shape[0], crops.boxes.shape) == (4, 4, (4, 5))
    assert source.asked == []
    crops[2]
    assert source.asked == [3]


@pytest.mark.parametrize(
    ("index", "images"),
    [(slice(1, 3), [0, 3]), ([0], [2]), ([1, 3], [0]), (slice(None), [0, 2, 3])],
)
def test_each_image_is_read_once(index, images):
    """Thirty crops of a photograph are no reason to hold it thirty times."""
    source = Source()
    crops = Crops(BOXES, source, 3)[index]
    assert sorted(source.asked) == images
    np.testing.assert_array_equal(crops, [pixels(box) for box in BOXES[index]])


def test_cut_keeps_sizes():
    cut = Crops(MIXED, Source(), 3).cut([3, 1])
    assert [crop.shape for crop in cut] == [(20, 30, 3), (10, 12, 3)]
    np.testing.assert_array_equal(cut[1], pixels(MIXED[1]))
