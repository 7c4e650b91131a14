"""Comparing methods: the measures are Xplique's, of every image by itself; costs are counted."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from xplique import metrics
from xplique.attributions import GradCAM, IntegratedGradients, Occlusion, Rise, Saliency

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.comparison import (
    MEASURES,
    Comparison,
    Deletion,
    Insertion,
    MapMeasure,
    Measure,
    MuFidelity,
    Randomisation,
    Stability,
    Task,
)
from xplique_craft.comparison.fidelity import (
    ModelScore,
    curves,
    mu_fidelity,
    rank_correlation,
    subset_effects,
)
from xplique_craft.comparison.run import _estimate

SIZE = (12, 16)
N = 5
METHODS: dict[str, Any] = {
    "Saliency": Saliency,
    "Occlusion": (Occlusion, {"patch_size": 4, "patch_stride": 4}),
    "by a function": lambda model: IntegratedGradients(model, steps=4),
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((N, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.convolutional_craft(images, 3)


@pytest.fixture(scope="module")
def targets(craft: xc.Craft) -> np.ndarray:
    return planted.one_hot([craft.class_id] * N, 3)


@pytest.fixture(scope="module")
def comparison(craft: xc.Craft, images: np.ndarray) -> Comparison:
    methods = METHODS | {
        "concepts": ConceptAttribution(craft, output="relevance"),
        "concepts by Occlusion": ConceptAttribution(craft, *METHODS["Occlusion"]),
        "random": None,
    }
    return xc.compare(
        craft,
        images,
        methods=methods,
        photographs=(255 * images).astype(np.uint8),
        measures=[
            Deletion(steps=6),
            Insertion(steps=6),
            MuFidelity(grid_size=3, nb_subsets=40),
            Stability(images=2, nb_neighbours=2),
            Randomisation(images=2),
        ],
        number_of_views=2,
        batch_size=7,
    )


@pytest.fixture(scope="module")
def maps(images: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).random((N, *SIZE)).astype(np.float32)


# ------------------------------------------------------------------------------ against Xplique's
@pytest.mark.parametrize("name", ["Deletion", "Insertion"])
@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_curves_are_those_of_xplique(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    maps: np.ndarray,
    name: str,
    activation: str | None,
) -> None:
    """On average; and those of an image are those of a metric of that image alone."""
    score = ModelScore(
        craft.model, images, targets, activation=activation, batch_size=7, baseline=0.3
    )
    found = curves(score, maps, 5, insertion=name == "Insertion")

    def expected(some: slice) -> list[float]:
        metric = getattr(metrics, name)(
            craft.model,
            images[some],
            targets[some],
            steps=5,
            activation=activation,
            baseline_mode=0.3,
        )
        return list(metric.detailed_evaluate(maps[some, ..., None]).values())

    assert_allclose(found.mean(axis=0), expected(slice(None)), rtol=1e-4, atol=1e-5)
    assert_allclose(found[3], expected(slice(3, 4)), rtol=1e-4, atol=1e-5)


def test_areas_are_those_of_xplique(comparison: Comparison, craft: xc.Craft, images: Any) -> None:
    targets = planted.one_hot([craft.class_id] * N, 3)
    maps = Saliency(craft.model).explain(images, targets)
    measured = comparison.methods[0]
    for name in ("Deletion", "Insertion"):
        metric = getattr(metrics, name)(craft.model, images, targets, steps=6, activation="softmax")
        assert measured.measures[name.lower()].value == pytest.approx(metric(maps), abs=1e-5)


def test_mu_fidelity_is_that_of_xplique(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    maps: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given the same subsets."""
    score = ModelScore(craft.model, images, targets, activation=None, batch_size=64)
    lost, subsets = subset_effects(score, grid=3, share=0.3, samples=30, seed=0)
    assert 0.2 < subsets.mean() < 0.4
    found = mu_fidelity(maps, lost, subsets)
    metric = metrics.MuFidelity(
        craft.model, images, targets, grid_size=3, nb_samples=30, batch_size=N * 30
    )
    kept = np.where(subsets, 0.0, 1.0).astype(np.float32).reshape(30, 3, 3, 1)
    masks = tf.repeat(tf.image.resize(kept, SIZE, method="nearest")[None], N, axis=0)
    inputs = tf.reshape(images[:, None] * masks, (-1, *SIZE, 3))
    monkeypatch.setattr(metric, "_perturb_samples", lambda *_: (inputs, masks))
    assert found.mean() == pytest.approx(metric(maps[..., None]), abs=1e-4)
    assert np.ptp(found) > 0.05


