"""
From a model and photographs to everything that a page says of one class.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import tensorflow as tf

from .. import __version__
from .._checks import check_int
from .._random import Draw, generator
from ..attributions.maps import activation_maps, has_places
from ..craft import Craft
from ..importance import SobolImportance
from ..results import ClassExplanation, ConceptCard, Contributions, Estimate, ImageView
from ..sampling.representatives import best_crops
from ..sampling.stream import Stream
from ..sampling.windows import IMAGE_WINDOWS, describe_patch_size
from ..targets import check_class_id

__all__ = ["explain_class"]

FEWEST_IMAGES = 2
STABLE_IMAGES = 20  # images from which on the concepts of a class hardly change
PREDICTIONS_NAMED = 3  # of the images left out


def explain_class(
    craft: Craft,
    images: Any,
    class_id: int,
    *,
    photographs: Any = None,
    class_name: str | None = None,
    class_names: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    held_out: float | None = 0.3,
    model_name: str | None = None,
    number_of_crops: int = 6,
    number_of_views: int = 6,
    nb_design: int = 128,
    tree_depth: int = 0,
) -> ClassExplanation:
    """
    Explain a class from its photographs: select, hold out, fit, measure, collect.

    CRAFT explains the images that the model predicts as the class; the others are left out and
    counted. Of those that remain a share is held out, and what is said of faithfulness,
    contributions and importance is said of the held-out ones.

    Parameters
    ----------
    craft
        A `Craft`; it is fitted here.
    images
        (n, H, W, channels), preprocessed as the model takes them: array or tensor (or a list of
        images of one size), no dataset.
    class_id
        Index of the class among the model's outputs.
    photographs
        uint8 (n, H', W', 3) or (n, H', W'), as people look at them, of the images' proportions;
        None where `images` are pixels in [0, 255] already.
    class_name
        Name of the class; None for its name in `class_names`, else its number.
    class_names
        Names of all classes, for this one's and for a note of what the images left out are
        predicted as; None for numbers.
    titles
        n names of the pictures; None for "image 0", ...
    held_out
        Share of the images to hold out, at least one; None or 0 for none.
    model_name
        What to call the model; None for its Keras name.
    number_of_crops
        Crops on the card of a concept at most, each of another image; the card has room for 12.
    number_of_views
        Photographs shown.
    nb_design
        Points of the Sobol design where the head is not affine.
    tree_depth
        How many times in a row concepts are taken apart at earlier layers, see `Craft.grow`; 0 for
        no tree. It takes minutes.

    Returns
    -------
    explanation
        What `report.write_report` writes.

    Raises
    ------
    TypeError
        If `images` is a tf.data.Dataset or a generator, out of which no images can be picked.
    ValueError
        If under two images are predicted as the class, or arguments do not fit each other.
    """
    class_id = check_class_id(class_id, craft.network.number_of_classes)
    images = _array(images)
    stream = Stream(images, craft.network.input_shape, craft.batch_size, name="images")
    pictures = _pictures(photographs, images)
    titles = _titles(titles, len(images))
    check_int("number_of_crops", number_of_crops)
    check_int("number_of_views", number_of_views)
    check_int("nb_design", nb_design, minimum=2)
    check_int("tree_depth", tree_depth, minimum=0)
    if class_names is not None and len(class_names) != craft.network.number_of_classes:
        raise ValueError(
            f"class_names must name the model's {craft.network.number_of_classes} classes, "
            f"received {len(class_names)} names."
        )
    if held_out is not None and not 0.0 <= held_out < 1.0:
        raise ValueError(f"held_out must be a share in [0, 1), received {held_out!r}.")

    predictions = np.concatenate(
        [
            craft.network.logits(craft.network.latents(batch.images)).numpy().argmax(axis=1)
            for batch in stream.progress("predict", craft.verbose)
        ]
    )
    chosen = np.flatnonzero(predictions == class_id)
    if len(chosen) < FEWEST_IMAGES:
        raise ValueError(
            f"Only {len(chosen)} of {len(images)} images are predicted as class {class_id}; CRAFT "
            "explains the images that the model predicts as the class. Check class_id and the "
            "preprocessing, or give more images."
        )
    fit_rows, held_rows = _hold_out(chosen, held_out, craft.seed)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        crops, crops_u, _ = craft.fit(images[fit_rows], class_id)
        quality = craft.quality(images[fit_rows])
        quality_held_out = craft.quality(images[held_rows]) if len(held_rows) else None
        rows = held_rows if len(held_rows) else fit_rows
        contributions = craft.contributions(images[rows])
        importance = SobolImportance(
            craft, nb_design=nb_design, batch_size=craft.batch_size, seed=craft.seed
        ).summary(images[rows], class_id)
        mean_coefficients, coefficients = _encode(craft, images[rows], number_of_views)
        tree = None
        if tree_depth:
            tree = craft.grow(depth=tree_depth).view(pictures[fit_rows], number_of_crops)
        maps = None
        if has_places(coefficients.shape, images.shape[1:3]):
            scaled = activation_maps(
                np.abs(coefficients), craft.coefficient_scale, images.shape[1:3]
            )
            maps = np.clip(scaled, 0.0, 1.0)
    notes = list(
        dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning))
    )
    if maps is None:
        notes.append(
            "The activations at this layer have no places in the image, so the concepts are not "
            "laid over the photographs."
        )
    notes += _remarks(craft, contributions, len(fit_rows))
    notes += _left_out(predictions[predictions != class_id], class_names)
    class_name = class_name or _name(class_id, class_names)
    best = best_crops(crops.boxes, crops_u, number_of_crops)
    cards = [
        ConceptCard(
            concept=int(j),
            share=float(contributions.share[j]),
            importance=Estimate(float(importance.overall[j]), *importance.image_interval[j]),
            estimation=(
                float(importance.estimation_interval[j, 0]),
                float(importance.estimation_interval[j, 1]),
            ),
            crops=[
                IMAGE_WINDOWS.picture(pictures[fit_rows[box[0]]], box[1:], images.shape[1:3])
                for box in crops.boxes[best[j]]
            ],
            crop_coefficients=crops_u[best[j], j].tolist(),
            coefficients=mean_coefficients[:, j],
        )
        for j in np.argsort(-contributions.share, kind="stable")
    ]
    views = [
        ImageView(
            photograph=pictures[rows[i]],
            maps=None if maps is None else maps[i],
            phi=contributions.phi[i],
            base=float(contributions.base[i]),
            residual=float(contributions.residual[i]),
            score=float(contributions.score[i]),
            gap=float(contributions.gap[i]),
            title=titles[rows[i]],
            prediction=class_name,
        )
        for i in range(len(coefficients))
    ]
    return ClassExplanation(
        model_name=model_name or craft.model.name,
        layer=craft.layer,
        class_name=class_name,
        class_id=class_id,
        number_of_images=len(fit_rows),
        number_left_out=len(images) - len(chosen),
        patch_sizes=describe_patch_size(craft.patch_size),
        seed=craft.seed,
        versions=_versions(),
        quality=quality,
        quality_held_out=quality_held_out,
        contributions=contributions,
        importance=importance,
        cards=cards,
        images=views,
        notes=notes,
        tree=tree,
    )


def _array(images: Any) -> np.ndarray:
    """Images as an array, out of which some can be picked."""
    if isinstance(images, tf.data.Dataset):
        raise TypeError(
            "images must be an array or a tensor (n, H, W, channels), out of which explain_class "
            "picks those of the class, received a tf.data.Dataset. Collect its images first: "
            "np.concatenate([images for images, labels in dataset.as_numpy_iterator()]), or "
            "np.concatenate(list(dataset.as_numpy_iterator())) where it has no labels."
        )
    if not hasattr(images, "__len__"):
        raise TypeError(
            "images must be an array or a tensor (n, H, W, channels), out of which explain_class "
            f"picks those of the class, received {type(images).__name__}. Collect the images "
            "first: np.stack(list(images))."
        )
    return np.asarray(images)


def _encode(craft: Craft, images: np.ndarray, shown: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients averaged over positions, (n, k), and at every position of the first images."""
    stream = Stream(images, craft.network.input_shape, craft.batch_size, name="images")
    means, first, kept = [], [], 0
    for batch in stream.progress("encode", craft.verbose):
        u = craft.transform(None, craft.network.latents(batch.images))
        means.append(u.reshape(len(u), -1, u.shape[-1]).mean(axis=1))
        if kept < shown:
            first.append(u[: shown - kept].copy())
            kept += len(first[-1])
    return np.concatenate(means), np.concatenate(first)


