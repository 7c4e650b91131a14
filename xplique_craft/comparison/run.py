"""
Is a concept explanation worse than a heatmap? Methods on the same images, in the same measures.

Deletion, Insertion and MuFidelity are those of Xplique, of every image by itself (see `fidelity`);
stability is its AverageStability with distances relative to the map, for methods have different
units; randomisation is the rank correlation with the maps of a clone whose last quarter of layers
is at random, every explainer being made anew of the clone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from tqdm import tqdm
from xplique.metrics import ProgressiveLayerRandomization

from .._checks import check_non_negative_number, check_positive_int, one_hot
from .._intervals import bootstrap_mean
from .._seeding import seeded
from ..results import Estimate
from ..streams import Stream
from .fidelity import ModelScore, area, curves, mu_fidelity, rank_correlation, subset_effects
from .methods import Method, explain, methods_of, passes, seconds_and_maps
from .result import MEASURES, Comparison, MethodScores

if TYPE_CHECKING:
    from ..craft import Craft

__all__ = ["compare"]

RANDOMISED = 0.25  # of the layers with weights, from the last one on, as Xplique's default


@dataclass(frozen=True)
class _Setting:
    """What all methods share."""

    model: keras.Model
    other: keras.Model
    images: np.ndarray
    targets: np.ndarray
    score: ModelScore
    effects: tuple[np.ndarray, np.ndarray]
    steps: int
    few: int
    noise: np.ndarray
    shown: int
    seed: int


def compare(
    craft: Craft,
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
        What to call them; None for the number of the class, and for the model's own name.
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
        Of stability: noisy copies of an image, and the largest noise of a pixel; None for 2% of the
        range of the inputs.
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
        If a method is not known, or arguments do not fit each other.
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
        check_positive_int(name, value, minimum=least)
    if not 0.0 < check_non_negative_number("subset_share", subset_share) < 1.0:
        raise ValueError(f"subset_share must be in (0, 1), received {subset_share!r}.")
    images = _images(craft, inputs)
    weights = craft.class_id if targets is None else targets
    weights = one_hot(weights, len(images), craft.network.number_of_classes)
    chosen = methods_of(craft, methods, images.shape[1:3], batch_size)
    pictures, names = _pictures(photographs, titles, images, number_of_views)
    score = ModelScore(craft.model, activation, batch_size, baseline)
    effects = subset_effects(
        score,
        images,
        weights,
        grid=grid_size,
        share=subset_share,
        samples=nb_subsets,
        seed=seed,
    )
    if radius is None:
        radius = 0.02 * float(images.max() - images.min())
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x401E]))
    noise = rng.uniform(0.0, radius, (nb_neighbours, *images.shape[1:])).astype(np.float32)
    setting = _Setting(
        model=craft.model,
        other=_randomised(craft.model, seed),
        images=images,
        targets=weights,
        score=score,
        effects=effects,
        steps=steps,
        few=min(few, len(images)),
        noise=noise,
        shown=len(pictures),
        seed=seed,
    )
    measured = []
    with tqdm(chosen, desc="compare", unit="method", disable=not verbose, leave=False) as bar:
        for method in bar:
            bar.set_postfix_str(method.name)
            measured.append(_measured(method, setting))
    return Comparison(
        model_name=model_name or craft.model.name,
        layer=craft.layer,
        class_name=class_name or f"class {craft.class_id}",
        number_of_images=len(images),
        number_of_few=setting.few,
        steps=steps,
        activation=activation,
        methods=measured,
        photographs=pictures,
        titles=names,
        seed=seed,
    )


def _measured(method: Method, s: _Setting) -> MethodScores:
    """One method in all measures."""
    explainer = method.make(s.model) if method.make is not None else None
    counted = passes(method, s.model, s.images[0], s.targets[0])
    seconds, maps = seconds_and_maps(method, explainer, s.images, s.targets, s.seed)
    deleted = curves(s.score, s.images, s.targets, maps, s.steps, insertion=False)
    inserted = curves(s.score, s.images, s.targets, maps, s.steps, insertion=True)
    per_image = {
        "deletion": area(deleted),
        "insertion": area(inserted),
        "mu_fidelity": mu_fidelity(maps, *s.effects),
    }
    if s.few and explainer is not None:
        images, targets = s.images[: s.few], s.targets[: s.few]
        near = (images[:, None] + s.noise).reshape(-1, *images.shape[1:])
        moved = explain(method, explainer, near, targets.repeat(len(s.noise), axis=0), s.seed)
        moved = moved.reshape(s.few, len(s.noise), *maps.shape[1:])
        per_image["stability"] = _relative_distance(moved, maps[: s.few])
        if method.make is not None:
            changed = explain(method, method.make(s.other), images, targets, s.seed)
            per_image["randomisation"] = rank_correlation(maps[: s.few], changed)
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
    )


def _relative_distance(moved: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Mean l2 distance (n,) of maps (n, q, H, W) to (n, H, W), as a share of the latter's norm."""
    distance = np.sqrt(((moved - maps[:, None]) ** 2).sum(axis=(2, 3), dtype=np.float64))
    norm = np.sqrt((maps**2).sum(axis=(1, 2), dtype=np.float64))
    return np.divide(distance.mean(axis=1), norm, out=np.zeros(len(maps)), where=norm > 0.0)


