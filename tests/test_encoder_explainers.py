"""The encoder of a craft under Xplique's explainers: every one of them makes concept maps of it."""

from typing import Any

import explainers
import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
import xplique.attributions
from numpy.testing import assert_allclose
from reference import unit_rows

import xplique_craft as xc

pytestmark = pytest.mark.slow  # all of Xplique's explainers; the others run by default

SIZE = (16, 24)
# Those of them that say how much a place adds to the score, or takes from it when it is hidden;
# what is hidden must be black here, for grey holds some of every concept.
BLACK = np.zeros(3, np.float32)
LOCALISING: dict[str, dict[str, Any]] = {
    "GradientInput": {},
    "IntegratedGradients": {"steps": 8},
    "KernelShap": {"nb_samples": 200, "ref_value": BLACK},
    "Lime": {"nb_samples": 200, "ref_value": BLACK},
    "Occlusion": {"patch_size": 4, "patch_stride": 2},
    "Rise": {"nb_samples": 400, "grid_size": 6},
    "SobolAttributionMethod": {
        "grid_size": 6,
        "nb_design": 32,
        "perturbation_function": "amplitude",
    },
}


def explained(name: str, model: keras.Model, settings: dict[str, Any], *given: Any) -> np.ndarray:
    return np.asarray(getattr(xplique.attributions, name)(model, **settings).explain(*given))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((6, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.convolutional_craft(images, 3)


@pytest.fixture(scope="module")
def gradients(craft: xc.Craft, images: np.ndarray) -> np.ndarray:
    """d score_j / d pixels of the first images, (2, 3, H, W, channels): through g by hand.

    With S the support at a place, u_S = G_SS^-1 W_S a: there the score is a linear function of a.
    """
    g, bank = craft.input_to_latent_model, craft.factorized.bank.astype(np.float64)
    batch = tf.constant(images[:2])
    u = craft.transform(images[:2])
    directions, norms = unit_rows(bank)
    maps = np.zeros((*u.shape, bank.shape[1]))  # (n, h, w, k, c): du / da
    for place in np.ndindex(u.shape[:-1]):
        on = np.flatnonzero(u[place] > 0.0)
        gram = directions[on] @ directions[on].T
        maps[place][on] = np.linalg.solve(gram, directions[on]) / norms[on, None]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(batch)
        coefficients = tf.einsum("nhwkc,nhwc->nhwk", tf.constant(maps, tf.float32), g(batch))
        scores = tf.unstack(tf.reduce_mean(coefficients, axis=(1, 2)), axis=1)
    return np.stack([tape.gradient(score, batch).numpy() for score in scores], axis=1)


def test_none_is_left_out() -> None:
    """All of Xplique's methods for images, but those that need an object detector or a text."""
    names = {n for n, v in vars(xplique.attributions).items() if isinstance(v, type)}
    assert names == set(explainers.ARGUMENTS)


@pytest.mark.parametrize("name", explainers.ARGUMENTS)
def test_maps_of_concepts(craft: xc.Craft, images: np.ndarray, name: str) -> None:
    """One for each image, finite, not constant; and not the same whatever the concept is."""
    targets = planted.one_hot([0, 1, 1, 2], 3)
    found = explained(
        name, craft.encoder, explainers.ARGUMENTS[name], images[[0, 1, 0, 1]], targets
    )
    assert found.shape == (4, *SIZE, 1)
    assert np.isfinite(found).all()
    spread = np.ptp(found, axis=(1, 2, 3))
    assert (spread > 1e-2 * np.abs(found).max(axis=(1, 2, 3))).all()
    change = np.abs(found[:2] - found[2:]).max(axis=(1, 2, 3))
    if name == "FEM":  # it asks of no target
        assert_allclose(change, 0.0, atol=1e-6)
    else:
        assert (change > 1e-2 * spread[:2]).all()


@pytest.mark.parametrize("concept", range(3))
def test_saliency_and_gradient_input_by_hand(
    craft: xc.Craft, images: np.ndarray, gradients: np.ndarray, concept: int
) -> None:
    targets = planted.one_hot([concept] * 2, 3)
    expected = gradients[:, concept]
    assert np.abs(expected).max() > 1e-3
    saliency = explained("Saliency", craft.encoder, {}, images[:2], targets)
    scale = np.abs(expected).max()
    assert_allclose(
        saliency, np.abs(expected).max(axis=-1, keepdims=True), rtol=0.0, atol=1e-4 * scale
    )
    by_input = explained("GradientInput", craft.encoder, {}, images[:2], targets)
    product = (expected * images[:2]).mean(axis=-1, keepdims=True)
    assert_allclose(by_input, product, rtol=0.0, atol=1e-4 * scale)


def test_integrated_gradients_add_up(craft: xc.Craft, images: np.ndarray) -> None:
    """Over pixels and channels: the score minus that of a black image."""
    settings = {"steps": 100, "reducer": None}
    targets = planted.one_hot([0, 2], 3)
    found = explained("IntegratedGradients", craft.encoder, settings, images[:2], targets)
    scores = craft.encoder(images[:2]) - craft.encoder(np.zeros_like(images[:2]))
    expected = (scores * targets).numpy().sum(axis=1)
    assert np.abs(expected).min() > 1e-3
    assert_allclose(found.sum(axis=(1, 2, 3)), expected, rtol=0.02)


# ------------------------------------------------------------------------------------ planted ones
@pytest.fixture(scope="module")
def squares() -> np.ndarray:
    """(1, H, W, 3): concept 0 at the left, concept 1 at the right, concept 2 nowhere."""
    left, right = planted.square(SIZE, 4, 4, 8, 0), planted.square(SIZE, 4, 16, 8, 1)
    return (left + right)[None]


@pytest.fixture(scope="module")
def known(squares: np.ndarray) -> xc.Craft:
    bank = planted.bank()
    return planted.fitted(planted.network(bank, size=SIZE), bank, squares)


@pytest.mark.parametrize("name", LOCALISING)
def test_the_map_of_a_concept_lies_where_it_is(
    known: xc.Craft, squares: np.ndarray, name: str
) -> None:
    """Its square is a sixth of the image; the other concept's square is not to light up."""
    twice, targets = np.concatenate([squares, squares]), planted.one_hot([0, 1], 3)
    maps = explained(name, known.encoder, LOCALISING[name], twice, targets)[..., 0]
    for concept in (0, 1):
        found = maps[concept] - np.median(maps[concept])
        own, other = squares[0, ..., concept] > 0.0, squares[0, ..., 1 - concept] > 0.0
        top = np.argsort(found, axis=None)[-own.sum() // 2 :]
        assert own.ravel()[top].mean() > 0.9
        assert found[own].mean() > 5.0 * abs(found[other].mean())


def test_gradcam_of_a_concept_shows_what_overlaps_with_it(
    known: xc.Craft, squares: np.ndarray
) -> None:
    """Each channel has one weight everywhere, so another's square shows as far as they overlap."""
    gram = known.factorized.bank @ known.factorized.bank.T
    twice, targets = np.concatenate([squares, squares]), planted.one_hot([0, 1], 3)
    maps = explained("GradCAM", known.encoder, {}, twice, targets)[..., 0]
    for concept in (0, 1):
        own, other = squares[0, ..., concept] > 0.0, squares[0, ..., 1 - concept] > 0.0
        assert_allclose(maps[concept][~own & ~other], 0.0, atol=1e-6 * maps[concept].max())
        overlap = gram[concept, 1 - concept] / gram[concept, concept]
        assert_allclose(maps[concept][other].mean() / maps[concept][own].mean(), overlap, rtol=1e-4)


@pytest.mark.parametrize("name", ["GradientInput", "IntegratedGradients", "Occlusion"])
def test_a_concept_that_is_nowhere_has_a_dark_map(
    known: xc.Craft, squares: np.ndarray, name: str
) -> None:
    """Of its score; its gradient is not 0, for a little of it would be seen."""
    twice, targets = np.concatenate([squares, squares]), planted.one_hot([0, 2], 3)
    present, absent = explained(name, known.encoder, explainers.ARGUMENTS[name], twice, targets)
    assert np.abs(present).max() > 1e-4
    assert np.abs(absent).max() < 1e-5 * np.abs(present).max()


def test_gradient_input_of_a_planted_concept_is_the_painting(
    known: xc.Craft, squares: np.ndarray
) -> None:
    """u is the painting itself there: each of 384 places adds its share to the mean."""
    targets = planted.one_hot([0], 3)
    found = explained("GradientInput", known.encoder, {"reducer": None}, squares, targets)
    assert_allclose(found.sum(axis=-1)[0], squares[0, ..., 0] / np.prod(SIZE), atol=1e-7)
