"""
The interface of factorizers: A ~ U W + offset.

A factorizer carries settings, not the number of concepts. `fit` makes a `Factorized`, which knows
the bank W and how to encode and decode with it. The offset is 0 but for PCA and SignedNMF, whose
concepts are what is around a mean.

Where channels are of different sizes, a factorizer may compare them in a scale of its own, s (c,):
it encodes A / s with the bank W / s and the offset / s. W itself is always in the units of A, so
that what is decoded, gated and drawn knows nothing of the scale.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from .. import _backend as _backend
from .._checks import check, check_array, warn
from .._once import FILTERING
from .implicit import encode

RANK_TOLERANCE = 1e-6  # singular values of the bank's directions below this share of the first
SMALL_RANK = 0.8  # ranks below this share of k are reported


@dataclass(frozen=True)
class Factorized:
    """
    A concept bank and how it came about.

    Parameters
    ----------
    factorizer
        The factorizer that found it, with its settings.
    bank
        W, (k, c) float32.
    offset
        (c,) float32: what U W is added to; zeros for all but PCA and SignedNMF.
    converged
        False where the solver stopped at its limit of iterations.
    iterations
        How many iterations the solver did.
    relative_error
        How much of the rows that the bank was fitted on it does not explain:
        ||A - UW - offset|| / ||A||.
    scale
        (c,) float32: what channels are divided by before rows are encoded; None where they are
        compared as they are.
    """

    factorizer: "Factorizer"
    bank: np.ndarray
    offset: np.ndarray
    converged: bool
    iterations: int
    relative_error: float
    scale: np.ndarray | None = None

    @property
    def directions(self) -> np.ndarray:
        """The bank in the units that rows are compared in, W / s, (k, c)."""
        return self.bank if self.scale is None else self.bank / self.scale

    @property
    def nothing(self) -> np.ndarray | None:
        """
        (c,): activations without any concept, from which scores are counted; None for 0.
        """
        return self.offset if self.factorizer.around_mean else None

    @property
    def components_(self) -> np.ndarray:
        """The bank under the name that scikit-learn, and so Xplique's CraftTf, has for it."""
        return self.bank

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
            (...): how far each u is from optimal, the relative KKT residual; NaN for encodings
            that solve no such problem.

        Raises
        ------
        ValueError
            If the activations have other channels than the bank.
        """
        if not _is_numbers(activations):
            activations = check_array("activations", activations, "..., c", empty=True)
        activations = tf.convert_to_tensor(activations)
        if not activations.dtype.is_floating:
            activations = tf.cast(activations, tf.float32)
        if activations.shape.rank == 0 or activations.shape[-1] != self.bank.shape[1]:
            raise ValueError(
                f"activations must have the {self.bank.shape[1]} channels of the concept "
                f"bank in their last axis, received shape {tuple(activations.shape)}."
            )
        if self.scale is None:
            return self.factorizer.encode(activations, self.bank, self.offset)
        scale = self.scale.astype(activations.dtype.as_numpy_dtype)
        return self.factorizer.encode(activations / scale, self.bank / scale, self.offset / scale)

    def explained(self, u: tf.Tensor | np.ndarray) -> tf.Tensor:
        """U W, (..., c), of coefficients (..., k)."""
        if not _is_numbers(u):
            u = check_array("u", u, empty=True)
        shape, k = tuple(u.shape), len(self.bank)
        if not shape or shape[-1] != k:
            raise ValueError(f"u must have the {k} concepts in its last axis, received {shape}.")
        u = tf.convert_to_tensor(u)
        u = u if u.dtype.is_floating else tf.cast(u, tf.float32)
        return tf.tensordot(u, tf.cast(self.bank, u.dtype), 1)

    def decode(self, u: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Activations U W + offset, (..., c), of coefficients (..., k)."""
        explained = self.explained(u)
        return explained + tf.cast(self.offset, explained.dtype)

    def transform(self, activations: np.ndarray) -> np.ndarray:
        """Coefficients as an array, as scikit-learn's method of that name."""
        return self.encode(activations)[0].numpy()


