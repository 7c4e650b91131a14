"""
The concepts of all classes as one set, and what it says that classes alone cannot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..concept_model import ConceptModel
from ..factorization.merging import THRESHOLD, merge_banks
from ..factorization.union import united
from ..metrics.outputs import output_fidelity
from ..questions import AnsweringModel
from ..results import MergedConcepts, OutputFidelity
from ..union import with_bank

EXPLAINED, ALL = "explained classes", "all"


def merge_classes(
    models: Sequence[ConceptModel], shares: Sequence[np.ndarray], threshold: float = THRESHOLD
) -> MergedConcepts:
    """
    The concepts of several classes as one bank.

    Parameters
    ----------
    models
        The concepts of each class, of one model and layer.
    shares
        (k,) each: how much of its class's score each concept gives.
    threshold
        Concepts of two classes are one where their cosine is at least this.

    Raises
    ------
    ValueError
        If they cannot be encoded as one, see `factorization.union.united`.
    """
    parts = [model.factorized for model in models]
    united(parts, "concepts of classes")  # or why not
    return merge_banks(
        [part.bank for part in parts], [model.class_id for model in models], shares, threshold
    )


def merged_model(
    models: Sequence[ConceptModel],
    merged: MergedConcepts,
    inputs: Any,
    rows: np.ndarray | None = None,
) -> AnsweringModel:
    """
    Merged concepts, encoded together.

    Parameters
    ----------
    models
        The concepts of some of the classes; of the first the model and the settings are taken.
    merged
        What `merge_classes` found.
    inputs
        Images in which coefficients are looked at once, for the scale of maps.
    rows
        Which of the merged concepts; None takes all.
    """
    encoded = united([model.factorized for model in models], "concepts of classes")
    bank = merged.bank if rows is None else merged.bank[rows]
    return with_bank(models[0], replace(encoded, bank=bank), inputs)


def fidelity_of(
    concepts: AnsweringModel, inputs: Any, classes: Sequence[int], seed: int = 0
) -> Mapping[str, OutputFidelity]:
    """
    How well the merged concepts predict the outputs of the explained classes, and all outputs.

    Parameters
    ----------
    concepts
        What `merged_model` made.
    inputs
        Images that no bank was fitted on.
    classes
        The explained classes.
    seed
        Draws of floors and intervals follow from it.
    """
    found = {EXPLAINED: output_fidelity(concepts, inputs, outputs=list(classes), seed=seed)}
    if len(classes) < concepts.network.number_of_classes:
        found[ALL] = output_fidelity(concepts, inputs, seed=seed)
    return found
