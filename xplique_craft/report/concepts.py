"""The concepts of a class as the page shows them: one name and one style each, in every block."""

from dataclasses import dataclass

from ..plots import ConceptStyle, concept_label, concept_ranks, concept_style
from ..results import ClassExplanation

__all__ = ["Concept", "concepts_of"]


@dataclass(frozen=True)
class Concept:
    """Name and style of one concept: `code` is "C3"."""

    index: int
    rank: int
    code: str
    style: ConceptStyle


def concepts_of(explanation: ClassExplanation) -> list[Concept]:
    """All concepts of a class, by their rank."""
    by_rank = sorted((rank, index) for index, rank in enumerate(concept_ranks(explanation)))
    return [
        Concept(index, rank, concept_label(index), concept_style(rank)) for rank, index in by_rank
    ]
