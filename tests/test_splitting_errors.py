"""Models and layers that cannot be split: errors that say what to do."""

import keras
import numpy as np
from keras import layers
from splittable import (
    SHAPE,
    Subclassed,
    backbone,
    error_of,
    nested_model,
    nested_sequential_model,
    raw_operations_model,
    residual_model,
    sequential_layers,
    twice_nested_model,
)

from xplique_craft.splitting.split import split_model
from xplique_craft.where_to_cut import candidate_layers


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
