"""The rows of a waterfall in HTML: the steps of `plots.waterfall_steps`, placed in percent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..plots import Step, decimals_for, displayed_steps, waterfall_steps_of
from ..results import Contributions, ImageView
from .numbers import number

MAX_BARS = 12  # concepts with a bar of their own


@dataclass(frozen=True)
class Row:
    """
    One row of a waterfall: its `value` as it is printed, and where its bar begins and how wide it
    is, in percent of the axis. `members` are the rows of "others".
    """

    step: Step
    value: str
    left: float
    width: float
    members: tuple["Row", ...]


@dataclass(frozen=True)
class Waterfall:
    """
    Rows from base to score; `terms` are (name, printed value) of base, residual, concepts and gap,
    which sum to the value of the last row, the score.
    """

    rows: tuple[Row, ...]
    terms: tuple[tuple[str, str], ...]


def common_decimals(results: Sequence[ImageView | Contributions]) -> int:
    """Decimals that suit all waterfalls of a section: those of the one with the longest way."""
    finite = [result for result in results if _is_finite(result)]
    return min((decimals_for(waterfall_steps_of(result)) for result in finite), default=3)


def waterfall_of(result: ImageView | Contributions, decimals: int) -> Waterfall | None:
    """
    The waterfall of one image, or of the mean over images, with so many decimals: printed values
    add up to the last digit. None if the numbers are not all finite; they must add up.
    """
    if not _is_finite(result):
        return None
    steps = displayed_steps(waterfall_steps_of(result, max_concepts=MAX_BARS), decimals)
    ends = [
        end
        for step in (*steps, *(member for step in steps for member in step.members))
        for end in (step.start, step.stop)
    ]
    low = min(ends)
    span = (max(ends) - low) or 1.0

    def row(step: Step) -> Row:
        return Row(
            step=step,
            value=number(step.value, decimals, signed=not step.is_level),
            left=round(100.0 * (min(step.start, step.stop) - low) / span, 2),
            width=round(100.0 * abs(step.stop - step.start) / span, 2),
            members=tuple(row(member) for member in step.members),
        )

    concepts = sum(step.value for step in steps if step.kind in ("concept", "others"))
    terms = [
        ("base", steps[0].value),
        ("residual", steps[1].value),
        ("concepts", concepts),
        *((step.kind, step.value) for step in steps if step.kind == "gap"),
    ]
    return Waterfall(
        tuple(row(step) for step in steps),
        tuple((name, number(value, decimals)) for name, value in terms),
    )


def _is_finite(result: ImageView | Contributions) -> bool:
    parts = (result.phi, result.base, result.residual, result.score, result.gap)
    return all(np.isfinite(part).all() for part in parts)
