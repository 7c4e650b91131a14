"""Concepts that classes share, most shared first, as a page lists them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..results import MergedConcepts
from .atlas_classes import Member, Named, member_of

MOST = 1000  # concepts on the page
WITH_CROPS = 12  # classes of a concept that are shown by crops; the others by name


@dataclass(frozen=True)
class Shared:
    """A concept of several classes: `shown` with crops, those that give them most first."""

    row: int
    classes: int
    shown: list[Member]
    others: list[Member]


def shared_rows(merged: MergedConcepts | None) -> list[int]:
    """Rows of the merged bank that stand for concepts of two different classes or more."""
    if merged is None:
        return []
    number = _classes_of_rows(merged)
    return [int(row) for row in merged.shared if number[row] > 1]


def shared_of(
    merged: MergedConcepts | None, rows: list[int], names: Mapping[int, Named]
) -> list[Shared]:
    """The first of these rows, those of most classes first, as the page shows them."""
    if merged is None:
        return []
    number = _classes_of_rows(merged)
    found = []
    for row in sorted(rows, key=lambda row: -number[row])[:MOST]:
        members = [member_of(merged, int(place), names) for place in merged.members(row)]
        # those whose crops are there come first, for the others have nothing to show
        members.sort(key=lambda member: not member.crops)
        found.append(Shared(row, int(number[row]), members[:WITH_CROPS], members[WITH_CROPS:]))
    return found


def _classes_of_rows(merged: MergedConcepts) -> np.ndarray:
    """(K,): of how many different classes each row of the bank has concepts."""
    pairs = np.unique(np.stack([merged.rows, merged.classes]), axis=1)
    return np.bincount(pairs[0], minlength=len(merged.bank))
