"""Fidelity over all outputs: by hand, at its optimum and its floors, what it does not hang on."""

import warnings
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from xplique.concepts import CraftTf

import xplique_craft as xc
from xplique_craft.factorization import NMF, PCA, Factorizer, KMeans
from xplique_craft.factorization.union import for_any_bank, united
from xplique_craft.gates import AllOutputs
from xplique_craft.importance.contributions import contributions_of
from xplique_craft.metrics.outputs import compare_outputs
from xplique_craft.metrics.predictors import DRAWS, by_bank, by_sum
from xplique_craft.results import OutputFidelity, OutputScores

MIXING = planted.bank(concepts=4, channels=6)
NAMES = ("emd", "mean_absolute_error", "rank_correlation", "agreement")
LOW = NAMES[:2]
CLASSES = 5


def numbers(scores: OutputFidelity | OutputScores) -> np.ndarray:
    """(4,): the four values."""
    return np.array([getattr(scores, name).value for name in NAMES])


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(12, concepts=4)


def network(head: str = "affine", **settings: Any) -> keras.Model:
    return planted.network(MIXING, head, classes=CLASSES, **settings)


@pytest.fixture(scope="module")
def whole(images: np.ndarray) -> xc.Craft:
    """All concepts of the model, whose head is affine, found in half of the images."""
    return planted.fitted(network(), MIXING, images[:6])


@pytest.fixture(scope="module")
def parts(images: np.ndarray) -> list[xc.Craft]:
    """Two crafts of one model, of the classes 1 and 3, with two of its concepts each."""
    split = xc.split_model(network(), planted.LAYER)
    return [
        planted.fitted(split, MIXING[:2], images[:6], 1),
        planted.fitted(split, MIXING[2:], images[3:9], 3),
    ]


# ------------------------------------------------------------------------------------------ by hand
@pytest.fixture(scope="module")
def two() -> tuple[xc.Craft, np.ndarray]:
    """
    z = (a_1 + 1/2, 2 a_2) for images that are a = (1, 1) and a = (3, 2) everywhere, and W = (1, 0):
    z = (1.5, 2) and (3.5, 4), U = 1 and 3, E = (0, 1) and (0, 2).
    """
    model = planted.network(np.eye(2, dtype=np.float32), size=(2, 2), classes=2)
    model.get_layer("logits").set_weights([np.diag([1.0, 2.0]), np.array([0.5, 0.0])])
    x = np.ones((2, 2, 2, 2), np.float32) * np.array([[1.0, 1.0], [3.0, 2.0]])[:, None, None]
    x = x.astype(np.float32)
    return planted.fitted(model, np.array([[1.0, 0.0]]), x), x


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + np.exp(-x))


def test_the_bank_by_hand(two: tuple[xc.Craft, np.ndarray]) -> None:
    """h(U W) = (1.5, 0) and (3.5, 0): in both images the other output is the largest."""
    found = xc.output_fidelity(*two)
    emd = (sigmoid(1.5) - sigmoid(-0.5) + sigmoid(3.5) - sigmoid(-0.5)) / 2
    assert_allclose(numbers(found), [emd, (1.0 + 2.0) / 2, -1.0, 0.0], atol=1e-6)
    assert emd == pytest.approx(0.516590, abs=1e-6)
    assert (found.form, found.number_of_images, found.number_of_outputs) == ("bank", 2, 2)
    assert found.gap is None


def test_the_sum_by_hand(two: tuple[xc.Craft, np.ndarray]) -> None:
    """alpha = (1, 0), b = (1/2, 2 (1 + 2) / 2): y = (1.5, 3) and (3.5, 3)."""
    found = xc.output_fidelity(*two, "additive")
    emd = (sigmoid(-0.5) - sigmoid(-1.5) + sigmoid(0.5) - sigmoid(-0.5)) / 2
    assert_allclose(numbers(found), [emd, 0.5, 0.0, 0.5], atol=1e-6)
    assert emd == pytest.approx(0.220017, abs=1e-6)
    assert found.gap == pytest.approx(0.0, abs=1e-6)


