"""A number with the interval in which it is believed to lie."""

from dataclasses import dataclass

import numpy as np

from .numbers import UNDEFINED, percent


@dataclass(frozen=True)
class Estimate:
    """
    A number with the interval in which it is believed to lie.

    Parameters
    ----------
    value
        The estimate itself; NaN where the number is not defined.
    low
        Lower end of its interval (nominal level 90%).
    high
        Upper end of its interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return UNDEFINED
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def as_percent(self) -> str:
        """A share in percent with its interval: "38.2% [35.0, 41.7]"."""
        if not np.isfinite(self.value):
            return UNDEFINED
        low, high = (percent(end).removesuffix("%") for end in (self.low, self.high))
        return f"{percent(self.value)} [{low}, {high}]"
