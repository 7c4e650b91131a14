"""
The children of a concept: found among the crops that hold it, as an earlier layer sees them.

Of concept i at layer l, the crops whose coefficient u_i is at or above its 90th percentile are
factorised again at a layer l' < l: children with bank W', coefficients u' and residual E'. With q
what leads from l' to l, and A(m) = q(sum_j m_j u'_j W'_j + E') on whole images,

    F(m) = mean over positions of u_i(A(m)),      sum_j phi_j + F(0) = u_i exactly,

which is the gated head of the package on the encoder of the parent's bank, cut at l', with concept
i as its class. Contributions, importances, quality and intervals are those of any bank, on two
models: `for_parent` (images -> u_i) and `for_class` (images -> logits).
"""

from __future__ import annotations

import numpy as np

from .._checks import check_concept
from .._once import cached_property
from ..concept_model import Concepts
from ..factorization import Factorized
from ..questions import AnsweringModel
from ..sampling.extent import Extent, measure_extent
from ..sampling.lazy_crops import Crops
from ..splitting import Split
from .earlier_layers import default_layer, earlier_layer
from .settings import DecompositionSettings
from .siblings import Siblings, choose_crops


class ChildConcepts:
    """
    The children of a concept. Where to find them is chosen at once, see `layer` and `crops`; they
    are found when they are first asked for.

    Parameters
    ----------
    siblings
        The concept that is taken apart, and the others of its layer.
    concept_id
        Which of them it is, counted from 0.
    settings
        How it is taken apart.

    Attributes
    ----------
    layer
        Name of the layer where the children are found.
    siblings, concept_id, settings
        As they were given.
    shared
        The craft and its crops, as all nodes below it read them.
    chosen
        Numbers of `crops` among the craft's.
    """

    def __init__(
        self, siblings: Siblings, concept_id: int, settings: DecompositionSettings
    ) -> None:
        self.concept_id = concept_id
        self.settings = settings
        self.siblings = siblings
        self.shared = siblings.shared
        split = siblings.concept_model.split
        if settings.layer is None:
            non_negative = settings.factorizer.requires_non_negative
            self.layer = default_layer(split, self.shared.image_shape, non_negative=non_negative)
        else:
            self.layer = earlier_layer(split, settings.layer)
        check_concept("concept_id", concept_id, len(siblings.concept_model.bank))
        self.chosen = choose_crops(siblings.coefficients[:, concept_id], concept_id, settings)

    @property
    def crops(self) -> Crops:
        """Lazy sequence of the crops that the children are found in."""
        return self.shared.crops(self.chosen)

    @cached_property
    def mixedness(self) -> float:
        """How much better that many children would describe these crops than one concept does."""
        number = self.settings.number_of_concepts
        return self.shared.mixedness(self.layer, self.chosen, self.settings.factorizer, number)

    def _rows(self, chosen: np.ndarray) -> np.ndarray:
        return self.shared.rows(self.layer, chosen, self.settings.factorizer)

    @cached_property
    def factorized(self) -> Factorized:
        """The children's bank W', (k', c'), with its encoding."""
        rows, seed = self._rows(self.chosen), self.shared.craft.seed
        return self.settings.factorizer.fit(rows, self.settings.number_of_concepts, seed)

    @cached_property
    def crops_u(self) -> np.ndarray:
        """(m, k'): coefficients of the children in `crops`."""
        return self.factorized.transform(self._rows(self.chosen))

    @cached_property
    def for_class(self) -> AnsweringModel:
        """
        The children on the craft's own model, images -> logits, and class: every path included.
        It answers what a `Craft` does, and is taken by whatever takes one, as `SobolImportance`.
        """
        return self._children_on(self.shared.split(self.layer), self.shared.craft.class_id)

    @cached_property
    def for_parent(self) -> AnsweringModel:
        """
        The children on the model images -> (n, k), the coefficients of the parent and its siblings,
        the parent being its class: explained is F. To be used as `for_class`.
        """
        return self._children_on(self.siblings.encoder_at(self.layer), self.concept_id)

    def _children_on(self, split: Split, class_id: int) -> AnsweringModel:
        """The children on a model cut at their layer; E' is kept, as in A(m) above."""
        craft = self.shared.craft
        children = AnsweringModel(
            split,
            Concepts(self.factorized, class_id, self.shared.inputs, self.extent),
            batch_size=craft.batch_size,
            keep_residual=True,
            baseline=craft.baseline,
            seed=craft.seed,
            verbose=craft.verbose,
            keep_special_tokens=craft.keep_special_tokens,
        )
        children.tolerance = self.settings.tolerance
        return children

    @cached_property
    def extent(self) -> Extent:
        """How large the children's coefficients get in the images of `fit`."""
        shared = self.shared
        network = shared.split(self.layer).network
        return measure_extent(
            shared.stream(),
            network,
            self.factorized,
            shared.craft.verbose,
            special_tokens=shared.special_tokens(self.layer),
        )

    @property
    def siblings_below(self) -> Siblings:
        """The children, and which crops hold them, where these hold their parent."""
        return self._siblings_below

    @cached_property
    def _siblings_below(self) -> Siblings:
        rows = self._rows(np.arange(len(self.shared.boxes)))
        presence = self.siblings.presence(self.concept_id)
        coefficients = self.factorized.transform(rows) * presence[:, None]
        return Siblings(self.for_class, self.shared, self.settings, coefficients)
