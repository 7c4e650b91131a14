"""Contributions: signed, and they add up to the model's own score, image by image."""

from typing import Any

import keras
import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from random_heads import KINDS, random_craft

import xplique_craft as xc
from xplique_craft.gates import GatedHead
from xplique_craft.importance.contributions import (
    ablation_effects,
    concatenate_contributions,
    contributions,
)
from xplique_craft.results import Contributions

CASES = [(head, latent) for head in planted.HEADS for latent in planted.LATENTS]
CASES.append(("attention", "tokens"))
MIXING = planted.bank(concepts=4, channels=6)


class Case:
    """A bank of three of four concepts, so that a residual remains."""

    def __init__(self, head: str, latent: str) -> None:
        self.head = head
        self.images = planted.paintings(5, concepts=4)
        self.model = planted.network(MIXING, head, latent=latent)
        self.craft = planted.fitted(self.model, MIXING[:3], self.images)
        coded = planted.coded(self.craft, self.images)
        self.u, self.activations = coded.u.numpy(), coded.activations.numpy()
        self.residual = self.activations - self.u @ MIXING[:3]
        self.found = self.craft.contributions(self.images)

    def score(self, activations: np.ndarray, class_id: Any = 0) -> np.ndarray:
        return planted.logits_by_numpy(self.head, self.model, activations)[:, class_id]

    def gated(self, gates: np.ndarray, class_id: int = 0) -> np.ndarray:
        """f_x(m) for one m, (n,)."""
        return self.score((self.u * gates) @ MIXING[:3] + self.residual, class_id)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


# -------------------------------------------------------------------------------------- adding up
def test_they_add_up_to_the_models_own_score(case: Case) -> None:
    found = case.found
    own = case.model(case.images).numpy()[:, 0]
    total = found.base + found.residual + found.phi.sum(axis=1) + found.gap
    assert_allclose(total, found.score, rtol=1e-12, atol=1e-12)
    assert_allclose(total, own, atol=1e-4)
    assert found.phi.shape == (5, 3)


def test_the_parts_are_what_they_say(case: Case) -> None:
    found = case.found
    base = case.score(np.zeros_like(case.activations))
    assert_allclose(found.base, base, atol=1e-5)
    assert_allclose(found.residual, case.gated(np.zeros(3)) - base, atol=1e-5)
    assert_allclose(found.score, case.score(case.activations), atol=1e-5)


def test_the_gap_is_small_and_honest(case: Case) -> None:
    found = case.found
    total = case.gated(np.ones(3)) - case.gated(np.zeros(3))
    assert_allclose(found.gap, total - found.phi.sum(axis=1), atol=2e-5)
    assert np.all(np.abs(found.gap) <= 1e-3 * np.abs(total) + 1e-6)
    assert found.exact == (case.head == "affine")
    assert found.points == 0 if found.exact else 24 <= found.points <= 700
    assert np.all(found.errors.max(axis=1) <= 1e-3 * np.abs(found.phi).max(axis=1))
    assert found.errors.shape == (5, 3)
    assert np.all(found.errors == 0.0) == found.exact


def test_they_are_integrated_gradients_on_the_gates(case: Case) -> None:
    """A fine trapezoid rule of numerical derivatives."""
    found = case.found
    step, nodes = 1e-5, np.linspace(0.0, 1.0, 201)
    for j in range(3):
        unit = step * np.eye(3)[j]
        slopes = [
            (case.gated(np.full(3, t) + unit) - case.gated(np.full(3, t) - unit)) / (2 * step)
            for t in nodes
        ]
        expected = np.trapezoid(slopes, nodes, axis=0)
        assert_allclose(found.phi[:, j], expected, rtol=5e-3, atol=5e-3)


