"""
What Xplique asks of its own attributions, metrics and concepts, asked of ours.

Its suite walks its explainers in `tests/attributions/test_common.py` and its metrics in
`tests/metrics/test_common.py`; `tests/concepts/test_craft_tf.py` is of CraftTf.
"""

from collections.abc import Callable
from typing import Any

import contracts
import explainers
import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
import xplique.attributions
from numpy.testing import assert_allclose
from xplique import metrics
from xplique.attributions import Saliency
from xplique.commons import Tasks

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.importance import SobolImportance

N, CLASSES = 6, 3
SIZE = (12, 16)
FORMS = ("arrays", "tensors", "dataset", "batched dataset")


def drawn(size: tuple[int, ...], number: int = N) -> np.ndarray:
    return np.random.default_rng(0).random((number, *size)).astype(np.float32)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return drawn((*SIZE, 3))


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    return planted.one_hot(np.arange(N) % CLASSES, CLASSES)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.convolutional_craft(images, 3)


def in_form(form: str, images: np.ndarray, targets: np.ndarray) -> tuple[Any, Any]:
    if form == "arrays":
        return images, targets
    if form == "tensors":
        return tf.constant(images), tf.constant(targets)
    dataset = tf.data.Dataset.from_tensor_slices((images, targets))
    return (dataset if form == "dataset" else dataset.batch(4)), None


# ------------------------------------------------------------------------ explainers of the encoder
def marked(name: str) -> Any:
    """A parameter of a test: most explainers are slow to compile."""
    quick = name in ("GradCAM", "Occlusion", "Saliency")
    return pytest.param(name, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize("name", [marked(name) for name in explainers.ARGUMENTS])
def test_every_explainer_takes_every_form_with_the_encoder(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray, name: str
) -> None:
    """A concept is to it what a class is; its maps are those of arrays where nothing is drawn."""
    explain = getattr(xplique.attributions, name)(craft.encoder, **explainers.ARGUMENTS[name])
    found = [np.asarray(explain(*in_form(form, images, targets))) for form in FORMS]
    for maps in found:
        assert maps.shape == (N, *SIZE, 1)
        assert np.isfinite(maps).all()
        if name not in contracts.DRAWING and not name.startswith(("Sobol", "Hsic")):
            assert_allclose(maps, found[0], rtol=0.0, atol=1e-4 * np.abs(found[0]).max())


@pytest.mark.parametrize("batch_size", [None, 1, 32])
def test_batch_sizes_of_explainers(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray, batch_size: int | None
) -> None:
    """None is Xplique's for all at once; by the encoder, and inside of our attribution."""
    expected = np.asarray(Saliency(craft.encoder).explain(images, targets))
    found = np.asarray(Saliency(craft.encoder, batch_size=batch_size).explain(images, targets))
    assert_allclose(found, expected, rtol=0.0, atol=1e-5 * expected.max())
    maps = ConceptAttribution(craft, Saliency, {"batch_size": batch_size}).explain_concepts(images)
    assert_allclose(
        maps[np.arange(N), ..., targets.argmax(axis=1)],
        expected[..., 0],
        rtol=0.0,
        atol=1e-5 * expected.max(),
    )


@pytest.mark.parametrize("make", [ConceptAttribution, SobolImportance])
def test_a_batch_size_of_none_is_refused_by_ours(craft: xc.Craft, make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="batch_size must be an integer, received None"):
        make(craft, batch_size=None)


# --------------------------------------------------------------------------- shapes of pictures
@pytest.mark.parametrize("size", [(20, 16, 3), (14, 14, 1), (16, 24, 2)])
@pytest.mark.parametrize("name", [None, "Saliency", "Occlusion"])
def test_shapes_of_images(size: tuple[int, int, int], name: str | None) -> None:
    """One map for an image, as high and as wide; whatever its channels."""
    images = drawn(size)
    craft = planted.fitted(
        planted.network(planted.bank(concepts=size[2]), "relu", size=size[:2], stride=2),
        planted.bank(concepts=size[2]),
        images,
    )
    explainer = contracts.attribution(craft, name)
    assert explainer(images, planted.one_hot([1] * N, CLASSES)).shape == (*images.shape[:3], 1)
    assert explainer.explain_concepts(images).shape == images.shape


@pytest.mark.parametrize("shape", [(20,), (20, 10)])
def test_tables_and_series_have_no_crops(shape: tuple[int, ...]) -> None:
    """They are Xplique's explainers' to take, and not CRAFT's: what is wrong is said at once."""
    inputs = keras.Input(shape)
    x = keras.layers.Dense(8, activation="relu", name="latent")(inputs)
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(x))
    with pytest.raises(ValueError, match=r"images|\(n, H, W, channels\)"):
        xc.Craft.from_model(model, "latent", 3).fit(drawn(shape), 0)


