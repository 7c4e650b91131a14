"""
A map of classes: near each other are those whose scores come from the same concepts.

How much two classes a and b have in common is sum_r min(s_a[r], s_b[r]), over the merged concepts
r, where s_a[r] is the share of a's score that the concept gives (what takes from the score counts
as nothing). Classes attract each other by it, and all push each other away; what comes to rest is
drawn. Distances on the map say roughly what the list of nearest classes says exactly.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..results import MergedConcepts
from .atlas_classes import Member, Named, member_of
from .numbers import percent

WIDTH, HEIGHT = 1000, 720
MARGIN = 30
LEAST = 3  # classes that a map is drawn of: two have one distance
NEAREST = 3  # classes in the list beside each
ATTRACTED = 6  # nearest classes that pull at each, and are joined to it by a line
STEPS = 300
GRAVITY = 0.02
LONGEST = 22  # characters of a name on the map
POINT = 5  # its radius
MANY = 200  # classes from which points are drawn small
LETTER = 0.56  # width of a letter in its height, about
SIZES = {"clear": 13.0, "large": 30.0}  # of letters: on a screen, and where a phone shrinks the map


@dataclass(frozen=True)
class Common:
    """What one class has in common with another: how much, and by which concept most."""

    of: Named
    overlap: str
    by: Member


@dataclass(frozen=True)
class Place:
    """A class on the map; `labelled` says at which sizes its name stands clear of the others'."""

    of: Named
    x: int
    y: int
    label: str
    label_x: int
    anchor: str
    labelled: str


@dataclass(frozen=True)
class Map:
    """
    Classes that share concepts: drawn, where there are enough of them, and listed.

    `lines` are (x, y, x, y, opacity); `apart` are the classes that share no concept; `many` is True
    where so many are on the map that they are drawn small.
    """

    places: list[Place]
    lines: list[tuple[float, ...]]
    nearest: list[tuple[Named, list[Common]]]
    apart: list[Named]

    @property
    def many(self) -> bool:
        return len(self.places) >= MANY


def map_of(merged: MergedConcepts | None, names: Mapping[int, Named], seed: int) -> Map:
    """The map of the classes that have a page; the same for the same seed."""
    classes = [one for one in names.values() if one.page is not None]
    if merged is None:
        return Map([], [], [], classes)
    overlap = overlaps(merged, [one.class_id for one in classes])
    together = np.flatnonzero(overlap.max(axis=1, initial=0.0) > 0.0)
    shown = [classes[place] for place in together]
    overlap = overlap[np.ix_(together, together)]
    apart = [one for place, one in enumerate(classes) if place not in set(together.tolist())]
    nearest = _nearest(merged, shown, overlap, names)
    if len(shown) < LEAST:
        return Map([], [], nearest, apart)
    where = in_box(layout(overlap, seed))
    most = overlap.max()
    lines = [
        (*where[a].tolist(), *where[b].tolist(), round(0.2 + 0.8 * overlap[a, b] / most, 2))
        for a, b in _pairs(overlap, NEAREST)
    ]
    return Map(_places(shown, where, overlap.sum(axis=1)), lines, nearest, apart)


def overlaps(merged: MergedConcepts, classes: Sequence[int]) -> np.ndarray:
    """(n, n): how much of the scores of two classes comes from the same concepts; 0 with itself."""
    place = {class_id: index for index, class_id in enumerate(classes)}
    found = np.zeros((len(classes), len(classes)))
    for shares in _shares_by_row(merged):
        indices = np.array([place[one] for one in shares if one in place], dtype=int)
        values = np.array([share for one, share in shares.items() if one in place])
        if len(indices) > 1:
            found[np.ix_(indices, indices)] += np.minimum.outer(values, values)
    np.fill_diagonal(found, 0.0)
    return found


def layout(overlap: np.ndarray, seed: int, steps: int = STEPS) -> np.ndarray:
    """
    (n, 2): where classes come to rest that attract each other by what they have in common.

    Every class pulls at its nearest with a force that grows with the square of their distance, and
    pushes all others away with one that falls with it; a weak pull to the middle keeps groups
    together that have nothing in common. Each step is at most so long, and steps get shorter.
    """
    number = len(overlap)
    pairs = np.array(_pairs(overlap, ATTRACTED), dtype=int).reshape(-1, 2)
    a, b = pairs.T
    pull = overlap[a, b]
    # so that a class that has little in common with any is yet held by its nearest
    total = np.bincount(pairs.ravel(), np.repeat(pull, 2), minlength=number)
    pull = pull / np.sqrt(np.maximum(total[a] * total[b], 1e-24))
    where = np.random.default_rng(seed).normal(size=(number, 2)) * np.sqrt(number)
    for step in range(steps):
        # einsum, whose sums do not depend on the number of threads: the pages' bytes would too
        lengths = np.einsum("ij,ij->i", where, where)
        push = np.einsum("ij,kj->ik", where, where)
        push *= -2.0
        push += lengths[:, None]
        push += lengths
        np.maximum(push, 0.0, out=push)
        push += 0.01
        np.reciprocal(push, out=push)  # 1 / d in the direction of the difference: 1 / d^2 times it
        np.fill_diagonal(push, 0.0)
        force = where * push.sum(axis=1, keepdims=True) - np.einsum("ij,jk->ik", push, where)
        apart = where[a] - where[b]
        pulled = apart * (pull * np.sqrt((apart**2).sum(axis=1)))[:, None]
        np.subtract.at(force, a, pulled)
        np.add.at(force, b, pulled)
        force -= GRAVITY * where
        longest = np.sqrt(number) * 0.3 * (1.0 - step / steps) + 0.01
        size = np.sqrt((force**2).sum(axis=1, keepdims=True))
        where = where + force * np.minimum(1.0, longest / np.maximum(size, 1e-12))
    return where


