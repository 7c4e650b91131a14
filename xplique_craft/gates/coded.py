"""
A batch of images in terms of concepts: x -> A = g(x) -> U, and what gates do to it.

Gates m dim the concepts, and the head h sees sum_j m_j v_j W_j + C, with C what no gate touches:

                       v            C
    residual kept      u            E (with PCA's mean in it)
    residual dropped   u            0 (or PCA's mean)
    towards the mean   u - mean u   the same, plus (mean u) W

With the residual E kept, all gates open give the model's own activations, whatever the bank is;
with it dropped they give U W, as in the paper.

Special tokens, which belong to no place, have no coefficients: u = v = 0 there, and C is what they
are, or their mean over the images that the concepts were found in. No gate moves them. Scores are
counted from what is there without any concept and residual: 0, or the mean of factorizers around
it, and special tokens as they stand in C.
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
    nothing
        Activations without any concept, (1, ..., c) or (n, ..., c), from which scores are counted;
        None where they are 0.
    special_tokens
        How many of the first tokens belong to no place.
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
    nothing: tf.Tensor | None = None
    special_tokens: int = 0

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
        special: np.ndarray | None = None,
        keep_special: bool = True,
    ) -> "Coded":
        """
        Encode a batch, whose activations are A = g(x).

        Closing gates lead towards the coefficients `reference` (k,), or towards 0 where it is None;
        E is part of C only if `keep_residual` says so. `special` (s, c) are the mean activations of
        the special tokens, which stand in C unless `keep_special` leaves them as they are.
        """
        number = 0 if special is None else len(special)
        u, kkt, constant = _divided(activations, factorized, keep_residual, number)
        gated = u
        if reference is not None:
            gated = with_special(tf.zeros([number, len(reference)]), u - reference)
            constant += factorized.explained(reference[None])[0]
        nothing = None
        if factorized.nothing is not None or number:
            absent = 0.0 if factorized.nothing is None else factorized.nothing
            nothing = tf.zeros_like(activations[:1]) + absent
        if special is not None and number:
            stands = activations[:, :number] if keep_special else special
            constant = with_special(stands, constant)
            rest = tf.zeros_like(activations) if keep_special else tf.zeros_like(activations[:1])
            nothing = with_special(stands, rest + nothing)
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
            nothing=nothing,
            special_tokens=number,
        )

    @property
    def empty(self) -> tf.Tensor:
        """Activations without any concept, (1, ..., c) or (n, ..., c): 0 or what stands for it."""
        return tf.zeros_like(self.activations[:1]) if self.nothing is None else self.nothing

    @property
    def number_of_concepts(self) -> int:
        """k."""
        return len(self.bank)

    def at_places(self, values: tf.Tensor) -> tf.Tensor:
        """Values (n, t, ...) without those of special tokens; (n, h, w, ...) as they are."""
        return values[:, self.special_tokens :] if self.special_tokens else values

    def where_coefficients_are(self, values: tf.Tensor) -> tf.Tensor:
        """Values (n, ..., k), 0 at special tokens."""
        return with_special(tf.zeros([self.special_tokens, self.number_of_concepts]), values)

    def with_special(self, activations: tf.Tensor) -> tf.Tensor:
        """Activations (n, ..., c) with special tokens as they stand in C."""
        return with_special(self.constant[:, : self.special_tokens], activations)

    @property
    def size(self) -> tuple[int, ...]:
        """(H, W) of the images."""
        return self.images.shape[1:3]

    def by_bank(self, factorized: Factorized, *, keep_residual: bool) -> "Coded":
        """The same images in terms of another bank, whose gates lead towards 0."""
        number = self.special_tokens
        u, kkt, constant = _divided(self.activations, factorized, keep_residual, number)
        constant = self.with_special(constant)
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
            nothing=(
                self.nothing
                if self.nothing is None or len(self.nothing) == 1
                else tf.gather(self.nothing, rows)
            ),
        )


def _divided(
    activations: tf.Tensor, factorized: Factorized, keep_residual: bool, special_tokens: int = 0
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """U, its KKT residuals, and what no gate towards 0 touches, (n, ..., c)."""
    u, kkt = encode_batch(activations, factorized, special_tokens)
    explained = factorized.explained(u)
    rest = activations - explained if keep_residual else 0.0 * explained + factorized.offset
    return u, kkt, rest


def with_special(special: tf.Tensor | np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """
    Values (n, t, d) whose first tokens are replaced, by (n, s, d) or by (s, d) for all.

    Without special tokens, and of values that are no tokens, they stay as they are.
    """
    number = special.shape[-2]
    if number == 0 or values.shape.rank != 3:
        return values
    shape = tf.concat([tf.shape(values)[:1], tf.shape(special)[-2:]], axis=0)
    return tf.concat([tf.broadcast_to(special, shape), values[:, number:]], axis=1)


def encode_batch(
    activations: tf.Tensor, factorized: Factorized, special_tokens: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """
    Coefficients (n, ..., k) and KKT residuals (n, ...) of activations (n, ..., c).

    Both are 0 at the first `special_tokens` tokens.

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
    return encode_places(activations, factorized, special_tokens)


def encode_places(
    activations: tf.Tensor, factorized: Factorized, special_tokens: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """As `encode_batch`, unchecked: it can be called in a graph."""
    if not special_tokens or activations.shape.rank != 3:  # rows have no tokens
        return factorized.encode(activations)
    u, kkt = factorized.encode(activations[:, special_tokens:])
    ahead = [[0, 0], [special_tokens, 0]]
    return tf.pad(u, [*ahead, [0, 0]]), tf.pad(kkt, ahead)
