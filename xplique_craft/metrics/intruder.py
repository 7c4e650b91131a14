"""
Are concepts of one kind? The intruder test and the binary choice, answered by a machine.

Both come from the human study of CRAFT (Fel et al., CVPR 2023, section 4.2), with a judge in place
of people: any Keras model, independent of the explained one, that embeds pictures.

*Intruder*: of five crops four show a concept and one, the intruder, another of the same class. The
judge names the one whose mean cosine distance to the other four is largest: 20% by chance. *Binary
choice*: a crop of a sub-concept, some crops of the sub-concept and as many of its parent; the judge
chooses the side with the smaller mean distance: 50% by chance. The crops of one trial all come from
different photographs, or the judge could go by the photograph.

Trials share photographs, so they are not independent. With p the share of trials won and v its
variance by the jackknife over photographs (all trials with a photograph are left out at once), T
trials are worth p (1 - p) / v independent ones, T at most; intervals are Wilson's for that number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from .._checks import check, check_is, check_list
from .._intervals import LEVEL, jackknife_variance
from .._random import Draw, generator
from ..results import Estimate
from .judge import CropCluster

SHOWN = 4  # crops of the concept beside the intruder
INTRUDER_CHANCE, BINARY_CHANCE = 0.2, 0.5


@dataclass(frozen=True)
class Trials:
    """
    Trials of a test.

    Parameters
    ----------
    won
        (T,) bool: whether the judge found the intruder, or chose the sub-concept.
    photographs
        (T, s): the photographs of each trial.
    clusters
        (T,): which concept it was about.
    chance
        Share of the trials that a guess wins.
    """

    won: np.ndarray
    photographs: np.ndarray
    clusters: np.ndarray
    chance: float

    @property
    def accuracy(self) -> Estimate:
        """Share of the trials won, with its 90% interval over photographs."""
        share, without = float(self.won.mean()), _without_each(self)
        trials, variance = len(self.won), float(jackknife_variance(without))
        if variance > 0.0:
            worth = min(float(trials), share * (1.0 - share) / variance)
        else:  # all won or all lost: as many trials as share no photograph
            worth = max(1.0, min(trials, len(without) / self.photographs.shape[1]))
        return _wilson(share, worth)

    def __str__(self) -> str:
        return f"{self.accuracy} of {len(self.won)} trials, chance {self.chance:.2f}"


def _without_each(trials: Trials) -> np.ndarray:
    """(p,): share won without the trials of each photograph, in the photographs' order."""
    unique, places = np.unique(trials.photographs, return_inverse=True)
    places = places.reshape(trials.photographs.shape)
    count, won = np.zeros(len(unique)), np.zeros(len(unique))
    for column in places.T:  # a photograph is in a trial once
        np.add.at(count, column, 1.0)
        np.add.at(won, column, trials.won.astype(np.float64))
    rest = len(trials.won) - count
    share = trials.won.mean()
    return np.divide(trials.won.sum() - won, rest, out=np.full(len(unique), share), where=rest > 0)


def _wilson(share: float, worth: float) -> Estimate:
    """Wilson's interval for a share of `worth` independent trials, not always a whole number."""
    z = float(norm.ppf(0.5 + LEVEL / 2.0))
    centre = (share + z**2 / (2.0 * worth)) / (1.0 + z**2 / worth)
    half = z / (1.0 + z**2 / worth)
    half *= float(np.sqrt(share * (1.0 - share) / worth + z**2 / (4.0 * worth**2)))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def difference(first: Trials, second: Trials) -> Estimate:
    """
    Difference of two accuracies on the same photographs, with its 90% interval.

    Parameters
    ----------
    first, second
        Trials whose photographs are numbered alike: what is left out in the jackknife is left out
        of both.

    Returns
    -------
    difference
        Accuracy of `first` minus that of `second`.
    """
    for name, trials in (("first", first), ("second", second)):
        check_is(name, trials, Trials, "the trials of a test")
    unique = np.union1d(first.photographs, second.photographs)
    without = []
    for trials in (first, second):
        values = np.full(len(unique), trials.won.mean())
        values[np.isin(unique, trials.photographs)] = _without_each(trials)
        without.append(values)
    value = float(first.won.mean() - second.won.mean())
    variance = float(jackknife_variance(without[0] - without[1]))
    half = float(norm.ppf(0.5 + LEVEL / 2.0)) * variance**0.5
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half))


