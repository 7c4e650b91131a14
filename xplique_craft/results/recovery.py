"""How much of what is known of generated images an explanation finds."""

from dataclasses import dataclass

import numpy as np

from .estimate import Estimate
from .numbers import number


@dataclass(frozen=True)
class RecoveredOrder:
    """
    Importances beside what concepts really do to the score.

    Parameters
    ----------
    importances
        (C,): the sum of the importances of the concepts that belong to each known one; 0 where none
        does, NaN for those that are in no image.
    pairs_in_order
        The share of the pairs of known concepts whose effects are well apart that these put in the
        right order, by magnitude; high is good, 1 is perfect, 0.5 is chance.
    pairs_by_largest
        The same by the largest of the importances of the concepts that belong to each, for methods
        whose importances do not add up.
    rank_correlation
        Spearman's correlation of the magnitudes of importances and true effects; high is good, 1 is
        perfect. Effects that are next to nothing count in it like any other.
    """

    importances: np.ndarray
    pairs_in_order: float
    pairs_by_largest: float
    rank_correlation: float


@dataclass(frozen=True)
class RecoveredPlaces:
    """
    Maps beside the pixels of known concepts. High is good everywhere, and 1 is perfect.

    Parameters
    ----------
    iou
        Of each known concept, the intersection over union of its pixels with as many pixels at
        which the map is largest; the mean over the images that show it.
    pointing
        Of each, how often the map is largest inside its pixels.
    cues_iou, cues_pointing
        The mean over all pairs of an image and a concept in it that the class depends on.
    union_iou, union_pointing
        The same for the pixels of all concepts that the class depends on together; not defined for
        maps of concepts, of which there is one for each.
    """

    iou: list[Estimate]
    pointing: list[Estimate]
    cues_iou: Estimate
    cues_pointing: Estimate
    union_iou: Estimate
    union_pointing: Estimate


@dataclass(frozen=True)
class Recovery:
    """
    How much of what is known of generated images an explanation finds. High is good everywhere.

    Intervals are 90% bootstrap intervals over images.

    Parameters
    ----------
    names
        Names of the C known concepts.
    class_id
        The class whose score is explained.
    number_of_images
        How many images the numbers come from.
    present
        (C,) bool: which of the known concepts are seen in any of them.
    cues
        (C,) bool: which of these the class depends on, as the images were made.
    effects
        What each really does: how much the class's logit falls when the concept is left out of the
        pictures, the mean over all images.
    strength
        (C,): length of each known concept's direction in the layer, of the longest; what the
        network does not look at is short, and nobody can find it there.
    direction
        (C,): cosine of each known concept's direction with the row of the bank that it is matched
        with, one to one, by these cosines and the strengths; 1 is perfect.
    due
        (C, k): the share of each concept's coefficients that changes where the known one is left
        out of the pictures; 1 if the concept is that and nothing else.
    belongs
        (k,): the known concept that each of the bank belongs to, to which at least half of it is
        due; -1 for none.
    match
        (C,): which concept of the bank is taken for each known one, by the correlations; -1 where
        there were too few.
    correlation
        (C,): correlation over positions of its coefficients with how much of a position the known
        concept covers; 1 is perfect, 0 is chance.
    separation
        (C,): area under the ROC curve of these coefficients; 1 is perfect, 0.5 is chance.
    orders
        What importances make of it, by their names.
    places
        What maps make of it, by their names.
    """

    names: tuple[str, ...]
    class_id: int
    number_of_images: int
    present: np.ndarray
    cues: np.ndarray
    effects: list[Estimate]
    strength: np.ndarray
    direction: np.ndarray
    due: np.ndarray
    belongs: np.ndarray
    match: np.ndarray
    correlation: np.ndarray
    separation: np.ndarray
    orders: dict[str, RecoveredOrder]
    places: dict[str, RecoveredPlaces]

    def of_cues(self, values: np.ndarray) -> float:
        """The mean of values (C,) over the concepts that the class depends on."""
        return float(np.mean(values[self.cues])) if self.cues.any() else float("nan")

    def __str__(self) -> str:
        return (
            f"directions {number(self.of_cues(self.direction))}, presence "
            f"{number(self.of_cues(self.separation))} (area under ROC), of {self.cues.sum()} "
            f"concepts that the class depends on, in {self.number_of_images} images (high is good)"
        )

    def table(self) -> str:
        """Three Markdown tables: known concepts, importances, maps."""
        lines = [
            "| known concept | is a cue | true effect | strength | cosine | correlation | "
            "area under ROC | concept | belong to it |",
            "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        for c in np.flatnonzero(self.present):
            columns = (self.strength, self.direction, self.correlation, self.separation)
            numbers = " | ".join(number(column[c]) for column in columns)
            matched = self.match[c] if self.match[c] >= 0 else "none"
            own = ", ".join(map(str, np.flatnonzero(self.belongs == c)))
            lines.append(
                f"| {self.names[c]} | {'yes' if self.cues[c] else 'no'} | {self.effects[c]} | "
                f"{numbers} | {matched} | {own} |"
            )
        if self.orders:
            lines += [
                "",
                "| importance | pairs in order (high is good) | by the largest | ranks |",
                "| --- | ---: | ---: | ---: |",
            ]
        for name, order in self.orders.items():
            values = (order.pairs_in_order, order.pairs_by_largest, order.rank_correlation)
            lines.append(f"| {name} | {' | '.join(map(number, values))} |")
        if self.places:
            lines += [
                "",
                "| map | IoU of each cue (high is good) | pointing | IoU of all cues together | "
                "pointing |",
                "| --- | --- | --- | --- | --- |",
            ]
        for name, found in self.places.items():
            lines.append(
                f"| {name} | {found.cues_iou} | {found.cues_pointing} | {found.union_iou} | "
                f"{found.union_pointing} |"
            )
        return "\n".join(lines)
