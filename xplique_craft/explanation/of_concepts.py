"""Stability and purity for a page, which says so where there are too few photographs for them."""

from typing import Any

import keras
import numpy as np

from .._checks import check, check_int, warn
from ..checkpoint import digest
from ..craft import Craft
from ..metrics.folds import stability
from ..metrics.judge import embed_crops
from ..metrics.judged_crops import FEWEST, Prepare, check_judge, purity
from ..metrics.too_few import TooFewPhotographs
from ..results import ConceptStability, Purity


def check_folds_or_none(folds: Any) -> int:
    """How many folds there are, at least 2; or 0, that stability is left out."""
    return check("folds", folds) if check_int("folds", folds, minimum=0) else 0


def first_seen(
    judge: Any, prepare: Prepare | None, craft: Craft, pictures: np.ndarray
) -> np.ndarray:
    """What the judge makes of the first picture; one that cannot judge these is refused."""
    check_judge(judge, craft.model, prepare)
    return embed_crops(judge, [pictures[0]], [0], prepare=prepare).embeddings


def told_judge(judge: keras.Model, seen: np.ndarray, pictures: np.ndarray) -> str:
    """A checksum of what purity hangs on: the judge, with its preprocessing, and the pictures."""
    # Coarse, for a machine may round otherwise from one time to the next.
    coarse = np.round(seen / (np.abs(seen).max() or 1.0), 2) + 0.0
    return digest(*judge.get_weights(), coarse, pictures)


def stability_or_note(craft: Craft, folds: int, number_of_images: int) -> ConceptStability | None:
    """Stability of the craft's concepts; None, and a warning, where photographs are too few."""
    try:
        return stability(craft, folds=folds, seed=craft.seed)
    except TooFewPhotographs:
        warn(
            "Whether the same concepts come back on other photographs was not measured: the "
            f"{number_of_images} photographs that they were found in are too few to find "
            f"{craft.number_of_concepts} concepts in parts of them, {folds} folds or two halves."
        )
        return None


def purity_or_note(
    craft: Craft, judge: keras.Model, prepare: Prepare | None, pictures: np.ndarray
) -> Purity | None:
    """
    Purity of the craft's crops, cut from the pictures of its images; None, and a warning, where
    photographs are too few.
    """
    try:
        return purity(
            craft,
            judge,
            photographs=pictures,
            prepare=prepare,
            batch_size=craft.batch_size,
            seed=craft.seed,
        )
    except TooFewPhotographs:
        warn(
            "Whether each concept is of one kind to another network was not measured: two concepts "
            f"need crops of {FEWEST} photographs each, and they were found in {len(pictures)} "
            "photographs."
        )
        return None
