"""Random bits keyed by what they are for, never by the order in which they are drawn."""

import numpy as np

__all__ = ["keyed_bits"]

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
        return state if state.ndim else state[None]
