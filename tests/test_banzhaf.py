"""Banzhaf values and interactions: by hand, all sets, drawn sets, exact zeros, upstream's way."""

import itertools
from typing import Any

import numpy as np
import planted
import pytest
import tensorflow as tf
from importances import BANK, Case, coverage, third_order
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions.base import BlackBoxExplainer

import xplique_craft as xc
from xplique_craft import importance as xi
from xplique_craft.importance import BanzhafImportance
from xplique_craft.importance.banzhaf import ESTIMATORS, by_subsets
from xplique_craft.results import ConceptInteractions

every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)


@pytest.fixture
def never_enumerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets are drawn for any number of concepts."""
    monkeypatch.setattr("xplique_craft.importance.banzhaf.MOST_ENUMERATED", 0)


@pytest.fixture(scope="module", params=["relu-map", "relu-pooled", "attention-map"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param.split("-"))


def over_all_sets(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """beta (5, 3) and I (5, 3, 3) by their sums over sets, residual kept."""
    u = case.u.astype(np.float64)
    residual = planted.coded(case.craft, case.images).constant.numpy()

    def score(*open_gates: int) -> np.ndarray:
        gates = np.isin(np.arange(3), open_gates)
        activations = (u * gates) @ BANK[:3].astype(np.float64) + residual
        return planted.logits_by_numpy(case.head, case.model, activations)[:, 0]

    main, pairs = np.zeros((5, 3)), np.zeros((5, 3, 3))
    for j in range(3):
        others = [i for i in range(3) if i != j]
        for some in itertools.chain([()], *(itertools.combinations(others, s) for s in (1, 2))):
            main[:, j] += (score(j, *some) - score(*some)) / 4.0
        for i in others:
            (last,) = (m for m in others if m != i)
            for some in ((), (last,)):
                gained = score(i, j, *some) - score(i, *some) - score(j, *some) + score(*some)
                pairs[:, i, j] += gained / 2.0
    return main, pairs


# ------------------------------------------------------------------------------------ all subsets
def test_by_hand() -> None:
    """f = m_1 m_2 + m_3 on sets (), 1, 2, 12, 3, 13, 23, 123: half each, and all for the third."""
    main, pairs = by_subsets(np.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0]]))
    assert_allclose(main, [[0.5, 0.5, 1.0]])
    assert_allclose(pairs, [[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])


def test_subsets_are_the_definition(case: Case) -> None:
    main, pairs = over_all_sets(case)
    importance = BanzhafImportance(case.craft).summary(case.images)
    assert_allclose(importance.per_image, main, atol=2e-5)
    assert importance.exact
    assert importance.signed
    assert importance.evaluations == 5 * 8
    found = BanzhafImportance(case.craft).interactions(case.images)
    assert_allclose(found.per_image, pairs, atol=4e-5)
    assert_allclose(found.main, main.mean(axis=0), atol=2e-5)
    assert_allclose(found.values, pairs.mean(axis=0), atol=4e-5)
    assert found.exact
    assert found.evaluations == 5 * 8


def test_affine_heads_have_no_interactions() -> None:
    case = Case("affine", "map")
    found = BanzhafImportance(case.craft).interactions(case.images, 1)
    assert_array_equal(found.per_image, np.zeros((5, 3, 3)))
    assert_array_equal(found.estimation_interval, np.zeros((3, 3, 2)))
    assert_array_equal(found.image_interval, np.zeros((3, 3, 2)))
    assert_allclose(found.main, case.explain("occlusion", 1).mean(axis=0), atol=1e-12)
    assert found.evaluations == 0
    assert str(found.path) == "closed form"


# ------------------------------------------------------------------------------------ drawn sets
@pytest.mark.usefixtures("never_enumerated")
@every_estimator
def test_drawn_sets_come_near(case: Case, estimator: str) -> None:
    main, pairs = over_all_sets(case)
    method = BanzhafImportance(case.craft, 4000, estimator=estimator, batch_size=8192)
    scale = np.abs(main).max()
    share = 0.05 if estimator == "kernel" else 0.15
    assert_allclose(method.explain(case.images), main, atol=share * scale)
    found = method.interactions(case.images)
    assert_allclose(found.per_image, pairs, atol=0.15 * scale)
    assert_allclose(found.per_image, found.per_image.swapaxes(1, 2))
    assert not found.exact
    assert found.evaluations == 5 * 4000


def additive(m: Any) -> Any:
    return 100.0 + ops.sum(m * (np.arange(14.0, dtype=np.float32) - 6.0), axis=1)


def test_what_is_additive_is_exact_by_least_squares() -> None:
    """And has no interactions, whatever sets are drawn."""
    craft, images = planted.function_craft(additive, 14, images=2)
    settings = {"operator": planted.by_sampling, "batch_size": 512}
    method = BanzhafImportance(craft, 64, **settings)
    assert_allclose(method.explain(images), np.tile(np.arange(14.0) - 6.0, (2, 1)), atol=1e-4)
    found = method.interactions(images)
    assert_allclose(found.values, 0.0, atol=1e-4)
    assert not found.exact
    rough = BanzhafImportance(craft, 64, estimator="msr", **settings).explain(images)
    assert np.abs(rough - np.arange(14.0) + 6.0).max() > 0.5


def test_least_squares_are_more_accurate_at_equal_cost() -> None:
    craft, images = planted.function_craft(third_order, 9, images=100)
    expected = BanzhafImportance(craft).explain(images)
    errors = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xplique_craft.importance.banzhaf.MOST_ENUMERATED", 0)
        for estimator in ESTIMATORS:
            method = BanzhafImportance(craft, 128, estimator=estimator, batch_size=8192)
            errors[estimator] = np.abs(method.explain(images) - expected).mean()
    assert errors["kernel"] < 0.7 * errors["msr"]


@pytest.mark.slow
@pytest.mark.usefixtures("never_enumerated")
@every_estimator
def test_intervals_cover(estimator: str) -> None:
    craft, images = planted.function_craft(third_order, 9, images=400)
    method = BanzhafImportance(craft, 256, estimator=estimator, batch_size=8192)
    assert 0.86 <= coverage(method, images) <= 0.95


@pytest.mark.slow
@pytest.mark.usefixtures("never_enumerated")
def test_intervals_of_interactions_cover() -> None:
    """Of single images, each of which has draws of its own."""
    craft, images = planted.function_craft(third_order, 9, images=1)
    truth = None
    hits = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xplique_craft.importance.banzhaf.MOST_ENUMERATED", 12)
        truth = BanzhafImportance(craft).interactions(images).values
    rows, columns = np.nonzero(np.triu(np.abs(truth) > 1e-3, 1))
    for seed in range(60):
        found = BanzhafImportance(craft, 256, seed=seed, batch_size=8192).interactions(images)
        low, high = np.moveaxis(found.estimation_interval, -1, 0)
        hits.append(((low <= truth) & (truth <= high))[rows, columns])
    assert 0.82 <= np.mean(hits) <= 0.97


@pytest.mark.usefixtures("never_enumerated")
@every_estimator
def test_memory_is_bounded_by_chunks(
    monkeypatch: pytest.MonkeyPatch, case: Case, estimator: str
) -> None:
    method = BanzhafImportance(case.craft, 32, estimator=estimator)
    whole, pairs = method.explain(case.images), method.interactions(case.images)
    monkeypatch.setattr("xplique_craft.importance._draws._ENTRIES_AT_ONCE", 2 * 32 * 3)
    assert_allclose(method.explain(case.images), whole, atol=1e-4)
    assert_allclose(method.interactions(case.images).per_image, pairs.per_image, atol=1e-4)


def test_too_few_sets_for_least_squares() -> None:
    craft, _ = planted.function_craft(additive, 14, images=2)
    with pytest.raises(ValueError, match=r"nb_samples must be at least 4 for .* 56, received 55"):
        BanzhafImportance(craft, 55)
    assert BanzhafImportance(craft, 55, estimator="msr").nb_samples == 55


# ---------------------------------------------------------------------------- what it returns
def test_what_interactions_return(case: Case) -> None:
    found = BanzhafImportance(case.craft).interactions(case.images)
    assert isinstance(found, ConceptInteractions)
    assert found.per_image.shape == (5, 3, 3)
    assert_allclose(found.per_image.mean(axis=0), found.values)
    assert found.image_interval.shape == (3, 3, 2)
    sizes = [abs(found.values[i, j]) for i, j in found.pairs]
    assert sizes == sorted(sizes, reverse=True)
    assert found.pairs.shape == (3, 2)
    i, j = found.pairs[0]
    assert f"{found.values[i, j]:+.3f}" in str(found)
    table = found.table()
    assert f"| {i}, {j} | {found.values[i, j]:+.3f} |" in table.splitlines()[2]
    assert "above 0: more together than one by one" in table


def test_interactions_of_one_concept() -> None:
    craft, images = planted.function_craft(lambda m: m[:, 0] ** 2, 1, images=2)
    found = BanzhafImportance(craft).interactions(images)
    assert_allclose(found.main, [1.0], atol=1e-6)
    assert_array_equal(found.values, [[0.0]])
    assert found.pairs.shape == (0, 2)
    assert "one concept only" in str(found)


# ------------------------------------------------------------- concepts of which there is nothing
SPARSE: dict[str, dict[str, Any]] = {
    "banzhaf": {},
    "hsic": {"nb_design": 7},
    "sobol total": {"nb_design": 8},
}


@pytest.fixture(scope="module", params=["affine", "relu"])
def sparse(request: pytest.FixtureRequest) -> tuple[xc.Craft, np.ndarray]:
    """Images of which the first three have nothing of concept 1 at any place."""
    images = planted.paintings(5, concepts=4)
    images[..., 0] += 0.2
    images[:3, ..., 1], images[3:, ..., 1] = 0.0, 1.0
    mixed = BANK + np.array([[1.0], [0.0], [0.0], [0.0]]) * BANK[1]  # alone, 0 is 0' less 1
    return planted.fitted(planted.network(BANK, request.param), mixed, images), images


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("method", sorted(SPARSE))
def test_exactly_nothing_of_nothing(
    sparse: tuple[xc.Craft, np.ndarray], method: str, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As upstream's sparse methods, which leave concepts out that are not active in the image."""
    craft, images = sparse
    u = craft.transform(images)
    absent = ~u.reshape(5, -1, 4).any(axis=1)
    assert_array_equal(absent[:, 1], [True, True, True, False, False])
    settings = SPARSE[method] if drawn else {}
    if drawn and method == "banzhaf":
        monkeypatch.setattr("xplique_craft.importance.banzhaf.MOST_ENUMERATED", 0)
    found = xi.METHODS[method](craft, **settings).summary(images)
    assert (found.per_image[absent] == 0.0).all()
    assert (found.per_image[~absent] != 0.0).all()
    if method == "banzhaf" and not craft.head().affine:
        pairs = xi.BanzhafImportance(craft).interactions(images).per_image
        assert (pairs[:3, 1] == 0.0).all()
        assert (pairs[:3, :, 1] == 0.0).all()
        assert pairs[3, 1].any()


