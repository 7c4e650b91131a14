"""How much of a network each concept needs before it can be read off by a linear probe."""

from dataclasses import dataclass

import numpy as np

from .estimate import Estimate


@dataclass(frozen=True)
class Complexity:
    """
    How complex each concept is: how deep in the network it can first be read off linearly.

    Parameters
    ----------
    by_concept
        K of each concept, 1 minus the mean of its R2 over the layers, with a 90% bootstrap
        interval over images, of the probes as they were fitted. High is complex: 0 where every
        layer tells it, near 1 where only the last one does. NaN for a concept that is the same in
        all images.
    r2
        (layers, k): how well the linear probe of each layer predicts each concept in images that
        it was not fitted on, from 0 to 1.
    layers
        Names of the layers, from the first to the one that the concepts are of.
    depth
        (layers,): how far down the network each of them is, as a share of the operations up to
        the layer of the concepts, which is at 1.
    number_of_images
        How many images the probes were fitted and tested on.
    folds
        Into how many parts these were divided.
    """

    by_concept: list[Estimate]
    r2: np.ndarray
    layers: list[str]
    depth: np.ndarray
    number_of_images: int
    folds: int

    @property
    def k(self) -> np.ndarray:
        """(k,): K of each concept; high is complex."""
        return np.array([one.value for one in self.by_concept])

    @property
    def order(self) -> np.ndarray:
        """(k,): the concepts from the simplest to the most complex, those without K last."""
        return np.argsort(self.k, kind="stable")

    def __str__(self) -> str:
        simple, *_, complex_ = [*self.order, *self.order]
        return (
            f"K from {self.by_concept[simple]} (concept {simple}) to {self.by_concept[complex_]} "
            f"(concept {complex_}) over {len(self.layers)} layers; high is complex"
        )

    def table(self) -> str:
        """The concepts as a Markdown table, the simplest first."""
        lines = [
            "| concept | K, high is complex | R2, first layer | middle layer | last layer |",
            "| ---: | --- | ---: | ---: | ---: |",
        ]
        for j in self.order:
            of = [self.r2[at, j] for at in (0, len(self.layers) // 2, -1)]
            cells = " | ".join(f"{value:.2f}" for value in of)
            lines.append(f"| {j} | {self.by_concept[j]} | {cells} |")
        return "\n".join(lines)