def test_stability_is_that_of_xplique(
    comparison: Comparison, craft: xc.Craft, images: np.ndarray, targets: np.ndarray
) -> None:
    """Given the same noise, and the distance relative to the map."""
    radius = 0.02 * float(images.max() - images.min())
    rng = np.random.default_rng(np.random.SeedSequence([0, 0x401E]))
    noise = rng.uniform(0.0, radius, (2, *SIZE, 3)).astype(np.float32)
    metric = metrics.AverageStability(
        craft.model,
        images[:2],
        targets[:2],
        nb_samples=2,
        distance=lambda near, own: np.linalg.norm(near - own) / np.linalg.norm(own),
    )
    metric.noisy_masks = noise
    expected = metric(Saliency(craft.model))
    assert comparison.methods[0].measures["stability"].value == pytest.approx(expected, rel=1e-3)


def test_randomisation_is_that_of_xplique(
    comparison: Comparison, craft: xc.Craft, images: np.ndarray, targets: np.ndarray
) -> None:
    """Its clone is another draw: the last of five layers of weights is at random in both."""
    expected = metrics.ModelRandomizationMetric(craft.model, images[:2], targets[:2], seed=0)(
        Saliency(craft.model)
    )
    assert comparison.methods[0].measures["randomisation"].value == pytest.approx(
        expected, abs=1e-4
    )


def test_gradcam_is_made_anew_of_the_randomised_model(craft: xc.Craft, images: np.ndarray) -> None:
    """Xplique's own metric sees no change in it: it is compiled with the first model."""
    cam = {"cam": (GradCAM, {"conv_layer": planted.LAYER})}
    found = xc.compare(craft, images, methods=cam, measures=[Randomisation(images=N)])
    assert found.methods[0].measures["randomisation"].value < 1.0 - 1e-3


def test_rank_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, (3, 20)), rng.random((3, 20))
    second[2] = 1.0
    found = rank_correlation(first, second)
    expected = [spearmanr(a, b)[0] for a, b in zip(first[:2], second[:2], strict=True)]
    assert_allclose(found, [*expected, 0.0])


# --------------------------------------------------------------------------------- what is counted
def test_passes_of_every_method(comparison: Comparison) -> None:
    """Of images through the model, counted inside of it."""
    counted = {method.name: method.passes for method in comparison.methods}
    assert counted == {
        "Saliency": 1,
        "Occlusion": 12 + 1,
        "by a function": 4,
        "concepts": 1,
        "concepts by Occlusion": 1 + 12 + 1,
        "random": 0,
    }


def test_seconds_are_of_one_image(comparison: Comparison) -> None:
    for method in comparison.methods:
        assert 0.0 < method.seconds < 60.0


# ------------------------------------------------------------------------------------- the record
def test_estimates_are_means_in_their_intervals(comparison: Comparison) -> None:
    for method in comparison.methods:
        expected = {"deletion", "insertion", "mu_fidelity"}
        if method.name != "random":
            expected |= {"stability", "randomisation"}
        assert set(method.measures) == set(method.per_image) == expected
        for key, estimate in method.measures.items():
            values = method.per_image[key]
            assert len(values) == (2 if key in ("stability", "randomisation") else N)
            assert estimate.value == pytest.approx(values.mean())
            assert estimate.low <= estimate.value <= estimate.high
            assert (estimate.high > estimate.low) == (np.ptp(values) > 0.0)


def test_intervals_end_where_the_measure_does() -> None:
    """Those of two images reach beyond them; a correlation is at most 1."""
    values = np.array([0.5, 1.0])
    bounded = _estimate(values, Randomisation.column.bounds, 0)
    free = _estimate(values, Insertion.column.bounds, 0)
    assert bounded.high == 1.0 < free.high
    assert bounded.low == free.low < 0.5


def test_maps_are_the_methods_own(
    comparison: Comparison, craft: xc.Craft, images: np.ndarray
) -> None:
    assert comparison.photographs.shape == (2, *SIZE, 3)
    assert comparison.titles == ["image 0", "image 1"]
    shown = comparison.methods[3]
    assert shown.output == "relevance"
    expected = ConceptAttribution(craft, output="relevance").explain(images[:2])
    assert_allclose(shown.maps, expected[..., 0], rtol=1e-4, atol=1e-6)


