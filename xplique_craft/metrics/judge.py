"""Crops as a judge sees them: a Keras model, independent of the explained one, embeds them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .._checks import check, check_array, check_callable, check_indices, check_is, check_list
from ..sampling.lazy_crops import Crops


@dataclass(frozen=True)
class CropCluster:
    """
    Crops that are said to show one concept, as the judge sees them.

    Parameters
    ----------
    embeddings
        (m, d), see `embed_crops`.
    photographs
        (m,): number of the photograph that each crop was cut from.
    """

    embeddings: np.ndarray
    photographs: np.ndarray

    def __post_init__(self) -> None:
        embeddings = check_array("embeddings", self.embeddings)
        photographs = check_indices("photographs", self.photographs)
        shape = embeddings.shape
        if len(shape) != 2 or photographs.shape != shape[:1]:
            raise ValueError(
                "embeddings must have shape (m, d) and photographs (m,), received "
                f"{shape} and {photographs.shape}."
            )
        object.__setattr__(self, "embeddings", embeddings)
        object.__setattr__(self, "photographs", photographs)


def embed_crops(
    judge: keras.Model,
    crops: Crops | Sequence[np.ndarray],
    photographs: Sequence[int] | np.ndarray | None = None,
    *,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    batch_size: int = 64,
) -> CropCluster:
    """
    Crops as the judge sees them.

    Parameters
    ----------
    judge
        A Keras model from images (n, H, W, channels) to (n, d) or maps (n, ..., d), whose mean over
        positions is taken.
    crops
        m pictures (height, width, channels), of any sizes; they are resized to the judge's
        (bilinear, antialiased). Or the crops of a craft, a node or a child.
    photographs
        (m,): number of the photograph that each was cut from; None for what `Crops` know.
    prepare
        A function that makes of pictures (n, H, W, channels) float32 what the judge takes, as its
        preprocessing; None where the judge takes pictures as they are.
    batch_size
        How many crops are run at a time; it bounds the memory.

    Returns
    -------
    cluster
        Embeddings (m, d) with their photographs.

    Raises
    ------
    TypeError
        If the photographs are not known.
    ValueError
        If the judge takes images of no fixed size, or there are no crops.
    """
    check_is("judge", judge, keras.Model, "a Keras model")
    shape = getattr(judge, "input_shape", None)  # a model that is not built has none
    if shape is not None and not isinstance(shape, tuple):
        raise ValueError(f"judge must take one input, and takes {shape}.")
    size = () if shape is None else tuple(shape[1:3])
    if shape is None or len(shape) != 4 or None in size:
        raise ValueError(
            f"judge must take images of one size, (n, H, W, channels), and takes "
            f"{shape or 'what is not known yet'}. Give it an Input of that size first."
        )
    if photographs is None:
        if not isinstance(crops, Crops):
            raise TypeError(
                "photographs must be given, one number for each crop: only the crops of a Craft "
                "know where they come from."
            )
        photographs = crops.boxes[:, 0]
    photographs = check_indices("photographs", photographs)
    if not isinstance(crops, Crops):
        crops = check_list("crops", crops, "pictures (height, width, channels)")
    if len(crops) == 0:
        raise ValueError("crops must hold at least one crop, received none.")
    if len(photographs) != len(crops):
        raise ValueError(
            f"photographs must have one number for each of the {len(crops)} crops, received "
            f"{len(photographs)}."
        )
    if prepare is not None:
        check_callable("prepare", prepare, "a function of pictures, or None")
    batch_size = check("batch_size", batch_size)
    parts = []
    for start in range(0, len(crops), batch_size):
        some = range(start, min(start + batch_size, len(crops)))
        cut = crops.cut(some) if isinstance(crops, Crops) else [crops[i] for i in some]
        pictures = np.stack([_resized(crop, size, shape[-1]) for crop in cut])
        found = judge(_prepared(pictures, prepare), training=False)
        positions = list(range(1, len(found.shape) - 1))
        parts.append(np.asarray(tf.reduce_mean(tf.cast(found, tf.float32), positions)))
    return CropCluster(np.concatenate(parts), np.asarray(photographs))


def _resized(crop: Any, size: tuple[int, ...], channels: int | None) -> np.ndarray:
    axes = "height, width, channels" if channels is None else f"height, width, {channels}"
    crop = check_array("crops", crop, axes).astype(np.float32)
    return tf.image.resize(crop, size, antialias=True).numpy()


def _prepared(pictures: np.ndarray, prepare: Callable[[np.ndarray], np.ndarray] | None) -> Any:
    """Pictures as the judge takes them."""
    if prepare is None:
        return pictures
    try:
        found = prepare(pictures)
    except Exception as error:  # of whoever wrote it
        raise ValueError(
            f"prepare must be a function of pictures (n, H, W, channels), and fails: "
            f"{type(error).__name__}: {error}"
        ) from error
    axes = ", ".join(str(size) for size in pictures.shape)
    return check_array("prepare(pictures)", found, axes)
