"""
Does a map show the pixels of a known concept? No threshold is chosen: a map is cut off where as
many pixels are left as the concept has.

    IoU             |P and M| / |P or M|, with M the concept's pixels and P the |M| pixels at which
                    the map is largest
    pointing game   whether the pixel at which the map is largest lies in M

Where pixels have equal values, any of them may be the one that is left: what is counted is the
mean over them, so that a map that is the same everywhere gets what chance gets.
"""

import numpy as np


def overlap(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """
    IoU of maps with masks.

    Parameters
    ----------
    maps
        (n, H, W).
    masks
        (n, H, W) bool.

    Returns
    -------
    iou
        (n,) between 0 and 1, 1 being perfect; NaN where a mask has no pixel.
    """
    values, inside = _flat(maps, masks)
    number = inside.sum(axis=1)
    last = np.maximum(values.shape[1] - number, 0).clip(max=values.shape[1] - 1)
    limit = np.take_along_axis(np.sort(values, axis=1), last[:, None], axis=1)
    above, equal = values > limit, values == limit
    share = (number - above.sum(axis=1)) / equal.sum(axis=1)
    common = (above & inside).sum(axis=1) + share * (equal & inside).sum(axis=1)
    union = 2.0 * number - common
    return np.where(number > 0, common / np.where(number > 0, union, 1.0), np.nan)


def pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """
    Whether maps are largest inside masks, (n,): 1 or 0, or a share where several pixels are
    largest; NaN where a mask has no pixel.

    Parameters
    ----------
    maps
        (n, H, W).
    masks
        (n, H, W) bool.
    """
    values, inside = _flat(maps, masks)
    largest = values == values.max(axis=1, keepdims=True)
    hit = (largest & inside).sum(axis=1) / largest.sum(axis=1)
    return np.where(inside.any(axis=1), hit, np.nan)


def _flat(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as (n, H W)."""
    if maps.shape != masks.shape:
        raise ValueError(
            f"maps must have the shape of the masks, {masks.shape}, received {maps.shape}."
        )
    n, *size = maps.shape
    return maps.reshape(n, np.prod(size)), masks.reshape(n, np.prod(size))
