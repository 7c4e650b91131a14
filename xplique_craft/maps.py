"""
Concept activation maps and class maps at the resolution of the image.

Coefficients are resized bilinearly with half-pixel centres: a coefficient stands for the centre of
its cell, so nothing shifts. Maps of concepts have one scale per concept over all images: 1 is the
largest coefficient among the images that the bank was fitted on, so an absent concept is dark.
"""

import numpy as np
import tensorflow as tf

__all__ = ["activation_maps", "class_maps", "resize_maps"]


def resize_maps(maps: np.ndarray | tf.Tensor, size: tuple[int, int]) -> np.ndarray:
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

    Raises
    ------
    ValueError
        If there are no places: tokens and pooled activations have none.
    """
    if len(maps.shape) != 4:
        raise ValueError(
            "Maps need activations with a height and a width, (n, h, w, c); this layer's have "
            f"{len(maps.shape) - 2} axes of positions. Cut the model at an earlier layer."
        )
    return tf.image.resize(maps, size, method="bilinear").numpy()


def activation_maps(
    u: np.ndarray | tf.Tensor, scale: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """
    Where each concept is.

    Parameters
    ----------
    u
        U, (n, h, w, k).
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
    return resize_maps(np.asarray(u, np.float32) / safe, size)


def class_maps(u: np.ndarray | tf.Tensor, phi: np.ndarray) -> np.ndarray:
    """
    Why this class: each contribution laid out where its concept is.

        M(p) = sum_j phi_j u_j(p) / sum_q u_j(q),    sum_p M(p) = sum_j phi_j

    Parameters
    ----------
    u
        U, (n, h, w, k).
    phi
        (n, k): contributions.

    Returns
    -------
    maps
        (n, h, w, 1) float32, signed.
    """
    u = np.asarray(u, np.float64)
    total = u.sum(axis=(1, 2), keepdims=True)
    share = np.divide(u, total, out=np.zeros_like(u), where=total > 0.0)
    return np.einsum("nhwk,nk->nhw", share, phi)[..., None].astype(np.float32)
