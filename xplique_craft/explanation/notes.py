"""What a reader must know of how the numbers came about, in sentences."""

from collections.abc import Sequence

import numpy as np

from ..craft import Craft
from ..results import Contributions
from ..targets import class_name_of

STABLE_IMAGES = 20  # images from which on the concepts of a class hardly change
PREDICTIONS_NAMED = 3  # of the images left out

NOTED = r"(?!Out of memory in |checkpoint: )"
"""How warnings begin that are notes of a page: others are of the computer, and of its user."""


def note_warnings(told: Sequence[str]) -> list[str]:
    """What the package warned of, each once."""
    return list(dict.fromkeys(told))


def note_limits(craft: Craft, contributions: Contributions, fitted_on: int) -> list[str]:
    """What limits the numbers of a craft, fitted on so many images."""
    notes = []
    if fitted_on < STABLE_IMAGES:
        notes.append(
            f"Only {fitted_on} images were used to find the concepts; from about "
            f"{STABLE_IMAGES} on they are stable."
        )
    if not craft.factorized.converged:
        notes.append(
            f"The factorisation stopped at its limit of {craft.factorized.iterations} iterations, "
            "before its tolerance was reached; more change the concepts little."
        )
    if craft.factorized.factorizer.signed_coefficients:
        notes.append(
            "Coefficients are signed here: a concept is a direction with two opposite ends. Its "
            "crops show the positive end only, and maps show both alike."
        )
    if craft.factorized.factorizer.around_mean:
        notes.append(
            "Concepts are counted from the mean activation of the class's images, and gates lead "
            "there: what these images have in common is in the base, and shares are of the score "
            "above it."
        )
    elif craft.baseline == "mean":
        notes.append(
            "Gates lead towards the mean activation of the images, so what these have in common is "
            "part of what the concepts do not explain."
        )
    if len(craft.special):
        notes.append(_note_special_tokens(craft))
    if not contributions.exact:
        total = np.abs(contributions.score - contributions.base - contributions.residual).sum()
        gap = np.abs(contributions.gap).sum() / total if total > 0.0 else float("nan")
        notes.append(
            "What follows the layer is not linear, so contributions are integrals computed with "
            f"up to {contributions.points} points; they miss {gap:.2%} of the score they divide, "
            f"and each may be off by {contributions.relative_errors.max():.2%} of the largest of "
            "its image."
        )
    return notes


def _note_special_tokens(craft: Craft) -> str:
    """Which tokens are special, and what stands there while scores are taken apart."""
    number = len(craft.special)
    if number == 1:
        first, them = "The first token of the layer belongs", "it"
        what = "as a class token does, and is no part of any concept."
    else:
        first, them = f"The first {number} tokens of the layer belong", "them"
        what = "as a class token and registers do, and are no part of any concept."
    if craft.keeps_special_tokens:
        done = (
            f"leave {them} as each image has {them}, so what the model knows there already of the "
            "class is in the base, and no concept's doing; Craft(..., keep_special_tokens=False) "
            f"puts {them} at the mean instead."
        )
    else:
        done = (
            f"have {them} at the mean over the images that the concepts were found in, so scores "
            "are not quite the model's own; what that mean says of the class is in the base."
        )
    return f"{first} to no place in the image, {what} Contributions and importance {done}"


def note_images_left_out(predictions: np.ndarray, names: Sequence[str] | None) -> list[str]:
    """What the images that were left out are predicted as, the most frequent first."""
    if not len(predictions):
        return []
    classes, counts = np.unique(predictions, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PREDICTIONS_NAMED]
    named = ", ".join(f"{class_name_of(int(classes[i]), names)} ({counts[i]})" for i in order)
    number = len(predictions)
    subject = "1 image was left out, which is" if number == 1 else f"{number} images were left out,"
    if len(classes) > PREDICTIONS_NAMED:
        named += f" and {len(classes) - PREDICTIONS_NAMED} more of the model's classes"
    return [f"{subject} predicted as another class: {named}."]
