"""Saliency of coefficients: |sum_p df/du_j(p)| (Simonyan et al., 2014)."""

import numpy as np
import tensorflow as tf

from ..gates.coded import Coded
from ..gates.head import GatedHead
from .base import ImportanceMethod, Values


def derivatives(coded: Coded, head: GatedHead) -> np.ndarray:
    """
    Derivatives of the score along each row of the bank, added to every position alike:
    sum_p df/du_j(p), (n, k) float64, also where u_j = 0.
    """
    gradients = head.gradients(coded, np.ones(1), np.ones(1))
    places = list(range(1, gradients.shape.rank - 1))
    return tf.reduce_sum(tf.cast(gradients, tf.float64), places).numpy()


class SaliencyImportance(ImportanceMethod):
    """
    Saliency: |sum over positions of df/du_j(p)|, how fast the score moves with a concept.

    Unsigned; of coefficients, not of gates: it depends on how the rows of the bank are scaled.
    Parameters: see `ImportanceMethod`.
    """

    method = "saliency"
    signed = False

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        return Values(np.abs(derivatives(coded, head)), exact=True)
