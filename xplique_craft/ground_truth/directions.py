"""
Which directions of a layer stand for known concepts, and which concepts of a bank are those.

    coverage        R (n, h, w, C): how much of each position's cell each known concept fills
    true directions W* (C, c): least squares of A(p) on R(p) and a constant, over all positions
    matching        one to one, so that the sum of the scores is largest (the Hungarian method)

Arrays only; the models are run in `recovery`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata


def coverage(masks: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """
    How much of each cell of a grid each mask fills.

    Parameters
    ----------
    masks
        (n, C, H, W) bool.
    grid
        (h, w), which divide H and W.

    Returns
    -------
    filled
        (n, h, w, C) between 0 and 1.

    Raises
    ------
    ValueError
        If the grid does not divide the masks.
    """
    n, concepts, height, width = masks.shape
    h, w = grid
    if height % h or width % w:
        raise ValueError(
            f"grid must divide the masks' {height} x {width} pixels, received {grid}: "
            "cut the model at a layer with another resolution."
        )
    cells = masks.reshape(n, concepts, h, height // h, w, width // w)
    return cells.mean(axis=(3, 5)).transpose(0, 2, 3, 1)


def true_directions(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """
    What each known concept adds to the activations, by least squares.

    Parameters
    ----------
    batches
        Pairs of coverage (n, h, w, C) and activations (n, h, w, c) of some images.

    Returns
    -------
    directions
        W*, (C, c) float64; rows of 0 for concepts that cover nothing.
    """
    gram: Any = 0.0
    moment: Any = 0.0
    for filled, activations in batches:
        rows = filled.reshape(-1, filled.shape[-1]).astype(np.float64)
        rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
        gram = gram + rows.T @ rows
        moment = moment + rows.T @ activations.reshape(len(rows), -1).astype(np.float64)
    return np.linalg.lstsq(gram, moment, rcond=1e-10)[0][:-1]


def correlations(u: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """
    Correlation, over positions, of known concepts' coverage with concepts' coefficients.

    Parameters
    ----------
    u
        (n, h, w, k).
    filled
        (n, h, w, C).

    Returns
    -------
    correlations
        (C, k) in [-1, 1]; 0 where one of the two is the same everywhere.
    """
    one, other = (_standard(x.reshape(-1, x.shape[-1])) for x in (filled, u))
    return np.clip(one.T @ other / len(one), -1.0, 1.0)


def _standard(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    deviation = rows.std(axis=0)
    return rows / np.where(deviation > 0.0, deviation, 1.0)


def match(scores: np.ndarray) -> np.ndarray:
    """
    For each known concept its concept of the bank, (C,), by scores (C, k); -1 where k is too small.
    """
    found = np.full(len(scores), -1)
    rows, columns = linear_sum_assignment(-scores)
    found[rows] = columns
    return found


def separation(u: np.ndarray, filled: np.ndarray) -> float:
    """
    Area under the ROC curve of one concept's coefficients, as a detector of a known concept.

    Parameters
    ----------
    u
        (n, h, w): coefficients of a concept.
    filled
        (n, h, w): coverage by the known concept.

    Returns
    -------
    area
        How often a position at least half of which is covered has a larger coefficient than one of
        which nothing is, ties counting half; NaN where there are none of the one or the other.
    """
    covered, free = u[filled >= 0.5], u[filled == 0.0]
    if not len(covered) or not len(free):
        return float("nan")
    ranks = rankdata(np.concatenate([covered, free]))[: len(covered)]
    least = len(covered) * (len(covered) + 1) / 2.0
    return float((ranks.sum() - least) / len(covered) / len(free))
