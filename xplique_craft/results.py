"""
Results: frozen records of what was computed. They know nothing of drawing and nothing of models.

Notation (the same in every docstring of the package):

| symbol | shape        | meaning                                                    |
|--------|--------------|------------------------------------------------------------|
| x      |              | images                                                     |
| g, h   |              | the model is h after g, cut at one layer                   |
| A      | (n, h, w, c) | activations g(x); also tokens (n, t, c) and pooled (n, c)  |
| W      | (k, c)       | concept bank                                               |
| U      | (n, h, w, k) | concept coefficients, A ~ U W, U >= 0                      |
| E      | as A         | residual A - U W: what the concepts do not explain         |
| m      | (k,)         | gates on the concepts, in [0, 1]                           |
| f_x(m) | scalar       | score of the model with gated concepts                     |
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .tree import TreeView

__all__ = [
    "ClassExplanation",
    "ConceptCard",
    "Contributions",
    "Estimate",
    "EvaluationPath",
    "ImageView",
    "Importance",
    "Prevalence",
    "Quality",
    "SanityCheck",
]


@dataclass(frozen=True)
class Estimate:
    """
    A number with the interval in which it is believed to lie.

    Parameters
    ----------
    value
        The estimate itself.
    low
        Lower end of its interval (nominal level 90%).
    high
        Upper end of its interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "not defined"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Quality:
    """
    How faithful the concepts are to the model, on one set of images.

    The first three never depend on whether the residual is kept; their intervals are 90%
    bootstrap intervals over images.

    Parameters
    ----------
    agreement
        Share of images with argmax h(UW) = argmax h(A).
    reconstruction_share
        sum(h(UW) - h(0)) / sum(h(A) - h(0)) of the class score; 1 is perfect.
    explained_share
        sum(f_x(1) - f_x(0)) / sum(score - h(0)), residual kept; 1 is perfect.
    relative_error
        ||A - UW|| / ||A|| over all rows.
    sparsity
        Share of the coefficients U that are exactly zero.
    kkt_residual
        Largest relative KKT residual of the encoding, max |min(u, uG - b)| / max |b|; NaN for
        factorizers whose encoding solves no such problem.
    number_of_images
        How many images the numbers come from.
    """

    agreement: Estimate
    reconstruction_share: Estimate
    explained_share: Estimate
    relative_error: float
    sparsity: float
    kkt_residual: float
    number_of_images: int


