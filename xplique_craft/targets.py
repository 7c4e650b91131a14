"""
What is explained of a model's outputs: the score is a weighted sum of them.

A target is a class, the difference of two, or any weights of the outputs; here it becomes (n,
classes) weights, or an error that says what it should have been.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._checks import check_int

__all__ = ["ClassDifference", "check_class_id", "describe_targets", "one_hot"]


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
    value = check_int(name, class_id, minimum=0)
    if value >= number_of_classes:
        raise ValueError(
            f"{name} must be below the number of the model's outputs, {number_of_classes}, "
            f"received {value}. Classes are counted from 0."
        )
    return value


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


def describe_targets(weights: np.ndarray) -> str:
    """
    What to call targets (n, classes): "class 2", "class 2 instead of class 0", "several targets".
    """
    if (weights != weights[0]).any():
        return "several targets"
    first = weights[0]
    raised, lowered = np.flatnonzero(first > 0.0), np.flatnonzero(first < 0.0)
    if len(raised) == 1 and len(lowered) == 0:
        return f"class {raised[0]}"
    if len(raised) == len(lowered) == 1 and first.sum() == 0.0:
        return f"class {raised[0]} instead of class {lowered[0]}"
    return "several classes together"
