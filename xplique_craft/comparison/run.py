"""
Is a concept explanation worse than a heatmap? Methods on the same images, in the same measures.

Deletion, Insertion and MuFidelity are those of Xplique, of every image by itself (see `fidelity`);
stability is its AverageStability with distances relative to the map, for methods have different
units; randomisation is the rank correlation with the maps of a clone whose last quarter of layers
is at random, every explainer being made anew of the clone (see `anew`). A method that fails, be it
of another's making, takes none of the others' numbers with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from .._checks import check_int, check_number
from .._intervals import bootstrap_mean
from ..concept_model import ConceptModel
from ..results import Estimate
from ..results.comparison import MEASURES, Comparison, MethodScores
from ..targets import one_hot
from .fidelity import ModelScore, area, curves, mu_fidelity, subset_effects
from .given import images_of, name_of, pictures_of
from .methods import Method, methods_of
from .robustness import Anew
from .timing import forgetting_models, made, passes, reason_of, seconds_and_maps

__all__ = ["compare"]

NOISE = 0.02  # of the range of the inputs: the largest noise of a pixel


@dataclass(frozen=True)
class _Setting:
    """What all methods share."""

    model: keras.Model
    images: np.ndarray
    targets: np.ndarray
    score: ModelScore
    effects: tuple[np.ndarray, np.ndarray]
    steps: int
    anew: Anew | None
    shown: int
    seed: int


def compare(
    craft: ConceptModel,
    inputs: Any,
    targets: Any = None,
    *,
    methods: Sequence[str] | Mapping[str, Any] | None = None,
    photographs: Any = None,
    titles: Sequence[str] | None = None,
    class_name: str | None = None,
    model_name: str | None = None,
    activation: str | None = "softmax",
    steps: int = 20,
    grid_size: int = 7,
    subset_share: float = 0.2,
    nb_subsets: int = 200,
    few: int = 4,
    nb_neighbours: int = 3,
    radius: float | None = None,
    baseline: float = 0.0,
    number_of_views: int = 4,
    batch_size: int = 64,
    seed: int = 0,
    verbose: bool = False,
) -> Comparison:
    """
    Measure heatmap methods and concept maps on the same images.

    Parameters
    ----------
    craft
        A fitted `Craft`. What is measured is its model, on images that it was not fitted on.
    inputs
        (n, H, W, channels), preprocessed: array or tensor (or a list of images of one size).
    targets
        A class, (n,) of them, or weights of the logits (n, classes); None for the class of the
        craft.
    methods
        Names, of Xplique's methods with usual settings, "ConceptActivation", "ConceptRelevance",
        "ConceptDetailed" (the first with detail=3) and "random"; or name -> a class of
        xplique.attributions, (class, arguments), a function model -> explainer, or a
        `ConceptAttribution`. None for all that have names.
    photographs
        uint8 (n, H', W', 3), as people look at them, for the figures; None where `inputs` are
        pixels in [0, 255] already, or nothing is to be shown.
    titles
        n names of the images; None for "image 0", ...
    class_name, model_name
        What to call them; None for the number of the class that is explained ("several targets"
        where it is not one), and for the model's own name.
    activation
        What is done to the logits before they are scores of Deletion, Insertion and MuFidelity:
        "softmax", "sigmoid" or None. Explained are the logits.
    steps
        Of Deletion and Insertion.
    grid_size, subset_share, nb_subsets
        Of MuFidelity: cells a side, share of them in a subset, number of subsets.
    few
        Images of the two measures that explain images anew, stability and randomisation; 0 leaves
        them out.
    nb_neighbours, radius
        Of stability: noisy copies of an image, and the largest noise of a pixel, above 0; None for
        2% of the range of the inputs.
    baseline
        Value of pixels that are taken out.
    number_of_views
        Images whose maps are kept to be shown.
    batch_size
        Images at a time.
    seed
        Of everything random.
    verbose
        Whether to show a progress bar.

    Returns
    -------
    comparison
        Tables, curves and maps; `comparison.table()` is text, `report.write_comparison` a page.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the craft is not fitted.
    TypeError, ValueError
        If a method is not known, or arguments do not fit each other; or if all methods fail.

    Warns
    -----
    UserWarning
        If a method fails, which then has the reason instead of numbers.
    """
    craft.check_if_fitted()
    for name, value, least in (
        ("steps", steps, 1),
        ("grid_size", grid_size, 1),
        ("nb_subsets", nb_subsets, 2),
        ("few", few, 0),
        ("nb_neighbours", nb_neighbours, 1),
        ("number_of_views", number_of_views, 0),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
    ):
        check_int(name, value, minimum=least)
    if not 0.0 < check_number("subset_share", subset_share) < 1.0:
        raise ValueError(f"subset_share must be in (0, 1), received {subset_share!r}.")
    radius = _checked_radius(radius)
    images = images_of(craft, inputs)
    weights = craft.class_id if targets is None else targets
    weights = one_hot(weights, len(images), craft.network.number_of_classes)
    pictures, names = pictures_of(photographs, titles, images, number_of_views)
    score = ModelScore(craft.model, activation, batch_size, baseline)
    few = min(few, len(images))
    if radius is None:
        radius = NOISE * float(images.max() - images.min())
    with forgetting_models():
        chosen = methods_of(craft, methods, images.shape[1:3], batch_size)
        explainers, failed = _made(chosen, craft.model)
        effects = subset_effects(
            score,
            images,
            weights,
            grid=grid_size,
            share=subset_share,
            samples=nb_subsets,
            seed=seed,
        )
        anew = None
        if few:
            some = images[:few], weights[:few]
            anew = Anew.of(craft.model, *some, nb_neighbours, radius, seed)
        setting = _Setting(
            craft.model, images, weights, score, effects, steps, anew, len(pictures), seed
        )
        measured = _all_measured(chosen, explainers, failed, setting, verbose)
    return Comparison(
        model_name=model_name or craft.model.name,
        layer=craft.layer,
        class_name=class_name or name_of(weights),
        number_of_images=len(images),
        number_of_few=few,
        steps=steps,
        activation=activation,
        methods=measured,
        photographs=pictures,
        titles=names,
        seed=seed,
        randomised_layers=anew.layers if anew and anew.clone is not None else None,
    )


def _checked_radius(radius: Any) -> float | None:
    if radius is None:
        return None
    radius = check_number("radius", radius, finite=True)
    if radius == 0.0:
        raise ValueError("radius must be above 0, received 0: without noise no map moves.")
    return radius


def _made(methods: list[Method], model: keras.Model) -> tuple[dict[str, Any], dict[str, str]]:
    """All explainers by name, before anything is measured; and why some cannot be made."""
    explainers, failed = {}, {}
    for method in methods:
        try:
            explainers[method.name] = made(method, model)
        except Exception as error:  # of whoever made the method
            failed[method.name] = reason_of(error)
    _refuse_if_all(methods, failed)
    _say(failed)
    return explainers, failed


def _all_measured(
    methods: list[Method],
    explainers: dict[str, Any],
    failed: dict[str, str],
    setting: _Setting,
    verbose: bool,
) -> list[MethodScores]:
    """One after the other; what fails is kept with its reason."""
    measured, failed = [], dict(failed)
    with tqdm(methods, desc="compare", unit="method", disable=not verbose, leave=False) as bar:
        for method in bar:
            bar.set_postfix_str(method.name)
            if method.name not in failed:
                try:
                    measured.append(_measured(method, explainers[method.name], setting))
                    continue
                except Exception as error:  # of whoever made the method
                    failed[method.name] = reason_of(error)
            measured.append(_failure(method, failed[method.name], setting))
    _refuse_if_all(methods, failed)
    _say({name: reason for name, reason in failed.items() if name in explainers})
    return measured


def _say(failed: dict[str, str]) -> None:
    for name, reason in failed.items():
        message = f"methods[{name!r}] has no numbers, for it failed: {reason}."
        warnings.warn(message, stacklevel=4)


def _refuse_if_all(methods: list[Method], failed: dict[str, str]) -> None:
    able = [m.name for m in methods if not m.is_floor]
    if able and all(name in failed for name in able):
        reasons = "; ".join(f"{name}: {failed[name]}" for name in able)
        raise ValueError(f"methods must have one that can be measured, and all fail. {reasons}.")


def _measured(method: Method, explainer: Any, s: _Setting) -> MethodScores:
    """One method in all measures."""
    counted = passes(method, s.model, s.images[0], s.targets[0])
    seconds, maps = seconds_and_maps(method, explainer, s.images, s.targets, s.seed)
    deleted = curves(s.score, s.images, s.targets, maps, s.steps, insertion=False)
    inserted = curves(s.score, s.images, s.targets, maps, s.steps, insertion=True)
    per_image = {
        "deletion": area(deleted),
        "insertion": area(inserted),
        "mu_fidelity": mu_fidelity(maps, *s.effects),
    }
    if s.anew is not None and not method.is_floor:
        per_image |= s.anew.measure(method, explainer, maps[: len(s.anew.images)])
    return MethodScores(
        name=method.name,
        output=method.output,
        seconds=seconds,
        passes=counted,
        per_image=per_image,
        measures=_estimates(per_image, s.seed),
        deletion_curves=deleted,
        insertion_curves=inserted,
        maps=maps[: s.shown],
        is_floor=method.is_floor,
    )


def _failure(method: Method, reason: str, s: _Setting) -> MethodScores:
    """A method that failed: its reason, and nothing else."""
    no_curves = np.empty((0, s.steps + 1), np.float32)
    return MethodScores(
        name=method.name,
        output=method.output,
        seconds=np.nan,
        passes=None,
        per_image={},
        measures={},
        deletion_curves=no_curves,
        insertion_curves=no_curves,
        maps=np.empty((0, *s.images.shape[1:3]), np.float32),
        failed=reason,
        is_floor=method.is_floor,
    )


def _estimates(per_image: dict[str, np.ndarray], seed: int) -> dict[str, Estimate]:
    """
    Means over the images that have a score, NaN where none has. Intervals end where a measure does:
    of few images they are wide.
    """
    found = {}
    for measure in MEASURES:
        if measure.key not in per_image:
            continue
        values = per_image[measure.key]
        values = values[np.isfinite(values)]
        if len(values) == 0:
            found[measure.key] = Estimate(np.nan, np.nan, np.nan)
            continue
        low, high = np.clip(bootstrap_mean(values[:, None], seed)[0], *measure.bounds)
        found[measure.key] = Estimate(float(values.mean()), float(low), float(high))
    return found
