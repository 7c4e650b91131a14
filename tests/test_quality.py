"""Quality: three numbers by hand, whatever is done with the residual."""

import keras
import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose
from warned import ours

import xplique_craft as xc
from xplique_craft._intervals import bootstrap_mean, bootstrap_ratio
from xplique_craft.report.verdict import read_quality
from xplique_craft.results import Quality
from xplique_craft.targets import one_hot

MIXING = planted.bank(concepts=4, channels=6)
NUMBERS = ("agreement", "reconstruction_share", "explained_share")


def by_numpy(head: str, craft: xc.Craft, images: np.ndarray, class_id: int = 0) -> list[float]:
    """Agreement, reconstruction share and explained share from their definitions."""
    coded = planted.coded(craft, images)
    a = coded.activations.numpy().astype(np.float64)
    rebuilt = coded.u.numpy().astype(np.float64) @ craft.factorized.bank.astype(np.float64)
    full, part, rest, none = (
        planted.logits_by_numpy(head, craft.model, x) for x in (a, rebuilt, a - rebuilt, 0.0 * a)
    )
    total = (full - none)[:, class_id].sum()
    return [
        float((full.argmax(axis=1) == part.argmax(axis=1)).mean()),
        float((part - none)[:, class_id].sum() / total),
        float((full - rest)[:, class_id].sum() / total),
    ]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(6, concepts=4)


@pytest.mark.parametrize("latent", ["map", "pooled", "tokens"])
@pytest.mark.parametrize("head", planted.HEADS)
def test_the_three_numbers(head: str, latent: str, images: np.ndarray) -> None:
    """The bank misses half of the concepts."""
    model = planted.network(MIXING, head, latent=latent)
    craft = planted.fitted(model, MIXING[:2], images, batch_size=4)
    for class_id in (0, 1):
        quality = craft.quality(images, class_id)
        found = [getattr(quality, name).value for name in NUMBERS]
        assert_allclose(found, by_numpy(head, craft, images, class_id), rtol=1e-3, atol=1e-4)
        nothing = np.zeros((1, *craft.network.latent_shape(images.shape[1:])))
        floor = planted.logits_by_numpy(head, model, nothing).argmax()
        predicted = model.predict(images, verbose=0).argmax(axis=1)
        assert quality.agreement_without_concepts is not None
        assert quality.agreement_without_concepts.value == (predicted == floor).mean()
        assert quality.number_of_images == 6
        assert quality.kkt_residual < 1e-4


@pytest.mark.parametrize("head", planted.HEADS)
def test_a_perfect_bank(head: str, images: np.ndarray) -> None:
    quality = planted.fitted(planted.network(MIXING, head), MIXING, images).quality(images)
    for name in NUMBERS:
        assert getattr(quality, name).value == pytest.approx(1.0, abs=1e-4)
    assert quality.relative_error < 1e-5
    assert quality.agreement.high == pytest.approx(1.0)
    assert 0.3 < quality.agreement.low < 0.9  # six of six is no proof: Wilson's 90% says 0.69
    for name in NUMBERS[1:]:
        assert np.ptp([getattr(quality, name).low, getattr(quality, name).high]) < 1e-3


def test_by_hand() -> None:
    """
    Two images of one pixel's colour, orthogonal concepts, one of them missing; g averages and h is
    the ReLU of a - 1: f(a) = relu(2 a_1 + a_2 - 1), and the other class is f(a) = 1.2 a_2.
    """
    colours = np.array([[1.0, 1.0], [0.5, 2.0]], np.float32)
    images = np.broadcast_to(colours[:, None, None], (2, 8, 8, 2)).copy()
    model = planted.network(np.eye(2), "relu", latent="pooled", classes=2)
    hidden, out = np.zeros((2, 6), np.float32), np.zeros((6, 2), np.float32)
    hidden[:, 0], hidden[:, 1] = [2.0, 1.0], [0.0, 1.2]
    out[0, 0] = out[1, 1] = 1.0
    shift = np.array([-1.0, 0, 0, 0, 0, 0], np.float32)
    model.get_layer("hidden").set_weights([hidden, shift])
    model.get_layer("logits").set_weights([out, np.zeros(2, np.float32)])
    quality = planted.fitted(model, np.eye(2)[:1], images).quality(images)
    # h(A) = (2, 1.2), (2, 2.4); h(UW) = (1, 0), (0, 0); h(E) = (0, ...), (1, ...); h(0) = 0
    assert quality.agreement.value == pytest.approx(0.5)
    assert quality.reconstruction_share.value == pytest.approx(1 / 4, abs=1e-5)
    assert quality.explained_share.value == pytest.approx(3 / 4, abs=1e-5)
    assert quality.relative_error == pytest.approx(np.sqrt(5 / 6.25), abs=1e-5)
    assert quality.sparsity == 0.0