def test_without_the_residual_they_share_the_score_of_uw(case: Case) -> None:
    craft = planted.fitted(case.craft.split, MIXING[:3], case.images, keep_residual=False)
    found = craft.contributions(case.images)
    assert_allclose(found.residual, 0.0, atol=1e-6)
    assert_allclose(found.score, case.score(case.u @ MIXING[:3]), atol=1e-5)
    total = found.base + found.residual + found.phi.sum(axis=1) + found.gap
    assert_allclose(total, found.score, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("targets", [2, np.array([2] * 5), planted.one_hot([2] * 5, 3)], ids=type)
def test_targets_of_all_kinds(case: Case, targets: object) -> None:
    found = case.craft.contributions(case.images, targets)
    assert_allclose(found.score, case.model(case.images).numpy()[:, 2], atol=1e-4)


def test_each_image_may_have_its_own_target(case: Case) -> None:
    classes = np.array([0, 2, 1, 1, 0])
    found = case.craft.contributions(case.images, classes)
    own = case.model(case.images).numpy()[np.arange(5), classes]
    assert_allclose(found.score, own, atol=1e-4)
    base = case.score(np.zeros_like(case.activations), slice(None))[0, classes]
    assert_allclose(found.base, base, atol=1e-5)


def test_ablation_effects_are_direct_evaluations(case: Case) -> None:
    effects = case.craft.ablation_effects(case.images)
    assert effects.shape == (5, 3)
    for j in range(3):
        expected = case.gated(np.ones(3)) - case.gated(1.0 - np.eye(3)[j])
        assert_allclose(effects[:, j], expected, atol=2e-5)


# ---------------------------------------------------------------------------------------- affine
@pytest.fixture(scope="module")
def affine() -> Case:
    return Case("affine", "map")


@pytest.fixture(scope="module")
def relu() -> Case:
    return Case("relu", "map")


def test_affine_contributions_are_the_slopes(affine: Case) -> None:
    kernel = affine.model.get_layer("logits").get_weights()[0][:, 0].astype(np.float64)
    expected = affine.u.mean(axis=(1, 2)) * (MIXING[:3] @ kernel)
    found = affine.found
    assert_allclose(found.phi, expected, rtol=1e-5, atol=1e-6)
    assert_allclose(found.gap, 0.0, atol=1e-5)
    assert_allclose(affine.craft.ablation_effects(affine.images), expected, rtol=1e-4, atol=1e-5)


def test_a_concept_that_lowers_the_score_is_negative() -> None:
    images = planted.paintings(4, concepts=3)
    model = planted.network(np.eye(3), "affine")
    kernel = np.zeros((3, 3), np.float32)
    kernel[:, 0] = [2.0, -3.0, 0.0]
    model.get_layer("logits").set_weights([kernel, np.array([5.0, 0.0, 0.0], np.float32)])
    craft = planted.fitted(model, np.eye(3), images)
    found = craft.contributions(images)
    amount = images.mean(axis=(1, 2))
    assert_allclose(found.phi, amount * [2.0, -3.0, 0.0], atol=1e-5)
    assert_allclose(found.base, 5.0, atol=1e-6)
    assert (craft.ablation_effects(images)[:, 1] < 0).all()
    sums = amount.sum(axis=0) * [2.0, -3.0, 0.0]
    assert_allclose(found.share, sums / sums.sum(), rtol=1e-4)


def test_together_they_are_worth_what_neither_is_alone() -> None:
    """m_1 m_2: half each by Aumann and Shapley; ablating either one costs everything."""
    craft, image = planted.function_craft(lambda m: 6.0 * m[:, 0] * m[:, 1], 2)
    found = craft.contributions(image)
    assert_allclose(found.phi, [[3.0, 3.0]], atol=1e-4)
    assert_allclose(craft.ablation_effects(image), [[6.0, 6.0]], atol=1e-4)


def test_powers_share_as_their_integrals() -> None:
    """m_1^2 m_2: on the diagonal the slopes are 2 t^2 and t^2."""
    craft, image = planted.function_craft(lambda m: 3.0 * m[:, 0] ** 2 * m[:, 1], 2)
    found = craft.contributions(image)
    assert_allclose(found.phi, [[2.0, 1.0]], atol=1e-4)
    assert found.points == 24  # the first rule is exact on polynomials
    assert not found.exact


def test_points_are_added_where_the_score_bends() -> None:
    """A step in the middle of the path needs more points than a parabola."""
    from keras import ops

    craft, image = planted.function_craft(
        lambda m: ops.sigmoid(200.0 * (0.5 * (m[:, 0] + m[:, 1]) - 0.37)), 2
    )
    found = craft.contributions(image)
    assert found.points > 24
    assert abs(found.gap[0]) <= 1e-3
    assert_allclose(found.phi, [[0.5, 0.5]], atol=1e-3)


def test_a_score_that_cannot_be_completed_reports_its_gap() -> None:
    """Its derivative is 0 wherever it is taken: all is gap, and may be anyone's."""
    from keras import ops

    craft, image = planted.function_craft(lambda m: ops.floor(m[:, 0] + 0.3) + 0.0 * m[:, 1], 2)
    with pytest.warns(UserWarning, match="contributions of 1 of 1 images do not add up"):
        found = craft.contributions(image)
    assert_array_equal(found.phi, [[0.0, 0.0]])
    assert_allclose(found.gap, 1.0, atol=1e-6)
    assert 1.0 <= found.errors.min() == found.errors.max() <= 2.1
    assert found.points < 100  # not those of a part of width 0


def test_a_peak_between_the_points_is_found_by_the_score() -> None:
    """The slope is 0 at all points of the first rule, and 1 on a small part of the way."""
    from keras import ops

    craft, image = planted.function_craft(
        lambda m: ops.relu(m[:, 0] - 0.62) - ops.relu(m[:, 0] - 0.68) + 0.0 * m[:, 1], 2
    )
    found = craft.contributions(image)
    assert_allclose(found.phi, [[0.06, 0.0]], atol=6e-5)
    assert found.errors.max() <= 6e-5


def test_errors_that_cancel_in_the_sum_are_seen() -> None:
    """Two concepts that switch on at 0.9 of the way, one for the score and one against it."""
    images = np.ones((1, 2, 2, 2), np.float32)
    image = keras.Input((2, 2, 2))
    latent = keras.layers.Identity(name=planted.LAYER)(image)
    pooled = keras.layers.GlobalAveragePooling2D()(latent)
    bent = keras.layers.Dense(2, activation="relu")
    logits = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(image, logits(bent(pooled)))
    bent.set_weights([np.eye(2), np.full(2, -0.9)])
    logits.set_weights([np.array([[1.0, 0.0], [-1.0, 0.0]])])
    craft = planted.fitted(model, np.eye(2), images)
    found = craft.contributions(images)
    assert_allclose(found.phi, [[0.1, -0.1]], atol=1e-4)
    assert np.all(np.abs(found.phi - [[0.1, -0.1]]) <= found.errors)
    assert found.errors.max() <= 1e-4


# ------------------------------------------------------------------------------- random heads
def off_and_stated(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How far contributions are off and say they are, of the image's largest; (n, k) each."""
    craft, images = random_craft(seed)
    coded, head = planted.coded(craft, images), craft.head()
    found = contributions(coded, head)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    truth = np.zeros_like(found.phi)
    for part in range(4):  # 4,096 points, of which each 1,024 are added in float32
        starts = (128 * part + np.arange(128))[:, None]
        placed = (starts + 0.5 * (nodes + 1.0)).reshape(-1) / 512
        truth += head.slopes(coded, placed, np.tile(0.5 * weights / 512, 128))
    largest = np.abs(truth).max(axis=1, keepdims=True)
    assert largest.min() > 0.0
    return np.abs(found.phi - truth) / largest, found.errors / largest


@pytest.mark.filterwarnings("ignore:The model ends in a softmax")
@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_random_heads_are_integrated_to_the_tolerance(seed: int) -> None:
    off, stated = off_and_stated(seed)
    assert off.max() <= 1.5e-3
    assert stated.max() <= 1.1e-3
    assert np.mean(off <= stated) >= 0.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The model ends in a softmax")
def test_stated_errors_hold_for_at_least_95_percent() -> None:
    pairs = [off_and_stated(seed) for seed in range(200)]
    off, stated = (np.concatenate([pair[i].reshape(-1) for pair in pairs]) for i in range(2))
    print(
        f"within their stated error: {np.mean(off <= stated):.3f}, "
        f"within 1e-3 of the largest: {np.mean(off <= 1e-3):.3f}"
    )
    assert np.mean(off <= stated) >= 0.95
    assert np.mean(off <= 1e-3) >= 0.95


def test_deep_relu_heads_are_completed_too() -> None:
    """A convolution, an average and two dense layers: many small kinks on the way."""
    images = planted.paintings(8, (16, 24), seed=2)
    model = planted.convolutional((16, 24), bend="relu")
    craft = xc.Craft.from_model(model, planted.LAYER, 4)
    craft.fit(images, planted.predicted(model, images))
    found = craft.contributions(images)
    total = found.score - found.base - found.residual
    assert np.abs(total).min() > 0.5
    assert np.abs(found.gap / total).max() <= 1e-3


def test_an_image_without_concepts(relu: Case) -> None:
    found = relu.craft.contributions(np.zeros_like(relu.images[:2]))
    assert_array_equal(found.phi, 0.0)
    assert_allclose(found.residual, 0.0, atol=1e-6)
    assert_array_equal(found.gap, 0.0)
    assert_allclose(found.score, found.base, atol=1e-6)


# ---------------------------------------------------------------------------- shares and batches
def test_shares_are_ratios_of_sums(relu: Case) -> None:
    found = relu.found
    total = (found.score - found.base).sum()
    assert_allclose(found.share, found.phi.sum(axis=0) / total, rtol=1e-12)
    assert found.residual_share == pytest.approx(found.residual.sum() / total)
    whole = found.share.sum() + found.residual_share + found.gap.sum() / total
    assert whole == pytest.approx(1.0, abs=1e-9)


def test_shares_by_hand() -> None:
    found = Contributions(
        phi=np.array([[1.0, -2.0], [3.0, 4.0]]),
        errors=np.zeros((2, 2)),
        base=np.array([1.0, 1.0]),
        residual=np.array([0.5, 1.0]),
        score=np.array([0.5, 9.5]),
        gap=np.array([0.0, 0.5]),
        points=8,
        exact=False,
    )
    assert_allclose(found.share, [0.5, 0.25])
    assert found.residual_share == pytest.approx(1.5 / 8.0)


def test_shares_of_nothing_are_not_defined() -> None:
    nothing = np.zeros(2)
    found = Contributions(
        np.zeros((2, 3)), nothing, nothing, nothing, nothing, np.zeros((2, 3)), 0, True
    )
    assert np.isnan(found.share).all()
    assert np.isnan(found.residual_share)


def test_batches_do_not_matter(relu: Case) -> None:
    """Two images at a time, and all at once."""
    craft = planted.fitted(relu.craft.split, MIXING[:3], relu.images, batch_size=2)
    found = craft.contributions(relu.images)
    head = GatedHead(relu.craft.network, None, 64)
    coded = planted.coded(relu.craft, relu.images)
    together = contributions(coded, head)
    for name in ("phi", "base", "residual", "score"):
        assert_allclose(getattr(found, name), getattr(together, name), rtol=1e-3, atol=1e-5)
    assert_allclose(
        craft.ablation_effects(relu.images),
        ablation_effects(coded, head),
        atol=1e-5,
    )


def test_batches_are_put_together_in_order() -> None:
    def part(number: int, points: int, exact: bool) -> Contributions:
        row = np.full(1, float(number))
        pair = np.full((1, 2), float(number))
        return Contributions(pair, row, row, row, row, pair, points, exact)

    whole = concatenate_contributions([part(1, 8, True), part(2, 32, False), part(3, 16, True)])
    assert_array_equal(whole.phi, [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert_array_equal(whole.errors, whole.phi)
    for name in ("base", "residual", "score", "gap"):
        assert_array_equal(getattr(whole, name), [1.0, 2.0, 3.0])
    assert whole.points == 32
    assert not whole.exact


def test_what_is_explained_is_the_craft_as_it_is_now(relu: Case) -> None:
    """New weights, as after more training: nothing of the old ones is kept."""
    images = relu.images
    model = planted.network(MIXING, "relu", seed=1)
    craft: xc.Craft = planted.fitted(model, MIXING[:3], images)
    before = craft.contributions(images)
    other = planted.network(MIXING, "relu", seed=2)
    model.set_weights(other.get_weights())
    after = craft.contributions(images)
    assert np.abs(after.phi - before.phi).max() > 1e-2
    assert_allclose(after.score, other(images).numpy()[:, 0], atol=1e-4)
