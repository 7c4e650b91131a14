"""
What recursion stands on: banks taken as given, and a craft's crops at earlier layers.

A level is a bank at one layer. Its encoder, images -> concept scores (n, k), is a differentiable
Keras model like any other: cut at an earlier layer l' it becomes g', images -> A', and a head whose
"class" i is the coefficient u_i of concept i. All that the package can ask of a class can so be
asked of a concept.

A crop stands for concept i of a level by u_i, times how much of the concept's own parents there is
in the crop, each in [0, 1]: a child counts within its parent's place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ..concept_model import ConceptModel, Concepts
from ..factorization import Factorized, Factorizer
from ..gates.coded import Coded
from ..gates.contributions import concatenate_contributions, contributions
from ..gates.head import GatedHead
from ..keras_models import KerasModels
from ..results import Contributions
from ..sampling.crops import Crops
from ..sampling.rows import Extent, crop_latents
from ..sampling.stream import Stream
from ..splitting.split import Split, split_model
from .mixedness import measure_mixedness

if TYPE_CHECKING:
    from ..craft import Craft

__all__ = ["GivenBank", "Ground", "Level"]


# ----------------------------------------------------------------------------- banks as given
class GivenBank(ConceptModel):
    """
    A split model with a bank that was found elsewhere.

    Parameters
    ----------
    split
        The model and where it is cut.
    factorized
        The bank.
    class_id
        Output of the model that is explained.
    extent
        See `Concepts`.
    like
        The model whose settings it takes over. The residual is always kept: what is explained is
        the score itself.
    inputs
        The images that the concepts were found in.
    completeness
        Largest gap of an image's contributions, as a share of what they divide. What leads from an
        early layer to a later one bends often: 1e-2 takes a tenth of the time of 1e-3.
    """

    def __init__(
        self,
        split: Split,
        factorized: Factorized,
        class_id: int,
        extent: Extent,
        like: ConceptModel,
        inputs: Any,
        completeness: float,
    ) -> None:
        super().__init__(
            split,
            len(factorized.bank),
            like.batch_size,
            keep_residual=True,
            baseline=like.baseline,
            seed=like.seed,
            verbose=like.verbose,
        )
        self.completeness = completeness
        models = KerasModels(split, factorized)
        self._concepts = Concepts(factorized, class_id, inputs, extent, models)

    def fit(self, inputs: Any, class_id: int = 0) -> Any:
        """
        Refused: the bank is given.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            "The children of a concept are found by decompose(concept_id, ...), not by fit: their "
            "bank is given."
        )

    def contributions(self, inputs: Any, targets: Any = None) -> Contributions:
        """As `Craft.contributions`, to this bank's completeness."""

        def batch_contributions(coded: Coded, bank: np.ndarray, head: GatedHead) -> Contributions:
            return contributions(coded, bank, head, self.completeness)

        return concatenate_contributions(self._over_images(batch_contributions, inputs, targets))


