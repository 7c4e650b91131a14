"""Stability and purity on the page: numbers, floors and words; nothing where nothing is known."""

from dataclasses import replace

import numpy as np
import pytest
from report_kit import Elements, make_explanation

from xplique_craft.report import write_report
from xplique_craft.results import ConceptStability, Estimate, Purity

NAN = float("nan")
UNKNOWN = Estimate(NAN, NAN, NAN)
# Of four concepts in five folds: how often the cosine is 0.9 or more is 5, 4, 0 and 5.
BY_FOLD = np.full((4, 5), 0.95)
BY_FOLD[1, 2] = 0.899
BY_FOLD[2] = 0.3
STABILITY = ConceptStability(
    Estimate(0.914, 0.841, 0.972), Estimate(0.783, 0.7, 0.85), Estimate(0.55, 0.5, 0.6), BY_FOLD, 36
)
PURITY = Purity(
    Estimate(0.723, 0.65, 0.79),
    [Estimate(0.86, 0.8, 0.9), UNKNOWN, Estimate(0.5, 0.4, 0.6), Estimate(0.61, 0.5, 0.7)],
    Estimate(0.312, 0.28, 0.35),
    0.2,
    [1],
    20,
    1000,
    36,
)


@pytest.fixture
def render(tmp_path):
    def run(**changes):
        path = write_report([make_explanation(**changes)], tmp_path / "page.html")
        return Elements(path.read_text(encoding="utf-8"))

    return run


def said(elements):
    """Name -> number, words, floor; of each measure beside the three of faithfulness."""
    (box,) = elements.all("div", class_="measures") or [None]
    found = {}
    for cell in elements.all("div", class_="measure"):
        if box not in cell["parents"]:
            continue
        parts = [e for e in elements.found if cell in e["parents"]]
        by_class = {e.get("class", e["tag"]): " ".join(e["text"].split()) for e in parts}
        found[by_class["h4"]] = by_class
    return found


def test_both_stand_beside_the_three_numbers(render):
    elements = render(stability=STABILITY, purity=PURITY)
    assert elements.mistakes == []
    found = said(elements)
    assert list(found) == ["Stability", "Stability on other images", "Purity"]
    stability, other, purity = found.values()
    assert stability["big"] == "0.91 0.84 to 0.97"
    assert stability["words"] == "2 of 4 concepts come back every time (cosine of 0.9 or more)."
    assert "looked for 5 times, each time in 80% of the 36 images" in stability["meaning"]
    assert "Floor (the line): 0.55" in stability["floor"]
    assert other["big"] == "0.78 0.70 to 0.85"
    assert "share no image" in other["meaning"]
    assert purity["big"] == "72.3% 65.0 to 79.0%"
    assert "a guess finds it 20% of the time" in purity["meaning"]
    assert "Floor (the line): 31.2%" in purity["floor"]
    labels = [e["aria-label"] for e in elements.all("div", class_="range")]
    assert "Purity 72.3%, interval 65.0 to 79.0%, floor 31.2%" in labels
    marks = [e["style"] for e in elements.all("span", class_="at-floor")]
    assert marks == ["left:55.0%", "left:55.0%", "left:31.2%"]


def test_cards_say_how_often_their_concept_comes_back(render):
    elements = render(stability=STABILITY, purity=PURITY)
    cards = elements.all("article", class_="card")
    words = {
        int(card["data-concept"]): e["text"]
        for card in cards
        for e in elements.all("p", class_="measured")
        if card in e["parents"]
    }
    assert words == {
        0: "comes back in 5 of 5 · purity 86%",
        1: "comes back in 4 of 5 · too few crops to measure purity",
        2: "comes back in 0 of 5 · purity 50%",
        3: "comes back in 5 of 5 · purity 61%",
    }


@pytest.mark.parametrize(
    ("known", "names", "absent"),
    [
        ({}, [], ["comes back", "Comes back", "purity", "Purity", "tability", "Floor"]),
        (
            {"stability": STABILITY},
            ["Stability", "Stability on other images"],
            ["purity", "Purity", "odd"],
        ),
        ({"purity": PURITY}, ["Purity"], ["omes back in", "Comes back", "tability"]),
    ],
    ids=["neither", "stability", "purity"],
)
def test_nothing_is_said_of_what_was_not_measured(render, known, names, absent):
    elements = render(**known)
    assert list(said(elements)) == names
    (body,) = elements.all("body")
    for word in absent:
        assert word not in body["text"]


def test_words_follow_from_the_floor(render):
    near = replace(PURITY, accuracy=Estimate(0.36, 0.34, 0.4))
    unlike = replace(STABILITY, disjoint=Estimate(0.62, 0.59, 0.66))
    found = said(render(stability=unlike, purity=near))
    assert found["Purity"]["words"].startswith("To another network, concepts are not surely more")
    assert found["Stability on other images"]["words"] == (
        "Other images do not surely give the same concepts."
    )
    alone = replace(STABILITY, floor=UNKNOWN)
    elements = render(stability=alone)
    for one in said(elements).values():
        assert one["floor"] == "No floor: there is no other concept."
    assert elements.all("span", class_="at-floor") == []


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ({"stability": replace(STABILITY, by_fold=BY_FOLD[:3])}, "stability.by_fold"),
        ({"purity": replace(PURITY, by_concept=PURITY.by_concept[:3])}, "purity.by_concept"),
    ],
)
def test_measures_of_another_number_of_concepts_are_refused(tmp_path, known, name):
    with pytest.raises(ValueError, match=rf"{name} must be of the 4 concepts .* received 3"):
        write_report([make_explanation(**known)], tmp_path / "page.html")
