"""
Signed tokens as strictly as non-negative maps: encodings, their derivative, and slopes of gates.

All against float64: a twin of the transformer with the same weights, whose tokens are encoded and
gated by hand, and central differences.
"""

import warnings
from typing import NamedTuple

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from reference import implicit_jacobian, nnls_rows
from transformers import CHANNELS, SIDE, transformer

import xplique_craft as xc
from xplique_craft.factorization import Factorized, SignedNMF
from xplique_craft.factorization.signed_nmf import split_by_sign
from xplique_craft.importance.contributions import contributions
from xplique_craft.keras_models import ConceptEncoding

S, K, LAYER = 2, 3, "block0"
STEP = 1e-5
MIXED = np.array([0.7, -1.1, 0.4])  # of the coefficients, so that one gradient sees all of them


class Twins(NamedTuple):
    """A fitted craft of a transformer, g and h of its twin in float64, and images."""

    craft: xc.Craft
    g: keras.Model
    h: keras.Model
    images: np.ndarray

    @property
    def found(self) -> Factorized:
        """The bank, its numbers as they are, in float64."""
        return self.craft.factorized

    def encoder(self) -> keras.Model:
        """Images -> (n, K) in float64: g, the layer of a craft, the mean over patches."""
        own = self.found
        encoding = ConceptEncoding(
            SignedNMF(), own.bank, own.offset, own.scale, S, dtype="float64", name="coefficients"
        )
        u = keras.layers.Cropping1D((S, 0), dtype="float64")(encoding(self.g.output))
        return keras.Model(
            self.g.input, keras.layers.GlobalAveragePooling1D(dtype="float64")(u), name="scores"
        )


