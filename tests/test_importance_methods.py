"""Holistic's importance methods: by hand, against Xplique's own, axioms, what changes of f do."""

from typing import Any

import numpy as np
import planted
import pytest
from analytic import product
from importances import BANK, Case
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri
from xplique.attributions import GradientInput, IntegratedGradients, Occlusion, Saliency

import xplique_craft as xc
from xplique_craft import importance as xi
from xplique_craft.importance.designs import keyed_uniform

CASES = [(head, latent) for head in planted.HEADS for latent in planted.LATENTS]
LINEAR = ["banzhaf", "gradient input", "integrated gradients", "occlusion", "shapley"]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


@pytest.fixture(scope="module")
def relu() -> Case:
    return Case("relu", "map")


@pytest.fixture(scope="module")
def both_needed() -> tuple[xc.Craft, np.ndarray]:
    """f_x(m) = m_1 m_2, u = (1, 1), W = I and no residual: the image needs both concepts."""
    return planted.function_craft(product, 2, images=2)


# ------------------------------------------------------------------------------------- by hand
BY_HAND = {
    # df/du = (u_2, u_1) = (1, 1)
    "saliency": 1.0,
    # u df/du = (1, 1)
    "gradient input": 1.0,
    # integral of t dt = 1/2, for df/dm_1 = t on the diagonal
    "integrated gradients": 0.5,
    # f(1, 1) - f(0, 1) = 1 - 0
    "occlusion": 1.0,
    # E[m_1 m_2 | m_1 = 1] = P(m_2 = 1) = 1/2
    "rise": 0.5,
    # The order decides which of two gets it all: 1/2 (0) + 1/2 (1)
    "shapley": 0.5,
    # 1/2 (1 - 0) with the other, 1/2 (0 - 0) without it
    "banzhaf": 0.5,
    # The derivative u_2 = 1 is positive.
    "tcav": 1.0,
    # ST = (1/12 1/3) / (1/9 - 1/16) = 4/7
    "sobol total": 4.0 / 7.0,
    # Scores 0, 0, 0, 1 with deviation s = sqrt(3)/4; L is 1 but for a = exp(-1 / (2 s^2)) = e^-8/3
    # between the last and the others; (H x)^T L (H x) = -2 (1 - a) sum_{i<4} x_i x_4 = (1 - a) / 2
    # with H x = (-1, -1, 1, 1) / 2; HSIC = 2 / 16 of it, times nb_design = 256.
    "hsic": 256.0 / 16.0 * (1.0 - np.exp(-8.0 / 3.0)),
    # df/du_1 = u_2 + noise: its mean is 1.
    "smooth grad": 1.0,
}
SAMPLED = {"sobol total": {"nb_design": 1024}, "smooth grad": {"nb_samples": 4000}}


def test_every_method_is_worked_by_hand() -> None:
    assert sorted(BY_HAND) == sorted(xi.METHODS)


@pytest.mark.parametrize("method", sorted(BY_HAND))
def test_a_head_that_needs_both_concepts(
    both_needed: tuple[xc.Craft, np.ndarray], method: str
) -> None:
    craft, images = both_needed
    settings = SAMPLED.get(method, {})
    found = xi.METHODS[method](craft, batch_size=512, **settings).explain(images)
    assert_allclose(found, np.full((2, 2), BY_HAND[method]), atol=0.015 if settings else 1e-5)


@pytest.mark.parametrize("method", LINEAR)
@pytest.mark.parametrize("latent", planted.LATENTS)
def test_affine_heads_give_the_same_to_every_signed_method_of_gates(
    method: str, latent: str
) -> None:
    """c_j = sum_p u_j(p) <W_j, D>, D the class's weights over the number of places."""
    case = Case("affine", latent)
    kernel = case.model.get_layer("logits").get_weights()[0].astype(np.float64)
    mean = case.u.reshape(5, -1, 3).mean(axis=1)
    expected = mean * (BANK[:3] @ (kernel[:, 1] - kernel[:, 2]))
    target = xc.ClassDifference(1, 2)
    assert_allclose(case.explain(method, target), expected, atol=1e-5)
    # Without the closed form: an operator of which nothing is known beforehand.
    some = case.explain(method, target, operator=planted.by_sampling)
    assert_allclose(some, expected, atol=1e-5)


