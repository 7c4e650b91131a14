"""Whatever people have comes out as the same batches; what cannot be used is refused in words."""

import numpy as np
import pytest
import tensorflow as tf
from models import datasets_of

from xplique_craft.sampling.stream import ImageBatch, Stream

SHAPE = (4, 6, 3)
NUMBER = 7
IMAGES = np.arange(NUMBER * 72, dtype=np.float32).reshape(NUMBER, *SHAPE)
LABELS = np.array([2, 0, 1, 1, 2, 0, 0])
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
KINDS = list(datasets_of(IMAGES))


def assert_batches(stream, batch_size, targets=None):
    """The stream gives IMAGES and targets in batches of `batch_size`, counted from 0."""
    batches = list(stream)
    starts = list(range(0, NUMBER, batch_size))
    assert [batch.start for batch in batches] == starts
    for batch in batches:
        expected = slice(batch.start, min(batch.start + batch_size, NUMBER))
        assert isinstance(batch, ImageBatch)
        assert isinstance(batch.images, np.ndarray)
        assert batch.images.dtype == np.float32
        np.testing.assert_array_equal(batch.images, IMAGES[expected])
        np.testing.assert_array_equal(batch.indices, np.arange(NUMBER)[expected])
        if targets is None:
            assert batch.targets is None
        else:
            assert isinstance(batch.targets, np.ndarray)
            np.testing.assert_array_equal(batch.targets, targets[expected])


# ------------------------------------------------------------------ what comes out
@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
@pytest.mark.parametrize(
    "convert",
    [np.asarray, tf.constant, list, tuple, np.ndarray.tolist],
    ids=["array", "tensor", "list", "tuple", "numbers"],
)
def test_arrays(convert, batch_size):
    stream = Stream(convert(IMAGES), SHAPE, batch_size)
    assert stream.length == NUMBER
    assert_batches(stream, batch_size)
    assert_batches(stream, batch_size)  # again


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_types_become_float32(dtype):
    images = (IMAGES % 200).astype(dtype)
    for inputs in (images, tf.constant(images), tf.data.Dataset.from_tensor_slices(images)):
        batch = next(iter(Stream(inputs, SHAPE, 4)))
        assert batch.images.dtype == np.float32
        np.testing.assert_array_equal(batch.images, IMAGES[:4] % 200)


def test_a_list_of_tensors():
    assert_batches(Stream([tf.constant(image) for image in IMAGES], SHAPE, 3), 3)


def test_arrays_that_are_not_contiguous():
    assert_batches(Stream(np.asfortranarray(IMAGES), SHAPE, 3), 3)
    assert_batches(Stream(IMAGES[::-1][::-1], SHAPE, 3), 3)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [None, LABELS, ONE_HOT], ids=["none", "int", "one-hot"])
def test_datasets(kind, labels, batch_size):
    stream = Stream(datasets_of(IMAGES, labels)[kind], SHAPE, batch_size)
    assert_batches(stream, batch_size, labels)
    assert_batches(stream, batch_size, labels)


def test_a_dataset_of_nothing_but_a_tuple():
    """`from_tensor_slices((images,))` is a common way to write it."""
    assert_batches(Stream(tf.data.Dataset.from_tensor_slices((IMAGES,)), SHAPE, 3), 3)


def test_a_generator_dataset_of_unknown_length():
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(IMAGES), output_signature=tf.TensorSpec((None, None, 3), tf.float32)
    )
    stream = Stream(dataset, SHAPE, 3)
    assert stream.length is None
    assert_batches(stream, 3)
    assert stream.length == NUMBER


def test_other_ranks():
    """Tokens and vectors are inputs too."""
    for shape in [(5,), (4, 6), (2, 3, 4, 1)]:
        inputs = np.ones((6, *shape), np.float32)
        assert [b.images.shape for b in Stream(inputs, shape, 4)] == [(4, *shape), (2, *shape)]
        batched = tf.data.Dataset.from_tensor_slices(inputs).batch(3)
        assert [b.images.shape for b in Stream(batched, shape, 4)] == [(4, *shape), (2, *shape)]


def test_any_size_where_the_model_takes_any():
    for size in [(4, 6), (9, 5)]:
        stream = Stream(np.zeros((3, *size, 3), np.float32), (None, None, 3), 2)
        assert [batch.images.shape for batch in stream] == [(2, *size, 3), (1, *size, 3)]


# ------------------------------------------------------------------ length
def test_length():
    datasets = datasets_of(IMAGES)
    for kind in ("plain", "mapped", "cached"):
        assert Stream(datasets[kind], SHAPE, 3).length == NUMBER
    for kind in ("batched", "prefetched", "one batch", "mapped batches"):
        stream = Stream(datasets[kind], SHAPE, 3)
        assert stream.length in (None, NUMBER)  # never the number of batches
        list(stream)
        assert stream.length == NUMBER