@pytest.fixture(scope="module")
def twins() -> Twins:
    rng = np.random.default_rng(1)
    images = rng.normal(0.0, 1.0, (8, SIDE, SIDE, 3)).astype(np.float32)
    single = transformer(S)
    weights = [
        np.asarray(w + 0.3 * rng.standard_normal(w.shape), np.float32) for w in single.get_weights()
    ]
    single.set_weights(weights)
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")  # of inputs
    keras.config.set_dtype_policy("float64")  # of layers
    try:
        double = transformer(S)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy)
    double.set_weights([weight.astype(np.float64) for weight in weights])
    split = xc.split_model(double, LAYER)
    craft = xc.Craft.from_model(single, LAYER, K, factorizer="signed-nmf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what is predicted, and normalisations
        craft.fit(images, planted.predicted(single, images))
    return Twins(craft, split.input_to_latent, split.latent_to_logit, images)


def parts_of(twins: Twins, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the encoding solves, (m, 2c) and (k, 2c), of tokens (m, c), in float64."""
    own = twins.found
    scale = own.scale.astype(np.float64)
    return split_by_sign((tokens - own.offset) / scale), split_by_sign(own.bank / scale)


def test_the_twins_are_the_same_and_nothing_is_trivial(twins: Twins) -> None:
    a = twins.g(twins.images.astype(np.float64)).numpy()
    assert_allclose(twins.craft.network.latents(twins.images), a, atol=1e-4)
    assert_allclose(twins.craft.network.logits(a.astype("f4")), twins.h(a), atol=1e-3)
    assert ((a > 0.0).mean(axis=(0, 1)) > 0.1).all()
    assert ((a < 0.0).mean(axis=(0, 1)) > 0.1).all()
    on = twins.craft.transform(twins.images)[:, S:] > 0.0
    assert 0.2 < on.mean() < 0.95
    assert len(np.unique(on.reshape(-1, K), axis=0)) > 2


# ------------------------------------------------------------------------- the encoding
def test_tokens_are_encoded_exactly(twins: Twins) -> None:
    """By SciPy, and by the conditions of Karush, Kuhn and Tucker themselves."""
    a = twins.g(twins.images.astype(np.float64)).numpy()
    parts, directions = parts_of(twins, a[:, S:].reshape(-1, CHANNELS))
    u = twins.found.encode(a[:, S:])[0].numpy().reshape(-1, K)
    assert_allclose(u, nnls_rows(parts, directions), rtol=1e-6, atol=1e-8 * u.max())
    slack = (u @ directions - parts) @ directions.T
    largest = np.abs(parts @ directions.T).max()
    assert np.abs(np.minimum(u, slack)).max() <= 1e-7 * largest
    in_float32, kkt = twins.found.encode(a[:, S:].astype(np.float32))
    assert float(tf.reduce_max(kkt)) <= 1e-5
    assert_allclose(in_float32.numpy().reshape(-1, K), u, atol=1e-5 * u.max())


def test_the_derivative_is_that_of_the_full_system(twins: Twins) -> None:
    """du/da of single tokens: the conditions' system on both halves, and the halves' own slopes."""
    a = twins.g(twins.images[:2].astype(np.float64)).numpy()[:, S:].reshape(-1, CHANNELS)
    parts, directions = parts_of(twins, a)
    u = nnls_rows(parts, directions)
    slack = (u @ directions - parts) @ directions.T
    strict = np.flatnonzero(np.where(u > 0.0, u, slack).min(axis=1) > 1e-3)[:12]
    assert len(strict) == 12
    tokens = tf.constant(a[strict])
    with tf.GradientTape() as tape:
        tape.watch(tokens)
        score = tf.reduce_sum(twins.found.encode(tokens)[0] * MIXED)
    found = tape.gradient(score, tokens).numpy()
    scale = twins.found.scale.astype(np.float64)
    for row, gradient in zip(strict, found, strict=True):
        above, below = np.split(MIXED @ implicit_jacobian(parts[row], directions)[0], 2)
        expected = np.where(a[row] > twins.found.offset, above, -below) / scale
        assert_allclose(gradient, expected, atol=1e-6 * np.abs(expected).max())


@pytest.fixture(scope="module")
def gradient(twins: Twins) -> np.ndarray:
    """Of the mixed scores of the first image by its pixels, (H, W, 3), float64."""
    image = tf.constant(twins.images[:1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = tf.reduce_sum(twins.encoder()(image) * MIXED)
    return tape.gradient(score, image).numpy()[0]


def test_pixels_reach_the_concepts_through_attention(twins: Twins, gradient: np.ndarray) -> None:
    """Central differences of the float64 encoder along random directions, and single pixels."""
    rng = np.random.default_rng(200)
    directions = rng.standard_normal((6, *gradient.shape))
    for direction in directions[3:]:
        row, column = rng.integers(0, SIDE, 2)
        direction[np.arange(SIDE) != row] = 0.0
        direction[:, np.arange(SIDE) != column] = 0.0
    directions /= np.sqrt(np.square(directions).sum(axis=(1, 2, 3), keepdims=True))
    image, encoder = twins.images[:1].astype(np.float64), twins.encoder()
    ahead, behind = (encoder(image + sign * STEP * directions).numpy() @ MIXED for sign in (1, -1))
    expected = (ahead - behind) / (2.0 * STEP)
    assert np.abs(expected).min() > 1e-6
    found = (gradient * directions).sum(axis=(1, 2, 3))
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_the_encoder_of_a_craft(twins: Twins, gradient: np.ndarray) -> None:
    """In float32, to 1e-3 of the gradient's norm; and its values to 1e-4."""
    image = tf.constant(twins.images[:1])
    expected = twins.encoder()(twins.images[:1].astype(np.float64)).numpy()
    with tf.GradientTape() as tape:
        tape.watch(image)
        scores = twins.craft.encoder(image)
        score = tf.reduce_sum(scores * MIXED.astype(np.float32))
    assert_allclose(scores, expected, atol=1e-4 * expected.max())
    error = tape.gradient(score, image).numpy()[0] - gradient
    assert np.linalg.norm(error) < 1e-3 * np.linalg.norm(gradient)


# ------------------------------------------------------------------------------- gates
def by_hand(twins: Twins, keep: bool, gates: np.ndarray) -> np.ndarray:
    """f_x(m) (n, q) of gates (q, K) in float64, the residual kept: the definition, by the twin."""
    a = twins.g(twins.images.astype(np.float64)).numpy()
    u, bank = twins.found.encode(a[:, S:])[0].numpy(), twins.found.bank.astype(np.float64)
    special = a[:, :S] if keep else np.broadcast_to(twins.craft.special, a[:, :S].shape)
    patches = (a[:, S:] - u @ bank)[:, None] + (u[:, None] * gates[:, None]) @ bank
    tokens = [np.broadcast_to(special[:, None], (*patches.shape[:2], *special.shape[1:])), patches]
    scores = twins.h(np.concatenate(tokens, axis=2).reshape(-1, *a.shape[1:])).numpy()
    return scores[:, twins.craft.class_id].reshape(patches.shape[:2])


def slopes_by_hand(twins: Twins, keep: bool, nodes: np.ndarray) -> np.ndarray:
    """(n, q, K): by each gate, where all are as far open as each of the nodes (q,) says."""
    steps = STEP * np.stack([np.eye(K), -np.eye(K)])
    gates = nodes[:, None, None, None] + steps
    values = by_hand(twins, keep, gates.reshape(-1, K)).reshape(-1, len(nodes), 2, K)
    return (values[:, :, 0] - values[:, :, 1]) / (2.0 * STEP)


@pytest.mark.parametrize("keep", [True, False])
def test_gates_and_their_integrals(twins: Twins, keep: bool) -> None:
    """Through blocks of attention, against the float64 twin: values, slopes and contributions."""
    craft = twins.craft.variant(keep_special_tokens=keep, batch_size=8)
    (coded,) = craft.batches(twins.images)
    head = craft.head()
    gates = np.random.default_rng(3).random((5, K))
    expected = by_hand(twins, keep, gates)
    assert_allclose(head.evaluate(coded, gates), expected, atol=1e-4 * np.abs(expected).max())
    nodes, weights = np.polynomial.legendre.leggauss(24)
    nodes, weights = 0.5 + 0.5 * nodes, 0.5 * weights
    slopes = slopes_by_hand(twins, keep, nodes)
    for q in (0, 12, 23):
        found = head.slopes(coded, nodes[q : q + 1], np.ones(1))
        assert_allclose(found, slopes[:, q], atol=1e-3 * np.abs(slopes[:, q]).max())
    integrals = np.einsum("q,nqk->nk", weights, slopes)
    ends = by_hand(twins, keep, np.stack([np.zeros(K), np.ones(K)]))
    assert_allclose(integrals.sum(axis=1), ends[:, 1] - ends[:, 0], rtol=1e-4, atol=1e-5)
    found = xc.importance.IntegratedGradientsImportance(craft).explain(twins.images)
    assert_allclose(found, integrals, atol=1e-3 * np.abs(integrals).max())


def test_passes_are_what_is_said(twins: Twins) -> None:
    """An image costs so many evaluations of the head, and so many rows of it are held at a time."""
    n, methods = len(twins.images), xc.importance.METHODS
    for name, settings, each in (
        ("sobol total", {"nb_design": 16}, 16 * (K + 2)),
        ("shapley", {}, 2**K),
        ("occlusion", {}, K + 1),
    ):
        summary = methods[name](twins.craft, **settings).summary(twins.images)
        assert summary.evaluations == n * each
    (coded,) = twins.craft.variant(batch_size=n).batches(twins.images)
    head = twins.craft.variant(batch_size=5).head()
    rows: list[int] = []
    own = head._gradients

    def watched(gated: tf.Tensor, *given: object) -> tuple[tf.Tensor, tf.Tensor]:
        rows.append(len(gated))
        return own(gated, *given)

    head._gradients = watched
    found = contributions(coded, head)
    assert max(rows) == 5
    assert sum(rows) >= 24 * n
    assert found.points >= 24
    assert head.evaluations == sum(rows) + (3 * n)  # base, all closed and all open
