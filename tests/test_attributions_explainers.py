"""Concept maps and class maps by every explainer of Xplique: where, in what units, and errors."""

from collections.abc import Callable
from typing import Any

import explainers
import numpy as np
import planted
import pytest
import tensorflow as tf
import xplique.attributions
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.stats import spearmanr
from xplique import metrics
from xplique.attributions import (
    GradCAM,
    IntegratedGradients,
    KernelShap,
    Occlusion,
    Rise,
    Saliency,
    SmoothGrad,
)

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution

SIZE = (8, 12)
RUNNING = [name for name in explainers.ARGUMENTS if name != "FEM"]
DRAWING = ("KernelShap", "Lime", "Rise", "SmoothGrad")


def made(craft: xc.Craft, name: str | None, **settings: Any) -> ConceptAttribution:
    """The attribution by a class of Xplique's, as small as above."""
    if name is None:
        return ConceptAttribution(craft, **settings)
    return ConceptAttribution(
        craft, getattr(xplique.attributions, name), explainers.ARGUMENTS[name] or None, **settings
    )


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((2, *SIZE, 3)).astype(np.float32)


def fitted(kind: str) -> xc.Craft:
    """Made from the whole model, or from its halves."""
    images = np.random.default_rng(0).random((6, *SIZE, 3)).astype(np.float32)
    model = planted.convolutional(SIZE)
    if kind == "from_model":
        craft = xc.Craft.from_model(model, planted.LAYER, 3)
    else:
        split = xc.split_model(model, planted.LAYER)
        craft = xc.Craft(split.input_to_latent, split.latent_to_logit, 3)
    craft.fit(images, planted.predicted(model, images))
    return craft


@pytest.fixture(scope="module")
def one() -> xc.Craft:
    return fitted("from_model")


@pytest.fixture(scope="module", params=["from_model", "Craft"])
def craft(request: pytest.FixtureRequest, one: xc.Craft) -> xc.Craft:
    return one if request.param == "from_model" else fitted("Craft")


# ------------------------------------------------------------------------------- every explainer
def test_none_is_left_out() -> None:
    names = {n for n, v in vars(xplique.attributions).items() if isinstance(v, type)}
    assert names == set(explainers.ARGUMENTS)


@pytest.mark.parametrize("name", RUNNING)
def test_maps_of_concepts_and_of_the_class(one: xc.Craft, images: np.ndarray, name: str) -> None:
    """Finite, not constant, of one concept not those of another; class maps are of the score."""
    craft, attribution = one, made(one, name)
    maps = attribution.explain_concepts(images, [0, 2])
    assert maps.shape == (2, *SIZE, 2)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    scale = np.abs(maps).max(axis=(1, 2), keepdims=True)
    assert (np.ptp(maps, axis=(1, 2)) > 1e-2 * scale[:, 0, 0]).all()
    assert np.abs(maps[..., 0] - maps[..., 1]).max() > 1e-2 * scale.max()
    assert attribution.runs_once_a_concept == (name not in explainers.SHARED)
    whole = attribution.explain(images).numpy()
    assert whole.shape == (2, *SIZE, 1)
    cells = np.prod(craft.transform(images).shape[1:3])
    found = craft.contributions(images)
    total = found.phi.sum(axis=1) + found.residual
    assert_allclose(whole.mean(axis=(1, 2, 3)) * cells, total, rtol=1e-3)


@pytest.mark.parametrize("name", ["GradCAM", "IntegratedGradients", "Occlusion", "Saliency"])
def test_they_are_the_explainers_maps_of_the_encoder(
    one: xc.Craft, images: np.ndarray, name: str
) -> None:
    """In the explainer's own units: nothing is rescaled from image to image."""
    explainer = getattr(xplique.attributions, name)(one.encoder, **explainers.ARGUMENTS[name])
    targets = planted.one_hot([1, 1], 3)
    expected = np.asarray(explainer.explain(images, targets))
    found = made(one, name).explain_concepts(images, 1)
    assert_allclose(found, expected, rtol=0.0, atol=1e-5 * np.abs(expected).max())


def test_by_a_function(one: xc.Craft, images: np.ndarray) -> None:
    made_of = []

    def saliency(model: Any) -> Saliency:
        made_of.append(model)
        return Saliency(model)

    attribution = ConceptAttribution(one, saliency)
    found = attribution.explain_concepts(images)
    assert made_of == [one.encoder]
    assert attribution.runs_once_a_concept
    assert_array_equal(found, made(one, "Saliency").explain_concepts(images))


