"""Integrals over [0, 1] by halving, on integrands whose integrals and errors are known."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xplique_craft.importance.quadrature import (
    NODES,
    PLACES,
    RULES,
    Integrals,
    _to_halve,
    integrate,
    unexplained,
)

Function = Callable[[np.ndarray], np.ndarray]
Pair = tuple[Function, Function]
ROUNDING = 1e-6
EDGE, NARROWEST = 2.0**-20, 2.0**-16


def power(degree: float, weight: float = 1.0) -> Pair:
    """weight t^degree, and its integral from 0 on."""
    return lambda t: weight * t**degree, lambda t: weight * t ** (degree + 1) / (degree + 1)


def jump(at: float, height: float = 1.0) -> Pair:
    """The slope of a ReLU that switches."""
    return lambda t: height * (t > at), lambda t: height * np.maximum(t - at, 0.0)


def bend(at: float, slope: float = 1.0) -> Pair:
    """A kink, but no jump."""
    return (
        lambda t: slope * np.maximum(t - at, 0.0),
        lambda t: 0.5 * slope * np.maximum(t - at, 0.0) ** 2,
    )


def peak(start: float, stop: float) -> Pair:
    """1 between two places, 0 elsewhere."""
    return lambda t: 1.0 * ((t > start) & (t < stop)), lambda t: np.clip(t, start, stop) - start


NOTHING = power(0.0, 0.0)


class Images:
    """Integrands of each image; their sum is the slope of its score, as on a way through gates."""

    def __init__(self, *images: list[Pair], start: float = 0.0) -> None:
        self.images, self.start = images, start  # the score at 0
        self.asked: list[list[float]] = [[] for _ in images]

    def __call__(self, images: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert images.shape == nodes.shape
        k = len(self.images[0])
        slopes, scores = np.zeros((len(nodes), k)), np.zeros(len(nodes))
        for i, pairs in enumerate(self.images):
            here = images == i
            self.asked[i] += list(nodes[here])
            slopes[here] = np.stack([slope(nodes[here]) for slope, _ in pairs], axis=1)
            scores[here] = self.score(i, nodes[here])
        return slopes, scores

    def score(self, image: int, nodes: np.ndarray) -> np.ndarray:
        return sum((gain(nodes) for _, gain in self.images[image]), np.full(len(nodes), self.start))

    @property
    def truth(self) -> np.ndarray:
        return np.array([[gain(np.ones(1))[0] for _, gain in pairs] for pairs in self.images])

    @property
    def ends(self) -> np.ndarray:
        return np.stack([self.score(i, np.array([0.0, 1.0])) for i in range(len(self.images))])

    def integrals(self, tolerance: float = 1e-3) -> Integrals:
        return integrate(self, self.ends, tolerance)


# -------------------------------------------------------------------------------- the first rule
def test_the_two_rules_are_exact_for_polynomials() -> None:
    for rule, degree in zip(RULES, (22, 13), strict=True):
        for power in range(degree + 1):
            assert (rule * NODES**power).sum() == pytest.approx(1.0 / (power + 1), abs=1e-14)
    assert np.count_nonzero(RULES[1]) == 7
    assert abs((RULES[1] * NODES**14).sum() - 1.0 / 15) > 1e-9


def test_smooth_slopes_need_one_rule_and_keep_the_rounding_of_the_largest() -> None:
    """Even where no error is allowed: what is left is float32's own."""
    images = Images([power(0.0, 3.0), power(13.0, -7.0)], [power(1.0, 1e4), power(4.0)])
    found = images.integrals(tolerance=0.0)
    assert_allclose(found.values, images.truth, rtol=1e-12)
    assert_array_equal(found.points, [24, 24])
    assert_array_equal([len(asked) for asked in images.asked], found.points)
    largest = np.abs(images.truth).max(axis=1, keepdims=True)
    assert_allclose(found.errors, np.broadcast_to(ROUNDING * largest, (2, 2)), rtol=1e-5)


def test_a_score_far_from_0_hides_what_is_smaller_than_its_rounding() -> None:
    """A jump of 1 in the slope of a score of a million: no points are spent on it."""
    images = Images([jump(0.3)], start=1e6)
    found = images.integrals()
    assert_array_equal(found.points, [24])
    assert abs(found.values[0, 0] - 0.7) <= found.errors[0, 0] < 0.5


def test_nothing_is_nothing_with_24_points() -> None:
    found = Images([NOTHING, NOTHING]).integrals()
    assert_array_equal(found.values, np.zeros((1, 2)))
    assert_array_equal(found.errors, np.zeros((1, 2)))
    assert_array_equal(found.points, [24])


