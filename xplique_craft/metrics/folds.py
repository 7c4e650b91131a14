"""
Stability: the same concepts again from other photographs.

The photographs are divided into folds, and a bank is found without each of them. Concepts of two
banks are matched one to one so that the sum of their cosines is largest (the Hungarian method). g
does not run: what the bank was fitted on is known, crop by crop and position by position.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from .._checks import caught_warnings, check, warn
from .._intervals import bootstrap_mean
from .._random import Draw, generator
from ..concept_model import ConceptModel, ExtractionSettings, check_craft
from ..extraction import fit_bank, rows_of
from ..factorization import Factorized
from ..results import ConceptStability, Estimate
from ..sampling.rows import CropRows
from .too_few import TooFewPhotographs


def stability(craft: ConceptModel, *, folds: int = 5, seed: int = 0) -> ConceptStability:
    """
    Whether the same concepts come again from other photographs of the class.

    Parameters
    ----------
    craft
        A fitted `Craft`. So many banks as there are folds, and two more, are fitted on parts of
        what its own was fitted on, with its own settings and seed, so that only the photographs
        differ. A craft that was loaded cuts its crops once more, and needs its images for that.
    folds
        Into how many parts the photographs are divided; each bank is found without one of them.
        With more folds the banks share more photographs, and concepts look more stable.
    seed
        The same seed divides the photographs in the same way.

    Returns
    -------
    stability
        Mean cosines of matched concepts, beside their floor, and those of each concept of the
        craft with its match in the bank of each fold. Where coefficients are signed, a concept and
        its opposite are the same.

    Raises
    ------
    ValueError
        If there are too few photographs, or concepts were not found by `fit`.

    Warns
    -----
    UserWarning
        If there is one concept only, so that there is no floor.
    """
    check_craft(craft)
    folds, seed = check("folds", folds), check("seed", seed)
    settings, found = known_rows(craft, "Ask the Craft that found them.")
    check_folds(found, folds, settings.number_of_concepts)
    return stability_of(
        settings,
        found,
        craft.factorized,
        folds=folds,
        seed=seed,
        seed_of_fit=craft.seed,
        verbose=craft.verbose,
    )


def known_rows(craft: ConceptModel, remedy: str) -> tuple[ExtractionSettings, CropRows]:
    """
    How a craft's bank was looked for, and what it was fitted on; cut once more after loading.

    Raises
    ------
    ValueError
        If the concepts were not found by `fit`; the message ends with the remedy.
    """
    concepts = craft.concepts
    settings = concepts.settings
    if settings is None:
        raise ValueError(
            "craft must have found its concepts by fit, to look for them once more on other "
            f"photographs, and these are parts of a concept, or were found elsewhere. {remedy}"
        )
    found = concepts.once(
        CropRows,
        lambda: rows_of(craft, settings, craft.stream(craft.inputs_of_fit), concepts.class_id),
    )
    if concepts.crops is not None and not np.array_equal(
        found.boxes, concepts.crops.boxes[: len(found.boxes)]
    ):
        warn(
            "The concepts were found in other crops, by an earlier version: how stable they are is "
            "measured in those that are cut today. Fit the craft again."
        )
    return settings, found


def check_folds(found: CropRows, folds: int, number_of_concepts: int) -> None:
    """Raise where there are too few photographs for so many folds or concepts."""
    if found.images < folds:
        raise TooFewPhotographs(
            f"folds must be at most the number of photographs, {found.images}, received {folds}. "
            "Fit the craft on more images, or ask for fewer folds."
        )
    fewest = len(found.rows) * (found.images // 2) // found.images
    if fewest < number_of_concepts:
        raise TooFewPhotographs(
            f"craft must be fitted on more images: half of the {found.images} that it has been "
            f"given have about {fewest} crops, in which {number_of_concepts} concepts cannot be "
            "found. Or ask for fewer concepts."
        )


def stability_of(
    settings: ExtractionSettings,
    found: CropRows,
    factorized: Factorized,
    *,
    folds: int,
    seed: int,
    seed_of_fit: int,
    verbose: bool,
) -> ConceptStability:
    """
    Stability of a bank, of what it was fitted on.

    Parameters
    ----------
    settings, found, seed_of_fit
        How the bank was found, on what, and with which seed.
    factorized
        The bank.
    folds, seed
        They do what they do in `stability`.
    verbose
        Whether a progress bar counts banks.
    """
    without = [np.setdiff1d(range(found.images), one) for one in divided(found.images, folds, seed)]
    parts = [*without, *divided(found.images, 2, seed)]
    fitted = banks_of(
        settings, found, parts, seed_of_fit=seed_of_fit, description="stability", verbose=verbose
    )
    scale = factorized.scale  # one for all: a channel counts as much in each bank
    banks = [one.bank if scale is None else one.bank / scale for one in fitted]
    signed = factorized.factorizer.signed_coefficients
    own, (first, second) = factorized.directions, banks[folds:]
    matches, by_fold = [], []
    for bank in banks[:folds]:
        match, cosine = matched(own, bank, signed)
        matches.append(match)
        by_fold.append(cosine)
    between = np.zeros((len(own), 0))
    for a, b in combinations(range(folds), 2):
        _, cosine = matched(banks[a], banks[b], signed)
        # In the order of the craft's own concepts, by their matches in the first of the two.
        between = np.column_stack([between, cosine[matches[a]]])
    others = cosines(own, own, signed)
    np.fill_diagonal(others, -np.inf)
    floor = others.max(axis=1)
    if len(own) == 1:
        warn(
            "There is one concept only, and none beside it that it could be mistaken for: the floor"
            " of its stability is NaN."
        )
        floor = np.array([np.nan])
    return ConceptStability(
        matched=_over_concepts(between.mean(axis=1), seed),
        disjoint=_over_concepts(matched(first, second, signed)[1], seed),
        floor=_over_concepts(floor, seed),
        by_fold=np.column_stack(by_fold),
        number_of_images=found.images,
    )


def divided(number: int, parts: int, seed: int) -> list[np.ndarray]:
    """So many photographs in parts of about one size, drawn by the seed."""
    return np.array_split(generator(seed, Draw.FOLDS).permutation(number), parts)


def banks_of(
    settings: ExtractionSettings,
    found: CropRows,
    parts: Sequence[np.ndarray],
    *,
    seed_of_fit: int,
    description: str,
    verbose: bool,
) -> list[Factorized]:
    """The bank of each of some parts of the photographs, found as the craft's own was."""
    with (
        tqdm(parts, desc=description, unit="bank", disable=not verbose, leave=False) as bar,
        caught_warnings(),  # of a rank or so, which the fit on all photographs has said
    ):
        return [fit_bank(settings, _of_images(found, images), seed_of_fit) for images in bar]


