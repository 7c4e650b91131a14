"""
What the concepts leave unexplained, laid out where it acts on the score.

It is part of a class map, which otherwise would be of the concepts' part of the score alone, and on
the page it is laid over photographs as concepts are. See `relevance.residual_places` for how one
number, f_x(0) - h(0), gets places.
"""

import numpy as np

from ..concept_model import ConceptModel
from ..gates import Coded, GatedHead
from . import class_map
from .maps import has_places, resize_sums, to_grid
from .relevance import relevance_of_all, residual_places


def residual_map(
    coded: Coded, head: GatedHead, cells: int, *, relevant: bool = False, opened: bool = False
) -> np.ndarray:
    """
    The residual's part of class maps.

    Parameters
    ----------
    coded
        n images.
    head
        Their score.
    cells
        Class maps are in units of the score for each of so many cells.
    relevant
        True: in the unit of relevance, beside relevance of concepts. False: in that of
        contributions, of which the sum is known exactly.
    opened
        True: what it is worth to first order where all gates are open, as concepts' relevance.
        False: what it adds to h(0) where all gates are closed, as contributions have it.

    Returns
    -------
    maps
        (n, h, w, 1) float32, signed; (n, 1, 1, 1) where activations have no places. Their mean
        times the number of cells is the residual's part of the score.
    """
    placed = has_places(coded.at_places(coded.u).shape, coded.size)
    whole = total = np.zeros((len(coded.u), 1, 1, 1), np.float32)
    if placed or opened:
        places = residual_places(coded, head, relevant=relevant, opened=opened)
        total = places.sum(axis=tuple(range(1, places.ndim)), dtype=np.float64)
        whole = to_grid(coded.at_places(places), coded.size) if placed else whole
    if not opened:  # known exactly, unlike the integral
        total = head.ends(coded)[0].astype(np.float64) - head.baseline(coded)
        total = relevance_of_all(total) if relevant else total
    return class_map.add_evenly(whole, total, cells)


def drawn_residual(concept_model: ConceptModel, images: np.ndarray) -> np.ndarray | None:
    """
    Where the residual acts on the score of the class, to be laid over pictures.

    Parameters
    ----------
    concept_model
        A craft that was fitted; the score is that of its class.
    images
        (n, H, W, channels), as the model takes them.

    Returns
    -------
    maps
        (n, H, W) in [-1, 1], with one unit for all images: 1 is what each place would have of the
        mean score - h(0) if that were spread evenly, or the largest value found where this is more,
        so that a residual that hardly matters stays dark. None where the craft drops the residual,
        or activations have no places.
    """
    if not concept_model.keep_residual:
        return None
    head, maps, even = concept_model.head(), [], []
    for coded in concept_model.batches(images, description="residual"):
        at_places = coded.at_places(coded.u[:1, ..., :1])
        if not has_places(at_places.shape, coded.size):
            return None
        cells = to_grid(at_places.numpy(), coded.size).size
        found = residual_map(coded, head, cells)
        maps.append(resize_sums(found, coded.size, None)[..., 0])
        even.append((head.ends(coded)[1] - head.baseline(coded)) / cells)
    unit = max(abs(float(np.concatenate(even).mean())), *(float(np.abs(one).max()) for one in maps))
    whole = np.concatenate(maps) / (unit or 1.0)
    return np.clip(whole, -1.0, 1.0).astype(np.float32)