def test_sparsity_counts_exact_zeros(images: np.ndarray) -> None:
    craft = planted.fitted(planted.network(np.eye(4), "affine"), np.eye(4), images)
    assert craft.quality(images).sparsity == pytest.approx((images == 0).mean(), abs=1e-6)


def test_the_relative_error_is_over_all_rows(images: np.ndarray) -> None:
    """One norm of everything, not a mean of ratios."""
    craft = planted.fitted(planted.network(np.eye(4), "affine"), np.eye(4)[:2], images)
    expected = np.linalg.norm(images[..., 2:]) / np.linalg.norm(images)
    assert craft.quality(images).relative_error == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("head", ["affine", "relu"])
def test_it_never_depends_on_keeping_the_residual(head: str, images: np.ndarray) -> None:
    model = planted.network(MIXING, head)
    kept = planted.fitted(model, MIXING[:2], images)
    dropped = planted.fitted(kept.split, MIXING[:2], images, keep_residual=False)
    assert kept.quality(images) == dropped.quality(images)
    assert kept.quality(images).reconstruction_share.value < 0.99


def test_batches_do_not_matter(images: np.ndarray) -> None:
    model = planted.network(MIXING, "relu")
    one = planted.fitted(model, MIXING[:2], images, batch_size=1)
    all_ = planted.fitted(one.split, MIXING[:2], images, batch_size=64)
    small, large = one.quality(images), all_.quality(images)
    for name in NUMBERS:
        a, b = getattr(small, name), getattr(large, name)
        assert_allclose([a.value, a.low, a.high], [b.value, b.low, b.high], rtol=1e-4)
    assert small.relative_error == pytest.approx(large.relative_error, rel=1e-5)


def test_ratios_of_sums_not_means_of_ratios(images: np.ndarray) -> None:
    """An image whose own ratio is wild but whose score is small hardly counts."""
    model = planted.network(np.eye(4), "affine")
    kernel = np.zeros((4, 3), np.float32)
    kernel[:, 0] = [1.0, 1.0, -1.0, 0.0]
    model.get_layer("logits").set_weights([kernel, np.zeros(3, np.float32)])
    odd = np.zeros((2, 8, 8, 4), np.float32)
    odd[0, ..., 0] = 1.0  # found: 1 of 1
    odd[1] = [0.0, 0.5, 0.49, 0.0]  # not found, its score is 0.01
    quality = planted.fitted(model, np.eye(4)[:1], odd).quality(odd)
    assert quality.reconstruction_share.value == pytest.approx(1.0 / 1.01, abs=1e-4)
    assert quality.explained_share.value == pytest.approx(1.0 / 1.01, abs=1e-4)


# ------------------------------------------------------------------------------- no denominator
def constant(images: np.ndarray, bias: float, slope: float = 0.0) -> xc.Craft:
    """The score is bias + slope * (mean of the first concept)."""
    model = planted.network(np.eye(4), "affine")
    kernel = np.zeros((4, 3), np.float32)
    kernel[0] = slope
    model.get_layer("logits").set_weights([kernel, np.full(3, bias, np.float32)])
    return planted.fitted(model, np.eye(4), images)


@pytest.mark.parametrize(("bias", "slope"), [(1.0, 0.0), (1.0, 1e-3), (0.0, 0.0)])
def test_shares_of_nothing_are_nan_with_one_warning(
    images: np.ndarray, bias: float, slope: float
) -> None:
    craft = constant(images, bias, slope)
    with pytest.warns(UserWarning, match=r"below 1e-3 of the mean \|score\|") as caught:
        quality = craft.quality(images)
    assert len(ours(caught)) == 1
    for name in NUMBERS[1:]:
        estimate = getattr(quality, name)
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    assert quality.agreement.value == 1.0


