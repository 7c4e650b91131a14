"""
What is explained of a model's outputs: the score is a weighted sum of them.

A target is a class, the difference of two, or any weights of the outputs; here it becomes (n,
classes) weights, or an error that says what it should have been.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._checks import check_int, check_names, shown
from ._files import readable


@dataclass(frozen=True)
class ClassDifference:
    """
    A target: "why A and not B", the difference of two logits.

    Parameters
    ----------
    target, instead_of
        Which classes A and B are, by their indices among the model's outputs.
    """

    target: int
    instead_of: int


def check_class_id(class_id: Any, number_of_classes: int, name: str = "class_id") -> int:
    """`class_id` as an int; a TypeError if it is none, a ValueError if no output has that index."""
    if isinstance(class_id, (list, tuple, np.ndarray)) and not _is_scalar(class_id):
        raise TypeError(
            f"{name} must be one integer, received {_described(class_id)}. "
            "Give the index of the class; one-hot targets belong to explain(inputs, targets)."
        )
    value = check_int(name, class_id, minimum=0)
    if value >= number_of_classes:
        raise ValueError(
            f"{name} must be below the number of the model's outputs, {number_of_classes}, "
            f"received {value}. Classes are counted from 0."
        )
    return value


def check_class_names(names: Sequence[str] | None, number_of_classes: int) -> None:
    """An error if there are names, but not one string for each of the model's outputs."""
    if names is not None and len(check_names("class_names", names)) != number_of_classes:
        raise ValueError(
            f"class_names must name the model's {number_of_classes} classes, received "
            f"{len(names)} names."
        )


def _is_scalar(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 0


def _described(value: Any) -> str:
    """An array or a list, by its shape where it has one."""
    try:
        return f"an array of shape {np.shape(value)}"
    except ValueError:
        return "lists of different lengths"


def class_name_of(class_id: int, names: Sequence[str] | None) -> str:
    """The name of a class; "class 3" where classes have no names."""
    return f"class {class_id}" if names is None else readable(names[class_id])


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
        If the shape or an index does not fit, or they are no numbers.
    """
    if isinstance(targets, ClassDifference):
        weights = np.zeros((number_of_images, number_of_classes), np.float32)
        weights[:, check_class_id(targets.target, number_of_classes, f"{name}.target")] += 1.0
        other = check_class_id(targets.instead_of, number_of_classes, f"{name}.instead_of")
        weights[:, other] -= 1.0
        return weights
    array = _as_array(targets, name)
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
    if array.shape != (number_of_images, number_of_classes) or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be one class index, {number_of_images} of them, or one-hot of shape "
            f"({number_of_images}, {number_of_classes}), received shape {array.shape} of type "
            f"{array.dtype}."
        )
    with np.errstate(over="ignore"):  # weights beyond float32 are infinite, and refused
        weights = array.astype(np.float32)
    if not np.isfinite(weights).all():
        raise ValueError(f"{name} must be finite, received NaN or infinite weights.")
    if number_of_classes == 1 and array.dtype.kind in "biu" and not array.all():
        raise ValueError(
            f"{name} seem to be labels, and the model has one output, which they would weigh: of "
            "those that are 0 nothing would be explained. Leave them out, and the output itself is."
        )
    return weights


def _as_array(targets: Any, name: str) -> np.ndarray:
    if np.ma.is_masked(targets):
        raise ValueError(f"{name} must be numbers, received some that are masked.")
    try:
        return np.asarray(targets)
    except Exception as error:  # each library has its own for what is no array
        received = "lists of different lengths"
        if not isinstance(targets, (list, tuple)):
            received = shown(targets)
        raise ValueError(
            f"{name} must be one class index, one for each image, or one-hot, received {received}."
        ) from error


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


class Targets:
    """
    The targets of images that come batch by batch.

    Parameters
    ----------
    targets
        Which scores are explained, in any form that `one_hot` takes, for all images. None takes the
        labels of a dataset where `use_labels` is True and it has some, else `class_id`.
    number_of_images
        How many images will come, where that is known: what does not fit is then refused before
        anything is computed.
    number_of_classes
        How many outputs the model has.
    class_id
        The class whose score counts where there are no targets.
    use_labels
        Whether the labels of a dataset are its targets.
    name
        What messages call the targets.
    """

    def __init__(
        self,
        targets: Any,
        number_of_images: int | None,
        number_of_classes: int,
        class_id: int | None = None,
        *,
        use_labels: bool = False,
        name: str = "targets",
    ) -> None:
        known = targets is None or isinstance(targets, ClassDifference)
        if not known:
            targets = _as_array(targets, name)
        self._each = not known and targets.ndim > 0  # one for each image, not one for all
        self._classes, self._class_id = number_of_classes, class_id
        self._use_labels, self._name = use_labels, name
        if self._each and number_of_images is not None:
            targets = one_hot(targets, number_of_images, number_of_classes, name)
        elif targets is not None and not self._each:
            one_hot(targets, 1, number_of_classes, name)  # refused now, not at the first image
        self._targets = targets

    def batch(self, start: int, number: int, labels: np.ndarray | None = None) -> np.ndarray:
        """
        Weights (n, classes) float32 of some consecutive images.

        Parameters
        ----------
        start, number
            The first of the images, and how many they are.
        labels
            What a dataset gives beside these images; None where it gives nothing.
        """
        if self._targets is not None:
            some = self._targets[start : start + number] if self._each else self._targets
            return one_hot(some, number, self._classes, self._name)
        if self._use_labels and labels is not None:
            if labels.ndim == 2 and labels.shape[1] == 1 and self._classes > 1:
                labels = labels[:, 0]
            return one_hot(labels, number, self._classes, name="the dataset's labels")
        return one_hot(self._class_id, number, self._classes)

    def check_number(self, seen: int) -> None:
        """Say, once all images have come, if there was not one target for each of them."""
        if self._each and len(self._targets) != seen:
            raise ValueError(
                f"{self._name} must be {seen}, one for each image, received {len(self._targets)}."
            )


def distinct(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of targets (n, classes), and for each image the number of its row, (n,)."""
    if (targets == targets[0]).all():  # they mostly are
        return targets[:1], np.zeros(len(targets), int)
    unique, inverse = np.unique(targets, axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)
