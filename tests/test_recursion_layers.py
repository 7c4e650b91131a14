"""Which layer, which crops, and what is said where a concept cannot be taken apart."""

from dataclasses import fields
from inspect import signature

import keras
import numpy as np
import planted
import planted_levels
import pytest
from keras import layers
from sklearn.exceptions import NotFittedError

import xplique_craft as xc
from xplique_craft.concept_model import ConceptModel
from xplique_craft.factorization import NMF
from xplique_craft.recursion import GrowthSettings
from xplique_craft.recursion.earlier_layers import CannotDecompose, default_layer, earlier_layers
from xplique_craft.recursion.mixedness import measure_mixedness


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    return planted_levels.fitted(planted_levels.images(6))


def strided(side: int | None = 27, letters: str = "abcd") -> keras.Model:
    """27 rows, 14 from the second convolution on."""
    x = image = keras.Input((side, side, 3))
    for name in letters:
        stride = 2 if name == "b" else 1
        convolution = layers.Conv2D(4, 3, stride, padding="same", name=name)
        x = layers.ReLU(name=f"{name}_relu")(convolution(x))
    x = layers.Dropout(0.1, name="dropout")(x)
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D(name="pool")(x)))


def tokens() -> keras.Model:
    """Two blocks of four dense layers each, with a bypass around every two."""
    x = image = keras.Input((8, 8, 3))
    x = layers.Reshape((16, 12), name="tokens")(x)
    for block in "ab":
        for half in "12":
            name = f"{block}{half}"
            hidden = layers.LayerNormalization(name=f"{name}_norm")(x)
            hidden = layers.Dense(12, activation="gelu", name=f"{name}_first")(hidden)
            hidden = layers.Dense(12, name=f"{name}_second")(hidden)
            x = layers.Add(name=f"{name}_add")([x, hidden])
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling1D(name="pool")(x)))


# ----------------------------------------------------------------------------------- the layer
@pytest.mark.parametrize("side", [27, None])
def test_the_nearest_layer_with_three_times_the_positions(side: int | None) -> None:
    """27 x 27 is 3.7 times 14 x 14; after a pooled layer's one position, two layers of weights."""
    for layer, expected in (("d_relu", "a_relu"), ("c_relu", "a_relu"), ("pool", "b_relu")):
        split = xc.split_model(strided(side), layer)
        assert default_layer(split, (27, 27, 3), non_negative=True) == expected


def test_not_too_far_and_not_too_near() -> None:
    """From the tenth convolution on nine are between: then it is four; one alone will do."""
    long = strided(letters="abcdefghijk")
    for layer, expected in (("i_relu", "a_relu"), ("j_relu", "f_relu"), ("b_relu", "a_relu")):
        assert (
            default_layer(xc.split_model(long, layer), (27, 27, 3), non_negative=True) == expected
        )


def test_among_tokens_a_block() -> None:
    split = xc.split_model(tokens(), "b2_add")
    assert default_layer(split, (8, 8, 3), non_negative=False) == "a2_add"
    with pytest.raises(CannotDecompose, match=r"non-negative, as NMF needs: name one \('b1_add', "):
        default_layer(split, (8, 8, 3), non_negative=True)


def test_there_is_no_layer() -> None:
    split = xc.split_model(strided(), "a")
    with pytest.raises(
        CannotDecompose, match="between 'a' and what comes before it there is no layer"
    ):
        default_layer(split, (27, 27, 3), non_negative=False)


def test_earlier_layers_in_order() -> None:
    found = earlier_layers(xc.split_model(strided(), "c_relu"))
    assert [candidate.name for candidate in found] == ["a", "a_relu", "b", "b_relu", "c"]


def test_the_rule_is_used(craft: xc.Craft) -> None:
    assert craft.decompose(0, number_of_concepts=2).layer == planted_levels.EARLY


@pytest.mark.parametrize("layer", ["cells", 2, "layer"])
def test_a_layer_by_name_index_or_itself(craft: xc.Craft, layer: str | int) -> None:
    given = craft.model.get_layer("cells") if layer == "layer" else layer
    assert craft.decompose(0, given, 2).layer == "cells"


@pytest.mark.parametrize("layer", ["late", "average"])
def test_a_layer_that_is_not_earlier(craft: xc.Craft, layer: str) -> None:
    message = f"before 'late', .* received '{layer}': choose one of 'cells', 'early'"
    with pytest.raises(ValueError, match=message):
        craft.decompose(0, layer, 2)