def _name(class_id: int, names: Sequence[str] | None) -> str:
    return f"class {class_id}" if names is None else str(names[class_id])


def _left_out(predictions: np.ndarray, names: Sequence[str] | None) -> list[str]:
    """What the images that were left out are predicted as, the most frequent first."""
    if not len(predictions):
        return []
    classes, counts = np.unique(predictions, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PREDICTIONS_NAMED]
    named = ", ".join(f"{_name(int(classes[i]), names)} ({counts[i]})" for i in order)
    number = len(predictions)
    subject = "1 image was left out, which is" if number == 1 else f"{number} images were left out,"
    if len(classes) > PREDICTIONS_NAMED:
        named += f" and {len(classes) - PREDICTIONS_NAMED} more of the model's classes"
    return [f"{subject} predicted as another class: {named}."]


def _hold_out(chosen: np.ndarray, share: float | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows held out, both in order; drawn by the seed."""
    if not share:
        return chosen, chosen[:0]
    number = min(len(chosen) - 1, max(1, round(share * len(chosen))))
    order = generator(seed, Draw.HELD_OUT).permutation(chosen)
    return np.sort(order[number:]), np.sort(order[:number])


def _pictures(photographs: Any, images: np.ndarray) -> np.ndarray:
    """uint8 (n, H', W', 3) for people."""
    if photographs is None:
        if images.min() < 0 or images.max() > 255 or images.max() <= 1.0:
            raise ValueError(
                "photographs must be given where the images are preprocessed: these lie in "
                f"[{images.min():.3g}, {images.max():.3g}], not in [0, 255]. Pass the pictures as "
                "they were, uint8 (n, H, W, 3)."
            )
        photographs = images
    pictures = np.asarray(photographs)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or len(pictures) != len(images) or pictures.shape[-1] not in (1, 3):
        raise ValueError(
            f"photographs must have shape (n, H, W, 3) or (n, H, W) with n = {len(images)}, "
            f"received {pictures.shape}."
        )
    if pictures.shape[-1] == 1:
        pictures = np.repeat(pictures, 3, axis=-1)
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8)


def _titles(titles: Sequence[str] | None, number: int) -> list[str]:
    if titles is None:
        return [f"image {i}" for i in range(number)]
    if len(titles) != number:
        raise ValueError(f"titles must name {number} images, received {len(titles)} names.")
    return [str(title) for title in titles]


def _versions() -> dict[str, str]:
    names = ("xplique", "tensorflow", "keras", "numpy", "scikit-learn")
    return {
        "xplique_craft": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def _remarks(craft: Craft, contributions: Contributions, fitted_on: int) -> list[str]:
    """What a reader must know of how these numbers came about."""
    remarks = []
    if fitted_on < STABLE_IMAGES:
        remarks.append(
            f"Only {fitted_on} images were used to find the concepts; from about "
            f"{STABLE_IMAGES} on they "
            "are stable."
        )
    if not craft.factorized.converged:
        remarks.append(
            f"The factorisation stopped at its limit of {craft.factorized.iterations} iterations, "
            "before its tolerance was reached; more change the concepts little."
        )
    if craft.factorized.factorizer.signed_coefficients:
        remarks.append(
            "Coefficients are signed here: a concept is a direction with two opposite ends. Its "
            "crops show the positive end only, and maps show both alike."
        )
    if craft.baseline == "mean":
        remarks.append(
            "Gates lead towards the mean activation of the images, so what these have in common is "
            "part of what the concepts do not explain."
        )
    if not contributions.exact:
        total = np.abs(contributions.score - contributions.base - contributions.residual).sum()
        gap = np.abs(contributions.gap).sum() / total if total > 0.0 else float("nan")
        remarks.append(
            "What follows the layer is not linear, so contributions are integrals computed with "
            f"up to {contributions.points} points; they miss {gap:.2%} of the score they divide."
        )
    return remarks