@pytest.mark.parametrize("size", [(32, 32, 3), (32, 32, 1), (48, 48, 3), (48, 32, 3)])
def test_shapes_of_a_craft(size: tuple[int, int, int]) -> None:
    """As CraftTf's: crops, their coefficients, the bank, importances, coefficients of images."""
    images = drawn(size, 20)
    inputs = keras.Input(size)
    initializer = keras.initializers.GlorotUniform(seed=1)
    convolution = keras.layers.Conv2D(
        16, 2, activation="relu", kernel_initializer=initializer, name="cut"
    )
    g = keras.Model(inputs, convolution(inputs))
    latent = keras.Input(g.output_shape[1:])
    x = keras.layers.MaxPooling2D()(latent)
    x = keras.layers.Flatten()(x)
    h = keras.Model(latent, keras.layers.Dense(CLASSES, kernel_initializer=initializer)(x))
    craft = xc.Craft(g, h, number_of_concepts=5, patch_size=15, batch_size=8)
    logits = h(g(images)).numpy()
    crops, crops_u, bank = craft.fit(images, int(logits.mean(axis=0).argmax()))
    assert crops.shape[1:] == (15, 15, size[2])
    assert np.asarray(crops[:2]).shape == (2, 15, 15, size[2])
    assert crops_u.shape == (len(crops), 5)
    assert bank.shape == (5, 16)
    importances = craft.estimate_importance(nb_design=4)
    assert importances.shape == (5,)
    assert (importances >= 0.0).all()
    assert craft.transform(images).shape == (20, size[0] - 1, size[1] - 1, 5)


def test_a_head_that_is_no_model() -> None:
    inputs = keras.Input((8, 8, 3))
    g = keras.Model(inputs, keras.layers.ReLU()(inputs))
    with pytest.raises(
        TypeError, match=r"latent_to_logit must be a keras\.Model; received function"
    ):
        xc.Craft(g, lambda x: 2 * x, number_of_concepts=3)


# ------------------------------------------------------------------------------------- metrics
MADE: dict[str, tuple[Any, dict[str, Any]]] = {
    "own": (None, {}),
    "relevance": (None, {"output": "relevance"}),
    "Saliency": (Saliency, {}),
}


@pytest.fixture(params=MADE)
def attribution(request: pytest.FixtureRequest, craft: xc.Craft) -> ConceptAttribution:
    explainer, settings = MADE[request.param]
    return ConceptAttribution(craft, explainer, **settings)


@pytest.mark.parametrize("form", FORMS)
def test_metrics_take_ours_as_any_explainer(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    attribution: ConceptAttribution,
    form: str,
) -> None:
    """A number, the same whatever holds the images."""
    inputs, labels = in_form(form, images, targets)
    maps = attribution(inputs, labels)
    scores = {}
    for metric in (metrics.Deletion, metrics.Insertion):
        found = metric(craft.model, inputs, labels, steps=3)(maps)
        assert isinstance(found, float | np.floating)
        scores[metric.__name__] = found
        expected = metric(craft.model, images, targets, steps=3)(attribution(images, targets))
        assert_allclose(found, expected, rtol=1e-3)
    mu = metrics.MuFidelity(craft.model, inputs, labels, grid_size=4, nb_samples=8)(maps)
    assert -1.0 <= mu <= 1.0
    stability = metrics.AverageStability(craft.model, inputs, labels, nb_samples=2)(attribution)
    assert stability >= 0.0
    assert np.isfinite(stability)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_metrics_with_an_activation(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    attribution: ConceptAttribution,
    activation: str,
) -> None:
    """What is measured has it, what explains does not: areas are in [0, 1]."""
    maps = attribution(images, targets)
    for metric in (metrics.Deletion, metrics.Insertion):
        score = metric(craft.model, images, targets, steps=3, activation=activation)(maps)
        assert 0.0 <= score <= 1.0


# -------------------------------------------------------------------------------- tasks, operators
@pytest.mark.parametrize("operator", [Tasks.CLASSIFICATION, "classification", None])
def test_tasks_of_one_score_are_the_default(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray, operator: Any
) -> None:
    own = planted.by_sampling  # the same score, as a function that nothing is known of
    expected = np.asarray(ConceptAttribution(craft, operator=own).explain(images, targets))
    found = np.asarray(ConceptAttribution(craft, operator=operator).explain(images, targets))
    assert_allclose(found, expected, rtol=0.0, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("make", [ConceptAttribution, SobolImportance])
def test_a_task_that_there_is_not(craft: xc.Craft, make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="operator"):
        make(craft, operator="classificatoin")
