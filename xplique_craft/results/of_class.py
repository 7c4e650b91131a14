"""One class explained: its concepts, what they matter for, and how far to trust them."""

from dataclasses import dataclass, field

import numpy as np

from .contributions import Contributions
from .estimate import Estimate
from .importance import Importance
from .of_image import ImageView
from .purity import Purity
from .quality import Quality
from .stability import ConceptStability
from .tree import TreeView


@dataclass(frozen=True)
class ConceptCard:
    """
    What a person needs to recognise one concept.

    Parameters
    ----------
    concept
        Which concept it is, by its index in the bank.
    share
        How much of the class score it gives, or takes if negative, see `Contributions.share`.
    importance
        How much the score depends on it: the Sobol total index, with the interval over images.
    estimation
        (low, high): the interval of the index for the sampling of gates.
    crops
        The crops in which its coefficient is largest, at most one of each image, best first: uint8
        arrays (height, width, 3).
    crop_coefficients
        The concept's coefficient in each of these crops.
    coefficients
        (n,): the concept's mean coefficient in every image, for the histogram.
    """

    concept: int
    share: float
    importance: Estimate
    estimation: tuple[float, float]
    crops: list[np.ndarray]
    crop_coefficients: list[float]
    coefficients: np.ndarray


@dataclass(frozen=True)
class ClassExplanation:
    """
    Everything that the report says of one class.

    Parameters
    ----------
    model_name, layer, class_name
        Which model was explained, at which layer it was cut, and what the class is called.
    class_id
        The index of the class among the model's outputs.
    number_of_images
        How many images the concepts were found in.
    number_left_out
        How many images were given but are predicted as another class, and so were not used.
    patch_sizes
        The sides of the crops, as shares of the image's side or in pixels, in words.
    seed
        The seed that all random draws follow from.
    versions
        The versions of the packages that computed this, by the name of the package.
    quality
        How faithful the concepts are on the images that the bank was fitted on.
    quality_held_out
        How faithful they are on images that it was not fitted on; None where there were none.
    contributions, importance
        What each concept matters for, on the images of `quality_held_out` if there are any, else
        on those of `quality`.
    cards
        What shows each concept, by decreasing contribution.
    images
        The photographs that are shown, explained one by one.
    notes
        What a reader must be warned of, in plain sentences.
    tree
        What the concepts are made of, see `Craft.grow`; None where they were not taken apart.
    stability
        Whether the same concepts come back on other photographs; None where it was not measured.
    purity
        Whether each concept is of one kind to another network; None where it was not measured.
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
    stability: ConceptStability | None = None
    purity: Purity | None = None
