"""How concepts are looked for."""

from dataclasses import dataclass

from ..factorization import Factorizer


@dataclass(frozen=True)
class ExtractionSettings:
    """
    How concepts are looked for.

    Parameters
    ----------
    factorizer
        What turns rows of activations into a bank.
    number_of_concepts
        k, how many concepts are looked for.
    patch_size
        Sides of the crops in pixels; None for several scales up to the whole image.
    max_crops
        The bank is fitted on at most so many crops.
    position_weight
        How much single positions of whole images count beside crops, as a share of the crops'
        Frobenius norm; None for what suits crops and factorizer.
    special_tokens
        How many of the layer's first tokens belong to no place of the image; None goes by the rule
        of `splitting.tokens`.
    """

    factorizer: Factorizer
    number_of_concepts: int
    patch_size: tuple[int, ...] | None
    max_crops: int
    position_weight: float | None = None
    special_tokens: int | None = None

    @property
    def weight_of_positions(self) -> float:
        """`position_weight`, or what suits crops and factorizer: none with the paper's crops."""
        if self.position_weight is not None:
            return self.position_weight
        return self.factorizer.position_weight if self.patch_size is None else 0.0
