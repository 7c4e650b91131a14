"""What changes of the score, of the targets and of the bank's order do to every importance."""

from collections.abc import Callable
from typing import Any

import numpy as np
import planted
import pytest
from importances import BANK, Case
from numpy.testing import assert_allclose

from xplique_craft import ClassDifference
from xplique_craft import importance as xi

WHY = ClassDifference(0, 1)  # some derivatives are positive and some are not


@pytest.fixture(scope="module")
def relu() -> Case:
    return Case("relu", "map")


def changed(factor: float, shift: float) -> Callable[..., Any]:
    def operator(model: Any, inputs: Any, targets: Any) -> Any:
        return factor * planted.by_sampling(model, inputs, targets) + shift

    return operator


def expected_change(method: str, v: np.ndarray, a: float, b: float) -> np.ndarray:
    """What becomes of importances when the score becomes a f + b."""
    if method in ("sobol total", "hsic"):
        return v
    if method == "rise":
        return a * v + b
    if method == "saliency":
        return abs(a) * v
    if method == "tcav":
        return v if a > 0.0 else 1.0 - v
    return a * v


@pytest.mark.parametrize("method", sorted(xi.METHODS))
@pytest.mark.parametrize(("factor", "shift"), [(3.0, 0.0), (-0.5, 40.0)])
def test_affine_changes_of_the_score(relu: Case, method: str, factor: float, shift: float) -> None:
    before = relu.explain(method, WHY, operator=planted.by_sampling)
    after = relu.explain(method, WHY, operator=changed(factor, shift))
    expected = expected_change(method, before, factor, shift)
    assert_allclose(after, expected, rtol=2e-3, atol=1e-3)
    assert np.ptp(before, axis=1).max() > 0.01


@pytest.mark.parametrize("method", sorted(xi.METHODS))
def test_targets_may_be_any_weights(relu: Case, method: str) -> None:
    weights = planted.one_hot([0] * 5, 3) - planted.one_hot([1] * 5, 3)
    before, after = relu.explain(method, weights), relu.explain(method, 2.0 * weights)
    assert_allclose(after, expected_change(method, before, 2.0, 0.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", sorted(xi.METHODS))
def test_permuting_the_concepts(relu: Case, method: str) -> None:
    order = np.array([2, 0, 1])
    craft = planted.fitted(relu.craft.split, BANK[:3][order], relu.images)
    settings = {"sobol total": {"nb_design": 1024}, "smooth grad": {"nb_samples": 200}}
    chosen = settings.get(method, {})
    found = xi.METHODS[method](craft, batch_size=256, **chosen).explain(relu.images)
    expected = relu.explain(method, batch_size=256, **chosen)[:, order]
    # What two methods draw is keyed by the concepts' numbers: their sampling error remains.
    tolerance = {"sobol total": 0.02, "smooth grad": 0.1}.get(method, 1e-4)
    assert_allclose(found, expected, atol=tolerance)
