"""
Recursion: a concept taken apart at an earlier layer. Fel et al., CRAFT (CVPR 2023), section 3.1.

Of concept i at layer l, the crops whose coefficient u_i is at or above its 90th percentile are
factorised again at a layer l' < l: children with bank W', coefficients u' and residual E'. With q
what leads from l' to l, and A(m) = q(sum_j m_j u'_j W'_j + E') on whole images,

    F(m) = mean over positions of u_i(A(m)),      sum_j phi_j + F(0) = u_i exactly,

which is the gated head of the package on the encoder of the parent's bank, cut at l', with concept
i as its class. Contributions, importances, quality and intervals are those of any bank, on two
models: `node.for_parent` (images -> u_i) and `node.for_class` (images -> logits).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import keras
import numpy as np

from ..attributions.maps import activation_maps, has_places
from ..concept_model import ConceptModel, Concepts
from ..factorization import Factorizer
from ..importance.contributions import contributions_of
from ..metrics.quality import measure_quality
from ..results import Contributions, Quality
from ..sampling.crops import Crops
from ..sampling.rows import measure_extent
from ..splitting import Split
from .child import Child
from .crops import Ground, Level
from .plan import Plan, check_concept, plan_for
from .shares import NodeShares, measure_shares, split_contribution

__all__ = ["ConceptNode"]

SCORES = ("parent", "through", "class")


class ConceptNode:
    """
    A concept taken apart: its children, found at an earlier layer. Made by `Craft.decompose`.

    Parameters
    ----------
    ground
        What all nodes of the craft share.
    above
        The level of the concept that is taken apart.
    parent
        What the concept belongs to: the craft, or the node whose child it is.
    concept_id
        Its index there.
    plan
        In which crops and at which layer children are looked for, how, and how many.

    Attributes
    ----------
    for_parent
        A bank on the model from images to the coefficients of the parent's bank, the parent being
        its class: give it to `SobolImportance` and to whatever else takes a `Craft`.
    for_class
        The same bank on the craft's own model and class, every path included.
    children
        One `Child` for each concept of the bank.
    crops
        The crops that the children were found in.
    crops_u
        (m, k'): coefficients of the children in these crops.
    level
        What taking the children apart in turn needs.
    """

    def __init__(
        self,
        ground: Ground,
        above: Level,
        parent: ConceptModel | ConceptNode,
        concept_id: int,
        plan: Plan,
    ) -> None:
        layer = plan.layer
        self.parent = parent
        self.concept_id = concept_id
        self.layer = layer
        self._ground = ground
        self._above = above
        self._chosen = plan.crops
        rows = ground.rows(layer, plan.crops, plan.factorizer)
        self.factorized = plan.factorizer.fit(rows, plan.number_of_concepts, above.bank.seed)
        self.crops_u: np.ndarray = self.factorized.transform(rows)
        split = ground.split(layer)
        verbose = ground.craft.verbose
        extent = measure_extent(ground.stream(), split.network, self.factorized, verbose)
        inputs, like = ground.inputs, above.bank
        class_id = ground.concepts.class_id
        self.completeness = plan.completeness

        def bank(split: Split, class_id: int) -> ConceptModel:
            """The children on a model; the residual is kept: the score itself is explained."""
            return ConceptModel(
                split,
                Concepts(self.factorized, class_id, inputs, extent),
                batch_size=like.batch_size,
                baseline=like.baseline,
                seed=like.seed,
                verbose=like.verbose,
            )

        self.for_class = bank(split, class_id)
        self.for_parent = bank(above.cut(layer), concept_id)
        self.level = Level(self.for_class, self._coefficients)
        self._known: dict[str, tuple[Any, Contributions]] = {}

    def _coefficients(self) -> np.ndarray:
        """(m, k') of all crops of the craft: of the children, within their parent's place."""
        every = np.arange(len(self._ground.boxes))
        rows = self._ground.rows(self.layer, every, self.factorized.factorizer)
        place = self._above.presence(self.concept_id)
        return self.factorized.transform(rows) * place[:, None]

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

    @property
    def crops(self) -> Crops:
        """Lazy sequence of the crops that the children were found in."""
        return self._ground.crops(self._chosen)

    @cached_property
    def mixedness(self) -> float:
        """How much better the children describe the parent's crops than one concept would."""
        factorizer, number = self.factorized.factorizer, len(self.factorized.bank)
        return self._ground.mixedness(self.layer, self._chosen, factorizer, number)

    def __repr__(self) -> str:
        name = ".".join(str(index) for index in self.path)
        number = len(self.factorized.bank)
        return f"ConceptNode(C{name}: {number} children at {self.layer!r})"

    # --------------------------------------------------------------- what it is asked
    def decompose(
        self,
        concept_id: int,
        layer: str | int | keras.layers.Layer | None = None,
        number_of_concepts: int = 5,
        percentile: float = 90.0,
        *,
        factorizer: str | Factorizer | None = None,
        completeness: float | None = None,
    ) -> ConceptNode:
        """
        Take a child apart at a layer that is earlier still; see `Craft.decompose`.

        The crops are chosen among all of the craft's, by the child's coefficient times how much of
        its parent there is: a child counts within its parent's place. Where no factorizer or
        completeness is given they are this node's.
        """
        plan = plan_for(
            self._ground,
            self.level,
            concept_id,
            layer,
            number_of_concepts,
            percentile,
            self.factorized.factorizer if factorizer is None else factorizer,
            self.completeness if completeness is None else completeness,
        )
        return ConceptNode(self._ground, self.level, self, concept_id, plan)

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
        _check_score(score, SCORES)
        inputs = self._ground.inputs if inputs is None else inputs
        known = self._known.get(score)
        if known is None or known[0] is not inputs:
            known = self._known[score] = (inputs, self._contributions(inputs, score))
        return known[1]

    def _contributions(self, inputs: Any, score: str) -> Contributions:
        if score == "parent":
            return contributions_of(self.for_parent, inputs, completeness=self.completeness)
        if score == "class":
            return contributions_of(self.for_class, inputs, completeness=self.completeness)
        if isinstance(self.parent, ConceptNode):
            above = self.parent.contributions(inputs, "through")
        else:
            above = self._ground.contributions(inputs)
        return split_contribution(self.contributions(inputs), above.phi[:, self.concept_id])

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
        inputs = self._ground.inputs if inputs is None else inputs
        root = self._ground.contributions(inputs)
        return measure_shares(
            self.contributions(inputs, "parent"),
            self.contributions(inputs, "through"),
            self.contributions(inputs, "class"),
            root.score - root.base,
            self._above.bank.seed,
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
        _check_score(score, ("parent", "class"))
        bank = self.for_parent if score == "parent" else self.for_class
        return measure_quality(bank, self._ground.inputs if inputs is None else inputs)

    def maps(self, inputs: Any, concepts: Any = None) -> np.ndarray:
        """
        Where the children are, at the resolution of the image, within their parent's place.

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
        chosen = np.arange(number) if concepts is None else np.atleast_1d(concepts)
        for concept in chosen.tolist():
            check_concept(concept, number)
        stream = self._ground.stream(inputs)
        return np.concatenate(
            [
                self._maps(batch.images, chosen)
                for batch in stream.progress("maps", self._ground.craft.verbose)
            ]
        )

    def _maps(self, images: np.ndarray, chosen: np.ndarray, *, needed: bool = True) -> np.ndarray:
        concept = np.array([self.concept_id])
        if isinstance(self.parent, ConceptNode):
            place = self.parent._maps(images, concept, needed=False)
        else:
            place = _places(self.parent, images, concept, needed=False)
        return _places(self.for_class, images, chosen, needed=needed) * place


def _check_score(score: str, known: tuple[str, ...]) -> None:
    if score not in known:
        raise ValueError(f"score must be one of {', '.join(map(repr, known))}, received {score!r}.")


def _places(
    bank: ConceptModel, images: np.ndarray, concepts: np.ndarray, *, needed: bool
) -> np.ndarray:
    """Where some concepts are, (n, H, W, j); (n, 1, 1, j) without places if none are needed."""
    u = bank.transform(None, bank.network.latents(images))[..., concepts]
    scale, size = bank.coefficient_scale[concepts], images.shape[1:3]
    if needed or has_places(u.shape, size):
        return np.clip(activation_maps(np.abs(u), scale, size), 0.0, 1.0)
    mean = np.abs(u).reshape(len(u), -1, len(concepts)).mean(axis=1)
    there = np.divide(mean, scale, out=np.zeros_like(mean), where=scale > 0.0)
    return np.clip(there, 0.0, 1.0)[:, None, None]
