"""
The interface of factorizers: A ~ U W.

A factorizer carries settings, not the number of concepts. `fit` makes a `Factorized`, which knows
the bank W and how to encode and decode with it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

__all__ = ["Factorized", "Factorizer"]


@dataclass(frozen=True)
class Factorized:
    """
    A concept bank and how it came about.

    Parameters
    ----------
    factorizer
        The settings it was made with.
    components_
        W, (k, c) float32; the name is scikit-learn's.
    converged
        False where the solver stopped at its limit of iterations.
    iterations
        Iterations done.
    relative_error
        ||A - UW|| / ||A|| on the rows it was fitted on.
    """

    factorizer: "Factorizer"
    components_: np.ndarray
    converged: bool
    iterations: int
    relative_error: float

    @property
    def bank(self) -> np.ndarray:
        """W, (k, c)."""
        return self.components_

    def encode(self, activations: tf.Tensor | np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        """
        Coefficients at every position.

        Parameters
        ----------
        activations
            (..., c).

        Returns
        -------
        u
            (..., k).
        residual
            (...): relative KKT residual.
        """
        return self.factorizer.encode(activations, self.components_)

    def decode(self, u: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Activations U W, (..., c), of coefficients (..., k)."""
        u = tf.convert_to_tensor(u)
        return tf.tensordot(u, tf.cast(self.components_, u.dtype), 1)

    def transform(self, activations: np.ndarray) -> np.ndarray:
        """Coefficients as an array, as scikit-learn's method of that name."""
        return self.encode(activations)[0].numpy()


class Factorizer(ABC):
    """A way to find a concept bank, and the encoding that belongs to it."""

    @abstractmethod
    def check(self, activations: np.ndarray) -> None:
        """Raise a ValueError if activations (of any shape) are not what the method can take."""

    @abstractmethod
    def fit(self, rows: np.ndarray, number_of_concepts: int, seed: int = 0) -> Factorized:
        """
        Find a bank.

        Parameters
        ----------
        rows
            A, (n, c).
        number_of_concepts
            k.
        seed
            Of everything random.
        """

    @abstractmethod
    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: np.ndarray
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Coefficients (..., k) of activations (..., c), and their relative KKT residual (...)."""
