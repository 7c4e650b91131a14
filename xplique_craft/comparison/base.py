"""
What a measure of a comparison is.

A frozen dataclass of its settings, whose `column` says what it means. It is prepared once for all
methods, and then scores the maps of one method after the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np

from ..results.comparison import Measure
from .explainers import MethodExplainer
from .fidelity import ModelScore

Score = Callable[[MethodExplainer, np.ndarray], np.ndarray | None]
"""
(a method at work on the model, its maps (n, H, W)) -> what a measure says of the first m images.

Scores (m,), NaN where an image has none. Of a measure that has curves: the model's scores along
them, (m, steps + 1), whose areas are the scores. None where the measure asks nothing of the method.
"""


@dataclass(frozen=True)
class Task:
    """
    What all methods explain.

    Parameters
    ----------
    model
        Images -> logits.
    images, targets
        (n, H, W, channels), and (n, classes): weights of the logits.
    score
        The model's scores of these images with pixels taken out.
    seed
        Of everything random.
    """

    model: keras.Model
    images: np.ndarray
    targets: np.ndarray
    score: ModelScore
    seed: int


class MapMeasure(ABC):
    """Base of all measures."""

    column: ClassVar[Measure]

    @abstractmethod
    def prepare(self, task: Task) -> tuple[Measure, Score]:
        """
        Compute what all methods share.

        Returns
        -------
        column, score
            What the measure means for this model and these images, and how maps are scored.
        """
