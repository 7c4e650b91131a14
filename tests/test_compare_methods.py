"""What is compared: what fails, what draws, what explains nothing; and what explaining costs."""

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from warned import ours
from xplique.attributions import Rise, Saliency, SmoothGrad
from xplique.attributions.base import BlackBoxExplainer

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.comparison import (
    Comparison,
    Deletion,
    Insertion,
    MuFidelity,
    Randomisation,
    Stability,
    Task,
    measures,
    timing,
)
from xplique_craft.comparison.fidelity import ModelScore
from xplique_craft.comparison.method_maps import MethodExplainer, make_explainer
from xplique_craft.comparison.methods import KNOWN, Method, check_names, methods_of
from xplique_craft.comparison.robustness import randomised, relative_distance
from xplique_craft.comparison.run import _estimate
from xplique_craft.comparison.timing import passes, seconds_and_maps
from xplique_craft.targets import describe_targets

SIZE = (8, 12)
N = 4
QUICK = (Deletion(steps=2), Insertion(steps=2), MuFidelity(grid_size=2, nb_subsets=4))


def robust(images: int, radius: float | None = None) -> tuple[Any, ...]:
    """All measures, of which those that explain images again are of so many."""
    return *QUICK, Stability(images=images, radius=radius), Randomisation(images=images)


def task_of(model: keras.Model, images: np.ndarray, targets: np.ndarray) -> Task:
    score = ModelScore(model, images, targets, activation=None, batch_size=64)
    return Task(model, images, targets, score, 0)


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
def kmeans(craft: xc.Craft, images: np.ndarray) -> xc.Craft:
    """Its concepts have no gradient."""
    found = xc.Craft.from_model(craft.split, number_of_concepts=2, factorizer="kmeans")
    found.fit(images, craft.class_id)
    return found


