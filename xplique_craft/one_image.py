"""
One image explained with the concepts of the class that it is predicted as.

The paper opens with such a case: a man on the moon, predicted as a shovel. The concepts of shovels
tell which parts of the picture look like one to the model. With the true class known, contributions
to the difference of the two scores tell what misled it: they add up to score(prediction) -
score(truth), so a concept that speaks for both counts as little as it should.
"""

from . import _backend as _backend

# isort: split
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ._checks import as_array, check, check_callable, warn
from .attributions import ConceptAttribution
from .attributions.crop_maps import crops_laid_back, drawn_maps
from .attributions.maps import has_places
from .concept_model import ConceptModel, check_craft
from .importance.contributions import contributions_of
from .photographs import are_pixels, as_pictures, as_uint8, call_restore
from .results.of_image import ImageExplanation
from .sampling.representatives import best_crops
from .sampling.rows import without_special
from .sampling.stream import Stream
from .targets import ClassDifference, check_class_id, check_class_names, class_name_of, one_hot

Restore = Callable[[np.ndarray], Any]


def explain_image(
    concept_model: ConceptModel,
    image: Any,
    target: int | None = None,
    *,
    photograph: Any = None,
    restore: Restore | None = None,
    class_names: Sequence[str] | None = None,
    number_of_crops: int = 4,
) -> ImageExplanation:
    """
    Explain one image: what the model says it is, by which concepts, where, and by how much.

    Parameters
    ----------
    concept_model
        A fitted `Craft`, whose concepts explain the image; it should be fitted to the class that
        the image is predicted as.
    image
        (H, W, channels) or (1, H, W, channels), preprocessed as the model takes it.
    target
        The true class; with it, a wrong prediction is explained by what speaks for it instead of
        for the truth. None where it is not known.
    photograph
        The image as people look at it: uint8 or pixels in [0, 255], (H', W', 3) or (H', W'); None
        for `restore(image)`, or for the image itself where it is pixels already.
    restore
        Function from what the model takes (m, h, w, channels) to pixels in [0, 255], which also
        shows crops of the images that the concepts were found in; None where these are pixels
        already. What is beyond that range is clipped to it.
    class_names
        What the explanation calls the classes, one name for each; None calls them by number.
    number_of_crops
        How many crops show each concept at most, each of another image.

    Returns
    -------
    explanation
        What `plots.image_explanation` draws; `explanation.summary()` is text.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the concepts are not known yet.
    TypeError, ValueError
        If the image is not one that the model takes, or there is no such class; or if a
        picture is not one that people can look at.

    Warns
    -----
    UserWarning
        If the concepts are those of another class than the prediction.
    """
    check_craft(concept_model, "concept_model")
    check("number_of_crops", number_of_crops)
    if restore is not None:
        check_callable("restore", restore, "a function from images to pixels in [0, 255], or None")
    network = concept_model.network
    classes = network.number_of_classes
    if target is not None:
        target = check_class_id(target, classes, "target")
    check_class_names(class_names, classes)
    inputs = _one(image, network.input_shape)
    picture = _picture(photograph, inputs[0], restore)
    latents = network.latents(inputs)
    logits = network.logits(latents).numpy()[0]
    prediction = int(logits.argmax())
    if prediction != concept_model.class_id:
        warn(
            f"The image is predicted as {class_name_of(prediction, class_names)}, and the concepts "
            f"are those of {class_name_of(concept_model.class_id, class_names)}: they may not be "
            "what the model went by. Fit a Craft on images that are predicted as the former."
        )
    explained: list[int | ClassDifference] = [prediction]
    if target is not None and target != prediction:
        explained.append(ClassDifference(prediction, target))
    contributions = [contributions_of(concept_model, inputs, one) for one in explained]
    u = without_special(concept_model.transform(None, latents), len(concept_model.special))
    weights = one_hot(explained[-1], 1, classes)
    by = "positions" if has_places(u.shape, inputs.shape[1:3]) else "crops"
    class_map = ConceptAttribution(concept_model, by=by).explain(inputs, weights)
    return ImageExplanation(
        prediction=prediction,
        probability=float(tf.nn.softmax(logits)[prediction]),
        target=target,
        names=(
            class_name_of(prediction, class_names),
            None if target is None else class_name_of(target, class_names),
        ),
        coefficients=u.reshape(1, -1, u.shape[-1]).mean(axis=1)[0],
        contributions=contributions[0],
        against=contributions[1] if len(contributions) == 2 else None,
        maps=drawn_maps(concept_model, inputs)[0],
        class_map=class_map.numpy()[0, ..., 0],
        photograph=picture,
        crops=_crop_pictures(concept_model, number_of_crops, restore),
        map_crops=crops_laid_back(concept_model, inputs),
        with_residual=concept_model.keep_residual,
    )


def _one(image: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """The image as a batch of one."""
    image = as_array("image", image, "one image (H, W, channels), real numbers")
    batch = image[None] if image.ndim == len(shape) else image
    if batch.ndim == len(shape) + 1 and len(batch) > 1:
        raise ValueError(
            f"image must be one image, received a batch of {batch.shape[0]}: give image[i]."
        )
    return next(iter(Stream(batch, shape, 1, name="image"))).images


def _picture(photograph: Any, image: np.ndarray, restore: Restore | None) -> np.ndarray | None:
    """The image as people look at it, uint8 (H', W', 3); None where that is not known."""
    # `restore` is tried in any case: crops do not tell what is wrong with it.
    restored = as_pictures(restore, image[None], "restore")
    if photograph is not None:
        return as_pictures(photograph, image, "photograph")
    return None if restored is None else restored[0]


def _crop_pictures(
    concept_model: ConceptModel, number: int, restore: Restore | None
) -> list[list[np.ndarray]]:
    """For each concept, its best crops as people look at them; none where that is not known."""
    crops, crops_u = concept_model.concepts.crops, concept_model.concepts.crops_u
    if crops is None or crops_u is None or number == 0:
        return [[] for _ in concept_model.bank]
    return [
        _as_seen(crops.cut(best), restore) if len(best) else []
        for best in best_crops(crops.boxes, crops_u, number)
    ]


def _as_seen(crops: list[np.ndarray], restore: Restore | None) -> list[np.ndarray]:
    """Crops that were cut from what the model takes; only those that can be shown."""
    if restore is None:
        return [as_uint8(crop, (), "crops") for crop in crops if are_pixels(crop)]
    return [
        as_uint8(
            call_restore(restore, crop[None], "restore"), (1,), "restore(images)", whole=False
        )[0]
        for crop in crops
    ]
