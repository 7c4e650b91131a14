"""What a map depends on: its image, its target, the bank and the seed; and on nothing else."""

import copy
import gc
import weakref
from pathlib import Path
from typing import Any

import explainers
import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
import xplique.attributions
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions import GuidedBackprop, HsicAttributionMethod, Occlusion, Saliency
from xplique.attributions.base import BlackBoxExplainer

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.factorization import KMeans

SIZE = (8, 12)
DRAWING = {  # what they draw, they draw in batches of their own
    "KernelShap": {"nb_samples": 30, "batch_size": 16},
    "Rise": {"nb_samples": 40, "grid_size": 4, "batch_size": 16},
    "SmoothGrad": {"nb_samples": 4, "batch_size": 16},
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((6, *SIZE, 3)).astype(np.float32)


def fitted(images: np.ndarray, **settings: Any) -> xc.Craft:
    return planted.convolutional_craft(images, 3, **settings)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return fitted(images)


def by(craft: xc.Craft, name: str, **settings: Any) -> ConceptAttribution:
    explainer = getattr(xplique.attributions, name)
    return ConceptAttribution(craft, explainer, DRAWING.get(name), **settings)


# --------------------------------------------------------------------------- images and their draws
@pytest.mark.parametrize("output", ["activation", "relevance"])
def test_a_shuffled_dataset_is_read_once(craft: xc.Craft, images: np.ndarray, output: str) -> None:
    """Contributions and an explainer's maps are of the same image, in whatever order they come."""
    attribution = ConceptAttribution(craft, Saliency, batch_size=2, output=output, detail=0.5)
    expected = attribution.explain(images).numpy()
    shuffled = tf.data.Dataset.from_tensor_slices(images).shuffle(6, seed=1)
    found = attribution.explain(shuffled).numpy()
    scale = np.abs(expected).max()
    distances = np.abs(found[:, None] - expected[None]).max(axis=(2, 3, 4))
    assert (distances.min(axis=1) < 1e-4 * scale).all()
    assert sorted(distances.argmin(axis=1)) == list(range(6))


@pytest.mark.parametrize("output", ["activation", "relevance"])
@pytest.mark.parametrize("name", DRAWING)
def test_draws_are_of_the_seed_whatever_the_batch(
    craft: xc.Craft, images: np.ndarray, name: str, output: str
) -> None:
    """An image alone, and as the third of its batch."""
    attribution = by(craft, name, output=output)
    together = attribution.explain_concepts(images[:3])
    alone = attribution.explain_concepts(images[2:3])
    assert_allclose(alone[0], together[2], rtol=0.0, atol=1e-5 * np.abs(together).max())
    class_maps = attribution.explain(images[:3]).numpy()
    class_map = by(craft, name, output=output, batch_size=1).explain(images[2:3]).numpy()
    assert_allclose(class_map[0], class_maps[2], rtol=0.0, atol=1e-5 * np.abs(class_maps).max())


def test_a_class_map_of_rise_is_the_sum_of_its_concept_maps(
    craft: xc.Craft, images: np.ndarray
) -> None:
    """Of relevance, but for a constant: the same masks for all of them, for every image."""
    attribution = by(craft, "Rise", output="relevance", residual=False)
    whole = attribution.explain(images[:3]).numpy()[..., 0]
    parts = attribution.explain_concepts(images[:3]).sum(axis=-1)
    difference = whole - parts
    assert np.ptp(difference, axis=(1, 2)).max() < 1e-4 * np.ptp(whole, axis=(1, 2)).min()


# --------------------------------------------------------------------------------- bank and model
def test_a_new_fit_is_seen(images: np.ndarray) -> None:
    """By an attribution that was made before, in its explainer and its details too."""
    craft = fitted(images)
    attribution = ConceptAttribution(craft, Saliency, detail=1.0)
    first = attribution.explain(images[:2]).numpy()
    craft.fit(images[3:], craft.class_id)
    again = attribution.explain(images[:2]).numpy()
    expected = ConceptAttribution(craft, Saliency, detail=1.0).explain(images[:2]).numpy()
    assert_allclose(again, expected, rtol=0.0, atol=1e-6 * np.abs(expected).max())
    assert np.abs(again - first).max() > 1e-3 * np.abs(first).max()


def doubled(model: Any, inputs: Any, targets: Any) -> Any:
    """An operator whose maps of relevance are twice those of the default score."""
    return 2.0 * planted.by_sampling(model, inputs, targets)


@pytest.mark.parametrize(("setting", "value"), [("keep_residual", False), ("operator", doubled)])
def test_a_new_setting_is_seen_by_the_explainer(
    craft: xc.Craft, images: np.ndarray, setting: str, value: Any
) -> None:
    """Set afterwards, it gives the maps of an attribution that was made with it."""
    attribution = ConceptAttribution(craft, Saliency, output="relevance")
    first = attribution.explain_concepts(images[:2])
    setattr(attribution, setting, value)
    found = attribution.explain_concepts(images[:2])
    other = ConceptAttribution(craft, Saliency, output="relevance")  # of which no map was made yet
    setattr(other, setting, value)
    assert_allclose(found, other.explain_concepts(images[:2]), rtol=1e-6)
    assert np.abs(found - first).max() > 1e-3 * np.abs(first).max()


def test_a_new_batch_size_is_seen_by_the_explainer(craft: xc.Craft, images: np.ndarray) -> None:
    attribution = by(craft, "Saliency", batch_size=4)
    attribution.explain_concepts(images[:2])
    attribution.batch_size = 2
    attribution.explain_concepts(images[:2])
    assert attribution._explained._of_activation.explainer.batch_size == 2


def test_replaced_models_are_let_go(images: np.ndarray) -> None:
    """Nothing of them stays with the concepts, and of several only the last with the explainer."""
    craft = fitted(images)
    attribution = ConceptAttribution(craft, Occlusion, {"patch_size": 4}, detail=0.5)
    expected = attribution.explain(images[:2]).numpy()
    with_concepts, own = set(craft.concepts._made), dict(attribution._maps)
    for seed in (7, 8):
        attribution.model = keras.models.clone_model(craft.model)
        attribution.model.set_weights(planted.convolutional(SIZE, seed=seed).get_weights())
        other = attribution.explain(images[:2]).numpy()
        assert np.abs(other - expected).max() > 1e-2 * np.abs(expected).max()
        assert set(craft.concepts._made) == with_concepts
        assert len(attribution._maps) == 2 * len(own) == 4
        last = {maps.concept_model.model for maps in attribution._maps.values()}
        assert last == {craft.model, attribution.model}
    attribution.model = craft.model
    assert_allclose(attribution.explain(images[:2]).numpy(), expected, rtol=1e-6)
    assert all(attribution._maps[key] is maps for key, maps in own.items())


def test_a_copy_keeps_its_models_to_itself(images: np.ndarray) -> None:
    """As `compare` makes one for each model at random, and lets it go with the model."""
    attribution = ConceptAttribution(fitted(images), Occlusion, {"patch_size": 4}, detail=0.5)
    attribution.explain(images[:2])
    before = attribution._maps
    assert len(before) == 2
    other = copy.copy(attribution)
    other.model = keras.models.clone_model(attribution.model)
    other.explain(images[:2])
    assert len(other._maps) == 4
    assert attribution._maps is before
    assert len(before) == 2


def test_copies_are_made_once_a_call_and_see_changed_weights(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GuidedBackprop explains a copy of the model, which it makes as it is made."""
    made, own = [], GuidedBackprop.__init__

    def counted(self: Any, model: Any, *given: Any, **settings: Any) -> None:
        made.append(model)
        own(self, model, *given, **settings)

    monkeypatch.setattr(GuidedBackprop, "__init__", counted)
    craft = fitted(images)
    attribution = ConceptAttribution(craft, lambda model: GuidedBackprop(model), batch_size=2)
    made.clear()
    first = attribution.explain_concepts(images, 0)
    assert len(made) == 1
    weights = craft.model.get_layer("first").get_weights()
    craft.model.get_layer("first").set_weights([1.5 * weights[0], weights[1]])
    found = attribution.explain_concepts(images, 0)
    assert np.abs(found - first).max() > 1e-2 * np.abs(first).max()


@pytest.mark.parametrize("name", ["Occlusion", "Saliency"])
def test_many_targets_are_explained_by_one_model(
    craft: xc.Craft, images: np.ndarray, name: str
) -> None:
    """Of relevance, in one call and in several; each map is that of its own target."""
    targets = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    arguments = {"patch_size": 4} if name == "Occlusion" else None
    explainer = getattr(xplique.attributions, name)
    attribution = ConceptAttribution(craft, explainer, arguments, output="relevance")
    found = attribution.explain_concepts(images, targets=targets)
    traces = traces_of(attribution)
    for row in (3, 5, 3):
        one = slice(row, row + 1)
        alone = attribution.explain_concepts(images[one], targets=targets[one])
        assert_allclose(alone[0], found[row], rtol=0.0, atol=1e-5 * np.abs(found).max())
    assert np.abs(found[3] - found[5]).max() > 1e-2 * np.abs(found).max()
    assert traces_of(attribution) == traces


def traces_of(attribution: ConceptAttribution) -> int:
    """How often the gradients of its model of relevance were traced."""
    gradient = attribution._explained._of_relevance.explainer.batch_gradient.__closure__
    if gradient is None:  # it takes none
        return 0
    (operator,) = (cell.cell_contents for cell in gradient)
    return operator.experimental_get_tracing_count()


def test_a_function_that_asks_the_model_is_asked_again_for_another_target(
    craft: xc.Craft, images: np.ndarray
) -> None:
    """What it asked as it made its explainer was of the target before."""

    class Asked(Saliency):
        """Its maps are what it was told as it was made."""

        def __init__(self, model: keras.Model) -> None:
            super().__init__(model)
            self.told = model(images[:1]).numpy().sum()

        def explain(self, inputs: Any, targets: Any = None) -> Any:
            return np.full((*inputs.shape[:3], 1), self.told, np.float32)

    attribution = ConceptAttribution(craft, lambda model: Asked(model), output="relevance")
    found = [attribution.explain_concepts(images[:1], 0, targets=t)[0, 0, 0, 0] for t in (0, 1, 0)]
    assert found[0] == found[2]
    assert found[0] != found[1]


# ------------------------------------------------------------------------------- what is let go
def asked(craft: xc.Craft, images: np.ndarray, name: str | None) -> list[weakref.ref[Any]]:
    """Maps of all kinds, and what should go when the craft does."""
    arguments = {**explainers.ARGUMENTS, None: None}[name] or None
    explainer = None if name is None else getattr(xplique.attributions, name)
    encoding = craft.encoder.get_layer("concept_coefficients")
    kept: list[Any] = [craft, craft.concepts, craft.encoder, encoding, craft.network]
    for output in ("activation", "relevance"):
        detail = 1.0 if output == "activation" else 0.0
        attribution = ConceptAttribution(
            craft, explainer, arguments, output=output, batch_size=2, detail=detail
        )
        attribution.explain(images[:1])
        attribution.explain_concepts(images[:1], 0)
        kept += [attribution, *attribution._maps.values()]
    return [weakref.ref(one) for one in kept]


@pytest.mark.parametrize("name", [None, "Saliency", "Occlusion", "GuidedBackprop"])
def test_what_was_made_of_a_craft_goes_with_it(images: np.ndarray, name: str | None) -> None:
    """Though the model that it explains stays, and Xplique with it."""
    model = planted.convolutional(SIZE)
    before = len(BlackBoxExplainer._cache_models)
    craft = xc.Craft.from_model(model, planted.LAYER, 3)
    craft.fit(images, planted.predicted(model, images))
    kept = asked(craft, images, name)
    assert len(BlackBoxExplainer._cache_models) == before
    del craft
    gc.collect()
    assert [one() for one in kept if one() is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(explainers.ARGUMENTS) - {"FEM"}))
def test_the_model_goes_with_the_craft(images: np.ndarray, name: str) -> None:
    """With every explainer of Xplique, white box or black box."""
    model = planted.convolutional(SIZE)
    craft = xc.Craft.from_model(model, planted.LAYER, 3)
    craft.fit(images, planted.predicted(model, images))
    kept = [weakref.ref(model), *asked(craft, images, name)]
    del craft, model
    gc.collect()
    assert [one() for one in kept if one() is not None] == []


def test_explainers_of_one_model_share_what_is_traced(craft: xc.Craft, images: np.ndarray) -> None:
    """Made once and again, they are as fast as Xplique's own, which share it for ever."""
    made = [ConceptAttribution(craft, Saliency) for _ in range(2)]
    found = [one.explain_concepts(images[:1]) for one in made]
    assert_array_equal(*found)
    functions = [one._explained._of_activation.explainer.batch_gradient for one in made]
    assert functions[0] is functions[1]


def test_an_encoder_is_saved_after_it_was_explained(
    craft: xc.Craft, images: np.ndarray, tmp_path: Path
) -> None:
    """What explainers traced for it is no part of it."""
    ConceptAttribution(craft, Saliency).explain_concepts(images[:1])
    craft.encoder.save(tmp_path / "encoder.keras")
    again = xc.load_model(tmp_path / "encoder.keras")
    assert_allclose(again(images), craft.encoder(images), rtol=1e-6)


# --------------------------------------------------------------------------------- what is needed
def test_activation_asks_of_no_labels(craft: xc.Craft, images: np.ndarray) -> None:
    """Those of a dataset may be of other classes than the model's."""
    labelled = tf.data.Dataset.from_tensor_slices((images, np.arange(6) + 50))
    for name in (None, "Saliency"):
        attribution = ConceptAttribution(craft) if name is None else by(craft, name)
        expected = attribution.explain_concepts(images)
        found = attribution.explain_concepts(labelled.batch(3))
        assert_allclose(found, expected, rtol=0.0, atol=1e-5 * np.abs(expected).max())
    with pytest.raises(ValueError, match="the dataset's labels holds class indices from 50 to"):
        ConceptAttribution(craft, output="relevance").explain_concepts(labelled.batch(3))


def test_pooled_concepts_have_the_places_that_an_explainer_finds() -> None:
    images = planted.paintings(2, (8, 12), seed=1)
    network = planted.network(planted.bank(), latent="pooled", size=(8, 12))
    pooled = planted.fitted(network, planted.bank(), images)
    arguments = {"patch_size": 4, "patch_stride": 4}
    found = ConceptAttribution(pooled, Occlusion, arguments).explain_concepts(images, 1)
    explainer = Occlusion(pooled.encoder, **arguments)
    expected = explainer.explain(images, planted.one_hot([1, 1], 3))
    assert_allclose(found[..., 0], np.asarray(expected)[..., 0], rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="Cut the model at an earlier layer"):
        ConceptAttribution(pooled).explain_concepts(images)


def test_relevance_by_gradients_is_refused_when_it_is_made(images: np.ndarray) -> None:
    clusters = fitted(images, factorizer=KMeans())
    with pytest.raises(ValueError, match="Saliency needs the gradient of the concepts"):
        ConceptAttribution(clusters, Saliency, output="relevance")


# -------------------------------------------------------------------------------------- class token
class ClassToken(layers.Layer):
    """The mean of all tokens before them, squared, so that it is none of them."""

    def call(self, x: Any) -> Any:
        first = keras.ops.square(keras.ops.mean(x, axis=1, keepdims=True))
        return keras.ops.concatenate([first, x], axis=1)

    def compute_output_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return shape[0], shape[1] + 1, shape[2]


@pytest.mark.parametrize("name", [None, "Occlusion"])
@pytest.mark.parametrize("reads", ["class token", "all tokens"])
def test_what_a_class_token_is_worth_is_in_the_class_map(reads: str, name: str | None) -> None:
    """It has no place and is laid out evenly, of concepts and of the residual; the sum is whole."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(5, 1, use_bias=False, activation="relu", name="mix")(image)
    x = layers.Reshape((16, 5))(layers.AveragePooling2D(2)(x))
    x = ClassToken(name=planted.LAYER)(x)
    x = layers.Cropping1D((0, 16))(x) if reads == "class token" else x
    model = keras.Model(image, layers.Dense(3, name="logits")(layers.Flatten()(x)))
    bank = planted.bank()
    model.get_layer("mix").set_weights([bank[None, None]])
    images = planted.paintings(4, (8, 8), seed=1)
    # Named as none, so that it has coefficients as any token: by itself it would be left out.
    craft = planted.fitted(model, bank, images, special_tokens=0)
    explainer = None if name is None else getattr(xplique.attributions, name)
    arguments = None if name is None else {"patch_size": 4, "patch_stride": 4}
    found = craft.contributions(images, 1)
    parts = found.phi.sum(axis=1)
    assert min(np.abs(parts).min(), np.abs(found.residual).min()) > 1e-3
    for residual, total in ((False, parts), (True, found.score - found.base)):
        attribution = ConceptAttribution(
            craft, explainer, arguments, output="relevance", residual=residual
        )
        maps = attribution.explain(images, 1).numpy()
        assert_allclose(maps.mean(axis=(1, 2, 3)) * 16, total, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------ odd concepts
def test_details_leave_out_a_concept_that_is_not_there() -> None:
    """Gates lead towards the mean, so its absence matters; but no pixel shows it."""
    bank = np.eye(3)
    network = planted.network(bank.astype(np.float32), "affine", size=(8, 12))
    weights, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([np.abs(weights), bias])
    fitted_on = planted.paintings(6, (8, 12), seed=1)
    craft = planted.fitted(network, bank, fitted_on, baseline="mean")
    images = fitted_on[:2].copy()
    images[..., 2] = 1e-5 * (1.0 + np.arange(12) / 12)
    sharp = ConceptAttribution(craft, detail=1.0).explain(images, 0).numpy()
    added = sharp - ConceptAttribution(craft).explain(images, 0).numpy()
    expected = (images * np.abs(weights[:, 0])).mean(axis=-1) ** 1.5
    for found, known in zip(added[..., 0], expected, strict=True):
        assert np.corrcoef(found.ravel(), known.ravel())[0, 1] > 0.999


def test_details_where_nothing_speaks_for_the_class(images: np.ndarray) -> None:
    """No pixel stands out, and nothing is divided by nothing."""
    bank = np.eye(3)
    network = planted.network(bank.astype(np.float32), "affine", size=SIZE)
    weights, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([-np.abs(weights), bias])
    craft = planted.fitted(network, bank, images)
    plain = ConceptAttribution(craft).explain(images).numpy()
    assert_allclose(ConceptAttribution(craft, detail=2.0).explain(images).numpy(), plain)


def test_hsic_of_a_concept_that_is_mostly_gone() -> None:
    """Its scores under the masks have the median 0, and they do depend on the masks."""
    bank = np.eye(3)
    image = planted.square((8, 12), 0, 0, 2, 0)[None] + planted.square((8, 12), 4, 4, 4, 1)[None]
    network = planted.network(bank.astype(np.float32), size=(8, 12))
    craft = planted.fitted(network, bank, image)
    arguments = {"grid_size": 4, "nb_design": 60}
    attribution = ConceptAttribution(craft, HsicAttributionMethod, arguments)
    maps = attribution.explain_concepts(image.astype(np.float32))[0]
    assert (np.abs(maps[..., 2]) < 1e-6).all()
    assert np.unravel_index(maps[..., 0].argmax(), (8, 12)) <= (1, 2)
    assert maps[..., 0].max() > 5.0 * np.abs(maps[:, 6:, 0]).max()


def test_maps_that_are_not_finite_are_not_passed_on(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here those of the second concept, and the number of the concept is said."""
    own = Saliency.explain

    def broken(self: Any, inputs: Any, targets: Any = None) -> Any:
        of_second = np.asarray(targets)[:, 1].reshape(-1, 1, 1, 1) > 0
        return np.where(of_second, np.nan, np.asarray(own(self, inputs, targets)))

    monkeypatch.setattr(Saliency, "explain", broken)
    attribution = ConceptAttribution(craft, Saliency)
    for explain in (attribution.explain, attribution.explain_concepts):
        with pytest.raises(ValueError, match="Saliency gives maps of concept 1 that are not fin"):
            explain(images)
    with pytest.raises(ValueError, match="Saliency gives maps that are not finite"):
        ConceptAttribution(craft, Saliency, output="relevance").explain(images)
