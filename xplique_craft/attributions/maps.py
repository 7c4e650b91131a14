"""
Concept maps: coefficients with places, brought to the resolution of the image.

They are resized bilinearly with half-pixel centres: a coefficient stands for the centre of its
cell, so nothing shifts. Maps whose sum has a meaning, as class maps, are resized so that it stays.

Tokens are taken for a grid of patches in the image's proportions, row by row, after those that
belong to no place (see `splitting.tokens`). Pooled activations have no places.
"""

from functools import lru_cache

import einops
import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter1d

from ..splitting.tokens import grid_of

WIDEST = 10.0  # times the map: a wider Gaussian leaves nothing but the mean
SMOOTHING = 0.75  # of a cell: the Gaussian's standard deviation (benchmarks/results/heatmaps.md)
FINENESS = 1.0 / 17.0  # of the side: class maps are blurred in all to no more than that


def has_places(shape: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether coefficients of that shape, (n, ..., k), have places in images of (H, W)."""
    return len(shape) == 4 or (len(shape) == 3 and grid_of(shape[1], size) is not None)


def to_grid(u: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """
    Coefficients as maps (n, h, w, k).

    Parameters
    ----------
    u
        (n, h, w, k), or tokens (n, t, k), of which special ones are left out.
    size
        (H, W) of the image.

    Raises
    ------
    ValueError
        If they have no places.
    """
    if u.ndim == 4:
        return u
    grid = grid_of(u.shape[1], size) if u.ndim == 3 else None
    if grid is None:
        what = f"{u.shape[1]} tokens are no grid for it" if u.ndim == 3 else "pooled ones have none"
        raise ValueError(
            f"Maps need activations with places in the image of {size[0]} x {size[1]}: (n, h, w, "
            f"c), or tokens that make a grid of its proportions; {what}. Cut the model at an "
            "earlier layer."
        )
    patches = u[:, u.shape[1] - grid[0] * grid[1] :]
    return einops.rearrange(patches, "n (rows columns) k -> n rows columns k", rows=grid[0])


def resize_maps(
    maps: np.ndarray | tf.Tensor, size: tuple[int, ...], smoothing: float | None = 0.0
) -> np.ndarray:
    """
    Maps (n, h, w, k) at the resolution (H, W) of the image, (n, H, W, k) float32.

    Smoothed, as in `resize_sums`, a pixel is a weighted mean of the places around it.
    """
    if smoothing == 0.0:
        return tf.image.resize(maps, size, method="bilinear").numpy()
    weights = [w / w.sum(axis=1, keepdims=True) for w in _weights(maps.shape, size, smoothing)]
    return _apply(np.asarray(maps, np.float32), *weights)


def resize_sums(
    maps: np.ndarray, size: tuple[int, ...], smoothing: float | None = 0.0
) -> np.ndarray:
    """
    Maps whose sums have a meaning, at the resolution of the image.

    It resizes as `resize_maps` does and keeps the sum: where cells do not divide pixels, some cells
    would weigh a little more than others, and this is taken back; where there are more cells than
    pixels, a pixel is the mean of what it covers. Smoothed, peaks at the centres of cells become
    one region: the evidence was gathered far beyond its cell, and a map can tell no more.

    Parameters
    ----------
    maps
        (n, h, w, k).
    size
        (H, W).
    smoothing
        Standard deviation of a Gaussian, in pixels; None for 3/4 of a cell, but where cells are
        large no more than makes 1/17 of the image's side together with the enlargement, which
        blurs by itself.

    Returns
    -------
    resized
        (n, H, W, k) float32; their mean times h w is the sum of the map.
    """
    weights = _weights(maps.shape, size, smoothing, FINENESS)
    return _apply(maps.astype(np.float32), *weights)


def _weights(
    shape: tuple[int, ...], size: tuple[int, ...], smoothing: float | None, fineness: float = 1.0
) -> list[np.ndarray]:
    """The matrices that resize and smooth maps of a shape (n, h, w, k) along their axes."""
    return [
        _resizing(cells, pixels, smoothing)
        if smoothing is not None
        else _resizing(cells, pixels, pixels * _blur(cells, fineness))
        for cells, pixels in zip(shape[1:3], size, strict=True)
    ]


def _blur(cells: int, fineness: float) -> float:
    """A Gaussian's standard deviation, as a share of the side; bilinear resizing is one as well."""
    resizing = 1.0 / 6.0 / cells**2  # the variance of a triangle of one cell to either side
    return min(SMOOTHING / cells, max(0.0, fineness**2 - resizing) ** 0.5)


def _apply(maps: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    narrow = np.einsum("nhwk,xw->nhxk", maps, columns, optimize=True)
    return np.einsum("nhxk,yh->nyxk", narrow, rows, optimize=True)


@lru_cache(maxsize=64)
def _resizing(cells: int, pixels: int, smoothing: float) -> np.ndarray:
    """
    The matrix (pixels, cells) that resizes and smooths maps along one axis, see `resize_sums`.

    Every cell weighs the same in it, pixels / cells.
    """
    if pixels < cells:
        start, end = (np.arange(pixels)[:, None] + i for i in (0, 1))
        first, last = ((np.arange(cells) + i) * pixels / cells for i in (0, 1))
        weights = np.maximum(np.minimum(end, last) - np.maximum(start, first), 0.0)
    else:
        one_each = np.eye(cells, dtype=np.float32)[None, ..., None]
        weights = tf.image.resize(one_each, (pixels, cells))[0, ..., 0].numpy().astype(np.float64)
    if smoothing > 0.0:  # what would fall outside is reflected, so nothing is lost
        width = min(smoothing, WIDEST * pixels)
        weights = gaussian_filter1d(weights, width, axis=0, mode="reflect")
    # No cell is left out: pixels are not farther apart than cells, or cover all of them.
    return (weights / (weights.sum(axis=0) * cells / pixels)).astype(np.float32)


def activation_maps(
    u: np.ndarray, scale: np.ndarray, size: tuple[int, ...], smoothing: float | None = 0.0
) -> np.ndarray:
    """
    Where each concept is.

    Parameters
    ----------
    u
        U, (n, h, w, k), or tokens (n, t, k).
    scale
        (k,): the coefficient that is drawn as 1, one for all images; 0 for a concept that never
        occurs. With the largest among the images of `fit`, an absent concept is dark.
    size
        (H, W).
    smoothing
        Standard deviation of a Gaussian, in pixels; None for 3/4 of a cell.

    Returns
    -------
    maps
        (n, H, W, k) float32, in [0, 1] for the images that the scale comes from.
    """
    return resize_maps(to_grid(in_units_of(scale, u), size), size, smoothing)


def in_units_of(scale: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Coefficients u (..., k) divided by a scale (k,); 0 where that is 0."""
    safe = np.where(scale > 0.0, scale, np.inf).astype(np.float32)
    return np.asarray(u, np.float32) / safe
