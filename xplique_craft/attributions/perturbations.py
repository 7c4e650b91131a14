"""
Shared perturbations: the maps of all concepts from one set of perturbed images.

Occlusion, Rise, SobolAttributionMethod and HsicAttributionMethod perturb an image in ways that do
not depend on what is asked of the model. The model gives the scores s (m, k) of m perturbed images
for all concepts at once, and only the estimate is made for each concept j:

    Occlusion    map_j(p) = sum_i mask_i(p) (s_j(x) - s_ij)
    Rise         map_j(p) = sum_i mask_i(p) s_ij / (sum_i mask_i(p) + epsilon)
    Sobol        Xplique's estimator on the column s_j
    Hsic         map_j(d) = 1/m <H K_d H, H L_j H>

In Hsic, H is the centring matrix, K_d (m, m) the kernel of the masks in cell d of their grid, and
L_j (m, m) the Gaussian kernel of the column s_j. Its width is the median of s_j, as in Xplique,
or the standard deviation where the median is 0 and Xplique's kernel is not defined. The maps of
all k concepts cost about what one costs. Perturbations and estimators are Xplique's own.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from xplique.attributions import HsicAttributionMethod, Occlusion, Rise, SobolAttributionMethod
from xplique.attributions.global_sensitivity_analysis.hsic_estimators import (
    BinaryEstimator,
    HsicEstimator,
    RbfEstimator,
    SobolevEstimator,
)

_KERNEL_ENTRIES = 2**25  # how many numbers of Hsic's kernels of masks are centred at a time

Evaluate = Callable[[tf.Tensor], tf.Tensor]


def shares_perturbations(explainer: Any) -> bool:
    """
    Whether all concepts can be read from one run of an explainer, as the functions below do it.

    They can for the four classes of Xplique, but not for classes derived from them, for masks of
    several channels, or for an estimator of Hsic that overrides how Xplique estimates.
    """
    if type(explainer) not in SHARED:
        return False
    if type(explainer) is HsicAttributionMethod:
        estimator = type(explainer.estimator)
        own = ("__call__", "estimator", "post_process")
        if any(getattr(estimator, name, None) is not getattr(HsicEstimator, name) for name in own):
            return False
    masks = getattr(explainer, "masks", None)
    return masks is None or masks.shape[-1] == 1


def shared_maps(explainer: Any, images: np.ndarray, evaluate: Evaluate) -> np.ndarray:
    """
    What `explainer.explain` gives for each concept by itself, (n, H, W, k) float32, in one run.

    Parameters
    ----------
    explainer
        One that `shares_perturbations`.
    images
        (n, H, W, channels).
    evaluate
        Images (m, H, W, channels) -> concept scores (m, k).
    """
    tensors = tf.convert_to_tensor(images, tf.float32)
    return np.concatenate(list(SHARED[type(explainer)](explainer, tensors, evaluate)))


def _batches(masks: tf.Tensor, batch_size: int | None) -> Iterator[tf.Tensor]:
    size = batch_size or len(masks)
    for start in range(0, len(masks), size):
        yield masks[start : start + size]


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@tf.function(reduce_retracing=True)
def _weighted(masks: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """sum_i mask_i(p) s_ij, (H, W, k), of masks (m, H, W) and scores (m, k)."""
    size = tf.shape(masks)[1:]
    flat = tf.reshape(masks, [tf.shape(masks)[0], -1])
    products = tf.matmul(flat, scores, transpose_a=True)
    return tf.reshape(products, [size[0], size[1], tf.shape(scores)[1]])


def _occlusion(explainer: Occlusion, images: tf.Tensor, evaluate: Evaluate) -> Iterator[np.ndarray]:
    shape = tuple(images.shape[1:])
    masks = Occlusion._get_masks(shape, _pair(explainer.patch_size), _pair(explainer.patch_stride))
    for image in images:
        base = evaluate(image[None])
        total = tf.zeros([*shape[:2], base.shape[1]])
        for some in _batches(masks, explainer.batch_size):
            occluded = Occlusion._apply_masks(image, some, explainer.occlusion_value)
            total += _weighted(tf.cast(some, tf.float32), base - evaluate(occluded))
        yield total.numpy()[None]


def _rise(explainer: Rise, images: tf.Tensor, evaluate: Evaluate) -> Iterator[np.ndarray]:
    masks = Rise._get_masks(
        tuple(images.shape),
        explainer.nb_samples,
        explainer.grid_size,
        explainer.preservation_probability,
    )
    for image in images:
        total, weight = 0.0, 0.0
        for some in _batches(masks, explainer.batch_size):
            masked, kept = Rise._apply_masks(image, some, explainer.mask_value)
            total += _weighted(kept[..., 0], evaluate(masked))
            weight += tf.reduce_sum(kept, 0)
        yield (total / (weight + Rise.EPSILON)).numpy()[None]


def _outputs(explainer: Any, images: tf.Tensor, evaluate: Evaluate) -> Iterator[tf.Tensor]:
    """For each image, the scores (m, k) under the masks that Sobol and Hsic have drawn."""
    size = tuple(images.shape[1:3])
    for image in images:
        perturb = explainer.perturbation_function(image)
        yield tf.concat(
            [
                evaluate(perturb(tf.image.resize(some, size, method="nearest")))
                for some in _batches(explainer.masks, explainer.batch_size)
            ],
            axis=0,
        )


def _on_grid(heatmaps: Any, size: tuple[int, ...]) -> np.ndarray:
    """Maps (rows, columns, k) on the grid of the masks, resized to the image as Xplique does it."""
    return tf.image.resize(heatmaps, size, method="bicubic").numpy()[None]


def _sobol(
    explainer: SobolAttributionMethod, images: tf.Tensor, evaluate: Evaluate
) -> Iterator[np.ndarray]:
    for scores in _outputs(explainer, images, evaluate):
        indices = [
            _index(explainer, explainer.estimator(explainer.masks, column, explainer.nb_design))
            for column in tf.unstack(scores, axis=1)
        ]
        heatmaps = np.stack(indices, axis=-1)
        yield _on_grid(heatmaps, images.shape[1:3])


def _index(explainer: SobolAttributionMethod, estimated: Any) -> np.ndarray:
    """What the estimator gives for one concept, (rows, columns) of the grid of the masks."""
    grid = tuple(explainer.masks.shape[1:3])
    index = np.asarray(estimated)
    if index.dtype.kind not in "biuf" or index.shape[:2] != grid or index.size != math.prod(grid):
        received = f"shape {index.shape}" if index.dtype.kind in "biuf" else f"{estimated!r:.80}"
        raise ValueError(f"its estimator must give an index for each of {grid}, not {received}.")
    return index.reshape(grid)


def _hsic(
    explainer: HsicAttributionMethod, images: tf.Tensor, evaluate: Evaluate
) -> Iterator[np.ndarray]:
    number, grid = len(explainer.masks), explainer.masks.shape[1:3]
    kernels = _mask_kernels(explainer.estimator, explainer.masks)
    for scores in _outputs(explainer, images, evaluate):
        columns = np.asarray(scores, np.float32).T
        centred = np.stack(
            [_centred(_output_kernel(explainer.estimator, column)) for column in columns], axis=-1
        )
        found = kernels @ centred.reshape(number * number, -1) / number
        yield _on_grid(found.reshape(*grid, -1), images.shape[1:3])


def _output_kernel(estimator: HsicEstimator, column: np.ndarray) -> np.ndarray:
    """L_j, (m, m), of one concept's scores (m,); 1 everywhere if the scores are all the same."""
    if type(estimator) not in (BinaryEstimator, RbfEstimator, SobolevEstimator):
        column = tf.convert_to_tensor(column)
        return estimator.output_kernel_func(column[:, None], column[None]).numpy()
    width = float(np.median(column)) or float(column.std()) or 1.0
    return np.exp(-((column[:, None] - column) ** 2) / (2.0 * width**2))


