"""A fitted craft as Keras models: encoder, decoder, decoder bound to its images."""

import json
import subprocess
import sys
import zipfile
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from keras import layers
from xplique.attributions import Occlusion, Saliency

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.factorization import NMF

SIDE, CONCEPTS = 16, 3


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="softplus", name="first")(x)
    x = layers.Conv2D(10, 3, strides=2, padding="same", activation="relu", name="last")(x)
    x = layers.Conv2D(6, 1, activation="relu", name="head")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((12, SIDE, SIDE, 3)).astype(np.float32)


def majority(model: keras.Model, images: np.ndarray) -> int:
    """The class that most images are predicted as."""
    return int(np.bincount(model.predict(images, verbose=0).argmax(axis=1)).argmax())


@pytest.fixture(scope="module", params=["nmf", "signed-nmf", "semi-nmf", "pca", "kmeans"])
def craft(request, model, images):
    class_id = majority(model, images)
    craft = xc.Craft.from_model(model, "last", CONCEPTS, factorizer=request.param)
    craft.fit(images, class_id)
    return craft


def test_encoder_is_the_mean_of_the_coefficients(craft, images):
    u = craft.transform(images)
    np.testing.assert_allclose(craft.encoder(images), u.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(craft.position_encoder(images), u, atol=1e-6)


def test_encoder_is_flat_and_its_bank_is_no_weight(craft, model):
    assert not any(isinstance(layer, keras.Model) for layer in craft.encoder.layers)
    assert craft.encoder.input is model.input
    expected = [w.path for name in ("first", "last") for w in model.get_layer(name).weights]
    assert [w.path for w in craft.encoder.weights] == expected


@pytest.mark.parametrize("which", ["encoder", "position_encoder", "decoder"])
def test_models_save_and_reload(craft, images, tmp_path, which):
    given = images if which != "decoder" else craft.transform(images)
    expected = getattr(craft, which)(given).numpy()
    getattr(craft, which).save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(reloaded(given), expected, atol=1e-6)


def test_a_clone_with_the_same_weights_is_the_same_encoder(craft, images):
    clone = keras.models.clone_model(craft.encoder)
    clone.set_weights(craft.encoder.get_weights())
    np.testing.assert_allclose(clone(images), craft.encoder(images), atol=1e-6)


def test_decoder_drops_the_residual_and_the_bound_one_keeps_it(craft, model, images):
    u = craft.transform(images)
    rebuilt = craft.latent_to_logit_model(u @ craft.factorized.bank + craft.factorized.offset)
    np.testing.assert_allclose(craft.decoder(u), rebuilt, atol=1e-5)
    np.testing.assert_allclose(craft.bound_decoder(images)(u), model(images), atol=1e-5)


def test_decoder_bound_to_one_image_takes_any_number_of_coefficients(craft, model, images):
    u = craft.transform(images[:1])
    gated = np.concatenate([u, 0.5 * u, 0.0 * u])
    logits = craft.bound_decoder(images[:1])(gated).numpy()
    np.testing.assert_allclose(logits[0], model(images[:1])[0], atol=1e-5)
    activations = craft.input_to_latent_model(images[:1]).numpy()
    residual = activations - u @ craft.factorized.bank
    np.testing.assert_allclose(logits[2], craft.latent_to_logit_model(residual)[0], atol=1e-5)


def test_decoder_bound_to_several_images_refuses_another_number(craft, images):
    bound = craft.bound_decoder(images[:4])
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        bound(craft.transform(images[:3]))


def test_models_are_made_once_a_fit(model, images):
    craft = xc.Craft.from_model(model, "last", CONCEPTS)
    craft.fit(images, majority(model, images))
    first = craft.encoder
    assert craft.encoder is first
    craft.fit(images, majority(model, images))
    assert craft.encoder is not first


def test_kmeans_has_no_gradient(model, images):
    craft = xc.Craft.from_model(model, "last", CONCEPTS, factorizer="kmeans")
    craft.fit(images, majority(model, images))
    image = tf.constant(images[:1])
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = tf.reduce_sum(craft.encoder(image))
    assert tape.gradient(score, image) is None


def test_encoder_runs_in_predict_and_in_a_function_of_any_batch(craft, images):
    expected = craft.encoder(images).numpy()
    np.testing.assert_allclose(
        craft.encoder.predict(images, batch_size=5, verbose=0), expected, atol=1e-5
    )
    function = tf.function(craft.encoder, input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3])])
    np.testing.assert_allclose(function(images[:7]), expected[:7], atol=1e-5)