def test_several_channels_are_averaged(one: xc.Craft, images: np.ndarray) -> None:
    by_channel = ConceptAttribution(one, Saliency, {"reducer": None}).explain_concepts(images)
    averaged = ConceptAttribution(one, Saliency, {"reducer": "mean"}).explain_concepts(images)
    assert_allclose(by_channel, averaged, rtol=1e-5, atol=1e-9)


# ----------------------------------------------------------------------------------------- draws
@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWING)
def test_draws_are_those_of_the_seed(one: xc.Craft, images: np.ndarray, name: str) -> None:
    """Whatever was drawn before; the same for every concept; the user's generators go on."""
    attribution = made(one, name)
    first = attribution.explain_concepts(images)
    tf.random.set_seed(7)
    expected = tf.random.uniform([3]).numpy(), tf.random.uniform([3]).numpy()
    np.random.seed(7)  # noqa: NPY002 - the global generators are what is tested
    drawn = np.random.random(3)  # noqa: NPY002
    tf.random.set_seed(7)
    np.random.seed(7)  # noqa: NPY002
    assert_array_equal(tf.random.uniform([3]), expected[0])
    again = attribution.explain_concepts(images)
    assert_array_equal(tf.random.uniform([3]), expected[1])
    assert_array_equal(np.random.random(3), drawn)  # noqa: NPY002
    assert_allclose(again, first, rtol=0.0, atol=1e-6 * np.abs(first).max())
    alone = made(one, name).explain_concepts(images, 2)
    assert_allclose(alone, first[..., [2]], rtol=0.0, atol=1e-6 * np.abs(first).max())


@pytest.mark.parametrize("name", ["Rise", "SmoothGrad"])
def test_another_seed_draws_otherwise(one: xc.Craft, images: np.ndarray, name: str) -> None:
    attribution = made(one, name)
    first = attribution.explain_concepts(images, 0)
    before, one.seed = one.seed, 5
    try:
        other = attribution.explain_concepts(images, 0)
    finally:
        one.seed = before
    assert np.abs(other - first).max() > 1e-2 * np.abs(first).max()


# -------------------------------------------------------------------- planted shapes, known places
@pytest.fixture(scope="module")
def shapes() -> tuple[np.ndarray, np.ndarray]:
    """Images (2, H, W, 3) of a disc, a triangle and a square, each of its colour, and where."""
    rows, columns = np.indices((24, 32))
    places = []
    for shift in range(2):
        disc = (rows - 6 - shift) ** 2 + (columns - 6) ** 2 <= 25
        triangle = (rows - 11 >= 2 * np.abs(columns - 15 + shift)) & (rows < 24)
        square = (rows >= 2) & (rows < 10) & (abs(columns - 25.5 + 2 * shift) <= 4)
        places.append(np.stack([disc, triangle, square], axis=-1))
    places = np.stack(places)
    return places.astype(np.float32), places


@pytest.fixture(scope="module", params=["colours", "overlapping", "not the colours"])
def known(request: pytest.FixtureRequest, shapes: tuple[np.ndarray, np.ndarray]) -> xc.Craft:
    """
    The bank is that of the shapes, so every place is at a kink of the encoding, or near it; and
    every concept raises the score of class 0.
    """
    colours, near = np.eye(3, 6), np.eye(3, 6) + 0.02
    painted = near if request.param == "overlapping" else colours
    model = planted.network(painted.astype(np.float32), "relu", size=(24, 32))
    for name in ("hidden", "logits"):
        layer = model.get_layer(name)
        layer.set_weights([np.abs(weights) for weights in layer.get_weights()])
    return planted.fitted(model, colours if request.param == "colours" else near, shapes[0])


@pytest.mark.parametrize(
    ("name", "arguments", "smoothing"),
    [
        (None, None, 0.0),
        (None, None, None),
        ("GradCAM", None, 0.0),
        ("GradientInput", None, 0.0),
        ("IntegratedGradients", {"steps": 8}, 0.0),
        ("Occlusion", {"patch_size": 1, "patch_stride": 1}, 0.0),
        ("Saliency", None, 0.0),
    ],
)
@pytest.mark.parametrize("output", ["activation", "relevance"])
def test_concepts_are_inside_their_shapes(
    known: xc.Craft,
    shapes: tuple[np.ndarray, np.ndarray],
    name: str | None,
    arguments: dict[str, Any] | None,
    smoothing: float | None,
    output: str,
) -> None:
    """At least 90% of each concept's map, in images that are not square; smoothed, with a cell."""
    images, places = shapes
    explainer = None if name is None else getattr(xplique.attributions, name)
    attribution = ConceptAttribution(
        known, explainer, arguments, output=output, smoothing=smoothing
    )
    if smoothing is None:
        places = binary_dilation(places, np.ones((1, 3, 3, 1)))
    maps = np.abs(attribution.explain_concepts(images, targets=0))
    mass = maps.sum(axis=(1, 2))
    assert (mass > 0.0).all()
    assert ((maps * places).sum(axis=(1, 2)) / mass).min() >= 0.9


