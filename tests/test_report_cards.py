"""Cards of concepts: all their crops, what is known of their numbers, coefficients with signs."""

from dataclasses import replace

import numpy as np
import pytest
from report_kit import Elements, inside, make_explanation

from xplique_craft.report import write_report

NAN = float("nan")


@pytest.fixture
def render(tmp_path):
    def run(explanation):
        return write_report([explanation], tmp_path / "page.html").read_text(encoding="utf-8")

    return run


@pytest.mark.parametrize(("number", "many"), [(1, False), (6, False), (7, True), (12, True)])
def test_cards_show_all_their_crops(render, number, many):
    explanation = make_explanation()
    crop = explanation.cards[0].crops[0]
    card = replace(explanation.cards[0], crops=[crop] * number, crop_coefficients=[0.5] * number)
    elements = Elements(render(replace(explanation, cards=[card, *explanation.cards[1:]])))
    box = elements.all("div", class_="crops")[0]
    assert len([e for e in elements.all("img") if inside(e, box)]) == number
    assert ("many" in box["class"].split()) == many


def test_what_was_not_sampled_is_exact_and_what_is_unknown_is_not(render):
    explanation = make_explanation()
    overall = explanation.cards[0].importance.value
    unknown = replace(explanation.cards[0], estimation=(NAN, NAN))
    narrow = replace(explanation.cards[0], estimation=(overall, overall))
    for exact, card, words, marks in (
        (True, narrow, "exact", 1),
        (False, unknown, "not known", 0),
        (False, narrow, f"{overall:.3f} to {overall:.3f}", 1),
    ):
        importance = replace(explanation.importance, exact=exact)
        one = replace(explanation, importance=importance, cards=[card])
        elements = Elements(render(one))
        captions = [e["text"] for e in elements.all("p", class_="caption")]
        assert captions[0] == f"sampling: {words}"
        assert len(elements.all("div", class_="whiskers")) == 1
        assert len(elements.all("span", class_="over-images")) == 1
        assert len(elements.all("span", class_="sampling")) == marks


def test_signed_coefficients_have_two_ends(render):
    explanation = make_explanation()
    coefficients = np.linspace(-1.5, 2.0, 12)
    cards = [
        replace(explanation.cards[0], coefficients=coefficients),
        replace(explanation.cards[1], crops=[], crop_coefficients=[]),
    ]
    elements = Elements(render(replace(explanation, cards=cards)))
    first, second = elements.all("article", class_="card")
    axes = [e["text"] for e in elements.all("p", class_="axis")]
    assert axes[0] == "\N{MINUS SIGN}1.5012 images2.00"
    assert "in 9 of 12 images" not in first["text"] + second["text"]
    assert "Crops of the positive end" in first["text"]
    assert "this concept has no positive end here" in second["text"]
    histogram = elements.all("svg", class_="histogram")[0]
    assert "from \N{MINUS SIGN}1.50 to 2.00" in histogram["aria-label"]


def test_there_is_no_kkt_residual_where_nothing_is_solved(render):
    explanation = make_explanation()
    quality = replace(explanation.quality, kkt_residual=NAN)
    page = Elements(render(replace(explanation, quality=quality, quality_held_out=None)))
    box = page.all("section", class_="faithfulness")[0]["text"]
    assert "KKT residual not applicable" in box
