"""What is changed of a craft after it is made reaches what comes next; warnings reach the user."""

import inspect
import warnings

import keras
import numpy as np
import planted
import pytest
from keras import layers
from warned import ours

import xplique_craft as xc
from xplique_craft.importance import OcclusionImportance


def line_of(needle: str) -> int:
    """Line of this file, within the calling test, that holds a text."""
    frame = inspect.currentframe().f_back
    source, first = inspect.getsourcelines(frame.f_code)
    return first + next(i for i, line in enumerate(source) if needle in line)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((8, 16, 24, 3)).astype(np.float32)


def test_settings_of_extraction_can_be_set(images: np.ndarray) -> None:
    craft = planted.convolutional_craft(images, 3)
    assert len(craft.factorization.crops) > 8 * 10
    craft.max_crops, craft.number_of_concepts, craft.patch_size = 50, 2, (8,)
    crops, u, bank = craft.fit(images, craft.class_id)
    assert (len(crops), u.shape, len(bank)) == (50, (50, 2), 2)
    assert set(crops.boxes[:, 3]) == {8}


def test_a_model_that_cannot_be_explained_is_refused_when_the_craft_is_made() -> None:
    image = keras.Input((8, 8, 3))
    latent = layers.Conv2D(4, 3, activation="relu", name="latent")(image)
    model = keras.Model(image, layers.Conv2D(2, 1)(latent))
    with pytest.raises(ValueError, match=r"output must have the shape \(n, classes\)"):
        xc.Craft.from_model(model, "latent")


def test_a_softmax_is_warned_of_when_the_craft_is_made() -> None:
    image = keras.Input((8, 8, 3))
    latent = layers.Conv2D(4, 3, activation="relu", name="latent")(image)
    scores = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(latent))
    model = keras.Model(image, scores)
    with pytest.warns(UserWarning, match="ends in a softmax") as caught:
        xc.Craft.from_model(model, "latent")  # the softmax
    assert (ours(caught)[0].filename, ours(caught)[0].lineno) == (
        __file__,
        line_of("# the softmax"),
    )


def test_warnings_of_fit_point_at_the_line_that_called_it(images: np.ndarray) -> None:
    craft = xc.Craft.from_model(planted.convolutional((16, 24)), planted.LAYER, 30)
    other = (planted.predicted(craft.model, images) + 1) % 3
    same = np.repeat(images[:1], 8, axis=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        craft.fit(same, other)  # the fit
    caught = ours(caught)
    messages = [str(one.message) for one in caught]
    assert any("images are predicted as class" in message for message in messages)
    assert any("concepts has rank" in message for message in messages)
    places = {(one.filename, one.lineno) for one in caught}
    assert places == {(__file__, line_of("# the fit"))}


def test_warnings_of_flat_importances_point_there_too(images: np.ndarray) -> None:
    craft = planted.convolutional_craft(images, 3)
    nothing = np.zeros((2, 3), np.float32)
    for ask in ("explain", "summary"):
        with pytest.warns(UserWarning, match="the same for all concepts") as caught:
            getattr(OcclusionImportance(craft), ask)(images[:2], nothing)  # the question
        assert (ours(caught)[0].filename, ours(caught)[0].lineno) == (
            __file__,
            line_of("# the question"),
        )


def test_children_answer_as_a_craft_does(images: np.ndarray) -> None:
    craft = planted.convolutional_craft(images, 2, patch_size=8)
    node = craft.decompose(0, "first", 2, 50.0)
    children = node.for_class
    assert children.encoder(images[:2]).shape == (2, 2)
    assert children.estimate_importance(images[:2]).shape == (2,)
    found = children.contributions(images[:2])
    np.testing.assert_array_equal(found.phi, node.contributions(images[:2], "class").phi)
    assert children.tolerance == node.settings.tolerance == 0.01
    assert children.quality(images[:4]).number_of_images == 4
    rebuilt = children.decoder(children.transform(images[:2])).numpy()
    assert rebuilt.shape == (2, 3)
