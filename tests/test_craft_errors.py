"""Errors of what is asked: the argument, the rule, what was received, what to do; at once."""

import warnings
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from warned import ours

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.importance import SobolImportance

SIZE = (8, 12)
BANK = planted.bank()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(5, SIZE)


@pytest.fixture(scope="module")
def split(images: np.ndarray) -> xc.Split:
    return xc.split_model(planted.network(BANK, "relu", size=SIZE), planted.LAYER)


@pytest.fixture(scope="module")
def class_id(split: xc.Split, images: np.ndarray) -> int:
    return planted.predicted(split.model, images)


@pytest.fixture
def craft(split: xc.Split) -> xc.Craft:
    """Not fitted."""
    return xc.Craft.from_model(split, None, 3, batch_size=4)


# ----------------------------------------------------------------------------------------- patches
@pytest.mark.parametrize("patch_size", [9, 12, (4, 64)])
def test_a_patch_larger_than_the_image(
    split: xc.Split, images: np.ndarray, class_id: int, patch_size: Any
) -> None:
    craft = xc.Craft.from_model(split, None, 3, patch_size=patch_size)
    largest = np.max(patch_size)
    with pytest.raises(
        ValueError,
        match=rf"patch_size must be at most the image's smaller side, 8, received {largest}\. Give",
    ):
        craft.fit(images, class_id)


def test_a_patch_of_one_pixel_works(split: xc.Split, images: np.ndarray, class_id: int) -> None:
    craft = xc.Craft.from_model(split, None, 3, patch_size=1)
    crops, crops_u, _ = craft.fit(images[:2], class_id)
    assert len(crops) == 2 * 8 * 12
    assert crops[5].shape == (1, 1, 3)
    assert_allclose(craft.inverse_transform(crops_u), np.asarray(crops)[:, 0, 0] @ BANK, atol=0.05)


# ------------------------------------------------------------------------------------------ inputs
def test_one_image(craft: xc.Craft, images: np.ndarray, class_id: int) -> None:
    with pytest.raises(
        ValueError, match=r"received one image of shape \(8, 12, 3\)\. .*inputs\[None\]"
    ):
        craft.fit(images[0], class_id)


