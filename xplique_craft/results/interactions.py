"""What pairs of concepts do together that neither does alone."""

from dataclasses import dataclass

import numpy as np

from .importance import EvaluationPath

MOST = 20  # pairs in a table


@dataclass(frozen=True)
class ConceptInteractions:
    """
    Banzhaf values of concepts and of pairs of them.

    An interaction is above 0 where two concepts raise the score more together than the sum of what
    each does alone (the score needs both), and below 0 where either does what the other does.

    Parameters
    ----------
    main
        (k,): mean over images of what each concept adds to the score, the others being there or
        not as a coin falls.
    main_estimation_interval, main_image_interval
        (k, 2): 90% intervals of `main` for the sets of concepts that are drawn (zero width where
        none are; NaN where it cannot be known) and over images.
    values
        (k, k): interactions, symmetric, 0 on the diagonal; mean over images.
    estimation_interval, image_interval
        (k, k, 2): the same two intervals of `values`.
    per_image
        (n, k, k): interactions in each image.
    method
        The name of the method, as "banzhaf".
    evaluations
        How many times the head was evaluated, in images (0 for a closed form).
    exact
        True where nothing was sampled.
    path
        How the head was evaluated.
    """

    main: np.ndarray
    main_estimation_interval: np.ndarray
    main_image_interval: np.ndarray
    values: np.ndarray
    estimation_interval: np.ndarray
    image_interval: np.ndarray
    per_image: np.ndarray
    method: str
    evaluations: int
    exact: bool
    path: EvaluationPath | None = None

    @property
    def pairs(self) -> np.ndarray:
        """(k (k - 1) / 2, 2): pairs of concepts, by decreasing size of their interaction."""
        first, second = np.triu_indices(len(self.values), 1)
        order = np.argsort(-np.abs(self.values[first, second]), kind="stable")
        return np.stack([first, second], axis=1)[order]

    def __str__(self) -> str:
        if len(self.main) < 2:
            return f"{self.method} interactions: there is one concept only"
        i, j = self.pairs[0]
        return (
            f"{self.method} interactions of {len(self.main)} concepts, {self._known}; the largest "
            f"is {self.values[i, j]:+.3f}, of concepts {i} and {j}"
        )

    @property
    def _known(self) -> str:
        return "exact" if self.exact else "estimated"

    def table(self) -> str:
        """
        The pairs as a Markdown table, the largest interaction first, at most 20; beside each pair
        the values of its two concepts.
        """
        lines = [
            f"| concepts | interaction | {self.method} values | estimation | images |",
            "| --- | ---: | --- | --- | --- |",
        ]
        for i, j in self.pairs[:MOST]:
            intervals = (self.estimation_interval[i, j], self.image_interval[i, j])
            lines.append(
                f"| {i}, {j} | {self.values[i, j]:+.3f} | {self.main[i]:.3f}, {self.main[j]:.3f} | "
                + " | ".join(f"[{low:.3f}, {high:.3f}]" for low, high in intervals)
                + " |"
            )
        lines += [
            "",
            f"{self.method}, {self._known}, {len(self.per_image)} images, {self.evaluations} "
            f"evaluations of the head" + (f"; {self.path}" if self.path else "") + "; above 0: "
            "more together than one by one, below 0: one does what the other does",
        ]
        if len(self.pairs) > MOST:
            lines.append(f"{len(self.pairs) - MOST} smaller ones are not shown.")
        if self.exact and not self.values.any():
            lines.append("All are 0: the score is a sum over concepts, as it is of affine heads.")
        return "\n".join(lines)
