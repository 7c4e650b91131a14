"""
The concepts of several classes as one set, for all that is asked of concepts.
"""

from __future__ import annotations

from . import _backend as _backend

# isort: split
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from .concept_model import ConceptModel, Concepts
from .factorization.base import Factorized
from .factorization.union import united
from .metrics.predictors import check_models
from .questions import AnsweringModel
from .sampling import Stream
from .sampling.extent import measure_extent


def unite(concept_models: Sequence[ConceptModel], inputs: Any = None) -> AnsweringModel:
    """
    The concepts of several classes of one model as one set, which are encoded together.

    Their rows stand in the order of the list: first those of the first model, then those of the
    second. Encoded together, concepts compete for the activations, so that coefficients are other
    than each set's alone.

    Parameters
    ----------
    concept_models
        Fitted `Craft`s, or other concepts, of one model and layer. Those of Xplique that are
        encoded by Xplique are encoded exactly here, for its encoders take no other bank.
    inputs
        Images in which coefficients are looked at once, for the scale of maps and gates that lead
        to the mean: array, tensor, or tf.data.Dataset. None takes those that each of the sets was
        found in, one after the other.

    Returns
    -------
    concepts
        Everything that a fitted `Craft` answers, but for what goes back to crops of its own fit:
        stability, decompose, save. Settings are those of the first model, and so is the class whose
        score is explained where no targets are given.

    Raises
    ------
    TypeError, ValueError
        If there are none, or they are of different models or layers, or encoded in ways that cannot
        be united; if there are no images.
    """
    models = check_models("concept_models", concept_models)
    first = models[0]
    if len({len(model.special) for model in models}) > 1:
        raise ValueError(
            "concept_models must leave out the same tokens as belonging to no place, received "
            f"{[len(model.special) for model in models]}: fit them with the same special_tokens."
        )
    factorized = united([model.factorized for model in models], "concept_models")
    if inputs is None:
        if any(model.concepts.inputs is None for model in models):
            raise ValueError(
                "inputs must be images, for some of the concepts do not come with those that they "
                "were found in. Give them, as one array or dataset."
            )
        inputs = _one_after_the_other(models)
    return with_bank(first, factorized, inputs)


def with_bank(first: ConceptModel, factorized: Factorized, inputs: Any) -> AnsweringModel:
    """
    A bank as a set of concepts, with the model and the settings of another set.

    Parameters
    ----------
    first
        Whose model and settings they are.
    factorized
        The bank, with its encoding.
    inputs
        Images in which coefficients are looked at, as `unite` has them.
    """
    extent = measure_extent(
        first.stream(inputs),
        first.network,
        factorized,
        first.verbose,
        special_tokens=len(first.special),
    )
    return AnsweringModel(
        first.split,
        Concepts(factorized, first.class_id, inputs, extent),
        batch_size=first.batch_size,
        keep_residual=first.keep_residual,
        baseline=first.baseline,
        keep_special_tokens=first.keep_special_tokens,
        seed=first.seed,
        verbose=first.verbose,
    )


def _one_after_the_other(models: list[ConceptModel]) -> tf.data.Dataset:
    """The images of all fits, read batch by batch: an array of them all could be too large."""
    streams: list[Stream] = [model.stream(model.inputs_of_fit) for model in models]

    def images() -> Iterator[np.ndarray]:
        for stream in streams:
            for batch in stream:
                yield from batch.images

    shape = models[0].network.input_shape
    return tf.data.Dataset.from_generator(images, output_signature=tf.TensorSpec(shape, tf.float32))
