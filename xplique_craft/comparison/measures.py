"""
What a measure of a comparison is, and those that there are.

A measure is a frozen dataclass of its own settings, whose `column` says what it means. It is
prepared once for all methods, and then scores the maps of one method after the other. A new one is
a class here and its entry in `DEFAULTS`; one of your own, a class anywhere, can be given to
`compare`. Tables, figures and pages show whatever was measured.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import keras
import numpy as np

from .._checks import check
from .._random import Draw, generator
from ..results.comparison import Measure
from .fidelity import ModelScore, curves, mu_fidelity, subset_effects
from .method_maps import MethodExplainer, make_explainer
from .robustness import kept_order, randomised, relative_distance

__all__ = [
    "DEFAULTS",
    "MEASURES",
    "Deletion",
    "Insertion",
    "MapMeasure",
    "MuFidelity",
    "Randomisation",
    "Stability",
    "Task",
]

NOISE = 0.02  # of the range of the inputs: the largest noise of a pixel

Score = Callable[[MethodExplainer, np.ndarray], np.ndarray | None]
"""
(a method at work on the model, its maps (n, H, W)) -> what a measure says of the first m images.

Scores (m,), NaN where an image has none. Of a measure that has curves: the model's scores along
them, (m, steps + 1), whose areas are the scores. None where the measure asks nothing of the method.
"""


@dataclass(frozen=True)
class Task:
    """
    What all methods explain.

    Parameters
    ----------
    model
        Images -> logits.
    images, targets
        (n, H, W, channels), and (n, classes): weights of the logits.
    score
        The model's scores of these images with pixels taken out.
    seed
        All random draws follow from it.
    """

    model: keras.Model
    images: np.ndarray
    targets: np.ndarray
    score: ModelScore
    seed: int


class MapMeasure(ABC):
    """Base of all measures."""

    column: ClassVar[Measure]

    @abstractmethod
    def prepare(self, task: Task) -> tuple[Measure, Score]:
        """
        Compute what all methods share.

        Returns
        -------
        column, score
            What the measure means for this model and these images, and how maps are scored.
        """


@dataclass(frozen=True)
class _PixelCurve(MapMeasure):
    """
    Scores while pixels are changed step by step, in the order of the map.

    Parameters
    ----------
    steps
        In how many steps all pixels are changed. More follow the score more closely; each is one
        more image through the model, for every image and method.
    """

    steps: int = 20
    insertion: ClassVar[bool]

    def __post_init__(self) -> None:
        check("steps", self.steps)

    def prepare(self, task: Task) -> tuple[Measure, Score]:
        """Nothing is shared: the order of the pixels is the map's own."""
        return self.column, lambda _, maps: curves(
            task.score, maps, self.steps, insertion=self.insertion
        )


class Deletion(_PixelCurve):
    """Deletion (Petsiuk et al., RISE, 2018): pixels are taken out in `steps` steps."""

    insertion = False
    column = Measure(
        "deletion",
        "Deletion",
        -1,
        "Area under the score while pixels are taken out, the map's first pixels first.",
        curve="pixels taken out",
    )


class Insertion(_PixelCurve):
    """Insertion (Petsiuk et al., RISE, 2018): pixels are put in in `steps` steps."""

    insertion = True
    column = Measure(
        "insertion",
        "Insertion",
        1,
        "Area under the score while pixels are put into an empty image, in the same order.",
        curve="pixels put in",
    )


@dataclass(frozen=True)
class MuFidelity(MapMeasure):
    """
    MuFidelity (Bhatt et al., 2020).

    Parameters
    ----------
    grid_size
        How many cells along each side the image is divided into, which are taken out together.
    subset_share
        The probability of a cell to be in a subset, in (0, 1).
    nb_subsets
        How many subsets the correlation is over. Each is one more image through the model, once for
        all methods.
    """

    grid_size: int = 7
    subset_share: float = 0.2
    nb_subsets: int = 200
    column = Measure(
        "mu_fidelity",
        "MuFidelity",
        1,
        "Rank correlation of what random parts of the image are worth to the score with what the "
        "map gives them. Parts differ in size, and large ones are worth more by any map: maps at "
        "random do not score 0. Their row is the floor to compare with.",
        bounds=(-1.0, 1.0),
    )

    def __post_init__(self) -> None:
        check("grid_size", self.grid_size)
        check("nb_subsets", self.nb_subsets)
        check("subset_share", self.subset_share)

    def prepare(self, task: Task) -> tuple[Measure, Score]:
        """Take the subsets out of every image."""
        lost, subsets = subset_effects(
            task.score,
            grid=self.grid_size,
            share=self.subset_share,
            samples=self.nb_subsets,
            seed=task.seed,
        )
        return self.column, lambda _, maps: mu_fidelity(maps, lost, subsets)


