"""Numbers as the page prints them: as `results` writes them, with true minus signs."""

import math

from ..results import Estimate, numbers
from ..results.numbers import UNDEFINED

NOT_APPLICABLE = "not applicable"


def _printed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def number(value: float, decimals: int = 2, *, signed: bool = False) -> str:
    """A number with fixed decimals; with `signed` also "+1.25"."""
    return _printed(numbers.number(value, decimals, signed=signed))


def percent(value: float, decimals: int = 1, *, signed: bool = False) -> str:
    """A share in percent: "38.2%"."""
    return _printed(numbers.percent(value, decimals, signed=signed))


def scientific(value: float) -> str:
    """A tiny number: "3.1e-07"; "not applicable" where there is none to compute."""
    return _printed(f"{value:.1e}") if math.isfinite(value) else NOT_APPLICABLE


def interval(estimate: Estimate, *, as_percent: bool = False, decimals: int = 2) -> str:
    """The ends of an interval: "0.83 to 0.97", "90.0 to 97.5%"."""
    write = percent if as_percent else number
    low, high = (write(end, decimals) for end in (estimate.low, estimate.high))
    return low if low == high == UNDEFINED else f"{low.removesuffix('%')} to {high}"


def placed(low: float, high: float, axis: float) -> tuple[float, float]:
    """Left end and width of what goes from `low` to `high`, in percent of an axis from 0."""
    left, right = (100.0 * min(1.0, max(0.0, end / axis)) for end in (low, high))
    return round(left, 2), round(right - left, 2)
