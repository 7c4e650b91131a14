"""The rows of a waterfall in HTML: the steps of `plots.waterfall_steps`, placed in percent."""

from dataclasses import dataclass

from ..plots import Step, decimals_for, displayed_steps, waterfall_steps_of
from ..results import Contributions, ImageView
from .numbers import number

__all__ = ["Row", "Waterfall", "common_decimals", "waterfall_rows"]

_LABELS = {
    "base": "base",
    "residual": "residual",
    "gap": "gap",
    "score": "score",
}


@dataclass(frozen=True)
class Row:
    """
    One row of a waterfall.

    Parameters
    ----------
    kind, concept
        See `Step`.
    label
        Of what is not a concept.
    value
        As printed.
    left, width
        Of the bar, in percent of the axis.
    negative
        True if it lowers the score.
    members
        The rows of "others".
    """

    kind: str
    concept: int | None
    label: str
    value: str
    left: float
    width: float
    negative: bool
    members: tuple["Row", ...]


@dataclass(frozen=True)
class Waterfall:
    """
    Rows from base to score, and their sum in one line.

    Parameters
    ----------
    rows
        From top to bottom.
    terms
        (name, printed value) of base, residual, concepts and what is left: they sum to `score`.
    score
        As printed.
    """

    rows: tuple[Row, ...]
    terms: tuple[tuple[str, str], ...]
    score: str


def common_decimals(results: list[ImageView | Contributions]) -> int:
    """Decimals that suit all waterfalls of a section: those of the one with the longest way."""
    return min((decimals_for(waterfall_steps_of(result)) for result in results), default=3)


def waterfall_rows(
    result: ImageView | Contributions, max_concepts: int, decimals: int
) -> Waterfall:
    """
    Waterfall of one image, or of the mean over images.

    Parameters
    ----------
    result
        What to draw.
    max_concepts
        How many concepts get a row of their own.
    decimals
        Digits after the point.

    Returns
    -------
    waterfall
        Printed values add up to the last digit.

    Raises
    ------
    ValueError
        If the numbers are not finite or do not add up.
    """
    steps = displayed_steps(waterfall_steps_of(result, max_concepts=max_concepts), decimals)
    ends = [
        end
        for step in (*steps, *(member for step in steps for member in step.members))
        for end in (step.start, step.stop)
    ]
    low = min(ends)
    span = (max(ends) - low) or 1.0

    def row(step: Step) -> Row:
        level = step.kind in ("base", "score")
        label = _LABELS.get(step.kind, f"{len(step.members)} other concepts")
        return Row(
            step.kind,
            step.concept,
            "" if step.kind == "concept" else label,
            number(step.value, decimals, signed=not level),
            round(100.0 * (min(step.start, step.stop) - low) / span, 2),
            round(100.0 * abs(step.stop - step.start) / span, 2),
            step.stop < step.start,
            tuple(row(member) for member in step.members),
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
        number(steps[-1].value, decimals),
    )
