"""Integrated gradients on the gates (Sundararajan et al., 2017): the contributions phi."""

from dataclasses import dataclass

import numpy as np

from .._checks import MOST, check_int
from ..gates.coded import Coded
from ..gates.head import GatedHead
from .base import ImportanceMethod, Values
from .contributions import contributions


@dataclass(eq=False, repr=False)
class IntegratedGradientsImportance(ImportanceMethod):
    """
    Integrated gradients: phi_j = integral_0^1 df_x/dm_j (t, ..., t) dt.

    Signed, and they add up to f_x(1) - f_x(0); c_j where h is affine.

    Parameters
    ----------
    craft, keep_residual, batch_size, operator, seed
        Every importance method takes these; `ImportanceMethod` says what they do.
    steps
        How many points of [0, 1] gradients are taken at. None gives the contributions
        (Aumann-Shapley) as `craft.contributions` does: points are added until each is known to
        0.1% of the largest, 24 of them at least. A number gives Xplique's trapezoidal rule, whose
        gap is what it is.
    """

    steps: int | None = None

    method = "integrated gradients"
    signed = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None:
            self.steps = check_int("steps", self.steps, 2, MOST)

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        if self.steps is None or head.is_affine(coded):
            found = contributions(coded, head)
            return Values(found.phi, exact=found.exact, contributions=found)
        weights = np.full(self.steps, 1.0 / (self.steps - 1))
        weights[[0, -1]] /= 2.0
        return Values(head.slopes(coded, np.linspace(0.0, 1.0, self.steps), weights))
