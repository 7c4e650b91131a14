"""
Concept maps made of crops: the coefficients of crops, laid back over the image.

Single positions of a layer are noisy: what is around a concept's strongest position is often
something else. A crop's coefficient is of all that is in it, seen as if it were the whole image,
as the crops that the bank was fitted on. A place gets the mean of the coefficients of the crops
that hold it, smaller crops counting more, as they say more exactly where:

    M_j(p) = sum_b w_b(p) u_j(b) / sum_b w_b(p),    w_b(p) = [p in b] / side of b

What the edges of crops draw is blurred by a Gaussian of 1/14 of the side: the places that such a
map is strongest at then show the concept more often (benchmarks/results/concepts_tried.md).

Coefficients that crops have by place (see `Factorizer.crops_by_place`) are sharp where they are,
and a crop's is their mean, which hardly ever is 0: maps of crops would be a haze over the image.
Such concepts are drawn by place.

It needs no positions in the layer, so it works for pooled activations and tokens too, and takes
one pass through g for each crop (`PASSES`, 29, an image).
"""

import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter1d

from ..concept_model import ConceptModel
from ..factorization import Factorized
from ..sampling.crops import IMAGE_WINDOWS, Windows
from ..sampling.examples import covered, mean_coefficients
from ..sampling.rows import crop_latents, without_special
from ..splitting.network import Network
from .maps import activation_maps, has_places, in_units_of, resize_maps

CELLS = 28  # along each side of the image: finer than the steps between crops
BLUR = 1.0 / 14.0  # of the side, a Gaussian's standard deviation
PASSES = len(IMAGE_WINDOWS.candidates((224, 224)))


def crop_maps(
    network: Network,
    factorized: Factorized,
    images: np.ndarray,
    windows: Windows = IMAGE_WINDOWS,
    special_tokens: int = 0,
) -> np.ndarray:
    """
    Where concepts are in images (n, H, W, channels), by their crops.

    The layer's first `special_tokens` tokens belong to no place, and are left out.

    Returns
    -------
    maps
        (n, h, w, k) float32, in the unit of coefficients; at most 28 x 28 places.
    """
    size = images.shape[1 : 1 + windows.axes]
    boxes = windows.candidates(images.shape[1:])
    batch = tf.convert_to_tensor(images)
    if factorized.factorizer.crops_by_place:
        each = (network.latents(windows.to_input_size(batch, box)) for box in boxes.tolist())
        parts = [mean_coefficients(one, factorized, special_tokens) for one in each]
        u = tf.stack(parts, axis=1).numpy()
    else:
        parts = [crop_latents(network, batch, box, windows, special_tokens)[0] for box in boxes]
        u = factorized.encode(tf.stack(parts, axis=1))[0].numpy()
    cells = tuple(min(CELLS, length) for length in size)
    held = covered(boxes, size, cells)  # of each box, what share is in each cell
    # That share is the part of the cell that the box holds, divided by the size of the box.
    sides = boxes[:, windows.axes :].prod(axis=1) ** (1.0 / windows.axes)
    weights = held * (boxes[:, windows.axes :].prod(axis=1) / sides)[:, None]
    weights /= weights.sum(axis=0)
    maps = np.einsum("bp,nbk->npk", weights.astype(np.float32), u, optimize=True)
    maps = maps.reshape(len(images), *cells, -1)
    for axis, number in enumerate(cells, start=1):
        maps = gaussian_filter1d(maps, BLUR * number, axis=axis, mode="reflect")
    return maps


def crops_laid_back(
    concept_model: ConceptModel, images: np.ndarray, windows: Windows = IMAGE_WINDOWS
) -> int:
    """How many crops of each image (n, H, W, channels) `drawn_maps` are made of; 0 by place."""
    return 0 if _by_place(concept_model, images) else len(windows.candidates(images.shape[1:]))


def drawn_maps(concept_model: ConceptModel, images: np.ndarray) -> np.ndarray:
    """
    Where concepts are in images (n, H, W, channels), to be laid over their pictures.

    Parameters
    ----------
    concept_model
        A craft that was fitted.
    images
        As the model takes them; they are all held at once, with their maps.

    Returns
    -------
    maps
        (n, H, W, k) in [0, 1]: 1 is the largest coefficient of any crop of the images of `fit`, or
        at any of their places; of signed coefficients the magnitude.
    """
    size = images.shape[1:3]
    if _by_place(concept_model, images):
        u = without_special(concept_model.transform(images), len(concept_model.special))
        maps = activation_maps(np.abs(u), concept_model.coefficient_scale, size, None)
        return np.clip(maps, 0.0, 1.0)
    parts = [
        np.abs(
            crop_maps(
                concept_model.network,
                concept_model.factorized,
                batch.images,
                special_tokens=len(concept_model.special),
            )
        )
        for batch in concept_model.stream(images)
    ]
    scaled = in_units_of(scale_of_crops(concept_model), np.concatenate(parts))
    return np.clip(resize_maps(scaled, size), 0.0, 1.0)


def _by_place(concept_model: ConceptModel, images: np.ndarray) -> bool:
    """Whether concepts are drawn by the coefficients at places of the layer."""
    if not concept_model.factorized.factorizer.crops_by_place:
        return False
    shape = concept_model.network.latent_shape(images.shape[1:])
    patches = (shape[0] - len(concept_model.special), *shape[1:])
    return has_places((1, *(patches if len(shape) == 2 else shape)), images.shape[1:3])


def scale_of_crops(concept_model: ConceptModel) -> np.ndarray:
    """(k,): the largest magnitude of each concept's coefficient in the crops of `fit`."""
    crops_u = concept_model.concepts.crops_u
    if crops_u is None:
        raise ValueError(
            "by must be 'positions' for concepts that were not found by fit: how large their "
            "coefficients get in crops is not known."
        )
    return np.abs(crops_u).max(axis=0)
