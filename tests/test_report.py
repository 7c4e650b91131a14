"""The report: one file, nothing from outside, one colour for one concept, numbers that add up."""

import base64
import hashlib
import io
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from report_kit import Elements, amount, bump, inside, make_explanation
from skimage import data

from xplique_craft import plots
from xplique_craft.report import write_report
from xplique_craft.results import Estimate

NAN = float("nan")


@pytest.fixture
def render(tmp_path):
    def run(explanations, **options):
        path = write_report(explanations, tmp_path / "page.html", **options)
        return path.read_text(encoding="utf-8")

    yield run
    assert plt.get_fignums() == []


@pytest.fixture
def page(render):
    return render([make_explanation()])


# --- the file


def test_the_path_is_returned_and_its_folders_are_made(tmp_path):
    path = write_report([make_explanation()], str(tmp_path / "new" / "folder" / "page.html"))
    assert path == tmp_path / "new" / "folder" / "page.html"
    assert path.read_text(encoding="utf-8").startswith('<!DOCTYPE html>\n<html lang="en">')


def test_nothing_comes_from_outside(page):
    text = re.sub(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/=]+", "", page)
    assert re.search(r"https?:|[\"'(]//|@import|url\((?!#)", text) is None
    for element in Elements(page).found:
        assert element["tag"] not in ("link", "iframe", "object", "embed")
        assert element.get("src", "data:image/").startswith("data:image/")
        assert element.get("href", "#").startswith("#")
    policy = Elements(page).all("meta", http_equiv="Content-Security-Policy")[0]["content"]
    assert "default-src 'none'; img-src data:;" in policy


