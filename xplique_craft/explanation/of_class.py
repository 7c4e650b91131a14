"""
From a model and photographs to everything that a page says of one class.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import __version__
from .._checks import caught_warnings, check, check_is
from .._files import readable
from ..attributions.crop_maps import crops_laid_back, drawn_maps
from ..attributions.residual import drawn_residual
from ..checkpoint import Checkpoint, digest, of_extraction, of_model
from ..craft import Craft
from ..importance import SobolImportance
from ..photographs import as_pictures, as_titles
from ..results import ClassExplanation
from ..sampling.crops import describe_patch_size
from ..sampling.lazy_images import LazyImages, picked
from ..sampling.stream import Stream
from ..targets import check_class_id, check_class_names, class_name_of
from .cards import concept_cards, image_views, mean_coefficients
from .notes import NOTED, note_images_left_out, note_limits, note_warnings
from .of_concepts import (
    check_folds_or_none,
    first_seen,
    purity_or_note,
    stability_or_note,
    told_judge,
)
from .selection import images_as_array, select


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
    folds: int = 5,
    judge: keras.Model | None = None,
    prepare: Callable[[np.ndarray], Any] | None = None,
    tree_depth: int = 0,
    checkpoint: str | Path | None = None,
) -> ClassExplanation:
    """
    Explain a class from its photographs: select, hold out, fit, measure, collect.

    CRAFT explains the images that the model predicts as the class; the others are left out and
    counted. Of those that remain a share is held out, and what is said of faithfulness,
    contributions and importance is said of the held-out ones.

    Parameters
    ----------
    craft
        Finds the concepts; it is fitted here, on the images that are not held out.
    images
        (n, H, W, channels), preprocessed as the model takes them: array or tensor (or a list of
        images of one size), no dataset.
    class_id
        Which class is explained, by its index among the model's outputs.
    photographs
        The images as people look at them, from which the page's pictures and crops are cut: uint8
        or pixels in [0, 255], (n, H', W', 3) or (n, H', W'), in the images' proportions; or a
        function that makes such pictures of `images`. None where `images` are pixels themselves.
    class_name
        What the page calls the class; None takes its name in `class_names`, else its number.
    class_names
        What all classes are called: a note says with these names what the images left out are
        predicted as; None calls classes by number.
    titles
        What the page calls each of the n pictures; None calls them "image 0", ...
    held_out
        This share of the images of the class, at least one, is kept out of the fit, so that
        quality, contributions and importance are measured on images that the concepts were not
        fitted to. With None or 0 they are measured on those of the fit.
    model_name
        What the page calls the model; None for its Keras name.
    number_of_crops
        How many crops show a concept at most, each of another image; a card has room for 12, and 0
        shows none.
    number_of_views
        How many photographs are shown with their concepts at most; 0 shows none.
    nb_design
        How many points the Sobol indices of each image are estimated from where the head is not
        affine; more of them give narrower intervals of the importances and take longer.
    folds
        Into how many parts the images of the fit are divided to measure whether the same concepts
        come back without each of them, see `metrics.stability`: so many banks and two more are
        fitted. 0 leaves this out, and so does a class of too few photographs, which is noted.
    judge
        Another network, which says how often the odd one among five crops is found, see
        `metrics.purity`; it is shown crops of the pictures of the fit. None leaves this out, and
        so does a class of too few photographs, which is noted.
    prepare
        A function that makes of crops (n, H, W, 3) float32, pixels in [0, 255] at the judge's size,
        what the judge takes, as its preprocessing; None where it takes them as they are.
    tree_depth
        How many times in a row concepts are taken apart at earlier layers, see `Craft.grow`, which
        takes minutes; 0 makes no tree.
    checkpoint
        A folder in which every finished stage is kept, those of `Craft.fit` and `Craft.grow` among
        them: after Ctrl-C or a crash the same call goes on from there, to the same numbers. It must
        be a new folder, or one of the same call. None keeps nothing.

    Returns
    -------
    explanation
        What `report.write_report` writes.

    Raises
    ------
    TypeError
        If `images` is a tf.data.Dataset or a generator, out of which no images can be picked.
    ValueError
        If under two images are predicted as the class, arguments do not fit each other, the judge
        is the explained model, or the checkpoint is of another call.
    """
    check_is("craft", craft, Craft, "a Craft, which is fitted here")
    classes = craft.network.number_of_classes
    class_id = check_class_id(class_id, classes)
    images = images_as_array(images)
    stream = Stream(images, craft.network.input_shape, craft.batch_size, name="images")
    pictures = _pictures(photographs, images)
    titles = as_titles(titles, len(images))
    check("number_of_crops", number_of_crops)
    check("number_of_views", number_of_views)
    check("nb_design", nb_design)
    check("tree_depth", tree_depth)
    for name, value in (("class_name", class_name), ("model_name", model_name)):
        check(name, value)
    check_class_names(class_names, classes)
    share = 0.0 if held_out is None else check("held_out", held_out)
    folds = check_folds_or_none(folds)
    seen = None if judge is None else first_seen(judge, prepare, craft, pictures)

    def settings() -> dict[str, Any]:
        return {
            **of_model(craft, images[:1]),
            **of_extraction(craft.extraction_settings),
            "keep_residual": craft.keep_residual,
            "keep_special_tokens": craft.keep_special_tokens,
            "baseline": craft.baseline,
            "tolerance": craft.tolerance,
            "images": digest(images),
            "class_id": class_id,
            "held_out": share,
            "nb_design": nb_design,
            "number_of_views": number_of_views,
            "folds": folds,
            "judge": None if seen is None else told_judge(judge, seen, pictures),
        }

    with (
        Checkpoint(checkpoint, "explain_class", settings) as kept,
        caught_warnings(NOTED, or_given=True) as caught,
    ):
        fitted, held, others = kept.once(
            "selection", lambda: select(craft, stream, class_id, share)
        )
        asked = held if len(held) else fitted  # what contributions and importance are of
        shown, size = asked[:number_of_views], images.shape[1:3]
        images_asked, images_shown = picked(images, asked), picked(images, shown)
        crops, crops_u, _ = craft.fit(picked(images, fitted), class_id, checkpoint=checkpoint)
        quality = kept.once("quality", lambda: craft.quality(picked(images, fitted)))
        quality_held_out = None
        if len(held):
            quality_held_out = kept.once("quality held out", lambda: craft.quality(images_asked))
        contributions = kept.once("contributions", lambda: craft.contributions(images_asked))
        importance = kept.once(
            "importance",
            lambda: SobolImportance(
                craft, nb_design=nb_design, batch_size=craft.batch_size, seed=craft.seed
            ).summary(images_asked, class_id, contributions=contributions),
        )
        # One and the same, whether or not they come from a checkpoint: files are, byte for byte.
        importance = replace(importance, contributions=contributions)
        coefficients = kept.once("coefficients", lambda: mean_coefficients(craft, images_asked))
        maps = residual_maps = None
        if len(shown):
            maps = kept.once("maps", lambda: drawn_maps(craft, images_shown))
            residual_maps = kept.once("residual", lambda: drawn_residual(craft, images_shown))
        stability = purity = None
        if folds:
            stability = kept.once("stability", lambda: stability_or_note(craft, folds, len(fitted)))
        if judge is not None:
            purity = kept.once(
                "purity", lambda: purity_or_note(craft, judge, prepare, picked(pictures, fitted)[:])
            )
        tree = None
        if tree_depth:
            grown = craft.grow(depth=tree_depth, checkpoint=checkpoint)
            tree = grown.view(picked(pictures, fitted)[:], number_of_crops)
    class_name = readable(class_name or class_name_of(class_id, class_names))
    return ClassExplanation(
        model_name=readable(model_name or craft.model.name),
        layer=craft.layer,
        class_name=class_name,
        class_id=class_id,
        number_of_images=len(fitted),
        number_left_out=len(others),
        patch_sizes=describe_patch_size(craft.patch_size),
        seed=craft.seed,
        versions=versions(),
        quality=quality,
        quality_held_out=quality_held_out,
        contributions=contributions,
        importance=importance,
        cards=concept_cards(
            contributions,
            importance,
            coefficients,
            (crops, crops_u),
            picked(pictures, fitted),
            size=size,
            number_of_crops=number_of_crops,
        ),
        images=image_views(
            contributions,
            (maps, residual_maps, crops_laid_back(craft, images)),
            picked(pictures, shown)[:],
            [titles[row] for row in shown],
            class_name,
        ),
        notes=[
            *note_warnings(caught),
            *note_limits(craft, contributions, len(fitted)),
            *note_images_left_out(others, class_names),
        ],
        tree=tree,
        stability=stability,
        purity=purity,
    )


def _pictures(photographs: Any, images: Any) -> Any:
    """Every image as people look at it, or that this is not known."""
    if isinstance(photographs, LazyImages):
        return photographs
    pictures = as_pictures(photographs, images)
    if pictures is None:
        raise ValueError(
            "photographs must be given where the images are preprocessed: these have "
            f"{images.shape[-1]} channels and lie in [{images.min():.3g}, {images.max():.3g}], "
            "where pixels have 1 or 3 and lie in [0, 255]. Pass the pictures as they were, uint8 "
            "(n, H, W, 3), or a function that restores them."
        )
    return pictures


def versions() -> dict[str, str]:
    """Of the packages that compute, by name."""
    names = ("xplique", "tensorflow", "keras", "numpy", "scikit-learn")
    return {
        "xplique_craft": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }
