"""Some images of many classes, and their labels."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._checks import check_array, shown

UNKNOWN = -1  # the label of an image that has none


@dataclass(frozen=True)
class Part:
    """
    Some consecutive images of the data.

    Parameters
    ----------
    numbers
        (m,): their numbers.
    images
        (m, H, W, channels), as the model takes them.
    labels
        (m,) classes, `UNKNOWN` where an image has none; None where no labels are known at all.
    skipped, remarks
        What is to be said of files that could not be read, and of others.
    """

    numbers: np.ndarray
    images: np.ndarray
    labels: np.ndarray | None
    skipped: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def check_labels(labels: Any, classes: int) -> np.ndarray:
    """Labels as classes (n,), or what is wrong with them."""
    found = check_array("labels", labels, "n, ...", empty=True)
    if found.ndim == 2 and found.shape[1] == classes and classes > 1:
        return found.argmax(axis=1)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be classes (n,), whole numbers, or one-hot (n, {classes}), received "
            f"{shown(found)}."
        )
    if found.size and (found.min() < UNKNOWN or found.max() >= classes):
        raise ValueError(
            f"labels must be below the model's number of classes, {classes} ({UNKNOWN} where an "
            f"image has none), received {found.min()} to {found.max()}."
        )
    return found.astype(int)
