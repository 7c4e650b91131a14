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
CLASS, PHOTOGRAPHS = "tench", 18


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


@pytest.fixture(scope="module")
def mobilenet(realkit: ModuleType) -> xc.Craft:
    """Its head is affine: the mean over positions, then a 1x1 convolution."""
    images = realkit.preprocess(realkit.load_images(CLASS, 6), "mobilenet")
    model = realkit.load_model("mobilenet")
    return fitted(Real(xc.split_model(model, "conv_pw_13_relu"), images, 0), 10)


def fitted(real: Real, concepts: int) -> xc.Craft:
    craft = xc.Craft.from_model(real.split, None, concepts, 16, factorizer=NMF(max_iter=20))
    predictions = np.concatenate(
        [real.split.model(real.images[i : i + 1]) for i in range(6)]
    ).argmax(axis=1)
    craft.fit(real.images[:6], int(np.bincount(predictions).argmax()))
    return craft


# ------------------------------------------------------------------------------------ the encoding
def test_the_encoding_of_real_rows(rows: np.ndarray) -> None:
    """In float64 it is scipy's solution to 1e-9; in float32 to 1e-4, its KKT residual to 1e-5."""
    rest = rows[1000:]
    assert len(rest) > 800 - 1000 + 882 - 800  # what is left of the smaller one
    bank = NMF(max_iter=30).fit(rest, 25).bank
    given = rows[:1000].astype(np.float64)
    expected = reference.nnls_rows(given, bank)
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert 0.1 < (expected > 0.0).mean() < 0.9
    double, residual = encode(given, bank.astype(np.float64))
    assert np.abs(double.numpy() - expected).max() <= 1e-9 * scale.max()
    assert (np.abs(double.numpy() - expected) <= 1e-9 * scale).all()
    assert residual.numpy().max() <= 1e-9
    single, residual = encode(rows[:1000], bank)
    assert (np.abs(single.numpy() - expected) <= 1e-4 * scale).all()
    assert residual.numpy().max() <= 1e-5
    assert reference.kkt_residual(single.numpy(), given, bank).max() <= 1e-5
