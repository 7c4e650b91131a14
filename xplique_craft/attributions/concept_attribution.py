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
the score, x -> sum_j (phi_j / mean v_j) u_j(x), v being what gates multiply. What the map sums to
stays the same by both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from xplique.attributions import IntegratedGradients
from xplique.attributions.base import BlackBoxExplainer

from .._checks import check_number
from ..concept_model import ConceptModel
from ..explainer import ConceptExplainer
from ..gates.coded import Coded
from ..gates.contributions import contributions
from ..sampling.stream import Stream, concatenate_known
from .maps import activation_maps, class_maps, explained_shares, resize_maps, resize_sums, to_grid
from .xplique_explainers import ConceptMaps, check_explainer

__all__ = ["ConceptAttribution"]

OUTPUTS = ("activation", "relevance")
DETAIL_STEPS = 16  # of the integrated gradients of `detail`
DETAIL_POWER = 1.5  # of their positive part: few pixels stand out
SMALLEST_MEAN = 1e-4  # of a concept's largest coefficient: below, its part has no details
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
        concepts whose directions overlap show in each other's maps. What Xplique's draw, they
        draw alike for every image, from the craft's seed and in batches of their batch_size.
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
        They look like dots: 3 is for metrics that order pixels, 0 for the eye.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the craft is not fitted.
    TypeError, ValueError
        If the explainer is none, cannot explain concepts or has no such argument.
    """

    def __init__(
        self,
        craft: ConceptModel,
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
            smoothing = check_number("smoothing", smoothing, finite=True)
        self.smoothing = smoothing
        self.detail = check_number("detail", detail, finite=True)
        if output not in OUTPUTS:
            raise ValueError(f"output must be 'activation' or 'relevance', received {output!r}.")
        self.output = output
        self.explainer = explainer
        self.explainer_args = dict(explainer_args or {})
        self._explained: list[tuple[keras.Model, Any, bool, ConceptMaps]] = []
        check_explainer(explainer, explainer_args)
        # What does not fit is said now.
        if explainer is not None:
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
        stream = self._start(inputs)
        coded_batches = self._batches(stream, targets, self._description)
        parts = (self._class_map(coded) for coded in coded_batches)
        return tf.convert_to_tensor(concatenate_known(parts, stream.length))

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
        number = len(self._all)
        chosen = self._all if concepts is None else np.atleast_1d(concepts)
        if (
            chosen.size == 0
            or chosen.dtype.kind not in "iu"
            or chosen.min() < 0
            or chosen.max() >= number
        ):
            raise ValueError(f"concepts must be indices in [0, {number}), received {concepts!r}.")
        stream = self._start(inputs)
        return concatenate_known(self._concept_maps(stream, targets, chosen), stream.length)

    # ---------------------------------------------------------------------- maps
    @property
    def _description(self) -> str:
        return "maps" if self.explainer is None else f"maps by {_name(self.explainer)}"

    def _start(self, inputs: Any) -> Stream:
        """A stream of the inputs, to be read once, and explainers that see the model as it is."""
        for *_, of_model in self._explained:
            of_model.forget_copies()
        return self.concept_model.stream(inputs)

    def _class_map(self, coded: Coded) -> np.ndarray:
        """(n, H, W, 1)."""
        if self.output == "relevance":
            whole, of_concepts = self._by_relevance(coded)
        else:
            whole, of_concepts = self._by_contribution(coded)
        return self._detailed(whole, coded, of_concepts) if self.detail > 0.0 else whole

    def _by_contribution(self, coded: Coded) -> tuple[np.ndarray, np.ndarray]:
        """Contributions laid out where concepts are, (n, H, W, 1); and phi, (n, k)."""
        phi = contributions(coded, self._head()).phi
        u = to_grid(coded.u.numpy(), coded.size)
        if self.explainer is None:
            return resize_sums(class_maps(u, phi), coded.size, self.smoothing), phi
        shares = explained_shares(self._of_model().maps(None, coded.images, self._all))
        places_a_cell = shares[0, ..., 0].size / u[0, ..., 0].size
        whole = np.einsum("nhwk,nk->nhw", shares, phi)[..., None] * places_a_cell
        return resize_sums(whole, coded.size, self.smoothing or 0.0), phi

    def _by_relevance(self, coded: Coded) -> tuple[np.ndarray, np.ndarray]:
        """
        Where concepts act on the score, (n, H, W, 1); and by how much each does, (n, k). What has
        no place, as that of a class token, is laid out evenly.
        """
        found = self._relevance(coded)
        of_concepts = found.sum(axis=tuple(range(1, found.ndim - 1)), dtype=np.float64)
        whole = to_grid(found, coded.size).sum(axis=-1, keepdims=True)
        cells, smoothing = whole[0].size, self.smoothing
        if self.explainer is not None:
            whole = np.empty((*coded.images.shape[:3], 1), np.float32)
            for weights, rows in _distinct(coded.targets):
                ones = np.ones_like(of_concepts[rows])
                whole[rows] = self._of_model().whole(weights, coded.images[rows], ones)
            smoothing = smoothing or 0.0
        left = of_concepts.sum(axis=1) / cells - whole.mean(axis=(1, 2, 3), dtype=np.float64)
        whole = whole + left[:, None, None, None].astype(np.float32)
        return resize_sums(whole, coded.size, smoothing), of_concepts

    def _detailed(self, whole: np.ndarray, coded: Coded, of_concepts: np.ndarray) -> np.ndarray:
        """A class map that the strongest pixels stand out of, (n, H, W, 1)."""
        mean = coded.gated.numpy().mean(axis=tuple(range(1, coded.gated.shape.rank - 1)))
        # of_concepts / mean, but for concepts of which there is nothing.
        least = (SMALLEST_MEAN * self.craft.coefficient_scale) ** 2
        scaled = np.maximum(mean.astype(np.float64) ** 2 + least, TINY)
        fine = self._of_model(fine=True).whole(None, coded.images, of_concepts * mean / scaled)
        fine = np.maximum(fine, 0.0)
        fine = (fine / np.maximum(fine.max(axis=(1, 2), keepdims=True), TINY)) ** DETAIL_POWER
        fine -= fine.mean(axis=(1, 2), keepdims=True)
        spread = fine.std(axis=(1, 2), keepdims=True)
        scale = self.detail * whole.std(axis=(1, 2), keepdims=True)
        return whole + fine * np.divide(scale, spread, out=np.zeros_like(scale), where=spread > 0.0)

    def _concept_maps(
        self, stream: Stream, targets: Any, chosen: np.ndarray
    ) -> Iterator[np.ndarray]:
        """(n, H, W, chosen) of each batch: activation asks of no target."""
        if self.output == "activation" and self.explainer is not None:
            for batch in stream.progress(self._description, self.craft.verbose):
                yield self._of_model().maps(None, batch.images, chosen)
            return
        of_score = self.output == "relevance"
        for coded in self._batches(
            stream, targets if of_score else None, self._description, use_labels=of_score
        ):
            if not of_score:
                scale = self.craft.coefficient_scale[chosen]
                yield activation_maps(coded.u.numpy()[..., chosen], scale, coded.size)
            elif self.explainer is None:
                found = to_grid(self._relevance(coded)[..., chosen], coded.size)
                yield resize_maps(found, coded.size)
            else:
                yield self._explained_relevance(coded, chosen)

    def _explained_relevance(self, coded: Coded, chosen: np.ndarray) -> np.ndarray:
        """(n, H, W, chosen): explained for each distinct target by itself."""
        found = np.empty((*coded.images.shape[:3], len(chosen)), np.float32)
        for weights, rows in _distinct(coded.targets):
            found[rows] = self._of_model().maps(weights, coded.images[rows], chosen)
        return found

    def _relevance(self, coded: Coded) -> np.ndarray:
        gradient = self._head().gradients(coded, np.ones(1), np.ones(1))
        return (coded.gated * gradient).numpy()

    @property
    def _all(self) -> np.ndarray:
        return np.arange(len(self.craft.bank))

    def _of_model(self, *, fine: bool = False) -> ConceptMaps:
        """
        The explainers of `self.model`, or those of its details; those of the craft's own model are
        kept beside them.
        """
        craft = self.craft
        for model, concepts, of_details, found in self._explained:
            if model is self.model and concepts is craft.concepts and of_details == fine:
                return found
        new = ConceptMaps(
            craft,
            self.concept_model.split,
            IntegratedGradients if fine else self.explainer,
            {"steps": DETAIL_STEPS} if fine else self.explainer_args,
            batch_size=self.batch_size,
            operator=self.operator,
            keep_residual=bool(self.keep_residual),
        )
        kept = [
            one
            for one in self._explained
            if one[0] in (craft.model, self.model) and one[1] is craft.concepts
        ]
        self._explained = [*kept, (self.model, craft.concepts, fine, new)]
        return new


def _distinct(targets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each distinct row of targets (n, classes), with the images (n,) bool that have it."""
    unique, inverse = np.unique(targets, axis=0, return_inverse=True)
    for number, weights in enumerate(unique):
        yield weights, inverse.reshape(-1) == number


def _name(explainer: Any) -> str:
    return getattr(explainer, "__name__", type(explainer).__name__)
