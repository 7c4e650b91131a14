"""
From images to concepts: images -> crops -> rows -> bank, and what a fit leaves behind.
"""

from typing import Any

import numpy as np

from ._checks import warn
from .checkpoint import Checkpoint, of_extraction, of_model
from .concept_model import ConceptModel, Concepts, ExtractionSettings
from .factorization import Factorized
from .sampling import Crops, Stream
from .sampling.examples import (
    Ranking,
    coefficients_of_crops,
    encode_boxes,
    examples_for_each,
    new_boxes,
)
from .sampling.extent import Extent, measure_extent
from .sampling.rows import POSITIONS, CropRows, extract_rows
from .sampling.told_images import SavedImages
from .splitting.fingerprint import LayerPrint, fingerprint_of
from .splitting.layers import ENOUGH
from .splitting.network import Network
from .splitting.structure import begins_with_normalisation
from .splitting.tokens import special_tokens_of
from .targets import check_class_id
from .where_to_cut import share_at

ENOUGH_IMAGES = 32  # to see how much of the score flows through patches


def find_concepts(
    concept_model: ConceptModel,
    settings: ExtractionSettings,
    inputs: Any,
    class_id: int,
    checkpoint: Any = None,
) -> Concepts:
    """
    Find the concepts of a class.

    Parameters
    ----------
    concept_model
        The split model, with or without concepts: of it only the model and the settings are read.
    settings
        How concepts are looked for.
    inputs, class_id, checkpoint
        The images of a class, which class it is, and where finished stages are kept, see
        `Craft.fit`.

    Returns
    -------
    concepts
        The bank, and the crops that it was fitted on.

    Warns
    -----
    UserWarning
        If most images are predicted as another class, if gates that lead to zero would blow up the
        residual in a head that begins with a normalisation, if it is not known which tokens belong
        to no place, or if those that do know most of the score already.
    """
    network = concept_model.network
    class_id = check_class_id(class_id, network.number_of_classes)
    stream = concept_model.stream(inputs)
    # What the concepts are of, so that `save` sees where it was changed after the fit. To read a
    # dataset once more may take long, and whoever has a dataset has no array to write into.
    model = fingerprint_of(concept_model.model)
    told = None if stream.is_dataset else SavedImages.of(stream, keep=False)

    def asked() -> dict[str, Any]:
        nonlocal told
        told = told or SavedImages.of(stream, keep=False)
        some = next(iter(stream)).images
        return {
            **of_model(concept_model, some),
            **of_extraction(settings),
            "class_id": class_id,
            "images": told.told,
        }

    with Checkpoint(checkpoint, "fit", asked) as kept:
        found = kept.once(
            "crops",
            lambda: rows_of(concept_model, settings, stream, class_id),
            {"CropRows": CropRows},
        )
        _warn(concept_model, settings, found, class_id)
        _warn_of_special(concept_model, stream, found.special_tokens, class_id)
        factorized = kept.bank(
            "bank",
            lambda: fit_bank(settings, found, concept_model.seed),
            settings.factorizer,
        )
        boxes, crops_u, extent = kept.once(
            "coefficients",
            lambda: _look_over(concept_model, settings, stream, factorized, found),
            {"Extent": Extent},
        )
    concepts = Concepts(
        factorized=factorized,
        class_id=class_id,
        inputs=inputs,
        crops=Crops(boxes, stream.images, found.channels),
        crops_u=crops_u,
        extent=extent,
        settings=settings,
    )
    concepts.keep(CropRows, found)
    concepts.keep(LayerPrint, model)
    if told is not None:
        concepts.keep(SavedImages, told)
    return concepts


def rows_of(
    concept_model: ConceptModel, settings: ExtractionSettings, stream: Stream, class_id: int
) -> CropRows:
    """Crops and positions of the images, as a bank is fitted on them."""
    return extract_rows(
        stream,
        concept_model.network,
        settings.factorizer,
        class_id=class_id,
        patch_size=settings.patch_size,
        max_crops=settings.max_crops,
        positions=POSITIONS if settings.weight_of_positions else 0,
        seed=concept_model.seed,
        verbose=concept_model.verbose,
        special_tokens=settings.special_tokens,
    )


