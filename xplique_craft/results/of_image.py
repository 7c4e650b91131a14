"""One image explained: what is drawn of it, and why the model says what it says of it."""

from dataclasses import dataclass

import numpy as np

from .._checks import check_is
from .contributions import Contributions


@dataclass(frozen=True)
class ImageView:
    """
    What is drawn of one image: where each concept is, and what it adds to the score.

    Parameters
    ----------
    photograph
        uint8 (H, W, 3): the picture as people look at it.
    maps
        (H, W, k) in [0, 1]: where each concept is active, on one scale per concept over all
        images; None where that is not known.
    phi
        (k,): the contributions of the concepts.
    base, residual, score, gap
        What they add up with, for this image, see `Contributions`.
    title
        What to call the picture (a file name, "image 3").
    prediction
        What the model says it is.
    residual_map
        (H, W) in [-1, 1]: where what the concepts leave unexplained raises (+) or lowers (-) the
        score; None where it was dropped, or where activations have no places.
    map_crops
        Of how many crops the coefficients are laid back over the image to make `maps`; 0 where the
        maps are of the single positions of the layer.
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
    residual_map: np.ndarray | None = None
    map_crops: int = 0


@dataclass(frozen=True)
class ImageExplanation:
    """
    Why a model says what it says of one image, right or wrong.

    Parameters
    ----------
    prediction
        The class with the largest score.
    probability
        The softmax probability of that class.
    target
        The true class; None where it was not given.
    names
        What prediction and target are called; None for a target that was not given.
    coefficients
        (k,): the mean coefficient of each concept in the image.
    contributions
        What each concept adds to the score of the prediction in this image: phi (1, k) with base,
        residual and score.
    against
        The same for the score of the prediction less that of the target: what speaks for the one
        *instead of* the other. None where there is no target, or it is the prediction.
    maps
        (H, W, k) in [0, 1]: where each concept is active; None where that is not known.
    class_map
        (H, W), signed: the contributions laid out where they act (where the concepts are, of
        activations without places), of `against` where there is
        one; None where that is not known.
    photograph
        uint8 (H', W', 3): the picture as people look at it; None where it was not given.
    crops
        For each concept, uint8 crops of the images that the concepts were found in, best first;
        empty where these cannot be shown.
    map_crops
        Of how many crops the coefficients are laid back over the image to make `maps`; 0 where the
        maps are of the single positions of the layer.
    with_residual
        Whether the class map also holds what the concepts leave unexplained, where it acts.
    """

    prediction: int
    probability: float
    target: int | None
    names: tuple[str, str | None]
    coefficients: np.ndarray
    contributions: Contributions
    against: Contributions | None
    maps: np.ndarray | None
    class_map: np.ndarray | None
    photograph: np.ndarray | None
    crops: list[list[np.ndarray]]
    map_crops: int = 0
    with_residual: bool = False

    @property
    def right(self) -> bool | None:
        """Whether the prediction is the true class; None where that was not given."""
        return None if self.target is None else self.target == self.prediction

    @property
    def explained(self) -> Contributions:
        """What is drawn: `against` of a wrong prediction, else `contributions`."""
        return self.contributions if self.against is None else self.against

    @property
    def order(self) -> list[int]:
        """Concepts, the one that contributes most to what is explained first."""
        return np.argsort(-self.explained.phi[0], kind="stable").tolist()

    @property
    def misleading(self) -> list[int]:
        """
        Concepts that misled the model, worst first: that raise the score of a wrong prediction
        above that of the true class. Empty where the prediction is right, or nothing is known.
        """
        if self.against is None:
            return []
        return [concept for concept in self.order if self.against.phi[0, concept] > 0.0]

    def view(self, title: str = "the image") -> ImageView:
        """The image as the plots take it, with what is explained as contributions."""
        check_is("title", title, str, "a string")
        if self.photograph is None:
            raise ValueError(
                "The photograph is not known: give it to explain_image(..., photograph=...), uint8 "
                "(H, W, 3), for the model's input is preprocessed."
            )
        found = self.explained
        return ImageView(
            photograph=self.photograph,
            maps=self.maps,
            phi=found.phi[0],
            base=float(found.base[0]),
            residual=float(found.residual[0]),
            score=float(found.score[0]),
            gap=float(found.gap[0]),
            title=title,
            prediction=self.names[0],
            map_crops=self.map_crops,
        )

    def summary(self) -> str:
        """In a few lines of text: the prediction, and the concepts that contribute most."""
        predicted, true = self.names
        lines = [f"Predicted as {predicted} with probability {self.probability:.3f}."]
        score = "its score"
        if self.right:
            lines.append("That is right.")
        elif true is not None:
            score = f"its score above that of {true}"
            lines.append(f"It is {true}; the concepts that misled the model:")
        for concept in (self.misleading or self.order)[:3]:
            phi = self.explained.phi[0, concept]
            lines.append(f"  concept {concept}: {phi:+.3f} of {score}")
        return "\n".join(lines)
