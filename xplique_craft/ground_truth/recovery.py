"""
How much of what is known of generated images an explanation finds: directions, presence, the order
of importances, places.

What a known concept c does is measured, not assumed, by drawing the images x once more without it:

    effect of c in x    logit(x) - logit(x without c)
    u_j due to c        sum |u_j(x) - u_j(x without c)| / sum |u_j(x)|, over images and positions

A concept of the bank *belongs to* the known one that it is due to most, if that is at least half of
it; several may belong to one, as the middle and the rim of a shape do. Of importances the sum over
those that belong to it is compared with its effect. Presence and places are of one concept for
each, matched one to one by the correlation of coefficients with how much of each position the known
concept covers.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from .._checks import check, check_array, check_is
from .._intervals import UNKNOWN, bootstrap_mean, bootstrap_ratio
from ..attributions import ConceptAttribution
from ..concept_model import ConceptModel, check_craft
from ..gates import Coded
from ..importance import SobolImportance
from ..metrics.folds import cosines
from ..results import Estimate
from ..results.recovery import RecoveredOrder, RecoveredPlaces, Recovery
from .directions import correlations, coverage, match, separation, true_directions
from .places import overlap, pointing
from .shapes import CONCEPT_NAMES, Shapes

BELONGS = 0.5  # least share of a concept that is due to the known one it belongs to
APART = 0.05  # of the largest effect: how far two effects must be apart to be put in order


def measure_recovery(
    concepts: ConceptModel,
    shapes: Shapes,
    *,
    importances: Mapping[str, Any] | None = None,
    maps: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Recovery:
    """
    Hold concepts against what is known of the images.

    Parameters
    ----------
    concepts
        A fitted `Craft` of a network of `load_shapes_model`, or of another of your own that takes
        such images; best fitted on images of another seed.
    shapes
        What `make_shapes` made, best of one class: the one that the concepts are of.
    importances
        Name -> (k,), one importance for each concept; they are compared by magnitude. None takes
        Sobol total indices.
    maps
        Name -> (n, 64, 64, k), a map of each concept; or (n, 64, 64) or (n, 64, 64, 1), one map for
        all of them, as heatmaps are. None takes the concepts' own activations.
    seed
        Of the bootstrap.

    Returns
    -------
    recovery
        Directions, presence, order and places. Every number is the better the higher it is.

    Raises
    ------
    TypeError, ValueError
        If something is not what it should be, or the activations have no places.
    """
    craft = check_craft(concepts, "concepts")
    check_is("shapes", shapes, Shapes, "what make_shapes returns")
    seed, masks = check("seed", seed), shapes.masks
    images, k, class_id = shapes.images, len(craft.bank), craft.class_id
    if class_id >= shapes.weights.shape[1]:
        raise ValueError(
            f"concepts must be of a class of the shapes, 0 to {shapes.weights.shape[1] - 1}, "
            f"received concepts of class {class_id}: fit them on one of these."
        )
    if maps is None:
        maps = {"activation": ConceptAttribution(craft).explain_concepts(images)}
    if importances is None:
        found = SobolImportance(craft, seed=seed).summary(images)
        importances = {found.method: found.overall}
    importances = _checked_importances(importances, k)
    maps = _checked_maps(maps, len(images), masks.shape[2:], k)

    parts: list[tuple[np.ndarray, ...]] = []
    directions = true_directions(_positions(craft, images, masks, parts))
    filled, u, logits = (np.concatenate(part) for part in zip(*parts, strict=True))
    effects, due = left_out(craft, shapes, u, logits)
    owner = owners(due)
    present = np.asarray(masks.any(axis=(0, 2, 3)))
    there = np.flatnonzero(present)
    signed = craft.factorized.factorizer.signed_coefficients
    matched, correlation, areas = _presence(u, filled, present, signed)
    cues = present & (shapes.weights[:, class_id] != 0.0)
    strength = np.linalg.norm(directions, axis=1)
    return Recovery(
        names=shapes.names,
        class_id=class_id,
        number_of_images=len(images),
        present=present,
        cues=cues,
        effects=[_mean(one, seed) for one in effects.T],
        strength=np.where(present, strength / (strength.max() or 1.0), np.nan),
        direction=_spread(matched_cosines(directions[there], craft.bank, signed), there, np.nan),
        due=due,
        belongs=owner,
        match=matched,
        correlation=correlation,
        separation=areas,
        orders={
            name: _order(values, owner, effects, there, seed)
            for name, values in importances.items()
        },
        places={name: _places(one, matched, masks, cues, seed) for name, one in maps.items()},
    )


def left_out(
    concepts: ConceptModel, shapes: Shapes, u: np.ndarray, logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    What becomes of logits and coefficients where a known concept is left out of the pictures.

    Parameters
    ----------
    concepts
        Whose model and bank these are.
    shapes
        n images.
    u, logits
        (n, h, w, k) and (n,): their coefficients, and the class's logits.

    Returns
    -------
    effects
        (n, C): how much the logit falls, 0 where the known concept is not in the image.
    due
        (C, k): the share of each concept's coefficients that changes.
    """
    effects = np.zeros((len(u), len(shapes.names)))
    changed = np.zeros((len(shapes.names), u.shape[-1]))
    for c, name in enumerate(shapes.names):
        rows = np.flatnonzero(shapes.present[:, c])
        done = 0
        if not len(rows):
            continue
        for coded in concepts.batches(shapes.without(c)[rows], description=f"without {name}"):
            some = rows[done : done + len(coded.images)]
            done += len(some)
            effects[some, c] = logits[some] - class_logits(concepts, coded)
            changed[c] += np.abs(u[some] - coded.u.numpy()).sum(axis=(0, 1, 2), dtype=np.float64)
    total = np.abs(u).sum(axis=(0, 1, 2), dtype=np.float64)
    return effects, changed / np.where(total > 0.0, total, 1.0)


