"""
A craft's crops, and its model at earlier layers: what all nodes below one craft read.

What takes long is kept with the concepts of the fit, so that the next node finds it there: what
depends on the images alone (cuts of the model, activations of crops) for good, what depends on
settings of the craft under these, which may change from one node to the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from .._once import alone
from ..concept_model import ConceptModel
from ..factorization import Factorizer
from ..importance.contributions import contributions_of
from ..results import Contributions
from ..sampling.lazy_crops import Crops
from ..sampling.rows import crop_latents
from ..sampling.stream import Stream
from ..splitting import Split, split_model
from ..splitting.tokens import number_of_special_tokens
from .mixedness import measure_mixedness


class SharedCrops:
    """
    The crops that a craft was fitted on, their activations at the layers where they were asked for,
    and its model cut at these layers.

    Parameters
    ----------
    craft
        The craft as it is now, a `variant` of it that stays as it is: the craft itself may be
        given other settings, or be fitted again, which makes other crops.

    Attributes
    ----------
    inputs
        The images of `fit`.
    boxes
        (m, 5): image, top, left, height, width of each crop.
    crops_u
        (m, k): coefficients of the craft's own concepts in them.
    """

    def __init__(self, craft: ConceptModel) -> None:
        fitted = craft.concepts
        if fitted.crops is None or fitted.crops_u is None:
            raise ValueError(
                "The images and crops of `fit` are needed to take a concept apart, and this Craft "
                "has none: call fit(inputs, class_id) again."
            )
        self.craft = craft
        self.inputs = craft.inputs_of_fit
        self.boxes: np.ndarray = fitted.crops.boxes
        self.crops_u: np.ndarray = fitted.crops_u
        self._channels: int = fitted.crops.shape[-1]

    def stream(self, inputs: Any = None) -> Stream:
        """Images in batches, those of `fit` unless others are given."""
        return self.craft.stream(self.inputs if inputs is None else inputs)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, channels) of the images of `fit`."""
        return self.craft.concepts.once(
            "image_shape", lambda: tuple(next(iter(self.stream())).images.shape[1:])
        )

    def crops(self, chosen: np.ndarray) -> Crops:
        """Some of the craft's crops, by their numbers."""
        return Crops(self.boxes[chosen], self.stream().images, self._channels)

    def split(self, layer: str) -> Split:
        """The craft's model, cut at a layer; made once."""
        model = self.craft.model
        return self.craft.concepts.once(("model", layer), lambda: split_model(model, layer))

    def special_tokens(self, layer: str) -> int:
        """
        How many of a layer's first tokens belong to no place.

        As many as the craft's own layer has, where that has as many tokens; else by the rule.
        """
        shape = self.split(layer).network.latent_shape(self.image_shape)
        if shape == self.craft.network.latent_shape(self.image_shape):
            return len(self.craft.special)
        return number_of_special_tokens(shape, self.image_shape)

    def contributions(self, inputs: Any) -> Contributions:
        """
        Those of the craft's own concepts; kept for the last inputs that were asked for, under each
        of the settings that they depend on.
        """
        known = self._contributions.get(self._settings)
        if known is None or known[0] is not inputs:
            known = inputs, contributions_of(self.craft, inputs)
            self.keep_contributions(*known)
        return known[1]

    def keep_contributions(self, inputs: Any, found: Contributions) -> None:
        """Keep those that were computed before."""
        self._contributions[self._settings] = (inputs, found)

    @property
    def _contributions(self) -> dict[Any, tuple[Any, Contributions]]:
        """Settings -> inputs and their contributions."""
        return self.craft.concepts.once("contributions", dict)

    @property
    def _settings(self) -> tuple[Any, ...]:
        """What contributions depend on besides the concepts."""
        craft = self.craft
        return craft.keep_residual, craft.keeps_special_tokens, craft.baseline, craft.batch_size

    def rows(self, layer: str, chosen: np.ndarray, factorizer: Factorizer) -> np.ndarray:
        """
        Pooled activations of the chosen crops at a layer; what was computed once is kept.

        They are (j, c) float32, means over positions of g of each crop, resized to the image's
        size. The factorizer refuses those that it cannot take.
        """
        values, lowest = self._rows(layer)
        with alone(id(values)):
            wanted = np.isin(np.arange(len(values)), chosen) & np.isnan(lowest)
            self._fill(layer, wanted, values, lowest)
        factorizer.check(np.minimum(lowest[chosen], values[chosen].mean(axis=1)))
        return values[chosen]

    def _fill(self, layer: str, wanted: np.ndarray, values: np.ndarray, lowest: np.ndarray) -> None:
        """Compute rows (m, c) of the crops that are wanted (m,), and their lowest values (m,)."""
        network = self.split(layer).network
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
                    pooled, minima = crop_latents(
                        network,
                        tf.convert_to_tensor(images),
                        place,
                        special_tokens=self.special_tokens(layer),
                    )
                    values[some] = pooled.numpy()
                    lowest[some] = minima.numpy().min(axis=1)

    def _rows(self, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows (m, c) to be filled, and the lowest activations of crops, NaN until known, (m,)."""

        def unknown() -> tuple[np.ndarray, np.ndarray]:
            number, channels = len(self.boxes), self.split(layer).network.channels
            values = np.zeros((number, channels), np.float32)
            return values, np.full(number, np.nan, np.float32)

        return self.craft.concepts.once(("rows", layer), unknown)

    def every_row(self, layer: str, factorizer: Factorizer) -> tuple[np.ndarray, np.ndarray]:
        """Rows of all crops at a layer, (m, c), and their lowest activations, (m,)."""
        self.rows(layer, np.arange(len(self.boxes)), factorizer)
        return self._rows(layer)

    def keep_rows(self, layer: str, found: tuple[np.ndarray, np.ndarray]) -> None:
        """Keep what `every_row` gave before."""
        self.craft.concepts.keep(("rows", layer), found)

    def mixedness(self, layer: str, chosen: np.ndarray, factorizer: Factorizer, k: int) -> float:
        """Whether chosen crops show one thing or up to k, as a layer sees them: see `mixedness`."""
        seed = self.craft.seed
        every = self.rows(layer, np.arange(len(self.boxes)), factorizer)
        spread = self.craft.concepts.once(
            ("spread", layer, repr(factorizer), seed),
            lambda: factorizer.fit(every, 1, seed).relative_error ** 2,
        )
        return measure_mixedness(
            every[chosen],
            self.boxes[chosen, 0],
            factorizer,
            k,
            spread=spread,
            seed=seed,
        )
