"""
Sanity checks: what the numbers of quality come to where there is nothing to find.

A number says little without its floor. Two banks give it, on the user's own network and images: one
found in the same way in the network with its weights shuffled (Adebayo et al., Sanity Checks for
Saliency Maps, NeurIPS 2018), and one of random directions.
"""

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from .._checks import caught_warnings, check
from .._random import Draw, generator
from ..concept_model import ConceptModel, check_craft
from ..extraction import find_concepts
from ..factorization.base import Factorized
from ..results import SanityCheck
from ..splitting import split_model
from .quality import measure_quality


def shuffled_weights(model: keras.Model, seed: int = 0) -> keras.Model:
    """
    A copy of a model whose weights are the same numbers in another order.

    Within a layer, weights of one shape are shuffled alike, so that normalisations keep a mean and
    a variance that belong together.
    """
    copy = keras.models.clone_model(model)
    for number, (layer, original) in enumerate(zip(copy.layers, model.layers, strict=True)):
        orders: dict[tuple[int, ...], np.ndarray] = {}
        for weight, value in zip(layer.weights, original.get_weights(), strict=True):
            rng = generator(seed, number, value.size, Draw.SHUFFLED_WEIGHTS)
            order = orders.setdefault(value.shape, rng.permutation(value.size))
            weight.assign(value.reshape(-1)[order].reshape(value.shape))
    return copy


def random_bank(factorized: Factorized, seed: int = 0) -> Factorized:
    """
    The same factorisation with random rows of the same norms: |normal|, or normal where a bank has
    negative entries; orthogonal to each other where its rows are. Channels that are compared in a
    scale of their own are random in it.
    """
    bank, scale = factorized.directions, factorized.scale
    rows = generator(seed, Draw.RANDOM_BANK).normal(size=bank.shape)
    rows = rows if (bank < 0.0).any() else np.abs(rows)
    norms = np.linalg.norm(bank, axis=1, keepdims=True)
    products = np.abs(bank @ bank.T - np.diag(norms[:, 0] ** 2))
    if len(bank) > 1 and products.max() < 1e-4 * norms.max() ** 2:  # as PCA's, encoded by products
        rows = np.linalg.qr(rows.T)[0].T
    rows *= norms / np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows if scale is None else rows * scale
    return replace(factorized, bank=rows.astype(factorized.bank.dtype))


def sanity_check(
    craft: ConceptModel, inputs: Any, targets: Any = None, seed: int = 0
) -> SanityCheck:
    """
    Quality of the concepts beside its floor.

    Parameters
    ----------
    craft
        A fitted `Craft`. Its images of `fit` are factorised once more, in the shuffled network.
    inputs
        Images that quality is measured on, better held-out ones.
    targets
        Which score the shares of quality are of, see `Craft.quality`.
    seed
        The shuffled weights and the random bank follow from it.

    Returns
    -------
    check
        The quality of the craft's own bank and of the two others, all on the craft's own network.

    Raises
    ------
    ValueError
        If the concepts were not found by `fit`, but are those of a concept taken apart.
    """
    concepts = check_craft(craft).concepts
    seed = check("seed", seed)
    if concepts.settings is None:
        raise ValueError(
            "craft must have found its concepts by fit, to look for them once more in a shuffled "
            "network, and these were not: they are parts of a concept, united, or Xplique's. Ask "
            "the Craft that found them."
        )
    shuffled = split_model(shuffled_weights(craft.model, seed), craft.layer)
    with caught_warnings():  # that the shuffled network predicts something else, and such
        other = find_concepts(
            craft.variant(split=shuffled), concepts.settings, craft.inputs_of_fit, concepts.class_id
        )
        floors = [
            measure_quality(craft.variant(factorized=factorized), inputs, targets)
            for factorized in (other.factorized, random_bank(craft.factorized, seed))
        ]
    return SanityCheck(measure_quality(craft, inputs, targets), *floors)
