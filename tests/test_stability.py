"""Stability of a craft's concepts: planted banks, banks of no meaning, matching, errors."""

import numpy as np
import planted
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft.factorization import PCA, Factorized
from xplique_craft.metrics import stability
from xplique_craft.metrics.folds import matched
from xplique_craft.results import ConceptStability
from xplique_craft.sampling.rows import CropRows

MIXING = planted.bank(concepts=4, channels=6)
SIZE = (12, 12)


class Random(planted.Given):
    """Finds a bank that depends on what it is fitted on, and has nothing to do with it."""

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Factorized:
        number = int(1e3 * np.abs(rows).sum())
        self.given = np.random.default_rng(number).random((k, rows.shape[1])).astype(np.float32)
        return super()._fit(rows, k, seed, weights)


def made(factorizer: object = "nmf", concepts: int = 4, images: int = 20, **settings: object):  # type: ignore[no-untyped-def]
    """A craft fitted on paintings, of which single positions are single concepts."""
    paintings = np.random.default_rng(0).random((images, 6, 6, 4)) < 0.35
    paintings = paintings.repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)
    craft = xc.Craft.from_model(
        planted.network(MIXING, size=SIZE),
        planted.LAYER,
        concepts,
        factorizer=factorizer,
        **settings,
    )
    craft.fit(paintings, planted.predicted(craft.model, paintings))
    return craft, paintings


# ------------------------------------------------------------------------------- known answers
def test_planted_concepts_come_again() -> None:
    craft, _ = made(position_weight=3.0)
    found = stability(craft)
    assert found.matched.value > 0.98
    assert found.disjoint.value > 0.97
    assert (found.by_fold > 0.97).all()
    assert_array_equal(found.returns(), [5] * 4)
    assert found.floor.value < 0.6
    assert found.number_of_images == 20


def test_a_bank_that_is_always_the_same() -> None:
    craft, _ = made(planted.Given(MIXING))
    found = stability(craft, folds=3)
    for one in (found.matched, found.disjoint):
        assert (one.value, one.low, one.high) == pytest.approx((1.0, 1.0, 1.0))
    assert_allclose(found.by_fold, np.ones((4, 3)), atol=1e-6)
    units = MIXING / np.linalg.norm(MIXING, axis=1, keepdims=True)
    products = units @ units.T - 2.0 * np.eye(4)
    assert found.floor.value == pytest.approx(products.max(axis=1).mean(), abs=1e-5)


def test_random_banks() -> None:
    """They match as well as other random banks do."""
    rng = np.random.default_rng(1)
    expected = [
        matched(rng.random((4, 6)), rng.random((4, 6)), False)[1].mean() for _ in range(500)
    ]
    craft, _ = made(Random(MIXING))
    found = stability(craft, folds=8)
    assert found.matched.value == pytest.approx(np.mean(expected), abs=0.03)
    assert found.disjoint.value == pytest.approx(np.mean(expected), abs=0.1)
    assert found.returns(0.999).sum() == 0


