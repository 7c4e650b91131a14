"""Concept attribution as one more explainer of Xplique: its inputs, metrics and plots."""

import matplotlib.pyplot as plt
import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from xplique import metrics
from xplique.attributions import Saliency
from xplique.attributions.base import BlackBoxExplainer
from xplique.plots import plot_attributions

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.attributions.class_map import activation_shares, lay_out
from xplique_craft.attributions.maps import resize_maps
from xplique_craft.importance import SobolImportance

SIZE = (16, 24)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(8, SIZE, seed=2)


@pytest.fixture(scope="module", params=["from_model", "Craft"])
def craft(request: pytest.FixtureRequest, images: np.ndarray) -> xc.Craft:
    """Made from the whole model, or from its halves; both with the class most are predicted as."""
    model = planted.convolutional(SIZE)
    if request.param == "from_model":
        craft = xc.Craft.from_model(model, planted.LAYER, 4, batch_size=3)
    else:
        split = xc.split_model(model, planted.LAYER)
        craft = xc.Craft(split.input_to_latent, split.latent_to_logit, 4, 3)
    craft.fit(images, planted.predicted(model, images))
    return craft


@pytest.fixture
def attribution(craft: xc.Craft) -> ConceptAttribution:
    return ConceptAttribution(craft, batch_size=3)


@pytest.fixture
def targets(craft: xc.Craft, images: np.ndarray) -> np.ndarray:
    return planted.one_hot([craft.factorization.class_id] * len(images), 3)


# --------------------------------------------------------------------------------- as an explainer
def test_it_is_a_black_box_explainer(
    attribution: ConceptAttribution, craft: xc.Craft, images: np.ndarray, targets: np.ndarray
) -> None:
    assert isinstance(attribution, BlackBoxExplainer)
    assert attribution.model is craft.model
    assert attribution.batch_size == 3
    own = (craft.model(images).numpy() * targets).sum(axis=1)
    scores = attribution.inference_function(attribution.model, images, targets)
    assert_allclose(scores, own, rtol=1e-5)
    scores = attribution.batch_inference_function(attribution.model, images, targets, 2)
    assert_allclose(scores, own, rtol=1e-5)


def test_it_is_the_class_map_resized(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray
) -> None:
    attribution = ConceptAttribution(
        craft, batch_size=3, output="activation", smoothing=0.0, residual=False
    )
    maps = attribution.explain(images, targets)
    phi = craft.contributions(images, targets).phi
    u = craft.transform(images)
    expected = resize_maps(lay_out(activation_shares(u), phi, cells=u[0, ..., 0].size), SIZE)
    assert maps.shape == (8, *SIZE, 1)
    assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)
    assert_array_equal(attribution(images, targets), maps)


def test_the_craft_is_the_users_model(craft: xc.Craft, images: np.ndarray) -> None:
    """The flat graph, layer by layer; nothing of the bank among its weights."""
    model = planted.convolutional(SIZE)
    assert_allclose(craft.model(images), model(images), rtol=1e-5, atol=1e-6)
    assert len(craft.model.weights) == len(model.weights)
    assert sum(1 for layer in craft.model.layers if layer.get_weights()) == 5


def inputs_of_all_kinds(images: np.ndarray, targets: np.ndarray) -> dict[str, tuple]:
    pairs = tf.data.Dataset.from_tensor_slices((images, targets))
    labels = targets.argmax(axis=1)
    indices = tf.data.Dataset.from_tensor_slices((images, labels))
    only = tf.data.Dataset.from_tensor_slices(images)
    return {
        "numpy": (images, targets),
        "tensor": (tf.constant(images), tf.constant(targets)),
        "list": (list(images), targets),
        "class": (images, int(labels[0])),
        "classes": (images, labels),
        "default": (images,),
        "float64": (images.astype(np.float64), targets.astype(np.float64)),
        "pairs": (pairs,),
        "pairs, None": (pairs, None),
        "pairs, batched": (pairs.batch(5),),
        "pairs, prefetched": (pairs.batch(5).prefetch(2),),
        "pairs, indices": (indices.batch(3),),
        "images": (only.batch(2),),
        "images, targets": (only, targets),
    }


@pytest.mark.parametrize("kind", inputs_of_all_kinds(np.zeros((1, 1)), np.zeros((1, 1))))
def test_inputs_of_all_kinds(
    attribution: ConceptAttribution, images: np.ndarray, targets: np.ndarray, kind: str
) -> None:
    arguments = inputs_of_all_kinds(images, targets)[kind]
    maps = attribution.explain(*arguments)
    assert maps.shape == (8, *SIZE, 1)
    assert_allclose(maps, attribution.explain(images, targets), rtol=1e-4, atol=1e-5)


