"""
What all concept explainers share: Xplique's interface, and running through `self.model`.

`explainer.model` is the flat graph from images to logits. Xplique's ModelRandomizationMetric
replaces it by a clone with other weights; the explainer then cuts that clone at the same layer, so
that what it explains is always the model that it holds. The bank is no weight of any model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from xplique.attributions.base import BlackBoxExplainer

from ._checks import check_int
from .gates.coded import Coded
from .gates.coding import coded_batches
from .gates.head import GatedHead, known_operator
from .sampling.stream import Stream
from .splitting.network import Network
from .splitting.split import split_model

if TYPE_CHECKING:
    from .craft import Craft

__all__ = ["ConceptExplainer"]


class ConceptExplainer(BlackBoxExplainer):
    """
    Base of the explainers that read a fitted `Craft`.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    batch_size
        Images, or images times gates, evaluated at once.
    operator
        Xplique's operator (model, inputs, targets) -> (n,), a Tasks or its string; it is called
        with the head h as the model and gated activations as inputs. None: sum(logits * targets).
    keep_residual
        Whether f_x keeps what the concepts do not explain; None for the craft's own setting.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the craft is not fitted.
    """

    def __init__(
        self,
        craft: Craft,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        keep_residual: bool | None = None,
    ) -> None:
        if not hasattr(craft, "check_if_fitted"):
            raise TypeError(
                f"craft must be a fitted Craft, received {craft!r} of type {type(craft).__name__}."
            )
        craft.check_if_fitted()
        if not (keep_residual is None or isinstance(keep_residual, (bool, np.bool_))):
            raise TypeError(
                f"keep_residual must be True, False or None, received {keep_residual!r}."
            )
        known = known_operator(operator)
        super().__init__(craft.model, check_int("batch_size", batch_size), known)
        # The cache of Xplique may hold another model of the same tensors; ours is this one.
        self.model = craft.model
        self.craft = craft
        self.operator = operator
        self.keep_residual = craft.keep_residual if keep_residual is None else keep_residual
        self._replaced: tuple[Any, Network] | None = None

    def _network(self) -> Network:
        """The network of `self.model`, which others may have replaced."""
        if self.model is self.craft.model:
            return self.craft.network
        if self._replaced is None or self._replaced[0] is not self.model:
            self._replaced = (self.model, split_model(self.model, self.craft.layer).network)
        return self._replaced[1]

    def _gated_head(self) -> GatedHead:
        """A gated head of `self.model`, that has counted nothing; its functions are shared."""
        return GatedHead(self._network(), self.operator, self.batch_size)

    def _stream(self, inputs: Any) -> Stream:
        """The inputs, batch by batch."""
        return Stream(inputs, self._network().input_shape, self.batch_size)

    def _coded(
        self, inputs: Any, targets: Any, description: str, *, use_labels: bool = True
    ) -> Iterator[Coded]:
        """The inputs, or a stream of them, in terms of concepts, batch by batch."""
        return coded_batches(
            inputs if isinstance(inputs, Stream) else self._stream(inputs),
            self._network(),
            self.craft.factorized,
            self.craft.reference,
            targets=targets,
            class_id=self.craft.class_id,
            keep_residual=self.keep_residual,
            use_labels=use_labels,
            description=description,
            verbose=self.craft.verbose,
        )
