"""Whether an importance says rightly which concepts the score depends on."""

from dataclasses import dataclass

import numpy as np

from .estimate import Estimate
from .numbers import number

OTHERS = "other authors count C-Deletion the other way round, high is good"


@dataclass(frozen=True)
class ImportanceFidelity:
    """
    C-Deletion, C-Insertion or C-MuFidelity of one importance, beside what random importances reach.

    Curves are of the score while concepts are taken out (Deletion) or put in (Insertion), the most
    important first; normalised ones are 0 where all concepts are out and 1 where all are in, of the
    images together (a ratio of sums).

    Parameters
    ----------
    metric
        "C-Deletion", "C-Insertion" or "C-MuFidelity".
    better
        1 if high is good, -1 if low is good.
    estimate
        The number with its 90% interval over images; NaN where concepts change too little of the
        score to tell.
    random
        The same number of importances at random, of the same form: its mean, and between which
        values 90% of the draws lie.
    optimum, worst
        The best and the worst number that importances of the same form reach; None where it is not
        known.
    per_image
        (n,): the area under the curve of each image, or its rank correlation.
    curves
        (n, k + 1): the score of each image with so many concepts out, or in, on average over the
        orders that equal importances allow; None of MuFidelity.
    random_curve
        (3, k + 1): normalised curve of random orders: its mean, and the ends between which 90% of
        the draws lie, point by point; None of MuFidelity.
    optimum_curve
        (k + 1,): normalised curve of the optimum; None where it is not known, and of MuFidelity.
    shared
        Whether one importance (k,) is for all images, not one for each: random ones, the optimum
        and the worst have the same form.
    """

    metric: str
    better: int
    estimate: Estimate
    random: Estimate
    optimum: float | None
    worst: float | None
    per_image: np.ndarray
    curves: np.ndarray | None = None
    random_curve: np.ndarray | None = None
    optimum_curve: np.ndarray | None = None
    shared: bool = False

    @property
    def direction(self) -> str:
        """Which values are good, in words."""
        return "high is good" if self.better > 0 else "low is good"

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """f_x(0) and f_x(1), (n,) each; a ValueError of MuFidelity, which has no curves."""
        if self.curves is None:
            raise ValueError(f"{self.metric} has no curves.")
        first, last = self.curves[:, 0], self.curves[:, -1]
        return (first, last) if self.better > 0 else (last, first)

    @property
    def curve(self) -> np.ndarray:
        """(k + 1,): the curve of all images, normalised; NaN where the number is."""
        closed, opened = self.ends
        if self.curves is None or np.isnan(self.estimate.value):
            return np.full(0 if self.curves is None else self.curves.shape[1], np.nan)
        return (self.curves.sum(axis=0) - closed.sum()) / (opened.sum() - closed.sum())

    @property
    def of_the_way(self) -> float:
        """
        How far the number is on the way from random (0) to the optimum (1); NaN where that is not
        known, or both are the same.
        """
        if self.optimum is None or self.optimum == self.random.value:
            return float("nan")
        return (self.estimate.value - self.random.value) / (self.optimum - self.random.value)

    def __str__(self) -> str:
        return f"{self.metric} {self.estimate} ({self.direction}); " + ", ".join(
            f"{name} {value}" for name, value in self._beside()
        )

    def _beside(self) -> list[tuple[str, str]]:
        known = [("optimum", self.optimum), ("worst", self.worst)]
        return [
            ("random", str(self.random)),
            *((name, number(value, 3)) for name, value in known if value is not None),
        ]

    def table(self) -> str:
        """The number and what it stands beside, as a Markdown table, with the direction."""
        form = "one importance for all" if self.shared else "an importance for each"
        lines = [
            f"| importance | {self.metric} ({self.direction}) |",
            "| --- | --- |",
            f"| this one | {self.estimate} |",
            *(f"| {name} | {value} |" for name, value in self._beside()),
            "",
            f"{len(self.per_image)} images, {form}; intervals are 90%, of random importances over "
            "draws",
        ]
        if self.better < 0:
            lines[-1] += f"; {OTHERS}"
        return "\n".join(lines)