class Given:
    """Explains by a function images -> maps."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.function = function

    def explain(self, inputs: Any, targets: Any) -> np.ndarray:
        return self.function(np.asarray(inputs))


def given(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[keras.Model], Given]:
    return lambda model: Given(function)


def raising(images: np.ndarray) -> np.ndarray:
    raise RuntimeError("no memory\n   is left.")


def brightness(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=-1)


# ---------------------------------------------------------------------------- what can be made
def test_only_what_is_wanted_is_made(kmeans: xc.Craft, images: np.ndarray) -> None:
    found = xc.compare(kmeans, images, methods=["Saliency"], measures=QUICK)
    assert found.methods[0].has("deletion")
    with pytest.raises(ValueError, match="IntegratedGradients needs the gradient of the concepts"):
        xc.compare(kmeans, images, methods=["Saliency", "ConceptDetailed"], measures=QUICK)


def test_of_all_methods_those_that_can_be_made(kmeans: xc.Craft) -> None:
    with pytest.warns(UserWarning, match="methods leaves 'ConceptDetailed' out: .* gradient"):
        found = methods_of(kmeans, None, SIZE, 64)
    assert [one.name for one in found] == [name for name in KNOWN if name != "ConceptDetailed"]


@pytest.mark.parametrize("side", [20, 96, 100, 224])
def test_patches_are_of_two_strides(craft: xc.Craft, side: int) -> None:
    """Else some places are in more patches than others, and maps have a grid."""
    (method,) = methods_of(craft, ["Occlusion"], (side, side + 3), 64)
    explainer = method.make(craft.model)
    patch, stride = (
        np.unique(one).tolist() for one in (explainer.patch_size, explainer.patch_stride)
    )
    assert stride == [side // 14]
    assert patch == [2 * (side // 14)]


def test_names_that_no_method_has() -> None:
    check_names(KNOWN)
    with pytest.raises(ValueError, match=r"'Rize', which is none of .* Did you mean 'Rise'\?"):
        check_names(["Saliency", "Rize"])


# ------------------------------------------------------------------------------- what fails
@pytest.fixture(scope="module")
def partly(craft: xc.Craft, images: np.ndarray) -> tuple[Comparison, list[str], list[str]]:
    """Three methods of five fail; with what was said, and in which order things were done."""
    done = []

    def looked_for(model: keras.Model) -> Any:
        done.append("made the last")
        return next(layer for layer in model.layers if layer.name == "none")

    def looks(images: np.ndarray) -> np.ndarray:
        done.append("explained the first")
        return brightness(images)

    methods = {
        "first": given(looks),
        "raises": given(raising),
        "NaN": given(lambda images: np.nan * brightness(images)),
        "floor": None,
        "cannot be made": looked_for,
    }
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = xc.compare(craft, images, methods=methods, measures=robust(2), number_of_views=2,
                           photographs=(255 * images).astype(np.uint8))  # fmt: skip
    said = ours(said)
    assert {warning.filename for warning in said} == {__file__}
    return found, [str(warning.message) for warning in said], done


def test_one_that_fails_keeps_the_others(
    partly: tuple[Comparison, list[str], list[str]], craft: xc.Craft, images: np.ndarray
) -> None:
    found, said, _ = partly
    reasons = {one.name: one.failed for one in found.methods}
    assert reasons == {
        "first": None,
        "raises": "no memory is left",
        "NaN": "its maps of the images are not finite",
        "floor": None,
        "cannot be made": "it looks for a layer with filters, a convolution, and the model has "
        "none",
    }
    for name, reason in reasons.items():
        expected = f"methods[{name!r}] has no numbers, for it failed: {reason}."
        assert (expected in said) == (reason is not None)
    alone = xc.compare(craft, images, methods={"first": given(brightness)}, measures=robust(2))
    for key, values in alone.methods[0].per_image.items():
        assert_array_equal(found.methods[0].per_image[key], values)
    assert found.methods[1].measures == found.methods[1].per_image == {}
    assert len(found.methods[1].maps) == 0


def test_what_cannot_be_made_is_known_at_once(
    partly: tuple[Comparison, list[str], list[str]],
) -> None:
    assert partly[2][0] == "made the last"
    assert "explained the first" in partly[2]
    assert partly[1][0].startswith("methods['cannot be made']")


def test_the_table_says_why(partly: tuple[Comparison, list[str], list[str]]) -> None:
    found = partly[0]
    lines = found.table().splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [one.name for one in found.methods]
    assert lines[2] == "raises          failed: no memory is left"
    assert lines[1].index("0.") == lines[0].index("s / image") == lines[2].index("failed")
    assert all(found.best(key).name == "first" for key in ("deletion", "stability"))


def test_nothing_is_left_if_all_fail(craft: xc.Craft, images: np.ndarray) -> None:
    methods = {"broken": given(raising), "floor": None}
    with pytest.raises(ValueError, match=r"and all fail\. broken: no memory is left"):
        xc.compare(craft, images, methods=methods, measures=QUICK)


def test_noisy_copies_and_clones_that_fail(craft: xc.Craft, images: np.ndarray) -> None:
    def of_no_other(images: np.ndarray) -> np.ndarray:
        maps = brightness(images)
        return maps if (images <= 1.0).all() else np.nan * maps

    methods = {"of no other": given(of_no_other), "good": given(brightness)}
    with pytest.warns(UserWarning, match="failed: its maps of noisy copies are not finite"):
        found = xc.compare(craft, images, methods=methods, measures=robust(1, 9.0))
    assert found.methods[0].failures == {"stability": "its maps of noisy copies are not finite"}
    assert set(found.methods[0].measures) == set(found.methods[1].measures) - {"stability"}


def test_gradcam_of_a_model_without_convolutions() -> None:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Dense(5, activation="relu", name="colours")(image)
    x = keras.layers.Reshape((64, 5), name=planted.LAYER)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    planted_images = planted.paintings(3)
    craft = planted.fitted(model, np.eye(2, 5), planted_images)
    with pytest.warns(UserWarning, match=r"\['GradCAM'\] has no numbers, .* filters, a convolut"):
        found = xc.compare(craft, planted_images, methods=["GradCAM", "Saliency"], measures=QUICK)
    assert found.methods[0].failed.endswith("the model has none")
    assert found.methods[1].has("insertion")


# ---------------------------------------------------------------------- what explains nothing
def test_maps_of_nothing_do_not_win(craft: xc.Craft, images: np.ndarray) -> None:
    """Of zeros, and of ones, noise and other weights change nothing; that is no merit."""
    methods = {
        "zeros": given(lambda images: 0.0 * brightness(images)),
        "ones": given(lambda images: 0.0 * brightness(images) + 1.0),
        "Saliency": Saliency,
    }
    found = xc.compare(craft, images, methods=methods, measures=robust(2))
    for one in found.methods[:2]:
        assert one.has("deletion")
        for key in ("stability", "randomisation"):
            assert np.isnan(one.per_image[key]).all()
            assert np.isnan(one.measures[key].value)
            assert found.best(key) is found.methods[2]
    lines = found.table().splitlines()
    assert [line.split()[-2:] == ["-", "-"] for line in lines[1:]] == [True, True, False]
    assert "nan" not in found.table()


def test_means_are_over_images_that_have_a_score() -> None:
    found = _estimate(np.array([0.1, np.nan, 0.3]), Stability.column.bounds, 0)
    assert found.value == pytest.approx(0.2)
    assert 0.0 < found.low < 0.2 < found.high


def test_distances_are_shares_of_the_map() -> None:
    maps = np.stack([np.eye(3), np.ones((3, 3)), np.ones((3, 3)) + 1e-8 * np.eye(3)])
    moved = np.stack([2.0 * maps, maps], axis=1)
    assert_allclose(relative_distance(moved, maps), [0.5, np.nan, np.nan])


# --------------------------------------------------------------------------------- floor, class
def test_the_floor_by_any_name(craft: xc.Craft, images: np.ndarray) -> None:
    methods = {"chance": None, "random": given(brightness)}
    found = xc.compare(craft, images, methods=methods, measures=robust(1))
    assert [one.is_floor for one in found.methods] == [True, False]
    assert [one.name for one in found.heatmaps] == ["random"]
    assert {found.best(key).name for key in ("deletion", "insertion", "mu_fidelity")} == {"random"}
    assert not found.methods[0].has("stability")
    assert found.methods[0].passes == 0


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ([[0, 0, 1]] * 2, "class 2"),
        ([[0, 0, 1], [0, 1, 0]], "several targets"),
        ([[-1, 0, 1]] * 2, "class 2 instead of class 0"),
        ([[1, 0, 1]] * 2, "several classes together"),
    ],
)
def test_names_of_targets(weights: list[list[int]], name: str) -> None:
    assert describe_targets(np.array(weights, np.float32)) == name


def test_the_class_that_is_explained(craft: xc.Craft, images: np.ndarray) -> None:
    other = (craft.class_id + 1) % 3
    settings = {"methods": {"x": given(brightness)}, "measures": QUICK}
    assert xc.compare(craft, images, **settings).class_name == f"class {craft.class_id}"
    assert xc.compare(craft, images, other, **settings).class_name == f"class {other}"


# ----------------------------------------------------------------------------- layers at random
@pytest.mark.parametrize(("layers", "changed"), [(1, 1), (2, 1), (3, 1), (4, 1), (8, 2)])
def test_the_last_quarter_is_at_random(layers: int, changed: int) -> None:
    model = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(2) for _ in range(layers))])
    clone, counted = randomised(model, 0)
    assert counted == (changed, layers)
    same = [
        np.array_equal(a.get_weights()[0], b.get_weights()[0])
        for a, b in zip(model.layers, clone.layers, strict=True)
    ]
    assert same == [True] * (layers - changed) + [False] * changed
    bare = keras.Sequential([keras.Input((3,)), keras.layers.ReLU()])
    assert randomised(bare, 0) == (None, (0, 0))


def test_how_many_layers_is_said(craft: xc.Craft, images: np.ndarray) -> None:
    methods = {"x": given(brightness)}
    found = xc.compare(craft, images, methods=methods, measures=robust(1))
    said = found.measure("randomisation").meaning
    assert said == f"{Randomisation.column.meaning} Here: 1 of 5 layers with weights."
    without = xc.compare(craft, images, methods=methods, measures=QUICK)
    assert [one.key for one in without.measures] == ["deletion", "insertion", "mu_fidelity"]


def test_a_model_without_weights_has_none_at_random(craft: xc.Craft, images: np.ndarray) -> None:
    """So there is no such column."""
    bare = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.GlobalAveragePooling2D()])
    _, score = Randomisation().prepare(task_of(bare, images, planted.one_hot([0] * N, 3)))
    explainer = make_explainer(Method("x", given(brightness)), bare, 0)
    assert score(explainer, brightness(images)) is None


# --------------------------------------------------------------------------------- what draws
@pytest.mark.parametrize(
    ("make", "settings"),
    [(Rise, {"nb_samples": 20, "grid_size": 3}), (SmoothGrad, {"nb_samples": 3})],
)
def test_draws_are_the_same_for_every_image(
    craft: xc.Craft,
    images: np.ndarray,
    targets: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    settings: dict[str, int],
) -> None:
    """So no noise moves no map, and other weights that are the same change none."""
    method = Method("x", lambda model: make(model, **settings))
    explainer = make_explainer(method, craft.model, 0)
    maps = explainer.explain(images, targets)
    task = task_of(craft.model, images[1:3], targets[1:3])
    monkeypatch.setattr(measures, "randomised", lambda model, seed: (model, (0, 5)))
    _, stability = Stability(images=2, nb_neighbours=2, radius=1e-30).prepare(task)
    assert_allclose(stability(explainer, maps[1:3]), 0.0, atol=1e-4)
    _, randomisation = Randomisation(images=2).prepare(task)
    assert_allclose(randomisation(explainer, maps[1:3]), 1.0, atol=1e-4)
    other = make_explainer(method, craft.model, 1).explain(images[:1], targets[:1])
    assert np.abs(other - maps[:1]).max() > 0.01 * np.abs(maps).max()


# ------------------------------------------------------------------------------- what it costs
class Clocked:
    """Explains in seconds of a clock of its own: more at first, and in the first such batch."""

    def __init__(self, first: float, of_a_batch: float, each: float) -> None:
        self.now, self.calls = 0.0, []
        self.first, self.of_a_batch, self.each = first, of_a_batch, each

    def explain(self, inputs: Any, targets: Any) -> np.ndarray:
        self.now += self.each * len(inputs)
        if not self.calls:
            self.now += self.first
        if len(inputs) not in self.calls:
            self.now += self.of_a_batch
        self.calls.append(len(inputs))
        return brightness(inputs)


@pytest.mark.parametrize(
    ("first", "of_a_batch", "each", "runs"),
    [
        (500.0, 0.0, 0.1, 3),  # what is made once
        (0.0, 5.0, 0.1, 3),  # what is made once a batch
        (500.0, 0.0, 9.0, 0),  # so long that it is not run again
    ],
)
def test_seconds_are_without_what_is_made_once(
    images: np.ndarray,
    targets: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    first: float,
    of_a_batch: float,
    each: float,
    runs: int,
) -> None:
    clocked = Clocked(first, of_a_batch, each)
    monkeypatch.setattr(timing, "perf_counter", lambda: clocked.now)
    method = Method("x", lambda model: clocked)
    seconds, maps = seconds_and_maps(MethodExplainer(method, clocked, 0), images, targets)
    assert seconds == pytest.approx(each)
    assert_array_equal(maps, brightness(images))
    assert clocked.calls == [1, N] + [N] * runs


def test_what_cannot_be_counted(craft: xc.Craft, images: np.ndarray, targets: np.ndarray) -> None:
    def of_this_alone(model: keras.Model) -> Given:
        assert model is craft.model
        return Given(brightness)

    assert passes(Method("x", of_this_alone), craft.model, images[0], targets[0]) is None


@pytest.fixture
def cache() -> Iterator[dict[Any, keras.Model]]:
    """Xplique's, of all models that were ever explained."""
    before = dict(BlackBoxExplainer._cache_models)
    yield BlackBoxExplainer._cache_models
    BlackBoxExplainer._cache_models.clear()
    BlackBoxExplainer._cache_models.update(before)


def test_no_model_stays_behind(
    craft: xc.Craft, images: np.ndarray, cache: dict[Any, keras.Model]
) -> None:
    """Neither one that counts, nor one with layers at random, nor an encoder of concepts."""
    cache.clear()
    explained = []

    def saliency(model: keras.Model) -> Saliency:
        explained.append(weakref.ref(model))
        return Saliency(model)

    saliency(craft.model)
    before = set(cache)
    assert len(before) == 1
    methods = {"Saliency": saliency, "detailed": ConceptAttribution(craft, detail=1.0)}
    for key in set(cache) - before:
        del cache[key]
    xc.compare(craft, images[:1], methods=methods, measures=robust(1))
    assert set(cache) == before
    gc.collect()
    alive = {id(model()) for model in explained if model() is not None}
    assert alive == {id(craft.model)}
    assert len(explained) == 4