class Factorizer(ABC):
    """
    A way to find a concept bank, and the encoding that belongs to it.

    Attributes
    ----------
    name
        What `Craft(factorizer=...)` calls it.
    requires_non_negative
        Whether activations must be >= 0.
    signed_coefficients
        Whether coefficients may be negative: a concept is then a direction with two ends.
    around_mean
        Whether activations without any concept are the mean ones, which scores are counted from;
        else they are 0, and a mean that is added to U W is part of what concepts do not explain.
    differentiable
        Whether the encoding has a gradient with respect to the activations.
    of_one_bank
        Whether it encodes with the bank that it came with, whatever bank it is given; other banks
        are then encoded exactly, see `united`.
    crops_by_place
        How much of a concept a crop holds: the mean of the coefficients at its places, as the
        encoder has it of an image, or that of its pooled activations, which costs no further pass.
    position_weight
        What suits it where nothing else is said: how much single positions count beside crops, see
        `Craft(position_weight=...)`.
    """

    name: ClassVar[str]
    requires_non_negative: ClassVar[bool] = False
    signed_coefficients: ClassVar[bool] = False
    around_mean: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    of_one_bank: ClassVar[bool] = False
    crops_by_place: ClassVar[bool] = False
    position_weight: ClassVar[float] = 0.7  # by the frontier of purity and reconstruction

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_fit" in vars(cls) and len(signature(vars(cls)["_fit"]).parameters) < 5:
            raise TypeError(
                f"{cls.__name__}._fit must take (self, rows, k, seed, weights): weights (n,) say "
                "how much the squared error of each row counts, None that all count alike."
            )

    def __repr__(self) -> str:
        settings = (
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value!r}"
            for name, value in vars(self).items()
        )
        return f"{type(self).__name__}({', '.join(settings)})"

    def check(self, activations: np.ndarray) -> None:
        """
        Refuse activations (of any shape) that the method cannot take.

        Raises
        ------
        ValueError
            If one is not finite, or negative where that is not allowed.
        """
        if not np.isfinite(activations).all():
            raise ValueError(
                "The activations contain NaN or infinite values: look for them in the images (were "
                "they preprocessed as the model was trained?) and in the model's weights."
            )
        lowest = float(np.min(activations, initial=0.0))
        if lowest < 0.0 and self.requires_non_negative:
            raise ValueError(
                f"The activations must be non-negative for NMF, received a minimum of {lowest:.4g}."
                " Use factorizer='signed-nmf', which takes signed activations, or cut the model "
                "after a ReLU (xplique_craft.candidate_layers(model) says which layers are "
                "non-negative)."
            )

    def fit(
        self,
        rows: np.ndarray,
        number_of_concepts: int,
        seed: int = 0,
        *,
        weights: np.ndarray | None = None,
    ) -> Factorized:
        """
        Find a bank.

        Parameters
        ----------
        rows
            A, (n, c).
        number_of_concepts
            k, how many rows the bank has; at most n.
        seed
            The same seed gives the same bank.
        weights
            (n,): how much the squared error of each row counts; a row of weight 2 does as much as
            two rows that are alike. None counts all rows alike.

        Returns
        -------
        factorized
            The bank, and how to encode and decode with it.

        Raises
        ------
        ValueError
            If there are fewer rows than concepts, all are 0, or `check` refuses them; if there is
            not one positive weight for each row.
        """
        k, seed = check("number_of_concepts", number_of_concepts), check("seed", seed)
        rows = _checked_rows(rows, k)
        self.check(rows)
        weights = _checked_weights(weights, len(rows))
        with FILTERING:
            factorized = self._fit(rows, k, seed, weights)
        _warn_small_rank(self._encoded_by(factorized.directions))
        return factorized

    def compared(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, c) in the units that they are compared in, by which positions are weighed."""
        return rows

    @abstractmethod
    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Factorized:
        """Find a bank for checked rows (n, c) float32 with checked weights (n,) float32 or none."""

    @abstractmethod
    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: Any, offset: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """
        Coefficients (..., k) of activations (..., c), and their relative KKT residual (...).

        All three are given in the units of the scale, where `_fit` found one.
        """

    def _encoded_by(self, directions: np.ndarray) -> np.ndarray:
        """The rows (k, ...) whose independence makes coefficients unique, of W / s, (k, c)."""
        return directions

    def _found(
        self,
        bank: np.ndarray,
        *,
        converged: bool,
        iterations: int,
        relative_error: float | np.floating,
        offset: np.ndarray | None = None,
        scale: np.ndarray | None = None,
    ) -> Factorized:
        """What `_fit` gives; no offset stands for zeros, no scale for ones."""
        offset = np.zeros(bank.shape[1]) if offset is None else offset
        bank, offset = bank.astype(np.float32), offset.astype(np.float32)
        scale = None if scale is None else scale.astype(np.float32)
        return Factorized(self, bank, offset, converged, iterations, float(relative_error), scale)


class ExactFactorizer(Factorizer):
    """A factorizer whose coefficients are the exact solution of min_{u >= 0} ||a - u W||^2."""

    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: Any, offset: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Exact coefficients and their relative KKT residual, see `implicit.encode`."""
        return encode(activations, bank)


def _checked_rows(rows: np.ndarray, k: int) -> np.ndarray:
    """Rows as float32 (n, c), enough of them for k concepts and not all 0."""
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite, and refused
        rows = check_array("rows", rows, "n, c", finite=False)
        rows = rows.astype(np.float32, order="C")  # other sums come of other orders
    if len(rows) < k:
        raise ValueError(
            f"number_of_concepts must be at most the number of crops, received {k} concepts for "
            f"{len(rows)} crops. Give more images or ask for fewer concepts."
        )
    if not rows.any():
        raise ValueError(
            "All activations are 0, so there is nothing to factorise: the layer is dead on these "
            "images. Check the preprocessing, or cut the model at another layer."
        )
    return rows


def _checked_weights(weights: np.ndarray | None, number: int) -> np.ndarray | None:
    """Weights as float32 (n,), one positive number for each row; None where there are none."""
    if weights is None:
        return None
    weights = check_array("weights", weights, str(number)).astype(np.float32)
    if not (weights > 0.0).all() or not np.isfinite(weights).all():
        raise ValueError(
            "weights must be above 0 and finite: leave out the rows that are not to count."
        )
    return weights


def weighted(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """
    Rows (n, c) whose plain squared error is the weighted one of `rows`.

    For factorizers of which a longer row needs larger coefficients and nothing else.
    """
    return rows if weights is None else rows * np.sqrt(weights)[:, None]


def _is_numbers(value: Any) -> bool:
    """Whether a value is a tensor of numbers already, known or to be known in a graph."""
    numbers = isinstance(value, tf.Tensor) and value.dtype
    return bool(numbers and (numbers.is_floating or numbers.is_integer))


def _warn_small_rank(bank: np.ndarray) -> None:
    norms = np.linalg.norm(bank.astype(np.float64), axis=1, keepdims=True)
    directions = bank / np.where(norms > 0.0, norms, 1.0)
    values = np.linalg.svd(directions, compute_uv=False)
    rank, k = int((values > RANK_TOLERANCE * values[0]).sum()), len(bank)
    if rank < SMALL_RANK * k:
        warn(
            f"The bank of {k} concepts has rank {rank} only: some concepts are empty or mixtures "
            f"of others, and their coefficients are not unique. Ask for at most {rank} concepts, "
            "or give more varied images."
        )
