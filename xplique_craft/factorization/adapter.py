"""
Any of these factorizers inside Xplique: `HolisticCraftTf(factorizer=XpliqueFactorizer(...))`.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from xplique.concepts.factorizer import ConceptFactorizer

from .._checks import check, check_array
from .base import Factorized, Factorizer


class XpliqueFactorizer(ConceptFactorizer):
    """
    A factorizer under Xplique's interface.

    Parameters
    ----------
    factorizer
        What finds the bank: `NMF()`, `SignedNMF()`, `SemiNMF()`, `KMeans()`, `PCA()`, or one of
        your own.
    n_components
        k, the number of concepts, under the name that Xplique has for it.
    seed
        The same seed gives the same bank.

    Raises
    ------
    TypeError
        If `factorizer` is no `Factorizer`.
    """

    def __init__(self, factorizer: Factorizer, n_components: int = 20, seed: int = 0) -> None:
        if not isinstance(factorizer, Factorizer):
            raise TypeError(
                f"factorizer must be a Factorizer of xplique_craft, received {factorizer!r}."
            )
        self.factorizer = factorizer
        self.n_components = check("n_components", n_components)
        self.seed = check("seed", seed)
        self._factorized: Factorized | None = None

    @property
    def factorized(self) -> Factorized:
        """The bank with its encoding; a ValueError before `fit`, as in Xplique's own."""
        if self._factorized is None:
            raise ValueError("Factorizer must be fitted before encoding or decoding: call fit.")
        return self._factorized

    def fit(self, activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Find a bank for rows (n, c).

        Returns
        -------
        concept_bank_w, coeffs_u
            (k, c) and (n, k).
        """
        rows = check_array("activations", activations, "n, c", finite=False)
        self._factorized = self.factorizer.fit(rows, self.n_components, self.seed)
        return self._factorized.bank, self._factorized.transform(rows.astype(np.float32))

    def encode(self, activations: np.ndarray) -> np.ndarray:
        """Coefficients (n, k) of rows (n, c)."""
        rows = check_array("activations", activations, "n, c", finite=False)
        self.factorizer.check(rows)
        return self.factorized.transform(rows)

    def encode_differentiable(self, activations: Any) -> tf.Tensor:
        """
        Coefficients (n, k) of rows (n, c), with a gradient.

        Raises
        ------
        NotImplementedError
            If the factorizer's encoding has none.
        ValueError
            If a value is not finite, or negative where the factorizer takes none; inside a compiled
            function it is TensorFlow's InvalidArgumentError.
        """
        if not self.factorizer.differentiable:
            raise NotImplementedError(
                f"The encoding of {self.factorizer!r} is constant nearly everywhere and has no "
                "gradient: use a black-box explainer, or NMF() or SignedNMF()."
            )
        if not (isinstance(activations, tf.Tensor) and tf.is_symbolic_tensor(activations)):
            self.factorizer.check(check_array("activations", activations, "n, c", finite=False))
        elif self.requires_positive_activations:
            message = "activations must be non-negative"
            tf.debugging.assert_non_negative(activations, message)
        return self.factorized.encode(activations)[0]

    def decode(self, coefficients: Any) -> Any:
        """Activations (n, c) of coefficients (n, k): an array for an array, else a tensor."""
        if not isinstance(coefficients, tf.Tensor):
            check_array("coefficients", coefficients, f"n, {len(self.factorized.bank)}")
        decoded = self.factorized.decode(coefficients)
        return decoded.numpy() if isinstance(coefficients, np.ndarray) else decoded

    def get_concept_bank(self) -> np.ndarray:
        """W, (k, c)."""
        return self.factorized.bank

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` was called."""
        return self._factorized is not None

    @property
    def requires_positive_activations(self) -> bool:
        """Whether activations must be >= 0."""
        return self.factorizer.requires_non_negative