def test_labels_of_a_dataset_are_its_targets(
    attribution: ConceptAttribution, images: np.ndarray
) -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    pairs = tf.data.Dataset.from_tensor_slices((images, labels)).batch(5)
    expected = attribution.explain(images, planted.one_hot(labels, 3))
    assert_allclose(attribution.explain(pairs), expected, rtol=1e-4, atol=1e-5)
    other = attribution.explain(images, 0)
    assert np.abs(expected - other).max() > 1e-3


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_batch_size_does_not_matter(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray, batch_size: int
) -> None:
    maps = ConceptAttribution(craft, batch_size=batch_size).explain(images, targets)
    expected = ConceptAttribution(craft, batch_size=8).explain(images, targets)
    assert_allclose(maps, expected, rtol=1e-3, atol=1e-5)


def test_an_operator_of_ones_own(craft: xc.Craft, images: np.ndarray, targets: np.ndarray) -> None:
    def doubled(model: object, inputs: object, targets: object) -> object:
        return 2.0 * planted.by_sampling(model, inputs, targets)

    maps = ConceptAttribution(craft, operator=doubled).explain(images, targets)
    expected = 2.0 * ConceptAttribution(craft).explain(images, targets)
    assert_allclose(maps, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (3, "targets holds class indices from 3 to 3, but the model has 3 outputs"),
        (-1, "targets holds class indices from -1 to -1"),
        (np.zeros((8, 4)), r"one-hot of shape \(8, 3\), received shape \(8, 4\)"),
        (np.zeros((5, 3)), r"one-hot of shape \(8, 3\), received shape \(5, 3\)"),
        (np.zeros(5, int), "targets must be one class index, 8 of them"),
        (1.0, "targets must be one class index"),
    ],
)
def test_targets_that_do_not_fit(
    attribution: ConceptAttribution, images: np.ndarray, targets: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attribution.explain(images, targets)


def test_explainers_are_not_kept_by_xplique(craft: xc.Craft) -> None:
    """It has a dictionary of all models that were ever explained."""
    before = dict(BlackBoxExplainer._cache_models)
    made = [ConceptAttribution(craft), ConceptAttribution(craft, Saliency), SobolImportance(craft)]
    assert all(explainer.model is craft.model for explainer in made)
    assert before == BlackBoxExplainer._cache_models


# ------------------------------------------------------------------------------ images of any size
@pytest.fixture(scope="module")
def any_size(images: np.ndarray) -> xc.Craft:
    """A model that takes images of any size."""
    model = planted.convolutional((None, None))
    craft = xc.Craft.from_model(model, planted.LAYER, 4)
    craft.fit(images, planted.predicted(model, images))
    return craft


@pytest.mark.parametrize("kind", ["numpy", "tensor", "list", "dataset", "dataset of any size"])
def test_maps_have_the_size_of_the_images(
    any_size: xc.Craft, images: np.ndarray, kind: str
) -> None:
    unknown = tf.TensorSpec((None, None, 3), tf.float32)
    inputs = {
        "numpy": images,
        "tensor": tf.constant(images),
        "list": list(images),
        "dataset": tf.data.Dataset.from_tensor_slices(images),
        "dataset of any size": tf.data.Dataset.from_generator(
            lambda: iter(images), output_signature=unknown
        ),
    }[kind]
    attribution = ConceptAttribution(any_size)
    maps, concepts = attribution.explain(inputs), attribution.explain_concepts(inputs)
    assert maps.shape == (8, *SIZE, 1)
    assert concepts.shape == (8, *SIZE, 4)
    assert_allclose(maps, attribution.explain(images), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------- Xplique's metrics
@pytest.fixture(scope="module")
def squares() -> np.ndarray:
    """What matters is in the squares, and they cover an eighth of the image."""
    places = [(0, 4), (8, 12), (4, 0), (8, 0), (0, 16), (4, 12)]
    return np.stack([planted.square((16, 24), *place, 8, i % 2) for i, place in enumerate(places)])


@pytest.fixture(scope="module")
def coloured(squares: np.ndarray) -> xc.Craft:
    """A head with a ReLU that adds up both colours."""
    model = planted.network(np.eye(3), "relu", size=SIZE)
    hidden, out = np.zeros((3, 6), np.float32), np.zeros((6, 3), np.float32)
    hidden[:2, 0] = [4.0, 3.0]
    out[0, 0] = 1.0
    model.get_layer("hidden").set_weights([hidden, np.zeros(6, np.float32)])
    model.get_layer("logits").set_weights([out, np.zeros(3, np.float32)])
    return planted.fitted(model, np.eye(3), squares)


@pytest.mark.parametrize("name", ["Deletion", "Insertion"])
def test_deletion_and_insertion(coloured: xc.Craft, squares: np.ndarray, name: str) -> None:
    """Taking the squares away first costs most, putting them in first brings most."""
    targets = planted.one_hot([0] * len(squares), 3)
    maps = ConceptAttribution(coloured).explain(squares, targets)
    metric = getattr(metrics, name)(coloured.model, squares, targets, steps=8)
    right, wrong = metric(maps), metric(-maps)
    full = float(coloured.model(squares).numpy()[:, 0].mean())
    low, high = sorted([right / full, wrong / full])
    assert low < 0.25
    assert high > 0.75
    assert (right < wrong) == (name == "Deletion")


def test_mu_fidelity(coloured: xc.Craft, squares: np.ndarray) -> None:
    targets = planted.one_hot([0] * len(squares), 3)
    maps = ConceptAttribution(coloured).explain(squares, targets)
    tf.random.set_seed(0)
    np.random.seed(0)  # noqa: NPY002 - Xplique's metric draws from it
    metric = metrics.MuFidelity(
        coloured.model, squares, targets, grid_size=4, subset_percent=0.3, nb_samples=60
    )
    assert metric(maps) > 0.8


def test_average_stability(coloured: xc.Craft, squares: np.ndarray) -> None:
    """The head is linear where colours are: maps move as little as the images do."""
    targets = planted.one_hot([0] * len(squares), 3)
    attribution = ConceptAttribution(coloured)
    tf.random.set_seed(0)
    small, large = (
        metrics.AverageStability(
            coloured.model, squares[:2], targets[:2], radius=radius, nb_samples=3
        )(attribution)
        for radius in (1e-4, 1e-1)
    )
    assert 0.0 < small < 1e-3
    assert large > 10 * small


def test_the_model_randomization_metric_sees_another_model(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray
) -> None:
    """An explainer that kept g and h to itself would score 1."""
    attribution = ConceptAttribution(craft, batch_size=8)
    before = attribution.explain(images, targets).numpy()
    strategy = metrics.ProgressiveLayerRandomization(0.5)
    metric = metrics.ModelRandomizationMetric(
        craft.model, images, targets, randomization_strategy=strategy
    )
    score = metric(attribution)
    assert -1.0 <= score < 0.95
    assert attribution.model is craft.model
    assert_array_equal(attribution.explain(images, targets), before)


def test_the_default_randomization_changes_the_maps_too(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray
) -> None:
    metric = metrics.ModelRandomizationMetric(craft.model, images, targets)
    assert metric(ConceptAttribution(craft)) < 1.0 - 1e-4


def test_the_importance_sees_a_replaced_model_too(
    craft: xc.Craft, images: np.ndarray, targets: np.ndarray
) -> None:
    importance = SobolImportance(craft)
    before = importance.explain(images, targets)
    importance.model = tf.keras.models.clone_model(craft.model)
    importance.model.set_weights(planted.convolutional(SIZE, seed=9).get_weights())
    assert np.abs(importance.explain(images, targets) - before).max() > 1e-3
    importance.model.set_weights(craft.model.get_weights())
    assert_allclose(importance.explain(images, targets), before, atol=1e-4)
    importance.model = craft.model
    assert_array_equal(importance.explain(images, targets), before)


def test_weights_changed_in_place_change_the_maps(images: np.ndarray) -> None:
    model = planted.convolutional(SIZE)
    craft = xc.Craft.from_model(model, planted.LAYER, 4)
    craft.fit(images, planted.predicted(model, images))
    attribution = ConceptAttribution(craft)
    before = attribution.explain(images).numpy()
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([3.0 * kernel, bias])
    assert_allclose(attribution.explain(images), 3.0 * before, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------------------------- Xplique's plots
def test_plot_attributions(
    attribution: ConceptAttribution, images: np.ndarray, targets: np.ndarray
) -> None:
    maps = attribution.explain(images, targets)
    plot_attributions(maps, images, cols=4, img_size=1.0, alpha=0.5)
    figure = plt.gcf()
    assert len(figure.axes) == 8
    drawn = figure.axes[0].images[-1].get_array()
    assert drawn.shape[:2] == SIZE
    plt.close(figure)
