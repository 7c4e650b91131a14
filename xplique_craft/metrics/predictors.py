"""
What predicts the outputs of a model from concepts: `Through` the head, or by a `Sum` over them.

Each is made beside those that floors are measured with: the same concepts with random importances,
and banks of random directions. `metrics.outputs` says how these are drawn, and why so.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from .._checks import LARGEST_SEED, check_list
from .._random import Draw, generator, keyed_bits
from ..concept_model import ConceptModel, check_craft
from ..factorization.base import Factorized
from ..factorization.union import for_any_bank, united
from ..gates import AllOutputs, Coded
from ..sampling import Stream
from ..splitting.network import Network
from ..splitting.probe import same_network
from .sanity import random_bank

DRAWS = 3  # of each floor


class Predictor(ABC):
    """
    Logits from coefficients.

    Attributes
    ----------
    encodings
        The banks that images are encoded with.
    """

    encodings: list[Factorized]

    @abstractmethod
    def predict(
        self, coded: Coded, network: Network, u: list[tf.Tensor], outputs: np.ndarray
    ) -> np.ndarray:
        """Some logits, (n, s), of images with coefficients (n, ..., k) by each of the encodings."""


class Through(Predictor):
    """Concepts through the head: h(sum_k u_k W_k), with the bank W that is given."""

    def __init__(self, factorized: Factorized, bank: np.ndarray | None = None) -> None:
        self.encodings = [factorized]
        self.decoding = factorized if bank is None else replace(factorized, bank=bank)

    def predict(
        self, coded: Coded, network: Network, u: list[tf.Tensor], outputs: np.ndarray
    ) -> np.ndarray:
        rebuilt = coded.with_special(self.decoding.decode(u[0]))
        return network.logits(rebuilt).numpy()[:, outputs]


@dataclass(frozen=True)
class ConceptSet:
    """
    Some concepts, and what they add to some of the compared outputs.

    Parameters
    ----------
    factorized
        Their bank, with its encoding.
    constant
        b, (s,).
    added
        (s, k): mean contributions over the reference images.
    coefficients
        (k,): mean coefficients over them.
    """

    factorized: Factorized
    constant: np.ndarray
    added: np.ndarray
    coefficients: np.ndarray

    @property
    def alpha(self) -> np.ndarray:
        """(s, k): what one of each coefficient adds; 0 for concepts that are nowhere."""
        there = self.coefficients > 0.0
        return np.where(there, self.added / np.where(there, self.coefficients, 1.0), 0.0)

    def predict(self, u: np.ndarray) -> np.ndarray:
        """(n, s), of mean coefficients (n, k)."""
        return self.constant + u @ self.alpha.T


class Sum(Predictor):
    """Concept sets, one for all outputs or one for each, and the sums over their concepts."""

    def __init__(self, sets: list[ConceptSet]) -> None:
        self.sets = sets
        self.encodings = [one.factorized for one in sets]

    def predict(
        self, coded: Coded, network: Network, u: list[tf.Tensor], outputs: np.ndarray
    ) -> np.ndarray:
        pairs = zip(self.sets, u, strict=True)
        return np.concatenate([one.predict(mean_coefficients(each)) for one, each in pairs], axis=1)

    def permuted(self, rng: np.random.Generator) -> "Sum":
        """The same with mean contributions permuted over all outputs and concepts."""
        order = rng.permutation(np.concatenate([one.added.reshape(-1) for one in self.sets]))
        sets, start = [], 0
        for one in self.sets:
            some = order[start : start + one.added.size].reshape(one.added.shape)
            sets.append(replace(one, added=some))
            start += one.added.size
        return Sum(sets)


def mean_coefficients(u: tf.Tensor) -> np.ndarray:
    """(n, k) float64: coefficients (n, ..., k), mean over positions."""
    u = u.numpy().astype(np.float64)
    return u.reshape(len(u), -1, u.shape[-1]).mean(axis=1)


def by_bank(models: list[ConceptModel], seed: int) -> list[Through]:
    """The concepts, each draw of random importances, and each of random concepts."""
    own = models[0].factorized
    if len(models) > 1:
        own = united([model.factorized for model in models])
    norms = np.linalg.norm(own.bank, axis=1, keepdims=True)
    directions = own.bank / np.where(norms > 0.0, norms, 1.0)
    found = [Through(own)]
    for draw in range(DRAWS):
        order = generator(seed, draw, Draw.RANDOM_IMPORTANCES).permutation(len(norms))
        found.append(Through(own, norms * directions[order]))
    return found + [Through(_random(own, seed, 0, draw)) for draw in range(DRAWS)]


def by_sum(
    models: list[ConceptModel], compared: np.ndarray, one_each: bool, reference: Any, seed: int
) -> tuple[list[Sum], float]:
    """The same of sums over concepts, and what contributions of the concepts' own miss."""
    for model in models:
        _check_unsigned(model)
    by_draw: list[list[ConceptSet]] = [[] for _ in range(1 + DRAWS)]
    missing = total = 0.0
    if one_each:
        by_class = {model.class_id: model for model in models}
        pairs = [(by_class[output], np.array([output])) for output in compared.tolist()]
    else:
        pairs = [(models[0], compared)]
    for number, (model, outputs) in enumerate(pairs):
        own = model.factorized
        banks = [own, *(_random(own, seed, number, draw) for draw in range(DRAWS))]
        images = _reference_of(model, reference)
        sets, off, size = concept_sets(model, banks, outputs, images)
        missing, total = missing + off, total + size
        for found, one in zip(by_draw, sets, strict=True):
            found.append(one)
    own_sum = Sum(by_draw[0])
    drawn = [
        own_sum.permuted(generator(seed, draw, Draw.RANDOM_IMPORTANCES)) for draw in range(DRAWS)
    ]
    gap = missing / total if total > 0.0 else 0.0
    return [own_sum, *drawn, *map(Sum, by_draw[1:])], gap


