"""
Concept activation maps and class maps at the resolution of the image.

Coefficients are resized bilinearly with half-pixel centres: a coefficient stands for the centre of
its cell, so nothing shifts. Maps of concepts have one scale per concept over all images: 1 is the
largest coefficient among the images that the bank was fitted on, so an absent concept is dark.

A class map divides each contribution by the places of its concept, M(p) = sum_j phi_j s_j(p) with
s_j >= 0 and sum_p s_j(p) = 1, so it sums to sum_j phi_j; resized from h x w to H x W, and smoothed,
its mean times h w does. s_j comes from the coefficients, or from an explainer's map of the concept.

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
    "class_maps",
    "drawn_maps",
    "explained_shares",
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


def drawn_maps(u: np.ndarray, scale: np.ndarray, size: tuple[int, ...]) -> np.ndarray | None:
    """
    As `activation_maps`, of the magnitude of signed coefficients too and within [0, 1] in any
    image, to be laid over its picture; None where activations have no places.
    """
    if not has_places(u.shape, size):
        return None
    return np.clip(activation_maps(np.abs(u), scale, size), 0.0, 1.0)


def class_maps(u: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """
    Why this class: each contribution laid out where its concept is.

        M(p) = sum_j phi_j |u_j(p)| / sum_q |u_j(q)|,    sum_p M(p) = sum_j phi_j

    A concept that is absent contributes by being absent (where gates lead towards the mean): its
    contribution is laid out evenly.

    Parameters
    ----------
    u
        U, (n, h, w, k), see `to_grid`.
    phi
        (n, k): contributions.

    Returns
    -------
    maps
        (n, h, w, 1) float32, signed.
    """
    u = np.abs(np.asarray(u, np.float64))
    total = u.sum(axis=(1, 2), keepdims=True)
    places = u.shape[1] * u.shape[2]
    share = np.divide(u, total, out=np.full_like(u, 1.0 / places), where=total > 0.0)
    return np.einsum("nhwk,nk->nhw", share, phi)[..., None].astype(np.float32)


def explained_shares(maps: np.ndarray) -> np.ndarray:
    """
    How an explainer's maps of the concepts divide them among the places.

    What a map has everywhere tells no place from another, and a negative value says that a place
    speaks against the concept: a place's share goes by what it has above the least value or 0,
    whichever is larger. A map without any such place is divided evenly.

    Parameters
    ----------
    maps
        (n, H, W, k), in any unit.

    Returns
    -------
    shares
        (n, H, W, k) float32, non-negative; each map sums to 1.
    """
    least = np.maximum(maps.min(axis=(1, 2), keepdims=True), 0.0)
    above = np.maximum(maps - least, 0.0)
    total = above.sum(axis=(1, 2), keepdims=True, dtype=np.float64)
    even = np.full_like(above, 1.0 / (maps.shape[1] * maps.shape[2]))
    return np.divide(above, total, out=even, where=total > 0.0, casting="same_kind")
