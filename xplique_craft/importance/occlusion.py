"""Occlusion of concepts: f_x(1) - f_x(1 with m_j = 0) (Zeiler and Fergus, 2014)."""

import numpy as np

from ..gates.coded import Coded
from ..gates.head import GatedHead
from ._draws import in_chunks
from .base import ImportanceMethod, Values
from .contributions import ablation_effects


class OcclusionImportance(ImportanceMethod):
    """
    Occlusion: what the score loses when one gate closes, f_x(1) - f_x(1 with m_j = 0).

    Signed; c_j where h is affine, and elsewhere no sum of the score (see
    `IntegratedGradientsImportance` and `ShapleyImportance`). Parameters: see `ImportanceMethod`.
    """

    method = "occlusion"
    signed = True

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        if head.is_affine(coded):
            return Values(head.affine_slopes(coded), exact=True)
        k = coded.number_of_concepts

        def closed(part: Coded) -> Values:
            return Values(ablation_effects(part, head).astype(np.float64), exact=True)

        return in_chunks(coded, (k + 1) * k, closed)