def concept_sets(
    model: ConceptModel, banks: list[Factorized], outputs: np.ndarray, images: Any
) -> tuple[list[ConceptSet], float, float]:
    """
    What the concepts of several banks add to some outputs of images, one `ConceptSet` for each.

    Parameters
    ----------
    model
        The split model, whose setting says whether the residual is kept.
    banks
        Banks with their encodings.
    outputs
        (s,): which outputs.
    images
        The reference images.

    Returns
    -------
    sets
        One for each bank.
    missing, total
        Of the first bank: the sum over images and outputs of what its contributions miss, and of
        what all concepts together add, both without signs.
    """
    model = model.variant(baseline="zero")
    head = AllOutputs(model.network, model.batch_size)
    shapes = [(len(outputs), len(bank.bank)) for bank in banks]
    added, coefficients = [np.zeros(s) for s in shapes], [np.zeros(s[1]) for s in shapes]
    constant = [np.zeros(len(outputs)) for _ in banks]
    missing = total = number = 0.0
    for coded in model.batches(images, description="contributions to outputs"):
        number += len(coded.images)
        for i, bank in enumerate(banks):
            one = coded if i == 0 else coded.by_bank(bank, keep_residual=model.keep_residual)
            phi = head.phi(one, outputs)
            closed, opened = (logits[:, outputs] for logits in head.logits_at_ends(one))
            added[i] += phi.sum(axis=0).T
            coefficients[i] += mean_coefficients(one.u).sum(axis=0)
            constant[i] += closed.sum(axis=0)
            if i == 0:
                missing += float(np.abs(opened - closed - phi.sum(axis=1)).sum())
                total += float(np.abs(opened - closed).sum())
    found = zip(banks, constant, added, coefficients, strict=True)
    sets = [ConceptSet(bank, b / number, a / number, u / number) for bank, b, a, u in found]
    return sets, missing, total


def _random(factorized: Factorized, seed: int, number: int, draw: int) -> Factorized:
    """A bank of random directions: another one for every concept set and every draw."""
    bits = keyed_bits(seed, int(Draw.RANDOM_BANK), number, draw)
    return random_bank(for_any_bank(factorized), int(bits[0] % np.uint64(LARGEST_SEED)))


def check_models(name: str, value: Any) -> list[ConceptModel]:
    """
    Concepts of one model and layer in a list.

    Raises
    ------
    TypeError, ValueError
        If there are none, one has no concepts, or they are of other models or layers.
    """
    models = [
        check_craft(one, f"{name}[{i}]")
        for i, one in enumerate(check_list(name, value, "fitted Crafts"))
    ]
    if not models:
        raise ValueError(f"{name} must be at least one fitted Craft, received an empty list.")
    for i, model in enumerate(models):
        if not same_network(models[0].network, model.network):
            raise ValueError(
                f"{name} must be of one model, cut at one layer, and {name}[{i}], cut at "
                f"{model.layer!r}, makes something else of an image than {name}[0], cut at "
                f"{models[0].layer!r}. Fit them on the same split: Craft.from_model(split, ...)."
            )
    return models


def _check_unsigned(model: ConceptModel) -> None:
    if model.factorized.factorizer.signed_coefficients:
        raise ValueError(
            "concepts must have coefficients without sign for form='additive', for contributions "
            f"are divided by their mean, and those of {model.factorized.factorizer!r} are signed. "
            "Take form='bank', or concepts of NMF or semi-NMF."
        )


def _reference_of(model: ConceptModel, given: Any) -> Stream:
    if given is not None:
        return Stream(given, model.network.input_shape, model.batch_size, "reference")
    if model.concepts.inputs is None:
        raise ValueError(
            "reference must be images for these concepts, which do not come with those that they "
            "were found in: give the images that importances are means over."
        )
    return model.stream(model.inputs_of_fit)