def test_concepts_are_strongest_near_their_shapes_by_crops(
    known: xc.Craft, shapes: tuple[np.ndarray, np.ndarray]
) -> None:
    """Crops are larger than these shapes: a map of them is strongest within a fifth of the side."""
    images, places = shapes
    maps = ConceptAttribution(known, by="crops").explain_concepts(images)
    assert maps.shape == places.shape
    reach = max(images.shape[1:3]) // 5
    near = binary_dilation(places, np.ones((1, 2 * reach + 1, 2 * reach + 1, 1)))
    for found, inside, close in zip(maps, places, near, strict=True):
        for concept in range(3):
            one, at = found[..., concept], inside[..., concept] > 0
            assert close[..., concept][np.unravel_index(one.argmax(), one.shape)]
            assert one[at].mean() > 1.2 * one[~at].mean()


# ------------------------------------------------------------------------ activation and relevance
@pytest.mark.parametrize("kind", ["affine", "relu"])
def test_relevance_by_hand(kind: str) -> None:
    """u_j(p) df/du_j(p), the head written once more in NumPy."""
    images = planted.paintings(3, seed=1)
    bank = planted.bank()
    model = planted.network(bank, kind)
    craft = planted.fitted(model, bank, images)
    attribution = ConceptAttribution(craft, output="relevance", smoothing=0.0)
    found = attribution.explain_concepts(images, targets=2)
    activations = images.astype(np.float64) @ bank.astype(np.float64)
    kernels = {
        n: model.get_layer(n).get_weights() for n in ("logits", "hidden")[: 1 + (kind == "relu")]
    }
    slope = np.broadcast_to(
        kernels["logits"][0][:, 2], (*images.shape[:3], len(kernels["logits"][0]))
    )
    if kind == "relu":
        on = activations @ kernels["hidden"][0] + kernels["hidden"][1] > 0.0
        slope = (on * slope) @ kernels["hidden"][0].T
    expected = images * (slope @ bank.T) / (images.shape[1] * images.shape[2])
    assert_allclose(found, expected, rtol=0.0, atol=1e-5 * np.abs(expected).max())


def test_a_concept_that_the_class_does_not_use_is_active_but_not_relevant() -> None:
    images = planted.paintings(3, seed=1)
    model = planted.network(np.eye(3), "affine")
    model.get_layer("logits").set_weights(
        [np.array([[2.0, 0, 0], [0, 0, 0], [-1.0, 0, 0]], np.float32), np.zeros(3, np.float32)]
    )
    craft = planted.fitted(model, np.eye(3), images)
    active = ConceptAttribution(craft, smoothing=0.0).explain_concepts(images)
    relevant = ConceptAttribution(craft, output="relevance").explain_concepts(images)
    assert active[..., 1].max() > 0.9
    assert_array_equal(relevant[..., 1], 0.0)
    assert relevant[..., 0].max() > 0.0
    assert relevant[..., 2].min() < 0.0 <= active.min()


@pytest.mark.parametrize("baseline", ["zero", "mean"])
@pytest.mark.parametrize("name", [None, "Saliency", "Occlusion"])
def test_relevance_sums_to_the_score_of_an_affine_head(baseline: str, name: str | None) -> None:
    """Before resizing and after, also where gates lead towards the mean."""
    images = planted.paintings(5, (8, 12), seed=1)
    model = planted.network(planted.bank(), "affine", size=(8, 12), stride=2)
    craft = planted.fitted(model, planted.bank(), images, baseline=baseline)
    found = craft.contributions(images, 1)
    whole, parts = (
        made(craft, name, output="relevance", residual=residual).explain(images, 1).numpy()
        for residual in (True, False)
    )
    total = found.score - found.base
    assert_allclose(whole.mean(axis=(1, 2, 3)) * 24, total, rtol=1e-4, atol=1e-5)
    assert_allclose(parts.mean(axis=(1, 2, 3)) * 24, total - found.residual, rtol=1e-4, atol=1e-5)


