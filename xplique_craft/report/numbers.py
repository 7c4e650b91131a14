"""Numbers as they are printed: true minus signs, no negative zero, NaN said in words."""

import math

from ..results import Estimate

__all__ = ["NOT_APPLICABLE", "UNDEFINED", "interval", "number", "percent", "scientific"]

NOT_APPLICABLE = "not applicable"
UNDEFINED = "not defined"


def number(value: float, decimals: int = 2, *, signed: bool = False) -> str:
    """A number with fixed decimals and a true minus sign; with `signed` also "+1.25"."""
    if not math.isfinite(value):
        return UNDEFINED
    value = round(value, decimals)
    sign = "\N{MINUS SIGN}" if value < 0 else "+" if signed and value > 0 else ""
    return f"{sign}{abs(value):.{decimals}f}"


def percent(value: float, decimals: int = 1, *, signed: bool = False) -> str:
    """A share in percent: "38.2%"."""
    text = number(100.0 * value, decimals, signed=signed)
    return text if text == UNDEFINED else f"{text}%"


def scientific(value: float) -> str:
    """A tiny number: "3.1e-07", with a true minus sign; NaN where there is none to compute."""
    return f"{value:.1e}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else NOT_APPLICABLE


def interval(estimate: Estimate, *, as_percent: bool = False, decimals: int = 2) -> str:
    """The ends of an interval: "0.83 to 0.97", "90.0 to 97.5%"."""
    write = percent if as_percent else number
    low, high = (write(end, decimals) for end in (estimate.low, estimate.high))
    return low if low == high == UNDEFINED else f"{low.removesuffix('%')} to {high}"
