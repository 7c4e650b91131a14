"""
Sobol total indices of the concepts: m_j i.i.d. uniform on [0, 1],

    ST_j = E[Var(f_x | m_~j)] / Var(f_x).

If h is affine, f_x(m) = b + sum_j c_j m_j and ST_j = c_j^2 / sum_i c_i^2, exactly. Otherwise
Jansen's estimator on replicated designs, E[(f(A) - f(C_j))^2] / (2 Var f). Ref. Fel et al., CRAFT
(CVPR 2023), section 3.2; Jansen, Comput. Phys. Commun. 117 (1999).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student
from xplique.attributions.global_sensitivity_analysis.sobol_estimators import SobolEstimator

from .._checks import check_positive_int
from .._intervals import LEVEL, bootstrap_mean
from ..explainer import ConceptExplainer
from ..gates import Coded, GatedHead
from ..results import Importance
from .designs import replicate_sizes, replicated_design, scrambled_points

if TYPE_CHECKING:
    from ..craft import Craft

__all__ = ["SobolImportance", "affine_indices", "jansen_terms"]

_GATES_AT_ONCE = 8_000_000  # entries of gates that are held for a batch
_CONSTANT = 1e-12  # variance of a constant score, relative to its mean square


def affine_indices(slopes: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """
    Total indices of f(m) = b + sum_j c_j m_j.

    Parameters
    ----------
    slopes, constant
        c, (n, k), and b, (n,).

    Returns
    -------
    indices
        (n, k): c_j^2 / sum_i c_i^2; zeros for an image whose score does not depend on the gates.
    """
    variances = np.square(slopes, dtype=np.float64) / 12.0
    variance = variances.sum(axis=1)
    mean = constant + 0.5 * slopes.sum(axis=1)
    return _divide(variances, variance, np.square(mean) + variance)


def jansen_terms(values: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Sums that Jansen's estimator is made of.

    Parameters
    ----------
    values
        (n, N (k + 2)): scores on a replicated design.
    number
        N.

    Returns
    -------
    numerators
        (n, k): sum over the N points of (f(A) - f(C_j))^2 / 2.
    baseline
        (n, 2 N): f(A) and f(B), whose variance is the denominator.
    """
    values = values.astype(np.float64)
    c = values[:, 2 * number :].reshape(len(values), -1, number)
    numerators = 0.5 * np.square(values[:, None, :number] - c).sum(axis=2)
    return numerators, values[:, : 2 * number]


def _divide(numerators: np.ndarray, variance: np.ndarray, mean_square: np.ndarray) -> np.ndarray:
    """Indices (n, k); zeros where the score does not depend on the gates."""
    constant = variance <= _CONSTANT * mean_square
    safe = np.where(constant, 1.0, variance)
    return np.where(constant[:, None], 0.0, numerators / safe[:, None])


