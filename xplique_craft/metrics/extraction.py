"""
Extraction: how well concepts stand for the activations they are said to be, of plain arrays.

A (n, ..., c) are activations and U (n, ..., k) their coefficients. The *rebuilt* activations are
U W, with PCA's mean in them: `craft.inverse_transform(u)`. Every number is a ratio of sums over
images (or its root, or 1 minus it), so that it has an interval over images and can be taken batch
by batch: the functions here and `measure_extraction` share these sums.

relative_error         sqrt(sum ||a - rebuilt||^2 / sum ||a||^2)                      low is good
r_squared              1 - sum ||a - rebuilt||^2 / sum ||a - mean a||^2               high is good
zero_share             coefficients that are 0 / all coefficients                     high is sparse
hoyer_sparsity         mean of (sqrt k - |u|_1 / |u|_2) / (sqrt k - 1), u not 0       high is sparse
wasserstein_distance   cheapest way to move the rows of A onto the rebuilt / ||a||    low is good
out_of_distribution    distance of rebuilt rows to rows of other images / that of a   low is good,
                                                                                      down to 1

Whether concepts are of one kind each is another question: see `purity`, the intruder test.
Ref. Fel et al., A Holistic Approach (NeurIPS 2023), section 4; Hoyer, JMLR 5 (2004).
"""

from typing import Any

import numpy as np

from .._checks import check, check_array, check_range, warn
from ..results.stability import SAME
from .extraction_sums import (
    CoefficientSums,
    ComparedRows,
    Ratio,
    RebuiltSums,
    add_rows,
    row_reservoir,
)
from .folds import cosines

NO_ACTIVATION = "all activations are 0"
NO_VARIATION = "all activations are the same"
NO_NEIGHBOUR = "there is one image only, or every row is in another image too"
NO_COEFFICIENT = "all coefficients are 0, or there is one concept only"


# ------------------------------------------------------------------------------ of activations
def relative_error(activations: Any, rebuilt: Any) -> float:
    """
    How much of the activations the concepts do not explain, ||A - UW|| / ||A||; low is good.

    Parameters
    ----------
    activations
        A, (n, ..., c).
    rebuilt
        U W, (n, ..., c), with PCA's mean in it: `craft.inverse_transform(u)`.

    Returns
    -------
    error
        0 is perfect, and 1 is what no concepts at all reach; NaN, with a warning, where all
        activations are 0.
    """
    a, b = _pair(activations, rebuilt)
    return float(np.sqrt(_value(RebuiltSums.of(a, b).error, "relative error", NO_ACTIVATION)))


def r_squared(activations: Any, rebuilt: Any) -> float:
    """
    How much of the variation of the activations the concepts explain, R2; high is good.

    Parameters
    ----------
    activations, rebuilt
        (n, ..., c), see `relative_error`.

    Returns
    -------
    r2
        1 - ||A - UW||^2 / ||A - mean||^2 with the mean of each channel over all rows: 1 is
        perfect, 0 what the mean alone reaches, and it may be below; NaN, with a warning, where
        all rows are the same.
    """
    a, b = _pair(activations, rebuilt)
    return 1.0 - _value(RebuiltSums.of(a, b).unexplained, "R2", NO_VARIATION)


def wasserstein_distance(activations: Any, rebuilt: Any, *, seed: int = 0) -> float:
    """
    How far the rebuilt activations are from the real ones as a whole; low is good.

    It is the 1-Wasserstein distance: the least mean way by which the rows of A can be moved onto
    those of U W, whichever goes to which, over the mean norm of the rows of A. So it forgives
    errors that leave the set of rows as it was, and is at most what the errors of single rows are.

    Parameters
    ----------
    activations, rebuilt
        (n, ..., c), see `relative_error`.
    seed
        Of more than 1,000 rows, it draws those that are compared, the same places of both.

    Returns
    -------
    distance
        0 is perfect, and 1 is what no concepts at all reach; NaN, with a warning, where all
        activations are 0.
    """
    compared = _compared(activations, rebuilt, seed)
    return _value(compared.moved, "1-Wasserstein distance", NO_ACTIVATION)


