"""
Sobol indices of the concepts: m_j i.i.d. uniform on [0, 1],

    total        ST_j = E[Var(f_x | m_~j)] / Var(f_x)
    first-order  S_j  = Var(E[f_x | m_j]) / Var(f_x)
    pairwise     S_ij = Var(E[f_x | m_i, m_j]) / Var(f_x) - S_i - S_j

If h is affine, f_x(m) = b + sum_j c_j m_j, ST_j = S_j = c_j^2 / sum_i c_i^2 and S_ij = 0, exactly.
Otherwise they are estimated on stars of gates (see `designs`, `sobol_estimators`). Ref. Fel et al.,
CRAFT (CVPR 2023), section 3.2.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xplique.attributions.global_sensitivity_analysis.sobol_estimators import SobolEstimator

from .._checks import check, check_choice, warn
from .._once import cached_property
from .._seeding import seeded
from ..gates.coded import Coded
from ..gates.head import GatedHead
from ._draws import chunks, in_chunks
from .base import ImportanceMethod, Values, jackknife_interval, warn_of_flat
from .designs import GROUPS, SAMPLERS, group_sizes, points_of, star
from .sobol_estimators import Sample, divide, interactions, variances

_LARGEST_DESIGN = 4096


def affine_indices(slopes: np.ndarray) -> np.ndarray:
    """
    Total and first-order indices (n, k) of f(m) = b + sum_j c_j m_j with slopes c (n, k),
    c_j^2 / sum_i c_i^2; zeros for an image whose score does not depend on the gates.
    """
    squares = np.square(slopes, dtype=np.float64) / 12.0
    return divide(squares, squares.sum(axis=1), np.zeros(len(slopes)))


@dataclass(eq=False, repr=False)
class SobolImportance(ImportanceMethod):
    """
    Sobol indices of the concepts, as a Xplique explainer.

    Parameters
    ----------
    craft, keep_residual, batch_size, operator, seed
        Every importance method takes these; `ImportanceMethod` says what they do.
    nb_design
        N, how many points each image gets, in 8 independent groups. More of them give narrower
        intervals and take longer: a head that is not affine is evaluated N (k + 2) times an image.
    sampler
        Where the points come from. None or "sobol" takes seeded scrambled Sobol points; "halton",
        "latin hypercube" and "monte carlo" take others, each randomised per image. A replicated
        sampler of Xplique, (dimension, nb_design) -> gates, draws once, the same for every image
        (its Latin hypercube takes no seed from anywhere).
    estimator
        None estimates as `sobol_estimators` says; one of Xplique's is called image by image.
    index
        "total" counts what a concept does alone and with others, "first" only what it does alone.
    tolerance
        None takes N points for every image. With a number the points of an image double, from N on,
        until its 90% estimation interval is at most +- `tolerance` for every concept.
    max_design
        At so many points doubling ends in any case, with a warning where that is too early.

    An index is a share of a variance, so its intervals end at 0.

    The estimation interval is nominal at 90%. Measured: 86-94% for scores that bend in some
    directions, whatever the number of points; up to 97% for 25 concepts at 32 points, too wide
    rather than too narrow; 73% for single images of a product of six gates, and 86-89% for their
    mean.

    Raises
    ------
    ValueError
        If the sampler or the index is unknown; or the points are to be doubled and cannot be, as
        those of a Latin hypercube, or of Xplique.
    """

    nb_design: int = 32
    sampler: Any = None
    estimator: SobolEstimator | None = None
    index: str = field(default="total", kw_only=True)
    tolerance: float | None = field(default=None, kw_only=True)
    max_design: int = field(default=_LARGEST_DESIGN, kw_only=True)

    method = "sobol total"
    signed = False
    silent_are_zero = True
    least = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nb_design = check("nb_design", self.nb_design)
        self.max_design = check("max_design", self.max_design)
        given = self.sampler
        self.sampler = "sobol" if given is None else given
        own = isinstance(self.sampler, str) and self.sampler in SAMPLERS
        if isinstance(self.sampler, type) or not (own or callable(self.sampler)):
            raise ValueError(
                f"sampler must be one of {', '.join(map(repr, SAMPLERS))}, or a replicated sampler "
                f"of Xplique, an instance as HaltonSequenceRS(), received {given!r}."
            )
        if isinstance(self.estimator, type) or not (
            self.estimator is None or callable(self.estimator)
        ):
            raise ValueError(
                "estimator must be None or an estimator of Xplique, an instance as "
                f"JansenEstimator(), received {self.estimator!r}."
            )
        if check_choice("index", self.index, ("total", "first")) == "first":
            self.method = "sobol first-order"
            if self._is_foreign:
                raise ValueError(
                    "index='first' needs our points and our estimator: leave sampler and estimator "
                    "out."
                )
        if self.tolerance is not None:
            self.tolerance = check("tolerance", self.tolerance)
            self._check_doubling()

    def _check_doubling(self) -> None:
        """Refuse points that cannot be doubled until an interval is narrow enough."""
        if self._is_foreign or self.sampler == "latin hypercube":
            raise ValueError(
                "tolerance needs points that can be extended: sampler must be 'sobol', "
                "'halton' or 'monte carlo', and estimator None."
            )
        if self.max_design < self.nb_design:
            raise ValueError(
                f"max_design must be at least nb_design, {self.nb_design}, received "
                f"{self.max_design}."
            )
        if self.nb_design < 2 * GROUPS:
            raise ValueError(
                f"tolerance needs nb_design of at least {2 * GROUPS}, two points for each of "
                f"{GROUPS} groups, received {self.nb_design}."
            )

    @property
    def _is_foreign(self) -> bool:
        """Whether points or estimator are Xplique's."""
        return callable(self.sampler) or self.estimator is not None

    def interactions(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """
        What pairs of concepts do together that neither does alone.

        The head is evaluated N (2 k + 2) times an image.

        Parameters
        ----------
        inputs, targets
            The same as for `explain`.

        Returns
        -------
        indices
            (n, k, k), symmetric: S_ij, and S_j on the diagonal.
        """
        if self._is_foreign:
            raise ValueError("interactions need our points: leave sampler and estimator out.")
        head = self._head()
        parts = []
        for coded in self._batches(inputs, targets, "interactions"):
            k = coded.number_of_concepts
            if head.is_affine(coded):
                parts.append(affine_indices(head.affine_slopes(coded))[:, None] * np.eye(k))
                continue
            for some in chunks(coded, self._entries(2 * k + 2, k)):
                parts.append(interactions(self._sample(some, head, self.nb_design, True)))
        found = np.concatenate(parts)
        warn_of_flat(Values(found, flat=np.logical_not(found.any(axis=(1, 2)))))
        return found

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        if head.is_affine(coded):
            return Values(affine_indices(head.affine_slopes(coded)), exact=True)
        k = coded.number_of_concepts

        def estimated(part: Coded) -> Values:
            if self._is_foreign:
                return Values(self._foreign(part, head))
            return Values(*self._estimate(part, head, intervals))

        return in_chunks(coded, self._entries(k + 2, k), estimated)

    def _entries(self, gates: int, k: int) -> int:
        """Entries of the gates of an image's design, `gates` of them at each point."""
        return (self.nb_design if self.tolerance is None else self.max_design) * gates * k

    def _sample(
        self, coded: Coded, head: GatedHead, number: int, both_ways: bool = False, known: int = 0
    ) -> Sample:
        """Scores on the stars of `number` points, of which the first `known` are left out."""
        k = coded.number_of_concepts
        sizes = group_sizes(number)
        starts = group_sizes(known) if known else np.zeros_like(sizes)
        points = [
            points_of(
                self.sampler, 2 * k, size, coded.indices, seed=self.seed, group=group, start=start
            )
            for group, (size, start) in enumerate(zip(sizes, starts, strict=True))
        ]
        gates = star(np.concatenate(points, axis=1), both_ways)
        n, total, m = gates.shape[:3]
        values = head.evaluate(coded, gates.reshape(n, total * m, k))
        groups = np.repeat(np.arange(len(sizes)), sizes - starts)
        return Sample(gates, values.reshape(n, total, m), groups)

    def _estimate(
        self, coded: Coded, head: GatedHead, intervals: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Indices (n, k), and without each group (R, n, k)."""
        number = self.nb_design
        sample = self._sample(coded, head, number)
        intervals = intervals or self.tolerance is not None
        values, without = variances(sample, self.index, intervals)
        if self.tolerance is None or without is None:
            return values, without
        wide_ones: np.ndarray = np.arange(len(values))
        while True:
            half = [
                np.ptp(jackknife_interval(values[i], without[:, i]), axis=1).max() / 2.0
                for i in wide_ones
            ]
            wide = np.array(half) > self.tolerance
            wide_ones = wide_ones[wide]
            if len(wide_ones) == 0:
                break
            if 2 * number > self.max_design:
                warn(
                    f"The intervals of {len(wide_ones)} of {len(values)} images are wider than "
                    f"+-{self.tolerance:g} with {number} points: raise max_design "
                    f"({self.max_design}) or tolerance."
                )
                break
            known, number = number, 2 * number
            more = self._sample(coded.rows(wide_ones), head, number, known=known)
            sample = Sample(
                np.concatenate([sample.gates[wide], more.gates], axis=1),
                np.concatenate([sample.values[wide], more.values], axis=1),
                np.concatenate([sample.groups, more.groups]),
            )
            values[wide_ones], without[:, wide_ones] = variances(sample, self.index)
        return values, without

    @cached_property
    def _design(self) -> np.ndarray:
        """Gates (N (k + 2), k) of a sampler of Xplique, drawn once, for all images."""
        k = len(self.craft.bank)
        try:
            with seeded(self.seed, self.sampler):
                gates = np.asarray(self.sampler(k, self.nb_design), np.float32)
        except Exception as error:  # whatever a sampler of the user's raises
            raise ValueError(
                f"sampler({k}, {self.nb_design}) must return gates, and raised "
                f"{type(error).__name__}: {error}"
            ) from error
        if gates.shape != (self.nb_design * (k + 2), k):
            raise ValueError(
                f"sampler({k}, {self.nb_design}) must return a replicated design of shape "
                f"({self.nb_design * (k + 2)}, {k}), received {gates.shape}. Xplique's replicated "
                "samplers, as HaltonSequenceRS, do."
            )
        return gates

    def _foreign(self, coded: Coded, head: GatedHead) -> np.ndarray:
        """Indices (n, k) with points or estimator of Xplique's."""
        k = coded.number_of_concepts
        if callable(self.sampler):
            gates = np.broadcast_to(self._design, (len(coded.targets), self.nb_design * (k + 2), k))
        else:
            points = points_of(self.sampler, 2 * k, self.nb_design, coded.indices, seed=self.seed)
            gates = star(points).swapaxes(1, 2).reshape(len(points), -1, k)  # A, B, C_1, ...
        values = head.evaluate(coded, gates)
        scale = np.square(values, dtype=np.float64).mean(axis=1)
        if self.estimator is None:
            shape = (len(gates), k + 2, self.nb_design)
            stars = gates.reshape(*shape, k).swapaxes(1, 2), values.reshape(shape).swapaxes(1, 2)
            return variances(Sample(*stars, np.zeros(self.nb_design, int)), "total", False)[0]
        rows = [self._estimated(m, v) for m, v in zip(gates, values, strict=True)]
        constant = values.var(axis=1, dtype=np.float64) <= 1e-12 * scale
        return np.where(constant[:, None], 0.0, np.stack(rows))

    def _estimated(self, gates: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Indices (k,) of one image, by an estimator of the user's."""
        estimator, k = self.estimator, gates.shape[-1]
        must = f"estimator(gates, values, {self.nb_design}) must return {k} numbers"
        try:
            found = np.asarray(estimator(gates, values, self.nb_design), np.float64)  # type: ignore[misc]
        except Exception as error:  # whatever an estimator of the user's raises
            raise ValueError(f"{must}; it raised {type(error).__name__}: {error}") from error
        if found.shape != (k,):
            raise ValueError(f"{must}, received shape {found.shape}.")
        return found
