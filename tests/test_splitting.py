"""Splitting: h(g(x)) is the model, for every kind of model; errors that say what to do."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal

from xplique_craft.graph import RenamedLayer, steps_of
from xplique_craft.splitting import Candidate, Split, candidate_layers, join_models, split_model
from xplique_craft.structure import (
    affine_tensors,
    is_affine_model,
    is_affine_operation,
    non_negative_tensors,
)

SHAPE = (8, 8, 3)


def residual_model() -> keras.Model:
    """A residual block, a concatenation, an affine head."""
    x = image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = shortcut = layers.ReLU(name="stem_relu")(x)
    x = layers.Conv2D(4, 3, padding="same", name="branch")(x)
    x = layers.BatchNormalization(name="branch_bn")(x)
    x = layers.Add(name="add")([x, shortcut])
    x = layers.ReLU(name="add_relu")(x)
    left = layers.Conv2D(3, 1, activation="relu", name="left")(x)
    right = layers.Conv2D(5, 1, activation="relu", name="right")(x)
    x = layers.Concatenate(name="concat")([left, right])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="residual")


def sequential_layers() -> list[keras.layers.Layer]:
    return [
        layers.Conv2D(7, 3, name="conv"),
        layers.ReLU(name="relu"),
        layers.Flatten(name="flatten"),
        layers.Dense(3, name="logits"),
    ]


def sequential_model() -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), *sequential_layers()], name="with_input")


def called_sequential_model() -> keras.Model:
    model = keras.Sequential(sequential_layers(), name="called")
    model(np.zeros((2, *SHAPE), np.float32))
    return model


def backbone(name: str = "backbone", filters: int = 4, channels: int = 3) -> keras.Model:
    """Names of its layers are the same whatever its own name is."""
    x = image = keras.Input((None, None, channels))
    x = layers.Conv2D(filters, 3, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    return keras.Model(image, layers.ReLU(name="relu")(x), name=name)


def nested_model() -> keras.Model:
    """Functional in Functional, as in transfer learning."""
    image = keras.Input(SHAPE, name="image")
    x = backbone()(image, training=False)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="nested")


def twice_nested_model() -> keras.Model:
    """A Sequential and a Functional in a Functional in a Functional, with names that collide."""
    inner_image = keras.Input(SHAPE)
    x = backbone("first")(inner_image)
    x = keras.Sequential([layers.Conv2D(6, 3, name="conv"), layers.ReLU(name="relu")], name="tail")(
        x
    )
    inner = keras.Model(inner_image, x, name="inner")
    image = keras.Input(SHAPE, name="image")
    x = inner(layers.Rescaling(0.5, name="scale")(image))
    x = backbone("second", channels=6)(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="outer")


def nested_sequential_model() -> keras.Model:
    """Functional, then Sequential, in a Sequential."""
    head = keras.Sequential(
        [layers.Dense(6, activation="relu", name="hidden"), layers.Dense(3, name="logits")],
        name="head",
    )
    return keras.Sequential(
        [keras.Input(SHAPE), backbone(), layers.GlobalMaxPooling2D(name="pool"), head],
        name="sequence",
    )


def raw_operations_model() -> keras.Model:
    """Operations that are no layers, and a layer called twice."""
    image = keras.Input(SHAPE, name="image")
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    x = keras.ops.relu(shared(image) + image)
    x = layers.Identity(name="middle")(x)
    x = keras.ops.concatenate([shared(x)[..., :2], 2.0 * x], axis=-1)
    return keras.Model(image, keras.ops.mean(x, axis=(1, 2)), name="raw")


def attention_model() -> keras.Model:
    """Tokens, and a layer with two tensor arguments."""
    x = image = keras.Input(SHAPE, name="image")
    x = layers.Reshape((16, 12), name="tokens")(layers.Conv2D(3, 1, name="conv")(x))
    attended = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="add")([x, attended]))
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="attention")


MODELS = [
    residual_model,
    sequential_model,
    called_sequential_model,
    nested_model,
    twice_nested_model,
    nested_sequential_model,
    raw_operations_model,
    attention_model,
]


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(5, *SHAPE)).astype(np.float32)


def randomised(model: keras.Model, rng: np.random.Generator) -> keras.Model:
    """The model with weights that hide nothing: biases and statistics are not 0 and 1."""
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(rng.uniform(0.2, 1.0, weight.shape) * rng.choice([1, -1], weight.shape))
            if "variance" in weight.path:
                weight.assign(np.abs(weight))
    return model


def error_of(function, *args) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args)
    return f"{caught.type.__name__}: {caught.value}"


def assert_composes(split: Split, model: keras.Model, images: np.ndarray) -> None:
    expected = np.asarray(model(images))
    latent = split.input_to_latent(images)
    assert_allclose(np.asarray(split.latent_to_logit(latent)), expected, rtol=1e-5, atol=1e-5)
    assert_allclose(np.asarray(split.model(images)), expected, rtol=1e-5, atol=1e-5)


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
    steps = {step.name: step for step in steps_of(split.model)}
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


# ---------------------------------------------------------------- errors


def test_unknown_name_suggests_the_nearest():
    message = error_of(split_model, residual_model(), "add_rleu")
    assert message.startswith("ValueError: layer 'add_rleu' is not in 'residual'. Did you mean")
    assert "'add_relu'" in message
    assert message.endswith(
        "It can be cut at 'stem_relu', 'add', 'add_relu', 'concat', 'pool' (candidate_layers lists "
        "all)."
    )


def test_a_layer_that_is_not_a_cut():
    message = error_of(split_model, residual_model(), "branch_bn")
    assert message == (
        "ValueError: layer 'branch_bn' is not a cut of 'residual': the output also depends on "
        "'stem_relu' by a way around it. Choose a layer that every branch goes through, as "
        "'stem_relu' or 'add'."
    )
    assert "'right'" in error_of(split_model, residual_model(), "left")


def test_input_and_output_are_no_cuts():
    for model, name in ((residual_model(), "image"), (nested_model(), "image")):
        for layer in (name, 0, model.layers[0]):
            assert "is the model's input" in error_of(split_model, model, layer)
    assert "is the model's output" in error_of(split_model, residual_model(), "logits")
    assert "is the model's output" in error_of(split_model, nested_sequential_model(), "head")


def test_a_layer_called_more_than_once():
    message = error_of(split_model, raw_operations_model(), "shared")
    assert message.startswith("ValueError: layer 'shared' is called 2 times in 'raw'")
    image = keras.Input(SHAPE)
    twice = backbone("twice", filters=3)
    model = keras.Model(image, layers.Flatten()(twice(twice(image))))
    for layer in ("twice", "twice/relu", "relu", twice, twice.layers[1], 1):
        assert "is called 2 times" in error_of(split_model, model, layer)


def test_an_ambiguous_name():
    message = error_of(split_model, twice_nested_model(), "relu")
    assert message == (
        "ValueError: layer 'relu' is the name of several layers: choose one of "
        "'inner/first/relu', 'inner/tail/relu', 'second/relu'."
    )


@keras.saving.register_keras_serializable(package="tests")
class Halves(layers.Layer):
    """A layer with two outputs."""

    def call(self, x):
        return x[..., :1], x[..., 1:]


def test_a_layer_with_several_outputs():
    image = keras.Input(SHAPE)
    left, right = Halves(name="halves")(image)
    model = keras.Model(image, layers.Concatenate(name="c")([left, right]))
    message = error_of(split_model, model, "halves")
    assert message == (
        "ValueError: layer 'halves' has 2 outputs; a cut needs a layer with one. This model has no "
        "layer that it can be cut at."
    )
    assert candidate_layers(model) == []


def test_models_with_several_inputs_or_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    total = layers.Add(name="sum")([a, b])
    message = error_of(split_model, keras.Model([a, b], total, name="two"), "sum")
    assert message.startswith(
        "ValueError: model must have one input and one output, but 'two' has 2 inputs ('a', 'b')."
    )
    heads = [layers.Dense(2, name="p")(a), layers.Dense(2, name="q")(a)]
    message = error_of(candidate_layers, keras.Model(a, heads))
    assert "has 2 outputs ('p', 'q')" in message


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, activation="relu")

    def call(self, x):
        return self.dense(x)


class OverriddenCall(keras.Model):
    """A Functional model whose `call` is not its graph."""

    def call(self, x):
        return 2.0 * super().call(x)


def test_models_without_a_graph():
    message = error_of(split_model, Subclassed(name="mine"), "dense")
    assert message.startswith("TypeError: model 'mine' is a subclassed model (Subclassed)")
    assert "keras.Model(inputs, outputs)" in message
    image = keras.Input((4,))
    overridden = OverriddenCall(image, layers.Dense(2, name="dense")(image))
    assert "subclassed" in error_of(candidate_layers, overridden)
    message = error_of(split_model, keras.Sequential(sequential_layers(), name="raw"), "relu")
    assert message.startswith("ValueError: model 'raw' is a Sequential model that is not built")
    message = error_of(split_model, np.tanh, "relu")
    assert message.startswith("TypeError: model must be a keras.Model; received ufunc")


def test_layers_that_name_nothing():
    model = residual_model()
    message = error_of(split_model, model, 99)
    assert message.startswith("ValueError: layer index 99 is out of range: 'residual' has 12")
    assert "-12 to 11" in message
    message = error_of(split_model, model, layers.ReLU(name="stem_relu"))
    assert message.startswith("ValueError: layer 'stem_relu' is not one of the layers of")
    for layer in (None, 1.0, True, ["stem_relu"]):
        assert error_of(split_model, model, layer).startswith("TypeError: layer must be a name")


# ---------------------------------------------------------------- structure


def test_candidates_of_a_known_model():
    assert candidate_layers(residual_model()) == [
        Candidate("stem", (8, 8, 4), non_negative=False, affine_head=False),
        Candidate("stem_relu", (8, 8, 4), non_negative=True, affine_head=False),
        Candidate("add", (8, 8, 4), non_negative=False, affine_head=False),
        Candidate("add_relu", (8, 8, 4), non_negative=True, affine_head=False),
        Candidate("concat", (8, 8, 8), non_negative=True, affine_head=True),
        Candidate("pool", (8,), non_negative=True, affine_head=True),
    ]


def test_candidates_of_nested_and_token_models():
    names = [candidate.name for candidate in candidate_layers(twice_nested_model())]
    assert names[:4] == ["scale", "inner/first/conv", "inner/first/bn", "inner/first/relu"]
    shapes = {c.name: c.shape for c in candidate_layers(attention_model())}
    assert shapes == {"conv": (8, 8, 3), "tokens": (16, 12), "add": (16, 12)} | {
        "norm": (16, 12),
        "pool": (12,),
    }


def test_rank_five_is_no_candidate():
    video = keras.Input((4, 8, 8, 3))
    x = layers.ReLU(name="relu")(layers.Conv3D(2, 3, name="conv")(video))
    model = keras.Model(video, layers.Dense(2)(layers.GlobalMaxPooling3D(name="pool")(x)))
    assert [candidate.name for candidate in candidate_layers(model)] == ["pool"]


class MyDense(layers.Dense):
    """Whatever a subclass computes is not known."""


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (layers.Dense(2), True),
        (layers.Dense(2, activation="relu"), False),
        (MyDense(2), False),
        (layers.Dense(2, dtype="int8_from_float32"), False),
        (layers.Conv2DTranspose(2, 3), True),
        (layers.SeparableConv2D(2, 3, activation="linear"), True),
        (layers.DepthwiseConv1D(3, activation="gelu"), False),
        (layers.EinsumDense("abc,cd->abd", (None, 2)), True),
        (layers.BatchNormalization(), True),
        (layers.LayerNormalization(), False),
        (layers.GlobalAveragePooling1D(), True),
        (layers.MaxPooling2D(), False),
        (layers.SpatialDropout2D(0.5), True),
        (layers.UpSampling2D(interpolation="bicubic"), True),
        (layers.Activation("linear"), True),
        (layers.Activation("softmax"), False),
        (layers.Subtract(), True),
        (layers.Multiply(), False),
        (layers.Lambda(lambda x: x), False),
        (RenamedLayer(layers.Dense(2), name="again"), True),
    ],
)
def test_affine_operations(operation, expected):
    assert is_affine_operation(operation) is expected


def test_lora_is_not_trusted():
    dense = layers.Dense(2)
    dense.build((None, 4))
    assert is_affine_operation(dense)
    dense.enable_lora(1)
    assert not is_affine_operation(dense)


def test_affine_tensors_are_affine(images, rng):
    x = image = keras.Input(SHAPE)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
    x = layers.Concatenate()([x, layers.Dense(2)(x)])
    x = keras.ops.add(x, layers.Permute((2, 1, 3))(x))
    affine = keras.Model(image, layers.Flatten()(layers.AveragePooling2D(2)(x)))
    randomised(affine, rng)
    assert is_affine_model(affine)
    zero, one, two = (np.asarray(affine(factor * images)) for factor in (0.0, 1.0, 2.0))
    assert_allclose(two - one, one - zero, rtol=1e-3, atol=1e-3)
    relu = layers.ReLU()(affine.output)
    bent = keras.Model(image, layers.Dense(2)(relu))
    assert not is_affine_model(bent)
    assert id(affine.output) in affine_tensors(bent)
    assert id(relu) not in affine_tensors(bent)
    trained = layers.BatchNormalization()(image, training=True)
    assert not is_affine_model(keras.Model(image, trained))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.ReLU(), True),
        (layers.ReLU(max_value=6.0), True),
        (layers.ReLU(negative_slope=0.1), False),
        (layers.LeakyReLU(), False),
        (layers.Activation("relu6"), True),
        (layers.Activation("gelu"), False),
        (layers.Activation(keras.ops.relu), False),
        (layers.Dense(3, activation="softplus"), True),
        (layers.Dense(3), False),
        (layers.Softmax(), True),
        (keras.ops.relu, True),
        (keras.activations.relu, True),
        (keras.ops.tanh, False),
    ],
)
def test_sources_of_non_negative_values(layer, expected, images):
    image = keras.Input(SHAPE)
    model = keras.Model(image, layer(image))
    known = non_negative_tensors(steps_of(model))
    assert (id(model.output) in known) is expected
    if expected:
        assert np.asarray(model(images)).min() >= 0.0


def test_propagation_of_non_negative_values():
    image = keras.Input(SHAPE)
    plus = layers.ReLU()(image)
    kept = [
        layers.MaxPooling2D()(plus),
        layers.Dropout(0.5)(plus),
        layers.ZeroPadding2D()(plus),
        layers.UpSampling2D(interpolation="bilinear")(plus),
        layers.Activation("linear")(plus),
        layers.Add()([plus, plus]),
        layers.Maximum()([plus, image]),
        plus + plus,
    ]
    lost = [
        layers.UpSampling2D(interpolation="bicubic")(plus),
        layers.Subtract()([plus, plus]),
        layers.Multiply()([plus, image]),
        layers.Concatenate()([plus, image]),
        layers.BatchNormalization()(plus),
        layers.GaussianNoise(1.0)(plus, training=True),
        plus + (-1.0),
    ]
    known = non_negative_tensors(steps_of(keras.Model(image, [*kept, *lost])))
    assert [id(tensor) in known for tensor in kept] == [True] * len(kept)
    assert [id(tensor) in known for tensor in lost] == [False] * len(lost)


# ---------------------------------------------------------------- parts that are given


def test_join_of_the_parts_of_a_split(images, rng):
    for build in MODELS:
        model = randomised(build(), rng)
        parts = split_model(model, candidate_layers(model)[-1].name)
        split = join_models(parts.input_to_latent, parts.latent_to_logit)
        assert split.input_to_latent is parts.input_to_latent
        assert split.latent_to_logit is parts.latent_to_logit
        assert split.layer == parts.layer
        assert_composes(split, model, images)
        again = split_model(split.model, split.layer)
        assert_composes(again, model, images)


def test_join_of_models_whose_names_collide(images):
    first, second = backbone("first"), backbone("second", channels=4)
    head = keras.Sequential([keras.Input((None, None, 4)), second, layers.GlobalMaxPooling2D()])
    split = join_models(
        keras.Sequential([keras.Input(SHAPE), first, layers.Dropout(0.1, name="drop")]), head
    )
    names = [layer.name for layer in split.model.layers]
    assert len(names) == len(set(names))
    assert split.layer == "drop"
    expected = np.asarray(head(first(images)))
    assert_allclose(np.asarray(split.model(images)), expected, rtol=1e-5, atol=1e-5)
    assert_allclose(
        np.asarray(split.latent_to_logit(split.input_to_latent(images))), expected, rtol=1e-5
    )


def test_join_where_the_last_layer_is_called_again(images):
    relu = layers.ReLU(name="relu")
    g = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(3, 1, name="c"), relu])
    h = keras.Sequential([keras.Input((8, 8, 3)), layers.Dense(2, name="d"), relu])
    split = join_models(g, h)
    assert split.layer == "latent"
    again = split_model(split.model, "latent")
    expected = np.asarray(h(g(images)))
    assert_array_equal(np.asarray(split.model(images)), expected)
    assert_array_equal(np.asarray(again.latent_to_logit(again.input_to_latent(images))), expected)


def test_join_with_identities(images):
    image, latent = keras.Input(SHAPE), keras.Input(SHAPE)
    split = join_models(keras.Model(image, image), keras.Model(latent, latent))
    assert split.layer == "latent"
    assert_array_equal(np.asarray(split.model(images)), images)
    assert split_model(split.model, "latent").layer == "latent"


def test_join_of_subclassed_models(images):
    for g, h in (
        (backbone(), Subclassed(name="head")),
        (Subclassed(name="body"), backbone("b", 4, 4)),
    ):
        h(g(images))
        split = join_models(g, h)
        assert_allclose(np.asarray(split.model(images)), np.asarray(h(g(images))), rtol=1e-5)
        latent = split.input_to_latent(images)
        assert_allclose(np.asarray(latent), np.asarray(g(images)), rtol=1e-5)
        assert_allclose(np.asarray(split.latent_to_logit(latent)), np.asarray(h(latent)), rtol=1e-5)
    message = error_of(join_models, Subclassed(name="fresh"), backbone())
    assert message.startswith("TypeError: input_to_latent 'fresh' is a subclassed model whose")


def test_join_errors():
    g, h = backbone("g"), backbone("h", channels=5)
    message = error_of(join_models, g, h)
    assert message == (
        "ValueError: latent_to_logit 'h' takes (None, None, None, 5), but input_to_latent 'g' "
        "gives (None, None, None, 4). Cut both at the same layer."
    )
    assert "takes (None, 8)" in error_of(
        join_models, g, keras.Sequential([keras.Input((8,)), layers.Dense(2)])
    )
    message = error_of(join_models, g, np.tanh)
    assert message.startswith("TypeError: latent_to_logit must be a keras.Model")
    assert "input_to_latent 'raw'" in error_of(join_models, keras.Sequential(name="raw"), g)


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