def fit_bank(settings: ExtractionSettings, found: CropRows, seed: int) -> Factorized:
    """The bank of crops and positions together."""
    fit, k = settings.factorizer.fit, settings.number_of_concepts
    if settings.weight_of_positions == 0.0 or not found.positions.any():
        return fit(found.rows, k, seed)
    every = np.concatenate([found.rows, found.positions])
    compared = settings.factorizer.compared(every)
    crops, positions = (_norm(part) for part in np.split(compared, [len(found.rows)]))
    weight = 0.0
    if positions > 0.0:  # of squares: the norm of the positions is a share of the crops'
        weight = float(np.float32((settings.weight_of_positions * crops / positions) ** 2))
    if weight == 0.0:
        return fit(found.rows, k, seed)
    weights = np.repeat([1.0, weight], [len(found.rows), len(found.positions)])
    return fit(every, k, seed, weights=weights)


def _look_over(
    concept_model: ConceptModel,
    settings: ExtractionSettings,
    stream: Stream,
    factorized: Factorized,
    found: CropRows,
) -> tuple[np.ndarray, np.ndarray, Extent]:
    """Boxes of all crops with their coefficients, and how large those of whole images get."""
    number = 0
    if settings.patch_size is None:
        number = examples_for_each(found.images, len(factorized.bank))
    ranking = Ranking(number)
    network, special = concept_model.network, found.special_tokens
    extent = measure_extent(
        stream,
        network,
        factorized,
        concept_model.verbose,
        ranking if number else None,
        special_tokens=special,
    )
    more = new_boxes(ranking.boxes, found.boxes)
    u = encode_boxes(stream, network, factorized, more, special_tokens=special)
    return (
        np.concatenate([found.boxes, more]),
        np.concatenate([coefficients_of_crops(stream, network, factorized, found), u]),
        extent,
    )


def _norm(rows: np.ndarray) -> float:
    """Frobenius norm, of the largest and the smallest float32 too."""
    return float(np.sqrt(np.square(rows, dtype=np.float64).sum()))


def _warn(
    concept_model: ConceptModel, settings: ExtractionSettings, crops: CropRows, class_id: int
) -> None:
    network = concept_model.network
    if network.number_of_classes > 1 and crops.predicted < crops.images / 2:
        warn(
            f"Only {crops.predicted} of {crops.images} images are predicted as class "
            f"{class_id}: the concepts of other classes will be among those found. Give images "
            "that the model predicts as the class."
        )
    tokens = _tokens_of_no_grid(network)
    if tokens is not None and settings.special_tokens is None:
        warn(
            f"The {tokens} tokens of {concept_model.layer!r} are no grid in the proportions of the "
            "image, so all of them are taken for parts of it. If the first ones belong to no "
            "place, as a class token, say how many: Craft(..., special_tokens=1)."
        )
    gated_to_zero = concept_model.baseline == "zero" and not settings.factorizer.around_mean
    if gated_to_zero and begins_with_normalisation(network.latent_to_logit):
        warn(
            f"What follows {concept_model.layer!r} begins with a normalisation, which blows up "
            "what is left when all gates are closed: f_x(0) is no neutral baseline there. Use "
            "Craft(..., baseline='mean'), which gates towards the mean activation."
        )


def _warn_of_special(
    concept_model: ConceptModel, stream: Stream, special: int, class_id: int
) -> None:
    """Say where what is left to patches, and so to concepts, is surely less than half."""
    if not special:
        return
    some: list[np.ndarray] = []
    for batch in stream:
        some.append(batch.images)
        if sum(map(len, some)) >= ENOUGH_IMAGES:
            break
    images = np.concatenate(some)[:ENOUGH_IMAGES]
    share = share_at(concept_model.network, special, images, class_id, concept_model.batch_size)
    if share.high < ENOUGH:
        warn(
            f"Only {share.as_percent()} of the score still flows through patches after "
            f"{concept_model.layer!r}. The rest is what special tokens, as a class token, know "
            "already, and no concept's doing. Cut earlier: xplique_craft.candidate_layers(model, "
            "images) says how much it is after each layer, and where to begin."
        )


def _tokens_of_no_grid(network: Network) -> int | None:
    """How many tokens the layer has, where they are known to make no grid of the image."""
    shape = (*network.input_to_latent.output_shape[1:], *network.input_shape)
    if len(network.input_shape) != 3 or len(shape) != 5 or None in shape[:4]:
        return None
    tokens, _, height, width, _ = (int(side or 0) for side in shape)
    return tokens if special_tokens_of(tokens, (height, width)) is None else None
