"""From images to concepts, batch by batch: x -> A = g(x) -> U, E."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from ..factorization import Factorized
from ..sampling.stream import ImageBatch, Stream
from ..splitting.network import Network
from ..targets import one_hot
from .head import Coded

__all__ = ["coded_batches", "concatenate_known", "encode_batch"]


def concatenate_known(parts: Iterator[np.ndarray], number: int | None) -> np.ndarray:
    """Parts one after the other, each let go once it is copied where their number is known."""
    if number is None:
        return np.concatenate(list(parts))
    whole, start = np.empty(0, np.float32), 0
    for part in parts:
        if start == 0:
            whole = np.empty((number, *part.shape[1:]), part.dtype)
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


def encode_batch(activations: tf.Tensor, factorized: Factorized) -> tuple[tf.Tensor, tf.Tensor]:
    """
    Coefficients (n, ..., k) and KKT residuals (n, ...) of activations (n, ..., c).

    Raises
    ------
    ValueError
        If the activations are not what the factorizer can take, or have other channels.
    """
    activations = tf.convert_to_tensor(activations)
    if activations.shape.rank < 2 or 0 in activations.shape:
        raise ValueError(
            "activations must have shape (n, h, w, c), (n, t, c) or (n, c), none of them 0, "
            f"received {tuple(activations.shape)}."
        )
    # The mean is not finite where any value is not.
    ends = [tf.reduce_min(activations), tf.reduce_mean(activations)]
    factorized.factorizer.check(np.array([float(end) for end in ends]))
    return factorized.encode(activations)


def coded_batches(
    stream: Stream,
    network: Network,
    factorized: Factorized,
    reference: np.ndarray | None,
    *,
    targets: Any,
    class_id: int,
    keep_residual: bool,
    use_labels: bool = False,
    description: str = "encode",
    verbose: bool = False,
) -> Iterator[Coded]:
    """
    The images of a stream in terms of concepts.

    Parameters
    ----------
    stream
        The images.
    network, factorized
        g, and the bank with its encoding.
    reference
        (k,): coefficients that gates lead towards when they close; None for 0.
    targets
        See `one_hot`; None for the labels of a dataset (where `use_labels`), else `class_id`.
    class_id
        The class whose score counts where there are no targets.
    keep_residual
        Whether E is kept; zeros stand in its place otherwise.
    use_labels
        Whether a dataset's labels are targets.
    """
    classes = network.number_of_classes
    whole = None
    if targets is not None and np.ndim(targets) > 0 and stream.length is not None:
        whole = one_hot(targets, stream.length, classes)
    seen = 0
    for batch in stream.progress(description, verbose):
        weights = _batch_targets(batch, targets, whole, class_id, classes, use_labels)
        activations = network.latents(batch.images)
        u, kkt = encode_batch(activations, factorized)
        explained = factorized.explained(u)
        constant = activations - explained if keep_residual else 0.0 * explained + factorized.offset
        gated = u
        if reference is not None:
            gated = u - reference
            constant += factorized.explained(reference[None])[0]
        seen += len(batch.images)
        yield Coded(
            indices=batch.indices,
            activations=activations,
            u=u,
            gated=gated,
            constant=constant,
            kkt=kkt,
            targets=weights,
            images=batch.images,
        )

    if np.ndim(targets) > 0 and len(targets) != seen:
        raise ValueError(f"targets must be {seen}, one for each image, received {len(targets)}.")


def _batch_targets(
    batch: ImageBatch,
    targets: Any,
    whole: np.ndarray | None,
    class_id: int,
    classes: int,
    use_labels: bool,
) -> np.ndarray:
    n = len(batch.images)
    if whole is not None:
        return whole[batch.start : batch.start + n]
    if targets is not None:
        if np.ndim(targets) > 0:
            targets = np.asarray(targets)[batch.start : batch.start + n]
        return one_hot(targets, n, classes)
    if use_labels and batch.targets is not None:
        labels = batch.targets
        if labels.ndim == 2 and labels.shape[1] == 1 and classes > 1:
            labels = labels[:, 0]
        return one_hot(labels, n, classes, name="the dataset's labels")
    return one_hot(class_id, n, classes)
