"""
Maps of one method: its explainer made of a model, its draws seeded, its maps checked.

A method of Xplique that draws has the same draws for every image, so that what differs between two
maps is the image or the model, never a place in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from .._forgetting import make_unnoticed
from .._random import Draw, generator
from .._seeding import explain_seeded
from .methods import Method


@dataclass(frozen=True)
class MethodExplainer:
    """
    A method at work on one model.

    Parameters
    ----------
    method
        Which method it is.
    explainer
        What the method made of the model; None of the floor, which needs none.
    seed
        All random draws follow from it; Xplique's methods draw the same for every image.
    """

    method: Method
    explainer: Any
    seed: int

    def explain(
        self, images: np.ndarray, targets: np.ndarray, of: str = "the images"
    ) -> np.ndarray:
        """
        Maps of images.

        Parameters
        ----------
        images, targets
            (n, H, W, channels), and (n, classes).
        of
            What the images are, for messages.

        Returns
        -------
        maps
            (n, H, W) float32.

        Raises
        ------
        ValueError
            If maps have another size, or are not finite.
        """
        if self.method.is_floor:
            return generator(self.seed, Draw.RANDOM_MAP).random(images.shape[:3], np.float32)
        maps = explain_seeded(self.seed, self.explainer, self.explainer.explain, images, targets)
        if maps.ndim == 4:
            maps = maps.mean(axis=-1)
        if maps.shape != images.shape[:3]:
            raise ValueError(
                f"its maps of {of} must have their size, {images.shape[:3]}, received {maps.shape}"
            )
        if not np.isfinite(maps).all():
            raise ValueError(f"its maps of {of} are not finite")
        return maps


def make_explainer(method: Method, model: keras.Model, seed: int) -> MethodExplainer:
    """Put a method to work on a model; what keeps its explainer from being made is raised."""
    try:
        explainer = None
        if method.make is not None:
            explainer = make_unnoticed(partial(method.make, model), model)
    except StopIteration as error:
        raise ValueError(
            "it looks for a layer with filters, a convolution, and the model has none"
        ) from error
    return MethodExplainer(method, explainer, seed)
