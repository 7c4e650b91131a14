"""
Methods that explain a model by a map of the image, to be compared: Xplique's and concept maps.

A method is a name and a way to make an explainer of a model, so that it can be made again of a
model with other weights, and of one that counts its images.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import xplique.attributions
from xplique.attributions.base import BlackBoxExplainer

from .._checks import check_names as check_names_of
from .._checks import nearest, warn
from ..attributions import ConceptAttribution
from ..concept_model import ConceptModel
from ..factorization import Factorizer
from ..results.comparison import RANDOM

DETAIL = 3.0  # of "ConceptDetailed", as in benchmarks/heatmaps.py
CONCEPT_MAPS: dict[str, dict[str, Any]] = {
    "ConceptActivation": {"output": "activation"},
    "ConceptRelevance": {"output": "relevance"},
    "ConceptDetailed": {"output": "activation", "detail": DETAIL},
}


@dataclass(frozen=True)
class Method:
    """
    A way to explain a model by maps.

    Parameters
    ----------
    name
        What to call it.
    make
        Keras model -> explainer; None for maps at random, the floor of a comparison.
    output
        What concept maps show, "activation" or "relevance"; None for heatmaps.
    told_by
        What it can be told from any other method by, in another process; None where nothing says
        what it does, as of a function.
    """

    name: str
    make: Callable[[keras.Model], Any] | None
    output: str | None = None
    told_by: str | None = None

    @property
    def is_floor(self) -> bool:
        """Whether these are maps at random."""
        return self.make is None


def _heatmaps(side: int, layer: str | None = None) -> dict[str, dict[str, Any]]:
    """
    Xplique's methods with their settings for images of that side, by name. Patches are of two
    strides, so that every place is in as many. Class activation maps are of the layer of the
    concepts where it has places: by themselves they take the last layer with filters, which may be
    the classifier itself.
    """
    at = {} if layer is None else {"conv_layer": layer}
    stride = max(1, side // 14)
    return {
        "Saliency": {},
        "GradientInput": {},
        "IntegratedGradients": {"steps": 30},
        "SmoothGrad": {"nb_samples": 20},
        "GradCAM": at,
        "GradCAMPP": at,
        "Occlusion": {"patch_size": 2 * stride, "patch_stride": stride},
        "Rise": {"nb_samples": 500},
        "SobolAttributionMethod": {"grid_size": 8, "nb_design": 8},
        "HsicAttributionMethod": {"grid_size": 7, "nb_design": 300},
    }


KNOWN = (*_heatmaps(1), RANDOM, *CONCEPT_MAPS)
"""Names of the methods that have settings here."""


def check_names(names: Sequence[str], factorizer: Factorizer | None = None) -> None:
    """
    Refuse names that no method has, and no names at all, before anything is computed for the
    others; with the factorizer that will find the concepts, also what these will not do for.
    """
    for name in check_names_of("methods", names):
        if name not in KNOWN:
            raise ValueError(
                f"methods has {name!r}, which is none of {', '.join(KNOWN)}. "
                f"{nearest(str(name), KNOWN)}".rstrip()
            )
        details = "detail" in CONCEPT_MAPS.get(name, {})
        if details and factorizer is not None and not factorizer.differentiable:
            raise ValueError(
                f"methods has {name!r}, which needs the gradient of the concepts, and the encoding "
                f"of {factorizer!r} has none. Leave it out, or take another factorizer."
            )
    if not len(names):
        raise ValueError(f"methods must name at least one of {', '.join(KNOWN)}, received none.")


def methods_of(
    craft: ConceptModel,
    wanted: Sequence[str] | Mapping[str, Any] | None,
    size: tuple[int, ...],
    batch_size: int,
) -> list[Method]:
    """
    The methods that are asked for.

    Parameters
    ----------
    craft
        Fitted.
    wanted
        Names of known methods; or name -> a class of xplique.attributions, (class, arguments), a
        function model -> explainer, or a `ConceptAttribution`; None for all known ones.
    size
        (H, W) of the images: patches are of about a seventh of the shorter side.
    batch_size
        For those that take one.

    Returns
    -------
    methods
        In the order they are asked for.

    Raises
    ------
    ValueError, TypeError
        If a method is not known, or none; or is asked for by its name and cannot be made of the
        concepts.

    Warns
    -----
    UserWarning
        If one of all known ones cannot be made of the concepts, and is left out.
    """
    mapped = len(craft.network.input_to_latent.output_shape) == 4
    heatmaps = _heatmaps(min(size), craft.layer if mapped else None)

    def known(name: str) -> Any:
        """What a known name stands for, so that only what is wanted is made."""
        if name in heatmaps:
            return getattr(xplique.attributions, name), heatmaps[name]
        if name == RANDOM:
            return None
        return ConceptAttribution(craft, batch_size=batch_size, **CONCEPT_MAPS[name])

    if isinstance(wanted, str):
        wanted = [wanted]
    if wanted is None:
        wanted = {}
        for name in KNOWN:
            try:
                wanted[name] = known(name)
            except ValueError as error:
                warn(f"methods leaves {name!r} out: {error}")
    elif not isinstance(wanted, Mapping) or not wanted:
        check_names(list(wanted) if isinstance(wanted, Mapping) else wanted)
        wanted = {name: known(name) for name in wanted}
    return [
        replace(_method(name, what, batch_size), told_by=_told_by(what, craft))
        for name, what in wanted.items()
    ]


def _method(name: str, what: Any, batch_size: int) -> Method:
    if what is None:
        return Method(name, None)
    if isinstance(what, ConceptAttribution):
        return Method(name, lambda model: _of_model(what, model), what.output_of_class_maps)
    settings: dict[str, Any] = {}
    if isinstance(what, tuple) and len(what) == 2 and isinstance(what[1], Mapping):
        what, settings = what[0], dict(what[1])
    if isinstance(what, type) and issubclass(what, BlackBoxExplainer):
        make, arguments = what, {"batch_size": batch_size, **settings}
        return Method(name, lambda model: make(model, **arguments))
    if not callable(what) or isinstance(what, BlackBoxExplainer) or settings:
        raise TypeError(
            f"methods[{name!r}] must be a class of xplique.attributions, (class, arguments), a "
            f"function model -> explainer or a ConceptAttribution, received {what!r}."
        )
    return Method(name, what)


def _told_by(what: Any, craft: ConceptModel) -> str | None:
    """See `Method.told_by`: classes of Xplique and concept maps can be told, by plain settings."""
    settings: Mapping[str, Any] = {}
    if what is None:
        return RANDOM
    if isinstance(what, ConceptAttribution):
        name: str | None = "ConceptAttribution"
        explainer = _name_of(what.explainer)
        if what.craft is not craft or (explainer is None and what.explainer is not None):
            return None
        settings = {
            "explainer": explainer,
            "explainer_args": what.explainer_args,
            "batch_size": what.batch_size,
            "operator": what.operator,
            "output": what.output,
            "by": what.by,
            "residual": what.residual,
            "smoothing": what.smoothing,
            "detail": what.detail,
            "keep_residual": what.keep_residual,
        }
    else:
        what, settings = what if isinstance(what, tuple) else (what, settings)
        name = _name_of(what)
    try:
        return None if name is None else f"{name} {json.dumps(dict(settings), sort_keys=True)}"
    except TypeError:  # a setting that no text says in full
        return None


def _name_of(explainer: Any) -> str | None:
    """The name of a class of Xplique; None of anything else."""
    if not isinstance(explainer, type) or not explainer.__module__.startswith("xplique."):
        return None
    return f"{explainer.__module__}.{explainer.__qualname__}"


def _of_model(attribution: ConceptAttribution, model: keras.Model) -> ConceptAttribution:
    """The same attribution, of another model."""
    other = copy.copy(attribution)
    other.model = model
    return other
