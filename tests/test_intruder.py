"""The machine's intruder test and binary choice: known answers, chance, intervals, errors."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest

from xplique_craft.metrics import (
    CropCluster,
    Trials,
    binary_choice,
    difference,
    embed_crops,
    intruder_test,
)
from xplique_craft.sampling.lazy_crops import Crops


def clusters(
    number: int = 3, crops: int = 12, noise: float = 0.0, seed: int = 0, photographs: int = 12
) -> list[CropCluster]:
    """Concept j lies along axis j; each has one crop of each photograph, or several."""
    rng = np.random.default_rng(seed)
    return [
        CropCluster(
            np.eye(8)[j] + noise * rng.normal(size=(crops, 8)), np.arange(crops) % photographs
        )
        for j in range(number)
    ]


def noise_alone(number: int = 3, crops: int = 30, seed: int = 0) -> list[CropCluster]:
    rng = np.random.default_rng(seed)
    return [CropCluster(rng.normal(size=(crops, 8)), np.arange(crops)) for _ in range(number)]


# ------------------------------------------------------------------------------- known answers
def test_clean_concepts_are_always_told_apart() -> None:
    found = intruder_test(clusters(), trials=60)
    assert found.won.all()
    assert found.accuracy.value == found.accuracy.high == 1.0
    assert 0.4 < found.accuracy.low < 1.0
    assert found.chance == 0.2


def test_noise_is_a_guess() -> None:
    found = intruder_test(noise_alone(), trials=1500)
    assert found.accuracy.value == pytest.approx(0.2, abs=0.06)
    assert found.accuracy.low < 0.2 < found.accuracy.high


def test_crops_that_are_all_alike_are_a_guess() -> None:
    """Ties are broken by chance, not for or against the intruder."""
    alike = [CropCluster(np.ones((30, 4)), np.arange(30)) for _ in range(2)]
    found = intruder_test(alike, trials=1500)
    assert found.accuracy.value == pytest.approx(0.2, abs=0.03)
    pairs = [(alike[0], alike[1])]
    assert binary_choice(pairs, trials=1500).accuracy.value == pytest.approx(0.5, abs=0.04)


def test_the_intruder_is_the_one_farthest_from_the_others() -> None:
    """Worked by hand: in the plane, with an intruder nearer than one of the concept's own crops."""
    own = CropCluster(np.array([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [0.0, 1.0]]), np.arange(4))
    near = CropCluster(np.array([[1.0, 0.0]]), np.array([9]))
    far = CropCluster(np.array([[-1.0, 0.0]]), np.array([9]))
    assert not intruder_test([own], [near], trials=20).won.any()
    assert intruder_test([own], [far], trials=20).won.all()


def test_the_length_of_an_embedding_does_not_matter(rng: np.random.Generator) -> None:
    plain = clusters(noise=0.4)
    scaled = [
        CropCluster(c.embeddings * rng.uniform(0.1, 9.0, (len(c.embeddings), 1)), c.photographs)
        for c in plain
    ]
    assert_array_equal(intruder_test(plain).won, intruder_test(scaled).won)


def test_the_choice_goes_to_the_nearer_side() -> None:
    child, other, _ = clusters(crops=14, photographs=14)
    parent = CropCluster(
        np.concatenate([child.embeddings, other.embeddings]), np.tile(np.arange(14), 2)
    )
    found = binary_choice([(child, parent)], trials=80)
    assert found.won.mean() > 0.95  # five crops of the parent are rarely all of the child
    assert found.chance == 0.5
    assert not binary_choice([(parent, child)], trials=80).won.all()


# ----------------------------------------------------------------------------------- the draws
@pytest.mark.parametrize("photographs", [12, 6])
def test_all_crops_of_a_trial_come_from_different_photographs(photographs: int) -> None:
    found = intruder_test(clusters(photographs=photographs), trials=200)
    assert found.photographs.shape == (200, 5)
    assert all(len(set(row)) == 5 for row in found.photographs.tolist())
    child, parent, _ = clusters(crops=30, photographs=12)
    found = binary_choice([(child, parent)], trials=100)
    assert found.photographs.shape == (100, 11)
    assert all(len(set(row)) == 11 for row in found.photographs.tolist())


def test_concepts_take_turns() -> None:
    assert_array_equal(intruder_test(clusters(), trials=7).clusters, [0, 1, 2, 0, 1, 2, 0])


def test_the_seed_decides() -> None:
    given = clusters(noise=0.5)
    first, again, other = (intruder_test(given, trials=100, seed=seed) for seed in (1, 1, 2))
    assert_array_equal(first.photographs, again.photographs)
    assert_array_equal(first.won, again.won)
    assert (first.photographs != other.photographs).any()


def test_more_trials_begin_with_the_same() -> None:
    few, many = (intruder_test(clusters(noise=0.5), trials=trials) for trials in (30, 90))
    assert_array_equal(few.photographs, many.photographs[:30])


