"""
Is a concept explanation worse than a heatmap? Methods on the same images, in the same measures.

A method that fails, be it of another's making, takes none of the others' numbers with it. A measure
that fails for a method takes none of the method's other numbers with it.
"""

import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .._checks import PACKAGE, check, check_array, check_choice, check_list, check_range, warn
from .._files import readable
from .._intervals import UNKNOWN, bootstrap_mean
from ..checkpoint import Checkpoint, digest, of_concepts
from ..concept_model import ConceptModel, check_craft
from ..gates.activated import ACTIVATIONS
from ..metrics.ranks_and_areas import area
from ..photographs import as_pictures, as_titles
from ..results import Estimate
from ..results.comparison import Comparison, Measure, MethodScores
from ..targets import describe_targets, one_hot
from .fidelity import ModelScore
from .measures import DEFAULTS, MapMeasure, Score, Task
from .method_maps import MethodExplainer, make_explainer
from .methods import Method, methods_of
from .timing import passes, seconds_and_maps

LONGEST_REASON = 300  # characters: errors of TensorFlow go on for pages


def compare(
    craft: ConceptModel,
    inputs: Any,
    targets: Any = None,
    *,
    methods: Sequence[str] | Mapping[str, Any] | None = None,
    measures: Sequence[MapMeasure] | None = None,
    photographs: Any = None,
    titles: Sequence[str] | None = None,
    class_name: str | None = None,
    model_name: str | None = None,
    activation: str | None = "softmax",
    baseline: float = 0.0,
    number_of_views: int = 4,
    batch_size: int = 64,
    seed: int = 0,
    verbose: bool = False,
    checkpoint: str | Path | None = None,
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
        Which score is explained: a class, (n,) of them, or weights of the logits (n, classes); None
        takes the class of the craft.
    methods
        Which methods are measured. By name: Xplique's with usual settings, "ConceptActivation",
        "ConceptRelevance", "ConceptDetailed" (the first with detail=3) and "random". Or name -> a
        class of xplique.attributions, (class, arguments), a function model -> explainer, or a
        `ConceptAttribution`. None for all that have names.
    measures
        What is measured: objects with their settings, as `Deletion(steps=50)` or `Stability()`, of
        this package or your own. None for all of `DEFAULTS`; without Stability and Randomisation,
        which explain images again, a comparison takes much less time.
    photographs
        uint8 (n, H', W', 3), as people look at them, for the figures; or a function that makes them
        of `inputs`; None where these are pixels in [0, 255] already, or nothing is to be shown.
    titles
        What the page calls each of the n images; None calls them "image 0", ...
    class_name, model_name
        What to call them; None for the number of the class that is explained ("several targets"
        where it is not one), and for the model's own name.
    activation
        What is done to the logits before they are scores of Deletion, Insertion and MuFidelity:
        "softmax", "sigmoid" or None. Explained are the logits.
    baseline
        The value that pixels get when a measure takes them out; 0 as in Xplique.
    number_of_views
        How many images, the first ones, are shown with the maps of all methods.
    batch_size
        How many images are run at a time; it bounds the memory.
    seed
        Everything random follows from it: the same seed gives the same draws.
    verbose
        True shows a progress bar.
    checkpoint
        A folder in which every method that was measured is kept: after Ctrl-C or a crash the same
        call goes on from there, and so does one with more methods. It must be a new folder, or one
        of a comparison of the same craft, images and settings. Methods that are functions, and all
        if a measure is of your own, are measured again: nothing says whether they are the same.
        None keeps nothing.

    Returns
    -------
    comparison
        Tables, curves and maps; `comparison.table()` is text, `report.write_comparison` a page.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the craft is not fitted.
    TypeError, ValueError
        If a method is not known, or arguments do not fit each other; if a measure cannot be
        prepared; if all methods fail; or if the checkpoint is of another comparison.

    Warns
    -----
    UserWarning
        If a method fails, or a measure of it, which then has the reason instead of numbers.
    """
    craft = check_craft(craft)
    check("number_of_views", number_of_views)
    check("batch_size", batch_size)
    check("seed", seed)
    check("verbose", verbose)
    check("class_name", class_name)
    check("model_name", model_name)
    baseline = check_range("baseline", baseline, "[-1e6, 1e6]")
    check_choice("activation", activation, ACTIVATIONS)
    asked = _checked(DEFAULTS if measures is None else measures)
    images = _images_of(craft, inputs)
    weights = craft.class_id if targets is None else targets
    weights = one_hot(weights, len(images), craft.network.number_of_classes)
    names = as_titles(titles, len(images))
    pictures = as_pictures(photographs, images)
    if pictures is None:
        pictures = np.empty((0, *images.shape[1:3], 3), np.uint8)
    pictures = pictures[:number_of_views]
    score = ModelScore(
        craft.model,
        images,
        weights,
        activation=activation,
        batch_size=batch_size,
        baseline=baseline,
    )
    task = Task(craft.model, images, weights, score, seed)

    def settings() -> dict[str, Any]:
        return {
            **of_concepts(craft, images[:1]),
            "images": digest(images),
            "targets": digest(weights),
            "measures": repr(asked),
            "activation": activation,
            "baseline of pixels": float(baseline),
            "number of views": len(pictures),
            "batch_size": f"{batch_size}, {craft.batch_size} of the craft",
            "seed": f"{seed}, {craft.seed} of the craft",
        }

    known = all(type(one).__module__.partition(".")[0] == PACKAGE for one in asked)
    with Checkpoint(checkpoint, "compare", settings) as kept:
        chosen = methods_of(craft, methods, images.shape[1:3], batch_size)
        explainers, unmade = _each(chosen, lambda one: make_explainer(one, craft.model, seed))
        _tell_failures(chosen, unmade)
        prepared = [_prepared(measure, task) for measure in asked]
        scores, unmeasured = _each(
            [one for one in chosen if one.name in explainers],
            lambda one: kept.once(
                f"{one.name} as {one.told_by}",
                lambda: _measure(explainers[one.name], task, prepared, len(pictures)),
                keep=known and one.told_by is not None,
            ),
            verbose=verbose,
        )
        failed = unmade | unmeasured
        _tell_failures(chosen, failed, told=unmade)
    comparison = Comparison(
        model_name=readable(model_name or craft.model.name),
        layer=craft.layer,
        class_name=readable(class_name or describe_targets(weights)),
        number_of_images=len(images),
        activation=activation,
        measures=tuple(
            column
            for column, _ in prepared
            if any(column.key in one.measures | one.failures for one in scores.values())
        ),
        methods=[
            scores.get(one.name)
            or MethodScores(one.name, one.output, failed=failed[one.name], is_floor=one.is_floor)
            for one in chosen
        ],
        photographs=pictures,
        titles=names[: len(pictures)],
        seed=seed,
    )
    for sentence in comparison.failures:
        warn(f"measures: {sentence}")
    return comparison


def _checked(measures: Any) -> list[MapMeasure]:
    """The measures that are asked for, or an error that says what they should have been."""
    if isinstance(measures, MapMeasure):
        measures = [measures]
    measures = check_list("measures", measures, "measures, as Deletion()")
    for one in measures:
        if not isinstance(one, MapMeasure):
            raise TypeError(
                "measures must be objects as Deletion() or Stability(images=8), received "
                f"{one!r}. Your own are subclasses of MapMeasure."
            )
    keys = [one.column.key for one in measures]
    if not keys or len(set(keys)) < len(keys):
        raise ValueError(
            f"measures must be one or more, no two of one key, received the keys {keys}."
        )
    return measures


def _prepared(measure: MapMeasure, task: Task) -> tuple[Measure, Score]:
    """What a measure means here and how it scores, or an error that names the one that fails."""
    try:
        column, score = measure.prepare(task)
    except Exception as error:  # of whoever made the measure
        raise ValueError(
            "measures must be ones that can be prepared for this model and these images, received "
            f"{measure!r}, which fails: {_reason_of(error)}."
        ) from error
    return column, score


def _images_of(craft: ConceptModel, inputs: Any) -> np.ndarray:
    """All images as one array: maps are drawn and measured beside each other."""
    if hasattr(inputs, "element_spec") or hasattr(inputs, "__next__"):
        raise TypeError(
            "inputs must be an array or a tensor (n, H, W, channels), received "
            f"{type(inputs).__name__}. Collect its images first: np.concatenate([images for images,"
            " labels in dataset.batch(32).as_numpy_iterator()])."
        )
    return np.concatenate([batch.images for batch in craft.stream(inputs)])


def _reason_of(error: Exception) -> str:
    """What an error says, on one line; its type where it says nothing."""
    return textwrap.shorten(str(error), LONGEST_REASON).rstrip(".") or type(error).__name__


def _each(
    methods: list[Method], function: Callable[[Method], Any], *, verbose: bool = False
) -> tuple[dict[str, Any], dict[str, str]]:
    """What a function returns for each method, by name; and why it fails for the others."""
    found, failed = {}, {}
    with tqdm(methods, desc="compare", unit="method", disable=not verbose, leave=False) as bar:
        for method in bar:
            bar.set_postfix_str(method.name)
            try:
                found[method.name] = function(method)
            except Exception as error:  # of whoever made the method
                failed[method.name] = _reason_of(error)
    return found, failed


def _tell_failures(
    methods: list[Method], failed: dict[str, str], told: Collection[str] = ()
) -> None:
    """Warn of every method that failed, of which nothing was told; refuse if none is left."""
    able = [method.name for method in methods if not method.is_floor]
    if able and all(name in failed for name in able):
        reasons = "; ".join(f"{name}: {failed[name]}" for name in able)
        raise ValueError(f"methods must have one that can be measured, and all fail. {reasons}.")
    for name, reason in failed.items():
        if name not in told:
            message = f"methods[{name!r}] has no numbers, for it failed: {reason}."
            warn(message)


def _measure(
    explainer: MethodExplainer, task: Task, prepared: list[tuple[Measure, Score]], shown: int
) -> MethodScores:
    """One method in all measures."""
    method = explainer.method
    counted = passes(method, task.model, task.images[0], task.targets[0])
    seconds, maps = seconds_and_maps(explainer, task.images, task.targets)
    found = MethodScores(
        method.name, method.output, seconds, counted, maps=maps[:shown], is_floor=method.is_floor
    )
    for column, score in prepared:
        try:
            scored = score(explainer, maps)
            if scored is None:
                continue
            if column.curve is not None:
                scored = check_array(column.key, scored, "n, points", finite=False)
            values = scored if column.curve is None else area(scored)
            found.measures[column.key] = _estimate(values, column.bounds, task.seed)
            found.per_image[column.key] = values
            if column.curve is not None:
                found.curves[column.key] = scored
        except Exception as error:  # of the measure's, or of the method's, which may explain again
            found.failures[column.key] = _reason_of(error)
    return found


def _estimate(values: np.ndarray, bounds: tuple[float, float], seed: int) -> Estimate:
    """
    The mean over the images that have a score, NaN where none has. Its interval ends where the
    measure does: of few images it is wide.
    """
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return UNKNOWN
    low, high = np.clip(bootstrap_mean(values[:, None], seed)[0], *bounds)
    return Estimate(float(values.mean()), float(low), float(high))