def test_the_class_map_by_occlusion_of_relevance_is_what_hiding_costs() -> None:
    """The concepts' part of the score without each patch, but for a constant: one run for all."""
    images = planted.paintings(2, (8, 12), seed=1)
    craft = planted.fitted(planted.network(planted.bank(), size=(8, 12)), planted.bank(), images)
    attribution = ConceptAttribution(
        craft, Occlusion, {"patch_size": 4, "patch_stride": 4}, output="relevance"
    )
    maps = attribution.explain(images, 1).numpy()[..., 0]
    part, costs = craft.contributions(images, 1).phi.sum(axis=1), np.empty((2, 2, 3))
    for top in (0, 4):
        for left in (0, 4, 8):
            hidden = images.copy()
            hidden[:, top : top + 4, left : left + 4] = 0.0
            costs[:, top // 4, left // 4] = part - craft.contributions(hidden, 1).phi.sum(axis=1)
    found = maps[:, ::4, ::4]
    constant = (found - costs).mean(axis=(1, 2), keepdims=True)
    assert np.ptp(costs) > 0.01
    assert_allclose(found - constant, costs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "output"),
    [(None, "activation"), ("Occlusion", "relevance"), ("Saliency", "activation")],
)
def test_details_keep_the_sum(
    one: xc.Craft, images: np.ndarray, name: str | None, output: str
) -> None:
    """They are as strong as they are asked to be, and their mean is 0."""
    plain = made(one, name, output=output).explain(images).numpy()
    sharp = made(one, name, output=output, detail=0.5).explain(images).numpy()
    assert_allclose(sharp.mean(axis=(1, 2, 3)), plain.mean(axis=(1, 2, 3)), rtol=1e-3)
    added = (sharp - plain).std(axis=(1, 2, 3))
    assert_allclose(added, 0.5 * plain.std(axis=(1, 2, 3)), rtol=1e-3)


def test_details_are_integrated_gradients_of_the_concepts_part(
    one: xc.Craft, images: np.ndarray
) -> None:
    """What speaks for the class stands out, by a power that leaves few pixels."""
    phi, u = one.contributions(images).phi, one.encoder(images).numpy()
    weights = (phi / u).astype(np.float32)
    fine = IntegratedGradients(one.encoder, steps=16).explain(images, weights).numpy()
    plain = made(one, None).explain(images).numpy()
    added = made(one, None, detail=2.0).explain(images).numpy() - plain
    for found, gradients in zip(added, fine, strict=True):
        expected = np.maximum(gradients, 0.0) ** 1.5
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize(
    ("name", "output"), [("Occlusion", "relevance"), ("Saliency", "activation")]
)
def test_maps_of_an_explainer_are_smoothed_when_asked(
    one: xc.Craft, images: np.ndarray, name: str, output: str
) -> None:
    """What is read off the layer, as the residual's part, is smoothed without being asked."""

    def whole(smoothing: float | None, residual: bool) -> np.ndarray:
        settings = {"output": output, "smoothing": smoothing, "residual": residual}
        return made(one, name, **settings).explain(images).numpy()

    plain, left = whole(None, False), whole(0.0, True) - whole(0.0, False)
    tolerance = 1e-5 * np.abs(plain).max()
    expected = gaussian_filter(plain, (0, 2.5, 2.5, 0), mode="reflect")
    assert_allclose(whole(2.5, False), expected, atol=tolerance)
    assert_array_equal(whole(0.0, False), plain)
    for smoothing in (2.5, None):
        found = whole(smoothing, True) - whole(smoothing, False)
        widths = (smoothing, smoothing)
        if smoothing is None:  # as much as with enlarging, which blurs, makes 1/17 of the side
            cells = one.transform(images).shape[1:3]
            fine = [min(0.75 / c, max(0.0, 1 / 17**2 - 1 / (6 * c**2)) ** 0.5) for c in cells]
            widths = tuple(size * share for size, share in zip(SIZE, fine, strict=True))
        expected = gaussian_filter(left, (0, *widths, 0), mode="reflect")
        assert_allclose(found, expected, atol=2 * tolerance)


@pytest.mark.parametrize("argument", ["detail", "smoothing"])
@pytest.mark.parametrize(
    ("value", "error"), [(-0.1, ValueError), (np.inf, ValueError), ("much", TypeError)]
)
def test_details_that_are_none(
    one: xc.Craft, argument: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"{argument} must be"):
        ConceptAttribution(one, **{argument: value})