def test_better_maps_score_better() -> None:
    """Where it is known what matters: maps of the squares against maps at random."""
    places = [(0, 4), (8, 12), (4, 0), (8, 0), (0, 16), (4, 12)]
    squares = np.stack([planted.square((16, 24), *place, 8, 0) for place in places])
    model = planted.network(np.eye(3), "relu", size=(16, 24))
    for name in ("hidden", "logits"):
        layer = model.get_layer(name)
        layer.set_weights([np.abs(layer.get_weights()[0]), 0.0 * layer.get_weights()[1]])
    craft = planted.fitted(model, np.eye(3), squares)
    found = xc.compare(
        craft,
        squares,
        methods=["ConceptActivation", "random"],
        measures=[Deletion(), Insertion(), MuFidelity()],
        activation=None,
    )
    concepts, noise = found.methods
    assert concepts.measures["deletion"].high < noise.measures["deletion"].low
    assert concepts.measures["insertion"].low > noise.measures["insertion"].high
    assert concepts.measures["mu_fidelity"].value > 0.9 > noise.measures["mu_fidelity"].value
    assert found.best("deletion") is found.best("insertion") is concepts
    assert found.best("stability") is None


def test_the_table(comparison: Comparison) -> None:
    lines = comparison.table().splitlines()
    assert len(lines) == 7
    assert lines[0].split()[:4] == ["method", "s", "/", "image"]
    assert [one.key for one in comparison.measures] == list(comparison.methods[0].measures)
    for measure in comparison.measures:
        assert measure.name in lines[0]
    assert lines[1].startswith("Saliency")
    assert str(comparison.methods[0].measures["deletion"]) in lines[1]
    assert lines[6].split()[-2:] == ["-", "-"]


def test_the_same_again(craft: xc.Craft, images: np.ndarray) -> None:
    measures = [
        Deletion(steps=3),
        Insertion(steps=3),
        MuFidelity(nb_subsets=9),
        Stability(images=1),
        Randomisation(images=1),
    ]
    settings: dict[str, Any] = {
        "methods": {"Rise": (Rise, {"nb_samples": 20})},
        "measures": measures,
    }
    first, second = (xc.compare(craft, images, **settings) for _ in range(2))
    for key, values in first.methods[0].per_image.items():
        assert_allclose(second.methods[0].per_image[key], values, atol=1e-6)
    other = xc.compare(craft, images, seed=1, **settings)
    assert (
        np.abs(
            other.methods[0].per_image["deletion"] - first.methods[0].per_image["deletion"]
        ).max()
        > 0
    )
    assert_array_equal(first.photographs, np.empty((0, *SIZE, 3)))


def test_methods_by_their_names(craft: xc.Craft, images: np.ndarray) -> None:
    """All of them, with the settings they have there."""
    found = xc.compare(craft, images[:1], measures=[Deletion(steps=1)])
    names = [method.name for method in found.methods]
    assert names[:2] == ["Saliency", "GradientInput"]
    assert names[-3:] == ["ConceptActivation", "ConceptRelevance", "ConceptDetailed"]
    assert len(names) == 14
    counted = {method.name: method.passes for method in found.methods}
    assert counted["Rise"] == 500
    assert counted["ConceptActivation"] == 1
    assert counted["ConceptDetailed"] == 17


@dataclass(frozen=True)
class Mass(MapMeasure):
    """What maps sum to, of the first images; maps at random are not asked."""

    images: int
    column = Measure("mass", "Mass", 1, "What it sums to.")

    def prepare(self, task: Task) -> tuple[Measure, Any]:
        def score(explainer: Any, maps: np.ndarray) -> np.ndarray | None:
            found = maps[: self.images].sum(axis=(1, 2))
            return None if explainer.method.is_floor else found

        return replace(self.column, number_of_images=self.images), score


