"""
A batch of images in terms of concepts: x -> A = g(x) -> U, and what gates do to it.

Gates m dim the concepts, and the head h sees sum_j m_j v_j W_j + C, with C what no gate touches:

                       v            C
    residual kept      u            E (with PCA's mean in it)
    residual dropped   u            0 (or PCA's mean)
    towards the mean   u - mean u   the same, plus (mean u) W

With the residual E kept, all gates open give the model's own activations, whatever the bank is;
with it dropped they give U W, as in the paper.
"""

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from ..factorization.base import Factorized
from ..sampling.stream import ImageBatch


@dataclass(frozen=True)
class Coded:
    """
    A batch of images in terms of the concepts of a bank.

    Parameters
    ----------
    indices
        (n,): numbers of the images, by which random draws are keyed.
    images
        (n, H, W, channels): the images themselves.
    targets
        (n, classes) float32: weights of the logits in the score.
    activations
        A, (n, ..., c).
    u
        U, (n, ..., k).
    gated
        v, (n, ..., k): what gates multiply.
    constant
        C, (n, ..., c): what gates leave as it is.
    kkt
        (n, ...): relative KKT residual of the encoding.
    bank
        W, (k, c).
    """

    indices: np.ndarray
    images: np.ndarray
    targets: np.ndarray
    activations: tf.Tensor
    u: tf.Tensor
    gated: tf.Tensor
    constant: tf.Tensor
    kkt: tf.Tensor
    bank: np.ndarray

    @classmethod
    def of(
        cls,
        batch: ImageBatch,
        targets: np.ndarray,
        activations: tf.Tensor,
        factorized: Factorized,
        *,
        reference: np.ndarray | None,
        keep_residual: bool,
    ) -> "Coded":
        """
        Encode a batch, whose activations are A = g(x).

        Closing gates lead towards the coefficients `reference` (k,), or towards 0 where it is None;
        E is part of C only if `keep_residual` says so.
        """
        u, kkt, constant = _divided(activations, factorized, keep_residual)
        gated = u
        if reference is not None:
            gated = u - reference
            constant += factorized.explained(reference[None])[0]
        return cls(
            indices=batch.indices,
            images=batch.images,
            targets=targets,
            activations=activations,
            u=u,
            gated=gated,
            constant=constant,
            kkt=kkt,
            bank=factorized.bank,
        )

    @property
    def number_of_concepts(self) -> int:
        """k."""
        return len(self.bank)

    @property
    def size(self) -> tuple[int, ...]:
        """(H, W) of the images."""
        return self.images.shape[1:3]

    def by_bank(self, factorized: Factorized, *, keep_residual: bool) -> "Coded":
        """The same images in terms of another bank, whose gates lead towards 0."""
        u, kkt, constant = _divided(self.activations, factorized, keep_residual)
        return replace(self, u=u, gated=u, constant=constant, kkt=kkt, bank=factorized.bank)

    def rows(self, rows: np.ndarray) -> "Coded":
        """Some of the images."""
        return replace(
            self,
            indices=self.indices[rows],
            images=self.images[rows],
            targets=self.targets[rows],
            activations=tf.gather(self.activations, rows),
            u=tf.gather(self.u, rows),
            gated=tf.gather(self.gated, rows),
            constant=tf.gather(self.constant, rows),
            kkt=tf.gather(self.kkt, rows),
        )


def _divided(
    activations: tf.Tensor, factorized: Factorized, keep_residual: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """U, its KKT residuals, and what no gate towards 0 touches, (n, ..., c)."""
    u, kkt = encode_batch(activations, factorized)
    explained = factorized.explained(u)
    rest = activations - explained if keep_residual else 0.0 * explained + factorized.offset
    return u, kkt, rest


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
