"""Occlusion of concepts: f_x(1) - f_x(1 with m_j = 0) (Zeiler and Fergus, 2014)."""

import numpy as np

from ..gates.coded import Coded
from ..gates.contributions import ablation_effects
from ..gates.head import GatedHead
from ._draws import in_chunks
from .base import ImportanceMethod, Values

__all__ = ["OcclusionImportance"]


class OcclusionImportance(ImportanceMethod):
    """
    Occlusion: what the score loses when one gate closes, f_x(1) - f_x(1 with m_j = 0).

    Signed; c_j where h is affine, and elsewhere no sum of the score (see
    `IntegratedGradientsImportance` and `ShapleyImportance`). Parameters: see `ImportanceMethod`.
    """

    method = "occlusion"
    signed = True

    def plain_evaluations(self, number_of_concepts: int) -> float:
        """All gates open, and each closed alone."""
        return number_of_concepts + 1.0

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        if head.is_affine(coded):
            return Values(head.affine_slopes(coded, self.bank), exact=True)
        k = len(self.bank)
        return in_chunks(coded, (k + 1) * k, lambda part: self._closed(part, head))

    def _closed(self, coded: Coded, head: GatedHead) -> Values:
        effects = ablation_effects(coded, self.bank, head)
        return Values(effects.astype(np.float64), exact=True)
