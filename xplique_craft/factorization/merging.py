"""
Banks of many classes -> one bank, in which concepts that are the same stand once.

*Which are the same.* Classes come one after the other. The first concept of its kind leads a group;
later ones join it where their cosine with that leader is at least the threshold. A class's concepts
are matched with the leaders by the Hungarian method (the largest sum of the cosines that reach the
threshold), so two concepts of one class never become one: whoever fitted k concepts has k.

*What stands for them.* The mean of the group's directions, of unit norm each, with the mean of
their norms: no member is preferred.

What breaks it: groups depend on the order of the classes where a concept is as like one leader as
another. A low threshold merges what people tell apart; at 1 nothing is merged. Banks around means
of their own (PCA, SignedNMF) have no common zero, and are refused where they are united.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..results import MergedConcepts

THRESHOLD = 0.8
"""
Concepts of two classes are one where their cosine is at least this. A concept that comes again from
other photographs of its class has 0.83 to 0.86, and the one most like it in the same bank 0.33 to
0.48 (benchmarks/results/concepts.md).
"""


def merge_banks(
    banks: Sequence[np.ndarray],
    classes: Sequence[int],
    shares: Sequence[np.ndarray],
    threshold: float = THRESHOLD,
) -> MergedConcepts:
    """
    One bank for several classes.

    Parameters
    ----------
    banks
        (k_i, c): the bank of each class, directions from 0.
    classes
        Which class each is of.
    shares
        (k_i,): how much of its class's score each concept gives.
    threshold
        In (0, 1]: concepts of two classes are one where their cosine is at least this.

    Returns
    -------
    merged
        At most sum k_i directions, and which of them stands for which concept.
    """
    units = [_unit(bank) for bank in banks]
    leaders = np.empty((sum(map(len, banks)), banks[0].shape[1]))
    number, rows = 0, []
    for unit in units:
        groups = _join(unit, leaders[:number], threshold)
        new = np.flatnonzero(groups < 0)
        groups[new] = np.arange(number, number + len(new))
        leaders[groups[new]] = unit[new]
        number += len(new)
        rows.append(groups)
    every, row = np.concatenate(units), np.concatenate(rows)
    norms = np.concatenate([np.linalg.norm(bank, axis=1) for bank in banks])
    members = np.maximum(np.bincount(row, minlength=number), 1)
    total = np.zeros((number, every.shape[1]))
    np.add.at(total, row, every)
    directions = _unit(total)
    length = np.bincount(row, norms, number) / members
    return MergedConcepts(
        bank=(directions * length[:, None]).astype(np.float32),
        classes=np.repeat(np.asarray(classes, np.int64), [len(bank) for bank in banks]),
        concepts=np.concatenate([np.arange(len(bank)) for bank in banks]),
        rows=row,
        cosines=np.einsum("mc,mc->m", every, directions[row]),
        shares=np.concatenate([np.asarray(one, np.float64) for one in shares]),
        threshold=threshold,
    )


def _join(unit: np.ndarray, leaders: np.ndarray, threshold: float) -> np.ndarray:
    """(k,): which group each concept of one class joins, -1 where it is the first of its kind."""
    joined = np.full(len(unit), -1)
    if not len(leaders):
        return joined
    cosines = unit @ leaders.T
    alike = np.where(cosines >= threshold - np.finfo(np.float32).eps, cosines, 0.0)
    near = np.flatnonzero(alike.any(axis=0))  # of thousands of leaders few are like any of these
    own, other = linear_sum_assignment(alike[:, near], maximize=True)
    matched = alike[own, near[other]] > 0.0
    joined[own[matched]] = near[other[matched]]
    return joined


def _unit(bank: np.ndarray) -> np.ndarray:
    """Directions of unit norm in float64; rows of zeros stay."""
    wide = bank.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(norms > 0.0, norms, 1.0)