def test_the_mean_is_over_all_pairs_of_banks() -> None:
    """Once more by hand, from banks fitted by hand on the folds."""
    craft, _ = made(position_weight=0.0, concepts=3)
    found = stability(craft, folds=3, seed=4)
    rows = craft.concepts.known(CropRows)
    from xplique_craft._random import Draw, generator

    order = generator(4, Draw.FOLDS).permutation(20)
    banks = []
    for fold in np.array_split(order, 3):
        kept = ~np.isin(rows.boxes[:, 0], fold)
        banks.append(craft.factorizer.fit(rows.rows[kept], 3, craft.seed).bank)
    pairs = [matched(banks[a], banks[b], False)[1].mean() for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found.matched.value == pytest.approx(np.mean(pairs), abs=1e-9)
    own = [matched(craft.bank, bank, False)[1] for bank in banks]
    assert_allclose(found.by_fold, np.stack(own, axis=1), atol=1e-9)
    assert_allclose(found.by_concept, np.mean(own, axis=0), atol=1e-9)


def test_the_match_is_the_best_of_all_assignments() -> None:
    """By hand: greedily the first concept would take what the second one needs."""
    first = np.array([[1.0, 0.0], [0.8, 0.6]])
    second = np.array([[0.96, 0.28], [0.0, 1.0]])
    match, cosine = matched(first, second, False)
    assert_array_equal(match, [0, 1])
    assert_allclose(cosine, [0.96, 0.6])
    match, cosine = matched(first, -second, True)
    assert_array_equal(match, [0, 1])
    assert_allclose(cosine, [0.96, 0.6])


def test_an_empty_concept_matches_nothing() -> None:
    _, cosine = matched(np.array([[0.0, 0.0], [1.0, 0.0]]), np.eye(2), False)
    assert sorted(cosine) == [0.0, 1.0]


def test_signed_concepts_have_two_ends() -> None:
    craft, _ = made(PCA(), concepts=3)
    found = stability(craft, folds=4)
    assert (found.by_fold >= 0.0).all()
    assert found.matched.value > 0.9
    assert found.floor.value == pytest.approx(0.0, abs=1e-3)


# ------------------------------------------------------------------------- no pass, and no change
def test_g_does_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    craft, _ = made()
    bank, calls = craft.bank.copy(), []
    monkeypatch.setattr(craft, "stream", lambda *_: calls.append(1))
    first = stability(craft)
    assert calls == []
    assert_array_equal(craft.bank, bank)
    assert stability(craft).matched == first.matched


def test_of_a_craft_that_was_loaded(tmp_path) -> None:  # type: ignore[no-untyped-def]
    craft, _ = made()
    path = craft.save(tmp_path / "craft.safetensors")
    loaded = xc.Craft.load(path, craft.model)
    assert loaded.concepts.known(CropRows) is None
    first, again = stability(craft), stability(loaded)
    assert (first.matched, first.disjoint) == (again.matched, again.disjoint)
    assert_array_equal(first.by_fold, again.by_fold)
    alone = craft.save(tmp_path / "alone.safetensors", with_inputs=False)
    with pytest.raises(ValueError, match="The images of `fit` are needed"):
        stability(xc.Craft.load(alone, craft.model))


def test_the_seed_divides() -> None:
    craft, _ = made()
    first, again, other = (stability(craft, seed=seed) for seed in (1, 1, 2))
    assert first.matched == again.matched
    assert_array_equal(first.by_fold, again.by_fold)
    assert (first.by_fold != other.by_fold).any()


def test_it_is_a_method_too() -> None:
    craft, _ = made()
    assert craft.stability(folds=2, seed=1).matched == stability(craft, folds=2, seed=1).matched


# ----------------------------------------------------------------------------------------- errors
def test_too_few_photographs() -> None:
    craft, _ = made()
    with pytest.raises(ValueError, match="folds must be at most the number of photographs, 20"):
        stability(craft, folds=21)
    with pytest.raises(ValueError, match="folds must be at least 2"):
        stability(craft, folds=1)
    few, _ = made(planted.Given(MIXING[:3]), concepts=3, images=3, patch_size=12)
    with pytest.raises(ValueError, match="craft must be fitted on more images"):
        stability(few, folds=2)


def test_children_have_no_photographs_of_their_own() -> None:
    images = np.random.default_rng(0).random((8, 16, 24, 3)).astype(np.float32)
    node = planted.convolutional_craft(images).decompose(0, "half", 2, 50.0)
    with pytest.raises(ValueError, match="craft must have found its concepts by fit"):
        node.for_class.stability()


def test_one_concept_has_no_floor() -> None:
    craft, _ = made(planted.Given(MIXING[:1]), concepts=1)
    with pytest.warns(UserWarning, match="one concept only"):
        found = stability(craft, folds=2)
    assert found.matched.value == pytest.approx(1.0)
    assert np.isnan(found.floor.value)


def test_what_is_printed() -> None:
    found = ConceptStability(*_estimates(), np.array([[0.95, 0.8], [0.99, 0.97]]), 7)
    assert "over 2 folds" in str(found)
    lines = found.table().splitlines()
    assert lines[2] == "| 1 | 0.980 | 2 of 2 |"
    assert lines[3] == "| 0 | 0.875 | 1 of 2 |"
    assert len(lines) == 2 + 2 + 3


def _estimates():  # type: ignore[no-untyped-def]
    from xplique_craft.results import Estimate

    return [Estimate(0.9, 0.8, 1.0), Estimate(0.7, 0.6, 0.8), Estimate(0.3, 0.2, 0.4)]
