"""What a page shows: a card for each concept, a view for each photograph."""

from collections.abc import Sequence

import numpy as np

from ..craft import Craft
from ..results import ConceptCard, Contributions, Estimate, ImageView, Importance
from ..sampling.crops import Crops
from ..sampling.representatives import best_crops, cut_picture
from ..sampling.stream import Stream

__all__ = ["concept_cards", "encode_for_page", "image_views"]


def encode_for_page(craft: Craft, images: np.ndarray, shown: int) -> tuple[np.ndarray, np.ndarray]:
    """
    The coefficients of images that a page needs; only a batch is ever held at every position.

    Parameters
    ----------
    craft
        A fitted one.
    images
        (n, H, W, channels).
    shown
        So many of the first images are shown.

    Returns
    -------
    means
        (n, k): coefficients averaged over positions, for the histograms of the cards.
    first
        (at most shown, ..., k): coefficients at every position, for the maps of the views.
    """
    stream = Stream(images, craft.network.input_shape, craft.batch_size, name="images")
    means, first, kept = [], [], 0
    for batch in stream.progress("encode", craft.verbose):
        u = craft.transform(None, craft.network.latents(batch.images))
        means.append(u.reshape(len(u), -1, u.shape[-1]).mean(axis=1))
        if kept < shown:
            first.append(u[: shown - kept].copy())
            kept += len(first[-1])
    return np.concatenate(means), np.concatenate(first)


def concept_cards(
    contributions: Contributions,
    importance: Importance,
    coefficients: np.ndarray,
    crops: tuple[Crops, np.ndarray],
    pictures: np.ndarray,
    *,
    size: tuple[int, ...],
    number_of_crops: int,
) -> list[ConceptCard]:
    """
    One card for each concept, by decreasing share of the class score.

    Parameters
    ----------
    contributions, importance, coefficients
        Of the same n images; coefficients are their means, (n, k).
    crops
        The crops that the concepts were found in, and their coefficients (m, k).
    pictures
        uint8, of the images that these crops were cut from, in their order.
    size
        (H, W) of these images.
    number_of_crops
        Crops on a card at most, each of another image.
    """
    found, crops_u = crops
    best = best_crops(found.boxes, crops_u, number_of_crops)
    share = contributions.share
    return [
        ConceptCard(
            concept=int(j),
            share=float(share[j]),
            importance=Estimate(float(importance.overall[j]), *importance.image_interval[j]),
            estimation=(
                float(importance.estimation_interval[j, 0]),
                float(importance.estimation_interval[j, 1]),
            ),
            crops=[cut_picture(pictures[box[0]], box[1:], size) for box in found.boxes[best[j]]],
            crop_coefficients=crops_u[best[j], j].tolist(),
            coefficients=coefficients[:, j],
        )
        for j in np.argsort(-share, kind="stable")
    ]


def image_views(
    contributions: Contributions,
    maps: np.ndarray | None,
    pictures: np.ndarray,
    titles: Sequence[str],
    prediction: str,
) -> list[ImageView]:
    """
    One view for each picture; they are of the first images that contributions are of.

    Parameters
    ----------
    contributions
        Of at least as many images.
    maps
        (n, H, W, k): where each concept is in them; None where it has no places.
    pictures
        uint8 (n, H', W', 3).
    titles
        What to call each.
    prediction
        The class that all are predicted as.
    """
    return [
        ImageView.of(
            contributions,
            i,
            photograph=picture,
            maps=None if maps is None else maps[i],
            title=title,
            prediction=prediction,
        )
        for i, (picture, title) in enumerate(zip(pictures, titles, strict=True))
    ]
