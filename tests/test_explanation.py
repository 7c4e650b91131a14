"""Explaining a class: which images are used, for what, and what of it is shown."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft._checks import warn
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.attributions.residual import drawn_residual
from xplique_craft.explanation import explain_class
from xplique_craft.explanation.notes import note_images_left_out
from xplique_craft.importance import SobolImportance
from xplique_craft.results import ClassExplanation
from xplique_craft.sampling.representatives import best_crops

SIZE = (16, 24)
OTHERS = (2, 5, 11, 14)  # images that are not of the class


def pictures() -> np.ndarray:
    """16 pictures, 0 to 255: red prevails but in four, where green does; blue tells them apart."""
    rng = np.random.default_rng(1)
    images = []
    for i in range(16):
        red, green = (5, 9) if i in OTHERS else (9, 5)
        top, left = int(rng.integers(0, 8)), int(rng.integers(0, 3))
        image = planted.square(SIZE, top, left, red, 0)
        image += planted.square(SIZE, int(rng.integers(0, 8)), 24 - green, green, 1)
        image = 200.0 * image
        image[..., 2] = i
        images.append(image)
    return np.stack(images).astype(np.float32)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return pictures()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Class 0 is red, class 1 is green, class 2 is never predicted."""
    model = planted.network(np.eye(3), "affine", size=SIZE)
    kernel = np.array([[1.0, 0.1, 0.0], [-0.2, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    bias = np.array([0.5, 0.5, -1000.0], np.float32)
    model.get_layer("logits").set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def craft(model: keras.Model) -> xc.Craft:
    return xc.Craft.from_model(model, planted.LAYER, 3, batch_size=8)


@pytest.fixture(scope="module")
def explained(craft: xc.Craft, images: np.ndarray) -> tuple[ClassExplanation, xc.Craft]:
    """With the craft as it was fitted for it."""
    own = xc.Craft.from_model(craft.split, None, 3, batch_size=8)
    explanation = explain_class(own, images, 0, number_of_crops=4, number_of_views=20)
    return explanation, own


def numbers(images: np.ndarray) -> list[int]:
    """Which pictures these are, by their blue."""
    return [int(image[0, 0, 2]) for image in images]


def shown(explanation: ClassExplanation) -> list[int]:
    return [int(view.title.removeprefix("image ")) for view in explanation.images]


# ---------------------------------------------------------------------------------- which images
def test_only_images_predicted_as_the_class_are_used(
    explained: tuple[ClassExplanation, xc.Craft],
) -> None:
    explanation, craft = explained
    held = len(explanation.contributions.score)
    assert explanation.number_left_out == 4
    assert explanation.number_of_images + held == 12
    used = numbers(craft.factorization.inputs) + shown(explanation)
    assert sorted(used) == [i for i in range(16) if i not in OTHERS]


def test_held_out_images_are_others_than_those_fitted_on(
    explained: tuple[ClassExplanation, xc.Craft],
) -> None:
    explanation, craft = explained
    fitted = numbers(craft.factorization.inputs)
    assert not set(fitted) & set(shown(explanation))
    assert len(shown(explanation)) == round(0.3 * 12)
    assert explanation.number_of_images == len(fitted) == 8
    assert explanation.quality.number_of_images == 8
    assert explanation.quality_held_out.number_of_images == 4
    assert fitted == sorted(fitted)


def test_the_seed_chooses_which_are_held_out(craft: xc.Craft, images: np.ndarray) -> None:
    held = []
    for seed in (0, 0, 1):
        other = xc.Craft.from_model(craft.split, None, 3, seed=seed)
        explanation = explain_class(other, images, 0, number_of_views=20)
        assert explanation.seed == seed
        held.append(shown(explanation))
    assert held[0] == held[1]
    assert held[0] != held[2]


@pytest.mark.parametrize("held_out", [None, 0, 0.0])
def test_nothing_need_be_held_out(craft: xc.Craft, images: np.ndarray, held_out: Any) -> None:
    explanation = explain_class(craft, images, 0, held_out=held_out, number_of_views=20)
    assert explanation.quality_held_out is None
    assert explanation.number_of_images == len(explanation.contributions.score) == 12
    assert shown(explanation) == [i for i in range(16) if i not in OTHERS]


@pytest.mark.parametrize(("held_out", "held"), [(0.01, 1), (0.5, 6), (0.99, 11)])
def test_at_least_one_image_on_each_side(
    craft: xc.Craft, images: np.ndarray, held_out: float, held: int
) -> None:
    explanation = explain_class(craft, images, 0, held_out=held_out)
    assert explanation.quality_held_out.number_of_images == held
    assert explanation.number_of_images == 12 - held


# ---------------------------------------------------------------------------- what is said of them
def test_the_numbers_are_the_crafts_on_the_held_out_images(
    explained: tuple[ClassExplanation, xc.Craft], images: np.ndarray
) -> None:
    explanation, craft = explained
    held = images[sorted(shown(explanation))]
    expected = craft.contributions(held)
    assert_allclose(explanation.contributions.phi, expected.phi, atol=1e-4)
    assert_allclose(explanation.contributions.score, craft.model(held)[:, 0], atol=1e-3)
    assert_allclose(explanation.contributions.share, expected.share, atol=1e-5)
    assert explanation.quality_held_out == craft.quality(held)
    assert explanation.quality == craft.quality(craft.factorization.inputs)
    importance = SobolImportance(craft, 128, batch_size=8).summary(held)
    assert_allclose(explanation.importance.overall, importance.overall, atol=1e-5)


def test_the_cards_come_by_contribution(explained: tuple[ClassExplanation, xc.Craft]) -> None:
    explanation, _ = explained
    shares = [card.share for card in explanation.cards]
    assert sorted(card.concept for card in explanation.cards) == [0, 1, 2]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.5
    assert shares[-1] < -0.01  # green speaks against it
    for card in explanation.cards:
        assert card.share == pytest.approx(explanation.contributions.share[card.concept])
        assert card.importance.value == pytest.approx(explanation.importance.overall[card.concept])
        assert card.importance.low <= card.importance.value <= card.importance.high
        assert card.estimation == (card.importance.value, card.importance.value)  # exact
        assert card.coefficients.shape == (4,)


def test_the_coefficients_of_a_card_are_means_of_the_images(
    explained: tuple[ClassExplanation, xc.Craft], images: np.ndarray
) -> None:
    explanation, craft = explained
    u = craft.transform(images[sorted(shown(explanation))]).mean(axis=(1, 2))
    for card in explanation.cards:
        assert_allclose(card.coefficients, u[:, card.concept], rtol=1e-4)


def test_crops_are_the_best_and_of_different_images(
    explained: tuple[ClassExplanation, xc.Craft],
) -> None:
    explanation, craft = explained
    fitted = numbers(craft.factorization.inputs)
    crops_u = craft.factorization.crops_u
    for card in explanation.cards:
        values = card.crop_coefficients
        assert 1 <= len(card.crops) == len(values) <= 4
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(crops_u[:, card.concept].max())
        of = [int(crop[0, 0, 2]) for crop in card.crops]
        assert len(set(of)) == len(of)
        assert set(of) <= set(fitted)
        for crop in card.crops:
            assert crop.dtype == np.uint8
            assert crop.shape[-1] == 3


def test_crops_show_their_concept(explained: tuple[ClassExplanation, xc.Craft]) -> None:
    """The red concept's are red, the green one's green."""
    explanation, craft = explained
    bank = craft.factorized.bank
    for colour in (0, 1):
        share = bank[:, colour] / bank.sum(axis=1)
        card = next(c for c in explanation.cards if c.concept == int(share.argmax()))
        for crop in card.crops[:2]:
            assert crop.reshape(-1, 3).mean(axis=0).argmax() == colour


def test_six_crops_at_most_by_default(craft: xc.Craft, images: np.ndarray) -> None:
    explanation = explain_class(craft, images, 0, held_out=None)
    assert max(len(card.crops) for card in explanation.cards) == 6
    more = explain_class(craft, images, 0, held_out=None, number_of_crops=9)
    assert max(len(card.crops) for card in more.cards) == 9


def test_a_page_without_pictures(craft: xc.Craft, images: np.ndarray, tmp_path: Path) -> None:
    """As `explain_image`, it takes 0 crops: a parameter has one rule everywhere."""
    explanation = explain_class(craft, images, 0, number_of_crops=0, number_of_views=0)
    assert [len(card.crops) for card in explanation.cards] == [0] * len(craft.bank)
    assert explanation.images == []
    page = xc.report.write_report(explanation, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in page


def test_signed_concepts_show_their_positive_end(craft: xc.Craft, images: np.ndarray) -> None:
    other = xc.Craft.from_model(craft.split, None, 2, factorizer="pca", batch_size=8)
    explanation = explain_class(other, images, 0)
    assert any("crops show the positive end only" in note for note in explanation.notes)
    assert min(card.coefficients.min() for card in explanation.cards) < 0.0
    assert all(u > 0.0 for card in explanation.cards for u in card.crop_coefficients)
    assert np.isnan(explanation.quality.kkt_residual)
    plain = explain_class(craft, images, 0)
    assert not any("signed" in note for note in plain.notes)


def test_maps_are_kept_of_the_images_shown_alone(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coefficients at every position are held for a batch at a time."""
    encoded = []
    transform = craft.transform

    def watched(*arguments: Any) -> np.ndarray:
        u = transform(*arguments)
        encoded.append(len(u))
        return u

    monkeypatch.setattr(craft, "transform", watched)
    explanation = explain_class(craft, images, 0, held_out=None, number_of_views=9)
    assert encoded == [8, 4]
    assert len(explanation.images) == 9
    used = [i for i in range(16) if i not in OTHERS]
    u = transform(images[used])
    for card in explanation.cards:
        mean = u[..., card.concept].mean(axis=(1, 2))
        assert_allclose(card.coefficients, mean, rtol=1e-4)
    attribution = ConceptAttribution(craft, by="crops")
    expected = np.clip(attribution.explain_concepts(images[used[8:9]])[0], 0.0, 1.0)
    assert_allclose(explanation.images[8].maps, expected, atol=1e-5)
    assert explanation.images[8].map_crops == 29


def test_best_crops_by_hand() -> None:
    """Boxes of images 0, 0, 1, 2; two crops at most, one of each image, none that lacks it."""
    boxes = np.array([[image, 0, 0, 4, 4] for image in (0, 0, 1, 2)])
    crops_u = np.array([[5.0, 0.0], [6.0, 0.0], [5.5, 3.0], [1.0, 0.0]])
    first, second = best_crops(boxes, crops_u, 2)
    assert_array_equal(first, [1, 2])
    assert_array_equal(second, [2])


def test_views_are_of_the_photographs(
    explained: tuple[ClassExplanation, xc.Craft], images: np.ndarray
) -> None:
    explanation, craft = explained
    for row, (i, view) in enumerate(zip(shown(explanation), explanation.images, strict=True)):
        assert_array_equal(view.photograph, images[i].astype(np.uint8))
        assert view.maps.shape == (*SIZE, 3)
        assert view.maps.min() >= 0.0
        assert view.maps.max() <= 1.0
        assert_array_equal(view.phi, explanation.contributions.phi[row])
        total = view.base + view.residual + view.phi.sum() + view.gap
        assert total == pytest.approx(view.score, abs=1e-6)
        assert view.score == pytest.approx(float(craft.model(images[i : i + 1])[0, 0]), abs=1e-3)
        assert view.prediction == "class 0"


def test_views_have_the_residuals_places(images: np.ndarray) -> None:
    """Of the images shown; none where the craft drops the residual."""
    model = planted.network(np.eye(3), "affine", size=SIZE)
    kernel = np.array([[1.0, 0.1, 0.0], [-0.2, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    model.get_layer("logits").set_weights([kernel, np.zeros(3, np.float32)])
    craft = xc.Craft.from_model(model, planted.LAYER, 1)
    explanation = explain_class(craft, images, 0, number_of_views=3)
    rows = sorted(shown(explanation))
    expected = drawn_residual(craft, images[rows])
    assert np.ptp(expected) > 0.05
    for view, one in zip(explanation.images, expected, strict=True):
        assert_allclose(view.residual_map, one, atol=1e-5)
    dropping = xc.Craft.from_model(craft.split, None, 1, keep_residual=False)
    explanation = explain_class(dropping, images, 0, number_of_views=3)
    assert [view.residual_map for view in explanation.images] == [None] * 3


def test_so_many_views_and_crops(craft: xc.Craft, images: np.ndarray) -> None:
    explanation = explain_class(craft, images, 0, number_of_views=2, number_of_crops=1)
    assert len(explanation.images) == 2
    assert all(len(card.crops) <= 1 for card in explanation.cards)
    assert len(explanation.contributions.score) == 4


# ----------------------------------------------------------------------------------------- in words
def test_what_was_explained_is_said(explained: tuple[ClassExplanation, xc.Craft]) -> None:
    explanation, _ = explained
    assert explanation.layer == planted.LAYER
    assert explanation.model_name == "planted"
    assert (explanation.class_id, explanation.class_name) == (0, "class 0")
    assert explanation.patch_sizes == "1/3 of the side and the whole image"
    assert explanation.versions["xplique_craft"] == xc.__version__
    assert {"xplique", "tensorflow", "keras"} < set(explanation.versions)
    assert any("Only 8 images were used" in note for note in explanation.notes)


def test_names_and_titles(craft: xc.Craft, images: np.ndarray) -> None:
    titles = [f"{i}.jpg" for i in range(16)]
    explanation = explain_class(
        craft, images, 1, class_names=["red", "green", "none"], titles=titles, model_name="mine"
    )
    assert explanation.class_name == "green"
    assert explanation.model_name == "mine"
    assert explanation.number_left_out == 12
    assert {view.title for view in explanation.images} <= {f"{i}.jpg" for i in OTHERS}
    named = explain_class(craft, images, 1, class_name="grass", class_names=["red", "green", "no"])
    assert named.class_name == "grass"


def test_what_the_images_left_out_are_predicted_as(craft: xc.Craft, images: np.ndarray) -> None:
    unnamed = explain_class(craft, images, 0)
    assert "4 images were left out, predicted as another class: class 1 (4)." in unnamed.notes
    names = ["red", "green", "none"]
    one = [i for i in range(16) if i not in OTHERS[1:]]
    named = explain_class(craft, images[one], 0, class_names=names)
    assert "1 image was left out, which is predicted as another class: green (1)." in named.notes
    none = explain_class(craft, images[one[:2] + one[3:]], 0, class_names=names)
    assert none.number_left_out == 0
    assert not any("left out" in note for note in none.notes)


def test_three_predictions_are_named_the_most_frequent_first() -> None:
    predictions = np.array([4, 2, 2, 7, 5, 5, 5, 9])
    (note,) = note_images_left_out(predictions, list("abcdefghij"))
    assert note == (
        "8 images were left out, predicted as another class: f (3), c (2), e (1) and 2 more of "
        "the model's classes."
    )


def test_notes_say_a_thing_once(model: keras.Model, images: np.ndarray) -> None:
    """The score does not depend on the concepts, of a head for which points are sampled."""
    constant = planted.network(np.eye(3), "relu", size=SIZE)
    kernel, _ = constant.get_layer("logits").get_weights()
    bias = np.array([1.0, 0.0, 0.0], np.float32)
    constant.get_layer("logits").set_weights([0.0 * kernel, bias])
    craft = xc.Craft.from_model(constant, planted.LAYER, 3, batch_size=2)
    explanation = explain_class(craft, images, 0)
    told = [note for note in explanation.notes if "does not depend on the concepts" in note]
    assert len(told) == 1
    assert len(set(explanation.notes)) == len(explanation.notes)
    assert any("shares of it are not defined" in note for note in explanation.notes)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_would_have_been_noted_is_warned_of_where_there_is_no_page(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: type
) -> None:
    def fail(*_: object) -> None:
        warn("something to know")
        warn("something to know")
        raise error("no quality")

    monkeypatch.setattr(xc.Craft, "quality", fail)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(error, match="no quality"):
            explain_class(craft, images, 0)
    assert [str(one.message) for one in told].count("something to know") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match="no quality"):
            explain_class(craft, images, 0)


@pytest.mark.parametrize("message", ["Out of memory in g: it goes on.", "checkpoint: it is full."])
def test_what_is_of_the_computer_is_told_its_user(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    """It changes no number, and is none of a reader's business."""
    quality = xc.Craft.quality

    def told(*given: Any) -> Any:
        warn(message)
        return quality(*given)

    monkeypatch.setattr(xc.Craft, "quality", told)
    with pytest.warns(UserWarning, match=message):
        assert message not in explain_class(craft, images, 0).notes


def test_heads_that_are_not_linear_are_noted(images: np.ndarray) -> None:
    model = planted.network(np.eye(3), "relu", size=SIZE)
    craft = xc.Craft.from_model(model, planted.LAYER, 3)
    class_id = planted.predicted(model, images)
    explanation = explain_class(craft, images, class_id, nb_design=16)
    assert not explanation.importance.exact
    assert explanation.importance.evaluations > 0
    assert any("not linear" in note for note in explanation.notes)
    assert len(set(explanation.notes)) == len(explanation.notes)


@pytest.mark.parametrize("latent", ["tokens", "pooled"])
def test_layers_without_places_are_explained(images: np.ndarray, latent: str) -> None:
    model = planted.network(np.eye(3), "affine", size=SIZE, latent=latent)
    kernel = np.array([[1.0, 0.1, 0.0], [-0.2, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    model.get_layer("logits").set_weights([kernel, np.zeros(3, np.float32)])
    craft = xc.Craft.from_model(model, planted.LAYER, 3)
    explanation = explain_class(craft, images, 0)
    assert explanation.number_of_images == 8
    assert all(view.maps.shape == (*SIZE, 3) for view in explanation.images)  # made of crops
    assert all((view.residual_map is None) == (latent == "pooled") for view in explanation.images)
    assert explanation.quality_held_out.agreement.value == 1.0


# --------------------------------------------------------------------- stability and purity
def eyes(scale: float = 1.0) -> keras.Model:
    """A judge that sees the mean of each colour, of crops of 8 pixels."""
    image = keras.Input((8, 8, 3))
    scaled = keras.layers.Rescaling(scale)(image)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(scaled))


def test_stability_is_the_crafts(explained: tuple[ClassExplanation, xc.Craft]) -> None:
    explanation, craft = explained
    expected = craft.stability(folds=5, seed=craft.seed)
    found = explanation.stability
    assert (found.matched, found.disjoint, found.floor) == (
        expected.matched,
        expected.disjoint,
        expected.floor,
    )
    assert_array_equal(found.by_fold, expected.by_fold)
    assert found.folds == 5
    assert explanation.purity is None


def test_purity_is_of_crops_of_the_pictures_of_the_fit(craft: xc.Craft, images: np.ndarray) -> None:
    seen = []

    def prepare(pictures: np.ndarray) -> np.ndarray:
        seen.append(pictures)
        return pictures / 255.0

    own = xc.Craft.from_model(craft.split, None, 3, batch_size=8)
    photographs = images.astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    explanation = explain_class(
        own, images / 255.0, 0, photographs=photographs, folds=0, judge=eyes(), prepare=prepare
    )
    assert explanation.stability is None
    fitted = photographs[numbers(255.0 * own.factorization.inputs)]
    expected = own.purity(eyes(), photographs=fitted, prepare=lambda x: x / 255.0)
    assert repr(explanation.purity) == repr(expected)
    assert explanation.purity.number_of_images == explanation.number_of_images == 8
    assert max(pictures.max() for pictures in seen) > 100.0  # pixels of the photographs


def test_too_few_photographs_for_folds_or_a_judge_are_noted(
    craft: xc.Craft, images: np.ndarray
) -> None:
    few = images[:4]  # three of the class
    explanation = explain_class(craft, few, 0, held_out=None, judge=eyes())
    assert explanation.stability is None
    assert explanation.purity is None
    notes = [note for note in explanation.notes if "was not measured" in note]
    assert len(notes) == 2
    assert "come back on other photographs" in notes[0]
    assert "the 3 photographs" in notes[0]
    assert "found in 3 photographs" in notes[1]
    quiet = explain_class(craft, few, 0, held_out=None, folds=0)
    assert not any("was not measured" in note for note in quiet.notes)


def test_concepts_that_purity_leaves_out_are_noted(craft: xc.Craft, images: np.ndarray) -> None:
    """Red and green are everywhere, blue in four pictures only."""
    some = images.copy()
    some[..., 2] = 0.0
    some[[0, 1, 3, 4], :4, :4] = (0.0, 0.0, 200.0)
    own = xc.Craft.from_model(craft.split, None, 3, factorizer=planted.Given(np.eye(3)))
    explanation = explain_class(own, some, 0, held_out=None, folds=0, judge=eyes())
    assert explanation.purity.left_out == [2]
    (said,) = (note for note in explanation.notes if "left out of the purity" in note)
    assert said.startswith("Concepts 2 are left out")


def test_the_explained_model_is_no_judge(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(craft, "fit", lambda *_, **__: pytest.fail("the work began"))
    with pytest.raises(ValueError, match="judge must be another network"):
        explain_class(craft, images, 0, judge=craft.model)
    with pytest.raises(ValueError, match="prepare must be a function of pictures"):
        explain_class(craft, images, 0, judge=eyes(), prepare=lambda pictures: 1 / 0)


# ----------------------------------------------------------------------------------- photographs
def test_photographs_of_another_size(craft: xc.Craft, images: np.ndarray) -> None:
    """Crops and views are cut from them, at their own resolution."""
    photographs = images.astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    small = explain_class(craft, images, 0, number_of_crops=3)
    large = explain_class(craft, images, 0, number_of_crops=3, photographs=photographs)
    for a, b in zip(small.cards, large.cards, strict=True):
        for crop, double in zip(a.crops, b.crops, strict=True):
            assert_array_equal(double, crop.repeat(2, axis=0).repeat(2, axis=1))
    assert large.images[0].photograph.shape == (32, 48, 3)


def test_grey_photographs(craft: xc.Craft, images: np.ndarray) -> None:
    grey = images[..., 0].astype(np.uint8)
    explanation = explain_class(craft, images, 0, photographs=grey, number_of_views=20)
    for i, view in zip(shown(explanation), explanation.images, strict=True):
        assert_array_equal(view.photograph, np.stack([grey[i]] * 3, axis=-1))


# ------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize("scale", [1 / 255, -1.0, 2.0])
def test_preprocessed_images_need_photographs(
    craft: xc.Craft, images: np.ndarray, scale: float
) -> None:
    with pytest.raises(
        ValueError, match=r"photographs must be given where the images are preprocessed.*uint8"
    ):
        explain_class(craft, scale * images, 0)


def test_preprocessed_images_with_photographs(craft: xc.Craft, images: np.ndarray) -> None:
    explanation = explain_class(craft, images / 255, 0, photographs=images.astype(np.uint8))
    assert explanation.images[0].photograph.max() == 200
    restored = explain_class(craft, images / 255, 0, photographs=lambda given: 255.0 * given)
    for view, other in zip(explanation.images, restored.images, strict=True):
        assert_array_equal(other.photograph, view.photograph)


def test_a_class_that_is_never_predicted(craft: xc.Craft, images: np.ndarray) -> None:
    with pytest.raises(
        ValueError, match=r"Only 0 of 16 images are predicted as class 2.*Check class_id"
    ):
        explain_class(craft, images, 2)
    with pytest.raises(ValueError, match=r"Only 1 of 3 images"):
        explain_class(craft, images[:3], 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"class_id": 3}, ValueError, "class_id must be below .* 3, received 3"),
        ({"class_id": 0.0}, TypeError, "class_id must be an integer"),
        ({"held_out": 1.0}, ValueError, r"held_out must be in \[0, 1\), received 1.0"),
        ({"held_out": -0.1}, ValueError, r"held_out must be in \[0, 1\), received -0.1"),
        ({"titles": ["a", "b"]}, ValueError, "titles must name 16 images, received 2 names"),
        (
            {"photographs": np.zeros((15, 16, 24, 3), np.uint8)},
            ValueError,
            r"photographs must have shape \(16, H, W, 3\) or .*, received \(15, 16, 24, 3\)",
        ),
        (
            {"photographs": np.zeros((16, 16, 24, 4), np.uint8)},
            ValueError,
            r"received \(16, 16, 24, 4\)",
        ),
        ({"class_names": ["red"], "class_id": 1}, ValueError, "class_names"),
        ({"number_of_crops": -1}, ValueError, "number_of_crops must be at least 0"),
        ({"number_of_views": 1.5}, TypeError, "number_of_views must be an integer"),
        ({"nb_design": 1}, ValueError, "nb_design must be at least 2, received 1"),
        ({"folds": 1}, ValueError, "folds must be at least 2, received 1"),
        ({"folds": -1}, ValueError, "folds must be at least 0, received -1"),
        ({"judge": "resnet"}, TypeError, "judge must be a Keras model"),
        ({"images": np.zeros((16, 24, 3))}, ValueError, "received one image"),
        (
            {"images": tf.data.Dataset.from_tensor_slices(np.zeros((4, 16, 24, 3))).batch(2)},
            TypeError,
            r"images must be an array or a tensor .*tf\.data\.Dataset\. Collect its images first",
        ),
        ({"images": iter([])}, TypeError, r"received list_iterator\. Collect the images first"),
        ({"images": np.zeros((2, 8, 8, 3))}, ValueError, r"received \(2, 8, 8, 3\)"),
    ],
)
def test_arguments_that_do_not_fit(
    craft: xc.Craft,
    images: np.ndarray,
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of it is looked at before the factorisation, which takes long."""

    def never(*_: Any, **__: Any) -> None:
        pytest.fail("the factorisation ran before the arguments were looked at")

    monkeypatch.setattr(craft, "fit", never)
    with pytest.raises(error, match=message):
        explain_class(craft, **{"images": images, "class_id": 0, **arguments})


def test_images_that_are_not_finite(craft: xc.Craft, images: np.ndarray) -> None:
    """Also those that would be left out: a prediction of NaN is none."""
    spoilt = images.copy()
    spoilt[2, 3, 3, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        explain_class(craft, spoilt, 1, photographs=images.astype(np.uint8))
