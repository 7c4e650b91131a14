"""
Which of the images given explain a class: the model's predictions decide.

CRAFT explains the images that the model *predicts* as the class. The concepts are found in some of
them, and what is said of the concepts is said of others, which are held out.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from .. import _checks
from ..craft import Craft
from ..sampling.held_out import hold_out
from ..sampling.lazy_images import LazyImages
from ..sampling.stream import Stream

FEWEST_IMAGES = 2


def images_as_array(images: Any) -> np.ndarray | LazyImages:
    """Images as an array, out of which some can be picked, or how to make one of them."""
    if isinstance(images, LazyImages):
        return images
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
        return _checks.as_array("images", images, "an array or a tensor of images, real numbers")
    raise TypeError(
        "images must be an array or a tensor (n, H, W, channels), out of which explain_class "
        f"picks those of the class, received {received} first: {remedy}"
    )


def select(
    craft: Craft, images: Stream, class_id: int, held_out: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Divide images by what the model predicts, and those of the class by the craft's seed.

    Returns
    -------
    fitted, held_out
        Numbers of the images that are predicted as the class, in increasing order: those to find
        the concepts in, and the share that is held out (at least one image, unless it is 0).
    other_predictions
        What the model predicts of the images that are left out, one by one.

    Raises
    ------
    ValueError
        If under two images are predicted as the class.
    """
    predictions = np.concatenate(
        [
            craft.network.logits(batch.latents(craft.network)).numpy().argmax(axis=1)
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
    return fitted, held, predictions[predictions != class_id]