def _unit(embeddings: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return embeddings / np.where(norms > 0.0, norms, 1.0)


# --------------------------------------------------------------------------------- the tests
def intruder_test(
    clusters: Sequence[CropCluster],
    intruders: Sequence[CropCluster] | None = None,
    *,
    trials: int = 1000,
    seed: int = 0,
) -> Trials:
    """
    How often the judge finds the odd crop among five.

    Parameters
    ----------
    clusters
        One for each concept; each needs crops of at least four photographs.
    intruders
        For each concept the crops that intruders are drawn from; None for those of all other
        clusters.
    trials
        How many trials there are; the concepts take turns. More of them narrow the interval.
    seed
        The same seed draws the same trials.

    Returns
    -------
    trials
        Which were won; `.accuracy` with its interval. Chance is 20%.

    Raises
    ------
    ValueError
        If the crops come from too few photographs.
    """
    trials, seed = check("trials", trials), check("seed", seed)
    clusters = _clusters("clusters", clusters)
    if intruders is not None:
        intruders = _clusters("intruders", intruders)
    if intruders is None:
        if len(clusters) < 2:
            raise ValueError(
                "clusters must be of at least two concepts, or there are no intruders, received "
                f"{len(clusters)}."
            )
        intruders = [
            CropCluster(
                np.concatenate([other.embeddings for other in others]),
                np.concatenate([other.photographs for other in others]),
            )
            for others in ([*clusters[:i], *clusters[i + 1 :]] for i in range(len(clusters)))
        ]
    elif len(intruders) != len(clusters):
        raise ValueError(
            f"intruders must hold one cluster for each of the {len(clusters)} concepts, received "
            f"{len(intruders)}."
        )
    won, photographs = [], []
    for trial in range(trials):
        place = trial % len(clusters)
        cluster, others = clusters[place], intruders[place]
        rng = generator(seed, Draw.INTRUDER, trial)
        shown = _draw(rng, cluster, SHOWN, np.zeros(0, int), f"clusters[{place}]")
        seen = cluster.photographs[shown]
        odd = _draw(rng, others, 1, seen, f"intruders[{place}]")
        vectors = _unit(np.concatenate([cluster.embeddings[shown], others.embeddings[odd]]))
        order = rng.permutation(SHOWN + 1)  # so that ties are guesses
        distances = (1.0 - vectors @ vectors.T).sum(axis=1)[order]
        won.append(order[int(np.argmax(distances))] == SHOWN)
        photographs.append([*seen, others.photographs[odd][0]])
    about = np.arange(trials) % len(clusters)
    return Trials(np.array(won), np.array(photographs), about, INTRUDER_CHANCE)


def binary_choice(
    pairs: Sequence[tuple[CropCluster, CropCluster]],
    *,
    shown: int = 5,
    trials: int = 1000,
    seed: int = 0,
) -> Trials:
    """
    How often a crop of a sub-concept fits the sub-concept better than its parent.

    Parameters
    ----------
    pairs
        The sub-concepts that are tried, each with the concept it was found in: (child, parent).
    shown
        How many crops of the sub-concept, and how many of its parent, a crop is compared with.
    trials
        How many trials there are; the sub-concepts take turns. More of them narrow the interval.
    seed
        The same seed draws the same trials.

    Returns
    -------
    trials
        In which of them the sub-concept was chosen. Chance is 50%.

    Raises
    ------
    ValueError
        If the crops come from too few photographs.
    """
    trials, shown = check("trials", trials), check("shown", shown)
    seed = check("seed", seed)
    families = [_pair(pair) for pair in check_list("pairs", pairs, "(child, parent)")]
    if len(families) == 0:
        raise ValueError("pairs must hold at least one sub-concept with its parent, received none.")
    won, photographs = [], []
    for trial in range(trials):
        place = trial % len(families)
        child, parent = families[place]
        rng = generator(seed, Draw.INTRUDER, trial)
        own = _draw(rng, child, shown + 1, np.zeros(0, int), f"pairs[{place}][0]")
        seen = child.photographs[own]
        others = _draw(rng, parent, shown, seen, f"pairs[{place}][1]")
        probe = _unit(child.embeddings[own[:1]])[0]
        near = (_unit(child.embeddings[own[1:]]) @ probe).mean()
        far = (_unit(parent.embeddings[others]) @ probe).mean()
        won.append(near > far if near != far else bool(rng.random() < BINARY_CHANCE))
        photographs.append([*seen, *parent.photographs[others]])
    about = np.arange(trials) % len(families)
    return Trials(np.array(won), np.array(photographs), about, BINARY_CHANCE)


def _clusters(name: str, value: Any) -> tuple[CropCluster, ...]:
    """Clusters in a list, at least one."""
    found = check_list(name, value, "clusters, as `embed_crops` gives them")
    for one in found:
        check_is(name, one, CropCluster, "a list of clusters, as `embed_crops` gives them")
    if not found:
        raise ValueError(f"{name} must hold at least one cluster, received none.")
    return tuple(found)


def _pair(value: Any) -> tuple[CropCluster, CropCluster]:
    found = _clusters("pairs", value)
    if len(found) != 2:
        raise ValueError(f"pairs must be of two clusters, (child, parent), received {len(found)}.")
    return found[0], found[1]


def _draw(
    rng: np.random.Generator, cluster: CropCluster, number: int, seen: Any, name: str
) -> np.ndarray:
    """Indices of that many crops of different photographs, none of which was seen."""
    free = np.flatnonzero(~np.isin(cluster.photographs, seen))
    order = rng.permutation(free)
    _, first = np.unique(cluster.photographs[order], return_index=True)
    found = order[np.sort(first)[:number]]
    if len(found) < number:
        raise ValueError(
            f"{name} must hold crops of at least {number} photographs that are not in the trial "
            f"already, and it holds {len(found)}. Give more crops, at most one of each photograph "
            "being enough."
        )
    return found
