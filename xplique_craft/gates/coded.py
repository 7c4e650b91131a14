"""A batch of images in terms of concepts: x -> A = g(x) -> U, E."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

__all__ = ["Coded"]


@dataclass(frozen=True)
class Coded:
    """
    A batch of images in terms of concepts.

    Parameters
    ----------
    indices
        (n,): numbers of the images.
    activations
        A, (n, ..., c).
    u
        U, (n, ..., k).
    gated
        v, (n, ..., k): what gates multiply.
    constant
        C, (n, ..., c): what they leave.
    kkt
        (n, ...): relative KKT residual of the encoding.
    targets
        (n, classes) float32: weights of the logits in the score.
    images
        (n, H, W, channels): the images themselves.
    """

    indices: np.ndarray
    activations: tf.Tensor
    u: tf.Tensor
    gated: tf.Tensor
    constant: tf.Tensor
    kkt: tf.Tensor
    targets: np.ndarray
    images: np.ndarray

    @property
    def size(self) -> tuple[int, ...]:
        """(H, W) of the images."""
        return self.images.shape[1:3]

    def rows(self, rows: np.ndarray) -> "Coded":
        """Some of the images."""
        return Coded(
            indices=self.indices[rows],
            activations=tf.gather(self.activations, rows),
            u=tf.gather(self.u, rows),
            gated=tf.gather(self.gated, rows),
            constant=tf.gather(self.constant, rows),
            kkt=tf.gather(self.kkt, rows),
            targets=self.targets[rows],
            images=self.images[rows],
        )
