"""
A class map: what speaks for a class, laid out where it is in the image.

The contribution phi_j of each concept (see `importance.contributions`) is divided among the places
of the concept:

    M(p) = sum_j phi_j s_j(p),    s_j >= 0,  sum_p s_j(p) = 1,    so that sum_p M(p) = sum_j phi_j

The shares s_j come from the concept's coefficients, or from an explainer's map of the concept. A
class map of relevance needs no shares: it is the sum of all concepts' relevance, sum_j r_j(p).

Details are pixels that stand out of a map that is as coarse as the layer:

    M + d (std M / std P) (P - mean P),    P = max(F, 0)^1.5

F are integrated gradients, pixel by pixel, of the concepts' part of the score as a function of the
image, x -> sum_j (phi_j / mean v_j) u_j(x), with v what gates multiply. The map keeps its sum.
"""

import numpy as np

DETAIL_POWER = 1.5  # of the positive gradients: above 1, fewer pixels stand out
SMALLEST_MEAN = 1e-4  # of a concept's largest coefficient: below, the concept adds no details
TINY = float(np.finfo(np.float32).tiny)


def activation_shares(u: np.ndarray) -> np.ndarray:
    """
    How the size of coefficients u (n, h, w, k) divides each concept among the cells, in float64.

    A concept that is absent is divided evenly: where gates lead towards the mean, its absence
    contributes too, and does so everywhere.
    """
    return _shares(np.abs(np.asarray(u, np.float64)))


def explained_shares(maps: np.ndarray) -> np.ndarray:
    """
    How an explainer's maps (n, H, W, k), in any unit, divide each concept among the pixels.

    What a map has everywhere tells no place from another, and a negative value says that a place
    speaks against the concept: a place's share goes by what it has above the least value or 0,
    whichever is larger. A map without any such place is divided evenly.
    """
    least = np.maximum(maps.min(axis=(1, 2), keepdims=True), 0.0)
    return _shares(np.maximum(maps - least, 0.0))


def _shares(sizes: np.ndarray) -> np.ndarray:
    total = sizes.sum(axis=(1, 2), keepdims=True, dtype=np.float64)
    even = np.full_like(sizes, 1.0 / (sizes.shape[1] * sizes.shape[2]))
    return np.divide(sizes, total, out=even, where=total > 0.0, casting="same_kind")


def lay_out(shares: np.ndarray, phi: np.ndarray, cells: int) -> np.ndarray:
    """
    Lay contributions phi (n, k) out by the shares (n, h, w, k) of their concepts.

    The maps (n, h, w, 1) are signed, in units of the score for each cell of the layer, whatever the
    resolution of the shares: their mean times the number of cells is sum_j phi_j.
    """
    places = shares.shape[1] * shares.shape[2]
    maps = np.einsum("nhwk,nk->nhw", shares, phi)[..., None] * (places / cells)
    return maps.astype(np.float32)


def add_evenly(maps: np.ndarray, total: np.ndarray, cells: int) -> np.ndarray:
    """
    Bring the mean of maps (n, h, w, 1), times the number of cells, to a total (n,).

    What a map lacks of its total has no place, as the relevance of a class token: the same value is
    added everywhere.
    """
    missing = total / cells - maps.mean(axis=(1, 2, 3), dtype=np.float64)
    return maps + missing[:, None, None, None].astype(np.float32)


def detail_weights(gated: np.ndarray, parts: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """
    phi_j / mean v_j, (n, k): what a coefficient is worth, as details need it.

    No pixel can show a concept that is not there: where the mean of v (n, ..., k) is next to
    nothing beside the concept's `largest` coefficient (k,), the weight goes to 0.
    """
    mean = gated.mean(axis=tuple(range(1, gated.ndim - 1)))
    least = (SMALLEST_MEAN * largest) ** 2
    return parts * mean / np.maximum(mean.astype(np.float64) ** 2 + least, TINY)


def with_detail(maps: np.ndarray, gradients: np.ndarray, detail: float) -> np.ndarray:
    """Maps M with the details of gradients F, both (n, H, W, 1), as strong as d = `detail`."""
    fine = np.maximum(gradients, 0.0)
    fine = (fine / np.maximum(fine.max(axis=(1, 2), keepdims=True), TINY)) ** DETAIL_POWER
    fine -= fine.mean(axis=(1, 2), keepdims=True)
    spread = fine.std(axis=(1, 2), keepdims=True)
    scale = detail * maps.std(axis=(1, 2), keepdims=True)
    return maps + fine * np.divide(scale, spread, out=np.zeros_like(scale), where=spread > 0.0)