def test_relevance_of_several_targets(one: xc.Craft, images: np.ndarray) -> None:
    """Each image by its own target, with an explainer too."""
    for name in (None, "Saliency"):
        attribution = made(one, name, output="relevance")
        both = attribution.explain_concepts(images, targets=[0, 2])
        assert_allclose(both[:1], attribution.explain_concepts(images[:1], targets=0), atol=1e-6)
        assert_allclose(both[1:], attribution.explain_concepts(images[1:], targets=2), atol=1e-6)
        assert np.abs(both[:1] - attribution.explain_concepts(images[:1], targets=2)).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DeconvNet", "Rise", "SmoothGrad"])
def test_explainers_of_relevance(one: xc.Craft, images: np.ndarray, name: str) -> None:
    """Those that clone the model, that share perturbations, and that draw, too."""
    maps = made(one, name, output="relevance").explain_concepts(images)
    assert maps.shape == (2, *SIZE, 3)
    assert np.isfinite(maps).all()
    assert (np.ptp(maps, axis=(1, 2)) > 0.0).all()


# ---------------------------------------------------------------------------------- other models
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "output"),
    [
        (None, "activation"),
        (None, "relevance"),
        ("GuidedBackprop", "activation"),
        ("Occlusion", "activation"),
        ("Saliency", "relevance"),
    ],
)
def test_a_replaced_model_is_what_is_explained(
    one: xc.Craft, images: np.ndarray, name: str | None, output: str
) -> None:
    attribution = made(one, name, output=output)
    before = attribution.explain_concepts(images)
    other = tf.keras.models.clone_model(one.model)
    other.set_weights(planted.convolutional(SIZE, seed=9).get_weights())
    attribution.model = other
    changed = attribution.explain_concepts(images)
    assert np.abs(changed - before).max() > 1e-2 * np.abs(before).max()
    attribution.model = one.model
    assert_array_equal(attribution.explain_concepts(images), before)


@pytest.mark.parametrize("name", ["GuidedBackprop", "Saliency"])
def test_weights_changed_in_place_change_the_maps(images: np.ndarray, name: str) -> None:
    """Some explainers copy the weights of a model: they are made anew each time."""
    model = planted.convolutional(SIZE)
    craft = xc.Craft.from_model(model, planted.LAYER, 3)
    craft.fit(images, planted.predicted(model, images))
    attribution = made(craft, name)
    before = attribution.explain_concepts(images)
    kernel, bias = model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([2.0 * kernel, bias])
    assert np.abs(attribution.explain_concepts(images) - before).max() > 0.1 * np.abs(before).max()


def rank_correlation(first: Any, second: Any) -> float:
    pairs = zip(np.asarray(first), np.asarray(second), strict=True)
    return float(np.mean([spearmanr(a.ravel(), b.ravel())[0] for a, b in pairs]))


@pytest.mark.parametrize("name", [None, "Occlusion"])
def test_randomised_models_change_the_maps_as_they_change_gradcam(
    craft: xc.Craft, name: str | None
) -> None:
    """Rank correlation with the original map: weights do change in the clone, and it falls.

    Xplique's GradCAM keeps the model that it was first compiled with: it is made anew here.
    """
    images = planted.paintings(3, SIZE, seed=4)
    targets = planted.one_hot([craft.class_id] * 3, 3)
    strategy = metrics.ProgressiveLayerRandomization(1.0)
    metric = metrics.ModelRandomizationMetric(
        craft.model, images, targets, randomization_strategy=strategy
    )
    attribution = made(craft, name)
    score = metric(attribution)
    assert attribution.model is craft.model
    other = tf.keras.models.clone_model(craft.model)
    other.set_weights(craft.model.get_weights())
    tf.random.set_seed(42)
    strategy.randomize(other)
    changed = [
        np.abs(a - b).max()
        for a, b in zip(craft.model.get_weights(), other.get_weights(), strict=True)
    ]
    assert all(change > 0.1 for change in changed)
    cam = rank_correlation(
        *(
            GradCAM(m, conv_layer=planted.LAYER).explain(images, targets)
            for m in (craft.model, other)
        )
    )
    assert cam < 0.6
    assert score < 0.6