def test_shares_of_a_little_are_numbers(images: np.ndarray) -> None:
    quality = constant(images, 1.0, 1e-2).quality(images)
    assert quality.reconstruction_share.value == pytest.approx(1.0, abs=1e-2)


def test_black_images_have_no_relative_error(images: np.ndarray) -> None:
    craft = constant(images, 1.0, 1.0)
    with pytest.warns(UserWarning, match="below 1e-3"):
        quality = craft.quality(np.zeros_like(images))
    assert np.isnan(quality.relative_error)
    assert quality.sparsity == 1.0


# ------------------------------------------------------------------------------------- intervals
def test_intervals_hold_their_value_and_are_seeded(images: np.ndarray) -> None:
    model = planted.network(MIXING, "relu")
    craft = planted.fitted(model, MIXING[:2], images, seed=1)
    quality = craft.quality(images)
    for name in NUMBERS:
        estimate = getattr(quality, name)
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high
    assert craft.quality(images) == quality
    other = planted.fitted(craft.split, MIXING[:2], images, seed=2).quality(images)
    assert other.explained_share.value == quality.explained_share.value
    assert other.explained_share.low != quality.explained_share.low


def test_one_image_has_no_interval(images: np.ndarray) -> None:
    craft = planted.fitted(planted.network(MIXING, "relu"), MIXING[:2], images)
    quality = craft.quality(images[:1])
    assert isinstance(quality, Quality)
    for name in NUMBERS[1:]:
        estimate = getattr(quality, name)
        assert np.isfinite(estimate.value)
        assert np.isnan([estimate.low, estimate.high]).all()


def test_bootstrap_of_a_mean_covers() -> None:
    """Normal values, n = 12: the nominal 90% is missed by few points."""
    rng = np.random.default_rng(5)
    intervals = bootstrap_mean(rng.normal(3.0, 2.0, (12, 400)), seed=0)
    covered = ((intervals[:, 0] <= 3.0) & (intervals[:, 1] >= 3.0)).mean()
    assert 0.84 <= covered <= 0.94


def test_bootstrap_of_a_ratio_covers() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(100):
        down = rng.uniform(1.0, 3.0, 15)
        up = 0.7 * down + rng.normal(0.0, 0.3, 15)
        estimate = bootstrap_ratio(up, down, seed=0)
        assert estimate.value == pytest.approx(up.sum() / down.sum())
        covered += estimate.low <= 0.7 <= estimate.high
    assert 80 <= covered <= 98


def test_a_model_of_one_output_has_no_agreement(images: np.ndarray) -> None:
    """The argmax of one column is always the same, whatever the concepts are worth."""
    image = keras.Input(images.shape[1:])
    latent = keras.layers.Conv2D(5, 3, activation="relu", name=planted.LAYER)(image)
    pooled = keras.layers.GlobalAveragePooling2D()(latent)
    craft = xc.Craft.from_model(keras.Model(image, keras.layers.Dense(1)(pooled)), planted.LAYER, 3)
    craft.fit(images)
    with pytest.warns(UserWarning, match="has one output, so nothing says what it decides"):
        quality = craft.quality(images)
    assert np.isnan(quality.agreement.value)
    assert str(quality.agreement) == "not defined"
    assert quality.number_of_images == len(images)
    reading = read_quality(quality)[0]
    assert (reading.name, reading.level) == ("Agreement", "not defined")
    assert "one output" in reading.words


def test_labels_of_a_model_of_one_output_are_no_weights(images: np.ndarray) -> None:
    labels = np.array([[0], [1]] * len(images))[: len(images)]
    with pytest.raises(ValueError, match="targets seem to be labels, and the model has one output"):
        one_hot(labels, len(images), 1)
    assert (one_hot(np.ones((2, 1)), 2, 1) == 1.0).all()
    assert (one_hot(0, 2, 1) == 1.0).all()
