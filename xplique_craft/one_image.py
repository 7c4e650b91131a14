"""
One image explained with the concepts of the class that it is predicted as.

The paper opens with such a case: a man on the moon, predicted as a shovel. The concepts of shovels
tell which parts of the picture look like one to the model. With the true class known, contributions
to the difference of the two scores tell what misled it: they add up to score(prediction) -
score(truth), so a concept that speaks for both counts as little as it should.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ._checks import check_int
from .attributions import ConceptAttribution
from .attributions.maps import activation_maps, has_places
from .concept_model import ConceptModel
from .importance.contributions import contributions_of
from .results.of_image import ImageExplanation
from .sampling.representatives import best_crops
from .sampling.stream import Stream
from .targets import ClassDifference, check_class_id

__all__ = ["explain_image"]


def explain_image(
    craft: ConceptModel,
    image: Any,
    target: int | None = None,
    *,
    photograph: Any = None,
    restore: Callable[[np.ndarray], Any] | None = None,
    class_names: Sequence[str] | None = None,
    number_of_crops: int = 4,
) -> ImageExplanation:
    """
    Explain one image: what the model says it is, by which concepts, where, and by how much.

    Parameters
    ----------
    craft
        Fitted on images that are predicted as what this one is predicted as.
    image
        (H, W, channels) or (1, H, W, channels), preprocessed as the model takes it.
    target
        The true class; None where it is not known.
    photograph
        uint8 (H', W', 3), as people look at it; None for `restore(image)`, or for the image itself
        where it is pixels in [0, 255] already.
    restore
        Function from what the model takes (m, h, w, channels) to pixels in [0, 255], for crops of
        the images that the concepts were found in; None where these are pixels already. What is
        beyond that range is clipped to it.
    class_names
        Names of all classes; None for numbers.
    number_of_crops
        Crops of each concept at most, each of another image.

    Returns
    -------
    explanation
        What `plots.image_explanation` draws; `explanation.summary()` is text.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the craft is not fitted.
    TypeError, ValueError
        If the image is not one that the model takes, or there is no such class; or if `restore`
        gives no pixels in [0, 255].

    Warns
    -----
    UserWarning
        If the concepts are those of another class than the prediction.
    """
    craft.check_if_fitted()
    check_int("number_of_crops", number_of_crops, minimum=0)
    classes = craft.network.number_of_classes
    if target is not None:
        target = check_class_id(target, classes, "target")
    if class_names is not None and len(class_names) != classes:
        raise ValueError(
            f"class_names must name the model's {classes} classes, received {len(class_names)}."
        )
    inputs = _one(image, craft.network.input_shape)
    picture = _picture(photograph, inputs, restore)
    latents = craft.network.latents(inputs)
    logits = craft.network.logits(latents).numpy()[0]
    prediction = int(logits.argmax())
    if prediction != craft.class_id:
        warnings.warn(
            f"The image is predicted as {_name(prediction, class_names)}, and the concepts are "
            f"those of {_name(craft.class_id, class_names)}: they may not be what the model went "
            "by. Fit a Craft on images that are predicted as the former.",
            stacklevel=3,
        )
    against = None
    explained = np.zeros((1, classes), np.float32)
    explained[0, prediction] = 1.0
    if target is not None and target != prediction:
        against = contributions_of(craft, inputs, ClassDifference(prediction, target))
        explained[0, target] = -1.0
    u = craft.transform(None, latents)
    size = inputs.shape[1:3]
    maps = class_map = None
    if has_places(u.shape, size):
        maps = np.clip(activation_maps(np.abs(u), craft.coefficient_scale, size)[0], 0.0, 1.0)
        class_map = ConceptAttribution(craft).explain(inputs, explained).numpy()[0, ..., 0]
    return ImageExplanation(
        prediction=prediction,
        probability=float(tf.nn.softmax(logits)[prediction]),
        target=target,
        names=(
            _name(prediction, class_names),
            None if target is None else _name(target, class_names),
        ),
        coefficients=u.reshape(1, -1, u.shape[-1]).mean(axis=1)[0],
        contributions=contributions_of(craft, inputs, prediction),
        against=against,
        maps=maps,
        class_map=class_map,
        photograph=picture,
        crops=_crops(craft, number_of_crops, restore),
    )


def _one(image: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """The image as a batch of one."""
    if not hasattr(image, "shape"):
        image = np.asarray(image)
    batch = image[None] if len(image.shape) == len(shape) else image
    if batch.shape[0] != 1:
        raise ValueError(
            f"image must be one image, received a batch of {batch.shape[0]}: give image[i]."
        )
    return next(iter(Stream(batch, shape, 1, name="image"))).images


def _name(class_id: int, names: Sequence[str] | None) -> str:
    return f"class {class_id}" if names is None else str(names[class_id])


def _pixels(pixels: Any) -> np.ndarray | None:
    """uint8 (..., 3) of what is pixels in [0, 255]; None of what is not."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 and not (pixels.min() >= 0 and 1.0 < pixels.max() <= 255.0):
        return None
    return _as_uint8(pixels)


