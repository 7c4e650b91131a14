"""What is known of a graph before it runs: candidates, affine parts, signs."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.testing import assert_allclose
from splittable import SHAPE, attention_model, randomised, residual_model, twice_nested_model

from xplique_craft.splitting.graph import Call, RenamedLayer, calls_of, unwrap
from xplique_craft.splitting.layers import Candidate
from xplique_craft.splitting.split import split_model
from xplique_craft.splitting.structure import (
    is_affine_call,
    non_negative_tensors,
    reached,
)
from xplique_craft.where_to_cut import candidate_layers


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(5, *SHAPE)).astype(np.float32)


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


def test_rows_that_are_no_images_are_no_candidates():
    """Windows that are laid among the images, and put together again."""
    image = keras.Input(SHAPE)
    x = layers.Conv2D(4, 1, name="conv")(image)
    x = ops.reshape(x, (-1, 16, 4))
    x = layers.Dense(4, activation="gelu", name="in_windows")(x)
    x = layers.ReLU(name="again")(ops.reshape(x, (-1, 64, 4)))
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling1D(name="pool")(x)))
    names = [candidate.name for candidate in candidate_layers(model)]
    assert names[0] == "conv"
    assert names[-2:] == ["again", "pool"]
    assert "in_windows" not in names
    with pytest.raises(ValueError, match=r"'in_windows' has 4 rows of activations for each image"):
        split_model(model, "in_windows")


def test_rank_five_is_no_candidate():
    video = keras.Input((4, 8, 8, 3))
    x = layers.ReLU(name="relu")(layers.Conv3D(2, 3, name="conv")(video))
    model = keras.Model(video, layers.Dense(2)(layers.GlobalMaxPooling3D(name="pool")(x)))
    assert [candidate.name for candidate in candidate_layers(model)] == ["pool"]


def is_affine(operation):
    """Of a call with nothing but a tensor, as the graph has it."""
    tensor = keras.KerasTensor((None, 4))
    return is_affine_call(Call((), unwrap(operation), (), "", (tensor,), {}, (tensor,)))


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
    assert is_affine(operation) is expected


def test_lora_is_not_trusted():
    dense = layers.Dense(2)
    dense.build((None, 4))
    assert is_affine(dense)
    dense.enable_lora(1)
    assert not is_affine(dense)


def affine_tensors(model):
    return reached(calls_of(model), model.inputs[0], is_affine_call)


def test_affine_tensors_are_affine(images, rng):
    x = image = keras.Input(SHAPE)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
    x = layers.Concatenate()([x, layers.Dense(2)(x)])
    x = keras.ops.add(x, layers.Permute((2, 1, 3))(x))
    affine = keras.Model(image, layers.Flatten()(layers.AveragePooling2D(2)(x)))
    randomised(affine, rng)
    assert id(affine.output) in affine_tensors(affine)
    zero, one, two = (np.asarray(affine(factor * images)) for factor in (0.0, 1.0, 2.0))
    assert_allclose(two - one, one - zero, rtol=1e-3, atol=1e-3)
    relu = layers.ReLU()(affine.output)
    bent = keras.Model(image, layers.Dense(2)(relu))
    known = affine_tensors(bent)
    assert id(bent.output) not in known
    assert id(affine.output) in known
    assert id(relu) not in known
    trained = layers.BatchNormalization()(image, training=True)
    assert id(trained) not in affine_tensors(keras.Model(image, trained))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda x: ops.reshape(x, (-1, 16, 12)), True),
        (lambda x: ops.reshape(x, (-1, 4, 3)), False),
        (lambda x: ops.reshape(x, (16, -1, 12)), False),
        (lambda x: ops.transpose(x, (0, 2, 1, 3)), True),
        (lambda x: ops.transpose(x, (1, 0, 2, 3)), False),
        (lambda x: ops.transpose(x), False),
        (lambda x: ops.mean(x, axis=(1, 2)), True),
        (lambda x: ops.mean(x, axis=0), False),
        (lambda x: ops.sum(x), False),
        (lambda x: ops.expand_dims(x, 1), True),
        (lambda x: ops.expand_dims(x, 0), False),
        (lambda x: x[:, ::2], True),
        (lambda x: x[::2, :], False),
    ],
)
def test_what_is_affine_leaves_images_apart(operation, expected):
    """Heads taken apart are run on batches of their own: no row may be read of another image."""
    image = keras.Input(SHAPE)
    model = keras.Model(image, operation(image))
    assert (id(model.output) in affine_tensors(model)) is expected


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
    known = non_negative_tensors(calls_of(model))
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
    known = non_negative_tensors(calls_of(keras.Model(image, [*kept, *lost])))
    assert [id(tensor) in known for tensor in kept] == [True] * len(kept)
    assert [id(tensor) in known for tensor in lost] == [False] * len(lost)