@dataclass(frozen=True)
class Stability(MapMeasure):
    """
    AverageStability (Bhatt et al., 2020), with distances relative to the map.

    Parameters
    ----------
    images
        On how many images it is measured, the first ones: their noisy copies are explained too.
    nb_neighbours
        How many noisy copies of an image there are.
    radius
        The largest noise of a pixel, above 0; None for 2% of the range of the inputs.
    """

    images: int = 4
    nb_neighbours: int = 3
    radius: float | None = None
    column = Measure(
        "stability",
        "Instability",
        -1,
        "How far maps move when a little noise is added to the image, as a share of the map "
        "(AverageStability with relative distances). Of a map that is the same everywhere there "
        "is none.",
        bounds=(0.0, np.inf),
    )

    def __post_init__(self) -> None:
        check("images", self.images)
        check("nb_neighbours", self.nb_neighbours)
        if self.radius is not None:
            check("radius", self.radius)

    def prepare(self, task: Task) -> tuple[Measure, Score]:
        """Draw the noise, the same for all images and methods."""
        images, targets = task.images[: self.images], task.targets[: self.images]
        radius = self.radius
        if radius is None:
            radius = NOISE * float(task.images.max() - task.images.min())
        rng = generator(task.seed, Draw.NOISY_COPIES)
        noise = rng.uniform(0.0, radius, (self.nb_neighbours, *images.shape[1:]))
        copies = images[:, None] + noise.astype(np.float32)

        def score(explainer: MethodExplainer, maps: np.ndarray) -> np.ndarray | None:
            if explainer.method.is_floor:
                return None
            moved = explainer.explain(
                copies.reshape(-1, *images.shape[1:]),
                targets.repeat(self.nb_neighbours, axis=0),
                of="noisy copies",
            )
            moved = moved.reshape(*copies.shape[:2], *maps.shape[1:])
            return relative_distance(moved, maps[: len(images)])

        return replace(self.column, number_of_images=len(images)), score


@dataclass(frozen=True)
class Randomisation(MapMeasure):
    """
    Model randomisation (Adebayo et al., 2018).

    Parameters
    ----------
    images
        On how many images it is measured, the first ones: they are explained by a model with its
        last layers at random, every explainer being made again of that model.
    """

    images: int = 4
    column = Measure(
        "randomisation",
        "After randomisation",
        -1,
        "Rank correlation of the maps with those of the same model with the last quarter of its "
        "layers with weights, at least one, at random: a map of the model must change. Of maps "
        "that are the same everywhere there is none.",
        bounds=(-1.0, 1.0),
        noun="randomisation",
    )

    def __post_init__(self) -> None:
        check("images", self.images)

    def prepare(self, task: Task) -> tuple[Measure, Score]:
        """Clone the model and put its last layers at random."""
        images, targets = task.images[: self.images], task.targets[: self.images]
        clone, (changed, of) = randomised(task.model, task.seed)

        def score(explainer: MethodExplainer, maps: np.ndarray) -> np.ndarray | None:
            if clone is None or explainer.method.is_floor:
                return None
            other = make_explainer(explainer.method, clone, task.seed)
            found = other.explain(images, targets, of="the model with layers at random")
            return kept_order(maps[: len(images)], found)

        meaning = f"{self.column.meaning} Here: {changed} of {of} layers with weights."
        return replace(self.column, meaning=meaning, number_of_images=len(images)), score


DEFAULTS: tuple[MapMeasure, ...] = (
    Deletion(),
    Insertion(),
    MuFidelity(),
    Stability(),
    Randomisation(),
)
"""What `compare` measures unless it is told otherwise."""

MEASURES = tuple(measure.column for measure in DEFAULTS)
"""What the columns of a comparison mean, in their order."""
