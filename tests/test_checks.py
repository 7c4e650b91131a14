"""Checks of arguments: what passes, as what, and the words for what does not."""

import numpy as np
import pytest
import tensorflow as tf

from xplique_craft._checks import check_bool, check_int, listing, nearest
from xplique_craft.factorization import NMF, SemiNMF
from xplique_craft.targets import check_class_id, one_hot


# ------------------------------------------------------------------ whole numbers
@pytest.mark.parametrize("value", [1, 20, np.int32(7), np.uint8(255), np.int64(10**12)])
def test_positive_int(value):
    checked = check_int("batch_size", value)
    assert checked == value
    assert type(checked) is int


def test_positive_int_minimum():
    assert check_int("seed", 0, minimum=0) == 0
    assert check_int("nb_design", 8, minimum=8) == 8
    with pytest.raises(ValueError, match="nb_design must be at least 8, received 7"):
        check_int("nb_design", 7, minimum=8)


@pytest.mark.parametrize("value", [0, -1, np.int64(-5)])
def test_positive_int_too_small(value):
    with pytest.raises(ValueError, match=rf"batch_size must be at least 1, received {value}\."):
        check_int("batch_size", value)


@pytest.mark.parametrize(
    "value", [True, np.True_, 2.0, np.float32(2), "2", None, [2], np.array([2])]
)
def test_positive_int_is_none(value):
    name = type(value).__name__
    with pytest.raises(TypeError, match=rf"batch_size must be an integer, received .*type {name}"):
        check_int("batch_size", value)


# ------------------------------------------------------------------ classes
@pytest.mark.parametrize("value", [0, 9, np.int64(3)])
def test_class_id(value):
    checked = check_class_id(value, 10)
    assert checked == value
    assert type(checked) is int


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (
            10,
            ValueError,
            "class_id must be below the number of the model's outputs, 10, received 10",
        ),
        (-1, ValueError, "class_id must be at least 0, received -1"),
        (2.0, TypeError, "class_id must be an integer, received 2.0"),
        (True, TypeError, "class_id must be an integer, received True"),
        (None, TypeError, "class_id must be an integer, received None"),
        ("tench", TypeError, "class_id must be an integer, received 'tench'"),
        ([1], TypeError, r"one integer, received an array of shape \(1,\).*one-hot targets"),
        (np.eye(10)[0], TypeError, r"one integer, received an array of shape \(10,\)"),
    ],
)
def test_bad_class_ids(value, error, message):
    with pytest.raises(error, match=message):
        check_class_id(value, 10)
    with pytest.raises(error, match=message.replace("class_id", "target")):
        check_class_id(value, 10, name="target")


# ------------------------------------------------------------------ activations
@pytest.mark.parametrize(
    "activations",
    [np.zeros(3), np.array([0.0, 1.0]), np.array([-0.0]), np.zeros((0, 4)), np.array(2)],
)
def test_non_negative(activations):
    assert NMF().check(activations) is None


def test_negative():
    with pytest.raises(ValueError, match=r"non-negative.*minimum of -0\.125\. Use .*signed-nmf"):
        NMF().check(np.array([[1.0, -0.125], [0.0, 2.0]]))
    assert SemiNMF().check(np.array([-1.0])) is None


@pytest.mark.parametrize("factorizer", [NMF(), SemiNMF()])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_comes_before_negative(value, factorizer):
    with pytest.raises(ValueError, match=r"NaN or infinite.*preprocessed"):
        factorizer.check(np.array([-1.0, value, 2.0]))


# ------------------------------------------------------------------ targets
def test_one_class_for_all_images():
    for target in (2, np.int64(2), np.array(2), tf.constant(2), np.uint8(2)):
        weights = one_hot(target, 3, 4)
        np.testing.assert_array_equal(weights, [[0, 0, 1, 0]] * 3)
        assert weights.dtype == np.float32


def test_a_class_for_each_image():
    for targets in ([0, 3, 1], (0, 3, 1), np.array([0, 3, 1], np.uint8), tf.constant([0, 3, 1])):
        weights = one_hot(targets, 3, 4)
        np.testing.assert_array_equal(weights, np.eye(4)[[0, 3, 1]])
        assert weights.dtype == np.float32


