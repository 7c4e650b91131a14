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
from typing import Any

import numpy as np
import tensorflow as tf

from ..concept_model import ConceptModel
from ..factorization import Factorizer
from ..importance.contributions import contributions_of
from ..keras_models import KerasModels
from ..results import Contributions
from ..sampling.crops import Crops
from ..sampling.rows import crop_latents
from ..sampling.stream import Stream
from ..splitting.split import Split, split_model
from .mixedness import measure_mixedness

__all__ = ["Ground", "Level"]


# ------------------------------------------------------------------------------ what nodes share
class Ground:
    """
    What all nodes below one craft share: its crops, the cuts of its model, the crops' activations.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    """

    def __init__(self, craft: ConceptModel) -> None:
        fitted = craft.concepts
        if fitted.crops is None or fitted.crops_u is None or fitted.inputs is None:
            raise ValueError(
                "The images and crops of `fit` are needed to take a concept apart, and this Craft "
                "has none: call fit(inputs, class_id) again."
            )
        self.craft = craft
        self.concepts = fitted
        self.inputs = fitted.inputs
        self.boxes: np.ndarray = fitted.crops.boxes
        self.channels: int = fitted.crops.shape[-1]
        crops_u = fitted.crops_u
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
            self._last = (inputs, contributions_of(self.craft, inputs))
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
            self._cuts[layer] = split_model(KerasModels.of(self.bank).encoder, layer)
        return self._cuts[layer]
