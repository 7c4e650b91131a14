"""A child: one concept of the bank that a concept was taken apart into."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..factorization import Factorizer
from ..sampling.crops import Crops
from ..sampling.representatives import best_crops

if TYPE_CHECKING:
    from .node import ConceptNode

__all__ = ["Child"]


class Child:
    """
    One concept of a node's bank.

    Parameters
    ----------
    node
        The node.
    index
        Of the child in the bank.
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
        return self.node._ground.crops(self.node._chosen[self._best])

    @property
    def crops_u(self) -> np.ndarray:
        """Its coefficients in these crops."""
        return self.node.crops_u[self._best, self.index]

    @cached_property
    def _best(self) -> np.ndarray:
        boxes = self.node._ground.boxes[self.node._chosen]
        return best_crops(boxes, self.node.crops_u, len(boxes))[self.index]

    def maps(self, inputs: Any) -> np.ndarray:
        """Where it is, (n, H, W), see `ConceptNode.maps`."""
        return self.node.maps(inputs, self.index)[..., 0]

    def decompose(
        self,
        layer: str | int | keras.layers.Layer | None = None,
        number_of_concepts: int = 5,
        percentile: float = 90.0,
        *,
        factorizer: str | Factorizer | None = None,
        completeness: float | None = None,
    ) -> ConceptNode:
        """Take it apart in turn, see `ConceptNode.decompose`."""
        return self.node.decompose(
            self.index,
            layer,
            number_of_concepts,
            percentile,
            factorizer=factorizer,
            completeness=completeness,
        )

    def __repr__(self) -> str:
        return f"Child(C{'.'.join(str(index) for index in self.path)} at {self.node.layer!r})"