def test_nothing_is_earlier_than_the_first(craft: xc.Craft) -> None:
    node = craft.decompose(0, "early", 2)
    with pytest.raises(ValueError, match=r"before 'early', .* received 'cells': there is none"):
        node.decompose(0, "cells", 2)
    with pytest.raises(CannotDecompose, match="Take concepts apart that were found at a later"):
        node.decompose(0, number_of_concepts=2)


def test_a_layer_that_is_not_there(craft: xc.Craft) -> None:
    with pytest.raises(ValueError, match=r"layer 'erly' is not in .* Did you mean 'early'"):
        craft.decompose(0, "erly", 2)


# ------------------------------------------------------------------------------ other arguments
def test_an_unfitted_parent() -> None:
    craft = xc.Craft.from_model(
        planted_levels.model(), planted_levels.LATE, 3, patch_size=planted_levels.PATCHES
    )
    with pytest.raises(NotFittedError, match="call fit"):
        craft.decompose(0)
    with pytest.raises(NotFittedError, match="call fit"):
        craft.grow()


def test_too_few_crops(craft: xc.Craft) -> None:
    with pytest.raises(CannotDecompose, match=r"Only 2 of 180 crops hold concept 1 .* need 4\."):
        craft.decompose(1, "early", 2, 99.0)