def cosines(first: np.ndarray, second: np.ndarray, signed: bool) -> np.ndarray:
    """(k, l): cosines of the rows of two banks, 0 where a row is; without signs where `signed`."""
    first, second = (_unit(bank.astype(np.float64)) for bank in (first, second))
    products = np.clip(first @ second.T, -1.0, 1.0)
    return np.abs(products) if signed else products


def matched(first: np.ndarray, second: np.ndarray, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each concept of the first bank its match in the second, (k,), and their cosine, (k,)."""
    found = cosines(first, second, signed)
    rows, columns = linear_sum_assignment(-found)
    return columns, found[rows, columns]


def _unit(bank: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(bank, axis=1, keepdims=True)
    return bank / np.where(norms > 0.0, norms, 1.0)


def _of_images(found: CropRows, images: np.ndarray) -> CropRows:
    """Of what a bank was fitted on, what comes from some images."""
    crops = np.isin(found.boxes[:, 0], images)
    positions = np.isin(found.position_images, images)
    return CropRows(
        boxes=found.boxes[crops],
        rows=found.rows[crops],
        positions=found.positions[positions],
        position_images=found.position_images[positions],
        images=len(images),
        predicted=found.predicted,
        channels=found.channels,
        special_tokens=found.special_tokens,
    )


def _over_concepts(values: np.ndarray, seed: int) -> Estimate:
    """The mean over concepts with its interval."""
    ((low, high),) = bootstrap_mean(values[:, None], seed)
    return Estimate(float(values.mean()), float(low), float(high))
