"""How often each concept is the one that matters most, and whether the model is right then."""

from dataclasses import dataclass

import numpy as np

from .estimate import Estimate


@dataclass(frozen=True)
class Prevalence:
    """
    How often each concept is the one that matters most, and whether the model is right then.

    Parameters
    ----------
    prevalence
        For each concept, the share of the images in which it is the most important one, with
        Wilson's 90% interval.
    reliability
        For each concept, the share of these images that the model predicts right; NaN where there
        are none.
    most_important
        (n,): the most important concept of each image; -1 where none speaks for its class.
    correct
        (n,): whether the model predicts the image's label.
    """

    prevalence: list[Estimate]
    reliability: list[Estimate]
    most_important: np.ndarray
    correct: np.ndarray

    def table(self) -> str:
        """The concepts as a Markdown table, the most prevalent first."""
        lines = ["| concept | images | prevalence | reliability |", "| ---: | ---: | --- | --- |"]
        counts = [int((self.most_important == j).sum()) for j in range(len(self.prevalence))]
        for j in np.argsort(-np.array(counts), kind="stable"):
            lines.append(f"| {j} | {counts[j]} | {self.prevalence[j]} | {self.reliability[j]} |")
        return "\n".join(lines)