def test_questions_before_fit_say_so(model):
    craft = xc.Craft.from_model(model, "last", CONCEPTS)
    for ask in (lambda: craft.encoder, lambda: craft.decoder, lambda: craft.coefficient_scale):
        with pytest.raises(Exception, match="call fit"):
            ask()


# ------------------------------------------------------------------------------ mixed precision
def same_network(policy: str, logits: str) -> keras.Model:
    """A network of always the same weights, computed under a policy."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", dtype=policy)(image)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", dtype=policy, name="last")(x)
    x = layers.Conv2D(6, 1, activation="softplus", dtype=policy)(x)
    x = layers.GlobalAveragePooling2D(dtype=policy)(x)
    model = keras.Model(image, layers.Dense(3, dtype=logits)(x))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(0.1, 0.3, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture
def policy():
    """Mixed precision during a test."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield "mixed_float16"
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module", params=["float32", "mixed_float16"], ids="{} logits".format)
def mixed(request, images):
    """A craft of mixed precision, and the same in float32, of the same weights and bank."""
    crafts = []
    for precision, logits in (("mixed_float16", request.param), ("float32", "float32")):
        split = xc.split_model(same_network(precision, logits), "last")
        if not crafts:
            bank = split.network.latents(images).numpy().reshape(-1, 6)[[5, 150, 300]]
        crafts.append(planted.fitted(split, bank, images))
    assert crafts[0].input_to_latent_model.output.dtype == "float16"
    return crafts


@pytest.mark.usefixtures("policy")
def test_concepts_are_float32_under_any_policy(mixed, images):
    craft, _ = mixed
    u = craft.factorized.encode(craft.input_to_latent_model(images))[0].numpy()
    assert u.max() > 0.1
    for model, expected in ((craft.position_encoder, u), (craft.encoder, u.mean(axis=(1, 2)))):
        found = model(images)
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_an_encoder_of_mixed_precision_is_reloaded(policy, images, tmp_path):
    craft = xc.Craft.from_model(same_network(policy, "float32"), "last", CONCEPTS)
    craft.fit(images, majority(craft.model, images))
    craft.encoder.save(tmp_path / "model.keras")
    found = xc.load_model(tmp_path / "model.keras")(images)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, craft.encoder(images), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("policy")
def test_decoders_of_mixed_precision(mixed, images):
    craft, single = mixed
    expected = single.latent_to_logit_model(single.inverse_transform(craft.transform(images)))
    found = tf.cast(craft.decoder(craft.transform(images)), tf.float32)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    "settings",
    [
        {"explainer": Saliency},
        {
            "explainer": Occlusion,
            "explainer_args": {"patch_size": 8, "patch_stride": 8},
            "output": "relevance",
        },
        {"detail": 1.0},
    ],
    ids=lambda settings: " ".join(getattr(x, "__name__", str(x)) for x in settings.values()),
)
def test_maps_of_mixed_precision_are_those_of_single(mixed, images, settings):
    found, expected = (
        ConceptAttribution(craft, **settings).explain(images[:4], 0).numpy() for craft in mixed
    )
    assert np.abs(expected).max() > 0.0
    assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


# ------------------------------------------------------------------------- factorizers of others
class Doubled(NMF):
    """Coefficients twice as large as those of its bank, under the name of the package's own."""

    def encode(self, activations: Any, bank: Any, offset: Any) -> tuple[tf.Tensor, tf.Tensor]:
        u, residual = super().encode(activations, bank, offset)
        return 2.0 * u, residual


@pytest.fixture(scope="module")
def doubled(model, images) -> xc.Craft:
    craft = xc.Craft.from_model(model, "last", CONCEPTS, factorizer=Doubled())
    craft.fit(images, majority(model, images))
    return craft