def test_affine_heads_have_one_derivative_for_all() -> None:
    case = Case("affine", "map")
    kernel = case.model.get_layer("logits").get_weights()[0].astype(np.float64)
    expected = np.tile(BANK[:3] @ kernel[:, 0], (5, 1))
    assert_allclose(case.explain("saliency"), np.abs(expected), atol=1e-5)
    assert_allclose(case.explain("smooth grad"), expected, atol=1e-5)
    assert_array_equal(case.explain("tcav"), expected > 0.0)
    noisy = case.explain("smooth grad", operator=planted.by_sampling, nb_samples=3, noise=2.0)
    assert_allclose(noisy, expected, atol=1e-5)


# --------------------------------------------------------------------------- Xplique's own
@pytest.mark.parametrize("class_id", [0, 2])
def test_agreement_with_xplique_on_the_decoder(case: Case, class_id: int) -> None:
    """Their explanations of coefficients, residual dropped; on maps where sums are what we give."""
    decoder, inputs = case.craft.decoder, case.u
    targets = planted.one_hot([class_id] * 5, 3)

    def ours(method: str, **settings: Any) -> np.ndarray:
        return case.explain(method, class_id, keep_residual=False, **settings)

    def theirs(explainer: Any) -> np.ndarray:
        found = np.asarray(explainer.explain(inputs, targets))
        return found.reshape(5, -1, 3).sum(axis=1)

    assert_allclose(ours("gradient input"), theirs(GradientInput(decoder, reducer=None)), atol=1e-4)
    many = IntegratedGradients(decoder, reducer=None, steps=500, batch_size=500)
    assert_allclose(ours("integrated gradients", steps=500), theirs(many), atol=1e-4)
    # Without a number of steps: complete to 1e-3 of the score, and kinks keep both from the limit.
    scale = np.abs(theirs(many)).sum(axis=1).max()
    atol = 1e-4 if case.head == "affine" else 5e-3 * scale
    assert_allclose(ours("integrated gradients"), theirs(many), atol=atol)
    saliency = Saliency(decoder, reducer=None)
    summed = np.asarray(saliency.batch_gradient(decoder, inputs, targets, 64))
    summed = np.abs(summed.reshape(5, -1, 3).sum(axis=1))
    assert_allclose(ours("saliency"), summed, rtol=1e-4, atol=1e-4)
    if inputs.ndim == 2:
        assert_allclose(ours("saliency"), theirs(saliency), atol=1e-4)
        occlusion = Occlusion(decoder, patch_size=1, patch_stride=1)
        assert_allclose(ours("occlusion"), theirs(occlusion), atol=1e-4)


def test_occlusion_of_maps_closes_a_gate_at_every_place(case: Case) -> None:
    expected = np.empty((5, 3))
    for j in range(3):
        closed = case.u.copy()
        closed[..., j] = 0.0
        expected[:, j] = case.score(case.u) - case.score(closed)
    assert_allclose(case.explain("occlusion", keep_residual=False), expected, atol=1e-5)


