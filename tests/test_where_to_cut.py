"""Where to cut: how much of the score still flows through patches, and where to begin."""

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from transformers import SIDE, transformer

import xplique_craft as xc
from xplique_craft import where_to_cut
from xplique_craft.results import Estimate
from xplique_craft.splitting.layers import Candidate, recommended_layer

CLASSES = 3


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    coarse = np.random.default_rng(0).random((8, 4, 4, 3)).astype(np.float32)
    return np.kron(coarse, np.ones((1, SIDE // 4, SIDE // 4, 1), np.float32))


def gathering(
    of_token: float, of_patches: float, channels: int = 4, product: bool = False
) -> keras.Model:
    """
    The token before the patches is their mean, m; a score is `of_token` K m + `of_patches` K m, or
    with `product` the product of both.
    """
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(channels, 8, strides=8, use_bias=False, name="embed")(image)
    x = keras.layers.Reshape((16, channels), name="patches")(x)
    token = keras.layers.Reshape((1, channels))(keras.layers.GlobalAveragePooling1D()(x))
    x = keras.layers.Concatenate(axis=1, name="tokens")([token, x])
    x = keras.layers.Rescaling(2.0, name="later")(x)
    token = keras.layers.Reshape((channels,))(keras.layers.Cropping1D((0, 16))(x))
    mean = keras.layers.GlobalAveragePooling1D()(keras.layers.Cropping1D((1, 0))(x))
    token, mean = (keras.layers.Dense(CLASSES, use_bias=False)(part) for part in (token, mean))
    join = keras.layers.Multiply() if product else keras.layers.Add()
    model = keras.Model(image, keras.layers.Identity(name="logits")(join([token, mean])))
    kernel = np.random.default_rng(1).random((channels, CLASSES)).astype(np.float32)
    embed = np.random.default_rng(2).random((8, 8, 3, channels)).astype(np.float32) / 50
    model.get_layer("embed").set_weights([embed])
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for layer, weight in zip(dense, (of_token, of_patches), strict=True):
        layer.set_weights([weight * kernel])
    return model


def asked(model: keras.Model, *arguments: Any, **options: Any) -> dict[str, Candidate]:
    """Candidates by name, warnings left aside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return {c.name: c for c in xc.candidate_layers(model, *arguments, **options)}


def values(candidate: Candidate) -> tuple[float, float]:
    through, alone = candidate.share_through_patches, candidate.share_of_patches_alone
    assert through is not None
    assert alone is not None
    return through.value, alone.value


# ------------------------------------------------------------------------------------ the numbers
@pytest.mark.parametrize(
    ("of_token", "of_patches", "share"), [(1, 0, 0.0), (0, 1, 1.0), (1, 3, 0.75), (3, 1, 0.25)]
)
def test_a_sum_is_shared_by_its_weights(
    images: np.ndarray, of_token: float, of_patches: float, share: float
) -> None:
    found = asked(gathering(of_token, of_patches), images)
    for name in ("tokens", "later"):
        assert found[name].special_tokens == 1
        assert values(found[name]) == pytest.approx((share, share), abs=1e-5)
        through = found[name].share_through_patches
        assert through is not None
        assert through.low == pytest.approx(share, abs=1e-5)  # that of every image is the same
        assert through.high == pytest.approx(share, abs=1e-5)
    assert values(found["patches"]) == (1.0, 1.0)


def test_what_both_do_only_together_flows_through_patches(images: np.ndarray) -> None:
    """s = K m * K m, and m is 0 in the blank image: nothing is left where one of them is."""
    found = asked(gathering(1, 1, product=True), images, 0)
    assert values(found["tokens"]) == pytest.approx((1.0, 0.0), abs=1e-4)


def by_hand(
    model: keras.Model, layer: str, special: int, images: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """The two shares by their formulas, in four calls of the head."""
    split = xc.split_model(model, layer)
    own, other = (split.input_to_latent(x).numpy() for x in (images, 0.0 * images))

    def score(first: np.ndarray, rest: np.ndarray) -> float:
        tokens = np.concatenate([first[:, :special], rest[:, special:]], axis=1)
        return float((split.latent_to_logit(tokens).numpy() * weights).sum())

    nothing, whole = score(other, other), score(own, own)
    through = (whole - score(own, other)) / (whole - nothing)
    return through, (score(other, own) - nothing) / (whole - nothing)


@pytest.fixture(scope="module")
def random_one() -> keras.Model:
    keras.utils.set_random_seed(3)
    return transformer(2)


@pytest.mark.parametrize(
    ("batch_size", "wrapped", "targets"),
    [
        (64, np.asarray, xc.ClassDifference(0, 1)),
        (30, lambda x: tf.data.Dataset.from_tensor_slices(x), None),
    ],
)
def test_one_walk_finds_what_heads_find_one_by_one(
    random_one: keras.Model,
    images: np.ndarray,
    batch_size: int,
    wrapped: Callable[[np.ndarray], Any],
    targets: Any,
) -> None:
    weights = np.eye(CLASSES)[random_one(images).numpy().argmax(1)]
    if targets is not None:
        weights = np.tile([1.0, -1.0, 0.0], (8, 1))
    found = asked(random_one, wrapped(images), targets, batch_size=batch_size)
    measured = [name for name, one in found.items() if one.special_tokens]
    assert measured == ["class_token", "attended0", "block0", "attended1", "block1", "last_norm"]
    for name in ("class_token", "block0"):
        expected = by_hand(random_one, name, 2, images, weights)
        assert values(found[name]) == pytest.approx(expected, abs=2e-3), name
        through = found[name].share_through_patches
        assert through is not None
        assert through.low - 1e-6 <= through.value <= through.high + 1e-6
    assert values(found["block1"]) == pytest.approx((0.0, 0.0), abs=1e-5)


def test_one_image_has_no_interval(images: np.ndarray) -> None:
    image = np.linspace(0, 1, SIDE * SIDE * 3, dtype=np.float32).reshape(1, SIDE, SIDE, 3) ** 2
    keras.utils.set_random_seed(3)
    through = asked(transformer(1), image)["block0"].share_through_patches
    assert through is not None
    assert np.isfinite(through.value)
    assert np.isnan([through.low, through.high]).all()


def test_where_the_score_is_that_of_a_blank_image_nothing_is_said(images: np.ndarray) -> None:
    found = asked(gathering(0, 0), images)
    assert np.isnan(values(found["tokens"])).all()
    assert not any(one.recommended for one in found.values())


# ------------------------------------------------------------------ what is recommended, and said
def test_models_without_special_tokens_are_not_run(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There all of the score flows through places, by construction."""
    monkeypatch.setattr(where_to_cut, "_walk_through", lambda *_: pytest.fail("it was run"))
    found = xc.candidate_layers(transformer(0), images)
    for one in found:
        if len(one.shape) > 1 and one.shape[0] > 1:
            assert one.share_through_patches == Estimate(1.0, 1.0, 1.0)
            assert one.share_of_patches_alone == Estimate(1.0, 1.0, 1.0)
        else:
            assert one.share_through_patches is None
            assert one.share_of_patches_alone is None
    assert [one.name for one in found if one.recommended] == ["last_norm"]


def test_without_images_candidates_are_listed_only(random_one: keras.Model) -> None:
    found = xc.candidate_layers(random_one)
    assert {(c.share_through_patches, c.share_of_patches_alone, c.recommended) for c in found} == {
        (None, None, None)
    }
    assert {c.name: c.special_tokens for c in found}["block0"] == 2
    assert {c.name: c.special_tokens for c in found}["tokens"] == 0


def test_it_warns_where_less_than_half_flows_through_patches(images: np.ndarray) -> None:
    with pytest.warns(
        UserWarning,
        match=r"Less than half.* after 'tokens', 'later' \(after the last, 25\.0% .*"
        r"Begin with 'patches', or an earlier layer",
    ):
        found = xc.candidate_layers(gathering(3, 1), images)
    assert [one.name for one in found if one.recommended] == ["patches"]


def test_it_begins_with_the_last_layer_through_whose_patches_half_flows(
    images: np.ndarray,
) -> None:
    found = xc.candidate_layers(gathering(1, 3), images)  # no warning either
    assert [one.name for one in found if one.recommended] == ["later"]


def test_the_rule() -> None:
    all_of_it, half, less = (Estimate(x, x, x) for x in (1.0, 0.5, 0.49))
    unknown = Estimate(float("nan"), float("nan"), float("nan"))

    def tokens(name: str, share: Estimate | None, non_negative: bool = False) -> Candidate:
        return Candidate(name, (17, 8), non_negative, False, 1, share)

    stem = Candidate("stem", (4, 4, 8), True, False, 0, all_of_it)
    early, late = tokens("early", half), tokens("late", less)
    assert recommended_layer([stem, early, late], 3, signed=True) is early
    assert recommended_layer([stem, early, late], 3) is stem  # for NMF
    assert recommended_layer([stem, tokens("relu", half, True), late], 3).name == "relu"  # type: ignore[union-attr]
    assert recommended_layer([early, late, tokens("last", unknown)], 3, signed=True) is early
    for nothing in (None, unknown):  # not the stem, before any attention
        assert recommended_layer([stem, tokens("some", nothing)], 3, signed=True) is None
    assert recommended_layer([early, tokens("maps", half)], 8, signed=True) is None


def test_named_special_tokens_are_those_of_the_last_tokens(images: np.ndarray) -> None:
    model = gathering(1, 3)
    found = asked(model, images, special_tokens=4)
    assert [found[name].special_tokens for name in ("patches", "tokens", "later")] == [0, 4, 4]
    assert values(found["tokens"])[0] == pytest.approx(0.75 * 13 / 16, abs=0.2)
    none = asked(model, images, special_tokens=0)
    assert values(none["later"]) == (1.0, 1.0)
    with pytest.raises(ValueError, match=r"special_tokens must leave some of the layer's 17"):
        xc.candidate_layers(model, special_tokens=17)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="only")(image)
    convolutions = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    with pytest.raises(ValueError, match=r"special_tokens must be None or 0"):
        xc.candidate_layers(convolutions, special_tokens=1)


def test_bad_images_and_targets(images: np.ndarray) -> None:
    model = gathering(1, 1)
    with pytest.raises(ValueError, match=r"images must have the shape \(n, 32, 32, 3\)"):
        xc.candidate_layers(model, images[:, :8])
    with pytest.raises(ValueError, match=r"images must have the shape"):
        xc.candidate_layers(transformer(0), images[:, :8])
    with pytest.raises(ValueError, match=r"targets"):
        xc.candidate_layers(model, images, [0, 1])
    with pytest.raises(ValueError, match=r"targets"):
        xc.candidate_layers(model, images, CLASSES)


@pytest.mark.parametrize(("of_token", "told"), [(9, True), (0, False)])
def test_a_fit_says_where_special_tokens_know_most_already(
    images: np.ndarray, of_token: float, told: bool
) -> None:
    craft = xc.Craft.from_model(gathering(of_token, 1), "tokens", 2, factorizer="signed-nmf")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        craft.fit(images, int(craft.model(images).numpy().sum(axis=0).argmax()))
    about = [str(one.message) for one in caught if "flows through patches" in str(one.message)]
    assert [one.startswith("Only 10.0% [10.0, 10.0] of the score") for one in about] == [
        True
    ] * told


# ----------------------------------------------------------------------------- a real transformer
@pytest.mark.slow
def test_vit(realkit: ModuleType) -> None:
    model = realkit.load_model("vit")
    size = realkit.INPUT_SIZE["vit"]
    pictures = [realkit.load_images(name, 2, size=size) for name in realkit.CLASSES]
    x = realkit.preprocess(np.concatenate(pictures), "vit")
    with pytest.warns(UserWarning, match=r"after .*'block11_out'.*0\.0%"):
        found = xc.candidate_layers(model, x)
    blocks = [c for c in found if c.name in {f"block{i}_out" for i in range(5, 12)}]
    shares = np.array([values(c)[0] for c in blocks])
    assert (np.diff(shares) < 0.03).all(), shares
    assert shares[0] > 0.9
    assert shares[-1] == 0.0
    assert next(c.name for c in found if c.recommended) in {"block8_mid", "block8_out"}
