"""
What a measure of a comparison is.

`prepare` computes once what all methods share, and returns how the maps of one method are scored.
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

__all__ = ["MapMeasure", "Prepared", "Scores", "Task"]


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
        The model's scores of images from which pixels are taken out.
    seed
        Of everything random.
    """

    model: keras.Model
    images: np.ndarray
    targets: np.ndarray
    score: ModelScore
    seed: int


@dataclass(frozen=True)
class Scores:
    """
    What a measure says of the maps of one method.

    Parameters
    ----------
    per_image
        (m,), of the first m images: NaN where an image has no score.
    curves
        (m, steps + 1): the model's scores that they are areas under; None where there are none.
    """

    per_image: np.ndarray
    curves: np.ndarray | None = None


@dataclass(frozen=True)
class Prepared:
    """
    A measure, ready for one method after the other.

    Parameters
    ----------
    column
        What it means, for this model and these images.
    score
        (a method at work on the model, its maps (n, H, W)) -> its scores; None where the measure
        asks nothing of it.
    """

    column: Measure
    score: Callable[[MethodExplainer, np.ndarray], Scores | None]


class MapMeasure(ABC):
    """Base of the measures, which are frozen dataclasses of their settings."""

    column: ClassVar[Measure]

    @abstractmethod
    def prepare(self, task: Task) -> Prepared:
        """Compute what all methods share."""