def test_crops_without_the_concept_are_never_kept(craft: xc.Craft) -> None:
    node = craft.decompose(0, "early", 2, 0.0)
    u = craft.factorization.crops_u[:, 0]
    assert len(node.crops) == (u > 0.0).sum() < len(u)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"concept_id": 3}, ValueError, "concept_id must be below the number of concepts, 3"),
        ({"concept_id": -1}, ValueError, "concept_id must be at least 0"),
        ({"concept_id": 1.0}, TypeError, "concept_id must be an integer"),
        ({"percentile": 100.0}, ValueError, r"percentile must be in \[0, 100\), received 100.0"),
        ({"percentile": float("nan")}, ValueError, "percentile must be in"),
        ({"percentile": "90"}, TypeError, "percentile must be a number"),
        ({"number_of_concepts": 0}, ValueError, "number_of_concepts must be at least 1"),
        ({"tolerance": -0.1}, ValueError, "tolerance must be at least 0"),
        ({"factorizer": "nfm"}, ValueError, "nfm"),
    ],
)
def test_arguments_out_of_range(
    craft: xc.Craft, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        craft.decompose(**{"concept_id": 0, "layer": "early", **settings})


def test_what_a_node_refuses(craft: xc.Craft) -> None:
    node = craft.decompose(0, "early", 2)
    with pytest.raises(
        ValueError, match="score must be 'parent', 'through' or 'class', received 'logit'"
    ):
        node.contributions(score="logit")
    with pytest.raises(ValueError, match="score must be 'parent' or 'class', received 'through'"):
        node.quality(score="through")
    with pytest.raises(ValueError, match="concept_id must be below the number of concepts, 2"):
        node.maps(planted_levels.images(1), [2])


def test_the_bank_of_a_node_is_given(craft: xc.Craft) -> None:
    """What takes a craft takes a node's concept models; but they cannot be fitted to other ones."""
    node = craft.decompose(0, "early", 2)
    for concept_model in (node.for_parent, node.for_class):
        assert isinstance(concept_model, ConceptModel)
        assert concept_model.bank is node.factorized.bank
        assert not hasattr(concept_model, "fit")


def test_settings_are_declared_once() -> None:
    """The signatures take their defaults from the settings; a node hands its own on."""
    defaults = {field.name: field.default for field in fields(GrowthSettings)}
    grow = signature(xc.Craft.grow).parameters
    for name in defaults.keys() - {"factorizer", "layer"}:
        assert grow[name].default == defaults[name], name
    assert grow.keys() - defaults.keys() == {"self", "inputs", "checkpoint"}
    decompose = signature(xc.Craft.decompose).parameters
    for name in ("layer", "number_of_concepts", "percentile"):
        assert decompose[name].default == defaults[name], name


def test_a_node_hands_its_settings_on(craft: xc.Craft) -> None:
    given = NMF(max_iter=500)
    node = craft.decompose(0, "early", 2, factorizer=given, tolerance=0.5)
    assert node.siblings_below.settings.factorizer is given
    assert node.siblings_below.settings.tolerance == 0.5
    assert craft.decompose(0, "early", 2).settings.tolerance == 0.01
    assert craft.decompose(0, "early", 2).settings.factorizer is craft.factorizer
    assert list(signature(node.children[0].decompose).parameters) == [
        "layer",
        "number_of_concepts",
        "percentile",
        "factorizer",
        "tolerance",
    ]


def test_another_fit_starts_afresh() -> None:
    images = planted_levels.images(6)
    craft = planted_levels.fitted(images)
    first = craft.decompose(0, "early", 2)
    whole = craft.contributions(images).phi[:, 0]
    craft.fit(planted_levels.images(8, seed=1), 0)
    np.testing.assert_array_equal(first.contributions(images, "through").score, whole)
    second = craft.decompose(0, "early", 2)
    assert first.crops.boxes[:, 0].max() == 5
    assert second.crops.boxes[:, 0].max() == 7


# -------------------------------------------------------------------------------- other latents
def test_a_pooled_parent_has_no_places() -> None:
    """Then a child's map is weighed by how much of the parent there is in the image."""
    images = planted.paintings(8)
    bank = planted.bank()
    craft = planted.fitted(planted.network(bank, "affine", latent="pooled"), bank, images)
    node = craft.decompose(0, "mix", 2, 50.0, factorizer="nmf")
    u = craft.transform(images)[:, 0] / craft.coefficient_scale[0]
    own = node.for_class.transform(images) / node.for_class.coefficient_scale
    assert node.layer == "mix"
    np.testing.assert_allclose(node.maps(images), own * u[:, None, None, None], atol=1e-5)


def test_tokens_are_taken_apart() -> None:
    images = np.random.default_rng(0).random((8, 8, 8, 3)).astype(np.float32)
    model = tokens()
    craft = xc.Craft.from_model(model, "b2_add", 3, factorizer="semi-nmf", baseline="mean")
    craft.fit(images, planted.predicted(model, images))
    node = craft.decompose(0, number_of_concepts=2, percentile=60.0)
    found = node.contributions(images)
    u = craft.encoder.predict(images, verbose=0)[:, 0]
    assert node.layer == "a2_add"
    parts = found.base + found.residual + found.phi.sum(axis=1) + found.gap
    np.testing.assert_allclose(parts, u, rtol=1e-4, atol=1e-5)
    assert node.maps(images).shape == (8, 8, 8, 2)


# ----------------------------------------------------------------------------------- mixedness
def rows_of(kinds: np.ndarray, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """120 crops of 30 photographs, each of one kind, scaled at random, all with much in common."""
    rng = np.random.default_rng(seed)
    amount = rng.uniform(0.5, 1.5, (120, 1))
    rows = amount * kinds[rng.integers(0, len(kinds), 120)] + noise * rng.random((120, 12))
    return rows.astype(np.float32), np.repeat(np.arange(30), 4)


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("common", [0.0, 3.0])
def test_mixedness_tells_one_thing_from_several(noise: float, common: float) -> None:
    kinds = np.eye(4, 12) + common
    everything, _ = rows_of(kinds, noise)
    spread = NMF().fit(everything, 1).relative_error ** 2
    one = measure_mixedness(*rows_of(kinds[:1], noise), NMF(), 4, spread=spread, seed=0)
    two = measure_mixedness(*rows_of(kinds[:2], noise), NMF(), 4, spread=spread, seed=0)
    four = measure_mixedness(*rows_of(kinds, noise), NMF(), 4, spread=spread, seed=0)
    assert abs(one) < 0.02
    assert 0.4 < two < 0.9
    assert four == pytest.approx(1.0, abs=0.1)


def test_mixedness_is_seeded_and_says_when_it_is_not_known() -> None:
    rows, photographs = rows_of(np.eye(3, 12), 0.05)
    first, again, other = (
        measure_mixedness(rows, photographs, NMF(), 3, spread=1.0, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert np.isnan(measure_mixedness(rows[:6], photographs[:6], NMF(), 4, spread=1.0, seed=0))
    assert np.isnan(measure_mixedness(rows, photographs, NMF(), 3, spread=0.0, seed=0))
