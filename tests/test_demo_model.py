"""The demo's photographs, crops and classifiers."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

import xplique_craft as xc
from xplique_craft import demo
from xplique_craft.splitting.tokens import special_tokens_of

PATH = Path(__file__).parents[1] / "tools" / "train_demo.py"
SPEC = importlib.util.spec_from_file_location("train_demo", PATH)
train_demo = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(train_demo)


@pytest.fixture(scope="module")
def model():
    return demo.load_model()


@pytest.fixture(scope="module")
def transformer():
    return demo.load_transformer()


@pytest.fixture(scope="module")
def held_out():
    return train_demo.labelled_crops(20, "held_out")


def test_classes_are_fourteen_photographs_in_colour():
    assert len(set(demo.CLASS_NAMES)) == 14
    for name in demo.CLASS_NAMES:
        pixels = demo.photograph(name)
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] == (3,)
        assert 224 <= min(pixels.shape[:2]) <= 1000
        assert pixels.std() > 10  # a picture, not a blank


def test_grey_photographs_have_equal_channels():
    pixels = demo.photograph("coins")
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_photograph_is_a_copy():
    demo.photograph("cat")[:] = 0
    assert demo.photograph("cat").max() > 0


@pytest.mark.parametrize("split", ["fit", "held_out", "train"])
def test_crops_are_keyed_by_their_index(split):
    five = demo.crops("astronaut", 5, split=split)
    assert five.shape == (5, demo.CROP_SIDE, demo.CROP_SIDE, 3)
    assert five.dtype == np.uint8
    np.testing.assert_array_equal(demo.crops("astronaut", 3, split=split), five[:3])


def test_splits_seeds_and_indices_draw_different_crops():
    draws = [
        *demo.crops("gravel", 2),
        *demo.crops("gravel", 2, split="held_out"),
        *demo.crops("gravel", 2, split="train"),
        *demo.crops("gravel", 2, seed=1),
    ]
    assert len({draw.tobytes() for draw in draws}) == len(draws)


def test_no_crop_at_all():
    assert demo.crops("cat", 0).shape == (0, 96, 96, 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("dog", 1), {}, "class_name must be 'astronaut', .* or 'flower', received 'dog'"),
        (
            ("cat", 1),
            {"split": "test"},
            "split must be 'fit', 'held_out' or 'train', received 'test'",
        ),
        (("cat", -1), {}, "number must be at least 0, received -1"),
        (("cat", 1), {"seed": -2}, "seed must be at least 0, received -2"),
    ],
)
def test_crops_refuse_what_they_cannot_draw(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        demo.crops(*arguments, **options)


def test_photograph_refuses_an_unknown_class():
    with pytest.raises(ValueError, match=r"class_name must be .* received 'Astronaut'"):
        demo.photograph("Astronaut")


def test_a_missing_photograph_is_named(monkeypatch):
    monkeypatch.setitem(demo.data._SOURCES, "cat", ("skimage", "data/no_such_cat.png"))
    demo.data._read.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"'cat' should be data/no_such_cat\.png"):
        demo.photograph("cat")


def test_weights_are_small():
    assert demo.WEIGHTS_PATH.stat().st_size <= 1_000_000
    assert demo.TRANSFORMER_PATH.stat().st_size <= 500_000


def test_weights_are_kept_as_the_script_writes_them():
    for build, path, precision in train_demo.MODELS.values():
        with np.load(path, allow_pickle=False) as arrays:
            assert set(arrays) == set(demo.model.named_weights(build()))
            assert {arrays[name].dtype for name in arrays} == {np.dtype(precision)}


@pytest.mark.parametrize(
    ("module", "name", "load"),
    [
        (demo.model, "WEIGHTS_PATH", demo.load_model),
        (demo.transformer, "TRANSFORMER_PATH", demo.load_transformer),
    ],
)
def test_a_missing_file_of_weights_is_named(monkeypatch, tmp_path, module, name, load):
    monkeypatch.setattr(module, name, tmp_path / "absent.npz")
    with pytest.raises(FileNotFoundError, match=r"`python tools/train_demo\.py`"):
        load()


@pytest.mark.parametrize(
    ("shipped", "build", "weights"),
    [("model", demo.build_model, 80_558), ("transformer", demo.build_transformer, 132_342)],
)
def test_shipped_models_are_what_is_built(request, shipped, build, weights):
    shipped, built = request.getfixturevalue(shipped), build()
    layers = [(layer.name, type(layer), layer.output.shape) for layer in built.layers]
    assert [(layer.name, type(layer), layer.output.shape) for layer in shipped.layers] == layers
    assert shipped.count_params() == built.count_params() == weights
    assert not shipped.compiled


@pytest.mark.parametrize("shipped", ["model", "transformer"])
def test_shipped_models_recognise_held_out_crops(request, held_out, shipped):
    assert train_demo.accuracy(request.getfixturevalue(shipped), *held_out) >= 0.99


def test_the_transformer_is_cut_at_its_tokens(transformer, held_out):
    """By layers of Keras alone, with one token before a grid of patches; values of both signs."""
    assert {type(layer).__module__.split(".")[0] for layer in transformer.layers} == {"keras"}
    tokens = {c.name for c in xc.candidate_layers(transformer) if c.shape == (145, 48)}
    assert tokens >= {"tokens", "block1", "block2", "block3", "block4"}
    assert special_tokens_of(145, (demo.CROP_SIDE, demo.CROP_SIDE)) == 1
    images = held_out[0][::40]
    split = xc.split_model(transformer, "block2")
    activations = split.input_to_latent.predict(images, verbose=0)
    assert activations.min() < 0.0 < activations.max()
    np.testing.assert_allclose(
        split.latent_to_logit.predict(activations, verbose=0),
        transformer.predict(images, verbose=0),
        atol=1e-4,
    )


def test_cut_is_non_negative_with_an_affine_head(model, held_out):
    images, _ = held_out
    images = images[::20]
    features = keras.Model(model.input, model.get_layer(demo.DEFAULT_LAYER).output)
    activations, logits = features.predict(images, verbose=0), model.predict(images, verbose=0)
    assert activations.shape[1:] == (12, 12, 96)
    assert activations.min() == 0.0
    weights, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(activations.mean((1, 2)) @ weights + bias, logits, atol=1e-3)
    assert logits.min() < 0.0  # scores before any softmax


@pytest.mark.parametrize(
    "build", [demo.build_model, pytest.param(demo.build_transformer, marks=pytest.mark.slow)]
)
def test_training_lowers_the_error_and_repeats(build):
    first, second = (
        train_demo.train(build, crops_per_class=4, epochs=6, verbose=False) for _ in range(2)
    )
    images, labels = train_demo.labelled_crops(4, "train")
    assert train_demo.accuracy(first, images, labels) > 2 / len(demo.CLASS_NAMES)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
