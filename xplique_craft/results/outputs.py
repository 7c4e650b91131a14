"""How well an explanation alone predicts all outputs of the model, beside its floors."""

from dataclasses import dataclass, fields

from .estimate import Estimate
from .numbers import percent


@dataclass(frozen=True)
class OutputScores:
    """
    How near predicted logits are to the model's, over some of its outputs; 90% intervals over
    images.

    Parameters
    ----------
    emd
        Half the L1 distance of the two softmaxes, mean over images, in [0, 1]. Low is good.
    mean_absolute_error
        How far the logits are off, mean over outputs and images. Low is good.
    rank_correlation
        Spearman's correlation of the outputs' order, mean over images, in [-1, 1]. High is good. It
        is 0 for an image of which one of the two puts all outputs level.
    agreement
        The share of images with the same largest output. High is good.
    """

    emd: Estimate
    mean_absolute_error: Estimate
    rank_correlation: Estimate
    agreement: Estimate


NAMES = {
    "emd": "EMD (low is good)",
    "mean_absolute_error": "mean absolute error (low is good)",
    "rank_correlation": "rank correlation (high is good)",
    "agreement": "agreement (high is good)",
}
"""What the four numbers are called, with their directions."""

PERFECT = OutputScores(*(Estimate(best, best, best) for best in (0.0, 0.0, 1.0, 1.0)))
"""What an explanation reaches that predicts every logit."""


@dataclass(frozen=True)
class OutputFidelity:
    """
    How well the explanation alone predicts every output, beside what no meaning would reach.

    Parameters
    ----------
    own
        The scores of the explanation.
    random_importances
        Those of the same concepts whose importances are drawn at random, mean over draws.
    random_concepts
        Those of banks of random directions, with their own importances, mean over draws.
    form
        "bank", the concepts through the head, or "additive", y = b + sum_k alpha_k u_k(x).
    number_of_images
        How many images were predicted.
    number_of_outputs
        How many outputs were compared.
    draws
        How many draws the two floors are means of.
    gap
        How much of what the concepts add to the outputs of the reference images their contributions
        miss, sum |missing| / sum |added|: 0 but for rounding where the head is affine, the error of
        the integral elsewhere. None for the form "bank", which needs no contributions.
    """

    own: OutputScores
    random_importances: OutputScores
    random_concepts: OutputScores
    form: str
    number_of_images: int
    number_of_outputs: int
    draws: int
    gap: float | None = None

    @property
    def perfect(self) -> OutputScores:
        """The scores of an explanation that predicts every logit: 0, 0, 1, 1."""
        return PERFECT

    @property
    def emd(self) -> Estimate:
        """Half the L1 distance of the softmaxes, of the explanation itself. Low is good."""
        return self.own.emd

    @property
    def mean_absolute_error(self) -> Estimate:
        """How far the logits are off, of the explanation itself. Low is good."""
        return self.own.mean_absolute_error

    @property
    def rank_correlation(self) -> Estimate:
        """Spearman's correlation over outputs, of the explanation itself. High is good."""
        return self.own.rank_correlation

    @property
    def agreement(self) -> Estimate:
        """The share of images with the same largest output, of the explanation. High is good."""
        return self.own.agreement

    def __str__(self) -> str:
        floors = zip(NAMES, _values(self.random_concepts), strict=True)
        random = dict(floors)
        parts = [
            f"{NAMES[name]}: {value} (random concepts {random[name].value:.3f})"
            if value.value == value.value
            else f"{NAMES[name]}: {value}"
            for name, value in zip(NAMES, _values(self.own), strict=True)
        ]
        return "; ".join(parts)

    def table(self) -> str:
        """The explanation, its two floors and the optimum as a Markdown table."""
        rows = {
            "the concepts": self.own,
            "random importances": self.random_importances,
            "random concepts": self.random_concepts,
            "perfect": self.perfect,
        }
        what = "h(U W)" if self.form == "bank" else "b + sum alpha u"
        lines = [
            f"| {what} | {' | '.join(NAMES.values())} |",
            "| --- |" + " --- |" * len(NAMES),
            *(f"| {name} | {' | '.join(map(str, _values(row)))} |" for name, row in rows.items()),
            "",
            f"{self.number_of_images} images, {self.number_of_outputs} outputs, intervals of 90% "
            f"over images; random rows are means of {self.draws} draws.",
        ]
        if self.gap is not None:
            lines.append(f"Of what the concepts add, contributions miss {percent(self.gap)}.")
        return "\n".join(lines)


def _values(scores: OutputScores) -> list[Estimate]:
    return [getattr(scores, field.name) for field in fields(OutputScores)]