def test_the_error_of_the_first_rule_is_the_larger_of_two_for_each_by_itself() -> None:
    """
    Kronrod's points integrate t^20 exactly, Gauss's seven do not, and the polynomial through the
    fifteen is not t^20 elsewhere.
    """
    images = Images([power(20.0, 5.0), power(16.0), power(2.0)])
    found = images.integrals(tolerance=1.0)
    nodes, weights = np.polynomial.legendre.leggauss(7)
    nodes, weights = 0.5 + 0.5 * nodes, 0.5 * weights
    gauss = [weights @ slope(nodes) for slope, _ in images.images[0]]
    away = [
        np.abs(slope(PLACES) - np.polynomial.Polynomial.fit(NODES, slope(NODES), 14)(PLACES)).mean()
        for slope, _ in images.images[0]
    ]
    off = np.maximum(np.abs(images.truth - gauss), away)
    assert off[0, 0] > 10.0 * off[0, 1] > 1e-12
    assert_allclose(found.errors, off + ROUNDING * np.abs(images.truth).max(), rtol=1e-4)
    assert_array_equal(found.points, [24])


def test_all_errors_grow_by_what_the_score_gains_and_no_slope_shows() -> None:
    images = Images([power(1.0), power(2.0, 6.0)])
    ends = images.ends + np.array([0.0, 0.5])
    found = integrate(images, ends, 1.0)
    assert_allclose(found.values, images.truth, rtol=1e-12)
    assert_allclose(found.errors, [[0.5, 0.5]], rtol=1e-5)


def test_unexplained_by_hand() -> None:
    """2 - (0.25 + 0.5) - 0.1; and what errors or rounding account for is nothing."""
    errors = np.array([[0.25, 0.5], [0.25, 0.5], [0.0, 0.0]])
    found = unexplained(np.array([2.0, 0.7, 0.1]), errors, np.array([0.1, 0.0, 0.2]))
    assert_allclose(found, [[1.15], [0.0], [0.0]], atol=1e-15)


# --------------------------------------------------------------------------------------- halving
def test_a_jump_is_closed_in_on_until_parts_are_too_narrow() -> None:
    """24 points, then 2 for each halving from 1/4 down to 2^-16; of two parts, at most."""
    images = Images([jump(0.3, 2.0)], start=3.6)
    found = images.integrals(tolerance=0.0)
    assert 24 + 2 * 14 <= found.points[0] <= 24 + 4 * 20
    assert ROUNDING * 1.4 < found.errors[0, 0] <= 2.0 * NARROWEST + ROUNDING * 5.0
    assert abs(found.values[0, 0] - 1.4) <= found.errors[0, 0]
    assert len(images.asked[0]) == found.points[0]


def test_the_ends_are_neared_and_never_reached() -> None:
    """At 0 itself a ReLU has no slope."""
    inside: Pair = (lambda t: 1.0 * ((t > 0.0) & (t < 1.0)), lambda t: t)
    images = Images([inside, jump(0.3)])
    found = images.integrals()
    assert min(images.asked[0]) == EDGE
    assert max(images.asked[0]) == 1.0 - EDGE
    assert_allclose(found.values[0, 0], 1.0, rtol=1e-12)


def test_errors_of_different_parts_add_as_squares() -> None:
    """Two jumps in one integrand; in another one, none: it has no error but rounding."""
    both: Pair = (
        lambda t: 3.0 * (t > 0.1) + 4.0 * (t > 0.8),
        lambda t: 3.0 * np.maximum(t - 0.1, 0.0) + 4.0 * np.maximum(t - 0.8, 0.0),
    )
    images = Images([both, power(1.0)], start=6.0)
    found = images.integrals(tolerance=1e-9)
    rounding = ROUNDING * images.truth.max()
    alone = [Images([one]).integrals(1e-9) for one in (jump(0.1, 3.0), jump(0.8, 4.0))]
    each = [one.errors[0, 0] - ROUNDING * one.values[0, 0] for one in alone]
    assert_allclose(found.errors, [[np.hypot(*each) + rounding, rounding]], rtol=0.2)


