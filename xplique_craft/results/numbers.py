"""How numbers are written: rounded, without a negative zero, and in words where there is none."""

import math

UNDEFINED = "not defined"


def number(value: float, decimals: int = 2, *, signed: bool = False) -> str:
    """A number with fixed decimals; with `signed` those above zero are written as "+1.25"."""
    if not math.isfinite(value):
        return UNDEFINED
    value = round(value, decimals) + 0.0  # -0.0 + 0.0 is 0.0
    return f"{value:{'+' if signed and value > 0.0 else ''}.{decimals}f}"


def percent(value: float, decimals: int = 1, *, signed: bool = False) -> str:
    """A share in percent: "38.2%"."""
    text = number(100.0 * value, decimals, signed=signed)
    return text if text == UNDEFINED else f"{text}%"
