"""
Concept maps: coefficients with places, brought to the resolution of the image.

They are resized bilinearly with half-pixel centres: a coefficient stands for the centre of its
cell, so nothing shifts. Maps whose sum has a meaning, as class maps, are resized so that it stays.

Tokens are taken for a grid of patches in the image's proportions, row by row, after a class token
if there is one more of them than the grid holds. Pooled activations have no places.
"""

from functools import lru_cache

import einops
import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter1d

__all__ = [
    "activation_maps",
    "grid_of",
    "has_places",
    "resize_maps",
    "resize_sums",
    "to_grid",
]

SMOOTHING = 0.75  # of a cell: the Gaussian's standard deviation (benchmarks/results/heatmaps.md)


def grid_of(tokens: int, size: tuple[int, ...]) -> tuple[int, int] | None:
    """
    Rows and columns of patches that make so many tokens.

    Parameters
    ----------
    tokens
        t, one more than rows x columns where there is a class token.
    size
        (H, W) of the image.

    Returns
    -------
    grid
        (rows, columns) in the image's proportions, or None if there is no such grid.
    """
    for patches in (tokens, tokens - 1):
        rows = round((patches * size[0] / size[1]) ** 0.5)
        if rows > 0 and patches % rows == 0 and rows * size[1] == patches // rows * size[0]:
            return rows, patches // rows
    return None


def has_places(shape: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether coefficients of that shape, (n, ..., k), have places in images of (H, W)."""
    return len(shape) == 4 or (len(shape) == 3 and grid_of(shape[1], size) is not None)


def to_grid(u: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """
    Coefficients as maps.

    Parameters
    ----------
    u
        (n, h, w, k), or tokens (n, t, k), whose class token is left out.
    size
        (H, W) of the image.

    Returns
    -------
    maps
        (n, h, w, k).

    Raises
    ------
    ValueError
        If they have no places.
    """
    if u.ndim == 4:
        return u
    if not has_places(u.shape, size):
        what = f"{u.shape[1]} tokens are no grid for it" if u.ndim == 3 else "pooled ones have none"
        raise ValueError(
            f"Maps need activations with places in the image of {size[0]} x {size[1]}: (n, h, w, "
            f"c), or tokens that make a grid of its proportions; {what}. Cut the model at an "
            "earlier layer."
        )
    rows, columns = grid_of(u.shape[1], size) or (0, 0)
    return einops.rearrange(
        u[:, u.shape[1] - rows * columns :], "n (rows columns) k -> n rows columns k", rows=rows
    )


def resize_maps(maps: np.ndarray | tf.Tensor, size: tuple[int, ...]) -> np.ndarray:
    """
    Maps at the resolution of the image.

    Parameters
    ----------
    maps
        (n, h, w, k).
    size
        (H, W).

    Returns
    -------
    resized
        (n, H, W, k) float32.
    """
    return tf.image.resize(maps, size, method="bilinear").numpy()


@lru_cache(maxsize=64)
def _spread(cells: int, pixels: int, smoothing: float) -> np.ndarray:
    """
    (pixels, cells): a resize along one axis, bilinear or, to fewer pixels than cells, by the parts
    of cells that a pixel covers; smoothed by a Gaussian of that deviation in pixels. Every cell
    weighs the same, pixels / cells.
    """
    if pixels < cells:
        start, end = (np.arange(pixels)[:, None] + i for i in (0, 1))
        first, last = ((np.arange(cells) + i) * pixels / cells for i in (0, 1))
        weights = np.maximum(np.minimum(end, last) - np.maximum(start, first), 0.0)
    else:
        one_each = np.eye(cells, dtype=np.float32)[None, ..., None]
        weights = tf.image.resize(one_each, (pixels, cells))[0, ..., 0].numpy().astype(np.float64)
    if smoothing > 0.0:  # what would fall outside is reflected, so nothing is lost
        weights = gaussian_filter1d(weights, smoothing, axis=0, mode="reflect")
    received = weights.sum(axis=0) * cells / pixels
    return (weights / np.where(received > 0.0, received, 1.0)).astype(np.float32)


def resize_sums(
    maps: np.ndarray, size: tuple[int, ...], smoothing: float | None = 0.0
) -> np.ndarray:
    """
    Maps whose sums have a meaning, at the resolution of the image.

    As `resize_maps`, but for what keeps the sum: where cells do not divide pixels, some of them
    would weigh a little more than others, and this is taken back; where there are more cells than
    pixels, a pixel is the mean of what it covers. Smoothed, peaks at the centres of cells become
    one region, which is what a map of evidence that was gathered far beyond its cell can tell.

    Parameters
    ----------
    maps
        (n, h, w, k).
    size
        (H, W).
    smoothing
        Standard deviation of a Gaussian, in pixels; None for 3/4 of a cell.

    Returns
    -------
    resized
        (n, H, W, k) float32; their mean times h w is the sum of the map.
    """
    rows, columns = (
        _spread(cells, pixels, SMOOTHING * pixels / cells if smoothing is None else smoothing)
        for cells, pixels in zip(maps.shape[1:3], size, strict=True)
    )
    narrow = np.einsum("nhwk,xw->nhxk", maps.astype(np.float32), columns, optimize=True)
    return np.einsum("nhxk,yh->nyxk", narrow, rows, optimize=True)


def activation_maps(u: np.ndarray, scale: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """
    Where each concept is.

    Parameters
    ----------
    u
        U, (n, h, w, k), or tokens (n, t, k).
    scale
        (k,): the coefficient that is drawn as 1; 0 for a concept that never occurs.
    size
        (H, W).

    Returns
    -------
    maps
        (n, H, W, k) float32, in [0, 1] for the images that the scale comes from.
    """
    safe = np.where(scale > 0.0, scale, np.inf).astype(np.float32)
    return resize_maps(to_grid(np.asarray(u, np.float32) / safe, size), size)