def test_leaving_early_does_not_set_a_wrong_length():
    stream = Stream(datasets_of(IMAGES)["batched"], SHAPE, 2)
    next(iter(stream))
    assert stream.length in (None, NUMBER)


def test_a_stream_never_holds_more_than_it_needs():
    """Elements of a dataset are read as they are needed."""
    read = []

    def generate():
        for i, image in enumerate(IMAGES):
            read.append(i)
            yield image

    dataset = tf.data.Dataset.from_generator(
        generate, output_signature=tf.TensorSpec(SHAPE, tf.float32)
    )
    batches = iter(Stream(dataset, SHAPE, 2))
    assert read == []
    next(batches)
    assert len(read) < NUMBER  # tf.data reads some ahead, but not all


def test_a_dataset_without_end_is_refused():
    with pytest.raises(ValueError, match=r"inputs .*(infinite|without end|repeat|take)"):
        Stream(tf.data.Dataset.from_tensor_slices(IMAGES).repeat(), SHAPE, 3)


# ------------------------------------------------------------------ some of the images
@pytest.mark.parametrize("indices", [[0], [6, 0, 3], [2, 2, 2], [5, 1, 5, 0, 1], range(NUMBER)])
@pytest.mark.parametrize("kind", ["array", "tensor", "list", *KINDS])
def test_images(kind, indices):
    everything = {"array": IMAGES, "tensor": tf.constant(IMAGES), "list": list(IMAGES)}
    everything |= datasets_of(IMAGES, ONE_HOT) if kind in KINDS else {}
    stream = Stream(everything[kind], SHAPE, 3)
    for form in (list(indices), np.array(indices)):
        images = stream.images(form)
        assert images.shape == (len(indices), *SHAPE)
        np.testing.assert_array_equal(images, IMAGES[list(indices)])


@pytest.mark.parametrize("kind", ["array", "dataset"])
def test_images_that_do_not_exist(kind):
    """The same error whatever the images are in."""
    inputs = IMAGES if kind == "array" else tf.data.Dataset.from_tensor_slices(IMAGES)
    with pytest.raises(IndexError):
        Stream(inputs, SHAPE, 3).images(np.array([0, NUMBER]))


def test_only_the_images_asked_for_are_read():
    class Lazy:
        """An array that counts what is read, as a memory-mapped one would be."""

        shape = IMAGES.shape

        def __init__(self):
            self.read = []

        def __len__(self):
            return NUMBER

        def __getitem__(self, index):
            self.read.append(index)
            return IMAGES[index]

    lazy = Lazy()
    stream = Stream(lazy, SHAPE, 3)
    np.testing.assert_array_equal(stream.images(np.array([5, 1, 5])), IMAGES[[5, 1, 5]])
    assert sorted(lazy.read) == [1, 5]


def test_reading_a_dataset_stops_at_the_last_image_asked_for():
    read = []

    def generate():
        for i, image in enumerate(IMAGES):
            read.append(i)
            yield image

    dataset = tf.data.Dataset.from_generator(
        generate, output_signature=tf.TensorSpec(SHAPE, tf.float32)
    )
    np.testing.assert_array_equal(Stream(dataset, SHAPE, 1).images([1]), IMAGES[[1]])
    assert len(read) <= 4


def test_a_dataset_that_is_shuffled_anew_is_noticed():
    """Numbers of images mean nothing there: crops would be cut from the wrong photographs."""
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES).shuffle(NUMBER, seed=1)
    stream = Stream(dataset, SHAPE, 3)
    first = np.concatenate([batch.images for batch in stream])
    try:
        again = stream.images(range(NUMBER))
    except ValueError as error:
        assert "shuffle" in str(error)  # noqa: PT017
    else:
        np.testing.assert_array_equal(again, first)


def test_a_dataset_that_is_shuffled_once_is_fine():
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES).shuffle(NUMBER, 1, False)
    stream = Stream(dataset, SHAPE, 3)
    first = np.concatenate([batch.images for batch in stream])
    assert (first != IMAGES).any()
    np.testing.assert_array_equal(stream.images(range(NUMBER)), first)


# ------------------------------------------------------------------ progress
@pytest.mark.parametrize("kind", ["array", "dataset"])
def test_progress(kind, capsys):
    inputs = IMAGES if kind == "array" else datasets_of(IMAGES)["batched"]
    stream = Stream(inputs, SHAPE, 3)
    quiet = [batch.start for batch in stream.progress("encode", False)]
    assert capsys.readouterr() == ("", "")
    loud = [batch.start for batch in stream.progress("encode", True)]
    assert quiet == loud == [0, 3, 6]
    assert "encode" in capsys.readouterr().err


