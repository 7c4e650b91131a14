"""Tokens that belong to no place: never part of a concept, and never moved by its gates."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from transformers import CHANNELS, SIDE, ClassToken, transformer

import xplique_craft as xc
from xplique_craft.attributions.crop_maps import crop_maps
from xplique_craft.attributions.relevance import relevance_model, relevance_of
from xplique_craft.importance.saliency import derivatives
from xplique_craft.sampling.rows import CropRows
from xplique_craft.splitting.tokens import (
    grid_of,
    number_of_special_tokens,
    special_tokens_of,
)

K, S = 3, 2
LAYER = "block0"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth blobs of three colours."""
    coarse = np.random.default_rng(0).random((12, 4, 4, 3)).astype(np.float32)
    return np.kron(coarse, np.ones((1, SIDE // 4, SIDE // 4, 1), np.float32))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    return transformer(S)


@pytest.fixture(scope="module", params=["signed-nmf", "semi-nmf"])
def craft(request: Any, model: keras.Model, images: np.ndarray) -> xc.Craft:
    return fitted(model, images, factorizer=request.param)


@pytest.fixture(scope="module")
def signed(model: keras.Model, images: np.ndarray) -> xc.Craft:
    return fitted(model, images)


def fitted(model: Any, images: np.ndarray, layer: str = LAYER, **settings: Any) -> xc.Craft:
    settings = {"factorizer": "signed-nmf", **settings}
    craft = xc.Craft.from_model(model, layer, K, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is predicted, and of normalisations
        craft.fit(images, planted.predicted(model, images))
    return craft


def latents(craft: xc.Craft, images: np.ndarray) -> np.ndarray:
    return craft.network.latents(images).numpy()


# ------------------------------------------------------------------------------------- the rule
@pytest.mark.parametrize(
    ("tokens", "size", "grid", "special"),
    [
        (196, (224, 224), (14, 14), 0),
        (197, (224, 224), (14, 14), 1),
        (198, (224, 224), (14, 14), 2),
        (201, (224, 224), (14, 14), 5),
        (1374, (518, 518), (37, 37), 5),
        (33, (64, 128), (4, 8), 1),
        (5, (32, 32), (2, 2), 1),
        (6, (32, 32), None, None),  # an eighth of four patches is none
        (13, (32, 32), None, None),
        (210, (224, 224), None, None),
        (1, (32, 32), (1, 1), 0),
    ],
)
def test_the_rule(tokens: int, size: Any, grid: Any, special: int | None) -> None:
    assert grid_of(tokens, size) == grid
    assert special_tokens_of(tokens, size) == special
    assert number_of_special_tokens((tokens, 8), (*size, 3)) == (special or 0)
    assert number_of_special_tokens((7, 7, 8), (*size, 3)) == 0
    assert number_of_special_tokens((8,), (*size, 3)) == 0


def test_they_can_be_named(model: keras.Model, images: np.ndarray) -> None:
    assert number_of_special_tokens((20, 8), (32, 32, 3), 4) == 4
    assert number_of_special_tokens((7, 7, 8), (32, 32, 3), 0) == 0
    craft = fitted(model, images, special_tokens=0)
    assert craft.special.size == 0
    assert (craft.transform(images)[:, :S] > 0.0).any()
    with pytest.raises(ValueError, match=r"must leave some of the layer's 18 tokens, received 18"):
        fitted(model, images, special_tokens=18)
    with pytest.raises(ValueError, match=r"no tokens .*received 1.*\(n, 4, 4, 12\)"):
        fitted(model, images, "patches", special_tokens=1)
    with pytest.raises((TypeError, ValueError), match="special_tokens"):
        xc.Craft.from_model(model, LAYER, K, special_tokens=-1)
    with pytest.raises(TypeError, match="keep_special_tokens"):
        xc.Craft.from_model(model, LAYER, K, keep_special_tokens=1)


# ---------------------------------------------------------------------------- never in a concept
def test_nothing_is_fitted_on_them(signed: xc.Craft, images: np.ndarray) -> None:
    """Neither crops' rows nor positions hold any of them."""
    found = signed.concepts.known(CropRows)
    assert found.special_tokens == S
    whole = np.flatnonzero((found.boxes[:, 3:] == SIDE).all(axis=1))
    expected = latents(signed, images)[:, S:].mean(axis=1)
    np.testing.assert_allclose(found.rows[whole], expected[found.boxes[whole, 0]], atol=1e-5)
    patches = {row.tobytes() for row in latents(signed, images)[:, S:].reshape(-1, CHANNELS)}
    assert all(row.tobytes() in patches for row in found.positions)
    box = found.boxes[0]
    cut = images[box[0], box[1] : box[1] + box[3], box[2] : box[2] + box[4]]
    crop = tf.image.resize(cut[None], (SIDE, SIDE))
    pooled = latents(signed, crop)[0, S:].mean(axis=0)
    np.testing.assert_allclose(found.rows[0], pooled, atol=1e-4)
    np.testing.assert_allclose(
        signed.special, latents(signed, images)[:, :S].mean(axis=0), atol=1e-6
    )


def test_crops_hold_what_their_places_hold_on_average(craft: xc.Craft, images: np.ndarray) -> None:
    """Of the signed factorisation; what semi-NMF says is of the pooled activations."""
    boxes, crops_u = craft.concepts.crops.boxes, craft.concepts.crops_u
    for number in (0, 13, len(boxes) - 1):
        image, top, left, height, width = boxes[number]
        crop = images[image, top : top + height, left : left + width]
        inputs = tf.image.resize(crop[None], (SIDE, SIDE)).numpy()
        expected = craft.encoder(inputs).numpy()[0]
        if not craft.factorizer.crops_by_place:
            pooled = latents(craft, inputs)[:, S:].mean(axis=1)
            expected = craft.factorized.transform(pooled)[0]
        np.testing.assert_allclose(crops_u[number], expected, atol=1e-3)
    maps = crop_maps(craft.network, craft.factorized, images[:2], special_tokens=S)
    assert maps.max() <= crops_u.max() * 1.5
    assert maps.min() >= 0.0


def test_they_have_no_coefficients(craft: xc.Craft, images: np.ndarray) -> None:
    a = latents(craft, images)
    u = craft.transform(images)
    assert u.shape == (12, 16 + S, K)
    assert (u[:, :S] == 0.0).all()
    np.testing.assert_allclose(u[:, S:], craft.factorized.encode(a[:, S:])[0], atol=1e-5)
    np.testing.assert_allclose(craft.transform(None, a), u, atol=1e-5)
    np.testing.assert_allclose(craft.concepts.extent.mean, u[:, S:].mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(craft.coefficient_scale, u.max(axis=(0, 1)), rtol=1e-5)
    decoded = craft.inverse_transform(u)
    np.testing.assert_array_equal(decoded[:, :S], np.repeat(craft.special[None], 12, axis=0))
    np.testing.assert_allclose(decoded[:, S:], craft.factorized.decode(u[:, S:]), atol=1e-6)


def test_the_keras_models_say_the_same(craft: xc.Craft, images: np.ndarray, tmp_path: Path) -> None:
    u = craft.transform(images)
    np.testing.assert_allclose(craft.position_encoder(images), u, atol=1e-5)
    np.testing.assert_allclose(craft.encoder(images), u[:, S:].mean(axis=1), atol=1e-5)
    expected = craft.network.logits(craft.inverse_transform(u))
    np.testing.assert_allclose(craft.decoder(u), expected, atol=1e-4)
    model = craft.network.logits(latents(craft, images))
    np.testing.assert_allclose(craft.bound_decoder(images)(u), model, atol=1e-4)
    with keras.saving.custom_object_scope({"ClassToken": ClassToken}):
        for which, given in (("encoder", images), ("decoder", u)):
            getattr(craft, which).save(tmp_path / "model.keras")
            again = xc.load_model(tmp_path / "model.keras")
            np.testing.assert_allclose(again(given), getattr(craft, which)(given), atol=1e-5)


# -------------------------------------------------------------------------------- gates
@pytest.mark.parametrize("baseline", ["zero", "mean"])
@pytest.mark.parametrize("keep_residual", [True, False])
@pytest.mark.parametrize("keep", [None, True, False])
def test_gates_leave_them_or_take_them_to_their_mean(
    craft: xc.Craft, images: np.ndarray, keep: bool | None, keep_residual: bool, baseline: str
) -> None:
    """What the head is given, by hand."""
    some = craft.variant(
        keep_residual=keep_residual, keep_special_tokens=keep, baseline=baseline, batch_size=12
    )
    (coded,) = some.batches(images)
    a, u = latents(craft, images), craft.transform(images)
    kept = keep_residual if keep is None else keep
    stands = a[:, :S] if kept else np.broadcast_to(craft.special, (12, S, CHANNELS))
    gates = np.random.default_rng(2).random(K).astype(np.float32)
    towards = craft.concepts.extent.mean if baseline == "mean" else np.zeros(K)
    dimmed = (towards + gates * (u[:, S:] - towards)) @ craft.bank
    rest = a[:, S:] - u[:, S:] @ craft.bank if keep_residual else craft.factorized.offset
    for m, at in ((gates, dimmed + rest), (np.zeros(K), towards @ craft.bank + rest + 0 * dimmed)):
        given = tf.tensordot(coded.gated * m.astype(np.float32), craft.bank, 1) + coded.constant
        np.testing.assert_allclose(given[:, :S], stands, atol=1e-5)
        np.testing.assert_allclose(given[:, S:], at, atol=1e-4)
    head = some.head()
    expected = craft.network.logits(np.concatenate([stands, dimmed + rest], axis=1).astype("f4"))
    found = head.evaluate(coded, gates[None])[:, 0]
    np.testing.assert_allclose(found, expected.numpy()[:, craft.class_id], atol=1e-4)
    nothing = np.zeros_like(a[:, S:])
    if craft.factorizer.around_mean:
        nothing = nothing + craft.factorized.offset
    base = craft.network.logits(np.concatenate([stands, nothing], axis=1).astype("f4"))
    np.testing.assert_allclose(head.baseline(coded), base.numpy()[:, craft.class_id], atol=1e-4)


def test_all_gates_open_give_the_models_own_score(craft: xc.Craft, images: np.ndarray) -> None:
    own = craft.network.logits(latents(craft, images)).numpy()[:, craft.class_id]
    found = craft.contributions(images)
    np.testing.assert_allclose(found.score, own, atol=1e-4)
    total = found.base + found.residual + found.phi.sum(axis=1) + found.gap
    np.testing.assert_allclose(total, found.score, atol=1e-5)
    at_mean = craft.variant(keep_special_tokens=False)
    found = xc.importance.IntegratedGradientsImportance(at_mean).explain(images)
    with_mean = np.concatenate(
        [np.repeat(craft.special[None], 12, axis=0), latents(craft, images)[:, S:]], axis=1
    )
    (coded,) = at_mean.variant(batch_size=12).batches(images)
    closed, opened = at_mean.head().ends(coded)
    expected = craft.network.logits(with_mean).numpy()[:, craft.class_id]
    np.testing.assert_allclose(opened, expected, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), opened - closed, atol=2e-2)


def test_the_score_has_no_slope_by_them(craft: xc.Craft, images: np.ndarray) -> None:
    (coded,) = craft.variant(batch_size=12).batches(images)
    head = craft.head()
    slopes = head.gradients(coded, np.ones(1), np.ones(1)).numpy()
    assert (slopes[:, :S] == 0.0).all()
    assert np.abs(slopes[:, S:]).max() > 0.0
    step = 1e-2 * float(np.abs(coded.u).max())
    for j in range(K):
        along = np.zeros((1, 16 + S, K), np.float32)
        along[:, S:, j] = step
        ends = [
            head.scores(
                coded.constant + tf.tensordot(coded.gated + sign * along, craft.bank, 1),
                coded.targets,
            )
            for sign in (1.0, -1.0)
        ]
        expected = (ends[0] - ends[1]) / (2.0 * step)
        found = derivatives(coded, head)[:, j]
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max() + 1e-3)


# ------------------------------------------------------------------------------- quality
def test_quality_says_what_was_done_with_them(signed: xc.Craft, images: np.ndarray) -> None:
    a, u = latents(signed, images), signed.transform(images)
    logits = signed.network.logits(a).numpy()
    for keep, name in ((None, "mean"), (False, "mean"), (True, "kept")):
        some = xc.Craft.from_model(
            signed.split, None, K, factorizer="signed-nmf", keep_special_tokens=keep
        )
        some._concepts = signed.concepts
        quality = some.quality(images)
        assert quality.special_tokens == name
        stands = a[:, :S] if keep else np.broadcast_to(signed.special, (12, S, CHANNELS))

        def score(patches: np.ndarray, stands: np.ndarray = stands) -> np.ndarray:
            given = np.concatenate([stands, patches], axis=1).astype("f4")
            return signed.network.logits(given).numpy().astype(np.float64)

        rebuilt = signed.factorized.decode(u[:, S:]).numpy()
        mean = np.broadcast_to(signed.factorized.offset, rebuilt.shape)
        j = signed.class_id
        true, base = score(a[:, S:])[:, j], score(mean)[:, j]
        agreement = (score(rebuilt).argmax(1) == logits.argmax(1)).mean()
        assert quality.agreement.value == pytest.approx(agreement)
        floor = (score(mean).argmax(1) == logits.argmax(1)).mean()
        assert quality.agreement_without_concepts is not None
        assert quality.agreement_without_concepts.value == pytest.approx(floor)
        share = (score(rebuilt)[:, j] - base).sum() / (true - base).sum()
        assert quality.reconstruction_share.value == pytest.approx(share, rel=1e-3)
        left = score(a[:, S:] - rebuilt + mean)[:, j]
        share = (true - left).sum() / (true - base).sum()
        assert quality.explained_share.value == pytest.approx(share, rel=1e-3)
        error = np.linalg.norm(a[:, S:] - rebuilt) / np.linalg.norm(a[:, S:])
        assert quality.relative_error == pytest.approx(error, rel=1e-4)
        assert quality.sparsity == pytest.approx((u[:, S:] == 0.0).mean())


# ---------------------------------------------------------------------- maps, children, files
def test_maps_are_of_patches(signed: xc.Craft, images: np.ndarray) -> None:
    plain = xc.attributions.ConceptAttribution(signed, smoothing=0.0)
    found = plain.explain_concepts(images)
    u = signed.transform(images)[:, S:].reshape(12, 4, 4, K) / signed.coefficient_scale
    np.testing.assert_allclose(found, tf.image.resize(u, (SIDE, SIDE)), atol=1e-5)
    contributions = signed.contributions(images)
    whole = xc.attributions.ConceptAttribution(signed).explain(images).numpy()
    total = (contributions.score - contributions.base) / 16
    np.testing.assert_allclose(whole.mean(axis=(1, 2, 3)), total, atol=1e-3)
    relevance = xc.attributions.ConceptAttribution(signed, output="relevance", residual=False)
    sums = relevance.explain(images).numpy().mean(axis=(1, 2, 3)) * 16
    closed = contributions.base + contributions.residual
    np.testing.assert_allclose(sums, contributions.score - closed, atol=1e-3)
    assert xc.attributions.ConceptAttribution(signed, by="crops").explain(images[:2]).shape == (
        2,
        SIDE,
        SIDE,
        1,
    )


@pytest.mark.parametrize("keep", [True, False])
def test_relevance_in_a_model_is_that_of_patches(
    signed: xc.Craft, images: np.ndarray, keep: bool
) -> None:
    """What white-box explainers differentiate, with the residual and without."""
    weights = tf.Variable(np.eye(3, dtype=np.float32)[signed.class_id])
    for residual in (True, False):
        for baseline in ("zero", "mean"):
            some = signed.variant(
                keep_residual=residual, keep_special_tokens=keep, baseline=baseline, batch_size=12
            )
            (coded,) = some.batches(images)
            expected = relevance_of(coded, some.head())
            assert (expected[:, :S] == 0.0).all()
            found = relevance_model(some, None, weights)(images)
            np.testing.assert_allclose(found, expected.sum(axis=1), atol=2e-3)


def test_noise_stays_off_them(signed: xc.Craft, images: np.ndarray) -> None:
    """SmoothGrad moves coefficients, and these tokens have none: its mean goes to the slopes'."""
    found = xc.importance.SmoothGradImportance(signed, nb_samples=4, noise=1e-4)
    slopes = xc.importance.SaliencyImportance(signed).explain(images[:2])
    np.testing.assert_allclose(np.abs(found.explain(images[:2])), slopes, rtol=0.05, atol=1e-3)
    (coded,) = signed.variant(batch_size=12).batches(images)
    noisy = coded.where_coefficients_are(tf.ones_like(coded.u)).numpy()
    assert (noisy[:, :S] == 0.0).all()
    assert (noisy[:, S:] == 1.0).all()


def test_tokens_of_no_grid_are_asked_about(images: np.ndarray) -> None:
    x = image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(CHANNELS, 8, strides=8)(x)
    x = keras.layers.Reshape((16, CHANNELS))(x)
    x = keras.layers.Cropping1D((0, 3), name="thirteen")(x)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x))
    model = keras.Model(image, x)
    craft = xc.Craft.from_model(model, "thirteen", K, factorizer="signed-nmf")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only .* are predicted")
        with pytest.warns(UserWarning, match=r"13 tokens of 'thirteen' are no grid.*tokens=1"):
            craft.fit(images)
    assert not any("no grid" in one for one in _warned(model, images, special_tokens=1))


def _warned(model: keras.Model, images: np.ndarray, **settings: Any) -> list[str]:
    craft = xc.Craft.from_model(model, "thirteen", K, factorizer="signed-nmf", **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        craft.fit(images)
    assert len(craft.special) == 1
    return [str(one.message) for one in caught]


def test_examples_are_looked_for_on_the_grid(signed: xc.Craft) -> None:
    """Crops that only show a concept: windows that no bank is fitted on."""
    found = signed.concepts.known(CropRows)
    assert len(signed.concepts.crops.boxes) > len(found.boxes)
    assert len(signed.concepts.crops_u) == len(signed.concepts.crops.boxes)


@pytest.mark.parametrize(
    ("layer", "number"),
    [
        ("class_token", S),
        pytest.param("tokens", 0, marks=pytest.mark.slow),
        pytest.param("patches", 0, marks=pytest.mark.slow),
    ],
)
def test_children_of_earlier_layers_have_none_or_their_own(
    signed: xc.Craft, images: np.ndarray, layer: str, number: int
) -> None:
    """A layer before the class token has patches alone, one after it the same special tokens."""
    node = signed.decompose(0, layer, 2, 50)
    assert node.for_class.special.shape[0] == number
    a = node.for_class.network.latents(images).numpy()
    u = node.for_class.transform(images)
    assert (u[:, :number] == 0.0).all()
    pooled = a[:, number:].reshape(12, -1, CHANNELS).mean(axis=1)
    whole = np.flatnonzero((np.asarray(node.crops.boxes)[:, 3:] == SIDE).all(axis=1))
    boxes = node.crops.boxes[whole]
    expected = node.factorized.transform(pooled[boxes[:, 0]])
    np.testing.assert_allclose(node.crops_u[whole], expected, atol=1e-3)
    shares = node.contributions(images[:3])
    np.testing.assert_allclose(
        shares.base + shares.residual + shares.phi.sum(axis=1) + shares.gap,
        signed.encoder(images[:3])[:, 0],
        atol=1e-3,
    )


def test_saved_and_loaded(signed: xc.Craft, images: np.ndarray, tmp_path: Path) -> None:
    again = xc.Craft.load(signed.save(tmp_path / "craft"), signed.split)
    np.testing.assert_array_equal(again.special, signed.special)
    np.testing.assert_array_equal(again.factorized.scale, signed.factorized.scale)
    assert again.keep_special_tokens is signed.keep_special_tokens
    np.testing.assert_array_equal(again.transform(images), signed.transform(images))
    np.testing.assert_array_equal(again.contributions(images).phi, signed.contributions(images).phi)


def test_other_layers_have_none(images: np.ndarray) -> None:
    """Where there are no tokens nothing is special, and quality does not speak of it."""
    keras.utils.set_random_seed(1)
    craft = fitted(transformer(0), images)
    assert craft.special.size == 0
    assert craft.quality(images).special_tokens is None
    assert craft.transform(images).shape == (12, 16, K)


# ------------------------------------------------------------------------- metrics of concepts
@pytest.mark.parametrize("keep", [True, False])
def test_outputs_are_predicted_with_special_tokens_as_they_stand(
    signed: xc.Craft, images: np.ndarray, keep: bool
) -> None:
    concepts = signed.variant(keep_residual=False, keep_special_tokens=keep)
    rebuilt = np.tensordot(signed.transform(images), signed.bank, 1) + signed.factorized.offset
    own = latents(signed, images)
    rebuilt[:, :S] = own[:, :S] if keep else own[:, :S].mean(axis=0)
    predicted = signed.network.logits(rebuilt.astype(np.float32)).numpy()
    truth = signed.network.logits(own).numpy()
    found = xc.output_fidelity(concepts, images)
    error = np.abs(predicted - truth).mean()
    assert found.mean_absolute_error.value == pytest.approx(error, rel=1e-3)


def test_metrics_leave_special_tokens_out(signed: xc.Craft, images: np.ndarray) -> None:
    a = latents(signed, images)[:, S:]
    rebuilt = np.tensordot(signed.transform(images)[:, S:], signed.bank, 1)
    rebuilt += signed.factorized.offset
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # these are the images of the fit
        found = xc.metrics.measure_extraction(signed, images)
    error = np.linalg.norm(a - rebuilt) / np.linalg.norm(a)
    assert found.relative_error.value == pytest.approx(error, rel=1e-4)


def test_all_concepts_back_give_the_score(signed: xc.Craft, images: np.ndarray) -> None:
    metric = xc.metrics.ConceptInsertion(signed, images, activation="softmax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an untrained score may fall with concepts
        curves = metric.summary(np.arange(float(K))).curves
    scores = tf.nn.softmax(signed.network.logits(latents(signed, images))).numpy()
    np.testing.assert_allclose(curves[:, -1], scores[:, signed.class_id], atol=1e-5)
