"""
Stability and purity as the page shows them: each number beside its floor, with words that follow.
"""

import math
from dataclasses import dataclass

from ..results import ClassExplanation, ConceptStability, Estimate, Purity
from ..results.stability import SAME
from .numbers import percent


@dataclass(frozen=True)
class Measure:
    """
    A number from 0 to 1 of the concepts, ready to be read.

    `floor` is what concepts of no meaning reach, and `floor_words` say how it comes about; `words`
    follow from both; `meaning` says what was done. `percent` is True if it is printed in percent.
    """

    name: str
    meaning: str
    floor_words: str
    estimate: Estimate
    floor: Estimate
    words: str
    percent: bool


def measures_of(explanation: ClassExplanation) -> list[Measure]:
    """What was measured of the concepts of a class, in the order it is shown; nothing, if not."""
    found = []
    if explanation.stability is not None:
        found += _stability(explanation.stability)
    if explanation.purity is not None:
        found.append(_purity(explanation.purity))
    return found


def _stability(stability: ConceptStability) -> list[Measure]:
    folds, again = stability.folds, stability.returns()
    always = int((again == folds).sum())
    floor = "how alike a concept is to the most similar other one that was found with it"
    share = percent(1.0 - 1.0 / folds, 0)
    return [
        Measure(
            name="Stability",
            meaning=(
                f"How alike the concepts are when they are looked for {folds} times, each time in "
                f"{share} of the {stability.number_of_images} images: the mean cosine of the same "
                "concept in two of these searches; 1 is the same. The interval says how far this "
                "mean hangs on single concepts."
            ),
            floor_words=floor,
            estimate=stability.matched,
            floor=stability.floor,
            words=(
                f"{always} of {len(again)} concepts come back every time (cosine of {SAME} or more)"
            ),
            percent=False,
        ),
        Measure(
            name="Stability on other images",
            meaning=(
                "The same where the concepts are looked for in one half of the images, and in the "
                "other half, so that the two searches share no image."
            ),
            floor_words=floor,
            estimate=stability.disjoint,
            floor=stability.floor,
            words=_beside(
                stability.disjoint,
                stability.floor,
                "Other images give concepts more alike than two concepts of one search",
                "Other images do not surely give the same concepts",
            ),
            percent=False,
        ),
    ]


def _purity(purity: Purity) -> Measure:
    return Measure(
        name="Purity",
        meaning=(
            "How often another network finds the odd one among five crops, of which four show the "
            f"same concept; a guess finds it {percent(purity.chance, 0)} of the time."
        ),
        floor_words="how often it is found where the crops of concepts are drawn at random",
        estimate=purity.accuracy,
        floor=purity.floor,
        words=_beside(
            purity.accuracy,
            purity.floor,
            "To another network, concepts are more of one kind than random crops",
            "To another network, concepts are not surely more of one kind than random crops",
        ),
        percent=True,
    )


def _beside(estimate: Estimate, floor: Estimate, above: str, not_above: str) -> str:
    """Words by whether the intervals of a number and of its floor are apart."""
    if math.isnan(floor.value) or math.isnan(estimate.value):
        return "There is no floor to compare it with"
    return above if estimate.low > floor.high else not_above


def said_of(explanation: ClassExplanation, concept: int) -> str:
    """What a concept's card says of its stability and purity; nothing where neither is known."""
    said = []
    if explanation.stability is not None:
        again = explanation.stability.returns()
        said.append(f"comes back in {again[concept]} of {explanation.stability.folds}")
    if explanation.purity is not None:
        own = explanation.purity.by_concept[concept].value
        said.append(
            "too few crops to measure purity" if math.isnan(own) else f"purity {percent(own, 0)}"
        )
    return " · ".join(said)
