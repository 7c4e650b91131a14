"""What Xplique's CraftTf keeps after `fit` and `estimate_importance`, under the same names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .concept_model import Concepts
from .factorization.base import Factorized
from .sampling.lazy_crops import Crops


class MovedPlot:
    """A method of CraftTf that draws: asked for, it gives the full name of what does it here."""

    def __init__(self, function: str) -> None:
        self._function = function

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        raise AttributeError(
            f"A Craft does not draw, so it has no {self._name}: use {self._function}, or "
            "xplique_craft.report.write_report for a page with everything."
        )


@dataclass(frozen=True)
class Factorization:
    """
    What `fit` made.

    Parameters
    ----------
    inputs
        The images that were given.
    class_id
        The class that they are explained for.
    crops
        Lazy sequence of the crops.
    reducer
        The bank with its encoding and decoding.
    crops_u
        (number of crops, k): coefficients of the crops' pooled activations.
    concept_bank_w
        W, (k, c).
    coeffs_u
        None; coefficients of images come from `transform`.
    """

    inputs: Any
    class_id: int
    crops: Crops
    reducer: Factorized
    crops_u: np.ndarray
    concept_bank_w: np.ndarray
    coeffs_u: np.ndarray | None = None

    @classmethod
    def of(cls, concepts: Concepts) -> Factorization:
        """What a fit left behind, under CraftTf's names; the same object until the next fit."""
        if concepts.crops is None or concepts.crops_u is None:
            raise ValueError("concepts must have been found by fit, not given.")
        found = cls(
            inputs=concepts.inputs,
            class_id=concepts.class_id,
            crops=concepts.crops,
            reducer=concepts.factorized,
            crops_u=concepts.crops_u,
            concept_bank_w=concepts.factorized.components_,
        )
        return concepts.once(cls, lambda: found)


@dataclass(frozen=True)
class Sensitivity:
    """
    Importances of the concepts for the images given to `fit`.

    Parameters
    ----------
    importances
        (k,): Sobol total indices.
    most_important_concepts
        (k,): concepts by decreasing importance.
    """

    importances: np.ndarray
    most_important_concepts: np.ndarray

    @property
    def cmaps(self) -> list[Any]:
        """One matplotlib colour map for each concept, by decreasing importance, as CraftTf's."""
        from .plots import concept_style  # figures are loaded only where they are asked for

        return [concept_style(rank).cmap for rank in range(len(self.importances))]
