"""A craft in a file: it answers as before, to the bit, on its model and on no other."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from saving_kit import (
    FIXTURES,
    fixture_craft,
    fixture_images,
    fixture_model,
    parts_of,
    same,
    write_signed,
)
from sklearn.exceptions import NotFittedError
from test_saving_malformed import malformed

import xplique_craft as xc
from xplique_craft.factorization import FACTORIZERS, NMF, KMeans, SemiNMF, SignedNMF
from xplique_craft.saving import UnreadableFile


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    return fixture_craft()


@pytest.fixture(scope="module")
def saved(craft: xc.Craft, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return craft.save(tmp_path_factory.mktemp("saved") / "craft.safetensors")


@pytest.fixture(scope="module")
def loaded(craft: xc.Craft, saved: Path) -> xc.Craft:
    return xc.Craft.load(saved, craft.split)


IMAGES = fixture_images()
OTHERS = IMAGES[:5, ::-1] * np.float32(0.75)


def unchanged(craft: xc.Craft) -> dict[str, Any]:
    """All that is kept beside the answers."""
    concepts = craft.concepts
    return {
        "settings": {
            name: getattr(craft, name)
            for name in (
                "number_of_concepts",
                "batch_size",
                "patch_size",
                "keep_residual",
                "baseline",
                "special_tokens",
                "keep_special_tokens",
                "max_crops",
                "seed",
                "verbose",
                "tolerance",
                "class_id",
                "layer",
            )
        },
        "factorizers": [repr(craft.factorizer), repr(craft.factorized.factorizer)],
        "found": [
            concepts.factorized.bank,
            concepts.factorized.offset,
            concepts.factorized.scale,
            concepts.factorized.converged,
            concepts.factorized.iterations,
            concepts.factorized.relative_error,
            concepts.crops_u,
            concepts.crops.boxes,  # type: ignore[union-attr]
            repr(concepts.settings),
        ],
    }


# ------------------------------------------------------------------------------------ round trips
QUESTIONS: dict[str, Callable[[xc.Craft], Any]] = {
    "what is kept": unchanged,
    "transform": lambda craft: craft.transform(OTHERS),
    "inverse_transform": lambda craft: craft.inverse_transform(craft.transform(OTHERS)),
    "contributions": lambda craft: craft.contributions(OTHERS),
    "ablation_effects": lambda craft: craft.ablation_effects(OTHERS),
    "importance of fit": lambda craft: craft.estimate_importance(),
    "importance": lambda craft: xc.importance.ShapleyImportance(craft).summary(OTHERS),
    "quality": lambda craft: craft.quality(OTHERS),
    "encoder": lambda craft: craft.encoder.predict(OTHERS, verbose=0),
    "decoder": lambda craft: craft.decoder.predict(craft.transform(OTHERS), verbose=0),
    "crops": lambda craft: [np.asarray(craft.factorization.crops), craft.factorization.crops[3]],  # type: ignore[union-attr]
    "maps": lambda craft: xc.attributions.ConceptAttribution(craft).explain_concepts(OTHERS),
    "one image": lambda craft: craft.explain_image(OTHERS[0], photograph=OTHERS[0] * 0 + 7),
    "children": lambda craft: [
        (node.layer, node.factorized.bank, node.crops_u, np.asarray(node.crops))
        for node in [craft.decompose(0, "first", 2, 50, factorizer="semi-nmf")]
    ],
    "tree": lambda craft: craft.grow(1, 0.0, 0.0, 2, 50, layers=["relu"]).view(),
    "sanity": lambda craft: xc.sanity_check(craft, OTHERS),
    "prevalence": lambda craft: xc.measure_prevalence(
        craft, OTHERS, [craft.class_id] * len(OTHERS)
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "question",
    [pytest.param(q, marks=[pytest.mark.slow] if q == "tree" else []) for q in QUESTIONS],
)
def test_every_answer_stays_to_the_bit(question: str, craft: xc.Craft, loaded: xc.Craft) -> None:
    before, after = QUESTIONS[question](craft), QUESTIONS[question](loaded)
    assert same(after, before)


@pytest.mark.filterwarnings("ignore")
def test_a_fit_after_loading_finds_the_same(craft: xc.Craft, saved: Path) -> None:
    again = xc.Craft.load(saved, craft.split)
    again.fit(IMAGES, craft.class_id)
    assert same(unchanged(again), unchanged(craft))


FACTORIZER_SETTINGS = {
    "nmf": NMF(max_iter=7, tolerance=0.125, solver="hals"),
    "semi-nmf": SemiNMF(max_iter=3),
    "signed-nmf": SignedNMF(max_iter=5),
    "kmeans": KMeans(restarts=2),
    "pca": "pca",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FACTORIZERS)
def test_every_factorizer(name: str, craft: xc.Craft, tmp_path: Path) -> None:
    other = xc.Craft.from_model(
        craft.split,
        None,
        2,
        4,
        [8, 16],
        factorizer=FACTORIZER_SETTINGS[name],  # type: ignore[arg-type]
        keep_residual=False,
        baseline="mean",
        max_crops=30,
        seed=7,
    )
    other.fit(IMAGES, craft.class_id)
    other.tolerance = 0.5
    other.number_of_concepts = 3  # for the next fit
    again = xc.Craft.load(other.save(tmp_path / "file"), craft.split)
    assert same(unchanged(again), unchanged(other))
    assert again.sensitivity is None
    assert same(again.transform(OTHERS), other.transform(OTHERS))
    assert same(again.contributions(OTHERS), other.contributions(OTHERS))


@pytest.mark.filterwarnings("ignore")
def test_a_factorizer_of_ones_own_is_given_again(craft: xc.Craft, tmp_path: Path) -> None:
    """Its class is not named for loading in the file: nothing can be run from there."""
    own = planted.Given(np.eye(3, 5) + 0.25)
    other = xc.Craft.from_model(craft.split, None, 3, factorizer=own)
    other.fit(IMAGES, craft.class_id)
    path = other.save(tmp_path / "file")
    with pytest.raises(ValueError, match=r"(?s)factorizer must be given: .* by Given\(.*no code"):
        xc.Craft.load(path, craft.split)
    again = xc.Craft.load(path, craft.split, factorizer=own)
    assert again.factorizer is again.factorized.factorizer is own
    assert same(again.transform(OTHERS), other.transform(OTHERS))


def test_sensitivity_is_kept(craft: xc.Craft, loaded: xc.Craft) -> None:
    assert same(loaded.sensitivity, craft.sensitivity)


# ------------------------------------------------------------------------------ the images of fit
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
@pytest.mark.filterwarnings("ignore")
def test_images_are_kept_as_they_were_given(dtype: str, craft: xc.Craft, tmp_path: Path) -> None:
    images = (IMAGES * 8).astype(dtype)
    other = xc.Craft.from_model(craft.split, None, 2)
    other.fit(images, craft.class_id)
    again = xc.Craft.load(other.save(tmp_path / "file"), craft.split)
    assert same(again.concepts.inputs, images)
    assert same(again.estimate_importance(), other.estimate_importance())


@pytest.mark.filterwarnings("ignore:Only")
@pytest.mark.parametrize("kind", ["tensor", "list", "bfloat16"])
def test_other_images_in_memory(kind: str, craft: xc.Craft, tmp_path: Path) -> None:
    images = {
        "tensor": tf.constant(IMAGES),
        "list": list(IMAGES),
        "bfloat16": tf.cast(IMAGES, tf.bfloat16),
    }[kind]
    other = xc.Craft.from_model(craft.split, None, 2)
    other.fit(images, craft.class_id)
    again = xc.Craft.load(other.save(tmp_path / "file"), craft.split)
    assert same(again.concepts.inputs, np.asarray(tf.cast(images, tf.float32)))
    assert same(again.quality(OTHERS), other.quality(OTHERS))


NEEDS_IMAGES: list[Callable[[xc.Craft], Any]] = [
    lambda craft: craft.estimate_importance(),
    lambda craft: craft.decompose(0),
    lambda craft: craft.grow(),
    lambda craft: craft.factorization.crops[0],  # type: ignore[union-attr]
    lambda craft: craft.explain_image(OTHERS[0], restore=lambda x: x),
    lambda craft: xc.sanity_check(craft, OTHERS),
]


def test_without_images_what_needs_them_says_so(craft: xc.Craft, tmp_path: Path) -> None:
    path = craft.save(tmp_path / "file", with_inputs=False)
    assert path.stat().st_size < craft.save(tmp_path / "whole").stat().st_size - IMAGES.nbytes
    again = xc.Craft.load(path, craft.split)
    for question in NEEDS_IMAGES:
        with pytest.raises(ValueError, match=r"images of `fit` are needed .*load\(path, mo"):
            question(again)
    for name in ("what is kept", "contributions", "quality", "maps", "prevalence"):
        assert same(QUESTIONS[name](again), QUESTIONS[name](craft))
    assert len(again.factorization.crops) == len(craft.factorization.crops)  # type: ignore[union-attr]
    assert again.explain_image(OTHERS[0], number_of_crops=0).crops == [[]] * 3

    with pytest.raises(ValueError, match="images of `fit` are needed"):
        again.save(tmp_path / "again", with_inputs=True)
    once_more = xc.Craft.load(again.save(tmp_path / "again"), craft.split, inputs=IMAGES)
    for name in ("crops", "importance of fit"):
        assert same(QUESTIONS[name](once_more), QUESTIONS[name](craft))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (IMAGES[:-1], r"12 of shape \(16, 16, 3\); received 11 of shape"),
        (IMAGES[::-1], "with other values, or in another order"),
        (IMAGES + np.float32(2**-20), "with other values"),
    ],
)
def test_other_images_are_refused(
    inputs: np.ndarray, message: str, craft: xc.Craft, saved: Path
) -> None:
    with pytest.raises(ValueError, match=f"inputs must be the images .*{message}"):
        xc.Craft.load(saved, craft.split, inputs=inputs)
    assert xc.Craft.load(saved, craft.split, inputs=IMAGES).concepts.inputs is IMAGES


@pytest.mark.filterwarnings("ignore:Only")
def test_images_of_a_dataset_are_saved_where_that_is_asked_for(
    craft: xc.Craft, tmp_path: Path
) -> None:
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES).batch(5)
    other = xc.Craft.from_model(craft.split, None, 3, 8, seed=5)
    other.fit(dataset, craft.class_id)
    with pytest.warns(UserWarning, match=r"images of `fit` are not saved.*with_inputs=True"):
        path = other.save(tmp_path / "without")
    again = xc.Craft.load(path, craft.split, inputs=dataset)
    assert same(QUESTIONS["crops"](again), QUESTIONS["crops"](craft))
    with pytest.raises(ValueError, match="images of `fit` are needed"):
        xc.Craft.load(path, craft.split).estimate_importance()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = other.save(tmp_path / "with", with_inputs=True)
        other.save(path, with_inputs=False)
    assert same(xc.Craft.load(whole, craft.split).concepts.inputs, IMAGES)


@pytest.mark.parametrize("form", [np.asarray, list])
def test_images_that_were_changed_in_place_are_not_saved(
    form: Callable[[Any], Any], craft: xc.Craft, tmp_path: Path
) -> None:
    images, path = IMAGES.copy(), tmp_path / "file"
    other = xc.Craft.from_model(craft.split, None, 3, 8, seed=5)
    other.fit(form(images), craft.class_id)
    images[-1, -1, -1, -1] += 2**-20
    for with_inputs in (None, True):
        with pytest.raises(ValueError, match="images of `fit` were changed after it"):
            other.save(path, with_inputs=with_inputs)
    assert not path.exists()
    again = xc.Craft.load(other.save(path, with_inputs=False), craft.split, inputs=IMAGES)
    assert same(QUESTIONS["crops"](again), QUESTIONS["crops"](craft))
    with pytest.raises(ValueError, match="with other values"):
        xc.Craft.load(path, craft.split, inputs=images)
    images[-1, -1, -1, -1] = IMAGES[-1, -1, -1, -1]
    loaded = xc.Craft.load(other.save(path), craft.split)
    loaded.concepts.inputs[0] += 1
    with pytest.raises(ValueError, match="images of `fit` were changed after it"):
        loaded.save(path)


@pytest.mark.filterwarnings("ignore:The images of `fit` are not saved")
def test_images_of_a_file_that_was_written_into(craft: xc.Craft, tmp_path: Path) -> None:
    """They are told by what they were at the fit, not by what they are when they are saved."""
    np.save(tmp_path / "images.npy", IMAGES)
    images = np.load(tmp_path / "images.npy", mmap_mode="r+")
    other = xc.Craft.from_model(craft.split, None, 3, 8, seed=5)
    other.fit(images, craft.class_id)
    images[0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match="images of `fit` were changed after it"):
        other.save(tmp_path / "file", with_inputs=True)
    path = other.save(tmp_path / "file")
    with pytest.raises(ValueError, match="with other values"):
        xc.Craft.load(path, craft.split, inputs=images)
    assert xc.Craft.load(path, craft.split, inputs=IMAGES).concepts.inputs is IMAGES


@pytest.mark.filterwarnings("ignore:Only", "ignore:The images of `fit` are not saved")
def test_images_of_a_dataset_that_a_checkpoint_told(craft: xc.Craft, tmp_path: Path) -> None:
    images = IMAGES.copy()
    spec = tf.TensorSpec(images.shape[1:], tf.float32)
    dataset = tf.data.Dataset.from_generator(lambda: iter(images), output_signature=spec)
    other = xc.Craft.from_model(craft.split, None, 3, 8, seed=5)
    other.fit(dataset, craft.class_id, checkpoint=tmp_path / "folder")
    images[0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match="images of `fit` were changed after it"):
        other.save(tmp_path / "file", with_inputs=True)
    path = other.save(tmp_path / "file")
    assert xc.Craft.load(path, craft.split, inputs=IMAGES).concepts.inputs is IMAGES


@pytest.mark.parametrize("again", [False, True])
def test_a_model_that_was_changed_in_place_is_not_saved(
    again: bool, craft: xc.Craft, tmp_path: Path
) -> None:
    model, path = fixture_model(), tmp_path / "file"
    other = xc.Craft.from_model(model, "last", 3, 8, seed=5)
    other.fit(IMAGES, craft.class_id)
    before = model.get_weights()
    if again:
        other = xc.Craft.load(other.save(tmp_path / "first"), model)
    changed_weights(model)
    with pytest.raises(ValueError, match=r"model was changed after `fit`.*'last'.*its kernel"):
        other.save(path)
    assert not path.exists()
    model.set_weights(before)
    assert same(xc.Craft.load(other.save(path), model).bank, craft.bank)
    changed_weights(model)
    other.fit(IMAGES, craft.class_id)
    assert same(xc.Craft.load(other.save(path), model).bank, other.bank)


@pytest.mark.parametrize("with_inputs", ["yes", 1, 0.5])
def test_with_inputs_is_one_of_three(with_inputs: Any, craft: xc.Craft, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="with_inputs must be None, True or False"):
        craft.save(tmp_path / "file", with_inputs=with_inputs)


# -------------------------------------------------------------------------------------- the model
def test_the_same_model_in_other_forms(craft: xc.Craft, saved: Path, tmp_path: Path) -> None:
    """Built again with names that Keras gives, nested, sequential, saved by Keras, cut by hand."""
    model = fixture_model()
    model.save(tmp_path / "model.keras")
    nested = keras.Input((16, 16, 3))
    body = keras.Model(model.inputs[0], model.get_layer("average").output, name="body")
    renamed = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(6, 3, strides=2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(5, 3, activation="relu", padding="same"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4),
        ]
    )
    renamed.set_weights(model.get_weights())
    split = xc.split_model(model, "last")
    for other in (
        model,
        keras.models.load_model(tmp_path / "model.keras"),
        keras.Model(nested, model.get_layer("logits")(body(nested))),
        renamed,
        split,
        xc.join_models(split.input_to_latent, split.latent_to_logit),
    ):
        again = xc.Craft.load(saved, other)
        assert_allclose(again.transform(OTHERS), craft.transform(OTHERS), atol=1e-6)
        assert again.latent_to_logit_model.output_shape == (None, 4)


def changed_weights(model: keras.Model) -> keras.Model:
    kernel, bias = model.get_layer("last").get_weights()
    kernel[0, 0, 0, 0] = np.nextafter(kernel[0, 0, 0, 0], np.float32(9))
    model.get_layer("last").set_weights([kernel, bias])
    return model


def changed_statistics(model: keras.Model) -> keras.Model:
    layer = model.get_layer("norm")
    gamma, beta, mean, variance = layer.get_weights()
    layer.set_weights([gamma, beta, mean + 1, variance])
    return model


def rebuilt(**changes: dict[str, Any]) -> keras.Model:
    """The model with other settings of some layers, and its weights where they fit."""
    model = fixture_model()

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), **changes.get(layer.name, {})})

    other = keras.models.clone_model(model, clone_function=clone)
    for old, new in zip(model.weights, other.weights, strict=True):
        if old.shape == new.shape:
            new.assign(old)
    return other


def with_other_layer(model: keras.Model) -> keras.Model:
    x = keras.layers.ELU(name="elu")(model.get_layer("norm").output)
    for name in ("last", "average", "logits"):
        x = model.get_layer(name)(x)
    return keras.Model(model.inputs[0], x)


def wider() -> keras.Model:
    model = fixture_model()
    x = keras.layers.Conv2D(7, 3, activation="relu", padding="same", name="last")(
        model.get_layer("relu").output
    )
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(model.inputs[0], keras.layers.Dense(4, name="logits")(x))


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "one weight, the next number": (
        lambda: changed_weights(fixture_model()),
        r"layer 'last' \(number 4 from the input\) has other values of its kernel",
    ),
    "a moving mean": (
        lambda: changed_statistics(fixture_model()),
        r"layer 'norm' .* has other values of its moving_mean",
    ),
    "another activation": (
        lambda: rebuilt(last={"activation": "elu"}),
        r"layer 'last' .* has activation elu, not relu",
    ),
    "another stride": (lambda: rebuilt(first={"strides": (1, 1)}), "output of layer 'first'"),
    "another padding": (
        lambda: rebuilt(first={"strides": (1, 1), "padding": "valid"}),
        "output of layer 'first'",
    ),
    "another epsilon": (
        lambda: rebuilt(norm={"epsilon": 0.5}),
        r"layer 'norm' .* has epsilon 0.5, not 0.001",
    ),
    "another largest value": (
        lambda: rebuilt(relu={"max_value": 0.25}),
        r"layer 'relu' .* has max_value 0.25, not None",
    ),
    "an activation of other settings": (
        lambda: rebuilt(last={"activation": keras.layers.ReLU(max_value=100.0)}),
        r"layer 'last' .* has activation ReLU, not relu",
    ),
    "more channels": (
        wider,
        r"the output of layer 'last' .* has shape \(None, 8, 8, 7\), not \(None, 8, 8, 5\)",
    ),
    "a layer more": (
        lambda: keras.Model(
            (m := fixture_model()).inputs[0], keras.layers.Rescaling(2.0)(m.outputs[0])
        ),
        "it has 8 layers, not 7",
    ),
    "another layer": (
        lambda: with_other_layer(fixture_model()),
        r"layer 'elu' \(number 3 from the input\) is a ELU, and was 'relu', a ReLU",
    ),
    "the wrong cut": (
        lambda: xc.split_model(fixture_model(), "relu"),
        "model is split at 'relu', and the Craft that was saved at 'last'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_model_is_refused_with_the_difference(name: str, saved: Path) -> None:
    make, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        xc.Craft.load(saved, make())


@pytest.mark.parametrize("model", [None, "model.keras", 3])
def test_what_is_no_model(model: Any, saved: Path) -> None:
    with pytest.raises(TypeError, match=r"model must be a keras\.Model"):
        xc.Craft.load(saved, model)


@pytest.mark.filterwarnings("ignore:Only")
def test_a_model_that_draws_at_random_is_told_by_its_weights(tmp_path: Path) -> None:
    class Noise(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x + tf.abs(tf.random.normal(tf.shape(x)))

    def model() -> keras.Model:
        images = keras.Input((16, 16, 3))
        x = Noise()(keras.layers.Conv2D(4, 3, activation="relu", kernel_initializer="ones")(images))
        return keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(x)))

    one = model()
    craft = xc.Craft.from_model(one, 2, 2)
    craft.fit(IMAGES, 0)
    path = craft.save(tmp_path / "file")
    assert same(xc.Craft.load(path, one).factorized.bank, craft.factorized.bank)
    with pytest.raises(ValueError, match="other values of its kernel"):
        xc.Craft.load(path, model())


# ------------------------------------------------------------------------------ refusals, pickling
def test_what_is_not_fitted(craft: xc.Craft, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        xc.Craft.from_model(craft.split).save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_kinds(craft: xc.Craft, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"holds a Craft, which is loaded with its model"):
        xc.load(saved)
    with pytest.raises(UnreadableFile, match=r"holds results, which xplique_craft\.load\(path\)"):
        xc.Craft.load(xc.save([1.0], tmp_path / "file"), craft.split)


@pytest.mark.filterwarnings("ignore")
def test_what_is_saved_otherwise_says_how(craft: xc.Craft, tmp_path: Path) -> None:
    with pytest.raises(
        TypeError,
        match=r"result must be no Craft, which is saved by its own method: call its save\(path",
    ):
        xc.save(craft, tmp_path / "file")
    tree = craft.grow(1, 2.0)  # of concepts that are left whole
    with pytest.raises(
        TypeError, match=r"no ConceptTree, .*save\(tree\.view\(photographs\), path\)"
    ):
        xc.save(tree, tmp_path / "file")
    assert same(xc.load(xc.save(tree.view(), tmp_path / "file")), tree.view())


@pytest.mark.parametrize("take", [pickle.dumps, copy.deepcopy])
def test_a_craft_is_not_pickled_and_says_what_to_do(
    take: Callable[[Any], Any], craft: xc.Craft
) -> None:
    node = craft.decompose(0, "first", 2, 50, factorizer="semi-nmf")
    for one in (craft, xc.importance.SobolImportance(craft), [craft], node, node.for_class):
        with pytest.raises(TypeError, match=r"cannot be pickled .*save\(path\).*Craft\.load\(path"):
            take(one)


def test_a_copy_has_settings_of_its_own(craft: xc.Craft) -> None:
    other = copy.copy(craft)
    assert type(other) is xc.Craft
    other.batch_size, other._concepts = 3, None
    assert (craft.batch_size, craft.split) == (8, other.split)
    craft.check_if_fitted()


def set_in(record: Any, names: str, value: Any) -> None:
    *names_above, last = names.split(".")
    for name in names_above:
        record = record[name]["fields"]
    record[last] = value


@pytest.mark.parametrize(
    ("names", "value", "message"),
    [
        ("fit.class_id", 4, "it has 3 concepts, of class 4"),
        ("fit.bank", {"$": "array", "name": "value.fit.crops_u"}, "its bank are|refers to"),
        ("fit.images.number", 3, "its images are|crops are not inside"),
        ("fit.factorizer.name", "nnmf", "no factorizer 'nnmf'; a newer one may"),
        (
            "fit.factorizer.settings",
            {"$": "dict", "items": {"more": 1}},
            "nmf has no such settings",
        ),
        ("place", 70, "its model is cut at layer 70"),
        ("place", -1, "its model is cut at layer -1"),
        ("number_of_concepts", 0, "number_of_concepts must be at least 1"),
        ("baseline", "none", "baseline must be 'zero' or 'mean'"),
    ],
)
def test_a_file_whose_parts_do_not_fit(
    names: str, value: Any, message: str, craft: xc.Craft, saved: Path, tmp_path: Path
) -> None:
    header, record, data = parts_of(saved)
    set_in(record["value"]["fields"], names, value)
    with pytest.raises(ValueError, match=message):
        xc.Craft.load(write_signed(tmp_path / "file", header, record, data), craft.split)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", [80, pytest.param(1000, marks=pytest.mark.slow)])
def test_crafts_that_were_changed(
    number: int, craft: xc.Craft, saved: Path, tmp_path: Path
) -> None:
    """Refused by a documented error; or, where the checksum was made to fit, of use."""
    refused = 0
    for place in range(number):
        path = malformed(tmp_path / "file", place, saved)
        signed = place % 8 >= 5
        documented = (ValueError, TypeError) if signed else (UnreadableFile,)
        try:
            found = xc.Craft.load(path, craft.split)
        except documented:
            refused += 1
        else:
            assert signed or same(unchanged(found), unchanged(craft))
            assert found.transform(OTHERS).shape == (5, 8, 8, 3)
    assert refused > 0.6 * number


# --------------------------------------------------------------------- the first version, for ever
def test_a_craft_of_the_first_version_is_loaded() -> None:
    craft = xc.Craft.load(FIXTURES / "craft_v1.safetensors", fixture_model())
    answers = xc.load(FIXTURES / "answers_v1.safetensors")
    assert_allclose(craft.transform(IMAGES), answers["u"], rtol=1e-3, atol=1e-4)
    contributions = craft.contributions(IMAGES)
    assert_allclose(contributions.phi, answers["contributions"].phi, rtol=1e-3, atol=1e-4)
    assert_allclose(contributions.score, answers["contributions"].score, rtol=1e-3, atol=1e-4)
    assert_allclose(craft.estimate_importance(), answers["importances"], atol=1e-3)
    assert craft.quality(IMAGES).agreement == answers["quality"].agreement
    assert same(craft.concepts.inputs, IMAGES)
    assert craft.seed == 5
