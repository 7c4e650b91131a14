"""Whether the same concepts come again from other photographs."""

from dataclasses import dataclass

import numpy as np

from .._checks import check_range
from .estimate import Estimate

SAME = 0.9  # cosine from which on two concepts are called the same


@dataclass(frozen=True)
class ConceptStability:
    """
    Cosines between the concepts that were found on different photographs of one class.

    Intervals are 90% bootstrap intervals over concepts: they say how far a mean hangs on single
    concepts. There are none over the banks, which share most of their photographs and would be
    taken for more alike than banks of other photographs are.

    Parameters
    ----------
    matched
        The mean cosine of concepts of two banks, each of which was found without one fold of the
        photographs; concepts are matched one to one, and all pairs of banks count alike.
    disjoint
        The same of two banks that share no photograph, each found on one half of them.
    floor
        The mean cosine of each concept with the one of its own bank that is nearest to it: banks
        whose concepts resemble each other match well whatever was found. It is also how redundant
        the concepts are. NaN where there is one concept only.
    by_fold
        (k, folds): the cosine of each concept with its match in the bank that was found without
        each of the folds.
    number_of_images
        How many photographs there were.
    """

    matched: Estimate
    disjoint: Estimate
    floor: Estimate
    by_fold: np.ndarray
    number_of_images: int

    @property
    def by_concept(self) -> np.ndarray:
        """(k,): the mean cosine of each concept with its matches."""
        return self.by_fold.mean(axis=1)

    @property
    def folds(self) -> int:
        """How many banks each concept was looked for in."""
        return self.by_fold.shape[1]

    def returns(self, least: float = SAME) -> np.ndarray:
        """(k,): in how many of the banks each concept has a match of at least that cosine."""
        return (self.by_fold >= check_range("least", least, "[0, 1]")).sum(axis=1)

    def __str__(self) -> str:
        return (
            f"{self.matched} over {self.folds} folds, {self.disjoint} without a common photograph, "
            f"floor {self.floor}"
        )

    def table(self) -> str:
        """The concepts as a Markdown table, the most stable first; then the means."""
        again = self.returns()
        lines = [
            "| concept | mean cosine with its matches | comes back |",
            "| --- | ---: | ---: |",
        ]
        for j in np.argsort(-self.by_concept, kind="stable"):
            lines.append(f"| {j} | {self.by_concept[j]:.3f} | {again[j]} of {self.folds} |")
        lines.append(f"| all, between folds | {self.matched} | |")
        lines.append(f"| all, no photograph in common | {self.disjoint} | |")
        return "\n".join([*lines, f"| floor | {self.floor} | |"])