def _mask_kernels(estimator: HsicEstimator, masks: tf.Tensor) -> np.ndarray:
    """H K_d H of every cell of the masks' grid, (cells, m m)."""
    number = len(masks)
    cells = tf.transpose(tf.reshape(masks, [number, -1]))
    step = max(1, _KERNEL_ENTRIES // number**2)
    parts = []
    for start in range(0, len(cells), step):
        some = cells[start : start + step]
        kernel = estimator.input_kernel_func(some[:, None, :, None], some[:, None, None, :])
        kernel = tf.reduce_prod(1.0 + kernel, axis=1).numpy()
        parts.append(_centred(kernel).reshape(len(some), -1))
    return np.concatenate(parts)


def _centred(kernel: np.ndarray) -> np.ndarray:
    """H K H of kernels (..., m, m): rows and columns that sum to 0."""
    kernel = kernel - kernel.mean(axis=-1, keepdims=True)
    return kernel - kernel.mean(axis=-2, keepdims=True)


# The four classes, and what makes the maps of all concepts with the settings of an explainer.
SHARED: dict[type, Callable[[Any, tf.Tensor, Evaluate], Iterator[np.ndarray]]] = {
    Occlusion: _occlusion,
    Rise: _rise,
    SobolAttributionMethod: _sobol,
    HsicAttributionMethod: _hsic,
}
