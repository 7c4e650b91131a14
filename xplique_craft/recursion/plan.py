"""How a concept is to be taken apart: in which crops, at which layer, into how many."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .._checks import check_int, check_number
from ..factorization import Factorizer, get_factorizer
from ..results import BranchState
from .crops import Ground, Level
from .earlier import CannotDecompose, default_layer, earlier_layer

__all__ = ["Plan", "check_concept", "choose_crops", "plan_for"]

CROPS_FOR_A_CHILD = 2


@dataclass(frozen=True)
class Plan:
    """
    How a concept is to be taken apart.

    Parameters
    ----------
    crops
        (m,): numbers of the crops that its children are looked for in.
    layer
        At which layer.
    factorizer, number_of_concepts
        How, and how many.
    completeness
        Largest gap of an image's contributions, as a share of what they divide.
    """

    crops: np.ndarray
    layer: str
    factorizer: Factorizer
    number_of_concepts: int
    completeness: float


def plan_for(
    ground: Ground,
    level: Level,
    concept_id: int,
    layer: str | int | keras.layers.Layer | None,
    number_of_concepts: int,
    percentile: float,
    factorizer: str | Factorizer,
    completeness: float,
) -> Plan:
    """
    How one concept is to be taken apart.

    Parameters
    ----------
    ground, level, concept_id
        See `ConceptNode`.
    layer, number_of_concepts, percentile, factorizer, completeness
        See `Craft.decompose`.

    Raises
    ------
    TypeError, ValueError
        If there is no such concept, the layer is not earlier, or a number is out of range.
    CannotDecompose
        If too few crops hold the concept, or there is no layer for it.
    """
    number = check_int("number_of_concepts", number_of_concepts)
    completeness = check_number("completeness", completeness)
    factorizer = get_factorizer(factorizer)
    split = level.bank.split
    if layer is None:
        needed = factorizer.requires_non_negative
        name = default_layer(split, ground.image_shape, non_negative=needed)
    else:
        name = earlier_layer(split, layer)
    check_concept(concept_id, len(level.bank.factorized.bank))
    crops = choose_crops(level, concept_id, percentile, number)
    return Plan(crops, name, factorizer, number, completeness)


def choose_crops(level: Level, concept_id: int, percentile: float, number: int) -> np.ndarray:
    """
    Numbers of the crops whose coefficient of a concept is at or above its percentile.

    Raises
    ------
    TypeError, ValueError
        If the percentile is not in [0, 100).
    CannotDecompose
        If there are fewer than two such crops for each of the `number` children.
    """
    if isinstance(percentile, bool) or not isinstance(percentile, (int, float, np.number)):
        raise TypeError(f"percentile must be a number in [0, 100), received {percentile!r}.")
    if not 0.0 <= percentile < 100.0:
        raise ValueError(f"percentile must be in [0, 100), received {percentile!r}.")
    u = level.coefficients[:, concept_id]
    chosen = np.flatnonzero((u >= np.percentile(u, percentile)) & (u > 0.0))
    needed = CROPS_FOR_A_CHILD * number
    if len(chosen) < needed:
        raise CannotDecompose(
            f"Only {len(chosen)} of {len(u)} crops hold concept {concept_id} at or above its "
            f"percentile {percentile:g}, and {number} children need {needed}. Fit the craft on "
            "more images, lower percentile, or ask for a smaller number_of_concepts.",
            BranchState.FEW_CROPS,
        )
    return chosen


def check_concept(concept_id: Any, number: int) -> int:
    """`concept_id` as an index of one of `number` concepts, or an error that says why not."""
    value = check_int("concept_id", concept_id, minimum=0)
    if value >= number:
        raise ValueError(
            f"concept_id must be below the number of concepts, {number}, received {value}. "
            "Concepts are counted from 0."
        )
    return value
