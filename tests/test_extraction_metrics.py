"""Extraction metrics: by hand, of perfect and of empty banks, invariances, planted faults."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xplique.concepts import CraftTf

import xplique_craft as xc
from xplique_craft import metrics
from xplique_craft.factorization import PCA, KMeans
from xplique_craft.metrics import extraction_sums, measure_extraction
from xplique_craft.results import Estimate, Extraction

MIXING = planted.bank(concepts=4, channels=6)
SIZE = (12, 12)
TWO = np.array([[3.0, 4.0], [6.0, 8.0]])
RATIOS = ("relative_error", "r2", "zeros", "hoyer", "wasserstein", "out_of_distribution")
OF_REBUILT = (
    metrics.relative_error,
    metrics.r_squared,
    metrics.wasserstein_distance,
    metrics.out_of_distribution,
)


def values(found: Extraction) -> dict[str, float]:
    return {name: getattr(found, name).value for name in RATIOS}


def made(factorizer: object = "nmf", images: int = 20, **settings: object) -> xc.Craft:
    """A craft fitted on paintings."""
    paintings = planted.paintings(images, SIZE, concepts=4)
    craft = xc.Craft.from_model(
        planted.network(MIXING, size=SIZE), planted.LAYER, 4, factorizer=factorizer, **settings
    )
    craft.fit(paintings, planted.predicted(craft.model, paintings))
    return craft


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    return made()


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    """Paintings that are in no fit, of two pixels a row so that all rows are compared."""
    return planted.paintings(5, SIZE, concepts=4, seed=3)


# --------------------------------------------------------------------------------------- by hand
def test_one_entry_missed() -> None:
    """Residual 4^2; ||A||^2 = 125; around the mean (4.5, 6) it is 2 (1.5^2 + 2^2) = 12.5."""
    rebuilt = np.array([[3.0, 0.0], [6.0, 8.0]])
    assert metrics.relative_error(TWO, rebuilt) == pytest.approx(np.sqrt(16 / 125), abs=1e-12)
    assert metrics.r_squared(TWO, rebuilt) == pytest.approx(1.0 - 16 / 12.5, abs=1e-12)
    assert metrics.wasserstein_distance(TWO, rebuilt) == pytest.approx(4 / 15, abs=1e-12)
    # (3, 0) is sqrt(9 + 64) from the other image, (6, 8) is 5, as the real rows are from each other
    expected = (np.sqrt(73) + 5) / 10
    assert metrics.out_of_distribution(TWO, rebuilt) == pytest.approx(expected, abs=1e-12)
    assert_array_equal(metrics.worst_explained(TWO, rebuilt), [0, 1])


def test_a_set_of_rows_that_is_the_same_is_at_no_distance() -> None:
    """Every row is wrong, and as a set they are right."""
    swapped = TWO[::-1]
    assert metrics.relative_error(TWO, swapped) == pytest.approx(np.sqrt(50 / 125), abs=1e-12)
    assert metrics.wasserstein_distance(TWO, swapped) == 0.0
    assert metrics.out_of_distribution(TWO, swapped) == 0.0


def test_sparsity_by_hand() -> None:
    """(3, 4) has (sqrt 2 - 7/5) / (sqrt 2 - 1), (1, 0) has 1, and (0, 0) does not count."""
    u = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    root = np.sqrt(2.0)
    assert metrics.zero_share(u) == pytest.approx(3 / 6, abs=1e-12)
    expected = ((root - 1.4) / (root - 1.0) + 1.0) / 2.0
    assert metrics.hoyer_sparsity(u) == pytest.approx(expected, abs=1e-12)
    assert metrics.hoyer_sparsity(-u) == pytest.approx(expected, abs=1e-12)
    assert metrics.hoyer_sparsity(1e-30 * u) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [2, 5])
def test_the_ends_of_sparsity(k: int) -> None:
    assert metrics.hoyer_sparsity(np.eye(k)) == pytest.approx(1.0, abs=1e-12)
    assert metrics.hoyer_sparsity(np.ones((3, 2, k))) == pytest.approx(0.0, abs=1e-12)
    assert metrics.zero_share(np.zeros((2, k))) == 1.0


def test_dead_and_duplicate_concepts_by_hand() -> None:
    u = np.zeros((2, 2, 3))
    u[1, 0, 1] = 1e-30
    assert metrics.dead_concepts(u) == [0, 2]
    assert metrics.dead_concepts(-u) == [0, 2]
    # Cosines: 0.9 of 0 and 1, 0 of 0 and 2, -1 of 0 and 3
    bank = np.array([[1.0, 0.0], [0.9, np.sqrt(0.19)], [0.0, 2.0], [-3.0, 0.0]])
    assert metrics.duplicate_concepts(bank) == [(0, 1), (0, 3), (1, 3)]
    assert metrics.duplicate_concepts(bank, 0.95) == [(0, 3)]
    assert metrics.duplicate_concepts(np.zeros((2, 3))) == []


def test_worst_images() -> None:
    """By their own relative error, not by how large they are; none where there is nothing."""
    a = np.array([[100.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    b = np.array([[99.0, 0.0], [0.5, 0.0], [0.0, 0.0], [0.1, 0.0]])
    assert_array_equal(metrics.worst_explained(a, b), [3, 1, 0, 2])


# ------------------------------------------------------------------------- optimum, worst, range
def test_the_ends_of_a_factorisation(rng: np.random.Generator) -> None:
    a = rng.random((4, 3, 3, 5))
    assert [of(a, a) for of in OF_REBUILT] == [0.0, 1.0, 0.0, 1.0]
    nothing = 0.0 * a
    assert metrics.relative_error(a, nothing) == pytest.approx(1.0, abs=1e-12)
    assert metrics.wasserstein_distance(a, nothing) == pytest.approx(1.0, abs=1e-12)
    mean = np.broadcast_to(a.mean(axis=(0, 1, 2)), a.shape)
    assert metrics.r_squared(a, mean) == pytest.approx(0.0, abs=1e-12)
    # Below 1 less is no better: what is typical is near everything, and so is 0 to some row.
    assert metrics.out_of_distribution(a, mean) < 1.0
    a[:2] *= 1e-3
    assert metrics.out_of_distribution(a[2:], a[2:] * 0.0) > 1.0
    assert metrics.out_of_distribution(a, nothing) < 0.1


def test_order_of_better_and_worse(rng: np.random.Generator) -> None:
    a = rng.random((4, 3, 3, 5))
    noise = rng.normal(size=a.shape)
    found = np.array([[of(a, a + size * noise) for of in OF_REBUILT] for size in (0.01, 0.3, 3.0)])
    error, r2, distance, far = found.T
    assert (np.diff(error) > 0).all()
    assert (np.diff(r2) < 0).all()
    assert (np.diff(distance) > 0).all()
    assert (np.diff(far) > 0).all()
    assert (distance <= error * np.linalg.norm(a) / np.linalg.norm(a, axis=-1).sum() * 12).all()


def test_a_planted_reconstruction_out_of_distribution(rng: np.random.Generator) -> None:
    """At the same error, off the plane in which all activations lie."""
    u = rng.random((20, 16, 2))
    a = u @ np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    step = np.full((20, 16, 1), 0.3)
    inside = a + step * np.array([0.6, 0.8, 0.0]) * rng.choice([-1, 1], (20, 16, 1))
    outside = a + step * np.array([0.0, 0.0, 1.0])
    assert metrics.relative_error(a, inside) == pytest.approx(metrics.relative_error(a, outside))
    assert metrics.out_of_distribution(a, outside) > 3 * metrics.out_of_distribution(a, inside)


def test_the_nearest_row_is_of_another_image() -> None:
    """Rows of one image may be as near as they like."""
    a = np.array([[[0.0], [0.0]], [[1.0], [1.0]]])
    assert metrics.out_of_distribution(a, np.array([[[0.0], [0.0]], [[1.0], [3.0]]])) == (
        pytest.approx((1 + 1 + 1 + 3) / 4)
    )


# ---------------------------------------------------------------------------------- invariances
def test_scales_and_orders_do_not_matter(rng: np.random.Generator) -> None:
    u, bank = rng.random((4, 3, 5)) * (rng.random((4, 3, 5)) < 0.6), rng.random((5, 6))
    a = u @ bank + 0.1 * rng.random((4, 3, 6))
    order, images = rng.permutation(5), rng.permutation(4)
    for of in OF_REBUILT:
        expected = of(a, u @ bank)
        assert of(7.0 * a, u @ (7.0 * bank)) == pytest.approx(expected)
        assert of(a, u[..., order] @ bank[order]) == pytest.approx(expected)
        assert of(a[images], u[images] @ bank) == pytest.approx(expected)
    for of in (metrics.zero_share, metrics.hoyer_sparsity):
        assert of(3.0 * u) == pytest.approx(of(u))
        assert of(u[..., order]) == pytest.approx(of(u))
        assert of(u[images]) == pytest.approx(of(u))


def test_of_many_rows_some_are_compared(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same places of both, drawn by the seed; what they give is near what all give."""
    a = rng.random((6, 40, 3))
    b = a + 0.1 * rng.random(a.shape)
    every = [of(a, b) for of in OF_REBUILT[2:]]
    monkeypatch.setattr(extraction_sums, "MOST_ROWS", 100)
    for of, expected in zip(OF_REBUILT[2:], every, strict=True):
        some = [of(a, b, seed=seed) for seed in (0, 0, 1)]
        assert some[0] == some[1] != some[2]
        assert some[0] == pytest.approx(expected, rel=0.25)
    assert metrics.wasserstein_distance(a, a) == 0.0


