"""
Why images of one class are taken for another, in terms of both classes' concepts.

Of images of A that are predicted as B, the score of B minus that of A is divided among the concepts
of A and B, which are encoded together, and so is how much of each concept is seen in them, beside
images of A and of B that are predicted right.
"""

from typing import Any

import numpy as np

from ..questions import AnsweringModel
from ..results import Confusion
from ..targets import ClassDifference


def commonest(
    labels: np.ndarray, predictions: np.ndarray, classes: np.ndarray, number: int
) -> list[tuple[int, int, int]]:
    """
    The commonest wrong pairs of label and prediction.

    Parameters
    ----------
    labels, predictions
        (n,): of each image; a label below 0 is unknown.
    classes
        Pairs of these alone are looked at.
    number
        How many pairs at most.

    Returns
    -------
    pairs
        (label, prediction, number of images), commonest first, then by label and prediction.
    """
    wrong = (labels >= 0) & (labels != predictions)
    wrong &= np.isin(labels, classes) & np.isin(predictions, classes)
    pairs, counts = np.unique(
        np.stack([labels[wrong], predictions[wrong]], axis=1), axis=0, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")[:number]
    return [(int(a), int(b), int(n)) for (a, b), n in zip(pairs[order], counts[order], strict=True)]


def explain_confusion(
    concepts: AnsweringModel,
    rows: np.ndarray,
    pair: tuple[int, int],
    counts: tuple[int, int],
    confused: Any,
    actual: Any,
    predicted: Any,
    pictures: list[np.ndarray],
) -> Confusion:
    """
    What speaks for B, and not A, in images of A that are taken for B.

    Parameters
    ----------
    concepts
        The concepts of A and B, encoded together.
    rows
        Which row of the merged bank each of them is.
    pair
        A and B, by their indices.
    counts
        How many images of A are taken for B, and how many there are of A.
    confused
        Some of the confused images, at least one.
    actual, predicted
        Some images of A and of B that are predicted as what they are; None where there are none.
    pictures
        A few of the confused images as people look at them.
    """
    label, taken_for = pair
    found = concepts.contributions(confused, ClassDifference(taken_for, label))
    order = np.argsort(-found.phi.mean(axis=0), kind="stable")
    return Confusion(
        actual=label,
        predicted=taken_for,
        number=counts[0],
        labelled=counts[1],
        images=len(found.phi),
        rows=np.asarray(rows)[order],
        speaks_for=found.phi.mean(axis=0)[order],
        in_confused=_means(concepts, confused)[order],
        in_actual=_means(concepts, actual)[order],
        in_predicted=_means(concepts, predicted)[order],
        pictures=pictures,
    )


def _means(concepts: AnsweringModel, images: Any) -> np.ndarray:
    """(q,): mean coefficients over images and places; NaN without images."""
    total, number = np.zeros(len(concepts.bank)), 0
    for coded in () if images is None else concepts.batches(images, description="concepts"):
        u = coded.u.numpy().reshape(len(coded.u), -1, len(total))
        total, number = total + u.mean(axis=1, dtype=np.float64).sum(axis=0), number + len(u)
    return total / number if number else np.full(len(total), np.nan)