# ------------------------------------------------------------------ refusals
@pytest.mark.parametrize("value", [None, "photographs", b"bytes", {"images": IMAGES}])
def test_no_images_at_all(value):
    with pytest.raises(TypeError, match=rf"pictures must be an array.*{type(value).__name__}"):
        Stream(value, SHAPE, 3, name="pictures")


@pytest.mark.parametrize("image", [IMAGES[0], tf.constant(IMAGES[0]), IMAGES[0].tolist()])
def test_one_image(image):
    with pytest.raises(ValueError, match=r"one image of shape \(4, 6, 3\).*inputs\[None\]"):
        Stream(image, SHAPE, 3)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES[:, :3],
        IMAGES[:, :, :5],
        IMAGES[..., :1],
        IMAGES[None],
        IMAGES[0, 0],
        IMAGES[..., 0, 0],
    ],
)
def test_wrong_shapes(images):
    received = ", ".join(map(str, images.shape))
    with pytest.raises(ValueError, match=rf"\(n, 4, 6, 3\).*received \({received}\)"):
        Stream(images, SHAPE, 3)


def test_wrong_shapes_where_any_size_will_do():
    with pytest.raises(ValueError, match=r"\(n, any, any, 3\).*received \(7, 4, 6, 1\)"):
        Stream(IMAGES[..., :1], (None, None, 3), 3)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(("part", "received"), [((slice(3),), "3, 6, 3"), ((..., [0]), "4, 6, 1")])
def test_datasets_of_wrong_shapes(batched, part, received):
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES[(slice(None), *part)])
    with pytest.raises(ValueError, match=rf"4, 6, 3\).*received .*{received}\)"):
        Stream(dataset.batch(2) if batched else dataset, SHAPE, 3)


def test_datasets_batched_twice():
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES).batch(2).batch(2)
    with pytest.raises(ValueError, match=r"batched or not, received .*\(None, None, 4, 6, 3\)"):
        Stream(dataset, SHAPE, 3)


@pytest.mark.parametrize(
    "data",
    [{"image": IMAGES}, (IMAGES, LABELS, LABELS), tf.ragged.stack([IMAGES[0], IMAGES[1, :3]])],
)
def test_datasets_of_something_else(data):
    with pytest.raises(TypeError, match=r"dataset of images or of \(image, target\)"):
        Stream(tf.data.Dataset.from_tensor_slices(data), SHAPE, 3)


def generated(images, shape):
    return tf.data.Dataset.from_generator(
        lambda: iter(images), output_signature=tf.TensorSpec(shape, tf.float32)
    )


@pytest.mark.parametrize("shape", [(None, None, 3), (None, None, None)])
def test_sizes_that_are_only_known_when_read(shape):
    """Photographs decoded in a map have no static size: the first wrong one is named."""
    wrong = np.zeros((5, 6, 3), np.float32)
    with pytest.raises(ValueError, match=r"inputs .*4, 6, 3\).*5, 6, 3\)"):
        list(Stream(generated([wrong, wrong], shape), SHAPE, 2))


@pytest.mark.parametrize("model_takes", [SHAPE, (None, None, 3)])
def test_datasets_of_different_sizes(model_takes):
    images = [IMAGES[0], np.zeros((5, 6, 3), np.float32)]
    with pytest.raises(ValueError, match=r"inputs .*(siz|shape)"):
        list(Stream(generated(images, (None, None, 3)), model_takes, 2))


@pytest.mark.parametrize("empty", [IMAGES[:0], tf.constant(IMAGES[:0]), []])
def test_empty(empty):
    with pytest.raises(ValueError, match="inputs holds no image"):
        Stream(empty, SHAPE, 3)


def test_empty_datasets():
    for dataset in datasets_of(IMAGES[:0], LABELS[:0], batch=2).values():
        if dataset.cardinality() == 0:
            with pytest.raises(ValueError, match="inputs holds no image"):
                list(Stream(dataset, SHAPE, 3))


@pytest.mark.parametrize(
    "images",
    [[IMAGES[0], IMAGES[1, :3]], [IMAGES[0], IMAGES[1, ..., :1]], [IMAGES[0], IMAGES[1, 0]]],
)
@pytest.mark.parametrize("convert", [np.asarray, tf.constant])
def test_lists_of_different_sizes(images, convert):
    with pytest.raises(ValueError, match=r"images of different sizes\. Resize them"):
        Stream([convert(image) for image in images], SHAPE, 3)


def test_ragged_tensors():
    with pytest.raises((TypeError, ValueError), match=r"inputs "):
        Stream(tf.ragged.stack([IMAGES[0], IMAGES[1, :3]]), SHAPE, 3)
