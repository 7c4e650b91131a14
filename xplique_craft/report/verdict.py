"""
What the three numbers of quality mean, in words that follow from stated thresholds.

A share is good within 0.15 of 1 and fair within 0.35; the agreement is good from 0.97 and fair
from 0.90. The words look at the estimate; where its interval reaches beyond, they say so. An
agreement is fair at best where half of the predictions, or more, stay without any concept.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..results import Estimate, Quality

AGREEMENT_GOOD, AGREEMENT_FAIR = 0.97, 0.90
SHARE_GOOD, SHARE_FAIR = 0.15, 0.35
HIGH_FLOOR = 0.5  # of predictions that stay without any concept: above, agreement says little
FEW_IMAGES = 100  # below so many, even an agreement of 100% has an interval beyond its threshold

Level = Literal["good", "fair", "low", "not defined"]


@dataclass(frozen=True)
class Reading:
    """
    One number of `Quality`, ready to be read.

    `rule` is its threshold in words, `words` what its level says of the concepts; `percent` is True
    if it is printed in percent, `target` is (low, high) of the values that are "good", and `scale`
    the right end of the axis it is drawn on (the left end is 0).
    """

    name: str
    meaning: str
    rule: str
    estimate: Estimate
    level: Level
    words: str
    percent: bool
    target: tuple[float, float]
    scale: float


@dataclass(frozen=True)
class Faithfulness:
    """The quality on one set of images, its three numbers ready to be read, and their verdict."""

    quality: Quality
    readings: list[Reading]
    verdict: str


def faithfulness_of(quality: Quality) -> Faithfulness:
    """What the page says of the quality on one set of images."""
    readings = read_quality(quality)
    return Faithfulness(quality, readings, overall_verdict(readings))


def _level(shortfall: float, good: float, fair: float) -> Level:
    # differences of decimal fractions: 1 - 0.85 must count as 0.15
    shortfall, good, fair = (round(value, 9) for value in (shortfall, good, fair))
    if math.isnan(shortfall):
        return "not defined"
    return "good" if shortfall <= good else "fair" if shortfall <= fair else "low"


def _reading(
    name: str,
    meaning: str,
    estimate: Estimate,
    words: dict[Level, str],
    images: int,
    *,
    is_share: bool = True,
) -> Reading:
    if is_share:
        low, high, scale = 1.0 - SHARE_GOOD, 1.0 + SHARE_GOOD, 1.5
        rule = f"Good within {SHARE_GOOD} of 1, fair within {SHARE_FAIR}"
        level = _level(abs(estimate.value - 1.0), SHARE_GOOD, SHARE_FAIR)
    else:
        low, high, scale = AGREEMENT_GOOD, 1.0, 1.0
        rule = f"Good from {AGREEMENT_GOOD:.0%}, fair from {AGREEMENT_FAIR:.0%}"
        level = _level(1.0 - estimate.value, 1.0 - AGREEMENT_GOOD, 1.0 - AGREEMENT_FAIR)
    text = words[level]
    if level == "good" and not (estimate.low >= low - 1e-9 and estimate.high <= high + 1e-9):
        text += (
            f"; with {images} images the interval is wide"
            if images < FEW_IMAGES
            else "; its interval is not all within the threshold"
        )
    return Reading(
        name=name,
        meaning=meaning,
        rule=rule,
        estimate=estimate,
        level=level,
        words=text,
        percent=not is_share,
        target=(low, high),
        scale=scale,
    )


def _above_its_floor(agreement: Reading, floor: Estimate | None) -> Reading:
    """The reading of an agreement, with what is said where it would be high without concepts."""
    if floor is None or agreement.level == "not defined" or not floor.value >= HIGH_FLOOR:
        return agreement
    if agreement.level == "low":
        without = f"{floor.value:.0%} of the predictions stay without any concept"
        return replace(agreement, words=f"{agreement.words}; {without}")
    return replace(
        agreement,
        level="fair" if agreement.level == "good" else agreement.level,
        words=f"{agreement.words}; but {floor.value:.0%} of the predictions stay without any "
        "concept too, so this says little",
    )


def read_quality(quality: Quality) -> list[Reading]:
    """The three numbers with their meaning and level, in the order they are shown."""
    undefined = (
        "Not defined: on these images the class score hardly differs from its base, "
        "so no share of it can be taken"
    )
    images = quality.number_of_images
    agreement = _reading(
        "Agreement",
        "How often the model still predicts the same class when it sees the concepts alone.",
        quality.agreement,
        {
            "good": "The concepts alone keep the prediction",
            "fair": "The concepts alone mostly keep the prediction",
            "low": "The concepts alone often change the prediction",
            "not defined": "Not defined: a model of one output decides nothing that is known",
        },
        images,
        is_share=False,
    )
    return [
        _above_its_floor(agreement, quality.agreement_without_concepts),
        _reading(
            "Reconstruction share",
            "How much of the class score the model finds again from the concepts alone; 1 is all.",
            quality.reconstruction_share,
            {
                "good": "The concepts alone give the score back",
                "fair": "The concepts alone give the score back roughly",
                "low": "The concepts alone do not give the score back",
                "not defined": undefined,
            },
            images,
        ),
        _reading(
            "Explained share",
            "How much of the score goes away when the concepts are taken out of the image; "
            "1 is all.",
            quality.explained_share,
            {
                "good": "The score comes from the concepts",
                "fair": "The score comes from the concepts in good part",
                "low": "Much of the score does not come from the concepts",
                "not defined": undefined,
            },
            images,
        ),
    ]


def overall_verdict(readings: list[Reading]) -> str:
    """One sentence about the three numbers together; it names every one that is not good."""
    names = {
        level: [reading.name.lower() for reading in readings if reading.level == level]
        for level in ("low", "fair", "not defined")
    }
    clauses = [
        f"{' and '.join(found)} {'is' if len(found) == 1 else 'are'} {level}"
        for level, found in names.items()
        if found
    ]
    if not clauses:
        return "Faithful: all three numbers are good."
    head = "Read with care" if names["low"] or names["not defined"] else "Mostly faithful"
    return f"{head}: {'; '.join(clauses)}."