def test_a_measure_of_ones_own(craft: xc.Craft, images: np.ndarray, tmp_path: Path) -> None:
    """Beside those of the package, in the order they are asked for: table, figure, page."""
    found = xc.compare(
        craft, images, methods=["Saliency", "random"], measures=[Mass(2), Deletion(steps=1)]
    )
    assert [one.key for one in found.measures] == ["mass", "deletion"]
    own, floor = found.methods
    expected = Saliency(craft.model).explain(images[:2], planted.one_hot([craft.class_id] * 2, 3))
    assert_allclose(own.per_image["mass"], np.sum(expected, axis=(1, 2, 3)), rtol=1e-4)
    assert own.measures["mass"].value == pytest.approx(own.per_image["mass"].mean())
    assert set(own.curves) == {"deletion"}
    assert set(floor.per_image) == {"deletion"}
    assert found.best("mass") is own
    assert found.table().splitlines()[0].split()[5:] == ["Mass", "Deletion"]
    ax = xc.plots.method_scores(found, "mass")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Saliency"]
    text = xc.report.write_comparison(found, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<div><dt>Mass</dt><dd>What it sums to.</dd></div>" in text
    assert "<dd>5 <small>2 for mass</small></dd>" in text
    assert 'id="scores-mass' in text


def test_of_maps_at_random_alone(craft: xc.Craft, images: np.ndarray) -> None:
    """There is no column of what they are not asked."""
    found = xc.compare(craft, images, methods=["random"], measures=[Mass(2), Deletion(steps=1)])
    assert [one.key for one in found.measures] == ["deletion"]


def test_measures_that_are_asked_for_by_default(craft: xc.Craft, images: np.ndarray) -> None:
    found = xc.compare(craft, images[:1], methods=["Saliency"])
    assert [one.key for one in found.measures] == [one.key for one in MEASURES]
    assert found.methods[0].curves["deletion"].shape == (1, 21)
    few = {one.key for one in found.measures if one.number_of_images == 1}
    assert {"stability", "randomisation"} <= few
    assert not {"deletion", "insertion", "mu_fidelity"} & few


# ------------------------------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"methods": ["Occlusoin"]},
            ValueError,
            "'Occlusoin', which is none of .*Did you mean 'Oc",
        ),
        ({"methods": []}, ValueError, "methods must name at least one of"),
        ({"methods": {"x": 3}}, TypeError, r"methods\['x'\] must be a class of xplique.attr"),
        ({"methods": {"x": "Saliency"}}, TypeError, r"methods\['x'\] must be a class"),
        ({"activation": "tanh"}, ValueError, "None, 'softmax' or 'sigmoid', received 'tanh'"),
        ({"measures": []}, ValueError, r"measures must be one or more, .* the keys \[\]"),
        ({"measures": [Deletion(), Deletion(steps=3)]}, ValueError, "'deletion', 'deletion'"),
        ({"measures": ["deletion"]}, TypeError, r"objects as Deletion\(\) .* received 'deletion'"),
        ({"measures": [Deletion]}, TypeError, r"objects as Deletion\(\) .* received <class"),
        ({"titles": ["a"]}, ValueError, "titles must name 5 images, received 1"),
        (
            {"photographs": np.zeros((2, 8, 8, 3))},
            ValueError,
            r"must have shape \(5, H, W, 3\) or .* received \(2, 8, 8, 3\)",
        ),
        (
            {"photographs": np.zeros((5, 8, 8, 4))},
            ValueError,
            r"\(5, H, W, 3\) or .* received \(5, 8, 8, 4\)",
        ),
        ({"photographs": np.full((5, 8, 8, 3), 0.5)}, ValueError, "to 0.5: .* multiply them by"),
        ({"targets": 7}, ValueError, "targets holds class indices from 7 to 7"),
    ],
)
def test_arguments_that_do_not_fit(
    craft: xc.Craft,
    images: np.ndarray,
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        xc.compare(craft, images, **{"methods": ["Saliency"], **arguments})


@pytest.mark.parametrize(
    ("measure", "settings", "error", "message"),
    [
        (Deletion, {"steps": 0}, ValueError, "steps must be at least 1"),
        (Insertion, {"steps": 1.5}, TypeError, "steps must be an integer, received 1.5"),
        (MuFidelity, {"grid_size": 0}, ValueError, "grid_size must be at least 1"),
        (MuFidelity, {"nb_subsets": 1}, ValueError, "nb_subsets must be at least 2"),
        (MuFidelity, {"subset_share": 1.5}, ValueError, r"subset_share must be in \(0, 1\)"),
        (Stability, {"images": 0}, ValueError, "images must be at least 1"),
        (Stability, {"nb_neighbours": 0}, ValueError, "nb_neighbours must be at least 1"),
        (Stability, {"radius": -1}, ValueError, r"radius must be in \(0, 1e6\], received -1"),
        (Stability, {"radius": np.nan}, ValueError, r"radius must be in \(0, 1e6\], received nan"),
        (Stability, {"radius": np.inf}, ValueError, r"radius must be in \(0, 1e6\], received inf"),
        (Stability, {"radius": 0.0}, ValueError, r"radius must be in \(0, 1e6\], received 0"),
        (Randomisation, {"images": 0}, ValueError, "images must be at least 1"),
    ],
)
def test_settings_of_measures(
    measure: Any, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        measure(**settings)


def test_datasets_are_refused(craft: xc.Craft, images: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"inputs must be an array .* received .*Dataset"):
        xc.compare(craft, tf.data.Dataset.from_tensor_slices(images))


def test_concept_maps_at_their_defaults_are_no_heatmaps(
    craft: xc.Craft, images: np.ndarray
) -> None:
    """Class maps by default are of relevance, those by crops of activation."""
    methods = {
        "default": ConceptAttribution(craft),
        "crops": ConceptAttribution(craft, by="crops"),
        "Saliency": Saliency,
    }
    found = xc.compare(craft, images, methods=methods, measures=[Deletion(steps=2)])
    outputs = {method.name: method.output for method in found.methods if not method.is_floor}
    assert outputs == {"default": "relevance", "crops": "activation", "Saliency": None}
