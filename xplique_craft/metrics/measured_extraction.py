"""
Extraction measured: all numbers of `extraction.py` of concepts on images, in one pass of g.

By default on images that no bank has seen. The photographs of `fit` are divided into folds, a bank
is found without each of them, of rows that are known, and each photograph is explained by the bank
that was found without it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .._checks import check, warn
from .._intervals import bootstrap_ratio
from ..concept_model import ConceptModel, check_craft
from ..factorization import Factorized
from ..gates.coded import encode_batch
from ..results import Estimate, Extraction
from ..sampling import Stream
from ..sampling.rows import without_special
from ..sampling.told_images import prints_of
from .extraction import (
    NO_ACTIVATION,
    NO_COEFFICIENT,
    NO_NEIGHBOUR,
    NO_VARIATION,
    duplicate_concepts,
    undefined,
)
from .extraction_sums import (
    CoefficientSums,
    ComparedRows,
    Ratio,
    RebuiltSums,
    add_rows,
    joined,
    row_reservoir,
)
from .folds import banks_of, divided, known_rows
from .too_few import TooFewPhotographs


def measure_extraction(
    concepts: ConceptModel, inputs: Any = None, *, folds: int = 5, seed: int = 0
) -> Extraction:
    """
    How well the concepts stand for the activations: error, sparsity, distances, dead concepts.

    Parameters
    ----------
    concepts
        A fitted `Craft`, or any other concepts of a split model.
    inputs
        Images to measure on, better ones that the concepts were not found in: an array, a tensor
        or a tf.data.Dataset. None takes those of `fit`, each with a bank that was found without
        it: so many banks as there are folds are fitted, with the craft's own settings and seed.
    folds
        Into how many parts the images of `fit` are divided where no others are given. With more
        folds each bank is found on more of them, and is more like the craft's own.
    seed
        It divides the images, and draws the rows that the two distances compare, at most 1,000.

    Returns
    -------
    extraction
        The numbers with their directions, and on how many images, held out or not, they were
        measured. Dead and duplicate concepts are those of the craft's own bank: dead in `inputs`,
        or in the images of `fit` where none are given. Of each image its mean activation is held;
        all else is bounded by `batch_size`.

    Raises
    ------
    ValueError
        If no images are given for concepts that were not found by `fit`, or `fit` had too few
        images for so many folds.

    Warns
    -----
    UserWarning
        If some of the images are those that the concepts were found in, or a number is NaN.
    """
    check_craft(concepts, "concepts")
    folds, seed = check("folds", folds), check("seed", seed)
    held_out: bool | None = True
    if inputs is None:
        fold_of, banks = _without_folds(concepts, folds, seed)
        stream = concepts.stream(concepts.inputs_of_fit)
        seen = _pass(concepts, stream, banks, lambda images: fold_of[images], seed)
        scale = concepts.coefficient_scale
        dead = np.flatnonzero(scale == 0.0).tolist()
    else:
        prints: set[bytes] = set()
        stream = concepts.stream(inputs)
        own = [concepts.factorized]
        seen = _pass(concepts, stream, own, np.zeros_like, seed, prints)
        dead, held_out, folds = seen.coefficients.dead, _held_out(concepts, prints), 0
    rebuilt, coefficients, compared = seen.rebuilt, seen.coefficients, seen.compared
    zeros, hoyer = (
        (coefficients.zeros, coefficients.entries),
        (coefficients.hoyer, coefficients.used),
    )
    estimate = partial(_estimate, seed)
    return Extraction(
        relative_error=estimate(rebuilt.error, "relative error", NO_ACTIVATION, np.sqrt),
        r2=estimate(rebuilt.unexplained, "R2", NO_VARIATION, lambda share: 1.0 - share),
        zeros=estimate(zeros, "share of zeros", ""),
        hoyer=estimate(hoyer, "Hoyer sparsity", NO_COEFFICIENT),
        wasserstein=estimate(compared.moved, "1-Wasserstein distance", NO_ACTIVATION),
        out_of_distribution=estimate(compared.far, "out-of-distribution distance", NO_NEIGHBOUR),
        dead=dead,
        duplicates=duplicate_concepts(concepts.bank),
        error_by_image=seen.rebuilt.error_by_image,
        number_of_images=len(rebuilt.square),
        number_of_rows=len(compared.rows),
        folds=folds,
        held_out=held_out,
    )


@dataclass(frozen=True)
class _Seen:
    """What one pass over the images leaves."""

    rebuilt: RebuiltSums
    coefficients: CoefficientSums
    compared: ComparedRows


def _pass(
    model: ConceptModel,
    stream: Stream,
    banks: Sequence[Factorized],
    bank_of: Callable[[np.ndarray], np.ndarray],
    seed: int,
    prints: set[bytes] | None = None,
) -> _Seen:
    """Each image explained by the bank (an index into `banks`) that `bank_of` gives its number."""
    rebuilt, coefficients, kept = [], [], row_reservoir()
    for batch in stream.progress("extraction", model.verbose):
        latents = batch.latents(model.network)
        activations = without_special(latents, len(model.special)).numpy()
        which = bank_of(batch.indices)
        u = np.empty((*activations.shape[:-1], len(banks[0].bank)), np.float32)
        explained = np.empty_like(activations)
        for one in np.unique(which):
            some = which == one
            code, _ = encode_batch(activations[some], banks[one])
            u[some], explained[some] = code, banks[one].decode(code)
        rebuilt.append(RebuiltSums.of(activations, explained))
        coefficients.append(CoefficientSums.of(u))
        add_rows(kept, batch.indices, activations, explained, seed)
        if prints is not None:
            prints.update(prints_of(batch.images))
    return _Seen(joined(rebuilt), joined(coefficients), ComparedRows(*kept.arrays))


def _without_folds(
    craft: ConceptModel, folds: int, seed: int
) -> tuple[np.ndarray, list[Factorized]]:
    """The fold of each image of `fit`, (n,), and the bank that was found without each fold."""
    settings, found = known_rows(craft, "Give images to measure on, as inputs.")
    number, k = found.images, settings.number_of_concepts
    if number < folds:
        raise TooFewPhotographs(
            f"folds must be at most the number of images of fit, {number}, received {folds}. Fit "
            "the craft on more images, ask for fewer folds, or give other images as inputs."
        )
    parts = divided(number, folds, seed)
    fold_of = np.empty(number, int)
    for fold, images in enumerate(parts):
        fold_of[images] = fold
    fewest = int(min((fold_of[found.boxes[:, 0]] != fold).sum() for fold in range(folds)))
    if fewest < k:
        raise TooFewPhotographs(
            f"craft must be fitted on more images: without one of {folds} folds there are {fewest} "
            f"crops, in which {k} concepts cannot be found. Or give other images as inputs."
        )
    without = [np.setdiff1d(range(number), part) for part in parts]
    banks = banks_of(
        settings,
        found,
        without,
        seed_of_fit=craft.seed,
        description="extraction",
        verbose=craft.verbose,
    )
    return fold_of, banks


def _held_out(model: ConceptModel, prints: set[bytes]) -> bool | None:
    """Whether none of these images is one of those of `fit`; None where these are not at hand."""
    concepts = model.concepts
    if concepts.inputs is None:
        return None

    def those_of_fit() -> set[bytes]:
        stream = model.stream(concepts.inputs)
        return {one for batch in stream for one in prints_of(batch.images)}

    common = prints & concepts.once("prints of images", those_of_fit)
    if common:
        warn(
            f"inputs holds {len(common)} of the images that the concepts were found in: these "
            "numbers are not held out, and look better than on other images. Give others, or None "
            "for folds of the images of fit."
        )
    return not common


def _estimate(
    seed: int,
    ratio: Ratio,
    name: str,
    where: str,
    transform: Callable[[float], float] = float,
) -> Estimate:
    """A function of a ratio, one that rises or falls everywhere, with its interval."""
    found = bootstrap_ratio(*ratio, seed)
    if np.isnan(found.value):
        warn(undefined(name, where))
    low, high = sorted(float(transform(end)) for end in (found.low, found.high))
    return Estimate(float(transform(found.value)), low, high)
