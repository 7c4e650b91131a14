"""Which crops show a concept best."""

import numpy as np


def best_crops(boxes: np.ndarray, crops_u: np.ndarray, number: int) -> list[np.ndarray]:
    """
    The crops with the largest coefficients of each concept, at most one of each image.

    Parameters
    ----------
    boxes
        (m, 5): image, top, left, height, width.
    crops_u
        (m, k): coefficients of the crops.
    number
        How many crops are wanted of each concept; there are fewer where fewer images hold it.

    Returns
    -------
    best
        For each concept, indices of crops, best first; none whose coefficient is 0 or below, so
        of a concept with two ends only the positive one is shown.
    """
    best = []
    for u in crops_u.T:
        order = np.argsort(-u, kind="stable")
        order = order[u[order] > 0.0]
        _, first = np.unique(boxes[order, 0], return_index=True)
        best.append(order[np.sort(first)[:number]])
    return best