def test_the_policy_lets_exactly_this_script_run(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_the_same_explanations_give_the_same_bytes(render):
    explanations = [make_explanation(), make_explanation("cat", data.chelsea(), seed=1)]
    assert render(explanations) == render(explanations)


def test_the_page_is_well_formed(render):
    page = Elements(render([make_explanation(), make_explanation("cat", seed=1, number=16)]))
    assert page.mistakes == []
    ids = [element["id"] for element in page.found if "id" in element]
    assert len(ids) == len(set(ids))
    labels = {label["for"] for label in page.all("label")}
    assert labels <= set(ids)
    for element in page.found:
        if element["tag"] == "img":
            assert element["alt"].strip() != ""
        if "aria-labelledby" in element:
            assert element["aria-labelledby"] in ids
        if element.get("href", "").startswith("#"):
            assert element["href"][1:] in ids
    text = "".join(element["text"] for element in page.all("style"))
    for name in re.findall(r"url\(#([^)]+)\)", text):
        assert name in ids


def test_hatches_of_figures_are_found_under_their_own_ids(page):
    named = set(re.findall(r"fill: url\(#([^)]+)\)", page))
    assert all(f'<pattern id="{name}"' in page for name in named)
    named.remove("hatch")  # the page's own, for the residual
    assert len(named) == 3  # the first of four concepts is plain
    assert all(name.startswith("class-0-") for name in named)


def test_fourteen_classes_fit_in_six_megabytes(tmp_path):
    pictures = [data.astronaut(), data.chelsea(), data.coffee()]
    one = [make_explanation(f"c{i}", pictures[i], 8, 40, 4) for i in range(3)]
    path = write_report(one, tmp_path / "page.html")
    assert path.stat().st_size / 3 * 14 < 6e6


# --- what it says


def test_the_header_says_what_was_explained(page):
    facts = {
        element["text"].split("\n")[0].strip()
        for element in Elements(page).all("div")
        if element["parents"][-1].get("class") == "facts"
    }
    assert facts == {
        "Modelsmall_cnn",
        "Layerconv4",
        "Images12 + 5 held out",
        "Left out17 predicted as another class",
        "Crops2/7, 1/2, 5/7 and the whole image",
        "Seed and versionsseed 42 keras 3.15.0 xplique 2.0.2",
    }
    assert "<title>What small_cnn sees in astronaut</title>" in page
    assert "<li>Only 12 images were given.</li>" in page


def test_what_users_wrote_is_escaped(render):
    evil = "<script>alert('x')</script>&\""
    explanation = make_explanation(
        evil, model_name=evil, layer=evil, notes=[evil], versions={evil: evil}, patch_sizes=evil
    )
    page = render([explanation], title=evil)
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    elements = Elements(page)
    assert elements.mistakes == []
    assert elements.all("h1")[0]["text"] == evil
    assert evil in elements.all("article", class_="view")[0]["aria-label"]
    assert elements.all("li")[0]["text"] == evil


def test_every_class_is_in_the_navigation(render):
    pages = Elements(render([make_explanation("astronaut"), make_explanation("cat", seed=1)]))
    nav = pages.all("nav")[0]
    links = [link for link in pages.all("a") if inside(link, nav)]
    assert [(link["text"], link["href"]) for link in links] == [
        ("astronaut", "#class-0"),
        ("cat", "#class-1"),
    ]
    assert [element["id"] for element in pages.all("section", class_="class")] == [
        "class-0",
        "class-1",
    ]
    keys = {element["data-key"] for element in pages.all("section", class_="class")}
    assert len(keys) == 2


def test_cards_come_by_contribution_with_their_numbers(page):
    explanation = make_explanation()
    cards = Elements(page).all("article", class_="card")
    assert [int(card["data-concept"]) for card in cards] == [c.concept for c in explanation.cards]
    for card, source in zip(cards, explanation.cards, strict=True):
        share = f"{100 * source.share:+.1f}% of the score".replace("-", "\N{MINUS SIGN}")
        assert share in card["text"]
        assert f"{source.importance.value:.3f}" in card["text"]
        assert f"{source.importance.low:.3f} to {source.importance.high:.3f}" in card["text"]
        assert f"{source.estimation[0]:.3f} to {source.estimation[1]:.3f}" in card["text"]
        assert "in 9 of 12 images" in card["text"]
        crops = [
            image
            for image in Elements(page).all("img")
            if f"Crop 1 of concept C{source.concept} " in image["alt"]
        ]
        assert len(crops) == 1


def test_every_card_has_room_for_a_name(page):
    elements = Elements(page)
    names = [field["data-naming"] for field in elements.all("input", type="text")]
    assert sorted(names) == ["0", "1", "2", "3"]
    for concept in names:
        # the lead's three, the mean bars, and two pictures
        mentions = [e for e in elements.found if e.get("data-name-of") == concept]
        assert len(mentions) >= 3
        assert len([e for e in elements.found if e.get("data-value-of") == concept]) == 1


def test_one_concept_has_one_style_everywhere(page):
    explanation = make_explanation()
    ranks = plots.concept_ranks(explanation)
    elements = Elements(page)
    styles = dict(re.findall(r"\.k(\d+) \{ --c: (#[0-9a-f]{6}) \}", page))
    for concept, rank in enumerate(ranks):
        style = plots.concept_style(rank)
        assert styles[str(rank)] == style.color
        drawn = [e for e in elements.found if e.get("data-concept") == str(concept)]
        assert len(drawn) >= 8
        for element in drawn:
            classes = element["class"].split()
            assert f"k{rank}" in classes
            if element["tag"] == "span":
                assert style.pattern in classes
    for layer in elements.all("div", class_="layer"):
        uri = next(e["src"] for e in elements.all("img") if inside(e, layer))
        image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA")
        colors = {pixel[:3] for _, pixel in image.getcolors(10000)}
        color = plots.concept_style(int(layer["data-rank"])).color
        assert colors == {tuple(bytes.fromhex(color[1:]))}


def test_overlays_fade_where_the_concept_is_absent(page):
    layer = Elements(page).all("img", alt="Where concept C1 is active in astronaut 0")[0]
    image = Image.open(io.BytesIO(base64.b64decode(layer["src"].split(",")[1])))
    alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert alpha.shape == (64, 96)  # not square, not transposed
    assert alpha[0, -1] == 0
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    assert (row / 64, column / 96) == pytest.approx((0.4, 0.35), abs=0.03)
    assert alpha.max() == pytest.approx(0.62 * 255, abs=2)


def test_there_is_a_toggle_for_each_concept_of_each_picture(page):
    elements = Elements(page)
    ranks = plots.concept_ranks(make_explanation())
    for view in elements.all("article", class_="view"):
        boxes = [e for e in elements.all("input", type="checkbox") if inside(e, view)]
        layers = [e for e in elements.all("div", class_="layer") if inside(e, view)]
        assert sorted(int(box["data-toggle"]) for box in boxes) == [0, 1, 2, 3]
        assert sorted(int(layer["data-concept"]) for layer in layers) == [1, 2, 3]
        checked = {box["data-toggle"] for box in boxes if "checked" in box}
        assert checked == {"1", "2", "3"}
        assert [box["data-toggle"] for box in boxes if "disabled" in box] == ["0"]
    for rank in ranks:
        rule = f'.view:has(input[data-rank="{rank}"]:checked) .layer[data-rank="{rank}"]'
        assert rule in page


def with_residual(explanation, residual_map, **changes):
    views = [replace(v, residual_map=residual_map, **changes) for v in explanation.images]
    return replace(explanation, images=views)


RAISED = bump(200, 300, 0.8, 0.3, 0.15) - bump(200, 300, 0.2, 0.8, 0.15)


def test_the_residual_is_toggled_as_a_concept_is(render):
    """In its row, off at first; it shows where the residual raises the score, and nowhere else."""
    page = render(with_residual(make_explanation(), RAISED))
    elements = Elements(page)
    assert elements.mistakes == []
    ids = [e["id"] for e in elements.found if "id" in e]
    assert len(set(ids)) == len(ids)
    for view in elements.all("article", class_="view"):
        (box,) = [e for e in elements.all("input", data_toggle="residual") if inside(e, view)]
        assert box["type"] == "checkbox"
        assert {"checked", "disabled"}.isdisjoint(box)
        (label,) = [e for e in elements.all("label", **{"for": box["id"]})]
        assert label["text"].strip() == "residual"
        row = next(e for e in reversed(box["parents"]) if e["tag"] == "tr")
        assert row["class"].split() == ["residual", "present"]
        (shown,) = [e for e in elements.all("div", class_="residual") if inside(e, view)]
        assert shown["data-rank"] == box["data-rank"] == "residual"
        assert shown["text"].strip() == "residual"
        assert "top" not in shown["class"].split()
        (picture,) = [e for e in elements.all("img") if inside(e, shown)]
        assert picture["alt"].startswith("Where the residual raises the score of astronaut")
        image = Image.open(io.BytesIO(base64.b64decode(picture["src"].split(",")[1])))
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        assert alpha[13, 76] == 0  # where it lowers the score
        row, column = np.unravel_index(alpha.argmax(), alpha.shape)
        assert (row / 64, column / 96) == pytest.approx((0.8, 0.3), abs=0.03)
        assert len([e for e in elements.all("path", class_="hatched") if inside(e, shown)]) == 1
    rule = '.view:has(input[data-rank="residual"]:checked) .layer[data-rank="residual"]'
    assert rule in page
    assert "The residual, in hatched grey, shows where" in page


def test_a_residual_that_raises_the_score_nowhere_cannot_be_ticked(render):
    elements = Elements(render(with_residual(make_explanation(), -np.abs(RAISED))))
    boxes = elements.all("input", data_toggle="residual")
    assert len(boxes) == 2
    for box in boxes:
        assert "disabled" in box
        assert "hardly raises it" in box["parents"][-1]["text"]
    assert elements.all("div", class_="residual") == []


def test_a_residual_without_bars_can_be_toggled(render):
    explanation = with_residual(make_explanation(), RAISED, score=NAN)
    elements = Elements(render(explanation))
    boxes = elements.all("input", type="checkbox")
    assert [box["data-toggle"] for box in boxes[:5]][-1] == "residual"
    assert len(boxes) == 10


def test_without_a_map_the_residual_has_no_toggle(page):
    assert Elements(page).all("input", data_toggle="residual") == []
    assert "hatched grey" not in page


def test_the_page_says_what_an_overlay_shows(render):
    """Of files that earlier versions saved it says nothing of crops: there were none."""
    explanation = make_explanation()
    said = "It is the coefficients of 29 crops laid back over the photograph"
    assert said not in render(explanation)
    views = [replace(view, map_crops=29) for view in explanation.images]
    (hint,) = Elements(render(replace(explanation, images=views))).all("p", class_="hint")
    assert said in hint["text"]
    assert "29 passes a photograph" in hint["text"]
    assert "full colour is the largest coefficient of any crop" in hint["text"]
    bare = [replace(view, maps=None, map_crops=29) for view in explanation.images]
    assert said not in render(replace(explanation, images=bare))


def test_a_residual_map_of_another_shape_is_refused(tmp_path):
    explanation = with_residual(make_explanation(), np.zeros((200, 300, 1)))
    with pytest.raises(ValueError, match=r"residual_map of 'astronaut 0' must be \(H, W\), rece"):
        write_report([explanation], tmp_path / "page.html")


def test_only_the_three_largest_concepts_are_shown_at_first(render):
    explanation = make_explanation(number=6)
    elements = Elements(render([explanation]))
    view = elements.all("article", class_="view")[0]
    boxes = [e for e in elements.all("input", type="checkbox") if inside(e, view)]
    order = [j for j in np.argsort(-np.abs(explanation.images[0].phi)) if j != 0]
    assert {int(b["data-toggle"]) for b in boxes if "checked" in b} == set(order[:3])


@pytest.mark.parametrize("number", [1, 4, 30])
def test_printed_numbers_add_up(render, number):
    explanation = make_explanation(number=number, images=3)
    elements = Elements(render([explanation]))
    tables = elements.all("table", class_="bars")
    whole = [table for table in tables if "score" in table["text"]]
    assert len(whole) == 3  # the mean and two pictures
    for table, source in zip(whole, (None, *explanation.images), strict=True):
        rows = [e for e in elements.all("tr") if inside(e, table) and "class" in e]
        values = [
            amount(e["text"])
            for row in rows
            for e in elements.all("td", class_="value")
            if inside(e, row)
        ]
        assert rows[0]["class"] == "base"
        assert rows[1]["class"] == "residual"
        assert rows[-1]["class"] == "score"
        assert sum(values[:-1]) == values[-1]
        score = explanation.contributions.score.mean() if source is None else source.score
        assert float(values[-1]) == pytest.approx(score, abs=0.0051)
    for line in elements.all("p", class_="sum"):
        numbers = re.findall(r"[\N{MINUS SIGN}\d.]+(?=\s|$)", line["text"])
        assert sum(map(amount, numbers[:-1])) == amount(numbers[-1])


def test_the_members_of_others_add_up_too(render):
    elements = Elements(render([make_explanation(number=30, images=3)]))
    for details in elements.all("details", class_="others"):
        members = [e for e in elements.all("td", class_="value") if inside(e, details)]
        assert len(members) == 18
        panel = details["parents"][-1]
        total = next(
            amount(value["text"])
            for row in elements.all("tr", class_="others")
            if inside(row, panel)
            for value in elements.all("td", class_="value")
            if inside(value, row)
        )
        assert sum(amount(member["text"]) for member in members) == total


# --- how far to trust it


def test_held_out_numbers_come_first(page):
    box = Elements(page).all("section", class_="faithfulness")[0]["text"]
    for held_out, fitted in (("95.5%", "98.5%"), ("0.50", "0.93")):
        assert 0 <= box.index(held_out) < box.index(fitted)
    assert "On 5 held-out images." in box
    assert "Read with care: explained share is low; agreement is fair." in box
    assert "90.0 to 100.0%" in box
    assert "Relative error 0.213" in box
    assert "sparsity 41.0%" in box
    assert "KKT residual 3.1e\N{MINUS SIGN}07" in box


def test_without_held_out_images_the_page_says_so(render):
    box = Elements(render([make_explanation(quality_held_out=None)]))
    text = box.all("section", class_="faithfulness")[0]["text"]
    assert "On the 12 images that the concepts were found on" in text
    assert "Faithful: all three numbers are good." in text


def test_what_is_not_defined_is_said_with_the_reason(render):
    explanation = make_explanation()
    nan = Estimate(NAN, NAN, NAN)
    quality = replace(explanation.quality, explained_share=nan)
    card = replace(explanation.cards[0], share=NAN, importance=nan, estimation=(NAN, NAN))
    view = replace(explanation.images[0], score=NAN)
    page = render(
        replace(
            explanation,
            quality_held_out=quality,
            cards=[card, *explanation.cards[1:]],
            images=[view],
        )
    )
    elements = Elements(page)
    assert elements.mistakes == []
    box = elements.all("section", class_="faithfulness")[0]["text"]
    assert "Not defined: on these images the class score hardly differs from its base" in box
    assert "Read with care: explained share is not defined." in box
    shown = elements.all("article", class_="card")[0]["text"]
    assert shown.count("not defined") == 3
    assert "Contributions are not defined" in elements.all("article", class_="view")[0]["text"]
    assert len([e for e in elements.all("input", type="checkbox")]) == 4
    assert re.search(r"\bnan\b", page.split("<body>")[1].split("<script>")[0]) is None


# --- errors


def test_nothing_to_report_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`explanations` must hold at least one class"):
        write_report([], tmp_path / "page.html")


@pytest.mark.parametrize("wrong", [["text"], "text", 3])
def test_something_else_than_explanations_is_refused(wrong, tmp_path):
    with pytest.raises(TypeError, match=r"ClassExplanation.*received (str|int)"):
        write_report(wrong, tmp_path / "page.html")


def test_preprocessed_pictures_are_refused(tmp_path):
    explanation = make_explanation()
    view = replace(explanation.images[0], photograph=np.zeros((8, 8, 3), np.float32))
    with pytest.raises(
        ValueError, match=r"must be uint8 \(H, W, 3\), received float32 \(8, 8, 3\)"
    ):
        write_report([replace(explanation, images=[view])], tmp_path / "page.html")


def test_maps_of_another_number_of_concepts_are_refused(tmp_path):
    explanation = make_explanation()
    view = replace(explanation.images[0], maps=np.zeros((200, 300, 3)))
    with pytest.raises(ValueError, match=r"must be \(H, W, 4\), one for each concept"):
        write_report([replace(explanation, images=[view])], tmp_path / "page.html")


def test_cards_of_unknown_concepts_are_refused(tmp_path):
    explanation = make_explanation()
    cards = [replace(explanation.cards[0], concept=4)]
    with pytest.raises(ValueError, match=r"concepts below 4 .* received concept 4"):
        write_report([replace(explanation, cards=cards)], tmp_path / "page.html")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="`path` must be a file that can be written") as caught:
        write_report([make_explanation()], tmp_path)
    assert caught.value.filename == str(tmp_path)


def test_a_size_too_small_for_people_is_refused(tmp_path):
    with pytest.raises(ValueError, match="max_size_of_image must be at least 32, received 8"):
        write_report([make_explanation()], tmp_path / "page.html", max_size_of_image=8)
