"""Real models on real photographs: the encoding, the closed form, the identity f_x(1) = f(x)."""

from types import ModuleType
from typing import NamedTuple

import numpy as np
import planted
import pytest
import reference
from numpy.testing import assert_allclose

import xplique_craft as xc
from xplique_craft.factorization import NMF
from xplique_craft.factorization.implicit import encode
from xplique_craft.importance import SobolImportance

pytestmark = pytest.mark.slow

MODELS = ("mobilenet", "squeezenet")
CLASS, PHOTOGRAPHS = "tench", 36


class Real(NamedTuple):
    """A model, cut where it is explained, with photographs of a class."""

    split: xc.Split
    images: np.ndarray
    class_id: int


@pytest.fixture(scope="module", params=MODELS)
def real(request: pytest.FixtureRequest, realkit: ModuleType) -> Real:
    name = request.param
    photographs = realkit.load_images(CLASS, PHOTOGRAPHS, size=realkit.INPUT_SIZE[name])
    split = xc.split_model(realkit.load_model(name), realkit.SPLIT_LAYERS[name][0])
    return Real(split, realkit.preprocess(photographs, name), realkit.class_index(CLASS))


@pytest.fixture(scope="module")
def rows(real: Real) -> np.ndarray:
    """Activations at all places of all photographs, (n, c), in random order."""
    parts = [real.split.network.latents(real.images[i : i + 6]) for i in range(0, PHOTOGRAPHS, 6)]
    found = np.concatenate(parts).reshape(-1, parts[0].shape[-1])
    return np.random.default_rng(0).permutation(found)


def fitted(real: Real, concepts: int) -> xc.Craft:
    """A craft of few photographs and few iterations: what is tested holds for any bank."""
    craft = xc.Craft.from_model(real.split, None, concepts, 16, factorizer=NMF(max_iter=20))
    craft.fit(real.images[:6], real.class_id)
    return craft


# ------------------------------------------------------------------------------------ the encoding
def test_the_encoding_of_real_rows(rows: np.ndarray) -> None:
    """In float64 it is scipy's solution to 1e-9; in float32 to 1e-4, its KKT residual to 1e-5."""
    bank = NMF(max_iter=30).fit(rows[1000:2000], 25).bank
    given = rows[:1000].astype(np.float64)
    # The same problem in the k dimensions that the bank spans, where scipy is 20 times faster.
    basis, triangle = np.linalg.qr(bank.T.astype(np.float64))
    expected = reference.nnls_rows(given @ basis, triangle.T)
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert 0.1 < (expected > 0.0).mean() < 0.9
    double, residual = encode(given, bank.astype(np.float64))
    assert (np.abs(double.numpy() - expected) <= 1e-9 * scale).all()
    assert residual.numpy().max() <= 1e-9
    single, residual = encode(rows[:1000], bank)
    assert (np.abs(single.numpy() - expected) <= 1e-4 * scale).all()
    assert residual.numpy().max() <= 1e-5
    assert reference.kkt_residual(single.numpy(), given, bank).max() <= 1e-5


# -------------------------------------------------------------------------------- the closed form
@pytest.fixture(scope="module")
def affine(realkit: ModuleType) -> tuple[xc.Craft, np.ndarray]:
    """Mobilenet, whose head is affine: the mean over positions, then a 1x1 convolution."""
    images = realkit.preprocess(realkit.load_images(CLASS, 6), "mobilenet")
    split = xc.split_model(realkit.load_model("mobilenet"), "conv_pw_13_relu")
    return fitted(Real(split, images, realkit.class_index(CLASS)), 10), images


def test_importance_by_the_kernel_of_the_head(affine: tuple[xc.Craft, np.ndarray]) -> None:
    """c_j = mean_p u_j(p) <W_j, kernel>, u by scipy: ST_j = c_j^2 / sum_i c_i^2."""
    craft, images = affine
    kernel = craft.model.get_layer("conv_preds").get_weights()[0][0, 0, :, craft.class_id]
    bank = craft.factorized.bank.astype(np.float64)
    activations = craft.network.latents(images).numpy()
    u = reference.nnls_rows(activations.reshape(-1, len(kernel)), bank)
    c = u.reshape(len(images), -1, len(bank)).mean(axis=1) * (bank @ kernel.astype(np.float64))
    expected = c**2 / (c**2).sum(axis=1, keepdims=True)
    importance = SobolImportance(craft).summary(images)
    assert importance.exact
    assert_allclose(importance.per_image, expected, rtol=0.0, atol=1e-6)
    assert_allclose(craft.contributions(images).phi, c, rtol=0.0, atol=1e-5 * np.abs(c).max())


def test_importance_by_sampling(affine: tuple[xc.Craft, np.ndarray]) -> None:
    """An operator of the user's, of which nothing can be known, to 1%."""
    craft, images = affine
    sampled = SobolImportance(craft, 4096, batch_size=512, operator=planted.by_sampling)
    found = sampled.summary(images[:2])
    assert not found.exact
    assert_allclose(found.per_image, SobolImportance(craft).explain(images[:2]), atol=0.01)


# ------------------------------------------------------------------------------------ f_x(1) = f(x)
@pytest.mark.parametrize("concepts", [10, 20])
@pytest.mark.parametrize("bank", ["nmf", "random"])
def test_open_gates_leave_the_model_as_it_is(real: Real, concepts: int, bank: str) -> None:
    """To 1e-4 max(1, |score|), whatever the bank."""
    images = real.images[:6]
    if bank == "nmf":
        craft = fitted(real, concepts)
    else:
        channels = real.split.network.channels
        given = np.random.default_rng(0).gamma(0.5, 1.0, (concepts, channels))
        craft = planted.fitted(real.split, given, images, real.class_id, batch_size=16)
    expected = real.split.model.predict(images, batch_size=6, verbose=0)[:, real.class_id]
    gates = np.ones((1, concepts), np.float32)
    head = SobolImportance(craft)._head()
    coded = planted.coded(craft, images)
    found = head.evaluate(coded, gates)[:, 0]
    assert (np.abs(found - expected) <= 1e-4 * np.maximum(1.0, np.abs(expected))).all()
    closed = head.evaluate(coded, 0.0 * gates)[:, 0]
    assert np.abs(closed - expected).min() > 1e-2  # the gates do something
    assert_allclose(craft.contributions(images).score, found, rtol=1e-4, atol=1e-4)