def test_errors_that_cancel_in_the_sum_are_seen() -> None:
    images = Images([jump(0.9), jump(0.9, -1.0)])
    found = images.integrals()
    assert_allclose(found.values, [[0.1, -0.1]], atol=1e-4)
    assert np.all(np.abs(found.values - images.truth) <= found.errors)
    assert found.errors.max() <= 1e-4 + ROUNDING


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_jumps_and_bends_anywhere_are_integrated_to_the_tolerance(tolerance: float) -> None:
    rng = np.random.default_rng(0)
    images = Images(
        *(
            [
                jump(rng.random(), rng.normal()),
                bend(rng.random(), 3.0 * rng.normal()),
                power(rng.uniform(0.0, 3.0), 1.0),
            ]
            for _ in range(60)
        )
    )
    found = images.integrals(tolerance)
    off = np.abs(found.values - images.truth)
    largest = np.abs(images.truth).max(axis=1, keepdims=True)
    rounding = ROUNDING * np.abs(images.ends).max(axis=1, keepdims=True)
    assert np.all(found.errors <= (1.0 + tolerance) * tolerance * largest + 2.0 * rounding)
    assert np.mean(off <= found.errors) >= 0.95
    assert np.all(off <= 2.0 * tolerance * largest)
    assert_array_equal([len(asked) for asked in images.asked], found.points)
    assert len(set(found.points)) > 3  # each as many as it needs


def test_a_smaller_tolerance_takes_more_points() -> None:
    taken = [int(Images([jump(0.3)]).integrals(10.0**-i).points[0]) for i in (1, 2, 3, 4)]
    assert taken == sorted(set(taken))
    assert taken[0] < 40
    assert taken[-1] < 90


def test_an_image_does_not_depend_on_its_neighbours_nor_on_their_order() -> None:
    pairs = [
        [jump(0.3), power(2.0)],
        [power(1.0), power(5.0)],
        [bend(0.71, 9.0), jump(0.05, -2.0)],
        [peak(0.62, 0.68), NOTHING],
        [NOTHING, NOTHING],
        [power(3.0), jump(0.9, 0.01)],
    ]
    together = Images(*pairs).integrals()
    order = np.array([3, 0, 5, 4, 1, 2])
    other = Images(*(pairs[i] for i in order)).integrals()
    for name in ("values", "errors", "points"):
        assert_array_equal(getattr(other, name), getattr(together, name)[order])
        for i, own in enumerate(pairs):
            alone = getattr(Images(own).integrals(), name)[0]
            assert_array_equal(alone, getattr(together, name)[i])
    assert together.points[1] == together.points[4] == 24
    assert together.points[[0, 2, 3]].min() > 30


# ----------------------------------------------------------------------------------- the score
def test_a_peak_between_all_points_is_found_by_the_score() -> None:
    images = Images([peak(0.634, 0.637), power(0.0, 0.01)])
    between = (NODES > 0.634) & (NODES < 0.637)
    assert not between.any()
    found = images.integrals()
    assert_allclose(found.values, [[0.003, 0.01]], atol=1e-5)
    assert np.all(np.abs(found.values - images.truth) <= found.errors)


def test_what_no_slope_shows_may_be_anyones() -> None:
    """A score that jumps where its slope is 0."""
    leap: Pair = (lambda t: 0.0 * t, lambda t: 1.0 * (t >= 0.7))
    images = Images([leap, NOTHING, NOTHING])
    found = images.integrals()
    assert_array_equal(found.values, np.zeros((1, 3)))
    assert found.errors.min() == found.errors.max()
    assert 1.0 <= found.errors[0, 0] <= 2.1
    assert found.points[0] < 90  # halving does not help


def test_ends_that_the_scores_on_the_way_do_not_lead_to_are_an_error() -> None:
    """Where parts were halved, too: of none of them anything is missing."""
    images = Images([jump(0.3), NOTHING])
    found = integrate(images, images.ends + np.array([0.0, 0.25]), 1e-3)
    assert_allclose(found.values, [[0.7, 0.0]], atol=7e-4)
    assert_allclose(found.errors, [[0.25, 0.25]], atol=2e-3)
    assert found.errors.min() > 0.249


# ------------------------------------------------------------------------------- what ends it all
def rough(t: np.ndarray) -> np.ndarray:
    """Jumps everywhere."""
    return np.modf(1e6 * np.sin(1e6 * t))[0]


def stairs(number: int) -> Pair:
    """That many steps of 1 / number, at random places."""
    steps = np.sort(np.random.default_rng(0).random(number))
    before = np.concatenate([[0.0], np.cumsum(steps)])

    def below(t: np.ndarray) -> np.ndarray:
        return np.searchsorted(steps, t)

    return lambda t: below(t) / number, lambda t: (below(t) * t - before[below(t)]) / number


