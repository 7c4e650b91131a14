"""
What all classes say together: one bank, how well it predicts every output, what is confused why.

Everything is made of the files of the classes and of images that the pass has kept, so g does not
run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..craft import Craft
from ..results import ClassSummary, Confusion, MergedConcepts, OutputFidelity
from ..saving import load
from ..splitting.split import Split
from .confusions import commonest, explain_confusion
from .folder import class_folder, load_crafts
from .merged import fidelity_of, merge_classes, merged_model
from .of_one_class import IMAGES
from .routing import Kept, Routed

MOST_IMAGES = 300
"""Of all classes together, by which the merged bank is measured: encoding many concepts is slow."""

CONFUSIONS = 12
"""How many pairs of classes are looked at."""

OF_A_PAIR = 20
"""How many images of each kind a confusion is explained by."""

PICTURES, SIDE = 6, 96
"""How many confused images are shown, and how many pixels their longest side has at most."""


@dataclass(frozen=True)
class Together:
    """Fields of `ModelSummary` that are of several classes."""

    merged: MergedConcepts | None = None
    fidelity: dict[str, OutputFidelity] = field(default_factory=dict)
    confusions: list[Confusion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def together(
    folder: Path,
    routed: Routed,
    split: Split,
    classes: Sequence[ClassSummary],
    seed: int,
    verbose: bool,
) -> Together:
    """
    What is said of the explained classes together.

    Parameters
    ----------
    folder
        In which every class has its files.
    routed
        The images.
    split
        The model.
    classes
        What is said of each.
    seed
        Draws of floors and intervals follow from it.
    verbose
        Whether progress bars are shown.
    """
    explained = [one for one in classes if one.failed is None]
    if len(explained) < 2:
        return Together()
    ids = [one.class_id for one in explained]
    crafts = load_crafts(folder, ids, split)
    try:
        merged = merge_classes(list(crafts.values()), [one.shares for one in explained])
    except ValueError as error:
        return Together(
            notes=[f"The concepts of the classes cannot be merged into one bank. {error}"]
        )
    fitted, held_out = (_some(folder, routed, ids, name) for name in ("fitted", "held_out"))
    concepts = merged_model(list(crafts.values()), merged, fitted.images)
    concepts.verbose = verbose
    fidelity = {}
    if len(held_out.numbers):
        fidelity = dict(fidelity_of(concepts, held_out.images, ids, seed))
    confusions: list[Confusion] = []
    if routed.labels is not None:
        labels = routed.labels
        pairs = commonest(labels, routed.predictions, np.array(ids), CONFUSIONS)
        for pair in tqdm(pairs, desc="confusions", unit="pair", disable=not verbose, leave=False):
            confusions += _confusion(routed, labels, crafts, merged, pair)
    return Together(merged, fidelity, confusions)


def _some(folder: Path, routed: Routed, classes: Sequence[int], which: str) -> Kept:
    """Images of all classes that were fitted or held out, as many of each."""
    most = max(1, MOST_IMAGES // len(classes))
    numbers = [load(class_folder(folder, one) / IMAGES)[which][:most] for one in classes]
    return routed.kept(np.isin(routed.numbers, np.concatenate(numbers)))


def _confusion(
    routed: Routed,
    labels: np.ndarray,
    crafts: dict[int, Craft],
    merged: MergedConcepts,
    pair: tuple[int, int, int],
) -> list[Confusion]:
    """One pair of label and prediction, if images of it are kept."""
    actual, predicted, number = pair

    def kept(label: int, prediction: int) -> Kept:
        found = routed.kept((labels == label) & (routed.predictions == prediction))
        return found.picked(found.numbers[:OF_A_PAIR])

    confused = kept(actual, predicted)
    if not len(confused.numbers):
        return []
    like_actual, like_predicted = (
        one.images if len(one.numbers) else None
        for one in (kept(actual, actual), kept(predicted, predicted))
    )
    rows = np.unique(merged.rows[np.isin(merged.classes, (actual, predicted))])
    concepts = merged_model([crafts[actual], crafts[predicted]], merged, confused.images, rows)
    found = explain_confusion(
        concepts,
        rows,
        (actual, predicted),
        (number, int((labels == actual).sum())),
        confused.images,
        like_actual,
        like_predicted,
        [_small(one) for one in confused.pictures[:PICTURES]],
    )
    return [found]


def _small(picture: np.ndarray) -> np.ndarray:
    """A picture whose longest side is short."""
    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image)
