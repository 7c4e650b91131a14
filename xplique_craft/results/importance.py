"""How much each concept matters, with the intervals and the way it was computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._checks import check_indices, check_int
from .contributions import Contributions


@dataclass(frozen=True)
class EvaluationPath:
    """
    How gated concepts were put through the head.

    Parameters
    ----------
    kind
        "closed form" where f_x is affine in the gates; "folded" where the head's leading affine
        part is applied once to each concept instead of once to each set of gates; "sliced" where
        only those channels are computed that the score depends on; "folded and sliced"; or "plain"
        where every set of gates goes through the whole head.
    reason
        Why it is plain; empty where it is not.
    """

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})" if self.reason else self.kind


@dataclass(frozen=True)
class Importance:
    """
    Importance of the concepts, per image and over all images.

    Parameters
    ----------
    per_image
        (n, k): the method's importance of every concept for every image.
    overall
        (k,): mean over images.
    estimation_interval
        (k, 2): 90% interval of `overall` for what the method draws at random (zero width where
        nothing is; NaN where it cannot be known).
    image_interval
        (k, 2): 90% bootstrap interval of `overall` over images.
    method
        The name of the method, as "sobol total".
    evaluations
        How many times the head was evaluated, in images (0 for a closed form).
    exact
        True where nothing was sampled.
    signed
        Whether the method itself says if a concept speaks for the target or against it; where it
        does not, `sign` takes that from the contributions.
    contributions
        The contributions of the concepts to the same scores, from which sign, share, base and
        residual part come. None where they were not asked for.
    path
        How the head was evaluated; None where that was not asked for.
    concepts
        (k,): the indices of the concepts in the bank; None for all of them, in its order.
    """

    per_image: np.ndarray
    overall: np.ndarray
    estimation_interval: np.ndarray
    image_interval: np.ndarray
    method: str
    evaluations: int
    exact: bool
    signed: bool = False
    contributions: Contributions | None = None
    path: EvaluationPath | None = None
    concepts: np.ndarray | None = None

    @property
    def numbers(self) -> np.ndarray:
        """(k,): indices of the concepts in the bank."""
        return np.arange(len(self.overall)) if self.concepts is None else self.concepts

    @property
    def order(self) -> np.ndarray:
        """(k,): positions by decreasing magnitude of `overall`."""
        return np.argsort(-np.abs(self.overall), kind="stable")

    @property
    def sign(self) -> np.ndarray:
        """(k,): +1 where a concept speaks for the target on the whole, -1 against, 0 neither."""
        if self.signed or self.contributions is None:
            return np.sign(self.overall) if self.signed else np.full(len(self.overall), np.nan)
        return np.sign(self.contributions.phi[:, self.numbers].sum(axis=0))

    @property
    def share(self) -> np.ndarray:
        """(k,): signed share of each concept in sum(score - h(0)); NaN without contributions."""
        if self.contributions is None:
            return np.full(len(self.overall), np.nan)
        return self.contributions.share[self.numbers]

    @property
    def base(self) -> float:
        """Mean of h(0), the score of no activation at all; NaN without contributions."""
        return float(self.contributions.base.mean()) if self.contributions else float("nan")

    @property
    def residual_part(self) -> float:
        """Mean of f_x(0) - h(0), what the concepts do not explain; NaN without contributions."""
        return float(self.contributions.residual.mean()) if self.contributions else float("nan")

    def select(self, concepts: Sequence[int] | np.ndarray) -> "Importance":
        """
        The same for some concepts, in the order given.

        Parameters
        ----------
        concepts
            Which concepts stay, by their indices in the bank.

        Raises
        ------
        ValueError
            If one is not there.
        """
        place = {int(number): i for i, number in enumerate(self.numbers)}
        wanted = check_indices("concepts", concepts).tolist()
        if not wanted or any(c not in place for c in wanted):
            raise ValueError(
                f"concepts must be among {sorted(place)}, at least one, received {wanted}."
            )
        rows = np.array([place[c] for c in wanted])
        return replace(
            self,
            per_image=self.per_image[:, rows],
            overall=self.overall[rows],
            estimation_interval=self.estimation_interval[rows],
            image_interval=self.image_interval[rows],
            concepts=self.numbers[rows],
        )

    def sorted(self) -> "Importance":
        """The same, the most important concept first."""
        return self.select(self.numbers[self.order])

    def top(self, number: int) -> "Importance":
        """The `number` most important concepts, or all if there are fewer."""
        return self.select(self.numbers[self.order[: check_int("number", number)]])

    def records(self) -> list[dict[str, float]]:
        """
        One dictionary for each concept, for a data frame or a CSV file.

        Returns
        -------
        records
            With the keys concept, importance, sign, share, estimation_low, estimation_high,
            images_low and images_high.
        """
        columns = {
            "importance": self.overall,
            "sign": self.sign,
            "share": self.share,
            "estimation_low": self.estimation_interval[:, 0],
            "estimation_high": self.estimation_interval[:, 1],
            "images_low": self.image_interval[:, 0],
            "images_high": self.image_interval[:, 1],
        }
        return [
            {"concept": int(number), **{name: float(c[i]) for name, c in columns.items()}}
            for i, number in enumerate(self.numbers)
        ]

    def table(self) -> str:
        """The records as a Markdown table, with a line on how they were found."""
        lines = [
            "| concept | importance | sign | share of the score | estimation | images |",
            "| ---: | ---: | :---: | ---: | --- | --- |",
        ]
        signs = {1.0: "+", -1.0: "-", 0.0: "0"}
        for row in self.records():
            lines.append(
                f"| {row['concept']} | {row['importance']:.3f} | {signs.get(row['sign'], '?')} | "
                f"{row['share']:.1%} | [{row['estimation_low']:.3f}, {row['estimation_high']:.3f}] "
                f"| [{row['images_low']:.3f}, {row['images_high']:.3f}] |"
            )
        known = "exact" if self.exact else "estimated"
        lines.append("")
        lines.append(
            f"{self.method}, {known}, {len(self.per_image)} images, {self.evaluations} evaluations "
            "of the head" + (f"; {self.path}" if self.path else "")
        )
        if self.contributions is not None:
            lines[-1] += f"; base {self.base:.3f}, residual part {self.residual_part:.3f}"
        return "\n".join(lines)
