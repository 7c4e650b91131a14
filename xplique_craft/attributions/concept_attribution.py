"""
Concept attribution as an explainer of Xplique: where each concept is, and why this class.

Two questions, and either is asked of a concept's *activation* (that it is there) or of its
*relevance* (what it does for the score there), which are not the same:

    explain_concepts    activation    u_j(p), or an explainer's map of x -> mean_p u_j(p)
                        relevance     r_j(p), or an explainer's map of x -> sum_p r_j(p)
    explain             activation    sum_j phi_j s_j(p), with s_j the map of concept j as shares
                        relevance     sum_j r_j(p), or an explainer's map of x -> sum_j,p r_j(p)

with r_j(p) = v_j(p) df/du_j(p), see `relevance`, and class maps as `class_map` makes them. An
explainer reaches the pixels through the encoder, by its implicit gradient or by perturbing the
image (Fel et al., CRAFT, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from xplique.attributions import IntegratedGradients
from xplique.attributions.base import BlackBoxExplainer

from .._checks import check, check_choice, check_concepts
from .._once import alone
from ..concept_model import ConceptModel
from ..explainer import ConceptExplainer
from ..gates import Coded
from ..importance.contributions import concatenate_contributions, contributions, warn_of_errors
from ..keras_models import KerasModels
from ..results import Contributions
from ..sampling import Stream
from ..sampling.stream import concatenate_known
from . import class_map
from .crop_maps import CELLS, crop_maps, scale_of_crops
from .explainer_choice import check_explainer
from .maps import activation_maps, has_places, in_units_of, resize_maps, resize_sums, to_grid
from .relevance import relevance_of, relevance_of_all
from .residual import residual_map
from .xplique_explainers import ConceptMaps

OUTPUTS = ("activation", "relevance")
DETAIL_STEPS = 16  # of the integrated gradients of `detail`


class ConceptAttribution(ConceptExplainer):
    """
    Class maps and concept maps, from the concepts themselves or by any explainer of Xplique.

    It stands beside Xplique's attribution methods: `explain(inputs, targets)` gives (n, H, W, 1),
    and everything runs through `self.model`.

    Parameters
    ----------
    craft
        A fitted `Craft`. The activations at its layer must have places: (n, h, w, c), or tokens
        that make a grid (see `maps.grid_of`). Only concept maps by an explainer need none.
    explainer
        What makes the map of each concept: None, a class of Xplique, or a function of your own.

        None reads the map off the layer at which the model is cut and enlarges it to the image. It
        costs little more than a run of the model, and is as coarse as the layer.

        A class of `xplique.attributions`, as `Saliency` (the class itself, not an object), shows
        which pixels the concept comes from: it explains the concept's mean coefficient (or, with
        output="relevance", its part in the score) as it would a logit. Occlusion, Rise,
        SobolAttributionMethod and HsicAttributionMethod perturb each image once for all concepts;
        every other class runs once for each of them, which takes k times as long (see
        `runs_once_a_concept`). In the maps of GradCAM and GradCAMPP, concepts that share channels
        also show each other's places. Random draws follow from the craft's seed and from the
        class's own batch_size, and are the same for every image.

        A function takes a Keras model, images -> (n, k), and returns any other explainer of it,
        which then runs once for each concept.
    explainer_args
        What the class is made with besides its model, as {"patch_size": 32}.
    batch_size
        How many images, or perturbed images, are run at a time; it bounds the memory.
    operator
        Xplique's operator, which makes the score of the class; None for the sum of logits times
        targets.
    output
        "activation" shows where a concept is found in the image, "relevance" where it raises or
        lowers the score of the class. None takes what answers each question best: concept maps
        show activation, and class maps relevance, unless an explainer or crops make them.
    by
        What tells where a concept is found, where no explainer does. "positions" takes the
        coefficients at the positions of the layer, in one pass. "crops" cuts each image into 29
        crops of several sizes, encodes them one by one and lays their coefficients back over the
        image, which takes 29 passes: single positions are noisy, and what such a map is strongest
        at shows the concept more often.
    smoothing
        Maps that are read off the layer are blurred by a Gaussian of this standard deviation in
        pixels, and class maps too; 0 leaves them as they are. None takes 3/4 of a cell of the
        layer, less for class maps and relevance of coarse layers, which enlarging blurs enough,
        and 0 for class maps by an explainer. Maps of concepts by an explainer or by crops are not
        blurred.
    detail
        How far single pixels that speak for the class, by gradients, stand out of a class map, in
        standard deviations of the map. 0 adds none and is best to look at, for they look like dots;
        3 is best for metrics that put pixels in order. It costs 16 gradients an image.
    residual
        True lays what the concepts leave unexplained out over the class map too, where it acts on
        the score: the map then is of the whole score, as the craft's explanation is. False shows
        what the concepts explain alone. A craft that drops the residual has none in its maps.

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
        output: str | None = None,
        by: str = "positions",
        smoothing: float | None = None,
        detail: float = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__(craft, batch_size, operator)
        if smoothing is not None:
            smoothing = check("smoothing", smoothing)
        self.smoothing = smoothing
        self.detail = check("detail", detail)
        self.residual = check("residual", residual)
        self.output = check_choice("output", output, (None, *OUTPUTS))
        self.by = check_choice("by", by, ("positions", "crops"))
        if by == "crops" and (explainer is not None or output == "relevance"):
            raise ValueError(
                "by must be 'positions' where an explainer makes the maps, or they are of "
                "relevance: crops show where a concept is found, by their coefficients."
            )
        check_explainer(explainer, explainer_args)
        self.explainer = explainer
        self.explainer_args = dict(explainer_args or {})
        name = getattr(explainer, "__name__", type(explainer).__name__)
        self._description = "maps" if explainer is None else f"maps by {name}"
        self._maps: dict[tuple[str, bool], ConceptMaps] = {}
        # An explainer that cannot be made is refused now, not at the first image.
        if explainer is not None:
            self._explained.check()
        if self.detail > 0.0:
            self._details.check()

    @property
    def runs_once_a_concept(self) -> bool:
        """Whether maps of k concepts cost k runs of the explainer: it shares nothing among them."""
        return self.explainer is not None and not self._explained.shared

    @property
    def output_of_class_maps(self) -> str:
        """As `output` says, or what suits class maps: "activation" or "relevance"."""
        if self.output is not None:
            return self.output
        return "relevance" if self.explainer is None and self.by == "positions" else "activation"

    def explain(self, inputs: Any, targets: Any = None) -> tf.Tensor:
        """
        The class map: each concept's part in the score laid out where it acts, or where it is.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels): array, tensor, or tf.data.Dataset of (image, target).
        targets
            Which score is explained: (n, classes) one-hot, or a class index; None takes a dataset's
            labels, else the class of the craft.

        Returns
        -------
        maps
            (n, H, W, 1), signed, in units of the score for each of the h x w cells of the layer:
            the mean of a map times h w is score - h(0); what an integral lacks of that is added
            evenly. Of activation it lacks the gap of the contributions, and by an explainer of
            relevance it is so to first order. Where the residual is left out, or the craft drops
            it, it is less by f_x(0) - h(0).
        """
        stream = self._stream(inputs)
        batches = self._batches(stream, targets, self._description)
        divided: list[Contributions] = []
        each = (self._class_map(coded, divided) for coded in batches)
        maps = concatenate_known(each, stream.length)
        if divided:
            warn_of_errors(concatenate_contributions(divided))
        return tf.convert_to_tensor(maps)

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
            Which concepts get a map: the index of one, or indices of some; None for all.
        targets
            Which score concepts are relevant for, as for `explain`. Maps of activation need none.

        Returns
        -------
        maps
            (n, H, W, k) float32, with one scale for a concept over all images. Activation: 1 is the
            concept's largest coefficient among the images that the bank was fitted on, so an absent
            concept is dark. Relevance: in units of the score for each cell of the layer. An
            explainer's maps are in its own units of the mean coefficient, or of the score; where
            they have several channels, these are averaged.

        Raises
        ------
        TypeError, ValueError
            If there is no such concept.
        """
        chosen = check_concepts("concepts", concepts, len(self.craft.bank))
        stream = self._stream(inputs)
        return concatenate_known(self._concept_maps(stream, targets, chosen), stream.length)

    # ---------------------------------------------------------------------- images
    def _stream(self, inputs: Any) -> Stream:
        """The inputs, to be read once, by explainers that see the weights as they are now."""
        for maps in self._maps.values():
            maps.forget_copies()
        return self.concept_model.stream(inputs)

    # -------------------------------------------------------------------- class maps
    def _class_map(self, coded: Coded, divided: list[Contributions]) -> np.ndarray:
        """(n, H, W, 1); the contributions that it lays out are added to `divided`."""
        if self.output_of_class_maps == "relevance":
            whole, parts = self._by_relevance(coded, divided)
        else:
            divided.append(contributions(coded, self._head()))
            parts = divided[-1].phi
            whole = self._by_contribution(coded, parts)
        smoothing = self.smoothing
        if smoothing is None and self.explainer is not None:
            smoothing = 0.0
        whole = resize_sums(whole, coded.size, smoothing)
        if self.residual and self.craft.keep_residual:
            relevant = self.output_of_class_maps == "relevance"
            # An explainer's map of relevance is of the slopes with all gates open.
            opened = relevant and self.explainer is not None
            cells = self._cells(coded)
            left = residual_map(coded, self._head(), cells, relevant=relevant, opened=opened)
            whole += resize_sums(left, coded.size, self.smoothing)
        if self.detail == 0.0:
            return whole
        gated, largest = coded.at_places(coded.gated).numpy(), self.craft.coefficient_scale
        weights = class_map.detail_weights(gated, parts, largest)
        gradients = self._details.whole(coded.images, None, weights)
        return class_map.with_detail(whole, gradients, self.detail)

    def _cells(self, coded: Coded) -> int:
        """How many cells the unit of class maps is for: the layer's, or those of maps by crops."""
        places = coded.at_places(coded.u[:1, ..., :1])
        if self.by == "crops" and not has_places(places.shape, coded.size):
            return CELLS**2
        return to_grid(places.numpy(), coded.size).size

    def _by_contribution(self, coded: Coded, phi: np.ndarray) -> np.ndarray:
        """Contributions phi (n, k) laid out where concepts are, (n, ., ., 1)."""
        if self.by == "crops":
            shares = class_map.activation_shares(self._by_crops(coded.images))
        elif self.explainer is None:
            u = coded.at_places(coded.u).numpy()
            shares = class_map.activation_shares(to_grid(u, coded.size))
        else:
            every = np.arange(coded.number_of_concepts)
            shares = class_map.explained_shares(self._explained.maps(coded.images, None, every))
        return class_map.lay_out(shares, phi, self._cells(coded))

    def _by_crops(self, images: np.ndarray) -> np.ndarray:
        """Coefficients of crops laid back over images, (n, ., ., k)."""
        model = self.concept_model
        return crop_maps(model.network, model.factorized, images, special_tokens=len(model.special))

    def _by_relevance(
        self, coded: Coded, divided: list[Contributions]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where concepts act on the score, (n, ., ., 1); and how much each does, (n, k)."""
        head = self._head()
        relevance = relevance_of(coded, head, integrated=self.explainer is None)
        parts = relevance.sum(axis=tuple(range(1, relevance.ndim - 1)), dtype=np.float64)
        whole = to_grid(coded.at_places(relevance), coded.size).sum(axis=-1, keepdims=True)
        cells = whole[0].size
        if self.explainer is not None:
            whole = self._explained.whole(coded.images, coded.targets, np.ones_like(parts))
            total = parts.sum(axis=1)
        else:  # known exactly, unlike the integral
            closed, opened = head.ends(coded)
            total = relevance_of_all(opened.astype(np.float64) - closed)
            nothing, gap = np.zeros_like(total), total - parts.sum(axis=1)
            errors = np.zeros_like(parts)
            divided.append(
                Contributions(parts, nothing, nothing, total, gap, errors, points=0, exact=False)
            )
        return class_map.add_evenly(whole, total, cells), parts

    # ------------------------------------------------------------------ concept maps
    def _concept_maps(
        self, stream: Stream, targets: Any, chosen: np.ndarray
    ) -> Iterator[np.ndarray]:
        """(n, H, W, chosen) of each batch. Activation needs no targets, and reads no labels."""
        if self.output == "relevance":
            for coded in self._batches(stream, targets, self._description):
                if self.explainer is None:
                    relevance = coded.at_places(relevance_of(coded, self._head())[..., chosen])
                    yield resize_sums(to_grid(relevance, coded.size), coded.size, self.smoothing)
                else:
                    yield self._explained.maps(coded.images, coded.targets, chosen)
        elif self.by == "crops":
            scale = scale_of_crops(self.craft)[chosen]
            for batch in stream.progress(self._description, self.craft.verbose):
                maps = in_units_of(scale, self._by_crops(batch.images)[..., chosen])
                yield resize_maps(maps, batch.images.shape[1:3])
        elif self.explainer is None:
            scale = self.craft.coefficient_scale[chosen]
            for coded in self._batches(stream, None, self._description, use_labels=False):
                u = coded.at_places(coded.u).numpy()[..., chosen]
                yield activation_maps(u, scale, coded.size, self.smoothing)
        else:
            for batch in stream.progress(self._description, self.craft.verbose):
                yield self._explained.maps(batch.images, None, chosen)

    # -------------------------------------------------------------------- explainers
    @property
    def _explained(self) -> ConceptMaps:
        """Maps by the explainer."""
        return self._maps_by("explainer", self.explainer, self.explainer_args)

    @property
    def _details(self) -> ConceptMaps:
        """Maps by the integrated gradients that details come from."""
        return self._maps_by("details", IntegratedGradients, {"steps": DETAIL_STEPS})

    def _maps_by(self, purpose: str, explainer: Any, arguments: dict[str, Any]) -> ConceptMaps:
        """
        Maps of the concepts on `self.model`, made anew where anything that they depend on changed.

        Those of the craft's own model are kept while another model is in its place.
        """
        model = self.concept_model
        own = model.split is self.craft.split
        with alone(id(self), "maps"):
            found = self._maps.get((purpose, own))
            if found is not None and found.is_of(model, self.operator):
                return found
            # The concepts keep what is made of the craft's own model; they outlive any other.
            if own:
                models = KerasModels.of(model)
            else:
                models = KerasModels(model.split, model.factorized, model.special)
            found = ConceptMaps(model, models.encoder, explainer, arguments, self.operator)
            # Not changed in place: a shallow copy, as `compare` makes for other models, shares it.
            self._maps = {**self._maps, (purpose, own): found}
        return found