# ------------------------------------------------------------------------------ what nodes share
class Ground:
    """
    What all nodes below one craft share: its crops, the cuts of its model, the crops' activations.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    """

    def __init__(self, craft: Craft) -> None:
        fitted = craft.concepts
        if craft.factorization is None or fitted.inputs is None:
            raise ValueError(
                "The images and crops of `fit` are needed to take a concept apart, and this Craft "
                "has none: call fit(inputs, class_id) again."
            )
        self.craft = craft
        self.concepts = fitted
        self.inputs = fitted.inputs
        self.boxes: np.ndarray = craft.factorization.crops.boxes
        self.channels: int = craft.factorization.crops.shape[-1]
        crops_u = craft.factorization.crops_u
        self.root = Level(craft, lambda: crops_u)
        self._splits: dict[str, Split] = {}
        self._rows: dict[str, _Rows] = {}
        self._spreads: dict[tuple[str, str], float] = {}
        self._last: tuple[Any, Contributions] | None = None

    def stream(self, inputs: Any = None) -> Stream:
        """Images in batches, those of `fit` unless others are given."""
        inputs = self.inputs if inputs is None else inputs
        return Stream(inputs, self.craft.network.input_shape, self.craft.batch_size)

    @cached_property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, channels) of the images of `fit`."""
        return tuple(next(iter(self.stream())).images.shape[1:])

    def crops(self, chosen: np.ndarray) -> Crops:
        """Some of the craft's crops, by their numbers."""
        return Crops(self.boxes[chosen], self.stream().images, self.channels)

    def split(self, layer: str) -> Split:
        """The craft's model, cut at a layer; made once."""
        if layer not in self._splits:
            self._splits[layer] = split_model(self.craft.model, layer)
        return self._splits[layer]

    def contributions(self, inputs: Any) -> Contributions:
        """Of the craft's own concepts; kept for the last inputs that were asked for."""
        if self._last is None or self._last[0] is not inputs:
            self._last = (inputs, self.craft.contributions(inputs))
        return self._last[1]

    def rows(self, layer: str, chosen: np.ndarray, factorizer: Factorizer) -> np.ndarray:
        """
        Pooled activations of some crops at a layer; what was computed once is kept.

        Parameters
        ----------
        layer
            Its name.
        chosen
            (m,): numbers of crops.
        factorizer
            What checks that it can take the activations.

        Returns
        -------
        rows
            (m, c) float32: mean over positions of g of each crop, resized to the image's size.
        """
        network = self.split(layer).network
        if layer not in self._rows:
            self._rows[layer] = _Rows(len(self.boxes), network.channels)
        kept = self._rows[layer]
        wanted = np.zeros(len(self.boxes), bool)
        wanted[chosen] = True
        wanted &= ~kept.known
        if wanted.any():
            for batch in self.stream().progress(f"crops at {layer}", self.craft.verbose):
                inside = (self.boxes[:, 0] >= batch.start) & (
                    self.boxes[:, 0] < batch.start + len(batch.images)
                )
                numbers = np.flatnonzero(wanted & inside)
                places, which = np.unique(self.boxes[numbers, 1:], axis=0, return_inverse=True)
                for i, place in enumerate(places):
                    some = numbers[which.reshape(-1) == i]
                    images = batch.images[self.boxes[some, 0] - batch.start]
                    pooled, lowest = crop_latents(network, tf.convert_to_tensor(images), place)
                    kept.values[some] = pooled.numpy()
                    kept.lowest[some] = lowest.numpy().min(axis=1)
            kept.known |= wanted
        factorizer.check(np.minimum(kept.lowest[chosen], kept.values[chosen].mean(axis=1)))
        return kept.values[chosen]

    def mixedness(self, layer: str, chosen: np.ndarray, factorizer: Factorizer, k: int) -> float:
        """
        Whether some crops are of one thing or of several, at a layer: see `measure_mixedness`.

        Parameters
        ----------
        layer, chosen, factorizer
            As in `rows`.
        k
            Number of descriptions.
        """
        seed = self.craft.seed
        every = self.rows(layer, np.arange(len(self.boxes)), factorizer)
        key = (layer, factorizer.name)
        if key not in self._spreads:
            self._spreads[key] = factorizer.fit(every, 1, seed).relative_error ** 2
        photographs, spread = self.boxes[chosen, 0], self._spreads[key]
        return measure_mixedness(every[chosen], photographs, factorizer, k, spread, seed)


class _Rows:
    """Pooled activations (m, c) of crops at one layer, their minima, and which are known."""

    def __init__(self, number: int, channels: int) -> None:
        self.values = np.zeros((number, channels), np.float32)
        self.lowest = np.zeros(number, np.float32)
        self.known = np.zeros(number, bool)


class Level:
    """
    A bank at one layer, as taking one of its concepts apart needs it.

    Parameters
    ----------
    bank
        The bank on the craft's model.
    coefficients
        Makes (m, k): how much each of the craft's crops stands for each concept.
    """

    def __init__(self, bank: ConceptModel, coefficients: Callable[[], np.ndarray]) -> None:
        self.bank = bank
        self._make = coefficients
        self._cuts: dict[str, Split] = {}

    @cached_property
    def coefficients(self) -> np.ndarray:
        """(m, k): how much each of the craft's crops stands for each concept."""
        return self._make()

    def presence(self, concept: int) -> np.ndarray:
        """(m,) in [0, 1]: the same for one concept, 1 being the crop with the most of it."""
        u = np.maximum(self.coefficients[:, concept], 0.0)
        largest = u.max(initial=0.0)
        return u / largest if largest > 0.0 else u

    def cut(self, layer: str) -> Split:
        """The encoder, images -> concept scores, cut at an earlier layer; made once."""
        if layer not in self._cuts:
            self._cuts[layer] = split_model(self.bank.encoder, layer)
        return self._cuts[layer]
