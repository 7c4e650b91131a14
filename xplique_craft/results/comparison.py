"""
What a comparison of heatmaps and concept maps found: frozen records, which know nothing of drawing.
"""

from dataclasses import dataclass

import numpy as np

from .estimate import Estimate

__all__ = ["MEASURES", "RANDOM", "Comparison", "Measure", "MethodScores"]

RANDOM = "random"
"""Name that maps at random, the floor of a comparison, are known by."""


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
        In a sentence or two; see also `Comparison.meaning`.
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
        "map gives them. Parts differ in size, and large ones are worth more by any map: maps at "
        "random do not score 0. Their row is the floor to compare with.",
        (-1.0, 1.0),
    ),
    Measure(
        "stability",
        "Instability",
        -1,
        "How far maps move when a little noise is added to the image, as a share of the map "
        "(AverageStability with relative distances). Of a map that is the same everywhere there "
        "is none.",
        (0.0, np.inf),
    ),
    Measure(
        "randomisation",
        "After randomisation",
        -1,
        "Rank correlation of the maps with those of the same model with the last quarter of its "
        "layers with weights, at least one, at random: a map of the model must change. Of maps "
        "that are the same everywhere there is none.",
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
        An image, without what is made only once; NaN of a method that failed.
    passes
        Images that go through the model, all of it or up to the layer, to explain one of them, a
        gradient being one; None where they cannot be counted: it works on a copy of the model.
    per_image
        Measure's key -> (n,): the scores, NaN where an image has none.
    measures
        Measure's key -> mean with its 90% interval over the images that have a score; NaN where
        none has.
    deletion_curves, insertion_curves
        (n, steps + 1): scores of every image.
    maps
        (m, H, W): maps of the images that are shown.
    failed
        Why there are no numbers, curves and maps; None of a method that was measured.
    is_floor
        Whether these are maps at random, which no method is to be compared with as one of its kind.
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
    failed: str | None = None
    is_floor: bool = False

    def has(self, key: str) -> bool:
        """Whether there is a number of that measure."""
        return key in self.measures and bool(np.isfinite(self.measures[key].value))


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
        One for each method, in the order they were asked for; those that failed are among them.
    photographs
        (m, H', W', 3) uint8: the images that are shown.
    titles
        m names of them.
    seed
        Of everything random.
    randomised_layers
        How many layers were at random after randomisation, of how many with weights; None where
        that was not measured.
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
    randomised_layers: tuple[int, int] | None = None

    @property
    def measured(self) -> list[MethodScores]:
        """The methods that have numbers, the floor among them."""
        return [method for method in self.methods if method.failed is None]

    @property
    def concept_maps(self) -> list[MethodScores]:
        """The methods with numbers whose maps are of concepts."""
        return [method for method in self.measured if method.output is not None]

    @property
    def heatmaps(self) -> list[MethodScores]:
        """The methods with numbers that explain the model without concepts, but for the floor."""
        return [m for m in self.measured if m.output is None and not m.is_floor]

    def best(self, key: str) -> MethodScores | None:
        """The best method by a measure, but for the floor; None where none was measured."""
        sign = next(measure.better for measure in MEASURES if measure.key == key)
        measured = [m for m in self.measured if m.has(key) and not m.is_floor]
        return max(measured, key=lambda m: sign * m.measures[key].value, default=None)

    def meaning(self, measure: Measure) -> str:
        """What a measure means, and what was done here where that depends on the model."""
        if measure.key != "randomisation" or self.randomised_layers is None:
            return measure.meaning
        changed, of = self.randomised_layers
        return f"{measure.meaning} Here: {changed} of {of} layers with weights."

    def table(self) -> str:
        """
        The scores as text, one line a method, means with their 90% intervals; "-" where there is
        none. Methods that failed come with the reason.
        """
        shown = [m for m in MEASURES if any(m.key in one.measures for one in self.methods)]
        rows = [["method", "s / image", "passes", *(measure.name for measure in shown)]]
        for method in self.measured:
            cells = [method.name, f"{method.seconds:.3f}", _count(method.passes)]
            for measure in shown:
                cells.append(str(method.measures[measure.key]) if method.has(measure.key) else "-")
            rows.append(cells)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        widths[0] = max(widths[0], *(len(method.name) for method in self.methods))
        head, *lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
        of_measured = iter(lines)
        return "\n".join(
            [head]
            + [
                next(of_measured)
                if method.failed is None
                else f"{method.name.ljust(widths[0])}  failed: {method.failed}"
                for method in self.methods
            ]
        )


def _count(passes: int | None) -> str:
    return "-" if passes is None else str(passes)