def test_the_other_metrics_take_explainers_too(one: xc.Craft, images: np.ndarray) -> None:
    targets = planted.one_hot([one.class_id] * 2, 3)
    attribution = made(one, "Occlusion")
    maps = attribution.explain(images, targets)
    for name in ("Deletion", "Insertion"):
        right, wrong = (
            getattr(metrics, name)(one.model, images, targets, steps=4)(sign * maps)
            for sign in (1.0, -1.0)
        )
        assert (right < wrong) == (name == "Deletion")
    small, large = (
        metrics.AverageStability(one.model, images[:1], targets[:1], radius=r, nb_samples=2)(
            attribution
        )
        for r in (1e-4, 1e-1)
    )
    assert 0.0 < small < large


# ---------------------------------------------------------------------------------------- errors
def an_instance(craft: xc.Craft) -> Saliency:
    return Saliency(craft.encoder)


@pytest.mark.parametrize(
    ("explainer", "arguments", "error", "message"),
    [
        (xplique.attributions.FEM, None, ValueError, "FEM asks of no target.*the same for every"),
        (an_instance, None, TypeError, "received an instance of Saliency: give the class"),
        ("Saliency", None, TypeError, "a class of xplique.attributions, or a function"),
        (dict, None, TypeError, "a class of xplique.attributions, which explains any Keras model"),
        (ConceptAttribution, None, TypeError, "received ConceptAttribution"),
        (None, {"steps": 3}, ValueError, "explainer_args are of an explainer, and explainer is"),
        (lambda model: Saliency(model), {"steps": 3}, ValueError, "passes its own, received"),
        (Saliency, {"steps": 3}, TypeError, "'steps', which Saliency does not take; it takes out"),
        (Saliency, {"model": 3}, TypeError, "'model', which Saliency does not take"),
        (Saliency, {"reducer": "most"}, ValueError, "Saliency cannot be made for the concepts at "),
        (GradCAM, {"conv_layer": "third"}, ValueError, "the part of the model before that layer"),
        (
            xplique.attributions.SobolAttributionMethod,
            {"nb_design": 3},
            ValueError,
            "must be a power of two. It explains",
        ),
    ],
)
def test_explainers_that_cannot(
    one: xc.Craft,
    explainer: Any,
    arguments: dict[str, Any] | None,
    error: type[Exception],
    message: str,
) -> None:
    if explainer is an_instance:
        explainer = an_instance(one)
    with pytest.raises(error, match=message):
        ConceptAttribution(one, explainer, arguments)


def test_an_output_that_is_none(one: xc.Craft) -> None:
    with pytest.raises(ValueError, match="output must be None, 'activation' or 'relevance', rec"):
        ConceptAttribution(one, output="where")


@pytest.mark.parametrize("make", [Saliency, SmoothGrad])
def test_encodings_without_a_gradient(images: np.ndarray, make: Callable[..., Any]) -> None:
    model = planted.convolutional(SIZE)
    craft = xc.Craft.from_model(model, planted.LAYER, 2, factorizer="kmeans")
    craft.fit(images, planted.predicted(model, images))
    with pytest.raises(ValueError, match="needs the gradient of the concepts, and the encoding of"):
        ConceptAttribution(craft, make)
    found = ConceptAttribution(craft, Occlusion, {"patch_size": 8, "patch_stride": 8})
    assert np.isfinite(found.explain_concepts(images)).all()


def test_explainers_that_give_no_map(one: xc.Craft, images: np.ndarray) -> None:
    class Strange:
        """Of one number an image."""

        def explain(self, inputs: Any, targets: Any) -> np.ndarray:
            return np.zeros(len(inputs))

    attribution = ConceptAttribution(one, lambda model: Strange())
    with pytest.raises(ValueError, match=r"maps of the images' size, \(n, 8, 12, 1\), received"):
        attribution.explain_concepts(images)


def test_layers_without_convolutions_have_no_gradcam() -> None:
    images = planted.paintings(4)
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 3)),
            tf.keras.layers.Dense(5, activation="relu", name=planted.LAYER),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(3),
        ]
    )
    craft = xc.Craft.from_model(model, planted.LAYER, 2)
    craft.fit(images, planted.predicted(model, images))
    with pytest.raises(ValueError, match=r"GradCAM cannot be made .*: there is no convolution"):
        ConceptAttribution(craft, GradCAM)
    assert ConceptAttribution(craft, Rise, {"nb_samples": 20}).explain(images).shape == (4, 8, 8, 1)
    assert ConceptAttribution(craft, KernelShap, {"nb_samples": 20}).runs_once_a_concept
