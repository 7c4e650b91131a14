"""
Random draws keyed by the seed and by what they are for, never by the order in which they come.

`Draw` lists everything that is drawn from a generator of its own, so that no two share one.
"""

from enum import IntEnum

import numpy as np


class Draw(IntEnum):
    """What a generator is for."""

    INTRUDER = 0x1D7
    NOISY_COPIES = 0x401E
    RANDOM_MAP = 0x3A9D
    HELD_OUT = 0x4E1D
    SOBOL_POINTS = 0x50B01
    SHUFFLED_WEIGHTS = 0x5A17
    PIXEL_SUBSETS = 0x5EED
    SHAPES = 0x5AE5
    BOOTSTRAP = 0xB007
    RANDOM_BANK = 0xBA4D
    POSITIONS = 0x9051
    RANDOM_CROPS = 0xC909
    FOLDS = 0xF01D5
    CONCEPT_ORDERS = 0x04DE5
    TIED_ORDERS = 0x71ED0
    CONCEPT_SUBSETS = 0x5B5E7
    CONCEPT_PAIRS = 0xBA2F
    RANDOM_IMPORTANCES = 0x1A9B0
    COMPARED_ROWS = 0xC0A4E


def generator(*entropy: int) -> np.random.Generator:
    """
    A generator that depends on these numbers and on nothing else.

    Parameters
    ----------
    entropy
        Non-negative: the seed, the `Draw`, and what tells one draw from the next, in any order.
    """
    return np.random.default_rng(np.random.SeedSequence([int(number) for number in entropy]))


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(values: np.ndarray) -> np.ndarray:
    """Stafford's 13th variant of the 64-bit finaliser, as in SplitMix64: a counter-based hash."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def keyed_bits(seed: int, *keys: np.ndarray | int) -> np.ndarray:
    """
    64 random bits for every combination of keys.

    Parameters
    ----------
    seed
        Non-negative.
    keys
        Non-negative integers or arrays of them, which broadcast against each other.

    Returns
    -------
    bits
        uint64, of the broadcast shape.
    """
    with np.errstate(over="ignore"):
        state = _mix(np.asarray([seed % 2**64], np.uint64) + _GOLDEN)
        for key in keys:
            state = _mix(state + (np.asarray(key).astype(np.uint64) + np.uint64(1)) * _GOLDEN)
        return state