def test_the_sum_without_residual_by_hand(two: tuple[xc.Craft, np.ndarray]) -> None:
    """b = (1/2, 0), so y is what the concepts give through this head."""
    craft, x = two
    found = xc.output_fidelity(craft.variant(keep_residual=False), x, "additive")
    assert_allclose(numbers(found), numbers(xc.output_fidelity(craft, x)), atol=1e-6)


def test_the_sum_of_another_reference_by_hand(two: tuple[xc.Craft, np.ndarray]) -> None:
    """Of the first image alone b = (1/2, 2): y = (1.5, 2) and (3.5, 2)."""
    craft, x = two
    found = xc.output_fidelity(craft, x, "additive", reference=x[:1])
    emd = (sigmoid(1.5) - sigmoid(-0.5)) / 2
    assert_allclose(numbers(found), [emd, 0.5, 0.0, 0.5], atol=1e-6)


# --------------------------------------------------------------- optimum, worst, range, direction
def test_what_is_perfect_reversed_and_level() -> None:
    z = np.random.default_rng(0).normal(size=(7, 4))
    assert_allclose(compare_outputs(z, z), np.tile([0.0, 0.0, 1.0, 1.0], (7, 1)), atol=1e-12)
    worst = compare_outputs(z, -z)
    assert_allclose(worst[:, 2:], np.tile([-1.0, 0.0], (7, 1)), atol=1e-12)
    assert (worst[:, :2] > 0.0).all()
    assert_array_equal(compare_outputs(z, np.ones_like(z))[:, 2], 0.0)
    far = compare_outputs(np.array([[90.0, 0.0]]), np.array([[0.0, 90.0]]))
    assert_allclose(far, [[1.0, 90.0, -1.0, 0.0]])


def test_range_and_rank_correlation_with_ties() -> None:
    rng = np.random.default_rng(1)
    z, y = rng.integers(0, 4, (40, 6)).astype(float), rng.integers(0, 4, (40, 6)).astype(float)
    found = compare_outputs(z, y)
    assert ((found >= [0.0, 0.0, -1.0, 0.0]) & (found <= [1.0, 3.0, 1.0, 1.0])).all()
    expected = [spearmanr(a, b).statistic for a, b in zip(z, y, strict=True)]
    assert_allclose(found[:, 2], expected, atol=1e-12)


@pytest.mark.parametrize("head", ["affine", "relu"])
def test_a_bank_that_explains_all_is_perfect(head: str, images: np.ndarray) -> None:
    craft = planted.fitted(network(head), MIXING, images[:6])
    found = xc.output_fidelity(craft, images)
    assert_allclose(numbers(found), [0.0, 0.0, 1.0, 1.0], atol=1e-4)
    assert_array_equal(numbers(found.perfect), [0.0, 0.0, 1.0, 1.0])


def test_the_sum_is_the_model_where_the_head_is_affine(whole: xc.Craft, images: np.ndarray) -> None:
    """Of images that importances were not found in, too."""
    found = xc.output_fidelity(whole, images[6:], "additive")
    assert_allclose(numbers(found), [0.0, 0.0, 1.0, 1.0], atol=1e-4)
    assert found.gap < 1e-5


@pytest.mark.parametrize("form", ["bank", "additive"])
def test_floors_are_worse_than_what_was_planted(form: str) -> None:
    """Of each image one concept makes one output the largest: z = 10 U, mean over positions."""
    model = planted.network(MIXING, classes=4)
    kernel = 10.0 * np.linalg.pinv(MIXING)
    model.get_layer("logits").set_weights([kernel, np.zeros(4)])
    strong = 0.3 + np.eye(4)[np.arange(12) % 4][:, None, None]
    x = (strong * planted.paintings(12, concepts=4)).astype(np.float32)
    craft = planted.fitted(model, MIXING, x)
    found = xc.output_fidelity(craft, x, form)
    assert_allclose(numbers(found), [0.0, 0.0, 1.0, 1.0], atol=1e-3)
    for floor in (found.random_importances, found.random_concepts):
        for name in NAMES:
            own, random = getattr(found, name), getattr(floor, name)
            assert own.low <= own.value + 1e-9
            assert own.value - 1e-9 <= own.high
            assert -1.0 <= random.low <= random.value <= random.high
            assert name == "mean_absolute_error" or random.high <= 1.0
            assert (random.low > own.value) if name in LOW else (random.value < own.value)


