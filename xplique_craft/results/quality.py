"""How faithful concepts are to a model, and what concepts of no meaning would reach."""

from dataclasses import dataclass

from .estimate import Estimate


@dataclass(frozen=True)
class Quality:
    """
    How faithful the concepts are to the model, on one set of images.

    The first three never depend on whether the residual is kept; their intervals are 90%
    bootstrap intervals over images.

    Parameters
    ----------
    agreement
        The share of images of which the model predicts the same class from the concepts alone,
        argmax h(UW) = argmax h(A); NaN for a model of one output.
    reconstruction_share
        How much of the class score the concepts alone give back, sum(h(UW) - h(0)) / sum(h(A) -
        h(0)); 1 is perfect.
    explained_share
        How much of the class score goes when the concepts do, sum(f_x(1) - f_x(0)) / sum(score -
        h(0)) with the residual kept; 1 is perfect. Of concepts around a mean (`SignedNMF`), h(0) is
        the score of the mean in both shares.
    relative_error
        How much of the activations the concepts do not explain, ||A - UW|| / ||A|| over all rows.
    sparsity
        The share of the coefficients U that are exactly zero.
    kkt_residual
        How far the coefficients are from the exact solution of the encoding, the largest relative
        KKT residual max |min(u, uG - b)| / max |b|; NaN for factorizers whose encoding solves no
        such problem.
    number_of_images
        How many images the numbers come from.
    special_tokens
        What was at tokens that belong to no place, as a class token: "mean", their mean over the
        images that the concepts were found in, or "kept", what each image has there. None where the
        layer has no such tokens.
    agreement_without_concepts
        The agreement of no concept at all, argmax h(0) = argmax h(A): the floor of `agreement`,
        which says the less the higher this is. None in results of versions that did not measure it.
    """

    agreement: Estimate
    reconstruction_share: Estimate
    explained_share: Estimate
    relative_error: float
    sparsity: float
    kkt_residual: float
    number_of_images: int
    special_tokens: str | None = None
    agreement_without_concepts: Estimate | None = None


@dataclass(frozen=True)
class SanityCheck:
    """
    Quality of the concepts beside what concepts of no meaning reach: the floor for every number.

    Parameters
    ----------
    own
        The quality of the bank that was fitted.
    random_weights
        That of a bank found in the same way in the same network with shuffled weights.
    random_bank
        That of a bank of random directions.
    """

    own: Quality
    random_weights: Quality
    random_bank: Quality

    def table(self) -> str:
        """The three as a Markdown table."""
        lines = [
            "| bank | agreement | reconstruction share | explained share | relative error |",
            "| --- | --- | --- | --- | ---: |",
        ]
        rows = {
            "fitted": self.own,
            "of shuffled weights": self.random_weights,
            "random": self.random_bank,
        }
        for name, q in rows.items():
            lines.append(
                f"| {name} | {q.agreement} | {q.reconstruction_share} | {q.explained_share} | "
                f"{q.relative_error:.3f} |"
            )
        return "\n".join(lines)
