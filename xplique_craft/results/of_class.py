"""Everything that a page says of one class."""

from dataclasses import dataclass, field

import numpy as np

from .contributions import Contributions
from .estimate import Estimate
from .importance import Importance
from .quality import Quality
from .tree import TreeView

__all__ = ["ClassExplanation", "ConceptCard", "ImageView"]


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
    tree: TreeView | None = None
