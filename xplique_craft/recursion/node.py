"""
A concept taken apart, and what one asks of it. Fel et al., CRAFT (CVPR 2023), section 3.1.

How its children are found is the business of `child_concepts`. What they contribute is asked in
three ways: to their parent, to the class through their parent, and to the class by every path (see
`shares`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._checks import check_choice, check_concepts
from .._once import cached_property
from ..attributions.maps import activation_maps, has_places
from ..concept_model import ConceptModel
from ..factorization import Factorizer, get_factorizer
from ..results import Contributions, Quality
from ..results.tree import label_of
from ..sampling.lazy_crops import Crops
from ..sampling.representatives import best_crops
from ..sampling.rows import without_special
from .child_concepts import ChildConcepts
from .settings import DecompositionSettings, LayerLike
from .shares import NodeShares, measure_shares, split_contribution
from .siblings import Siblings

SCORES = ("parent", "through", "class")
"""What contributions of children are to, see `ConceptNode.contributions`."""


class Decomposable(ABC):
    """What has concepts that can be taken apart: a craft its own, a node its children."""

    @property
    @abstractmethod
    def siblings_below(self) -> Siblings:
        """These concepts, and which crops hold them."""

    def decompose(
        self,
        concept_id: int,
        layer: LayerLike | None = DecompositionSettings.layer,
        number_of_concepts: int = DecompositionSettings.number_of_concepts,
        percentile: float = DecompositionSettings.percentile,
        *,
        factorizer: str | Factorizer | None = None,
        tolerance: float | None = None,
    ) -> ConceptNode:
        """
        Take a concept apart at an earlier layer (section 3.1).

        Parameters
        ----------
        concept_id
            Index of the concept, or of the child of a node.
        layer, number_of_concepts, percentile
            Where children are found, how many, and in which crops: see
            `recursion.DecompositionSettings`.
        factorizer, tolerance
            See there, too; None for those that the concept itself was found with, of a craft's
            concept a tolerance of 0.01.

        Returns
        -------
        node
            The children with their crops, maps, shares and quality.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If there are no concepts yet, there is no such concept, the layer is not earlier, or too
            few crops hold the concept.
        """
        found_with = self.siblings_below.settings
        settings = DecompositionSettings(
            factorizer=found_with.factorizer if factorizer is None else get_factorizer(factorizer),
            layer=layer,
            number_of_concepts=number_of_concepts,
            percentile=percentile,
            tolerance=found_with.tolerance if tolerance is None else tolerance,
        )
        node = ConceptNode(self, concept_id, settings)
        _ = node.children  # found now, so that activations that cannot be factorised are named now
        return node


class ConceptNode(ChildConcepts, Decomposable):
    """
    A concept taken apart: its children, found at an earlier layer. Made by `Craft.decompose`.

    It keeps the fit and the settings (seed, batch size, baseline, ...) that the craft had when it
    was made, and hands them on to what its children are taken apart into.

    Parameters
    ----------
    parent
        What the concept belongs to: the craft, or the node whose child it is.
    concept_id
        Which of its concepts is taken apart, counted from 0.
    settings
        How it is taken apart.

    Attributes
    ----------
    children, factorized
        One `Child` for each concept of the bank that was found, and this bank.
    layer, crops, crops_u, mixedness, for_parent, for_class
        Where and in what the children were found, see `ChildConcepts`.
    """

    def __init__(
        self, parent: Decomposable, concept_id: int, settings: DecompositionSettings
    ) -> None:
        super().__init__(parent.siblings_below, concept_id, settings)
        self.parent = parent
        self._known: dict[str, tuple[Any, Contributions]] = {}

    # ------------------------------------------------------------------ what it is
    @property
    def path(self) -> tuple[int, ...]:
        """Indices that lead to it: (3,) for concept 3 of the craft, (3, 1) for its child 1."""
        above = self.parent.path if isinstance(self.parent, ConceptNode) else ()
        return (*above, self.concept_id)

    @cached_property
    def children(self) -> tuple[Child, ...]:
        """One for each concept of the bank."""
        return tuple(Child(self, index) for index in range(len(self.factorized.bank)))

    def __repr__(self) -> str:
        number = self.settings.number_of_concepts
        return f"ConceptNode({label_of(self.path)}: {number} children at {self.layer!r})"

    # --------------------------------------------------------------- what it is asked
    def contributions(self, inputs: Any = None, score: str = "parent") -> Contributions:
        """
        Signed contributions of the children that add up.

        Parameters
        ----------
        inputs
            Images; None for those of `fit`. What was computed for the last ones is kept.
        score
            "parent": of the parent's coefficient, base + residual being F(0). "through": of the
            class score through the parent, whose own contribution is split in these proportions.
            "class": of the class score at large, every path included.

        Returns
        -------
        contributions
            phi (n, k') with base, residual part, score and gap, each (n,).

        Raises
        ------
        ValueError
            If there is no such score.
        """
        check_choice("score", score, SCORES)
        inputs = self.shared.inputs if inputs is None else inputs
        known = self._known.get(score)
        if known is None or known[0] is not inputs:
            known = self._known[score] = (inputs, self._contributions(inputs, score))
        return known[1]

    def keep_contributions(self, inputs: Any, found: Mapping[str, Contributions]) -> None:
        """Keep contributions to each of `SCORES` that were computed of these inputs before."""
        self._known = {score: (inputs, found[score]) for score in SCORES}

    def _contributions(self, inputs: Any, score: str) -> Contributions:
        if score != "through":
            concept_model = self.for_parent if score == "parent" else self.for_class
            return concept_model.contributions(inputs)
        if isinstance(self.parent, ConceptNode):
            siblings = self.parent.contributions(inputs, "through")
        else:
            siblings = self.shared.contributions(inputs)
        return split_contribution(self.contributions(inputs), siblings.phi[:, self.concept_id])

    def measure(self, inputs: Any = None) -> NodeShares:
        """
        What each child matters for, in shares with intervals over images.

        Parameters
        ----------
        inputs
            Images, better held-out ones; None for those of `fit`.

        Returns
        -------
        shares
            For the parent, for the class through the parent and for the class at large, with what
            the children leave unexplained.
        """
        inputs = self.shared.inputs if inputs is None else inputs
        root = self.shared.contributions(inputs)
        return measure_shares(
            self.contributions(inputs, "parent"),
            self.contributions(inputs, "through"),
            self.contributions(inputs, "class"),
            root.score - root.base,
            self.shared.craft.seed,
        )

    @cached_property
    def shares(self) -> NodeShares:
        """`measure()` on the images of `fit`."""
        return self.measure()

    def quality(self, inputs: Any = None, score: str = "parent") -> Quality:
        """
        How faithful the children are, see `Craft.quality`.

        Parameters
        ----------
        inputs
            Images; None for those of `fit`.
        score
            "parent": to the coefficient of the parent; agreement is then about which concept of
            the parent's bank is the strongest. "class": to the class score.
        """
        check_choice("score", score, ("parent", "class"))
        concept_model = self.for_parent if score == "parent" else self.for_class
        return concept_model.quality(self.shared.inputs if inputs is None else inputs)

    def maps(self, inputs: Any, concepts: Any = None) -> np.ndarray:
        """
        Where the children are, at the resolution of the image, and where their parent is.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels).
        concepts
            Indices of some children; None for all.

        Returns
        -------
        maps
            (n, H, W, k') float32 in [0, 1]: the child's coefficients over the largest one among
            the images of `fit`, times the map of the parent (where its layer has no places: times
            how much of it there is in the image).

        Raises
        ------
        ValueError
            If there is no such child, or the activations have no places.
        """
        number = len(self.factorized.bank)
        chosen = check_concepts("concept_id", concepts, number)
        batches = self.shared.stream(inputs).progress("maps", self.shared.craft.verbose)
        return np.concatenate([self._maps(batch.images, chosen) for batch in batches])

    def _maps(self, images: np.ndarray, chosen: np.ndarray, *, needed: bool = True) -> np.ndarray:
        concept = np.array([self.concept_id])
        if isinstance(self.parent, ConceptNode):
            parent = self.parent._maps(images, concept, needed=False)
        else:
            parent = _places(self.siblings.concept_model, images, concept, needed=False)
        return _places(self.for_class, images, chosen, needed=needed) * parent


class Child:
    """
    One of the concepts that a concept was taken apart into.

    Parameters
    ----------
    node
        The concept that was taken apart.
    index
        Which row of the node's bank the child is, counted from 0.
    """

    def __init__(self, node: ConceptNode, index: int) -> None:
        self.node = node
        self.index = index

    @property
    def path(self) -> tuple[int, ...]:
        """Indices that lead to it from the craft."""
        return (*self.node.path, self.index)

    @property
    def crops(self) -> Crops:
        """The crops with most of it, best first, at most one of each photograph."""
        return self.node.shared.crops(self.node.chosen[self._best])

    @property
    def crops_u(self) -> np.ndarray:
        """Its coefficients in these crops."""
        return self.node.crops_u[self._best, self.index]

    @cached_property
    def _best(self) -> np.ndarray:
        boxes = self.node.crops.boxes
        return best_crops(boxes, self.node.crops_u, len(boxes))[self.index]

    def maps(self, inputs: Any) -> np.ndarray:
        """Where it is, (n, H, W), see `ConceptNode.maps`."""
        return self.node.maps(inputs, self.index)[..., 0]

    def decompose(
        self,
        layer: LayerLike | None = DecompositionSettings.layer,
        number_of_concepts: int = DecompositionSettings.number_of_concepts,
        percentile: float = DecompositionSettings.percentile,
        *,
        factorizer: str | Factorizer | None = None,
        tolerance: float | None = None,
    ) -> ConceptNode:
        """
        Take this child apart in turn, at a layer that is earlier still.

        Parameters
        ----------
        layer, number_of_concepts, percentile, factorizer, tolerance
            As in `ConceptNode.decompose`.

        Returns
        -------
        node
            The children that it is made of.
        """
        return self.node.decompose(
            self.index,
            layer,
            number_of_concepts,
            percentile,
            factorizer=factorizer,
            tolerance=tolerance,
        )

    def __repr__(self) -> str:
        return f"Child({label_of(self.path)} at {self.node.layer!r})"


def _places(
    concept_model: ConceptModel, images: np.ndarray, concepts: np.ndarray, *, needed: bool
) -> np.ndarray:
    """Where some concepts are, (n, H, W, j); (n, 1, 1, j) without places if none are needed."""
    u = concept_model.transform(None, concept_model.network.latents(images))[..., concepts]
    u = without_special(u, len(concept_model.special))
    scale, size = concept_model.coefficient_scale[concepts], images.shape[1:3]
    if needed or has_places(u.shape, size):
        return np.clip(activation_maps(np.abs(u), scale, size), 0.0, 1.0)
    mean = np.abs(u).reshape(len(u), -1, len(concepts)).mean(axis=1)
    there = np.divide(mean, scale, out=np.zeros_like(mean), where=scale > 0.0)
    return np.clip(there, 0.0, 1.0)[:, None, None]