# ---------------------------------------------------------------------- of a craft, batch by batch
@pytest.mark.parametrize("factorizer", ["nmf", KMeans(), PCA()])
def test_the_pass_agrees_with_the_functions(factorizer: object, other: np.ndarray) -> None:
    craft = made(factorizer, batch_size=2)
    found = measure_extraction(craft, other)
    u = craft.transform(other)
    a = craft.network.latents(other).numpy()
    rebuilt = craft.inverse_transform(u)
    functions: dict[str, Callable[[], float]] = {
        "relative_error": lambda: metrics.relative_error(a, rebuilt),
        "r2": lambda: metrics.r_squared(a, rebuilt),
        "zeros": lambda: metrics.zero_share(u),
        "hoyer": lambda: metrics.hoyer_sparsity(u),
        "wasserstein": lambda: metrics.wasserstein_distance(a, rebuilt),
        "out_of_distribution": lambda: metrics.out_of_distribution(a, rebuilt),
    }
    for name, function in functions.items():
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(function(), rel=1e-5, abs=1e-6), name
        assert estimate.low <= estimate.value + 1e-9
        assert estimate.high >= estimate.value - 1e-9
    assert_array_equal(found.worst, metrics.worst_explained(a, rebuilt))
    assert found.dead == metrics.dead_concepts(u)
    assert found.duplicates == metrics.duplicate_concepts(craft.bank)
    assert (found.number_of_images, found.number_of_rows) == (5, 720)
    assert found.relative_error.value == pytest.approx(
        craft.quality(other).relative_error, rel=1e-4
    )