def test_the_encoder_encodes_as_the_factorizer_does(doubled, images):
    """Not as the package's own of that name."""
    u = doubled.transform(images)
    activations = doubled.input_to_latent_model(images)
    plain = NMF().encode(activations, doubled.factorized.bank, None)[0].numpy()
    assert plain.max() > 0.1
    np.testing.assert_allclose(u, 2.0 * plain, atol=1e-6)
    np.testing.assert_allclose(doubled.position_encoder(images), u, atol=1e-6)
    np.testing.assert_allclose(doubled.encoder(images), u.mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("which", ["encoder", "position_encoder"])
def test_an_encoder_that_could_not_be_made_again_is_not_saved(doubled, tmp_path, which):
    path = tmp_path / "model.keras"
    with pytest.raises(TypeError, match=r"encoding of .* cannot be saved: .* own factorizers"):
        getattr(doubled, which).save(path)
    with pytest.raises((ValueError, OSError, KeyError)):  # Keras leaves a file, but no model
        xc.load_model(path)


def test_the_decoder_needs_no_factorizer(doubled, images, tmp_path):
    u = doubled.transform(images)
    doubled.decoder.save(tmp_path / "model.keras")
    reloaded = xc.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(reloaded(u), doubled.decoder(u), atol=1e-6)


def test_settings_of_an_own_factorizer_are_no_obstacle(model, images, tmp_path):
    """They matter to the fit alone."""
    craft = xc.Craft.from_model(model, "last", CONCEPTS, factorizer=NMF(max_iter=50, tolerance=0))
    craft.fit(images, majority(model, images))
    craft.encoder.save(tmp_path / "model.keras")
    reloaded = xc.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(reloaded(images), craft.encoder(images), atol=1e-6)


def written_by(path, version, **settings):
    """Change a saved model as if that Keras had written it, which knows settings of a kernel's."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(parts["metadata.json"])
    parts["metadata.json"] = json.dumps({**metadata, "keras_version": version}).encode()
    config = json.loads(parts["config.json"])
    for layer in config["config"]["layers"]:
        if "kernel_initializer" in layer["config"]:
            layer["config"]["kernel_initializer"]["config"].update(settings)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_a_newer_keras_is_named_where_its_file_cannot_be_read(craft, images, tmp_path, which):
    path = tmp_path / "model.keras"
    getattr(craft, which).save(path)
    written_by(path, "99.1.2")
    given = images if which == "encoder" else craft.transform(images)
    np.testing.assert_allclose(xc.load_model(path)(given), getattr(craft, which)(given), atol=1e-6)
    written_by(path, "99.1.2", of_the_future=1)
    with pytest.raises(ValueError, match=r"saved by Keras 99\.1\.2.*install keras>=99\.1\.2"):
        xc.load_model(path)
    written_by(path, "3.0.0")
    with pytest.raises(Exception, match="of_the_future"):  # no newer one would help
        xc.load_model(path)


def test_a_file_that_is_no_model_is_not_said_to_be_newer(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"nothing")
    with pytest.raises((ValueError, OSError), match=r"model\.keras|zip"):
        xc.load_model(tmp_path / "model.keras")


# ------------------------------------------------------------------------------ in another process
LOAD = """
import sys
import numpy as np
import xplique_craft as xc

folder = sys.argv[1]
for which in sys.argv[2:]:
    model = xc.load_model(f"{folder}/{which}.keras")
    np.save(f"{folder}/{which}.found.npy", model(np.load(f"{folder}/{which}.given.npy")))
"""


@pytest.mark.slow
def test_models_load_in_a_process_that_knows_nothing_of_them(craft, images, tmp_path):
    given = {"encoder": images, "position_encoder": images, "decoder": craft.transform(images)}
    for which, inputs in given.items():
        getattr(craft, which).save(tmp_path / f"{which}.keras")
        np.save(tmp_path / f"{which}.given.npy", inputs)
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), *given],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    for which, inputs in given.items():
        found = np.load(tmp_path / f"{which}.found.npy")
        np.testing.assert_allclose(found, getattr(craft, which)(inputs), atol=1e-6)
