"""A whole model explained: its classes, the concepts that they share, and what is confused why."""

from dataclasses import dataclass, field

import numpy as np

from .estimate import Estimate
from .outputs import OutputFidelity


@dataclass(frozen=True)
class ClassSummary:
    """
    One class among the others of a model: what an index of classes shows of it.

    Parameters
    ----------
    class_id
        The index of the class among the model's outputs.
    class_name
        What the class is called.
    predicted
        How many of the images given are predicted as the class.
    labelled
        How many carry its label; None where no labels were given.
    right
        How many carry its label and are predicted as it; None as above.
    number_of_images
        In how many images its concepts were found; 0 where it could not be explained.
    shares
        (k,): how much of the class score each concept gives, or takes if negative, see
        `Contributions.share`; empty where it could not be explained.
    agreement, reconstruction_share, explained_share
        How faithful the concepts are, on held-out images where there are any, see `Quality`; None
        where it could not be explained.
    purity
        How often another network finds the odd crop among five; None where it was not measured.
    failed
        Why the class could not be explained, in a sentence; None where it was.
    """

    class_id: int
    class_name: str
    predicted: int
    labelled: int | None
    right: int | None
    number_of_images: int
    shares: np.ndarray
    agreement: Estimate | None = None
    reconstruction_share: Estimate | None = None
    explained_share: Estimate | None = None
    purity: Estimate | None = None
    failed: str | None = None

    @property
    def accuracy(self) -> float:
        """The share of the images that carry its label which are predicted so; NaN without any."""
        if not self.labelled or self.right is None:
            return float("nan")
        return self.right / self.labelled


@dataclass(frozen=True)
class MergedConcepts:
    """
    The concepts of all classes as one bank, in which those that are the same stand once.

    Parameters
    ----------
    bank
        (K, c): one direction for each merged concept, in the order in which they were first met.
    classes, concepts
        (m,) each: every concept of every class, by its class and its index in that class's bank, by
        increasing class and index.
    rows
        (m,): which row of the bank stands for each of them.
    cosines
        (m,): how like that row each of them is, 1 where it stands for this one alone.
    shares
        (m,): how much of its class's score each gives, see `Contributions.share`.
    threshold
        Concepts of two classes are one where their cosine is at least this.
    """

    bank: np.ndarray
    classes: np.ndarray
    concepts: np.ndarray
    rows: np.ndarray
    cosines: np.ndarray
    shares: np.ndarray
    threshold: float

    @property
    def shared(self) -> np.ndarray:
        """Rows that stand for concepts of two classes or more, those of most classes first."""
        number = np.bincount(self.rows, minlength=len(self.bank))
        order = np.argsort(-number, kind="stable")
        return order[number[order] > 1]

    def members(self, row: int) -> np.ndarray:
        """Indices into `classes` and `concepts` of what a row stands for, by decreasing share."""
        found = np.flatnonzero(self.rows == row)
        return found[np.argsort(-self.shares[found], kind="stable")]


@dataclass(frozen=True)
class Confusion:
    """
    Why images of one class are taken for another: concepts of that other class seen in them.

    Parameters
    ----------
    actual, predicted
        The label of the images, A, and what the model takes them for, B.
    number
        How many images carry the label A and are predicted as B.
    labelled
        How many carry the label A.
    images
        How many of them the following numbers come from.
    rows
        (q,): concepts, as rows of the merged bank, by how much they speak for B and not A.
    speaks_for
        (q,): what each adds to the score of B minus that of A, in the confused images, mean.
    in_confused, in_actual, in_predicted
        (q,) each: its mean coefficient in the confused images, in images of A that are predicted as
        A, and in images of B that are predicted as B (NaN where there are none).
    pictures
        A few of the confused images, small: uint8 arrays (height, width, 3).
    """

    actual: int
    predicted: int
    number: int
    labelled: int
    images: int
    rows: np.ndarray
    speaks_for: np.ndarray
    in_confused: np.ndarray
    in_actual: np.ndarray
    in_predicted: np.ndarray
    pictures: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class ModelSummary:
    """
    What is said of a whole model beside the explanations of its classes.

    Parameters
    ----------
    model_name, layer
        Which model was explained, and at which layer it was cut.
    seed
        The seed that all random draws follow from.
    versions
        The versions of the packages that computed this, by the name of the package.
    images
        How many images were given.
    classes
        Every class that was asked for, by increasing index, also those that could not be explained.
    merged
        The concepts of all classes as one bank; None where fewer than two classes were explained or
        their banks cannot be merged.
    fidelity
        How well the merged bank predicts the outputs of the explained classes, and all outputs, by
        what they are called ("explained classes", "all"), with random floors, on held-out images.
    confusions
        The commonest wrong pairs of label and prediction, commonest first; empty without labels.
    notes
        What a reader must be warned of, in plain sentences.
    """

    model_name: str
    layer: str
    seed: int
    versions: dict[str, str]
    images: int
    classes: list[ClassSummary]
    merged: MergedConcepts | None = None
    fidelity: dict[str, OutputFidelity] = field(default_factory=dict)
    confusions: list[Confusion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