# ------------------------------------------------------------------------------------- invariances
@pytest.mark.parametrize("form", ["bank", "additive"])
def test_a_constant_added_to_all_logits(form: str, images: np.ndarray) -> None:
    """It moves no softmax and no order; and no logit, for it is part of b and of h(U W)."""
    found = []
    for constant in (0.0, 4.0):
        model = network()
        kernel, bias = model.get_layer("logits").get_weights()
        model.get_layer("logits").set_weights([kernel, bias + constant])
        craft = planted.fitted(model, MIXING[:2], images)
        found.append(numbers(xc.output_fidelity(craft, images, form)))
    assert_allclose(found[1], found[0], atol=1e-5)
    z, y = np.random.default_rng(0).normal(size=(2, 7, 4))
    assert_allclose(compare_outputs(z, y + 4.0)[:, [0, 2, 3]], compare_outputs(z, y)[:, [0, 2, 3]])


@pytest.mark.parametrize("form", ["bank", "additive"])
def test_order_of_concepts_and_images_and_batches(form: str, images: np.ndarray) -> None:
    split = xc.split_model(network("relu"), planted.LAYER)
    craft = planted.fitted(split, MIXING[:3], images)
    expected = xc.output_fidelity(craft, images, form)
    turned = planted.fitted(split, MIXING[[2, 0, 1]], images)
    assert_allclose(numbers(xc.output_fidelity(turned, images, form)), numbers(expected), atol=1e-5)
    other = xc.output_fidelity(craft, images[::-1], form)
    assert_allclose(numbers(other), numbers(expected), atol=1e-5)
    small = xc.output_fidelity(craft.variant(batch_size=5), images, form)
    for scores in ("own", "random_importances", "random_concepts"):
        one, same = getattr(small, scores), getattr(expected, scores)
        assert_allclose(numbers(one), numbers(same), atol=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(5)
    assert_allclose(numbers(xc.output_fidelity(craft, dataset, form)), numbers(expected), atol=1e-5)


@pytest.mark.parametrize("form", ["bank", "additive"])
def test_no_number_hangs_on_the_scale_of_rows(form: str, images: np.ndarray) -> None:
    split = xc.split_model(network(), planted.LAYER)
    scales = np.array([[0.1], [1.0], [20.0], [3.0]], np.float32)
    found = [
        xc.output_fidelity(planted.fitted(split, bank, images), images, form)
        for bank in (MIXING, scales * MIXING)
    ]
    for scores in ("own", "random_importances", "random_concepts"):
        first, second = (numbers(getattr(one, scores)) for one in found)
        assert_allclose(second, first, atol=1e-3)


def test_draws_are_seeded(whole: xc.Craft, images: np.ndarray) -> None:
    first, again, other = (
        xc.output_fidelity(whole, images, "additive", seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert_array_equal(numbers(other), numbers(first))
    assert (numbers(other.random_importances) != numbers(first.random_importances)).any()
    assert (numbers(other.random_concepts) != numbers(first.random_concepts)).any()


def test_what_random_importances_keep(parts: list[xc.Craft], images: np.ndarray) -> None:
    """The concepts, the constants, and the numbers themselves; of a bank, the norms of its rows."""
    sums, _ = by_sum(parts, np.array([3, 1]), True, None, 0)
    own, drawn = sums[0], sums[1 : 1 + DRAWS]
    values = np.concatenate([one.added.reshape(-1) for one in own.sets])
    for one in drawn:
        assert one.encodings == own.encodings
        permuted = np.concatenate([each.added.reshape(-1) for each in one.sets])
        assert_allclose(np.sort(permuted), np.sort(values))
        for before, after in zip(own.sets, one.sets, strict=True):
            assert_array_equal(after.constant, before.constant)
    through = by_bank(parts, 0)[1]
    norms = np.linalg.norm(MIXING, axis=1)
    assert_allclose(np.linalg.norm(through.decoding.bank, axis=1), norms, rtol=1e-5)
    assert_array_equal(through.encodings[0].bank, MIXING)
    banks = [one.encodings[0].bank for one in sums[1 + DRAWS :]]
    banks += [one.encodings[1].bank for one in sums[1 + DRAWS :]]
    pairs = [(a, b) for i, a in enumerate(banks) for b in banks[:i]]
    assert not any(np.allclose(a, b) for a, b in pairs)


# ------------------------------------------------------------------------ contributions to outputs
@pytest.mark.parametrize(
    ("head", "latent"),
    [
        ("affine", "map"),
        ("affine", "pooled"),
        ("relu", "map"),
        ("relu", "tokens"),
        ("attention", "map"),
    ],
)
def test_contributions_to_all_outputs_are_those_to_each(
    head: str, latent: str, images: np.ndarray
) -> None:
    craft = planted.fitted(network(head, latent=latent), planted.bank(3, 6, seed=3), images)
    coded = planted.coded(craft, images)
    phi = AllOutputs(craft.network, 64).phi(coded, np.arange(CLASSES))
    expected = np.stack([contributions_of(craft, images, i).phi for i in range(CLASSES)], axis=2)
    share = {"affine": 1e-5, "relu": 0.03, "attention": 1e-5}[head]  # ReLUs switch on the way
    assert_allclose(phi, expected, atol=share * np.abs(expected).max())
    some = AllOutputs(craft.network, 2).phi(coded, np.array([3, 0]))
    assert_allclose(some, phi[..., [3, 0]], atol=1e-5)


def test_contributions_to_all_outputs_of_a_head_that_is_not_taken_apart(
    images: np.ndarray,
) -> None:
    """In half precision the head is evaluated as it is."""
    craft = planted.fitted(network("relu"), planted.bank(3, 6, seed=3), images)
    coded = planted.coded(craft, images)
    expected = AllOutputs(craft.network, 64).phi(coded, np.array([3, 0]))
    whole = AllOutputs(craft.network, 64)
    whole.check()
    from xplique_craft.gates.compiled import HeadFunctions

    craft.network.share(None, HeadFunctions(craft.network, None, taken_apart=False))
    assert_allclose(whole.phi(coded, np.array([3, 0])), expected, atol=1e-4)


def test_a_head_without_forward_mode_is_taken_output_by_output(images: np.ndarray) -> None:
    """TensorFlow has no forward mode for the loop of a recurrent layer."""
    image = keras.Input((6, 6, 4), name="image")
    places = keras.layers.Reshape((36, 4))(keras.layers.ReLU(name="cut")(image))
    hidden = keras.layers.GRU(5, kernel_initializer=keras.initializers.RandomNormal(0.0, 0.3, 1))
    logits = keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(0.0, 1.0, 2))
    split = xc.split_model(keras.Model(image, logits(hidden(places))), "cut")
    pictures = np.random.default_rng(0).random((3, 6, 6, 4)).astype(np.float32)
    craft = planted.fitted(split, planted.bank(2, 4, seed=3), pictures, 1)
    head = AllOutputs(craft.network, 64)
    phi = head.phi(planted.coded(craft, pictures), np.array([2, 0]))
    expected = np.stack([contributions_of(craft, pictures, i).phi for i in (2, 0)], axis=2)
    assert_allclose(phi, expected, atol=2e-3 * np.abs(expected).max())
    found = xc.output_fidelity(craft, pictures, "additive")
    assert np.isfinite(numbers(found)).all()


@pytest.mark.parametrize("asked", ["for_parent", "for_class"])
def test_children_of_a_concept(asked: str) -> None:
    pictures = np.random.default_rng(0).random((6, 16, 24, 3)).astype(np.float32)
    node = planted.convolutional_craft(pictures).decompose(0, "half", 2, 50.0)
    children = getattr(node, asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one output, of for_parent
        found = xc.output_fidelity(children, pictures, "additive", reference=pictures)
    assert np.isfinite(found.mean_absolute_error.value)
    head = AllOutputs(children.network, 64)
    phi = head.phi(planted.coded(children, pictures), np.array([0]))[..., 0]
    expected = contributions_of(children, pictures, 0).phi
    assert_allclose(phi, expected, atol=0.05 * np.abs(expected).max())


# ------------------------------------------------------------------------------ lists and the union
def test_a_list_of_banks_is_their_union(parts: list[xc.Craft], images: np.ndarray) -> None:
    union = xc.unite(parts)
    found, expected = (xc.output_fidelity(one, images) for one in (parts, union))
    assert found == expected
    assert_allclose(numbers(found), [0.0, 0.0, 1.0, 1.0], atol=1e-4)  # together they are all
    assert xc.output_fidelity(parts[0], images).emd.value > 0.05
    additive = xc.output_fidelity(union, images, "additive")
    assert_allclose(numbers(additive), [0.0, 0.0, 1.0, 1.0], atol=1e-4)


def test_a_union_answers_what_a_craft_does(parts: list[xc.Craft], images: np.ndarray) -> None:
    union = xc.unite(parts)
    assert_array_equal(union.bank, MIXING)
    assert union.class_id == 1
    together = np.concatenate([images[:6], images[3:9]])
    read = np.concatenate([batch.images for batch in union.stream(union.inputs_of_fit)])
    assert_array_equal(read, together)
    u = union.transform(together)
    assert_allclose(union.coefficient_scale, u.max(axis=(0, 1, 2)), rtol=1e-5)
    assert_allclose(union.concepts.extent.mean, u.mean(axis=(0, 1, 2)), rtol=1e-4)
    assert union.quality(images).agreement.value == 1.0
    phi = union.contributions(images, 3)
    assert phi.phi.shape == (12, 4)
    assert_allclose(phi.residual, 0.0, atol=1e-4)
    given = xc.unite(parts, images[:2])
    assert_array_equal(given.inputs_of_fit, images[:2])


def test_a_list_by_sum_predicts_each_output_by_its_own_set(
    parts: list[xc.Craft], images: np.ndarray
) -> None:
    found = xc.output_fidelity(parts, images, "additive")
    assert found.number_of_outputs == 2
    with pytest.warns(UserWarning, match="One output is compared"):
        alone = [xc.output_fidelity(p, images, "additive", outputs=[p.class_id]) for p in parts]
    each = [one.mean_absolute_error.value for one in alone]
    assert found.mean_absolute_error.value == pytest.approx(np.mean(each), rel=1e-5)
    turned = xc.output_fidelity(parts[::-1], images, "additive")
    assert_allclose(numbers(turned), numbers(found), atol=1e-6)
    assert numbers(xc.output_fidelity(parts, images, "additive", outputs=[3, 1])) == pytest.approx(
        numbers(found), abs=1e-6
    )
    some = xc.output_fidelity(parts, images, outputs=[0, 2])
    assert (some.form, some.number_of_outputs) == ("bank", 2)


class Bound(Factorizer):
    """Encodes with one bank, whatever bank it is given, as Xplique's do."""

    name = "bound"
    requires_non_negative = True
    of_one_bank = True

    def _fit(self, rows: Any, k: int, seed: int, weights: Any) -> Any:
        raise NotImplementedError

    def encode(self, activations: Any, bank: Any, offset: Any) -> Any:
        u = tf.ones([*activations.shape[:-1], 2])
        return u, u[..., 0]


def test_encodings_that_take_one_bank_only(parts: list[xc.Craft], images: np.ndarray) -> None:
    bound = replace(parts[0].factorized, factorizer=Bound())
    assert isinstance(for_any_bank(bound).factorizer, NMF)
    assert for_any_bank(parts[0].factorized) is parts[0].factorized
    union = united([bound, parts[1].factorized])
    assert_array_equal(union.bank, MIXING)
    assert_allclose(union.encode(MIXING)[0], np.eye(4), atol=1e-4)
    for form in ("bank", "additive"):  # its floors are encoded exactly
        found = xc.output_fidelity(parts[0].variant(factorized=bound), images, form)
        assert np.isfinite(numbers(found.random_concepts)).all()


def test_what_cannot_be_united(parts: list[xc.Craft], images: np.ndarray) -> None:
    rows = np.random.default_rng(0).random((30, 6)).astype(np.float32)
    pca, kmeans = PCA().fit(rows, 2), KMeans().fit(rows, 2)
    with pytest.raises(ValueError, match=r"directions from 0 to be united, and PCA\(\)"):
        united([pca, pca])
    with pytest.raises(ValueError, match=r"encoded in one way .* KMeans and NMF"):
        united([kmeans, NMF().fit(rows, 2)])
    assert len(united([kmeans, kmeans]).bank) == 4
    signed = parts[0].variant(factorized=replace(pca, offset=0.0 * pca.offset))
    with pytest.raises(ValueError, match="without sign for form='additive'"):
        xc.output_fidelity(signed, images, "additive")
    assert np.isfinite(numbers(xc.output_fidelity(signed, images))).all()


# ------------------------------------------------------------------------------------------- errors
def test_one_output(images: np.ndarray) -> None:
    craft = planted.fitted(planted.network(MIXING, classes=1), MIXING[:2], images)
    with pytest.warns(UserWarning, match="One output is compared, so there are no shares"):
        found = xc.output_fidelity(craft, images)
    assert np.isnan(numbers(found)[[0, 2, 3]]).all()
    assert found.mean_absolute_error.value > 0.0
    assert "not defined" in found.table()
    assert "not defined" in str(found)


def test_wrong_arguments(parts: list[xc.Craft], images: np.ndarray) -> None:
    ask = xc.output_fidelity
    with pytest.raises(ValueError, match="form must be 'bank' or 'additive', received 'sum'"):
        ask(parts, images, "sum")
    with pytest.raises(TypeError, match="concepts must be a list of fitted Crafts"):
        ask(parts[0].model, images)
    with pytest.raises(ValueError, match="at least one fitted Craft, received an empty list"):
        ask([], images)
    with pytest.raises(TypeError, match=r"concepts\[1\] must be a fitted Craft"):
        ask([parts[0], 1], images)
    for outputs in ([CLASSES], [1, 1], []):
        with pytest.raises(ValueError, match=r"outputs must be different indices .* 5, at least"):
            ask(parts, images, outputs=outputs)
    with pytest.raises(ValueError, match=r"\[0\] have none: the sets are of the classes \[1, 3\]"):
        ask(parts, images, "additive", outputs=[0, 1])
    with pytest.raises(ValueError, match=r"received sets of the classes \[1, 1\]"):
        ask([parts[0], parts[0]], images, "additive")
    with pytest.raises(ValueError, match="reference must be None for form='bank'"):
        ask(parts, images, reference=images)
    with pytest.raises(ValueError, match="seed must be at least 0"):
        ask(parts, images, seed=-1)
    with pytest.raises(ValueError, match="inputs must have the shape"):
        ask(parts, images[..., :1])
    with pytest.raises(ValueError, match="reference must have the shape"):
        ask(parts, images, "additive", reference=images[..., :1])


def test_concepts_of_other_models(parts: list[xc.Craft], images: np.ndarray) -> None:
    other = planted.fitted(network(seed=9), MIXING[:2], images, 2)
    for ask in (
        lambda: xc.output_fidelity([parts[0], other], images),
        lambda: xc.unite([*parts, other]),
    ):
        with pytest.raises(ValueError, match="must be of one model, cut at one layer"):
            ask()
    same = planted.fitted(network(), MIXING[2:], images, 2)  # made anew, and yet the same model
    assert len(xc.unite([parts[0], same]).bank) == 4
    larger = planted.fitted(network(size=(4, 4)), MIXING[2:], images[:, :4, :4], 2)
    with pytest.raises(ValueError, match="must be of one model"):
        xc.unite([parts[0], larger])


def test_concepts_without_images(parts: list[xc.Craft], images: np.ndarray) -> None:
    bare = parts[0].variant()
    bare._concepts = replace(bare.concepts, inputs=None)
    with pytest.raises(ValueError, match="reference must be images for these concepts"):
        xc.output_fidelity(bare, images, "additive")
    with pytest.raises(ValueError, match="inputs must be images, for some of the concepts"):
        xc.unite([bare, parts[1]])
    assert xc.unite([bare, parts[1]], images).bank.shape == (4, 6)
    assert xc.output_fidelity(bare, images, "additive", reference=images).gap < 1e-5


def test_a_gap_is_warned_of(images: np.ndarray) -> None:
    """What is divided by its size jumps where it appears: no derivative sees it."""
    craft, x = planted.function_craft(lambda z: keras.ops.sum(keras.ops.normalize(z), -1), 2, 3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = xc.output_fidelity(craft, x, "additive", reference=x)
    assert any("contributions miss 100% of what the" in str(one.message) for one in said)
    assert found.gap == pytest.approx(1.0, abs=1e-3)


# ------------------------------------------------------------------------------------------- result
def test_the_result_in_words(whole: xc.Craft, images: np.ndarray) -> None:
    found = xc.output_fidelity(whole, images, "additive")
    lines = found.table().splitlines()
    assert lines[0] == (
        "| b + sum alpha u | EMD (low is good) | mean absolute error (low is good) | "
        "rank correlation (high is good) | agreement (high is good) |"
    )
    names = [line.split("|")[1].strip() for line in lines[2:6]]
    assert names == ["the concepts", "random importances", "random concepts", "perfect"]
    assert str(found.random_concepts.emd) in lines[4]
    assert "12 images, 5 outputs" in lines[7]
    assert lines[8] == "Of what the concepts add, contributions miss 0.0%."
    text = str(found)
    assert text.startswith(f"EMD (low is good): {found.emd} (random concepts ")
    assert "agreement (high is good)" in text


# ------------------------------------------------------------------------------- Xplique's concepts
@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
def test_concepts_of_xplique(images: np.ndarray) -> None:
    """Encoded as Xplique encodes them; their floors, and unions with others, exactly."""
    model = planted.network(planted.bank(4, 6), classes=CLASSES)
    split = xc.split_model(model, planted.LAYER)
    theirs = CraftTf(split.input_to_latent, split.latent_to_logit, 2, patch_size=4)
    theirs.fit(images, class_id=1)
    adapted = xc.from_craft_tf(theirs, split=split)
    for form in ("bank", "additive"):
        found = xc.output_fidelity(adapted, images, form)
        assert 0.0 < found.emd.value < 1.0
        assert np.isfinite(numbers(found.random_concepts)).all()
    ours = planted.fitted(split, MIXING, images, 3)
    union = xc.unite([adapted, ours])
    assert_array_equal(union.bank, np.concatenate([adapted.bank, MIXING]))
    assert union.factorized.factorizer.name == "nmf"
    assert_allclose(numbers(xc.output_fidelity(union, images)), [0.0, 0.0, 1.0, 1.0], atol=1e-3)
    assert xc.output_fidelity([adapted, ours], images, "additive").number_of_outputs == 2
