"""A number with the interval in which it is believed to lie."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate"]


@dataclass(frozen=True)
class Estimate:
    """
    A number with the interval in which it is believed to lie.

    Parameters
    ----------
    value
        The estimate itself.
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
            return "not defined"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