def test_planted_banks(other: np.ndarray) -> None:
    """The true bank, one without meaning, one with a dead and two duplicate concepts."""
    model = planted.network(MIXING, size=SIZE)
    right = measure_extraction(planted.fitted(model, MIXING, other[:2]), other[2:])
    assert right.relative_error.value < 1e-5
    assert right.r2.value == pytest.approx(1.0, abs=1e-6)
    assert right.wasserstein.value < 1e-5
    assert right.out_of_distribution.value == pytest.approx(1.0, abs=1e-4)
    plain = planted.fitted(planted.network(np.eye(4), size=SIZE), np.eye(4), other[:2])
    zeros = measure_extraction(plain, other[2:]).zeros.value
    assert zeros == pytest.approx((other[2:] == 0).mean(), abs=1e-6)
    empty = planted.fitted(model, MIXING, other[:2])
    factorized = replace(empty.factorized, bank=np.zeros_like(MIXING))
    with pytest.warns(UserWarning, match="Hoyer sparsity is not defined and is NaN"):
        wrong = measure_extraction(empty.variant(factorized=factorized), other[2:])
    assert wrong.relative_error.value == wrong.wasserstein.value == pytest.approx(1.0)
    assert wrong.r2.value < 0.0
    assert wrong.zeros.value == 1.0
    assert wrong.dead == [0, 1, 2, 3]
    # The fifth channel is 0 everywhere; the last concept is the second and a little more.
    faulty = np.concatenate([np.eye(5, 6), [[0.0, 1.0, 0.0, 0.0, 0.0, 0.3]]])
    model = planted.network(np.eye(4, 6), size=SIZE)
    found = measure_extraction(planted.fitted(model, faulty, other[:2]), other[2:])
    assert found.dead[0] == 4
    assert found.duplicates == [(1, 5)]


