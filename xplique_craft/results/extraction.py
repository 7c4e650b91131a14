"""How well concepts stand for activations: error, sparsity, distances, dead and duplicate ones."""

from dataclasses import dataclass

import numpy as np

from .estimate import Estimate


@dataclass(frozen=True)
class Extraction:
    """
    How well the concepts stand for the activations, on one set of images.

    Intervals are 90% bootstrap intervals over images, of the banks as they were found; those of
    the two distances keep also the rows that were drawn and which row is compared with which. A
    number is NaN where it is not defined.

    Parameters
    ----------
    relative_error
        ||A - UW|| / ||A||: low is good, 0 is perfect, and 1 what no concepts at all reach.
    r2
        How much of the variation of the activations around the mean of each channel is explained:
        high is good, 1 is perfect, 0 what the mean alone reaches.
    zeros
        The share of the coefficients that are exactly 0: high is sparse.
    hoyer
        Hoyer's sparsity of the coefficients at one position: high is sparse, 1 is one concept at
        each position, 0 all alike.
    wasserstein
        The 1-Wasserstein distance between the rows of A and of UW, over the mean norm of the rows
        of A: low is good, 0 is perfect, and 1 what no concepts at all reach.
    out_of_distribution
        The distance of the rows of UW to the nearest row of A of another image, over that of the
        rows of A: low is good down to 1, as near as real activations are; below 1 less is no
        better, for what is shrunk to the mean or to 0 is near to some real activation.
    dead
        Concepts of the craft's own bank whose coefficients are 0 everywhere.
    duplicates
        Pairs of concepts of the craft's own bank whose cosine is 0.9 or more in magnitude.
    error_by_image
        (n,): the relative error of each image.
    number_of_images
        n, how many images the numbers come from.
    number_of_rows
        How many rows of these were compared for the two distances.
    folds
        Into how many parts the images of `fit` were divided, each explained by a bank that was
        found without it; 0 where the images were given.
    held_out
        Whether no image was explained by a bank that was found on it; None where the images that
        the concepts were found in are not known.
    """

    relative_error: Estimate
    r2: Estimate
    zeros: Estimate
    hoyer: Estimate
    wasserstein: Estimate
    out_of_distribution: Estimate
    dead: list[int]
    duplicates: list[tuple[int, int]]
    error_by_image: np.ndarray
    number_of_images: int
    number_of_rows: int
    folds: int
    held_out: bool | None

    @property
    def worst(self) -> np.ndarray:
        """(n,): numbers of the images, those that the concepts explain worst first."""
        return np.argsort(-self.error_by_image, kind="stable")

    @property
    def seen(self) -> str:
        """What the numbers come from, in words."""
        if self.held_out is None:
            return f"{self.number_of_images} images; whether they are held out is not known"
        how = "held-out images" if self.held_out else "images, not held out"
        return f"{self.number_of_images} {how}" + (f" ({self.folds} folds)" if self.folds else "")

    def __str__(self) -> str:
        return (
            f"relative error {self.relative_error}, R2 {self.r2}, {len(self.dead)} dead and "
            f"{len(self.duplicates)} duplicate concepts, on {self.seen}"
        )

    def table(self) -> str:
        """All numbers as a Markdown table, with their directions."""
        pairs = ", ".join(f"{i} and {j}" for i, j in self.duplicates)
        rows = {
            "relative error": (self.relative_error, "low is good, 0 is perfect"),
            "R2": (self.r2, "high is good, 1 is perfect"),
            "zeros": (self.zeros, "high is sparse"),
            "Hoyer sparsity": (self.hoyer, "high is sparse"),
            "1-Wasserstein distance": (self.wasserstein, "low is good, 0 is perfect"),
            "out-of-distribution distance": (
                self.out_of_distribution,
                "low is good down to 1, as near as real ones",
            ),
            "dead concepts": (", ".join(map(str, self.dead)) or "none", "few are good"),
            "duplicate concepts": (pairs or "none", "few are good"),
            "images": (self.seen, "held out is honest"),
        }
        lines = ["| measure | value | direction |", "| --- | --- | --- |"]
        return "\n".join(
            [*lines, *(f"| {name} | {value} | {how} |" for name, (value, how) in rows.items())]
        )
