"""
What a comparison of heatmaps and concept maps found: frozen records, which know nothing of drawing.
"""

from dataclasses import dataclass

import numpy as np

from ..results import Estimate

__all__ = ["MEASURES", "RANDOM", "Comparison", "Measure", "MethodScores"]

RANDOM = "random"
"""Name of maps at random, the floor of a comparison."""


@dataclass(frozen=True)
class Measure:
    """
    What one column of the comparison measures.

    Parameters
    ----------
    key
        As in `MethodScores.measures`.
    name
        What to call it.
    better
        1 if high is good, -1 if low is good.
    meaning
        In a sentence.
    bounds
        What no value is beyond.
    """

    key: str
    name: str
    better: int
    meaning: str
    bounds: tuple[float, float] = (-np.inf, np.inf)


MEASURES = (
    Measure(
        "deletion",
        "Deletion",
        -1,
        "Area under the score while pixels are taken out, the map's first pixels first.",
    ),
    Measure(
        "insertion",
        "Insertion",
        1,
        "Area under the score while pixels are put into an empty image, in the same order.",
    ),
    Measure(
        "mu_fidelity",
        "MuFidelity",
        1,
        "Rank correlation of what random parts of the image are worth to the score with what the "
        "map gives them.",
        (-1.0, 1.0),
    ),
    Measure(
        "stability",
        "Instability",
        -1,
        "How far maps move when a little noise is added to the image, as a share of the map "
        "(AverageStability with relative distances).",
        (0.0, np.inf),
    ),
    Measure(
        "randomisation",
        "After randomisation",
        -1,
        "Rank correlation of the maps with those of the same model with its last quarter of layers "
        "at random: a map of the model must change.",
        (-1.0, 1.0),
    ),
)


@dataclass(frozen=True)
class MethodScores:
    """
    One method, measured.

    Parameters
    ----------
    name
        What it is called.
    output
        Of concept maps, "activation" or "relevance"; None for heatmaps.
    seconds
        An image, without what is made only once where that would show.
    passes
        Images that go through the model to explain one; None where they could not be counted.
    per_image
        Key of a measure -> (n,) or, of those that explain images anew, of the first of them.
    measures
        Key of a measure -> its mean with a 90% bootstrap interval over images.
    deletion_curves, insertion_curves
        (n, steps + 1): scores of every image.
    maps
        (m, H, W): maps of the images that are shown.
    """

    name: str
    output: str | None
    seconds: float
    passes: int | None
    per_image: dict[str, np.ndarray]
    measures: dict[str, Estimate]
    deletion_curves: np.ndarray
    insertion_curves: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """
    Methods that explain the same images of a class, measured in the same ways.

    Parameters
    ----------
    model_name, layer, class_name
        What is explained, where it is cut for the concepts, and the class's name.
    number_of_images
        Images measured on.
    number_of_few
        Images of the measures that explain images anew (stability, randomisation); 0 for none.
    steps
        Of deletion and insertion.
    activation
        What was done to the logits before they were scores: "softmax", "sigmoid" or None.
    methods
        One for each method, in the order they were asked for.
    photographs
        (m, H', W', 3) uint8: the images that are shown.
    titles
        m names of them.
    seed
        Of everything random.
    """

    model_name: str
    layer: str
    class_name: str
    number_of_images: int
    number_of_few: int
    steps: int
    activation: str | None
    methods: list[MethodScores]
    photographs: np.ndarray
    titles: list[str]
    seed: int

    @property
    def concept_maps(self) -> list[MethodScores]:
        """The methods whose maps are of concepts."""
        return [method for method in self.methods if method.output is not None]

    @property
    def heatmaps(self) -> list[MethodScores]:
        """The methods that explain the model without concepts, but for maps at random."""
        return [m for m in self.methods if m.output is None and m.name != RANDOM]

    def best(self, key: str) -> MethodScores | None:
        """The best method by a measure, but for maps at random; None where none was measured."""
        sign = next(measure.better for measure in MEASURES if measure.key == key)
        measured = [m for m in self.methods if key in m.measures and m.name != RANDOM]
        return max(measured, key=lambda m: sign * m.measures[key].value, default=None)

    def table(self) -> str:
        """The scores as text, one line a method, means with their 90% intervals."""
        shown = [m for m in MEASURES if any(m.key in one.measures for one in self.methods)]
        rows = [["method", "s / image", "passes", *(measure.name for measure in shown)]]
        for method in self.methods:
            cells = [method.name, f"{method.seconds:.3f}", _count(method.passes)]
            for measure in shown:
                cells.append(str(method.measures.get(measure.key, "-")))
            rows.append(cells)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


def _count(passes: int | None) -> str:
    return "-" if passes is None else str(passes)
