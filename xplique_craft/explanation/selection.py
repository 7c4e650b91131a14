"""
Which of the images given explain a class: the model's predictions decide.

CRAFT explains the images that the model *predicts* as the class. The concepts are found in some of
them, and what is said of the concepts is said of others, which are held out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from ..craft import Craft
from ..sampling.held_out import hold_out
from ..sampling.stream import Stream

__all__ = ["Selection", "as_array", "select"]

FEWEST_IMAGES = 2


@dataclass(frozen=True)
class Selection:
    """
    The images of a class, by their numbers in increasing order.

    Parameters
    ----------
    fitted
        (m,): the images that the concepts are found in.
    held_out
        (h,): the others that are predicted as the class; none where none are held out.
    other_predictions
        What the model predicts of each of the images that were left out: another class.
    """

    fitted: np.ndarray
    held_out: np.ndarray
    other_predictions: np.ndarray

    @property
    def asked(self) -> np.ndarray:
        """The images that contributions and importance are of: those held out, if there are any."""
        return self.held_out if len(self.held_out) else self.fitted


def as_array(images: Any) -> np.ndarray:
    """
    Images as an array, out of which some can be picked.

    Raises
    ------
    TypeError
        If they can only be read one after the other, as those of a tf.data.Dataset.
    """
    if isinstance(images, tf.data.Dataset):
        received = "a tf.data.Dataset. Collect its images"
        remedy = (
            "np.concatenate([images for images, labels in dataset.as_numpy_iterator()]), or "
            "np.concatenate(list(dataset.as_numpy_iterator())) where it has no labels."
        )
    elif not hasattr(images, "__len__"):
        received = f"{type(images).__name__}. Collect the images"
        remedy = "np.stack(list(images))."
    else:
        return np.asarray(images)
    raise TypeError(
        "images must be an array or a tensor (n, H, W, channels), out of which explain_class "
        f"picks those of the class, received {received} first: {remedy}"
    )


def select(craft: Craft, images: Stream, class_id: int, held_out: float) -> Selection:
    """
    Divide images by what the model predicts, and those of the class by the craft's seed.

    Parameters
    ----------
    craft
        Its model predicts; it need not be fitted.
    images
        All images.
    class_id
        The class that is explained.
    held_out
        Share of the images of the class that is held out, at least one; 0 for none.

    Returns
    -------
    selection
        At least one image to fit on.

    Raises
    ------
    ValueError
        If under two images are predicted as the class.
    """
    predictions = np.concatenate(
        [
            craft.network.logits(craft.network.latents(batch.images)).numpy().argmax(axis=1)
            for batch in images.progress("predict", craft.verbose)
        ]
    )
    chosen = np.flatnonzero(predictions == class_id)
    if len(chosen) < FEWEST_IMAGES:
        raise ValueError(
            f"Only {len(chosen)} of {len(predictions)} images are predicted as class {class_id}; "
            "CRAFT explains the images that the model predicts as the class. Check class_id and "
            "the preprocessing, or give more images."
        )
    fitted, held = hold_out(chosen, held_out, craft.seed)
    return Selection(fitted, held, predictions[predictions != class_id])