def _as_uint8(pixels: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) of (..., 1) or (..., 3)."""
    if pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, axis=-1)
    return np.rint(pixels).astype(np.uint8)


def _picture(
    photograph: Any, inputs: np.ndarray, restore: Callable[[np.ndarray], Any] | None
) -> np.ndarray | None:
    restored = None if restore is None else _checked_restore(restore, inputs)
    if photograph is None:
        return _pixels(inputs[0]) if restored is None else restored
    picture = np.asarray(photograph)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[-1] not in (1, 3) or _pixels(picture) is None:
        raise ValueError(
            "photograph must have shape (H, W, 3) or (H, W) and hold pixels in [0, 255], received "
            f"{np.shape(photograph)} from {picture.min():.3g} to {picture.max():.3g}."
        )
    return _pixels(picture)


def _restored(restore: Callable[[np.ndarray], Any], images: np.ndarray) -> np.ndarray:
    """Pixels (m, h, w, 1 or 3) of images, or why these are none."""
    pixels = np.asarray(restore(images))
    if pixels.ndim != 4 or len(pixels) != len(images) or pixels.shape[-1] not in (1, 3):
        raise ValueError(
            "restore must give pixels (m, h, w, 3) of (m, h, w, channels), received "
            f"{pixels.shape} of {images.shape}."
        )
    if not np.isfinite(pixels).all():
        raise ValueError(
            "restore must give pixels in [0, 255], received values that are not finite."
        )
    return pixels


def _checked_restore(restore: Callable[[np.ndarray], Any], inputs: np.ndarray) -> np.ndarray:
    """The one image as uint8 (H, W, 3), or why `restore` does not do what it must."""
    pixels = _restored(restore, inputs)[0]
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype != np.uint8 and high <= 1.0 and (low, high) != (0.0, 0.0):
        raise ValueError(
            f"restore must give pixels in [0, 255], received values from {low:.3g} to {high:.3g}: "
            "if they are in [0, 1], multiply them by 255."
        )
    return _as_uint8(np.clip(pixels, 0, 255))


def _crops(
    craft: ConceptModel, number: int, restore: Callable[[np.ndarray], Any] | None
) -> list[list[np.ndarray]]:
    """For each concept, its best crops as people look at them."""
    found: list[list[np.ndarray]] = []
    crops, crops_u = craft.concepts.crops, craft.concepts.crops_u
    if crops is None or crops_u is None or number == 0:
        return [[] for _ in craft.bank]
    for best in best_crops(crops.boxes, crops_u, number):
        cut = crops.cut(best) if len(best) else []
        if restore is not None:
            cut = [np.clip(_restored(restore, crop[None]), 0, 255)[0] for crop in cut]
            found.append([_as_uint8(crop) for crop in cut])
            continue
        pictures = [_pixels(crop) for crop in cut]
        found.append([picture for picture in pictures if picture is not None])
    return found