def test_one_image_in_a_batch_works(split: xc.Split, images: np.ndarray, class_id: int) -> None:
    craft = xc.Craft.from_model(split, None, 3)
    craft.fit(images, class_id)
    assert craft.transform(images[:1]).shape == (1, 8, 12, 3)
    with pytest.raises(ValueError, match="received one image"):
        craft.transform(images[0])


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (None, TypeError, "inputs must be an array, a tensor or a tf.data.Dataset"),
        ("images", TypeError, "received str"),
        ({"x": 1}, TypeError, "received dict"),
        (np.zeros((3, 8, 8, 3)), ValueError, r"\(n, 8, 12, 3\) .* received \(3, 8, 8, 3\)"),
        (np.zeros((3, 12, 8, 3)), ValueError, r"received \(3, 12, 8, 3\)"),
        (np.zeros((3, 8, 12, 1)), ValueError, r"received \(3, 8, 12, 1\)"),
        (np.zeros((8, 12)), ValueError, r"received \(8, 12\)"),
        (np.zeros((0, 8, 12, 3)), ValueError, "inputs holds no image"),
        ([np.zeros((8, 12, 3)), np.zeros((4, 4, 3))], ValueError, "images of different sizes"),
    ],
)
def test_inputs_that_do_not_fit(
    craft: xc.Craft, inputs: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        craft.fit(inputs)


def test_datasets_that_do_not_fit(craft: xc.Craft, images: np.ndarray) -> None:
    pairs = tf.data.Dataset.from_tensor_slices((images, np.zeros(5), np.ones(5)))
    with pytest.raises(TypeError, match=r"dataset of images or of \(image, target\)"):
        craft.fit(pairs)
    with pytest.raises(TypeError, match=r"dataset of images or of \(image, target\)"):
        craft.fit(tf.data.Dataset.from_tensor_slices({"image": images}))
    with pytest.raises(ValueError, match="received"):
        craft.fit(tf.data.Dataset.from_tensor_slices(images[:, :4]))
    with pytest.raises(ValueError, match="holds no image"):
        craft.fit(tf.data.Dataset.from_tensor_slices(images).take(0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_images_that_are_not_finite(images: np.ndarray, value: float, activation: str) -> None:
    """Some kernels of ReLU and pooling turn NaN into 0: nothing would be seen of it later."""
    image = keras.Input((*SIZE, 3))
    x = layers.Conv2D(4, 3, activation=activation, name="first")(image)
    x = layers.MaxPooling2D(2, name=planted.LAYER)(x)
    x = layers.GlobalAveragePooling2D()(x)
    craft = xc.Craft.from_model(keras.Model(image, layers.Dense(1)(x)), planted.LAYER, 3)
    spoilt = images.copy()
    spoilt[3, 4, 5, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        craft.fit(spoilt)
    craft.fit(images)
    for question in (craft.transform, craft.contributions, craft.quality):
        with pytest.raises(ValueError, match="NaN or infinite"):
            question(spoilt)


def test_negative_activations(images: np.ndarray) -> None:
    image = keras.Input((*SIZE, 3))
    x = layers.Conv2D(5, 3, name=planted.LAYER)(image)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    craft = xc.Craft.from_model(keras.Model(image, layers.Dense(1)(x)), planted.LAYER, 3)
    with pytest.raises(
        ValueError, match=r"must be non-negative for NMF, received a minimum of -.*signed-nmf.*ReLU"
    ):
        craft.fit(images)


def test_activations_that_are_negative_only_later(split: xc.Split, images: np.ndarray) -> None:
    """Given by hand, they are looked at as well."""
    craft = planted.fitted(split, BANK, images)
    with pytest.raises(ValueError, match="must be non-negative for NMF"):
        craft.transform(None, -np.ones((2, 8, 12, 5), np.float32))
    with pytest.raises(ValueError, match=r"the 5 channels .* received shape \(2, 8, 12, 4\)"):
        craft.transform(None, np.ones((2, 8, 12, 4), np.float32))
    with pytest.raises(ValueError, match=r"the 3 concepts in its last axis, .* \(2, 5\)"):
        craft.inverse_transform(np.ones((2, 5)))


def test_a_dead_layer(split: xc.Split, images: np.ndarray) -> None:
    craft = xc.Craft.from_model(split, None, 3)
    class_id = planted.predicted(split.model, np.zeros_like(images))
    with pytest.raises(ValueError, match="All activations are 0"):
        craft.fit(np.zeros_like(images), class_id)


def test_fewer_crops_than_concepts(split: xc.Split, images: np.ndarray, class_id: int) -> None:
    craft = xc.Craft.from_model(split, None, 20, patch_size=8)
    with pytest.raises(
        ValueError, match=r"received 20 concepts for 4 crops\. Give more images or ask for fewer"
    ):
        craft.fit(images[:2], class_id)


def test_few_crops_work(split: xc.Split, images: np.ndarray, class_id: int) -> None:
    """As many concepts as crops."""
    craft = xc.Craft.from_model(split, None, 4, patch_size=8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The bank of .* concepts has rank")
        crops, crops_u, bank = craft.fit(images[:2], class_id)
    assert (len(crops), crops_u.shape, bank.shape) == (4, (4, 4), (4, 5))
    assert_allclose(craft.estimate_importance().shape, (4,))


# ----------------------------------------------------------------------------------------- classes
@pytest.mark.parametrize(
    ("class_id", "error", "message"),
    [
        (3, ValueError, "class_id must be below the number of the model's outputs, 3, received 3"),
        (1000, ValueError, "received 1000. Classes are counted from 0"),
        (-1, ValueError, "class_id must be at least 0, received -1"),
        (0.0, TypeError, "class_id must be an integer, received 0.0"),
        ("tench", TypeError, "class_id must be an integer, received 'tench'"),
        (None, TypeError, "class_id must be an integer, received None"),
        (True, TypeError, "class_id must be an integer, received True"),
        (np.eye(3)[0], TypeError, r"one integer, received an array of shape \(3,\)"),
        (np.array([0]), TypeError, "one-hot targets belong to explain"),
    ],
)
def test_classes_that_are_none_are_refused_before_anything_runs(
    craft: xc.Craft,
    images: np.ndarray,
    class_id: Any,
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: Any) -> None:
        pytest.fail("g ran before the class was looked at")

    monkeypatch.setattr(craft.network, "shared", never)
    monkeypatch.setattr(craft.network, "latents", never)
    with pytest.raises(error, match=message):
        craft.fit(images, class_id)


@pytest.mark.parametrize("class_id", [np.int64(1), np.uint8(1)])
def test_integers_of_numpy_are_classes(craft: xc.Craft, images: np.ndarray, class_id: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only .* images are predicted")
        craft.fit(images, class_id)
    assert craft.class_id == 1


def test_fit_warns_where_few_images_are_predicted_as_the_class(
    craft: xc.Craft, images: np.ndarray, class_id: int
) -> None:
    """Here none is, as of a class that the model never predicts."""
    other = next(c for c in range(3) if c not in craft.model(images).numpy().argmax(axis=1))
    with pytest.warns(
        UserWarning, match=rf"Only 0 of 5 images are predicted as class {other}: .*Give images"
    ) as caught:
        craft.fit(images, other)
    assert len(ours(caught)) == 1
    assert ours(caught)[0].filename == __file__  # it points at the caller's line
    assert craft.factorized.bank.shape == (3, 5)


def test_fit_is_silent_where_half_are(split: xc.Split) -> None:
    """Of ten images, five; then four."""
    model = planted.network(np.eye(3), "affine", size=SIZE)
    model.get_layer("logits").set_weights([np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    colours = np.stack([planted.square(SIZE, i % 3, i, 5, i % 2) for i in range(10)])
    colours += np.float32(0.01) * planted.paintings(10, SIZE)
    craft = xc.Craft.from_model(model, planted.LAYER, 3)
    craft.fit(colours, 0)
    with pytest.warns(UserWarning, match="Only 4 of 9 images"):
        craft.fit(colours[1:], 0)


# ---------------------------------------------------------------------------------------- too soon
QUESTIONS = {
    "transform": lambda craft, x: craft.transform(x),
    "inverse_transform": lambda craft, x: craft.inverse_transform(np.ones((1, 3))),
    "estimate_importance": lambda craft, x: craft.estimate_importance(),
    "importance of": lambda craft, x: craft.estimate_importance(x),
    "contributions": lambda craft, x: craft.contributions(x),
    "ablation_effects": lambda craft, x: craft.ablation_effects(x),
    "quality": lambda craft, x: craft.quality(x),
    "factorized": lambda craft, x: craft.factorized,
    "class_id": lambda craft, x: craft.class_id,
    "coefficient_scale": lambda craft, x: craft.coefficient_scale,
    "encoder": lambda craft, x: craft.encoder,
    "position_encoder": lambda craft, x: craft.position_encoder,
    "decoder": lambda craft, x: craft.decoder,
    "bound_decoder": lambda craft, x: craft.bound_decoder(x),
    "check_if_fitted": lambda craft, x: craft.check_if_fitted(),
    "SobolImportance": lambda craft, x: SobolImportance(craft),
    "ConceptAttribution": lambda craft, x: ConceptAttribution(craft),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_before_fit(craft: xc.Craft, images: np.ndarray, question: str) -> None:
    with pytest.raises(NotFittedError, match=r"not fitted: call fit\(inputs, class_id\) first"):
        QUESTIONS[question](craft, images)


def test_before_importance_there_is_no_sensitivity(craft: xc.Craft) -> None:
    assert craft.factorization is None
    assert craft.sensitivity is None


# -------------------------------------------------------------------------------- a fit that fails
def test_a_fit_that_fails_leaves_the_first_intact(
    craft: xc.Craft, images: np.ndarray, class_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    craft.fit(images, class_id)
    craft.estimate_importance()
    before = craft.factorization, craft.sensitivity, craft.coefficient_scale, craft.encoder
    phi = craft.contributions(images).phi
    bad = images.copy()
    bad[4] = np.nan
    for inputs, wrong in ((bad, class_id), (images, 17), (images[:, :4], 0), (images[:0], 0)):
        with pytest.raises((ValueError, TypeError)):
            craft.fit(inputs, wrong)
    # the last step of all: the pass that measures how large coefficients get
    latents, calls = craft.network.latents, []

    def fails_late(batch: np.ndarray) -> Any:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return latents(batch)

    with monkeypatch.context() as patched:
        patched.setattr(craft.network, "latents", fails_late)
        with pytest.raises(KeyboardInterrupt):
            craft.fit(0.5 * images, class_id)
    assert craft.factorization is before[0]
    assert craft.sensitivity is before[1]
    assert_array_equal(craft.coefficient_scale, before[2])
    assert craft.encoder is before[3]
    assert_array_equal(craft.contributions(images).phi, phi)
