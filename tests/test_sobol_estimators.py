"""Sobol indices from scores on stars, against the formulas written out, without any model."""

import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre
from numpy.testing import assert_allclose, assert_array_equal

from xplique_craft.importance.designs import star
from xplique_craft.importance.sobol_estimators import Sample, divide, interactions, variances


def bent(gates: np.ndarray) -> np.ndarray:
    """A score that no polynomial is: kinks, products and a constant, of any number of gates."""
    weights = 1.0 / np.arange(1, gates.shape[-1] + 1)
    kinks = np.maximum(gates @ weights - 0.4, 0.0) + np.abs(gates[..., 0] - 0.4)
    return 3.0 + kinks + 2.0 * gates[..., 0] * gates[..., -1] ** 2


def sample_of(
    number: int, k: int, groups: int, images: int = 2, both_ways: bool = False, seed: int = 0
) -> Sample:
    rng = np.random.default_rng(seed)
    gates = star(rng.random((images, number, 2 * k)), both_ways)
    values = bent(gates) * (1.0 + np.arange(images))[:, None, None]
    return Sample(gates, values, np.arange(number) % groups)


class Fit:
    """The additive least squares fit of one image on some of its points, with all of its scores."""

    def __init__(self, sample: Sample, image: int, some: np.ndarray, degree: int) -> None:
        gates, values = sample.gates[image][some], sample.values[image].astype(np.float64)
        self.k = gates.shape[-1]
        values = values[some] - values[:, : 2 + self.k].mean()  # of many fits the shortest is meant
        terms = self._terms(gates, degree)
        used, scores = slice(2 + self.k), values[:, : 2 + self.k].reshape(-1)
        rows = terms[:, used].reshape(len(scores), -1)
        found = np.linalg.lstsq(rows, scores, rcond=None)[0]
        self.additive = np.square(found[1:].reshape(self.k, degree)).sum(axis=1)
        rest = np.square(scores - rows @ found).sum()
        self.variance = self.additive.sum() + rest / max(len(scores) - rows.shape[1], 1)
        residual = values - terms @ found
        self.a, self.b = residual[:, :1], residual[:, 1:2]
        self.c, self.d = residual[:, 2 : 2 + self.k], residual[:, 2 + self.k :]

    @staticmethod
    def _terms(gates: np.ndarray, degree: int) -> np.ndarray:
        """1, then the orthonormal polynomials of the first gate, of the second, and so on."""
        columns = [np.ones(gates.shape[:-1])]
        for j in range(gates.shape[-1]):
            for d in range(1, degree + 1):
                polynomial = Legendre.basis(d, domain=[0.0, 1.0])
                columns.append(np.sqrt(2 * d + 1) * polynomial(gates[..., j].astype(np.float64)))
        return np.stack(columns, axis=-1)

    def total(self) -> np.ndarray:
        parts = self.additive + 0.5 * np.square(self.a - self.c).mean(axis=0)
        return parts / self.variance

    def first(self) -> np.ndarray:
        return (self.additive + (self.b * (self.c - self.a)).mean(axis=0)) / self.variance

    def pairs(self) -> np.ndarray:
        there, back = self.b * (self.c - self.a), self.a * (self.d - self.b)
        first = 0.5 * (there + back).mean(axis=0)
        found = np.diag(self.additive + first)
        for i in range(self.k):
            for j in range(self.k):
                if i != j:
                    both = self.c[:, i] * self.d[:, j] + self.c[:, j] * self.d[:, i]
                    closed = (0.5 * both - (self.a * self.b)[:, 0]).mean()
                    found[i, j] = closed - first[i] - first[j]
        return found / self.variance


# N (k + 2) scores, a degree more for each 64 of them and gate: 2 at least, 6 at most
SIZES = [(16, 3, 2), (33, 4, 2), (96, 2, 3), (128, 2, 4), (640, 1, 6), (300, 2, 6)]


@pytest.mark.parametrize(("number", "k", "degree"), SIZES)
@pytest.mark.parametrize("index", ["total", "first"])
def test_indices_are_the_formulas(number: int, k: int, degree: int, index: str) -> None:
    sample = sample_of(number, k, groups=4)
    found, without = variances(sample, index)
    assert without is not None
    assert without.shape == (4, 2, k)
    for image in range(2):
        whole = Fit(sample, image, np.ones(number, bool), degree)
        assert_allclose(found[image], getattr(whole, index)(), rtol=1e-8, atol=1e-12)
        for group in range(4):
            part = Fit(sample, image, sample.groups != group, degree)
            expected = getattr(part, index)()
            assert_allclose(without[group, image], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("number", "k", "degree"), SIZES[:4])
def test_interactions_are_the_formulas(number: int, k: int, degree: int) -> None:
    sample = sample_of(number, k, groups=4, both_ways=True)
    found = interactions(sample)
    for image in range(2):
        expected = Fit(sample, image, np.ones(number, bool), degree).pairs()
        assert_allclose(found[image], expected, rtol=1e-9, atol=1e-10)
    assert_allclose(found, found.swapaxes(1, 2), atol=1e-14)


def test_scores_on_stars_that_go_both_ways_change_no_index() -> None:
    """Only A, B and C are fitted to."""
    one, both = sample_of(24, 3, 4), sample_of(24, 3, 4, both_ways=True)
    assert_array_equal(variances(both, "total")[0], variances(one, "total")[0])


