"""A made-up atlas: classes whose concepts are drawn, and some of which they share."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from report_kit import make_explanation

from xplique_craft.results import (
    ClassExplanation,
    ClassSummary,
    Confusion,
    Estimate,
    MergedConcepts,
    ModelSummary,
    OutputFidelity,
    OutputScores,
)

SYLLABLES = "bace difo guha limo nape qura seto vuwy xazo".replace(" ", "")


def _syllable(number: int) -> str:
    return SYLLABLES[2 * (number % 18) :][:2]


def name_of(class_id: int) -> str:
    """A name of its own for every class: "bace", "didi fogu"."""
    parts = [_syllable(class_id // 18**place) for place in range(3)]
    return "".join(parts) + (" " + _syllable(class_id) * 2 if class_id % 3 == 0 else "")


def texture(class_id: int, side: int = 512) -> np.ndarray:
    """A picture that looks different for every class, with a different piece at every place."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    rng = np.random.default_rng(class_id)
    channels = []
    for _ in range(3):
        a, b, c, phase = rng.uniform(4, 40, 4)
        channels.append(np.sin(a * rows + b * columns**2 + phase) * np.cos(c * columns * rows))
    return (127.5 * (1.0 + np.stack(channels, axis=-1))).astype(np.uint8)


def around(value: float) -> Estimate:
    return Estimate(value, value - 0.05, value + 0.05)


def explanation_of(class_id: int, name: str, **changes: Any) -> ClassExplanation:
    changes = {"number": 10, "views": 1, **changes}
    return make_explanation(
        name, texture(class_id), seed=class_id, **{"class_id": class_id, "notes": [], **changes}
    )


def merged_of(
    classes: list[int], number: int, shares: dict[int, np.ndarray], group: int = 8
) -> MergedConcepts:
    """
    The first concept of every class is shared by its group, the second by every seventh class, the
    third by its pair; all others are its own.
    """
    every = [(one, concept) for one in classes for concept in range(number)]
    known: dict[Any, int] = {}
    rows = []
    for one, concept in every:
        shared = {0: ("group", one // group), 1: ("seventh", one % 7), 2: ("pair", one // 2)}
        rows.append(known.setdefault(shared.get(concept, (one, concept)), len(known)))
    rng = np.random.default_rng(0)
    return MergedConcepts(
        rng.random((len(known), 4)),
        np.array([one for one, _ in every], dtype=int),
        np.array([concept for _, concept in every], dtype=int),
        np.array(rows, dtype=int),
        rng.uniform(0.9, 1.0, len(every)),
        np.array([shares[one][concept] for one, concept in every]),
        0.9,
    )


def make_atlas(
    classes: int, number: int = 10, failed: tuple[int, ...] = (), **changes: Any
) -> tuple[ModelSummary, Callable[[int], ClassExplanation]]:
    """The summary of a made-up model, and what makes the explanation of each of its classes."""
    names = [name_of(one) for one in range(classes)]
    listed, shares = [], {}
    for one, name in enumerate(names):
        rng = np.random.default_rng(one)
        if one in failed:
            reason = "Only 3 images are predicted as it, and 5 are needed."
            listed.append(ClassSummary(one, name, 3, 50, 2, 0, np.zeros(0), failed=reason))
            continue
        shares[one] = rng.dirichlet(np.full(number, 0.7)) - 0.01
        listed.append(
            ClassSummary(
                *(one, name, 48, 50, int(rng.integers(20, 51)), 40, shares[one]),
                *(around(rng.uniform(0.8, 1.0)) for _ in range(3)),
                around(rng.uniform(0.3, 0.9)),
            )
        )
    explained = sorted(shares)
    near, far = (OutputScores(*(around(x) for x in (e, 0.4, 1 - e, 1 - e))) for e in (0.08, 0.8))
    values: dict[str, Any] = {
        "merged": merged_of(explained, number, shares) if len(explained) > 1 else None,
        "fidelity": {
            "explained classes": OutputFidelity(near, far, far, "bank", 40, classes, 5),
            "all": OutputFidelity(near, far, far, "bank", 40, 1000, 5),
        },
        "notes": ["Only 50 images a class were given."],
    }
    if len(explained) > 1:
        values["confusions"] = [
            confusion_of(a, b, values["merged"]) for a, b in itertools.pairwise(explained[:13])
        ]
    summary = ModelSummary(
        *("mobilenet", "conv_pw_13_relu", 0, {"xplique_craft": "0.1.0", "keras": "3.15.0"}),
        *(50 * classes, listed),
        **(values | changes),
    )
    return summary, lambda one: explanation_of(one, names[one], number=number)


def confusion_of(actual: int, predicted: int, merged: MergedConcepts) -> Confusion:
    rows = merged.rows[merged.classes == predicted][:4]
    rng = np.random.default_rng(actual)
    means = rng.uniform(0.0, 1.0, (3, len(rows)))
    means[1, -1] = np.nan
    picture = texture(actual)
    pictures = [picture[i : i + 90, : 120 - 30 * (i % 2)] for i in range(5)]
    speaks = np.sort(rng.uniform(-0.3, 1.5, len(rows)))[::-1]
    return Confusion(actual, predicted, 6, 50, 5, rows, speaks, *means, pictures)
