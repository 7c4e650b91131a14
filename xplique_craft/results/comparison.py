"""What a comparison of heatmaps and concept maps found."""

from dataclasses import dataclass, field

import numpy as np

from .._checks import check_choice, check_is, check_list
from .estimate import Estimate

RANDOM = "random"
"""Name that maps at random, the floor of a comparison, are known by."""


@dataclass(frozen=True)
class Measure:
    """
    What one column of the comparison measures.

    Parameters
    ----------
    key
        The name that `MethodScores.per_image`, `.measures` and `.curves` know it by.
    name
        What tables, figures and pages call it.
    better
        1 if high is good, -1 if low is good.
    meaning
        What it says about a map, in a sentence or two, for readers of the page.
    bounds
        The lowest and the highest value that it can have.
    curve
        What happens along its curves, as "pixels taken out"; None where it has no curves.
    number_of_images
        On how many of the images it was measured; None for all of them.
    noun
        What it is called within a sentence; None for its name in small letters.
    """

    key: str
    name: str
    better: int
    meaning: str
    bounds: tuple[float, float] = (-np.inf, np.inf)
    curve: str | None = None
    number_of_images: int | None = None
    noun: str | None = None

    @property
    def direction(self) -> str:
        """Which values are good, in words."""
        return "high is good" if self.better > 0 else "low is good"


@dataclass(frozen=True)
class MethodScores:
    """
    One method, measured. One that failed has a name and a reason, and nothing else.

    Parameters
    ----------
    name
        What it is called.
    output
        What concept maps show, "activation" or "relevance"; None for heatmaps.
    seconds
        How long an image took, without what is made only once; NaN of a method that failed.
    passes
        How many images go through the model, all of it or up to the layer, to explain one of them,
        a gradient being one; None where they cannot be counted: it works on a copy of the model.
    per_image
        Measure's key -> (n,): the scores, NaN where an image has none.
    measures
        Measure's key -> mean with its 90% interval over the images that have a score; NaN where
        none has.
    curves
        Measure's key -> (n, steps + 1): the scores of the model along the curve of every image.
    maps
        (m, H, W): maps of the images that are shown.
    failed
        Why there are no numbers, curves and maps; None of a method that was measured.
    is_floor
        Whether these are maps at random, which no method is to be compared with as one of its kind.
    failures
        Measure's key -> why it has no number of this method, of the measures that failed.
    """

    name: str
    output: str | None
    seconds: float = np.nan
    passes: int | None = None
    per_image: dict[str, np.ndarray] = field(default_factory=dict)
    measures: dict[str, Estimate] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    maps: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    failed: str | None = None
    is_floor: bool = False
    failures: dict[str, str] = field(default_factory=dict)

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
        How many images every method explained.
    activation
        What was done to the logits before they were scores: "softmax", "sigmoid" or None.
    measures
        What was measured, one for each column of the table.
    methods
        One for each method, in the order they were asked for; those that failed are among them.
    photographs
        (m, H', W', 3) uint8: the images that are shown.
    titles
        What these images are called.
    seed
        The seed that all random draws followed from.
    """

    model_name: str
    layer: str
    class_name: str
    number_of_images: int
    activation: str | None
    measures: tuple[Measure, ...]
    methods: list[MethodScores]
    photographs: np.ndarray
    titles: list[str]
    seed: int

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

    @property
    def failures(self) -> list[str]:
        """Which measures failed for which methods and why: a sentence each, or one for them all."""
        said = []
        for one in self.measures:
            why = {m.name: m.failures[one.key] for m in self.measured if one.key in m.failures}
            if why and not any(one.key in method.measures for method in self.measured):
                why = {"any method": "; ".join(dict.fromkeys(why.values()))}
            for name, reason in why.items():
                said.append(f"{one.name} of {name} has no number, for it failed: {reason}.")
        return said

    def measure(self, key: str) -> Measure:
        """What was measured under that key; ValueError where nothing was."""
        known = {measure.key: measure for measure in self.measures}
        return known[check_choice("key", key, known)]

    def best(self, key: str, among: list[MethodScores] | None = None) -> MethodScores | None:
        """
        The best of some methods by a measure, of all but the floor by default; None where none of
        them has a number of it.
        """
        check_is("key", key, str, "the key of a measure")
        if among is None:
            among = [m for m in self.measured if not m.is_floor]
        for method in check_list("among", among, "methods of this comparison"):
            check_is("among", method, MethodScores, "a list of methods of this comparison")
        able = [method for method in among if method.has(key)]
        return max(
            able, key=lambda m: self.measure(key).better * m.measures[key].value, default=None
        )

    def table(self) -> str:
        """
        The scores as text, one line a method, means with their 90% intervals; "-" where there is
        none. Methods that failed come with the reason.
        """
        rows = [["method", "s / image", "passes", *(measure.name for measure in self.measures)]]
        for one in self.methods:
            if one.failed is not None:
                rows.append([one.name, f"failed: {one.failed}"])
                continue
            passes = "-" if one.passes is None else str(one.passes)
            scores = [str(one.measures[m.key]) if one.has(m.key) else "-" for m in self.measures]
            rows.append([one.name, f"{one.seconds:.3f}", passes, *scores])
        complete = [row for row in rows if len(row) == len(rows[0])]
        widths = [max(map(len, column)) for column in zip(*complete, strict=True)]
        widths[0] = max(len(row[0]) for row in rows)
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
            for row in rows
        )
