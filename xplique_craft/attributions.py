"""
Concept attribution as a Xplique explainer: where each concept is, and why this class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from .contributions import contributions
from .explainer import ConceptExplainer
from .maps import activation_maps, class_maps, resize_maps, to_grid

if TYPE_CHECKING:
    from .craft import Craft

__all__ = ["ConceptAttribution"]


class ConceptAttribution(ConceptExplainer):
    """
    Class maps and concept activation maps.

    It slots beside Xplique's attribution methods: `explain(inputs, targets)` gives (n, H, W, 1),
    and everything runs through `self.model`.

    Parameters
    ----------
    craft
        A fitted `Craft`, cut at a layer whose activations have places: (n, h, w, c), or tokens
        that make a grid (see `maps.grid_of`).
    batch_size
        Images at a time.
    operator
        Xplique's operator; None for the sum of logits times targets.
    """

    def __init__(
        self,
        craft: Craft,
        *,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
    ) -> None:
        super().__init__(craft, batch_size, operator)

    def explain(self, inputs: Any, targets: Any = None) -> tf.Tensor:
        """
        The class map: each concept's contribution laid out where the concept is.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels): array, tensor, or tf.data.Dataset of (image, target).
        targets
            (n, classes) one-hot, or a class index; None for a dataset's labels, else for the class
            of the craft.

        Returns
        -------
        maps
            (n, H, W, 1), signed, in units of the score a cell of the activations: before it is
            resized, a map sums to score - h(0) - residual part, to the contributions' gap.
        """
        head = self._gated_head()
        bank = self.craft.factorized.bank
        parts = []
        for coded in self._coded(inputs, targets, "class maps"):
            u = to_grid(coded.u.numpy(), coded.size)
            phi = contributions(coded, bank, head).phi
            parts.append(resize_maps(class_maps(u, phi), coded.size))
        return tf.concat(parts, axis=0)

    def explain_concepts(self, inputs: Any, concepts: Any = None) -> np.ndarray:
        """
        Where each concept is: its coefficients at the resolution of the image.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels), as in `explain`.
        concepts
            Indices of some concepts; None for all.

        Returns
        -------
        maps
            (n, H, W, k) float32; 1 is the largest coefficient of the concept among the images that
            the bank was fitted on, so an absent concept is dark.

        Raises
        ------
        ValueError
            If there is no such concept.
        """
        scale = self.craft.coefficient_scale
        chosen = np.arange(len(scale)) if concepts is None else np.atleast_1d(concepts)
        if (
            chosen.size == 0
            or chosen.dtype.kind not in "iu"
            or chosen.min() < 0
            or chosen.max() >= len(scale)
        ):
            raise ValueError(
                f"concepts must be indices in [0, {len(scale)}), received {concepts!r}."
            )
        parts = []
        for coded in self._coded(inputs, None, "concept maps"):
            u = coded.u.numpy()[..., chosen]
            parts.append(activation_maps(u, scale[chosen], coded.size))
        return np.concatenate(parts)