class SobolImportance(ConceptExplainer):
    """
    Sobol total indices of the concepts, as a Xplique explainer.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    nb_design
        Points N of the design; a head that is not affine is evaluated N (k + 2) times an image.
        They are shared among 8 independent scrambles.
    sampler
        None for seeded scrambled Sobol points; or a replicated sampler of Xplique,
        (dimension, nb_design) -> gates, the same for every image.
    estimator
        None for Jansen's, vectorised; or an estimator of Xplique, called image by image.
    keep_residual
        Whether f_x keeps what the concepts do not explain; None for the craft's own setting.
    batch_size
        Images times gates evaluated at once.
    operator
        Xplique's operator; None for the sum of logits times targets.
    seed
        Of the points and the bootstrap.
    """

    def __init__(
        self,
        craft: Craft,
        nb_design: int = 32,
        sampler: Callable[[int, int], Any] | None = None,
        estimator: SobolEstimator | None = None,
        *,
        keep_residual: bool | None = None,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(craft, batch_size, operator, keep_residual)
        self.nb_design = check_positive_int("nb_design", nb_design, minimum=2)
        self.sampler = sampler
        self.estimator = estimator
        self.seed = check_positive_int("seed", seed, minimum=0)

    def explain(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """
        Importance of every concept for every image.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels): array, tensor, or tf.data.Dataset of (image, target).
        targets
            (n, classes) one-hot, a class index, or any weights of the logits (e_A - e_B for "why A
            and not B"); None for a dataset's labels, else for the class of the craft.

        Returns
        -------
        importances
            (n, k), in [0, 1] where exact.
        """
        return self.summary(inputs, targets).per_image

    def summary(self, inputs: Any, targets: Any = None) -> Importance:
        """
        Importances per image and overall, with both intervals.

        Parameters
        ----------
        inputs, targets
            As in `explain`.

        Returns
        -------
        importance
            The estimation interval is a t-interval over jackknifed scrambles; NaN where sampler or
            estimator are not ours, for their points are not replicated.
        """
        head = self._gated_head()
        before = head.evaluations
        parts = [self._batch(coded, head) for coded in self._coded(inputs, targets, "importance")]
        per_image = np.concatenate([part[0] for part in parts])
        constant = np.logical_not(per_image.any(axis=1, keepdims=True))
        if constant.any():
            warnings.warn(
                f"The score of {constant.sum()} of {len(constant)} images does not depend on the "
                "concepts: their importances are zeros. Is it the right class, and do the concepts "
                "occur in these images?",
                stacklevel=2,
            )
        overall = per_image.mean(axis=0)
        replicates = np.concatenate([part[1] for part in parts], axis=1).mean(axis=1)
        return Importance(
            per_image=per_image,
            overall=overall,
            estimation_interval=_jackknife_interval(overall, replicates, head.affine),
            image_interval=bootstrap_mean(per_image, self.seed),
            method="sobol total",
            evaluations=0 if head.affine else head.evaluations - before,
            exact=head.affine,
        )

    def _batch(self, coded: Coded, head: GatedHead) -> tuple[np.ndarray, np.ndarray]:
        """Indices (n, k) and their leave-one-scramble-out versions (r, n, k)."""
        bank = self.craft.factorized.bank
        k = len(bank)
        if head.affine:
            indices = affine_indices(*head.affine_form(coded, bank))
            return indices, indices[None]
        if self.sampler is not None or self.estimator is not None:
            return self._foreign(coded, head)
        chunk = max(1, _GATES_AT_ONCE // (self.nb_design * (k + 2) * k))
        results = []
        for start in range(0, len(coded.targets), chunk):
            part = coded.rows(np.arange(start, min(start + chunk, len(coded.targets))))
            results.append(self._sampled(part, head, bank))
        return (
            np.concatenate([r[0] for r in results]),
            np.concatenate([r[1] for r in results], axis=1),
        )

    def _sampled(
        self, coded: Coded, head: GatedHead, bank: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        k = len(bank)
        sizes = replicate_sizes(self.nb_design)
        points = [
            scrambled_points(2 * k, size, coded.indices, seed=self.seed, replicate=r)
            for r, size in enumerate(sizes)
        ]
        designs = np.concatenate([replicated_design(p) for p in points], axis=1)
        values = head.evaluate(coded, bank, designs)
        distances = np.stack([np.square(p[..., :k] - p[..., k:]).sum(axis=1) for p in points])
        ends = np.cumsum(sizes * (k + 2))[:-1]
        terms = [
            jansen_terms(part, size)
            for part, size in zip(np.split(values, ends, axis=1), sizes, strict=True)
        ]
        numerators = np.stack([t[0] for t in terms])  # (r, n, k)
        baselines = [t[1] for t in terms]
        indices = self._pooled(numerators, distances, baselines, leave_out=None)
        if len(sizes) == 1:  # leaving the only scramble out leaves nothing
            return indices, indices[None]
        left = [
            self._pooled(numerators, distances, baselines, leave_out=r) for r in range(len(sizes))
        ]
        return indices, np.stack(left)

    @staticmethod
    def _pooled(
        numerators: np.ndarray,
        distances: np.ndarray,
        baselines: list[np.ndarray],
        leave_out: int | None,
    ) -> np.ndarray:
        """
        Jansen's estimator as a ratio: E[(A_j - B_j)^2] is 1/6, and where f is nearly linear its
        numerator strays with the sample's mean of that, so it is divided by it.
        """
        kept = [r for r in range(len(baselines)) if r != leave_out]
        values = np.concatenate([baselines[r] for r in kept], axis=1)
        scale = np.square(values).mean(axis=1)
        mean = numerators[kept].sum(axis=0) / distances[kept].sum(axis=0) / 6.0
        return _divide(mean, values.var(axis=1, ddof=1), scale)

    def _foreign(self, coded: Coded, head: GatedHead) -> tuple[np.ndarray, np.ndarray]:
        """Points or estimator of Xplique's."""
        bank = self.craft.factorized.bank
        k = len(bank)
        if self.sampler is not None:
            gates = np.asarray(self.sampler(k, self.nb_design), np.float32)
            if gates.shape != (self.nb_design * (k + 2), k):
                raise ValueError(
                    f"sampler({k}, {self.nb_design}) must return a replicated design of shape "
                    f"({self.nb_design * (k + 2)}, {k}), received {gates.shape}. Xplique's "
                    "replicated samplers, as HaltonSequenceRS, do."
                )
            gates = np.broadcast_to(gates, (len(coded.targets), *gates.shape))
        else:
            gates = replicated_design(
                scrambled_points(2 * k, self.nb_design, coded.indices, seed=self.seed)
            )
        values = head.evaluate(coded, bank, gates)
        if self.estimator is not None:
            rows = [
                np.asarray(self.estimator(m, v, self.nb_design))
                for m, v in zip(gates, values, strict=True)
            ]
            constant = values.var(axis=1) <= _CONSTANT * np.square(values).mean(axis=1)
            indices = np.where(constant[:, None], 0.0, np.stack(rows).astype(np.float64))
        else:
            numerators, baseline = jansen_terms(values, self.nb_design)
            scale = np.square(baseline).mean(axis=1)
            indices = _divide(numerators / self.nb_design, baseline.var(axis=1, ddof=1), scale)
        return indices, indices[None]


def _jackknife_interval(overall: np.ndarray, left: np.ndarray, exact: bool) -> np.ndarray:
    """
    t-interval of pooled estimates over scrambles.

    Parameters
    ----------
    overall
        (k,).
    left
        (r, k): the estimate without each scramble.

    Returns
    -------
    interval
        (k, 2): no width where exact, NaN where there is one scramble.
    """
    r = len(left)
    if exact:
        return np.stack([overall, overall], axis=1)
    if r < 2:
        return np.full((len(overall), 2), np.nan)
    error = np.sqrt((r - 1) / r * np.square(left - left.mean(axis=0)).sum(axis=0))
    half = student.ppf(0.5 + LEVEL / 2.0, r - 1) * error
    return np.stack([overall - half, overall + half], axis=1)
