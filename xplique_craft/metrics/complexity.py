"""
Complexity: how much of the network each concept needs (Fel et al., arXiv 2407.06076, 2024).

    K(z) = 1 - mean over layers l of I_V(f_l(x) -> z) / H_V(z)

z(x) is how much of a concept there is in an image, the mean of its coefficient over positions, and
f_l(x) are the activations of layer l, averaged over positions. I_V is the information that a family
V of predictors can use. With linear predictors and Gaussian errors its share of H_V, what there is
to know, is what a linear probe explains of z in images that it was not fitted on, and 0 where it is
worse than the mean:

    I_V / H_V = max(0, 1 - sum (z - probe(f_l(x)))^2 / sum (z - mean z)^2)

A concept that already the first layers tell, as a colour, has a low K; one that only the last can,
a high one.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import RidgeCV

from .._checks import check, check_names, listing, warn
from .._compiled import compile_function
from .._intervals import bootstrap_of_means
from ..concept_model import ConceptModel, check_craft
from ..gates.coded import encode_batch
from ..results import Complexity, Estimate
from ..sampling.rows import pool, without_special
from ..splitting.flatten import flat_graph
from ..splitting.graph import Graph
from ..splitting.layers import candidates_of, find_cut
from .folds import divided
from .too_few import TooFewPhotographs

STRENGTHS = np.logspace(-2.0, 6.0, 17)  # of the ridge, for features of variance 1
ENOUGH = 20  # images of a fold: with fewer of them probes explain too little


def measure_complexity(
    craft: ConceptModel,
    inputs: Any,
    *,
    layers: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Complexity:
    """
    How complex each concept is: high where only late layers of the network tell it.

    Parameters
    ----------
    craft
        A fitted `Craft`, or any other concepts of a split model.
    inputs
        Images (n, H, W, channels): array, tensor, or tf.data.Dataset. They should differ in how
        much of the concepts they hold, so take those of several classes, or all of one that the
        concepts were not found in. At least 100 are needed (with 5 folds), and some hundreds are
        better: probes that are fitted on few images explain too little, and K comes out too high.
    layers
        Names of layers at which the model can be cut, as `candidate_layers` has them, none of them
        after that of the concepts, in any order: K is a mean over these. None takes all there are,
        which weighs the parts of the network by how many layers they have.
    folds
        Into how many parts the images are divided: the probes predict each part by the others.
    seed
        The same seed divides the images in the same way.

    Returns
    -------
    complexity
        K of each concept with its interval over images, and how well each layer tells it.

    Raises
    ------
    TypeError, ValueError
        If a layer is none, or comes after that of the concepts; if there are not two images for
        each fold.

    Warns
    -----
    UserWarning
        If there are fewer than 20 images for each fold, or a concept is the same in all images.
    """
    check_craft(craft)
    folds, seed = check("folds", folds), check("seed", seed)
    names, depth, model = _up_to_concepts(craft, layers)
    z, features = _one_pass(craft, inputs, model)
    number, k = z.shape
    if number < 2 * folds:
        raise TooFewPhotographs(
            f"inputs must be at least two images for each of the {folds} folds, received {number}. "
            "Give more images; 100 or more are needed."
        )
    if number < ENOUGH * folds:
        warn(
            f"There are {number} images in {folds} folds, fewer than {ENOUGH} in each: the probes "
            "explain too little of other images, and the complexity comes out too high. Give "
            f"{ENOUGH * folds} images or more."
        )
    parts = divided(number, folds, seed)
    around_mean = np.square(z - _mean_of_others(z, parts))
    errors = np.stack([np.square(z - predicted_by_others(one, z, parts)) for one in features], 1)
    constant = np.ptp(z, axis=0) <= 1e-6 * np.abs(z).max(axis=0)
    if constant.any():
        warn(
            f"Concepts {', '.join(map(str, np.flatnonzero(constant)))} are the same in all images, "
            "so there is nothing to predict: their complexity is NaN. Give images that differ."
        )
    around_mean[:, constant] = np.nan

    def r2(means: np.ndarray) -> np.ndarray:
        """(r, layers, k) of means over images (r, (layers + 1) k)."""
        split = means.reshape(len(means), len(names) + 1, k)
        return np.clip(1.0 - split[:, :-1] / split[:, -1:], 0.0, 1.0)

    values = np.concatenate([errors, around_mean[:, None]], axis=1).reshape(number, -1)
    ends = bootstrap_of_means(values, lambda means: 1.0 - r2(means).mean(axis=1), seed)
    found = r2(values.mean(axis=0)[None])[0]
    return Complexity(
        by_concept=[
            Estimate(float(1.0 - found[:, j].mean()), float(ends[j, 0]), float(ends[j, 1]))
            for j in range(k)
        ],
        r2=found,
        layers=names,
        depth=depth,
        number_of_images=number,
        folds=folds,
    )


def predicted_by_others(
    features: np.ndarray, z: np.ndarray, parts: Sequence[np.ndarray]
) -> np.ndarray:
    """
    What linear probes predict of images that they were not fitted on.

    Parameters
    ----------
    features
        (n, c): one layer's, brought to mean 0 and variance 1 by the images that are fitted on.
    z
        (n, k): how much of each concept there is. Each has a ridge strength of its own, chosen
        among the images that are fitted on.
    parts
        Numbers of images; each part is predicted by all others.

    Returns
    -------
    predicted
        (n, k).
    """
    predicted = np.empty_like(z)
    for part in parts:
        others = np.setdiff1d(np.arange(len(z)), part)
        mean, spread = features[others].mean(axis=0), features[others].std(axis=0)
        varies = spread > 1e-6 * np.abs(features[others]).max(axis=0, initial=0.0)
        scaled = (features[:, varies] - mean[varies]) / spread[varies]
        if not varies.any():
            predicted[part] = z[others].mean(axis=0)
            continue
        probe = RidgeCV(STRENGTHS, alpha_per_target=True).fit(scaled[others], z[others])
        predicted[part] = probe.predict(scaled[part]).reshape(len(part), -1)
    return predicted


def _mean_of_others(z: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """(n, k): what is predicted of each image where nothing is known of it."""
    means = np.empty_like(z)
    for part in parts:
        means[part] = np.delete(z, part, axis=0).mean(axis=0)
    return means


def _up_to_concepts(craft: ConceptModel, layers: Any) -> tuple[list[str], np.ndarray, keras.Model]:
    """Names of the layers, their depths, and a model from images to what they and g give."""
    graph = flat_graph(craft.model, "model")
    last = find_cut(graph, craft.model, craft.layer)
    place = {call.name: position for position, call in enumerate(graph.calls)}
    known = [one.name for one in candidates_of(graph) if place[one.name] <= place[last.name]]
    names = known if layers is None else _asked(graph, craft, check_names("layers", layers), place)
    if not names:
        raise ValueError("layers must be at least one name, or None for all, received none.")
    names = sorted(names, key=place.__getitem__)
    outputs = [graph.calls[place[name]].outputs[0] for name in names]
    depth = np.array([place[name] for name in names]) / place[last.name]
    model = keras.Model(graph.model.inputs[0], [*outputs, last.outputs[0]], name="up_to_concepts")
    return names, depth, model


def _asked(
    graph: Graph, craft: ConceptModel, layers: list[str], place: dict[str, int]
) -> list[str]:
    """The names of these layers in the flat model."""
    found = []
    for layer in layers:
        # In a nested model it is "outer/inner"; the flat one has the inner layers themselves.
        inner = layer if layer in place else layer.rpartition("/")[2]
        call = find_cut(graph, craft.model, inner if inner in place else layer)
        if place[call.name] > place[craft.layer]:
            raise ValueError(
                f"layers must not come after {craft.layer!r}, the layer of the concepts, received "
                f"{layer!r}."
            )
        found.append(call.name)
    twice = [name for name in dict.fromkeys(found) if found.count(name) > 1]
    if twice:
        raise ValueError(f"layers must be different, received {listing(twice)} more than once.")
    return found


def _one_pass(
    craft: ConceptModel, inputs: Any, model: keras.Model
) -> tuple[np.ndarray, list[np.ndarray]]:
    """How much of each concept there is, (n, k), and the layers' features, (n, c) each; float64."""
    network = craft.network

    def run(images: tf.Tensor) -> list[tf.Tensor]:
        *features, latent = model(tf.cast(images, network.dtype), training=False)
        pooled = [pool(tf.cast(feature, tf.float32))[0] for feature in features]
        return [*pooled, tf.cast(latent, tf.float32)]

    signature = [tf.TensorSpec([None, *network.input_shape], tf.float32)]
    compiled = compile_function(run, signature, rows=[0], room=network.room_of_g)
    coefficients: list[np.ndarray] = []
    parts: list[list[np.ndarray]] = []
    for batch in craft.stream(inputs).progress("complexity", craft.verbose):
        *features, latent = compiled(batch.images)
        u, _ = encode_batch(without_special(latent, len(craft.special)), craft.factorized)
        coefficients.append(pool(u)[0].numpy())
        parts.append([feature.numpy() for feature in features])
    every = [np.concatenate(one).astype(np.float64) for one in zip(*parts, strict=True)]
    return np.concatenate(coefficients).astype(np.float64), every
