"""
Checks of arguments. Every message names the argument, the rule, what was received and the remedy.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "ClassDifference",
    "check_class_id",
    "check_non_negative",
    "check_non_negative_number",
    "check_positive_int",
    "listing",
    "nearest",
    "one_hot",
]


@dataclass(frozen=True)
class ClassDifference:
    """
    A target: "why A and not B", the difference of two logits.

    Parameters
    ----------
    target, instead_of
        Indices of A and of B among the model's outputs.
    """

    target: int
    instead_of: int


def check_positive_int(name: str, value: Any, minimum: int = 1) -> int:
    """
    Return `value` as an int, or say why it is none.

    Raises
    ------
    TypeError
        If it is not an integer (booleans are not).
    ValueError
        If it is below `minimum`.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{name} must be an integer, received {value!r} of type {type(value).__name__}."
        )
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, received {value}.")
    return int(value)


def check_non_negative_number(name: str, value: Any, *, finite: bool = False) -> float:
    """
    Return `value` as a float, or say why it is no number at or above 0.

    Infinity is one, for limits, unless `finite` is asked for.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is negative or NaN, or infinite where it must not be.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number, received {value!r}.")
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, received {value!r}.")
    if finite and not np.isfinite(value):
        raise ValueError(f"{name} must be finite, received {value!r}.")
    return float(value)


def check_class_id(class_id: Any, number_of_classes: int, name: str = "class_id") -> int:
    """
    Return `class_id` as an int in [0, number_of_classes), or say why it is none.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If the model has no such output.
    """
    if np.ndim(class_id) != 0:
        raise TypeError(
            f"{name} must be one integer, received an array of shape {np.shape(class_id)}. "
            "Give the index of the class; one-hot targets belong to explain(inputs, targets)."
        )
    value = check_positive_int(name, class_id, minimum=0)
    if value >= number_of_classes:
        raise ValueError(
            f"{name} must be below the number of the model's outputs, {number_of_classes}, "
            f"received {value}. Classes are counted from 0."
        )
    return value


def check_non_negative(activations: np.ndarray, remedy: str, allowed: bool = False) -> None:
    """
    Refuse activations that are not finite, or negative.

    Parameters
    ----------
    activations
        Of any shape.
    remedy
        A sentence that says what to do about negative ones.
    allowed
        Whether negative ones are allowed.

    Raises
    ------
    ValueError
        If one is NaN or infinite, or negative where that is not allowed.
    """
    if not np.isfinite(activations).all():
        raise ValueError(
            "The activations contain NaN or infinite values: look for them in the images (were "
            "they preprocessed as the model was trained?) and in the model's weights."
        )
    lowest = float(np.min(activations)) if activations.size else 0.0
    if lowest < 0.0 and not allowed:
        raise ValueError(
            f"The activations must be non-negative for NMF, received a minimum of {lowest:.4g}. "
            f"{remedy}"
        )


def nearest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A sentence that suggests the known names nearest to an unknown one ('' if none is near)."""
    known = list(known)
    found = difflib.get_close_matches(name, known, n=limit, cutoff=0.5)
    if not found:
        lowered = name.lower()
        found = [k for k in known if lowered in k.lower()][:limit]
    return f"Did you mean {' or '.join(repr(f) for f in found)}?" if found else ""


def one_hot(
    targets: Any, number_of_images: int, number_of_classes: int, name: str = "targets"
) -> np.ndarray:
    """
    Targets as weights of the model's outputs.

    Parameters
    ----------
    targets
        A class index; a `ClassDifference`; (n,) indices; or (n, classes) weights, one-hot as
        Xplique's, or any other combination of outputs.

    Returns
    -------
    weights
        (n, classes) float32.

    Raises
    ------
    ValueError
        If the shape or an index does not fit.
    """
    if isinstance(targets, ClassDifference):
        weights = np.zeros((number_of_images, number_of_classes), np.float32)
        weights[:, check_class_id(targets.target, number_of_classes, f"{name}.target")] += 1.0
        other = check_class_id(targets.instead_of, number_of_classes, f"{name}.instead_of")
        weights[:, other] -= 1.0
        return weights
    try:
        array = np.asarray(targets)
    except ValueError as error:
        raise ValueError(
            f"{name} must be one class index, one for each image, or one-hot, received lists of "
            "different lengths."
        ) from error
    if array.ndim <= 1 and array.dtype.kind in "iu":
        array = np.broadcast_to(array, (number_of_images,)) if array.ndim == 0 else array
        if array.size and (array.min() < 0 or array.max() >= number_of_classes):
            raise ValueError(
                f"{name} holds class indices from {array.min()} to {array.max()}, but the model "
                f"has {number_of_classes} outputs, counted from 0."
            )
        if len(array) == number_of_images:
            weights = np.zeros((number_of_images, number_of_classes), np.float32)
            weights[np.arange(number_of_images), array] = 1.0
            return weights
    if array.shape != (number_of_images, number_of_classes):
        raise ValueError(
            f"{name} must be one class index, {number_of_images} of them, or one-hot of shape "
            f"({number_of_images}, {number_of_classes}), received shape {array.shape} of type "
            f"{array.dtype}."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, received NaN or infinite weights.")
    return array.astype(np.float32)


def listing(names: Sequence[str], limit: int = 8) -> str:
    """The first names of a list, in words."""
    shown = ", ".join(repr(n) for n in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
