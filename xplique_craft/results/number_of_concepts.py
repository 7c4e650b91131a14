"""Numbers of concepts compared, and which of them is recommended."""

from dataclasses import dataclass

from .estimate import Estimate
from .purity import Purity
from .quality import Quality
from .stability import ConceptStability


@dataclass(frozen=True)
class NumberTried:
    """
    What so many concepts reach.

    Parameters
    ----------
    number
        k, how many concepts were looked for.
    quality
        How faithful they are to the model.
    stability
        Whether the same ones come again from other photographs.
    purity
        Whether each is of one kind to another network; None where no judge was given.
    """

    number: int
    quality: Quality
    stability: ConceptStability
    purity: Purity | None = None

    @property
    def redundancy(self) -> Estimate:
        """The mean over concepts of the largest cosine with another concept of the bank."""
        return self.stability.floor


@dataclass(frozen=True)
class NumberOfConcepts:
    """
    Numbers of concepts, what each reaches, and which of them is recommended.

    Parameters
    ----------
    tried
        One for each number, the smallest first.
    recommended
        The number that `choose_number_of_concepts` recommends; its docstring says by which rule.
    reason
        Why, in one sentence.
    number_of_images
        How many images the concepts were found on.
    number_held_out
        How many others quality and purity were measured on; 0 where these are those of the fit.
    """

    tried: list[NumberTried]
    recommended: int
    reason: str
    number_of_images: int
    number_held_out: int

    def __str__(self) -> str:
        return self.reason

    def table(self) -> str:
        """The numbers as a Markdown table."""
        names = ["concepts", "agreement", "reconstruction share", "explained share", "stability"]
        names += ["no photograph in common", "redundancy"]
        judged = any(one.purity is not None for one in self.tried)
        names += ["purity"] * judged
        lines = [f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]
        for one in self.tried:
            q, s = one.quality, one.stability
            cells = [q.agreement, q.reconstruction_share, q.explained_share]
            cells += [s.matched, s.disjoint, one.redundancy]
            if one.purity is not None:
                cells.append(one.purity.accuracy)
            number = f"**{one.number}**" if one.number == self.recommended else str(one.number)
            lines.append(f"| {number} | {' | '.join(map(str, cells))} |")
        return "\n".join(lines)
