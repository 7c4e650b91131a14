"""Splitting: h(g(x)) is the model, for every kind of model, and layers are found by any name."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal
from splittable import (
    MODELS,
    SHAPE,
    assert_composes,
    attention_model,
    called_sequential_model,
    nested_sequential_model,
    randomised,
    raw_operations_model,
    residual_model,
    sequential_model,
    twice_nested_model,
)

from xplique_craft.splitting.graph import RenamedLayer, calls_of
from xplique_craft.splitting.split import Split, split_model
from xplique_craft.where_to_cut import candidate_layers


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(5, *SHAPE)).astype(np.float32)


# ---------------------------------------------------------------- exactness


@pytest.mark.parametrize("build", MODELS)
def test_every_candidate_composes_to_the_model(build, images, rng):
    model = randomised(build(), rng)
    candidates = candidate_layers(model)
    assert len(candidates) >= 1
    for candidate in candidates:
        split = split_model(model, candidate.name)
        assert split.input_to_latent.output_shape[1:] == candidate.shape
        assert_composes(split, model, images)


@pytest.mark.parametrize("build", MODELS)
def test_weights_are_the_same_objects(build, images):
    model = build()
    split = split_model(model, candidate_layers(model)[-1].name)
    own = {id(weight) for weight in model.weights}
    assert {id(weight) for weight in split.model.weights} == own
    parts = [*split.input_to_latent.weights, *split.latent_to_logit.weights]
    assert {id(weight) for weight in parts} == own
    model.weights[0].assign(model.weights[0] + 1.0)
    assert_composes(split, model, images)


@pytest.mark.parametrize("build", MODELS)
def test_clone_of_the_flat_model_and_of_the_parts(build, images, rng):
    model = randomised(build(), rng)
    split = split_model(model, candidate_layers(model)[0].name)
    for part, inputs in [
        (split.model, images),
        (split.input_to_latent, images),
        (split.latent_to_logit, split.input_to_latent(images)),
    ]:
        clone = keras.models.clone_model(part)
        clone.set_weights(part.get_weights())
        assert_allclose(np.asarray(clone(inputs)), np.asarray(part(inputs)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", MODELS)
def test_a_clone_splits_at_the_same_layer(build, images, rng):
    model = randomised(build(), rng)
    for candidate in candidate_layers(model):
        split = split_model(model, candidate.name)
        clone = keras.models.clone_model(split.model)
        clone.set_weights(split.model.get_weights())
        again = split_model(clone, split.layer)
        assert again.layer == split.layer
        assert_allclose(
            np.asarray(again.input_to_latent(images)),
            np.asarray(split.input_to_latent(images)),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize("build", [residual_model, twice_nested_model, raw_operations_model])
def test_parts_can_be_saved(build, images, rng, tmp_path):
    model = randomised(build(), rng)
    split = split_model(model, candidate_layers(model)[-1].name)
    loaded = []
    for part in (split.model, split.input_to_latent, split.latent_to_logit):
        part.save(tmp_path / "part.keras")
        loaded.append(keras.saving.load_model(tmp_path / "part.keras"))
    assert_composes(Split(*loaded, layer=split.layer), model, images)


@pytest.mark.parametrize("build", MODELS)
def test_the_model_is_unharmed(build, images, tmp_path):
    model = build()
    before, config = np.asarray(model(images)), model.get_config()
    outputs = [layer.output for layer in model.layers]
    for _ in range(2):
        for candidate in candidate_layers(model):
            split_model(model, candidate.name)
    assert_array_equal(np.asarray(model(images)), before)
    assert model.get_config() == config
    assert all(layer.output is out for layer, out in zip(model.layers, outputs, strict=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_allclose(np.asarray(loaded(images)), before, rtol=1e-5, atol=1e-5)


def test_training_arguments_of_nested_models_are_kept():
    image = keras.Input(SHAPE)
    drop = keras.Sequential([layers.Dropout(0.5, seed=1, name="drop")], name="noisy")
    x = layers.Conv2D(4, 1, name="conv")(drop(image, training=True))
    model = keras.Model(image, layers.Flatten(name="flatten")(x))
    split = split_model(model, "conv")
    ones = np.ones((200, *SHAPE), np.float32)
    steps = {step.name: step for step in calls_of(split.model)}
    assert steps["drop"].kwargs["training"] is True
    assert "drop" not in {c.name for c in candidate_layers(model) if c.affine_head}
    spread = np.asarray(split.input_to_latent(ones)).std(axis=0).max()
    assert spread > 0.1


def test_mixed_precision_inside_a_nested_model(images):
    inner_image = keras.Input(SHAPE, dtype="float16")
    x = layers.Conv2D(4, 3, dtype="float16", name="conv")(inner_image)
    inner = keras.Model(inner_image, layers.ReLU(dtype="float16", name="relu")(x), name="half")
    image = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D(name="pool")(inner(image))
    model = keras.Model(image, layers.Dense(3, name="logits")(x))
    split = split_model(model, "half/relu")
    assert split.input_to_latent.output.dtype == "float16"
    assert_array_equal(
        np.asarray(split.latent_to_logit(split.input_to_latent(images))), np.asarray(model(images))
    )


# ---------------------------------------------------------------- what comes back


def test_a_flat_functional_model_is_kept(images):
    model = residual_model()
    split = split_model(model, "concat")
    assert split.model is model
    assert split.layer == "concat"
    watched = keras.Model(split.model.input, split.model.get_layer("concat").output)
    assert_array_equal(np.asarray(watched(images)), np.asarray(split.input_to_latent(images)))


@pytest.mark.parametrize("build", [sequential_model, called_sequential_model])
def test_layers_of_a_sequential_model_stay_connected(build, images):
    model = build()
    split = split_model(model, "relu")
    watched = keras.Model(split.model.input, split.model.get_layer("relu").output)
    assert_array_equal(np.asarray(watched(images)), np.asarray(split.input_to_latent(images)))
    assert split.model.predict(images, verbose=0).shape == (5, 3)


def test_a_model_with_inputs_in_a_dict(images):
    image = keras.Input(SHAPE, name="image")
    x = layers.ReLU(name="relu")(layers.Conv2D(2, 3, name="conv")(image))
    model = keras.Model({"image": image}, {"score": layers.Flatten(name="flatten")(x)})
    split = split_model(model, "relu")
    expected = np.asarray(model({"image": images})["score"])
    assert_array_equal(np.asarray(split.model(images)), expected)
    assert_array_equal(np.asarray(split.latent_to_logit(split.input_to_latent(images))), expected)


def test_nested_models_are_opened_under_unique_names():
    split = split_model(twice_nested_model(), "inner/tail/relu")
    names = [layer.name for layer in split.model.layers]
    assert names == [
        *("image", "scale", "conv", "bn", "relu", "inner_tail_conv", "inner_tail_relu"),
        *("second_conv", "second_bn", "second_relu", "pool", "logits"),
    ]
    assert isinstance(split.model.get_layer("second_conv"), RenamedLayer)
    assert split.layer == "inner_tail_relu"


def test_a_renamed_layer_with_two_tensor_arguments(images):
    attention = attention_model()
    twin = attention_model()
    twin.name = "twin"
    image = keras.Input(SHAPE)
    model = keras.Model(image, layers.Add(name="sum")([attention(image), twin(image)]))
    flat = split_model(keras.Model(image, layers.Dense(2, name="d")(model.output)), "sum").model
    clone = keras.models.clone_model(flat)
    clone.set_weights(flat.get_weights())
    assert_allclose(np.asarray(clone(images)), np.asarray(flat(images)), rtol=1e-5, atol=1e-5)


def test_raw_operations_of_one_name_are_kept_apart(images):
    def block(name: str) -> keras.Model:
        image = keras.Input(SHAPE)
        x = layers.Conv2D(3, 3, padding="same", name=f"{name}_conv")(image)
        total = keras.ops.add(x, image)
        total._keras_history.operation.name = "plus"
        return keras.Model(image, total, name=name)

    image = keras.Input(SHAPE)
    x = layers.Flatten(name="flatten")(block("b")(block("a")(image)))
    model = keras.Model(image, x)
    assert [c.name for c in candidate_layers(model)] == ["a/plus", "b/plus"]
    for name, flat_name in (("a/plus", "plus"), ("b/plus", "b_plus"), ("b", "b_plus")):
        split = split_model(model, name)
        assert split.layer == flat_name
        assert_composes(split, model, images)


# ---------------------------------------------------------------- naming a layer


def test_layer_by_index_and_by_object():
    model = residual_model()
    by_name = split_model(model, "add_relu")
    index = [layer.name for layer in model.layers].index("add_relu")
    for layer in (index, index - len(model.layers), model.get_layer("add_relu")):
        split = split_model(model, layer)
        assert split.layer == "add_relu"
        assert split.latent_to_logit.count_params() == by_name.latent_to_logit.count_params()


def test_index_of_a_sequential_model_is_that_of_its_layers():
    assert split_model(sequential_model(), 1).layer == "relu"
    assert split_model(called_sequential_model(), -3).layer == "relu"


@pytest.mark.parametrize("layer", ["inner/first/relu", "first/relu", "first", "inner/first"])
def test_nested_layers_by_path(layer):
    assert split_model(twice_nested_model(), layer).layer == "relu"


def test_nested_layers_by_unique_name_object_and_nested_model(images):
    model = twice_nested_model()
    inner = model.get_layer("inner")
    tail = inner.get_layer("tail")
    for layer in ("inner/tail/relu", "tail/relu", "tail", tail, tail.layers[-1], inner, 2):
        split = split_model(model, layer)
        assert split.layer == "inner_tail_relu"
        assert_composes(split, model, images)
    assert split_model(nested_sequential_model(), "hidden").layer == "hidden"
    assert split_model(nested_sequential_model(), "head/hidden").layer == "hidden"


def test_a_layer_of_the_flat_model_names_its_own_layer():
    model = twice_nested_model()
    renamed = split_model(model, "tail").model.get_layer("second_relu")
    assert split_model(model, renamed).input_to_latent.output_shape == (None, 6, 6, 4)
    assert split_model(model, "second_relu").layer == "second_relu"


def test_layer_twice_elsewhere_does_not_matter(images):
    model = raw_operations_model()
    assert_composes(split_model(model, "middle"), model, images)


# ---------------------------------------------------------------- real models


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet", "squeezenet"])
def test_real_models(realkit, name, rng):
    model = realkit.load_model(name)
    images = rng.uniform(-1.0, 1.0, (2, *model.input_shape[1:])).astype(np.float32)
    expected = np.asarray(model(images))
    candidates = {candidate.name: candidate for candidate in candidate_layers(model)}
    for layer in realkit.SPLIT_LAYERS[name]:
        split = split_model(model, layer)
        composed = np.asarray(split.latent_to_logit(split.input_to_latent(images)))
        assert_allclose(composed, expected, atol=1e-4 * np.abs(expected).max(), rtol=0.0)
        assert candidates[layer].non_negative
    assert candidates[realkit.SPLIT_LAYERS[name][0]].affine_head is (name == "mobilenet")
