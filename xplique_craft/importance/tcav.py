"""TCAV with the rows of the bank as concept vectors (Kim et al., ICML 2018)."""

import numpy as np

from ..gates.coded import Coded
from ..gates.head import GatedHead
from .base import ImportanceMethod, Values
from .saliency import derivatives

ROUNDING = 1e-6  # of an image's largest derivative: what is smaller is none


class TcavImportance(ImportanceMethod):
    """
    TCAV: 1 for an image whose score grows along W_j, sum_p df/du_j(p) > 0, else 0.

    The mean over images is the TCAV score, the share of positive derivatives. It counts images in
    which the concept does not occur too. Unsigned: 0 says that the score falls, or stays.
    Parameters: see `ImportanceMethod`.
    """

    method = "tcav"
    signed = False

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        found = derivatives(coded, head)
        found = np.where(np.abs(found) > ROUNDING * np.abs(found).max(axis=1)[:, None], found, 0.0)
        flat = np.logical_not(found.any(axis=1))
        return Values((found > 0.0).astype(np.float64), exact=True, flat=flat)