# ------------------------------------------------------------------------------- derivatives
def directional(case: Case, u: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """sum_p df/du_j(p), (n, 3), by central differences in float64."""
    ahead = np.eye(3) * step
    u = u.astype(np.float64)
    return np.stack([case.score(u + e) - case.score(u - e) for e in ahead], axis=1) / (2.0 * step)


def test_derivatives_are_along_rows_of_the_bank_at_all_places(case: Case) -> None:
    expected = directional(case, case.u)
    found = case.explain("saliency", keep_residual=False)
    assert_allclose(found, np.abs(expected), rtol=1e-3, atol=1e-4)
    assert_array_equal(case.explain("tcav", keep_residual=False), expected > 0.0)


def test_tcav_counts_images_without_the_concept() -> None:
    """f = u_1 - u_2 + u_1 u_3: at u = (1, 0, 0), df/du = (1, -1, 1)."""
    craft, _ = planted.function_craft(lambda m: m[:, 0] - m[:, 1] + m[:, 0] * m[:, 2], 3)
    image = np.zeros((1, 2, 2, 3), np.float32)
    image[..., 0] = 1.0
    assert_allclose(craft.transform(image), [[1.0, 0.0, 0.0]], atol=1e-6)
    assert_array_equal(xi.TcavImportance(craft).explain(image), [[1.0, 0.0, 1.0]])
    assert_allclose(xi.SaliencyImportance(craft).explain(image), [[1.0, 1.0, 1.0]], atol=1e-5)


def test_the_tcav_score_is_the_share_of_positive_derivatives(relu: Case) -> None:
    importance = xi.TcavImportance(relu.craft).summary(relu.images)
    assert_allclose(importance.overall, importance.per_image.mean(axis=0))
    assert set(np.unique(importance.per_image)) <= {0.0, 1.0}
    assert importance.exact


def test_smooth_grad_by_its_own_noise() -> None:
    """f = u_1 u_2: the mean derivatives are u_2 and u_1 plus the mean noise there."""
    craft, images = planted.function_craft(product, 2, images=3)
    images = images * np.array([1.0, 0.5], np.float32)
    method = xi.SmoothGradImportance(craft, nb_samples=11, noise=0.3, seed=5)
    keys = np.arange(3)[:, None, None], np.arange(11)[:, None], np.arange(1), np.arange(2)
    keys = keys[0][..., None], keys[1][..., None], keys[2][:, None], keys[3]
    noise = 0.3 * craft.coefficient_scale * ndtri(keyed_uniform(5, *keys))[:, :, 0]
    mean = np.array([1.0, 0.5]) + noise.mean(axis=1)
    assert_allclose(method.explain(images), mean[:, ::-1], atol=1e-5)


def test_noise_is_a_share_of_each_concepts_scale(relu: Case) -> None:
    """Coefficients in other units, and rows of the bank in theirs: derivatives follow, no more."""
    units = np.array([1.0, 10.0, 0.1], np.float32)
    craft = planted.fitted(relu.model, BANK[:3] * units[:, None], relu.images)
    found = xi.SmoothGradImportance(craft).explain(relu.images)
    assert_allclose(found / units, relu.explain("smooth grad"), rtol=1e-3, atol=1e-3)


def test_no_noise_is_the_derivative(relu: Case) -> None:
    found = relu.explain("smooth grad", noise=0.0, keep_residual=False)
    assert_allclose(found, directional(relu, relu.u), rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------ axioms
@pytest.mark.parametrize("method", ["shapley", "integrated gradients"])
@pytest.mark.parametrize("keep_residual", [True, False])
def test_efficiency(case: Case, method: str, keep_residual: bool) -> None:
    """They add up to f_x(1) - f_x(0): to the score's precision, quadrature to its stated gap."""
    found = case.explain(method, keep_residual=keep_residual)
    closed, opened = np.zeros_like(case.u), case.u
    total = case.score(opened) - case.score(closed)
    if keep_residual:
        parts = case.craft.contributions(case.images)
        total = parts.score - parts.base - parts.residual
    gap = 1e-3 * np.abs(total) if method == "integrated gradients" else 0.0
    assert (np.abs(found.sum(axis=1) - total) <= gap + 2e-5).all()


def with_a_dummy(m: Any) -> Any:
    """Symmetric in its first two gates; the third does nothing."""
    return ops.tanh(m[:, 0] * m[:, 1] + 0.5 * (m[:, 0] + m[:, 1])) + 0.0 * m[:, 2]


@pytest.mark.parametrize("method", ["shapley", "banzhaf", "integrated gradients", "occlusion"])
def test_symmetry_and_dummy(method: str) -> None:
    craft, images = planted.function_craft(with_a_dummy, 3)
    found = xi.METHODS[method](craft).explain(images)[0]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert found[2] == pytest.approx(0.0, abs=1e-7)
    assert found[0] > 0.1
    if method not in ("banzhaf", "occlusion"):
        assert found.sum() == pytest.approx(np.tanh(2.0), abs=1e-3)
