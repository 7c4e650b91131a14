"""Integrated gradients on the gates (Sundararajan et al., 2017): the contributions phi."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import check_int
from ..gates.coded import Coded
from ..gates.contributions import FIRST_POINTS, contributions
from ..gates.head import GatedHead
from .base import ImportanceMethod, Values

if TYPE_CHECKING:
    from ..concept_model import ConceptModel

__all__ = ["IntegratedGradientsImportance"]


class IntegratedGradientsImportance(ImportanceMethod):
    """
    Integrated gradients: phi_j = integral_0^1 df_x/dm_j (t, ..., t) dt.

    Signed, and they add up to f_x(1) - f_x(0); c_j where h is affine.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    steps
        None for the contributions (Aumann-Shapley) as `craft.contributions` gives them: points
        double until the sum is complete up to its stated gap. A number of points for Xplique's
        trapezoidal rule, whose gap is what it is.
    keep_residual, batch_size, operator, seed
        See `ImportanceMethod`.
    """

    method = "integrated gradients"
    signed = True

    def __init__(
        self,
        craft: ConceptModel,
        steps: int | None = None,
        *,
        keep_residual: bool | None = None,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            craft, keep_residual=keep_residual, batch_size=batch_size, operator=operator, seed=seed
        )
        self.steps = None if steps is None else check_int("steps", steps, minimum=2)

    def plain_evaluations(self, number_of_concepts: int) -> float:
        """Gradients of all points, or of the first with the ends and h(0): the least there are."""
        return 3.0 * (1.0 + FIRST_POINTS if self.steps is None else self.steps)

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        if self.steps is None or head.is_affine(coded):
            found = contributions(coded, self.bank, head)
            return Values(found.phi, exact=found.exact, contributions=found)
        weights = np.full(self.steps, 1.0 / (self.steps - 1))
        weights[[0, -1]] /= 2.0
        return Values(head.slopes(coded, self.bank, np.linspace(0.0, 1.0, self.steps), weights))