def class_logits(concepts: ConceptModel, coded: Coded) -> np.ndarray:
    """(n,) float64: the logits of the class of the concepts."""
    every = concepts.network.logits(coded.activations).numpy()
    return every[:, concepts.class_id].astype(np.float64)


def owners(due: np.ndarray) -> np.ndarray:
    """The known concept that each of the bank belongs to, (k,), by what it is due to, (C, k); -1
    for none."""
    return np.where(due.max(axis=0) >= BELONGS, due.argmax(axis=0), -1)


def matched_cosines(directions: np.ndarray, bank: np.ndarray, signed: bool) -> np.ndarray:
    """
    Cosines (C,) of true directions (C, c) with the rows of a bank (k, c), 0 for those without a
    match; without signs where coefficients are `signed`.

    They are matched one to one so that the sum of the cosines, each times the length of its true
    direction, is largest: the direction of what the network hardly sees is noise, and takes no
    row from another.
    """
    every = cosines(directions, bank, signed)
    found = match(every * np.linalg.norm(directions, axis=1, keepdims=True))
    return np.where(found >= 0, every[np.arange(len(every)), found], 0.0)


def order_of(importances: np.ndarray, effects: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """
    How well importances order concepts by what they really do; both by magnitude.

    Parameters
    ----------
    importances
        (C,).
    effects
        (n, C): the true effects, of images.
    seed
        Of the bootstrap.

    Returns
    -------
    pairs_in_order
        The share of the pairs that are put in the right order, ties counting half, among those
        whose mean effects are apart by 5% of the largest and whose difference's interval holds no
        0; NaN where there are none.
    rank_correlation
        Spearman's; NaN where either is the same for all.
    """
    mean = effects.mean(axis=0)
    oriented, importances = effects * np.where(mean < 0.0, -1.0, 1.0), np.abs(importances)
    sizes = np.abs(mean)
    pairs = np.array(list(combinations(range(len(sizes)), 2))).reshape(-1, 2)
    low, high = bootstrap_mean(oriented[:, pairs[:, 0]] - oriented[:, pairs[:, 1]], seed).T
    apart = sizes[pairs[:, 0]] - sizes[pairs[:, 1]]
    clear = (np.abs(apart) >= APART * sizes.max()) & (low * high > 0.0)
    right = np.sign(importances[pairs[:, 0]] - importances[pairs[:, 1]]) * np.sign(apart)
    in_order = float((right[clear] + 1.0).mean() / 2.0) if clear.any() else float("nan")
    if np.ptp(importances) == 0.0 or np.ptp(sizes) == 0.0:
        return in_order, float("nan")
    return in_order, float(np.corrcoef(rankdata(importances), rankdata(sizes))[0, 1])


# ---------------------------------------------------------------------------------------- inside
def _positions(
    craft: ConceptModel,
    images: np.ndarray,
    masks: np.ndarray,
    parts: list[tuple[np.ndarray, ...]],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Coverage and activations of each batch; coverage, U and logits are added to `parts`."""
    for coded in craft.batches(images, description="recovery"):
        activations = coded.activations.numpy()
        if activations.ndim != 4:
            raise ValueError(
                "concepts must be of a layer whose activations have places, (n, h, w, c), received "
                f"activations of shape {activations.shape}."
            )
        filled = coverage(masks[coded.indices], activations.shape[1:3])
        parts.append((filled, coded.u.numpy(), class_logits(craft, coded)))
        yield filled, activations


def _presence(
    u: np.ndarray, filled: np.ndarray, present: np.ndarray, signed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which concept is matched with each known one, (C,), their correlation and separation."""
    related = correlations(u, filled)
    there = np.flatnonzero(present)
    matched = _spread(match(np.abs(related[there]) if signed else related[there]), there, -1)
    correlation = np.where(present, 0.0, np.nan)
    areas = np.where(present, 0.5, np.nan)  # what is not found is not told apart
    for c in np.flatnonzero(matched >= 0):
        value, coefficients = related[c, matched[c]], u[..., matched[c]]
        if signed and value < 0.0:  # a concept and its opposite are the same
            value, coefficients = -value, -coefficients
        correlation[c], areas[c] = value, separation(coefficients, filled[..., c])
    return matched, correlation, areas


def _order(
    importances: np.ndarray, owner: np.ndarray, effects: np.ndarray, there: np.ndarray, seed: int
) -> RecoveredOrder:
    total, largest = np.full((2, effects.shape[1]), np.nan)
    for c in there:
        own = importances[owner == c]
        total[c] = own.sum()
        largest[c] = np.abs(own).max(initial=0.0)
    pairs, ranks = order_of(total[there], effects[:, there], seed)
    return RecoveredOrder(
        importances=total,
        pairs_in_order=pairs,
        pairs_by_largest=order_of(largest[there], effects[:, there], seed)[0],
        rank_correlation=ranks,
    )


def _places(
    maps: np.ndarray, matched: np.ndarray, masks: np.ndarray, cues: np.ndarray, seed: int
) -> RecoveredPlaces:
    """Of maps (n, H, W), or (n, H, W, k) of concepts."""
    n, number = masks.shape[:2]
    iou, hits = np.full((n, number), np.nan), np.full((n, number), np.nan)
    for c in range(number):
        seen = masks[:, c].any(axis=(1, 2))
        if maps.ndim == 4 and matched[c] < 0:  # what was not found is nowhere
            iou[seen, c] = hits[seen, c] = 0.0
            continue
        one = maps if maps.ndim == 3 else maps[..., matched[c]]
        iou[seen, c] = overlap(one[seen], masks[seen, c])
        hits[seen, c] = pointing(one[seen], masks[seen, c])
    union = [UNKNOWN, UNKNOWN]
    if maps.ndim == 3:
        every = np.asarray(masks[:, cues].any(axis=1))
        union = [_mean(measure(maps, every), seed) for measure in (overlap, pointing)]
    return RecoveredPlaces(
        iou=[_mean(one, seed) for one in iou.T],
        pointing=[_mean(one, seed) for one in hits.T],
        cues_iou=_mean_of_pairs(iou[:, cues], seed),
        cues_pointing=_mean_of_pairs(hits[:, cues], seed),
        union_iou=union[0],
        union_pointing=union[1],
    )


def _mean(values: np.ndarray, seed: int) -> Estimate:
    """Of the images that have a value."""
    values = values[np.isfinite(values)]
    if not len(values):
        return UNKNOWN
    ((low, high),) = bootstrap_mean(values[:, None], seed)
    return Estimate(float(values.mean()), float(low), float(high))


def _mean_of_pairs(values: np.ndarray, seed: int) -> Estimate:
    """Of all pairs of an image and a concept in it, (n, cues); images are resampled."""
    there = np.isfinite(values)
    return bootstrap_ratio(np.where(there, values, 0.0).sum(axis=1), there.sum(axis=1), seed)


def _spread(values: np.ndarray, places: np.ndarray, other: float) -> np.ndarray:
    """Values at some of the known concepts, and something else at the others."""
    found = np.full(len(CONCEPT_NAMES), other, values.dtype)
    found[places] = values
    return found


def _checked_importances(importances: Any, k: int) -> dict[str, np.ndarray]:
    check_is("importances", importances, Mapping, "a dictionary of name -> (k,), or None")
    found = {}
    for name, values in importances.items():
        found[name] = check_array(f"importances[{name!r}]", values, "k").astype(np.float64)
        if len(found[name]) != k:
            raise ValueError(
                f"importances[{name!r}] must have one value for each of the {k} concepts, received "
                f"{len(found[name])}."
            )
    return found


def _checked_maps(maps: Any, n: int, size: tuple[int, ...], k: int) -> dict[str, np.ndarray]:
    check_is("maps", maps, Mapping, "a dictionary of name -> maps, or None")
    found = {}
    for name, values in maps.items():
        one = check_array(f"maps[{name!r}]", values, "n, h, w, ...")
        found[name] = one[..., 0] if one.shape[3:] == (1,) and k > 1 else one
        if found[name].shape not in ((n, *size), (n, *size, k)):
            raise ValueError(
                f"maps[{name!r}] must have shape {(n, *size)}, or {(n, *size, k)} for a map of each"
                f" concept, received {found[name].shape}."
            )
    return found