# ------------------------------------------------------------------------------- the intervals
def test_trials_that_share_no_photograph_are_independent(rng: np.random.Generator) -> None:
    """Then the interval is Wilson's for their number."""
    won = rng.random(200) < 0.7
    found = Trials(won, np.arange(1000).reshape(200, 5), np.zeros(200, int), 0.2).accuracy
    low, high = binomtest(int(won.sum()), 200).proportion_ci(0.9, method="wilson")
    # The jackknife over 1,000 photographs, each of which is in one trial, counts a trial 5 times.
    assert (found.high - found.low) / (high - low) == pytest.approx(5**0.5, rel=0.03)
    single = Trials(won, np.arange(200).reshape(200, 1), np.zeros(200, int), 0.2).accuracy
    assert_allclose([single.low, single.high], [low, high], atol=1e-3)


def test_one_photograph_that_decides_everything_widens_the_interval() -> None:
    won = np.tile([True, False], 100)
    spread = Trials(won, np.arange(200)[:, None], np.zeros(200, int), 0.5).accuracy
    shared = Trials(won, np.tile([0, 1], 100)[:, None], np.zeros(200, int), 0.5).accuracy
    assert shared.high - shared.low > 5.0 * (spread.high - spread.low)


def test_intervals_hold_the_truth() -> None:
    """Embeddings of noise: the truth is 20%, whatever photographs are drawn."""
    held = 0
    for seed in range(60):
        found = intruder_test(noise_alone(2, 20, seed), trials=200, seed=seed).accuracy
        held += found.low <= 0.2 <= found.high
    assert held / 60 >= 0.86


def test_a_difference_of_the_same_trials_is_none() -> None:
    found = intruder_test(clusters(noise=0.6), trials=150)
    same = difference(found, found)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_differences_are_paired_by_photograph() -> None:
    first = intruder_test(clusters(noise=0.3), trials=300)
    second = intruder_test(clusters(noise=0.9, seed=1), trials=300)
    found = difference(first, second)
    assert found.value == pytest.approx(first.accuracy.value - second.accuracy.value)
    assert 0.0 < found.low < found.value < found.high <= 1.0


# ----------------------------------------------------------------------------------- the judge
@pytest.fixture(scope="module")
def judge() -> keras.Model:
    """The mean colour of each quarter, as a map."""
    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.AveragePooling2D(4)(image))


def test_the_judge_sees_crops_at_its_own_size(judge: keras.Model, rng: np.random.Generator) -> None:
    crops = [rng.random((side, side, 3)).astype(np.float32) for side in (8, 4, 16)]
    found = embed_crops(judge, crops, [3, 1, 2], prepare=lambda x: 2.0 * x - 1.0, batch_size=2)
    expected = [2.0 * crop.mean(axis=(0, 1)) - 1.0 for crop in crops]
    assert_allclose(found.embeddings[0], expected[0], atol=1e-6)
    assert_allclose(found.embeddings, expected, atol=0.05)
    assert_array_equal(found.photographs, [3, 1, 2])


def test_crops_of_a_craft_know_their_photographs(judge: keras.Model) -> None:
    images = np.arange(3, dtype=np.float32)[:, None, None, None] * np.ones((3, 8, 8, 3), np.float32)
    boxes = np.array([[2, 0, 0, 4, 4], [0, 2, 2, 3, 3], [1, 0, 0, 8, 8]])
    found = embed_crops(judge, Crops(boxes, lambda i: images[i], 3))
    assert_allclose(found.embeddings, [[2.0] * 3, [0.0] * 3, [1.0] * 3], atol=1e-6)
    assert_array_equal(found.photographs, [2, 0, 1])


def test_a_judge_of_any_size(judge: keras.Model) -> None:
    image = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="judge must take images of one size"):
        embed_crops(keras.Model(image, keras.layers.ReLU()(image)), [np.ones((4, 4, 3))], [0])
    unbuilt = keras.Sequential([keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match=r"judge must take images of one size.* not known yet"):
        embed_crops(unbuilt, [np.zeros((4, 4, 3))], [0])
    with pytest.raises(TypeError, match="photographs must be given"):
        embed_crops(judge, [np.ones((4, 4, 3))])
    with pytest.raises(ValueError, match="crops must hold at least one crop"):
        embed_crops(judge, [], [])


# ---------------------------------------------------------------------------------- the errors
def test_too_few_photographs() -> None:
    with pytest.raises(ValueError, match=r"clusters\[0\] must hold .* at least 4 photographs"):
        intruder_test(clusters(photographs=3))
    with pytest.raises(ValueError, match=r"intruders\[1\] must hold .* and it holds 0"):
        intruder_test(clusters(2, crops=4, photographs=4), [clusters(2, 12)[0], clusters(2, 4)[1]])
    child = clusters(crops=5)[0]
    with pytest.raises(ValueError, match=r"pairs\[0\]\[0\] must hold crops of at least 6"):
        binary_choice([(child, child)])


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="at least two concepts"):
        intruder_test(clusters(1))
    with pytest.raises(ValueError, match="one cluster for each of the 3 concepts, received 1"):
        intruder_test(clusters(3), clusters(1))
    with pytest.raises(ValueError, match="pairs must hold at least one sub-concept"):
        binary_choice([])
    with pytest.raises(ValueError, match=r"received \(3, 2\) and \(2,\)"):
        CropCluster(np.ones((3, 2)), np.arange(2))
    with pytest.raises(ValueError, match="trials must be at least 1"):
        intruder_test(clusters(), trials=0)
