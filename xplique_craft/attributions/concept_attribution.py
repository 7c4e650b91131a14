"""
Concept attribution as a Xplique explainer: where each concept is, and why this class.

Two questions, and either is asked of a concept's *activation* (that it is there) or of its
*relevance* (what it does for the score there), which are not the same:

    explain_concepts    activation    u_j(p), or an explainer's map of x -> mean_p u_j(p)
                        relevance     v_j(p) df/du_j(p), or its map of x -> sum_p v_j(p) df/du_j(p)
    explain             activation    sum_j phi_j s_j(p), s_j being the map of concept j as shares
                        relevance     sum_j v_j(p) df/du_j(p), or an explainer's map of that sum

An explainer reaches the pixels through the encoder, by its implicit gradient or by perturbing the
image (Fel et al., CRAFT, section 3.3).

A class map M has the resolution of the layer, or of the perturbations; a Gaussian smooths it
(`smoothing`). With `detail` d it becomes M + d (std M / std P) (P - mean P), where P are the pixels
that stand out, max(F, 0)^1.5: F are integrated gradients, pixel by pixel, of the concepts' part of
the score, x -> sum_j (phi_j / mean u_j) u_j(x). What the map sums to stays the same by both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from xplique.attributions import IntegratedGradients
from xplique.attributions.base import BlackBoxExplainer

from .._checks import check_non_negative_number
from ..contributions import contributions
from ..explainer import ConceptExplainer
from ..gates import Coded
from ..maps import (
    activation_maps,
    class_maps,
    explained_shares,
    resize_maps,
    resize_sums,
    to_grid,
)
from ..splitting import split_model
from ..streams import Stream
from .explained import ConceptMaps, check_explainer

if TYPE_CHECKING:
    from ..craft import Craft

__all__ = ["ConceptAttribution"]

OUTPUTS = ("activation", "relevance")
DETAIL_STEPS = 16  # of the integrated gradients of `detail`
DETAIL_POWER = 1.5  # of their positive part: few pixels stand out
TINY = float(np.finfo(np.float32).tiny)


class ConceptAttribution(ConceptExplainer):
    """
    Class maps and concept maps, by the concepts' own activations or by any explainer of Xplique.

    It slots beside Xplique's attribution methods: `explain(inputs, targets)` gives (n, H, W, 1),
    and everything runs through `self.model`.

    Parameters
    ----------
    craft
        A fitted `Craft`, cut at a layer whose activations have places: (n, h, w, c), or tokens
        that make a grid (see `maps.grid_of`).
    explainer
        None for the concepts' own maps, which cost next to nothing; a class of
        `xplique.attributions`; or a function that makes an explainer of a Keras model, whose
        outputs are the concepts. Occlusion, Rise, SobolAttributionMethod and HsicAttributionMethod
        perturb each image once for all concepts, every other explainer runs once a concept (see
        `runs_once_a_concept`). GradCAM and GradCAMPP weigh a channel the same everywhere, so
        concepts whose directions overlap show in each other's maps.
    explainer_args
        Arguments of the class but for its model, as {"patch_size": 32}.
    batch_size
        Images, or perturbed images, at a time.
    operator
        Xplique's operator, which makes the score of the class; None for the sum of logits times
        targets.
    output
        "activation", where the concept is; "relevance", where it acts on the score.
    smoothing
        Standard deviation, in pixels, of the Gaussian that smooths class maps, 0 for none; None for
        3/4 of a cell of the activations, and for none where an explainer makes the map.
    detail
        How strongly the pixels that matter most by their own gradients stand out of class maps,
        in standard deviations of the map, 0 for not at all; at the cost of 16 gradients an image.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the craft is not fitted.
    TypeError, ValueError
        If the explainer is none, cannot explain concepts or has no such argument.
    """

    def __init__(
        self,
        craft: Craft,
        explainer: type[BlackBoxExplainer] | Callable[[keras.Model], Any] | None = None,
        explainer_args: dict[str, Any] | None = None,
        *,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        output: str = "activation",
        smoothing: float | None = None,
        detail: float = 0.0,
    ) -> None:
        super().__init__(craft, batch_size, operator)
        if smoothing is not None:
            smoothing = check_non_negative_number("smoothing", smoothing, finite=True)
        self.smoothing = smoothing
        self.detail = check_non_negative_number("detail", detail, finite=True)
        if output not in OUTPUTS:
            raise ValueError(f"output must be 'activation' or 'relevance', received {output!r}.")
        self.output = output
        self.explainer = explainer
        self.explainer_args = dict(explainer_args or {})
        self._explained: list[tuple[keras.Model, bool, ConceptMaps]] = []
        check_explainer(explainer, explainer_args)
        # What does not fit is said now.
        if explainer is not None and output == "activation":
            self._of_model().check()
        if self.detail > 0.0:
            self._of_model(fine=True).check()

    @property
    def runs_once_a_concept(self) -> bool:
        """Whether k maps cost k times one: the explainer shares nothing between concepts."""
        if self.explainer is None:
            return False
        return not self._of_model().shared

    def explain(self, inputs: Any, targets: Any = None) -> tf.Tensor:
        """
        The class map: each concept's part in the score laid out where the concept is.

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
            (n, H, W, 1), signed, in units of the score a cell of the activations, h x w of them:
            the mean of a map times h w is score - h(0) - residual part, to the contributions' gap
            (of relevance: to first order, exactly where the head is affine). What an explainer of
            relevance leaves of that is laid out evenly.
        """
        return tf.concat(
            [self._class_map(coded, images) for coded, images in self._batches(inputs, targets)],
            axis=0,
        )

    def explain_concepts(
        self, inputs: Any, concepts: Any = None, targets: Any = None
    ) -> np.ndarray:
        """
        Where each concept is, or acts, at the resolution of the image.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels), as in `explain`.
        concepts
            Indices of some concepts; None for all.
        targets
            As in `explain`: of the score that relevance is relevance for. Activation asks of none.

        Returns
        -------
        maps
            (n, H, W, k) float32, one scale for a concept over all images. Activation: 1 is the
            largest coefficient of the concept among the images that the bank was fitted on, so an
            absent concept is dark. Relevance: units of the score a cell. Of an explainer: its own
            units, of the mean coefficient or of the score; several channels are averaged.

        Raises
        ------
        ValueError
            If there is no such concept.
        """
        number = len(self.craft.factorized.bank)
        chosen = np.arange(number) if concepts is None else np.atleast_1d(concepts)
        if (
            chosen.size == 0
            or chosen.dtype.kind not in "iu"
            or chosen.min() < 0
            or chosen.max() >= number
        ):
            raise ValueError(f"concepts must be indices in [0, {number}), received {concepts!r}.")
        return np.concatenate(
            [
                self._concept_maps(coded, images, chosen)
                for coded, images in self._batches(inputs, targets)
            ]
        )

    # ---------------------------------------------------------------------- maps
    def _batches(self, inputs: Any, targets: Any) -> Iterator[tuple[Coded, np.ndarray]]:
        """The inputs in terms of concepts, with the images themselves, batch by batch."""
        stream = Stream(inputs, self._network().input_shape, self.batch_size)
        description = "maps" if self.explainer is None else f"maps by {_name(self.explainer)}"
        for coded, batch in zip(self._coded(inputs, targets, description), stream, strict=True):
            yield coded, batch.images

    def _class_map(self, coded: Coded, images: np.ndarray) -> np.ndarray:
        """(n, H, W, 1)."""
        u = to_grid(coded.u.numpy(), coded.size)
        if self.output == "relevance":
            whole, of_concepts = self._by_relevance(coded, images)
        else:
            whole, of_concepts = self._by_contribution(coded, images, u)
        return self._detailed(whole, u, of_concepts, images) if self.detail > 0.0 else whole

    def _by_contribution(
        self, coded: Coded, images: np.ndarray, u: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Contributions laid out where concepts are, (n, H, W, 1); and phi, (n, k)."""
        phi = contributions(coded, self.craft.factorized.bank, self._gated_head()).phi
        if self.explainer is None:
            return resize_sums(class_maps(u, phi), coded.size, self.smoothing), phi
        shares = explained_shares(self._by_explainer(coded, images, None))
        places_a_cell = shares[0, ..., 0].size / u[0, ..., 0].size
        whole = np.einsum("nhwk,nk->nhw", shares, phi)[..., None] * places_a_cell
        return resize_sums(whole, coded.size, self.smoothing or 0.0), phi

    def _by_relevance(self, coded: Coded, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where concepts act on the score, (n, H, W, 1); and by how much each does, (n, k)."""
        parts = to_grid(self._relevance(coded), coded.size)
        of_concepts = parts.sum(axis=(1, 2), dtype=np.float64)
        if self.explainer is None:
            whole = parts.sum(axis=-1, keepdims=True)
            return resize_sums(whole, coded.size, self.smoothing), of_concepts
        found = np.empty((*images.shape[:3], 1), np.float32)
        for weights, rows in _distinct(coded.targets):
            ones = np.ones_like(of_concepts[rows])
            found[rows] = self._of_model().whole(weights, images[rows], ones)
        cells = parts.shape[1] * parts.shape[2]
        left = of_concepts.sum(axis=1) / cells - found.mean(axis=(1, 2, 3))
        found += left[:, None, None, None].astype(np.float32)
        return resize_sums(found, coded.size, self.smoothing or 0.0), of_concepts

    def _detailed(
        self, whole: np.ndarray, u: np.ndarray, of_concepts: np.ndarray, images: np.ndarray
    ) -> np.ndarray:
        """A class map that the strongest pixels stand out of, (n, H, W, 1)."""
        mean = u.mean(axis=(1, 2), dtype=np.float64)
        weights = np.divide(of_concepts, mean, out=np.zeros_like(mean), where=mean != 0.0)
        fine = self._of_model(fine=True).whole(None, images, weights)
        peak = np.maximum(fine.max(axis=(1, 2), keepdims=True), TINY)
        fine = np.maximum(fine / peak, 0.0) ** DETAIL_POWER
        fine -= fine.mean(axis=(1, 2), keepdims=True)
        spread = fine.std(axis=(1, 2), keepdims=True)
        scale = self.detail * whole.std(axis=(1, 2), keepdims=True)
        return whole + fine * np.divide(scale, spread, out=np.zeros_like(scale), where=spread > 0.0)

    def _concept_maps(self, coded: Coded, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(n, H, W, chosen)."""
        to_grid(coded.u.numpy(), coded.size)
        if self.explainer is not None:
            return self._by_explainer(coded, images, chosen)
        if self.output == "relevance":
            found = self._relevance(coded)[..., chosen]
            return resize_maps(to_grid(found, coded.size), coded.size)
        scale = self.craft.coefficient_scale[chosen]
        return activation_maps(coded.u.numpy()[..., chosen], scale, coded.size)

    def _relevance(self, coded: Coded) -> np.ndarray:
        bank = self.craft.factorized.bank
        gradient = self._gated_head().gradients(coded, bank, np.ones(1), np.ones(1))
        return (coded.gated * gradient).numpy()

    def _by_explainer(
        self, coded: Coded, images: np.ndarray, chosen: np.ndarray | None
    ) -> np.ndarray:
        """(n, H, W, chosen): relevance is explained for each distinct target by itself."""
        chosen = np.arange(len(self.craft.factorized.bank)) if chosen is None else chosen
        model = self._of_model()
        if self.output == "activation":
            return model.maps(None, images, chosen)
        found = np.empty((*images.shape[:3], len(chosen)), np.float32)
        for weights, rows in _distinct(coded.targets):
            found[rows] = model.maps(weights, images[rows], chosen)
        return found

    def _of_model(self, *, fine: bool = False) -> ConceptMaps:
        """
        The explainers of `self.model`, or those of its details; those of the craft's own model are
        kept beside them.
        """
        for model, of_details, found in self._explained:
            if model is self.model and of_details == fine:
                return found
        craft = self.craft
        split = craft.split
        if self.model is not craft.model:
            split = split_model(self.model, craft.layer)
        new = ConceptMaps(
            craft,
            split,
            IntegratedGradients if fine else self.explainer,
            {"steps": DETAIL_STEPS} if fine else self.explainer_args,
            batch_size=self.batch_size,
            operator=self.operator,
            keep_residual=self.keep_residual,
        )
        kept = [one for one in self._explained if one[0] in (craft.model, self.model)]
        self._explained = [*kept, (self.model, fine, new)]
        return new


def _distinct(targets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each distinct row of targets (n, classes), with the images (n,) bool that have it."""
    unique, inverse = np.unique(targets, axis=0, return_inverse=True)
    for number, weights in enumerate(unique):
        yield weights, inverse.reshape(-1) == number


def _name(explainer: Any) -> str:
    return getattr(explainer, "__name__", type(explainer).__name__)