def test_an_image_gets_4096_points_and_says_that_they_were_too_few() -> None:
    """Its neighbour's points are not counted for it, nor the other way round."""
    images = Images([stairs(10_000), NOTHING], [jump(0.3), power(1.0)], [stairs(9_000), NOTHING])
    found = images.integrals(tolerance=1e-6)
    assert 4000 < found.points[[0, 2]].min() <= found.points.max() <= 4096
    assert found.points[1] == Images(images.images[1]).integrals(1e-6).points[0] < 150
    assert_array_equal([len(asked) for asked in images.asked], found.points)
    assert 1.1e-6 * found.values[0, 0] < found.errors[0, 0] < 1e-5
    assert abs(found.values - images.truth)[0, 0] < found.errors[0, 0]


def test_noise_below_the_rounding_takes_no_points() -> None:
    """As of float16, whose scores are known to a thousandth."""
    noise: Pair = (lambda t: 1.0 + 1e-3 * rough(t), lambda t: t)
    images = Images([noise, NOTHING])
    assert images.integrals(tolerance=1e-6).points[0] > 1000
    coarse = integrate(images, images.ends, 1e-6, rounding=2e-3)
    assert_array_equal(coarse.points, [24])
    assert 2e-3 <= coarse.errors[0, 0] < 4e-3


# --------------------------------------------------------------------------- steps that look smooth
@pytest.mark.parametrize("parts", [4, 7, 8, 10, 16, 64])
def test_steps_at_equal_distances_are_no_slope(parts: int) -> None:
    """Three points see a straight line where they are as far apart as the steps are."""
    places = np.arange(1, parts) / parts

    def pair(sign: float) -> Pair:
        return (
            lambda t: sign * (t[:, None] > places).sum(axis=1),
            lambda t: sign * np.maximum(t[:, None] - places, 0.0).sum(axis=1),
        )

    images = Images([pair(1.0), pair(-1.0)])  # of whose sum nothing is to be seen
    found = images.integrals()
    assert np.all(np.abs(found.values - images.truth) <= found.errors)
    assert found.errors.max() <= 1.1e-3 * np.abs(images.truth).max()


def test_a_peak_in_a_gap_of_the_first_rule_that_cancels_is_seen_at_the_irregular_places() -> None:
    def pair(sign: float) -> Pair:
        slope, gain = peak(0.41, 0.49)
        return lambda t: sign * slope(t), lambda t: sign * gain(t)

    assert not ((NODES > 0.41) & (NODES < 0.49)).any()
    found = Images([pair(1.0), pair(-1.0)]).integrals()
    assert_allclose(found.values, [[0.08, -0.08]], atol=1e-4)


def test_many_kinks_and_concepts_that_cancel_stay_within_what_is_stated() -> None:
    rng = np.random.default_rng(0)
    outside, wide = [], []
    for number in (1, 2, 3, 5, 10, 20, 100):
        pairs = []
        for _ in range(100):
            places, heights = rng.random(number), rng.normal(size=number)

            def pair(sign: float, places=places, heights=heights) -> Pair:
                return (
                    lambda t: sign * (t[:, None] > places) @ heights,
                    lambda t: sign * np.maximum(t[:, None] - places, 0.0) @ heights,
                )

            pairs.append([pair(1.0), pair(-1.0)])
        images = Images(*pairs)
        found = images.integrals()
        off = np.abs(found.values - images.truth)
        outside.append(np.mean(off > found.errors))
        wide.append(np.mean(off > 1e-3 * np.abs(images.truth).max(axis=1, keepdims=True)))
    assert max(outside) <= 0.05
    assert np.mean(outside) <= 0.02
    assert np.mean(wide) <= 0.04


@pytest.mark.parametrize(
    ("points", "expected"),
    [([24, 24], [2, 3, 4]), ([4093, 24], [3, 4]), ([4092, 4095], [2, 3])],
)
def test_which_parts_are_halved_by_hand(points: list[int], expected: list[int]) -> None:
    """
    Image 0 is allowed 4, so the others' errors may come to 2: of 0, 1, 2 and 3 only 1 may stay.
    Image 1 is allowed 11, so of 3 and 5 the first may stay.
    """
    rows = [(0, 1.0), (0, 0.0), (0, 2.0), (0, 3.0), (1, 5.0), (1, 3.0)]
    order = np.array([4, 2, 5, 0, 3, 1])
    images, errors = (np.array(column)[order] for column in zip(*rows, strict=True))
    for scale in (1.0, 1e12):  # of the first image: the other's sums do not feel it
        units = np.where(images == 0, scale, 1.0)
        allowed = np.array([4.0 * scale, 11.0])
        chosen = _to_halve(images, errors * units, allowed, np.array(points))
        assert sorted(order[chosen]) == expected
