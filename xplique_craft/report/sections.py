"""A class explanation as its section of the page: plain values, in the order they are read."""

import hashlib
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ..plots import concept_ranks, importance_bars
from ..results import ClassExplanation
from .concepts import Card, Concept, cards_of, concepts_of
from .figures import inline_svg
from .measures import Measure, measures_of
from .tree import Branches, tree_of
from .verdict import Faithfulness, faithfulness_of
from .views import View, view_of
from .waterfalls import MAX_BARS, Waterfall, common_decimals, waterfall_of


@dataclass(frozen=True)
class Section:
    """Everything the template needs of one class."""

    source: ClassExplanation
    anchor: str
    key: str
    concepts: list[Concept]
    main: Faithfulness
    fitted: Faithfulness | None
    measures: list[Measure]
    waterfall: Waterfall | None
    importance: Markup
    cards: list[Card]
    views: list[View]
    tree: Branches | None


def section_of(explanation: ClassExplanation, place: int, side: int) -> Section:
    """
    The section of the class at a `place` on the page, from 0, by which its anchors are named;
    photographs are at most `side` pixels long in the file.
    """
    concepts = concepts_of(explanation)
    held_out = explanation.quality_held_out
    fitted = faithfulness_of(explanation.quality)
    contributions = explanation.contributions
    decimals = common_decimals([contributions, *explanation.images])
    anchor = f"class-{place}"
    bars = importance_bars(
        explanation.importance, ranks=concept_ranks(explanation), max_concepts=MAX_BARS
    )
    shown = f"Importance of the concepts of {explanation.class_name}, with intervals"
    return Section(
        source=explanation,
        anchor=anchor,
        key=key_of(explanation),
        concepts=concepts,
        main=fitted if held_out is None else faithfulness_of(held_out),
        fitted=None if held_out is None else fitted,
        measures=measures_of(explanation),
        waterfall=waterfall_of(contributions, decimals),
        importance=inline_svg(bars, anchor, shown),
        cards=cards_of(explanation, concepts),
        views=[view_of(view, concepts, side, decimals) for view in explanation.images],
        tree=None if explanation.tree is None else tree_of(explanation.tree, concepts),
    )


def key_of(explanation: ClassExplanation) -> str:
    """Of the bank that was explained, so that the names given to its concepts find it again."""
    digest = hashlib.sha256()
    for part in (
        explanation.model_name,
        explanation.layer,
        explanation.class_name,
        explanation.class_id,
        explanation.seed,
        explanation.number_of_images,
    ):
        digest.update(repr(part).encode())
    for card in explanation.cards:
        digest.update(f"{card.concept}".encode())
        digest.update(np.round(np.asarray(card.coefficients, np.float64), 4).tobytes())
    return digest.hexdigest()[:16]