def in_box(where: np.ndarray) -> np.ndarray:
    """
    Whole pixels in the box of the map, whose longer side is that of the longer axis.

    Each coordinate is drawn half way between where it is and its rank among all, so that a few
    classes far away do not press all others together.
    """
    centred = where - where.mean(axis=0)
    axes = np.linalg.eigh(np.einsum("ij,ik->jk", centred, centred))[1][:, ::-1]
    turned = np.einsum("ij,jk->ik", centred, axes)
    turned *= np.where(turned[np.abs(turned).argmax(axis=0), [0, 1]] < 0.0, -1.0, 1.0)
    low, high = turned.min(axis=0), turned.max(axis=0)
    linear = (turned - low) / np.maximum(high - low, 1e-9)
    ranks = turned.argsort(axis=0).argsort(axis=0) / max(1, len(where) - 1)
    room = np.array([WIDTH, HEIGHT]) - 2 * MARGIN
    return np.round(MARGIN + room * (linear + ranks) / 2.0).astype(int)


def _shares_by_row(merged: MergedConcepts) -> Iterator[dict[int, float]]:
    """Of every row of several classes: how much it gives to the score of each, where it gives."""
    for row in merged.shared:
        shares: dict[int, float] = {}
        for place in merged.members(int(row)):
            share, class_id = float(merged.shares[place]), int(merged.classes[place])
            if share > 0.0:
                shares[class_id] = shares.get(class_id, 0.0) + share
        yield shares


def _pairs(overlap: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Pairs of a class and its nearest, each once."""
    order = np.argsort(-overlap, axis=1, kind="stable")[:, :most]
    return sorted(
        {
            (min(a, int(b)), max(a, int(b)))
            for a, row in enumerate(order)
            for b in row
            if overlap[a, b] > 0.0
        }
    )


def _nearest(
    merged: MergedConcepts,
    shown: Sequence[Named],
    overlap: np.ndarray,
    names: Mapping[int, Named],
) -> list[tuple[Named, list[Common]]]:
    """Each class with those nearest to it, by how near the first is."""
    found = []
    for a in np.argsort(-overlap.max(axis=1, initial=0.0), kind="stable").tolist():
        near = np.argsort(-overlap[a], kind="stable")[:NEAREST].tolist()
        common = [
            Common(
                shown[b],
                percent(float(overlap[a, b])),
                member_of(merged, _most_in_common(merged, shown[a], shown[b]), names),
            )
            for b in near
            if overlap[a, b] > 0.0
        ]
        found.append((shown[a], common))
    return found


def _most_in_common(merged: MergedConcepts, a: Named, b: Named) -> int:
    """Where b's concept is that gives most to both."""
    ours = np.flatnonzero(merged.classes == a.class_id)
    theirs = np.flatnonzero(merged.classes == b.class_id)
    same = merged.rows[ours][:, None] == merged.rows[theirs][None]
    least = np.minimum.outer(merged.shares[ours], merged.shares[theirs])
    return int(theirs[np.where(same, least, -np.inf).max(axis=0).argmax()])


def _places(shown: Sequence[Named], where: np.ndarray, weight: np.ndarray) -> list[Place]:
    """Every class with its name; the names of those that share most are placed first."""
    labels = [
        one.name if len(one.name) <= LONGEST else one.name[: LONGEST - 1] + "…" for one in shown
    ]
    left = where[:, 0] > 0.72 * WIDTH
    sizes: dict[int, list[str]] = {place: [] for place in range(len(shown))}
    for name, size in SIZES.items():
        # a name may lie over no other name; and over no point, unless there are very many
        taken = np.hstack([where - POINT, where + POINT]) if len(shown) < MANY else np.empty((0, 4))
        for place in np.argsort(-weight, kind="stable").tolist():
            x, y = where[place].tolist()
            long = LETTER * size * _columns(labels[place])
            start = x - long - POINT - 1 if left[place] else x + POINT + 1
            box = np.array([start, y - size / 2, start + long, y + size / 2])
            hit = (
                (box[0] < taken[:, 2])
                & (taken[:, 0] < box[2])
                & (box[1] < taken[:, 3])
                & (taken[:, 1] < box[3])
            )
            if start >= 0 and start + long <= WIDTH and not hit.any():
                taken = np.vstack([taken, box])
                sizes[place].append(name)
    places = [
        Place(
            one,
            int(where[place, 0]),
            int(where[place, 1]),
            labels[place],
            int(where[place, 0]) + (-POINT - 4 if left[place] else POINT + 4),
            "end" if left[place] else "start",
            " ".join(sizes[place]),
        )
        for place, one in enumerate(shown)
    ]
    # what is drawn later covers what was drawn before: names cover points
    return sorted(places, key=lambda place: len(place.labelled))


def _columns(name: str) -> int:
    """How wide a name is, in letters: those of East Asia count twice, accents not at all."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in name)
    return len(name) + wide - sum(map(bool, map(unicodedata.combining, name)))