@dataclass(frozen=True)
class SanityCheck:
    """
    Quality of the concepts beside what concepts of no meaning reach: the floor for every number.

    Parameters
    ----------
    own
        Of the bank that was fitted.
    random_weights
        Of a bank found in the same way in the same network with shuffled weights.
    random_bank
        Of a bank of random directions.
    """

    own: Quality
    random_weights: Quality
    random_bank: Quality

    def table(self) -> str:
        """The three as a Markdown table."""
        lines = [
            "| bank | agreement | reconstruction share | explained share | relative error |",
            "| --- | --- | --- | --- | ---: |",
        ]
        rows = {
            "fitted": self.own,
            "of shuffled weights": self.random_weights,
            "random": self.random_bank,
        }
        for name, q in rows.items():
            lines.append(
                f"| {name} | {q.agreement} | {q.reconstruction_share} | {q.explained_share} | "
                f"{q.relative_error:.3f} |"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Prevalence:
    """
    How often each concept is the one that matters most, and whether the model is right then.

    Parameters
    ----------
    prevalence
        For each concept, the share of the images in which it is the most important one, with
        Wilson's 90% interval.
    reliability
        For each concept, the share of these images that the model predicts right; NaN where there
        are none.
    most_important
        (n,): the most important concept of each image; -1 where none speaks for its class.
    correct
        (n,): whether the model predicts the image's label.
    """

    prevalence: list[Estimate]
    reliability: list[Estimate]
    most_important: np.ndarray
    correct: np.ndarray

    def table(self) -> str:
        """The concepts as a Markdown table, the most prevalent first."""
        lines = ["| concept | images | prevalence | reliability |", "| ---: | ---: | --- | --- |"]
        counts = [int((self.most_important == j).sum()) for j in range(len(self.prevalence))]
        for j in np.argsort(-np.array(counts), kind="stable"):
            lines.append(f"| {j} | {counts[j]} | {self.prevalence[j]} | {self.reliability[j]} |")
        return "\n".join(lines)


@dataclass(frozen=True)
class Contributions:
    """
    Signed contributions that add up: score = base + residual + sum_j phi_j + gap, image by image.

    Parameters
    ----------
    phi
        (n, k): Aumann-Shapley contributions of the concepts, integrated gradients on the gates.
    base
        (n,): h(0), the score of no activation at all.
    residual
        (n,): f_x(0) - h(0), the part of the score that the concepts do not explain.
    score
        (n,): f_x(1); with the residual kept it is the model's own score.
    gap
        (n,): what is missing for the sum to be exact (0 but for rounding where h is affine).
    points
        Points of the quadrature on [0, 1]; 0 where the closed form was used.
    exact
        True where the head is affine and nothing was approximated.
    """

    phi: np.ndarray
    base: np.ndarray
    residual: np.ndarray
    score: np.ndarray
    gap: np.ndarray
    points: int
    exact: bool

    @property
    def share(self) -> np.ndarray:
        """(k,): signed share of each concept in sum(score - h(0)), a ratio of sums."""
        return self.phi.sum(axis=0) / self._total()

    @property
    def residual_share(self) -> float:
        """Share of sum(score - h(0)) that the concepts do not explain."""
        return float(self.residual.sum() / self._total())

    def _total(self) -> float:
        total = float((self.score - self.base).sum())
        return total if total != 0.0 else float("nan")


@dataclass(frozen=True)
class EvaluationPath:
    """
    How gated concepts were put through the head, and what that saved.

    Parameters
    ----------
    kind
        "closed form", "folded and sliced", "folded", "sliced" or "plain".
    reason
        Why it is plain; empty where it is not.
    multiply_adds
        Multiply-adds spent in convolutions, dense layers and gates; a gradient counts as three
        evaluations. NaN where the model leaves sizes open or has other layers with matrices.
    plain_multiply_adds
        What the same evaluations would have taken with the whole head.
    """

    kind: str
    reason: str
    multiply_adds: float
    plain_multiply_adds: float

    @property
    def saved(self) -> float:
        """Share of the plain multiply-adds that were not needed; NaN where they are not known."""
        plain = self.plain_multiply_adds
        return 1.0 - self.multiply_adds / plain if plain > 0.0 else float("nan")

    def __str__(self) -> str:
        because = f" ({self.reason})" if self.reason else ""
        if np.isnan(self.saved):
            return f"{self.kind}{because}, multiply-adds not known"
        return f"{self.kind}{because}, {self.saved:.1%} of the multiply-adds saved"


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
        Name of the method, as "sobol total".
    evaluations
        How many times the head was evaluated, in images (0 for a closed form).
    exact
        True where nothing was sampled.
    signed
        Whether the method says for or against; if not, `sign` does.
    contributions
        What adds up to the same scores: sign, share, base and residual part come from it. None
        where it was not asked for.
    path
        How the head was evaluated, and what that saved; None where it was not asked for.
    concepts
        (k,): indices of the concepts in the bank; None for all of them, in its order.
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
            Their indices in the bank.

        Raises
        ------
        ValueError
            If one is not there.
        """
        place = {int(number): i for i, number in enumerate(self.numbers)}
        missing = [int(c) for c in concepts if int(c) not in place]
        if missing or len(concepts) == 0:
            raise ValueError(
                f"concepts must be among {sorted(place)}, at least one, received "
                f"{[int(c) for c in concepts]}."
            )
        rows = np.array([place[int(c)] for c in concepts])
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
        if number < 1:
            raise ValueError(f"number must be at least 1, received {number}.")
        return self.select(self.numbers[self.order[:number]])

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


@dataclass(frozen=True)
class ConceptCard:
    """
    What a person needs to recognise one concept.

    Parameters
    ----------
    concept
        Index of the concept in the bank.
    share
        Signed share of the class score, see `Contributions.share`.
    importance
        Sobol total index with its interval over images.
    estimation
        (low, high) of the index for the sampling of gates.
    crops
        Best crops, at most one of each image, best first: uint8 arrays (height, width, 3).
    crop_coefficients
        Coefficient of the concept in each of these crops.
    coefficients
        (n,): mean coefficient of the concept in every image, for the histogram.
    """

    concept: int
    share: float
    importance: Estimate
    estimation: tuple[float, float]
    crops: list[np.ndarray]
    crop_coefficients: list[float]
    coefficients: np.ndarray


@dataclass(frozen=True)
class ImageView:
    """
    One photograph explained: where each concept is and what it adds to the score.

    Parameters
    ----------
    photograph
        uint8 (H, W, 3): the picture as people look at it.
    maps
        (H, W, k) in [0, 1]: concept activation maps, one scale per concept over all images; None
        where the activations have no places.
    phi
        (k,): contributions.
    base, residual, score, gap
        Scalars, see `Contributions`.
    title
        What to call the picture (a file name, "image 3").
    prediction
        What the model says it is.
    """

    photograph: np.ndarray
    maps: np.ndarray | None
    phi: np.ndarray
    base: float
    residual: float
    score: float
    gap: float
    title: str
    prediction: str


@dataclass(frozen=True)
class ClassExplanation:
    """
    Everything the report says of one class.

    Parameters
    ----------
    model_name, layer, class_name
        What was explained, where it was cut, and the class's name.
    class_id
        Index of the class among the model's outputs.
    number_of_images
        Images the concepts were extracted from.
    number_left_out
        Images that were given but are predicted as another class, and so were not used.
    patch_sizes
        Sides of the crops, as shares of the image's side or in pixels, in words.
    seed
        Seed of everything random.
    versions
        Package name -> version.
    quality
        On the images the bank was fitted on.
    quality_held_out
        On images it was not fitted on; None where there were none.
    contributions, importance
        On the images of `quality_held_out` if there are any, else on those of `quality`.
    cards
        One for each concept, by decreasing contribution.
    images
        The photographs shown.
    notes
        Warnings a reader must know of, in plain sentences.
    tree
        What the concepts are made of, see `Craft.grow`; None where they were not taken apart.
    """

    model_name: str
    layer: str
    class_name: str
    class_id: int
    number_of_images: int
    number_left_out: int
    patch_sizes: str
    seed: int
    versions: dict[str, str]
    quality: Quality
    quality_held_out: Quality | None
    contributions: Contributions
    importance: Importance
    cards: list[ConceptCard]
    images: list[ImageView]
    notes: list[str] = field(default_factory=list)
    tree: "TreeView | None" = None