def test_as_many_images_as_classes():
    np.testing.assert_array_equal(one_hot([1, 0], 2, 2), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(one_hot([[0, 1], [0, 1]], 2, 2), [[0, 1], [0, 1]])


def test_one_hot_and_other_weights():
    difference = np.array([[1.0, -1.0, 0.0]] * 2)
    for targets in (np.eye(3)[[2, 0]], np.eye(3, dtype=int)[[2, 0]], difference, -0.5 * difference):
        for form in (targets, targets.tolist(), tf.constant(targets)):
            weights = one_hot(form, 2, 3)
            assert weights.dtype == np.float32
            np.testing.assert_array_equal(weights, targets)


def test_targets_are_not_written_to():
    targets = np.eye(3, dtype=np.float32)[[2, 0]]
    weights = one_hot(targets, 2, 3)
    weights[0, 0] = 5.0
    np.testing.assert_array_equal(targets, np.eye(3)[[2, 0]])


def test_no_images():
    assert one_hot(1, 0, 3).shape == (0, 3)
    assert one_hot(np.array([], int), 0, 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (3, "class indices from 3 to 3, but the model has 3 outputs, counted from 0"),
        (-1, "class indices from -1 to -1"),
        ([0, 5], "class indices from 0 to 5"),
        (
            [0, 1, 2],
            r"one class index, 2 of them, or one-hot of shape \(2, 3\), received shape \(3,\)",
        ),
        ([[0], [1]], r"received shape \(2, 1\)"),
        (np.eye(3), r"received shape \(3, 3\)"),
        (np.eye(4)[:2], r"received shape \(2, 4\)"),
        (np.zeros((1, 2, 3)), r"received shape \(1, 2, 3\)"),
        (1.0, r"received shape \(\) of type float64"),
        ([0.0, 1.0], r"received shape \(2,\) of type float64"),
        (True, r"received shape \(\) of type bool"),
        ("cat", r"received shape \(\) of type"),
        (["cat", "dog"], r"received shape \(2,\) of type"),
        (None, r"received shape \(\) of type object"),
        ([], r"received shape \(0,\)"),
    ],
)
def test_bad_targets(targets, message):
    with pytest.raises(ValueError, match=r"^targets .*" + message):
        one_hot(targets, 2, 3)
    with pytest.raises(ValueError, match="^the dataset's labels .*" + message):
        one_hot(targets, 2, 3, name="the dataset's labels")


def test_uneven_targets():
    with pytest.raises(ValueError, match=r"^targets must be"):
        one_hot([[0, 1, 0], [1]], 2, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value):
    with pytest.raises(ValueError, match=r"^targets .*(finite|NaN)"):
        one_hot([[0.0, 1.0, 0.0], [value, 0.0, 0.0]], 2, 3)


# ------------------------------------------------------------------ words
LAYERS = ["conv1", "conv_pw_12_relu", "conv_pw_13_relu", "global_average_pooling2d", "logits"]


def test_nearest():
    assert nearest("conv_pw_13_rel", LAYERS).startswith("Did you mean 'conv_pw_13_relu' or ")
    assert nearest("logit", LAYERS) == "Did you mean 'logits'?"
    assert nearest("xyz", LAYERS) == ""
    assert nearest("anything", []) == ""


def test_nearest_falls_back_to_parts_of_names():
    assert nearest("Pooling2D", LAYERS) == "Did you mean 'global_average_pooling2d'?"


def test_nearest_is_limited():
    names = [f"block_{i}" for i in range(10)]
    assert nearest("block_x", names).count("block_") == 3
    assert nearest("block_x", iter(names)) == nearest("block_x", names)


def test_listing():
    assert listing(LAYERS[:2]) == "'conv1', 'conv_pw_12_relu'"
    assert listing(LAYERS, limit=2) == "'conv1', 'conv_pw_12_relu' and 3 more"
    assert listing(LAYERS, limit=5).endswith("'logits'")
    assert listing([]) == ""


def test_bools() -> None:
    assert check_bool("verbose", True) is True
    assert check_bool("verbose", np.False_) is False
    for value in ("no", 1, None, 0.0):
        with pytest.raises(TypeError, match=f"verbose must be True or False, received {value!r}"):
            check_bool("verbose", value)
