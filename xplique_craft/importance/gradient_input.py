"""Gradient x input on the gates: phi_j = df_x/dm_j at m = 1 (Shrikumar et al., 2016)."""

import numpy as np

from ..gates.coded import Coded
from ..gates.head import GatedHead
from .base import ImportanceMethod, Values


class GradientInputImportance(ImportanceMethod):
    """
    Gradient x input: sum over positions of u_j(p) df/du_j(p), which is df_x/dm_j at m = 1.

    Signed; c_j where h is affine. Parameters: see `ImportanceMethod`.
    """

    method = "gradient input"
    signed = True

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        if head.is_affine(coded):
            return Values(head.affine_slopes(coded), exact=True)
        return Values(head.slopes(coded, np.ones(1), np.ones(1)), exact=True)