def _estimates(per_image: dict[str, np.ndarray], seed: int) -> dict[str, Estimate]:
    """Means with their intervals, which end where a measure does: of few images they are wide."""
    found = {}
    for measure in MEASURES:
        if measure.key in per_image:
            values = per_image[measure.key]
            low, high = np.clip(bootstrap_mean(values[:, None], seed)[0], *measure.bounds)
            found[measure.key] = Estimate(float(values.mean()), float(low), float(high))
    return found


def _randomised(model: keras.Model, seed: int) -> keras.Model:
    """A clone whose last quarter of layers with weights is at random."""
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    with seeded(seed, None):
        ProgressiveLayerRandomization(RANDOMISED).randomize(other)
    return other


def _images(craft: Craft, inputs: Any) -> np.ndarray:
    """All images as one array: maps are drawn and measured beside each other."""
    if not hasattr(inputs, "__len__") or hasattr(inputs, "element_spec"):
        raise TypeError(
            "inputs must be an array or a tensor (n, H, W, channels), received "
            f"{type(inputs).__name__}. Collect its images first: np.concatenate([images for images,"
            " labels in dataset.batch(32).as_numpy_iterator()])."
        )
    stream = Stream(inputs, craft.network.input_shape, craft.batch_size)
    return np.concatenate([batch.images for batch in stream])


def _pictures(
    photographs: Any, titles: Sequence[str] | None, images: np.ndarray, shown: int
) -> tuple[np.ndarray, list[str]]:
    """What is shown: uint8 (m, H', W', 3), and names."""
    names = [f"image {i}" for i in range(len(images))] if titles is None else list(titles)
    if len(names) != len(images):
        raise ValueError(f"titles must name {len(images)} images, received {len(names)} names.")
    if photographs is None:
        is_pixels = images.min() >= 0.0 and 1.0 < images.max() <= 255.0
        photographs = images if is_pixels else np.empty((0, *images.shape[1:3], 3))
        shown = min(shown, len(photographs))
    elif len(photographs) != len(images):
        raise ValueError(
            f"photographs must be {len(images)}, one for each image, received {len(photographs)}."
        )
    pictures = np.asarray(photographs[:shown])
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3):
        raise ValueError(
            "photographs must have shape (n, H, W, 3) or (n, H, W), received "
            f"{np.shape(photographs)}."
        )
    if pictures.shape[-1] == 1:
        pictures = pictures.repeat(3, axis=-1)
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8), names[:shown]
