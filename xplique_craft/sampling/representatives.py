"""Which crops show a concept best, and how they look to people."""

import numpy as np

__all__ = ["best_crops", "cut_picture"]


def best_crops(boxes: np.ndarray, crops_u: np.ndarray, number: int) -> list[np.ndarray]:
    """
    The crops with the largest coefficients of each concept, at most one of each image.

    Parameters
    ----------
    boxes
        (m, 5): image, top, left, height, width.
    crops_u
        (m, k).
    number
        At most so many.

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


def cut_picture(picture: np.ndarray, box: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """
    A crop of a picture whose size may differ from that of the image that the box refers to.

    Parameters
    ----------
    picture
        (H', W', 3).
    box
        (4,): top, left, height, width.
    size
        (H, W) of the image.

    Returns
    -------
    pixels
        (height', width', 3).
    """
    high, wide = picture.shape[0] / size[0], picture.shape[1] / size[1]
    top, left, height, width = (int(end) for end in box)
    bottom, right = round((top + height) * high), round((left + width) * wide)
    return picture[round(top * high) : bottom, round(left * wide) : right]
