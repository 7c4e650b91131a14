"""Whether concepts are of one kind each, as another network sees their crops."""

from dataclasses import dataclass

import numpy as np

from .estimate import Estimate


@dataclass(frozen=True)
class Purity:
    """
    How often another network finds the odd crop among five.

    Four of the five show one concept, and one, the odd one, another concept of the same class.
    Intervals are 90% intervals over photographs.

    Parameters
    ----------
    accuracy
        The share of the trials in which the odd crop was found, of all concepts together.
    by_concept
        The same of each concept's own trials, k of them; NaN for those that were left out.
    floor
        What the same network reaches where the crops of a concept are replaced by as many that
        were drawn at random: the accuracy of concepts of no meaning.
    chance
        What a guess reaches, 0.2.
    left_out
        Concepts with too few crops to be tried.
    shown
        How many crops stand for a concept at most, each of another photograph.
    number_of_trials
        How many trials there were.
    number_of_images
        How many images the crops come from.
    """

    accuracy: Estimate
    by_concept: list[Estimate]
    floor: Estimate
    chance: float
    left_out: list[int]
    shown: int
    number_of_trials: int
    number_of_images: int

    def __str__(self) -> str:
        said = f"{self.accuracy}, of random crops {self.floor}, chance {self.chance:.2f}"
        left = ", ".join(map(str, self.left_out))
        return f"{said}; without concepts {left}" if left else said

    def table(self) -> str:
        """The concepts as a Markdown table, the purest first; then their floor and chance."""
        values = np.array([one.value for one in self.by_concept])
        order = np.argsort(-np.where(np.isnan(values), -1.0, values), kind="stable")
        lines = ["| concept | the odd crop is found |", "| --- | --- |"]
        lines += [f"| {j} | {self.by_concept[j]} |" for j in order]
        lines += [f"| all | {self.accuracy} |", f"| random crops | {self.floor} |"]
        return "\n".join([*lines, f"| chance | {self.chance:.3f} |"])