def test_batches_do_not_matter(craft: xc.Craft, other: np.ndarray) -> None:
    one, many = (measure_extraction(craft.variant(batch_size=size), other) for size in (1, 64))
    for name in RATIOS:
        a, b = getattr(one, name), getattr(many, name)
        assert_allclose([a.value, a.low, a.high], [b.value, b.low, b.high], rtol=1e-5, atol=1e-6)
    assert_allclose(one.error_by_image, many.error_by_image, rtol=1e-5, atol=1e-6)


def test_the_order_of_images_does_not_matter(craft: xc.Craft, other: np.ndarray) -> None:
    found, back = measure_extraction(craft, other), measure_extraction(craft, other[::-1])
    for name, value in values(found).items():
        assert value == pytest.approx(values(back)[name], rel=1e-5), name
    assert_allclose(found.error_by_image, back.error_by_image[::-1], rtol=1e-5)


# ------------------------------------------------------------------------------------- held out
def test_by_default_each_image_is_explained_without_itself(craft: xc.Craft) -> None:
    """Once more by hand: banks fitted on the other folds, g run once on each image."""
    from xplique_craft.metrics.folds import _of_images, divided, known_rows

    found = measure_extraction(craft, folds=4, seed=2)
    settings, rows = known_rows(craft, "")
    inputs, errors = craft.inputs_of_fit, np.zeros(20)
    for part in divided(20, 4, 2):
        from xplique_craft.extraction import fit_bank

        bank = fit_bank(settings, _of_images(rows, np.setdiff1d(np.arange(20), part)), craft.seed)
        variant = craft.variant(factorized=bank)
        a = craft.network.latents(inputs[part]).numpy()
        rebuilt = variant.inverse_transform(variant.transform(inputs[part]))
        norm = np.linalg.norm(a.reshape(len(part), -1), axis=1)
        errors[part] = np.linalg.norm((a - rebuilt).reshape(len(part), -1), axis=1) / norm
    assert_allclose(found.error_by_image, errors, rtol=1e-4, atol=1e-6)
    assert (found.held_out, found.folds, found.number_of_images) == (True, 4, 20)
    assert "20 held-out images (4 folds)" in str(found)


def test_a_bank_that_learns_by_heart_is_seen_through() -> None:
    """As many clusters as there are crops of few images explain these images alone."""
    craft = made(KMeans(), images=8, patch_size=12)
    with pytest.warns(
        UserWarning, match="inputs holds 8 of the images that the concepts were found in"
    ):
        seen = measure_extraction(craft, craft.inputs_of_fit)
    assert seen.held_out is False
    assert "8 images, not held out" in seen.table()
    unseen = measure_extraction(craft, folds=4)
    assert unseen.held_out is True
    assert unseen.relative_error.value > seen.relative_error.value


