"""
From contributions to the steps of a waterfall: one source for every drawing of it.

Invariant: base + residual + sum of the concepts + gap = score. It holds for the steps in floating
point, and for `displayed_steps` in the digits that are printed.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .._checks import check, check_is
from ..results import Contributions, ImageView
from .style import concept_label

Kind = Literal["base", "residual", "concept", "others", "gap", "score"]


@dataclass(frozen=True)
class Step:
    """
    One bar of a waterfall.

    Parameters
    ----------
    kind
        "base" and "score" are levels (start = stop = value); all others go from start to stop.
    value
        What it adds to the score; for the two levels, the level.
    start, stop
        Where its bar begins and ends on the axis of the score.
    concept
        Index in the bank of a "concept".
    members
        The steps that "others" sums up.
    """

    kind: Kind
    value: float
    start: float
    stop: float
    concept: int | None = None
    members: tuple["Step", ...] = ()

    @property
    def is_level(self) -> bool:
        """Whether it is a level of the score rather than a change of it."""
        return self.kind in ("base", "score")

    @property
    def label(self) -> str:
        """What it is called, as "C3", "residual" or "5 other concepts"."""
        if self.concept is not None:
            return concept_label(self.concept)
        return f"{len(self.members)} other concepts" if self.kind == "others" else self.kind


def waterfall_steps(
    phi: np.ndarray,
    base: float,
    residual: float,
    score: float,
    gap: float,
    *,
    max_concepts: int = 12,
    tolerance: float = 1e-4,
) -> list[Step]:
    """
    Steps from the base to the score: the residual, the concepts (largest first), the gap.

    Parameters
    ----------
    phi
        (k,): contributions of the concepts.
    base, residual, score, gap
        Scalars, see `Contributions`.
    max_concepts
        How many concepts get a step of their own (by absolute contribution); the rest are summed
        in one step, "others". One concept too many does not make an "others" of itself.
    tolerance
        The gap has a step if it is above this share of |score - base| (below, it is less than one
        unit of the last of the digits that `decimals_for` prints).

    Returns
    -------
    steps
        In the order they are drawn; the first is the base and the last the score.

    Raises
    ------
    ValueError
        If a number is not finite, if they do not add up, or if `max_concepts` is below 1.
    """
    phi = np.asarray(phi, dtype=np.float64)
    numbers = [float(number) for number in (base, residual, score, gap)]
    base, residual, score, gap = numbers
    max_concepts = check("max_concepts", max_concepts)
    if not (np.isfinite(phi).all() and np.isfinite(numbers).all()):
        raise ValueError(
            "A waterfall needs finite numbers, received NaN or infinity in `phi`, `base`, "
            "`residual`, `score` or `gap`: look at the model's scores on these images."
        )
    total = base + residual + float(phi.sum()) + gap
    scale = max(float(np.abs(phi).sum()), *map(abs, numbers))
    if abs(total - score) > 1e-4 * scale:
        raise ValueError(
            "base + residual + sum of `phi` + gap must be the score, received "
            f"{total:.6g} against a score of {score:.6g}: pass one image's (or averaged) numbers."
        )

    steps = [Step("base", base, base, base), Step("residual", residual, base, base + residual)]
    level = steps[-1].stop
    concepts = []
    for concept in np.argsort(-np.abs(phi), kind="stable"):
        value = float(phi[concept])
        concepts.append(Step("concept", value, level, level + value, int(concept)))
        level += value
    shown = len(concepts) if len(concepts) <= max_concepts + 1 else max_concepts
    steps += concepts[:shown]
    rest = tuple(concepts[shown:])
    if rest:
        value = sum(step.value for step in rest)
        steps.append(Step("others", value, rest[0].start, rest[-1].stop, members=rest))
    if abs(gap) > tolerance * abs(score - base):
        steps.append(Step("gap", gap, level, score))
    steps.append(Step("score", score, score, score))
    return steps


def waterfall_steps_of(result: ImageView | Contributions, *, max_concepts: int = 12) -> list[Step]:
    """
    Steps of one image, or of the mean over images.

    Parameters
    ----------
    result
        An `ImageView` (one image) or `Contributions` (averaged over its images).
    max_concepts
        How many concepts get a step of their own; the rest are summed in one step, "others".

    Returns
    -------
    steps
        In the order they are drawn; the first is the base and the last the score.
    """
    check_is("result", result, (ImageView, Contributions), "an ImageView or Contributions")
    return waterfall_steps(
        result.phi if isinstance(result, ImageView) else np.mean(result.phi, axis=0),
        *(
            float(np.mean(part))
            for part in (result.base, result.residual, result.score, result.gap)
        ),
        max_concepts=max_concepts,
    )


def decimals_for(steps: list[Step]) -> int:
    """
    Decimals to print: four significant digits of the longest way the score goes.

    Parameters
    ----------
    steps
        From `waterfall_steps`.

    Returns
    -------
    decimals
        From 0 to 8.
    """
    span = max(abs(step.stop - steps[0].value) for step in steps)
    return 3 if span == 0.0 else min(8, max(0, 3 - math.floor(math.log10(span))))


def displayed_steps(steps: list[Step], decimals: int) -> list[Step]:
    """
    The same steps with values rounded for print, so that what is printed adds up to the digit.

    Base and score are rounded as usual. Of the others (the members of an "others" one by one), the
    few whose rounding lost most are rounded the other way, as many as the sum asks for: each
    stays within one unit of the last digit of its true value, and the sum is exact.

    Parameters
    ----------
    steps
        From `waterfall_steps`.
    decimals
        Digits after the point.

    Returns
    -------
    rounded
        Steps whose values, printed with `decimals`, sum to the score; bars stay as they were. A
        gap that would be printed as zero is left out.
    """
    unit = 10**decimals
    leaves = [leaf for step in steps[1:-1] for leaf in (step.members or (step,))]
    counts = [round(leaf.value * unit) for leaf in leaves]
    left = round(steps[-1].value * unit) - round(steps[0].value * unit) - sum(counts)
    sign = 1 if left > 0 else -1
    # what rounding took from each, in the direction of what is missing: most first
    order = sorted(range(len(leaves)), key=lambda i: sign * (counts[i] - leaves[i].value * unit))
    for turn in range(abs(left)):
        counts[order[turn % len(order)]] += sign

    printed = [replace(steps[0], value=round(steps[0].value * unit) / unit)]
    found = iter(counts)
    for step in steps[1:-1]:
        own = [next(found) for _ in (step.members or (step,))]
        members = tuple(
            replace(member, value=count / unit)
            for member, count in zip(step.members, own, strict=False)
        )
        if step.kind != "gap" or own != [0]:
            printed.append(replace(step, value=sum(own) / unit, members=members))
    printed.append(replace(steps[-1], value=round(steps[-1].value * unit) / unit))
    return printed