def test_without_groups_there_is_no_interval() -> None:
    sample = sample_of(12, 2, groups=3)
    found, without = variances(sample, "total", leave_out=False)
    assert without is None
    assert_allclose(found, variances(sample, "total")[0], rtol=1e-12)
    assert variances(sample_of(12, 2, groups=1), "total")[1] is None


def test_fewer_scores_than_terms_are_one_degree_of_freedom() -> None:
    """Without one of two points there are 5 scores for 7 terms."""
    sample = sample_of(2, 3, groups=2)
    _, without = variances(sample, "total")
    assert without is not None
    for image in range(2):
        for group in range(2):
            part = Fit(sample, image, sample.groups != group, 2)
            assert_allclose(without[group, image], part.total(), rtol=1e-4)


def test_polynomials_of_single_gates_are_exact_whatever_the_points() -> None:
    """Var m = 1/12 and Var m^2 = 4/45; of 32 points no error is left."""
    gates = star(np.random.default_rng(1).random((1, 32, 6)))
    values = gates[..., 0] + gates[..., 1].astype(np.float64) ** 2
    sample = Sample(gates, values, np.arange(32) % 8)
    parts = np.array([1 / 12, 4 / 45, 0.0])
    for index in ("total", "first"):
        found, without = variances(sample, index)
        assert without is not None
        assert_allclose(found, [parts / parts.sum()], rtol=1e-6)
        assert_allclose(without, np.broadcast_to(parts / parts.sum(), (8, 1, 3)), rtol=1e-6)


def test_a_gate_that_never_moves_the_score_has_exactly_nothing() -> None:
    """Of that image; in the other one it has its part."""
    sample = sample_of(24, 3, groups=4)
    values = sample.values.copy()
    values[0] = bent(sample.gates[0, ..., [0, 2]].transpose(1, 2, 0))
    for index in ("total", "first"):
        found, without = variances(Sample(sample.gates, values, sample.groups), index)
        assert without is not None
        assert_array_equal(found[0, 1], 0.0)
        assert_array_equal(without[:, 0, 1], np.zeros(4))
        assert np.abs(found[1]).min() > 1e-4


@pytest.mark.parametrize(("size", "exact"), [(1e-5, True), (1e-6, False)])
def test_what_moves_the_score_by_rounding_alone_gets_no_polynomial(
    size: float, exact: bool
) -> None:
    gates = star(np.random.default_rng(1).random((1, 16, 4)))
    values = 4.0 * (gates[..., 0].astype(np.float64) - 0.5) + size * gates[..., 1]
    found = variances(Sample(gates, values, np.zeros(16, int)), "total")[0][0, 1]
    off = abs(found / (size / 4.0) ** 2 - 1.0)
    assert off < 1e-4 if exact else off > 1e-2


def test_images_do_not_depend_on_each_other() -> None:
    sample = sample_of(20, 3, groups=4, images=3, both_ways=True)
    values = sample.values.copy()
    values[1] = 5.0
    values[2] = np.prod(sample.gates[2], axis=-1)
    sample = sample._replace(values=values)
    found, pairs = variances(sample, "total")[0], interactions(sample)
    for i in range(3):
        alone = Sample(sample.gates[i : i + 1], values[i : i + 1], sample.groups)
        assert_allclose(variances(alone, "total")[0][0], found[i], rtol=1e-9, atol=1e-12)
        assert_allclose(interactions(alone)[0], pairs[i], rtol=1e-9, atol=1e-12)
    assert_array_equal(found[1], np.zeros(3))
    assert_array_equal(pairs[1], np.zeros((3, 3)))


@pytest.mark.parametrize(("slope", "shift"), [(-2.0, 0.0), (1.0, 1e4), (1e-6, 0.0)])
def test_affine_changes_of_the_score_do_not_matter(slope: float, shift: float) -> None:
    sample = sample_of(24, 3, groups=4)
    changed = sample._replace(values=slope * sample.values + shift)
    for index in ("total", "first"):
        expected, without = variances(sample, index)
        assert_allclose(variances(changed, index)[0], expected, rtol=1e-4, atol=1e-6)
        assert_allclose(variances(changed, index)[1], without, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "constant"), [(1e-7, True), (1e-4, False)])
def test_a_score_that_is_constant_but_for_rounding_has_zeros(size: float, constant: bool) -> None:
    """Its variance, size^2 / 12, is below 1e-12 of the mean square, 25, or above it."""
    gates = star(np.random.default_rng(1).random((1, 16, 4)), both_ways=True)
    sample = Sample(gates, 5.0 + size * gates[..., 0].astype(np.float64), np.arange(16) % 4)
    expected = np.zeros(2) if constant else np.array([1.0, 0.0])
    assert_allclose(variances(sample, "total")[0], [expected], atol=1e-5)
    assert_allclose(interactions(sample), [np.diag(expected)], atol=1e-5)


def test_divide_by_hand() -> None:
    parts = np.array([[1.0, 3.0], [1.0, 3.0], [0.0, 0.0]])
    found = divide(parts, np.array([4.0, 1e-12, 0.0]), np.array([0.0, 1.0, 0.0]))
    assert_array_equal(found, [[0.25, 0.75], [0.0, 0.0], [0.0, 0.0]])
    assert_array_equal(divide(parts[:, :, None], np.ones(3), np.ones(3)), parts[:, :, None])