def test_it_is_known_which_images_are_held_out(
    craft: xc.Craft, other: np.ndarray, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    assert measure_extraction(craft, other).held_out is True
    mixed = np.concatenate([other, craft.inputs_of_fit[3:5]])
    with pytest.warns(UserWarning, match="inputs holds 2 of the images"):
        assert measure_extraction(craft, mixed).held_out is False
    path = craft.save(tmp_path / "alone.safetensors", with_inputs=False)
    loaded = xc.Craft.load(path, craft.model)
    unknown = measure_extraction(loaded, other)
    assert unknown.held_out is None
    assert "whether they are held out is not known" in str(unknown)
    with pytest.raises(ValueError, match="The images of `fit` are needed"):
        measure_extraction(loaded)


def test_the_seed_divides_and_draws(craft: xc.Craft) -> None:
    first, again, other = (measure_extraction(craft, folds=2, seed=seed) for seed in (1, 1, 2))
    assert first.relative_error == again.relative_error
    assert (first.error_by_image != other.error_by_image).any()


def test_g_runs_once_on_each_image(craft: xc.Craft, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, latents = [], craft.network.latents

    def counted(images: np.ndarray) -> object:
        seen.append(len(images))
        return latents(images)

    monkeypatch.setattr(craft.network, "latents", counted)
    measure_extraction(craft)
    assert sum(seen) == 20


# ------------------------------------------------------------------------------- errors, warnings
@pytest.mark.parametrize("of", OF_REBUILT)
def test_shapes_that_do_not_fit(of: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match=r"rebuilt must have the shape of activations, \(2, 2\)"):
        of(TWO, TWO[:1])
    with pytest.raises(ValueError, match="activations must have shape"):
        of(TWO[0], TWO[0])


@pytest.mark.parametrize(
    ("of", "arguments"),
    [
        (metrics.relative_error, (np.zeros((2, 3)), np.zeros((2, 3)))),
        (metrics.wasserstein_distance, (np.zeros((2, 3)), np.zeros((2, 3)))),
        (metrics.r_squared, (np.full((2, 3), 0.1), np.zeros((2, 3)))),
        (metrics.out_of_distribution, (np.ones((1, 4, 3)), np.ones((1, 4, 3)))),
        (metrics.out_of_distribution, (np.ones((2, 4, 3)), np.zeros((2, 4, 3)))),
        (metrics.hoyer_sparsity, (np.zeros((2, 3)),)),
        (metrics.hoyer_sparsity, (np.ones((2, 1)),)),
    ],
)
def test_what_is_not_defined(of: Callable[..., float], arguments: tuple[np.ndarray, ...]) -> None:
    with pytest.warns(UserWarning, match="is not defined and is NaN"):
        assert np.isnan(of(*arguments))


def test_errors_of_the_pass(craft: xc.Craft) -> None:
    with pytest.raises(ValueError, match="folds must be at most the number of images of fit, 20"):
        measure_extraction(craft, folds=21)
    few = made(planted.Given(MIXING), images=4, patch_size=12)
    with pytest.raises(ValueError, match=r"without one of 2 folds there are 2 crops, in which 4"):
        measure_extraction(few, folds=2)
    with pytest.raises(TypeError, match="concepts must be"):
        measure_extraction(0)  # type: ignore[arg-type]


def test_children_need_images() -> None:
    images = np.random.default_rng(0).random((8, 16, 24, 3)).astype(np.float32)
    node = planted.convolutional_craft(images).decompose(0, "half", 2, 50.0)
    with pytest.raises(ValueError, match="Give images to measure on, as inputs"):
        measure_extraction(node.for_class)
    found = measure_extraction(node.for_class, 1.0 - images)
    assert 0.0 < found.relative_error.value <= 1.0


def test_concepts_that_xplique_found(other: np.ndarray) -> None:
    """They are measured as Xplique encodes them, and need images of their own."""
    split = xc.split_model(planted.network(MIXING, size=SIZE), planted.LAYER)
    theirs = CraftTf(split.input_to_latent, split.latent_to_logit, 3, patch_size=6)
    theirs.fit(planted.paintings(6, SIZE, concepts=4), class_id=1)
    concepts = xc.from_craft_tf(theirs, split=split)
    found = measure_extraction(concepts, other)
    a = split.network.latents(other).numpy()
    rebuilt = concepts.inverse_transform(theirs.transform(other))
    expected = metrics.relative_error(a, rebuilt)
    assert found.relative_error.value == pytest.approx(expected, rel=1e-3)
    assert found.held_out is True
    with pytest.raises(ValueError, match=r"or were found elsewhere\. Give images to measure on"):
        measure_extraction(concepts)


def test_what_is_printed() -> None:
    one = Estimate(0.5, 0.25, 0.75)
    found = Extraction(*6 * [one], [3], [(0, 2)], np.array([0.1, 0.3]), 2, 9, 0, None)
    assert_array_equal(found.worst, [1, 0])
    lines = found.table().splitlines()
    assert lines[2] == "| relative error | 0.500 [0.250, 0.750] | low is good, 0 is perfect |"
    assert "| dead concepts | 3 | few are good |" in lines
    assert "| duplicate concepts | 0 and 2 | few are good |" in lines
    assert len(lines) == 2 + 9