def out_of_distribution(activations: Any, rebuilt: Any, *, seed: int = 0) -> float:
    """
    How far rebuilt activations are from real ones; low is good, down to 1, as far as real ones.

    Parameters
    ----------
    activations, rebuilt
        (n, ..., c), see `relative_error`; of at least two images.
    seed
        Of more than 1,000 rows, it draws those that are compared.

    Returns
    -------
    distance
        The mean distance of the rows of U W to the nearest row of A of another image, over the
        same of the rows of A themselves: 1 is as near as real activations are to each other, and
        more is further from what the head has ever seen. Read it beside the error, for below 1
        less is no better: rebuilt rows that are shrunk towards the mean, or to 0, are nearer to
        some real row than real ones are. NaN, with a warning, where there is one image only, or
        every row of A is in another image too.
    """
    compared = _compared(activations, rebuilt, seed)
    return _value(compared.far, "out-of-distribution distance", NO_NEIGHBOUR)


def worst_explained(activations: Any, rebuilt: Any) -> np.ndarray:
    """
    Which images the concepts explain worst: their numbers, the worst first.

    Parameters
    ----------
    activations, rebuilt
        (n, ..., c), see `relative_error`.

    Returns
    -------
    images
        (n,): indices of the images by decreasing relative error; equal ones in their order.
    """
    a, b = _pair(activations, rebuilt)
    return np.argsort(-RebuiltSums.of(a, b).error_by_image, kind="stable")


# ------------------------------------------------------------------------------ of coefficients
def zero_share(u: Any) -> float:
    """
    The share of the coefficients that are exactly 0; high is sparse.

    Parameters
    ----------
    u
        U, (n, ..., k).

    Returns
    -------
    share
        From 0 to 1.
    """
    sums = CoefficientSums.of(check_array("u", u, "n, ..., k"))
    return _value((sums.zeros, sums.entries), "share of zeros", "")


def hoyer_sparsity(u: Any) -> float:
    """
    Hoyer's sparsity, whether few concepts carry each position; high is sparse.

    Parameters
    ----------
    u
        U, (n, ..., k), k at least 2.

    Returns
    -------
    sparsity
        The mean of (sqrt k - |u|_1 / |u|_2) / (sqrt k - 1) over the rows u that are not 0: 1 where
        each holds one concept, 0 where each holds all alike; NaN, with a warning, where all are 0
        or there is one concept only.
    """
    sums = CoefficientSums.of(check_array("u", u, "n, ..., k"))
    return _value((sums.hoyer, sums.used), "Hoyer sparsity", NO_COEFFICIENT)


def dead_concepts(u: Any) -> list[int]:
    """
    Concepts that are nowhere: their coefficients are 0 at all positions; few are good.

    Parameters
    ----------
    u
        U, (n, ..., k).

    Returns
    -------
    dead
        Their indices, in increasing order.
    """
    return CoefficientSums.of(check_array("u", u, "n, ..., k")).dead


# --------------------------------------------------------------------------------- of the bank
def duplicate_concepts(bank: Any, least: float = SAME) -> list[tuple[int, int]]:
    """
    Pairs of concepts that are the same, or opposites; few are good.

    Parameters
    ----------
    bank
        W, (k, c).
    least
        The magnitude of the cosine from which on two concepts are called the same.

    Returns
    -------
    duplicates
        Pairs (i, j) of indices with i < j, in increasing order.
    """
    least = check_range("least", least, "[0, 1]")
    bank = check_array("bank", bank, "k, c")
    alike = cosines(bank, bank, signed=True)
    # Cosines of the same directions differ from 1 by rounding.
    first, second = np.nonzero(np.triu(alike >= least - 1e-12, k=1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _value(ratio: Ratio, name: str, where: str) -> float:
    """The ratio of the sums; NaN with a warning where the second is 0."""
    numerator, denominator = (float(values.sum()) for values in ratio)
    if denominator == 0.0:
        warn(undefined(name, where))
        return float("nan")
    return numerator / denominator


def undefined(name: str, where: str) -> str:
    """What is said of a number that is none."""
    return f"The {name} is not defined and is NaN: {where}."


def _pair(activations: Any, rebuilt: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of one shape."""
    a = check_array("activations", activations, "n, ..., c")
    b = check_array("rebuilt", rebuilt, "n, ..., c")
    if a.shape != b.shape:
        raise ValueError(
            f"rebuilt must have the shape of activations, {a.shape}, received {b.shape}. It is "
            "U W: craft.inverse_transform(u)."
        )
    return a, b


def _compared(activations: Any, rebuilt: Any, seed: int) -> ComparedRows:
    a, b = _pair(activations, rebuilt)
    kept = row_reservoir()
    add_rows(kept, np.arange(len(a)), a, b, check("seed", seed))
    return ComparedRows(*kept.arrays)
