"""Bootstrap intervals over images, seeded and vectorised over the resamples."""

from collections.abc import Callable

import numpy as np
from scipy.stats import binomtest

from ._random import Draw, generator
from .results import Estimate

LEVEL = 0.90
UNKNOWN = Estimate(np.nan, np.nan, np.nan)
RESAMPLES = 2000
SMALLEST_DENOMINATOR = 1e-3  # of the mean |score|: shares of less are not defined
_BLOCK = 2_000_000  # entries of resampling weights held at once


def _resampled_sums(values: np.ndarray, seed: int) -> np.ndarray:
    """
    Means (RESAMPLES, d) of values (n, d), each over n images that are drawn with replacement.

    A resample is written as how often each image was drawn, so that many are one product.
    """
    n = len(values)
    rng = generator(seed, Draw.BOOTSTRAP)
    block = max(1, _BLOCK // n)
    parts = []
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        weights = rng.multinomial(n, np.full(n, 1.0 / n), size=size)
        parts.append(weights @ values / n)
    return np.concatenate(parts)


def _ends(samples: np.ndarray) -> np.ndarray:
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    return np.percentile(samples, [tail, 100.0 - tail], axis=0)


def bootstrap_mean(values: np.ndarray, seed: int) -> np.ndarray:
    """
    Bootstrap intervals of means over images.

    Resampled means spread less than means of new images would, by a factor of sqrt(1 - 1/n); they
    are stretched to make up for it.

    Parameters
    ----------
    values
        (n, d): d numbers for each image.
    seed
        The same seed gives the same resamples.

    Returns
    -------
    intervals
        (d, 2): low and high end for each number; NaN where there is one image only.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        return np.full((values.shape[1], 2), np.nan)
    mean = values.mean(axis=0)
    means = mean + (_resampled_sums(values, seed) - mean) * np.sqrt(n / (n - 1.0))
    return _ends(means).T


def bootstrap_of_means(
    values: np.ndarray, function: Callable[[np.ndarray], np.ndarray], seed: int
) -> np.ndarray:
    """
    Bootstrap intervals, (m, 2), of a function (r, d) -> (r, m) of means over images.

    Parameters
    ----------
    values
        (n, d): d numbers for each image.
    function
        What is made of their means; each row by itself.
    seed
        The same seed gives the same resamples.

    Returns
    -------
    intervals
        NaN where there is one image only.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return np.full((function(values).shape[1], 2), np.nan)
    return _ends(function(_resampled_sums(values, seed))).T


def bootstrap_ratio(numerator: np.ndarray, denominator: np.ndarray, seed: int) -> Estimate:
    """
    The ratio of two sums over images, (n,) each, with its interval: NaN where n is 1, and all NaN
    where the denominator's sum is 0.
    """
    if denominator.sum() == 0.0:
        return UNKNOWN
    value = float(numerator.sum() / denominator.sum())
    if len(numerator) < 2:
        return Estimate(value, np.nan, np.nan)
    sums = _resampled_sums(np.stack([numerator, denominator], 1).astype(np.float64), seed)
    low, high = _ends(sums[:, 0] / np.where(sums[:, 1] == 0.0, np.nan, sums[:, 1]))
    return Estimate(value, float(low), float(high))


def jackknife_variance(without: np.ndarray) -> np.ndarray:
    """Variance of estimates by what they are without each of r independent parts, (r, ...)."""
    r = len(without)
    return (r - 1) / r * np.square(without - without.mean(axis=0)).sum(axis=0)


def proportion(successes: np.ndarray) -> Estimate:
    """
    The share of images (n,) that are True, with Wilson's interval; all NaN where n is 0.

    A bootstrap will not do: where all images are True, its interval has no width.
    """
    if len(successes) == 0:
        return UNKNOWN
    test = binomtest(int(np.sum(successes)), len(successes))
    low, high = test.proportion_ci(confidence_level=LEVEL, method="wilson")
    return Estimate(float(np.mean(successes)), float(low), float(high))