# ------------------------------------------------------------------------- as upstream does it
class EagerBanzhaf(BlackBoxExplainer):
    """
    What Xplique is about to have: coefficients (n, ..., k), masks of whole channels, of those that
    are active; one input at a time, eagerly, through its own inference function.
    """

    def explain(self, inputs: Any, targets: Any = None) -> tf.Tensor:
        found = []
        for u, target in zip(tf.convert_to_tensor(inputs), targets, strict=True):
            k = u.shape[-1]
            active = np.flatnonzero(u.numpy().reshape(-1, k).any(axis=0))
            masks = np.array(list(itertools.product([0.0, 1.0], repeat=len(active))), np.float32)
            whole = np.ones((len(masks), k), np.float32)
            whole[:, active] = masks
            masked = u[None] * whole.reshape(len(masks), *(1,) * (u.shape.rank - 1), k)
            labels = tf.repeat(target[None], len(masks), axis=0)
            scores = self.batch_inference_function(self.model, masked, labels, self.batch_size)
            values = np.zeros(k)
            for place, j in enumerate(active):
                there = masks[:, place] > 0.0
                values[j] = np.mean(scores.numpy()[there]) - np.mean(scores.numpy()[~there])
            found.append(values)
        return tf.constant(np.stack(found))


@pytest.mark.parametrize(
    ("head", "latent"), [("affine", "pooled"), ("relu", "map"), ("attention", "map")]
)
def test_a_black_box_on_the_decoders(head: str, latent: str) -> None:
    case = Case(head, latent)
    targets = tf.constant(planted.one_hot([1, 0, 2, 1, 1], 3))
    dropped = EagerBanzhaf(case.craft.decoder, batch_size=3).explain(case.u, targets)
    ours = BanzhafImportance(case.craft, keep_residual=False).explain(case.images, targets)
    assert_allclose(dropped, ours, atol=2e-5)
    kept = [
        EagerBanzhaf(case.craft.bound_decoder(case.images[i : i + 1])).explain(
            case.u[i : i + 1], targets[i : i + 1]
        )[0]
        for i in range(2)
    ]
    ours = BanzhafImportance(case.craft, keep_residual=True).explain(case.images, targets)
    assert_allclose(kept, ours[:2], atol=2e-5)
    if head != "affine":
        assert np.abs(dropped[:2] - ours[:2]).max() > 1e-3


def test_what_comes_out_of_it_is_what_goes_into_metrics() -> None:
    case = Case("relu", "map")
    targets = tf.constant(planted.one_hot([1] * 5, 3))
    theirs = EagerBanzhaf(case.craft.decoder).explain(case.u, targets)
    measured = xc.metrics.ConceptDeletion(case.craft, case.images, 1, keep_residual=False)
    found = measured.summary(theirs)
    assert found.estimate.value <= found.random.value
