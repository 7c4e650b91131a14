"""What a page shows: a card for each concept, a view for each photograph."""

from collections.abc import Sequence

import numpy as np

from ..craft import Craft
from ..results import ConceptCard, Contributions, Estimate, ImageView, Importance
from ..sampling.crops import IMAGE_WINDOWS
from ..sampling.lazy_crops import Crops
from ..sampling.representatives import best_crops
from ..sampling.rows import without_special
from ..sampling.stream import Stream


def mean_coefficients(craft: Craft, images: np.ndarray) -> np.ndarray:
    """(n, k): coefficients of images averaged over positions, a batch at a time."""
    stream = Stream(images, craft.network.input_shape, craft.batch_size, name="images")
    means = []
    for batch in stream.progress("encode", craft.verbose):
        u = craft.transform(None, batch.latents(craft.network))
        u = without_special(u, len(craft.special))
        means.append(u.reshape(len(u), -1, u.shape[-1]).mean(axis=1))
    return np.concatenate(means)


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

    Contributions, importance and mean coefficients (n, k) are of the same images. `crops` are those
    that the concepts were found in, with their coefficients (m, k); they are cut from `pictures` of
    the images, whose (H, W) is `size`.
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
            crops=[
                IMAGE_WINDOWS.picture(pictures[box[0]], box[1:], size)
                for box in found.boxes[best[j]]
            ],
            crop_coefficients=crops_u[best[j], j].tolist(),
            coefficients=coefficients[:, j],
        )
        for j in np.argsort(-share, kind="stable")
    ]


def image_views(
    contributions: Contributions,
    found: tuple[np.ndarray | None, np.ndarray | None, int],
    pictures: np.ndarray,
    titles: Sequence[str],
    prediction: str,
) -> list[ImageView]:
    """
    One view for each picture; they are of the first images that contributions are of.

    `found` are the concepts' maps (n, H, W, k), those of the residual (n, H, W), and of how many
    crops the former are made.
    """
    maps, residual_maps, map_crops = found
    return [
        ImageView(
            photograph=picture,
            maps=None if maps is None else maps[i],
            phi=contributions.phi[i],
            base=float(contributions.base[i]),
            residual=float(contributions.residual[i]),
            score=float(contributions.score[i]),
            gap=float(contributions.gap[i]),
            title=title,
            prediction=prediction,
            residual_map=None if residual_maps is None else residual_maps[i],
            map_crops=map_crops,
        )
        for i, (picture, title) in enumerate(zip(pictures, titles, strict=True))
    ]
