"""
What all concept explainers share: Xplique's interface, and running through `self.model`.

`explainer.model` is the flat graph from images to logits. Xplique's ModelRandomizationMetric
replaces it by a clone with other weights; the explainer then cuts that clone at the same layer, so
that what it explains is always the model that it holds. The bank is no weight of any model.
"""

from __future__ import annotations

from . import _backend as _backend

# isort: split
from collections.abc import Callable, Iterator
from typing import Any

from xplique.attributions.base import BlackBoxExplainer
from xplique.commons import get_inference_function

from ._checks import check
from ._once import alone
from .concept_model import ConceptModel, check_craft
from .gates import Coded, GatedHead
from .gates.compiled import known_operator
from .splitting import Split, split_model


class ConceptExplainer(BlackBoxExplainer):
    """
    Base of the explainers that read a fitted `Craft`.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    batch_size
        How many images, or images times gates, are evaluated at once.
    operator
        Xplique's operator (model, inputs, targets) -> (n,), a Tasks or its string; it is called
        with the head h as the model and gated activations as inputs. None: sum(logits * targets).
    keep_residual
        Whether f_x keeps what the concepts do not explain; None takes the craft's own setting.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the craft is not fitted.
    """

    def __init__(
        self,
        craft: ConceptModel,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        keep_residual: bool | None = None,
    ) -> None:
        craft = check_craft(craft)
        if keep_residual is None:
            keep_residual = craft.keep_residual
        known = known_operator(operator)
        # A Keras model would be kept by Xplique for ever, so it is shown none.
        super().__init__(_no_model, check("batch_size", batch_size), known)
        self.model = craft.model
        self.inference_function, self.batch_inference_function = get_inference_function(
            self.model, known
        )
        self.craft = craft
        self.operator = operator
        self.keep_residual: bool | None = check("keep_residual", keep_residual)
        self._replaced: tuple[Any, Split] | None = None
        if known is not None:
            self._head().check()

    @property
    def concept_model(self) -> ConceptModel:
        """The craft's concepts on `self.model`, which others may have replaced."""
        split = self.craft.split
        if self.model is not split.model:
            with alone(id(self), "replaced"):
                if self._replaced is None or self._replaced[0] is not self.model:
                    self._replaced = (self.model, split_model(self.model, self.craft.layer))
                split = self._replaced[1]
        return self.craft.variant(
            split=split, batch_size=self.batch_size, keep_residual=self.keep_residual
        )

    def _head(self) -> GatedHead:
        """The score of gated concepts, of which nothing was evaluated yet."""
        return self.concept_model.head(self.operator)

    def _batches(
        self, inputs: Any, targets: Any, description: str, *, use_labels: bool = True
    ) -> Iterator[Coded]:
        """The inputs, or a stream of them, in terms of concepts."""
        return self.concept_model.batches(
            inputs, targets, use_labels=use_labels, description=description
        )


def _no_model(inputs: Any) -> Any:
    raise NotImplementedError("An explainer's model is given to it after Xplique has made it.")
