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

from dataclasses import dataclass, field

import numpy as np

__all__ = [
    "ClassExplanation",
    "ConceptCard",
    "Contributions",
    "Estimate",
    "ImageView",
    "Importance",
    "Quality",
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
        (k, 2): 90% interval of `overall` for the sampling of gates (zero width where exact).
    image_interval
        (k, 2): 90% bootstrap interval of `overall` over images.
    method
        Name of the method, as "sobol total".
    evaluations
        How many times the head was evaluated, in images (0 for a closed form).
    exact
        True where nothing was sampled.
    """

    per_image: np.ndarray
    overall: np.ndarray
    estimation_interval: np.ndarray
    image_interval: np.ndarray
    method: str
    evaluations: int
    exact: bool


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
