"""An atlas: whole models as folders of pages."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from atlas_kit import around, explanation_of, make_atlas, texture
from numpy.testing import assert_allclose
from PIL import Image
from report_kit import Elements, amount, inside

from xplique_craft.report import atlas as pages
from xplique_craft.report import write_atlas, write_report
from xplique_craft.report.atlas_map import in_box, layout, map_of, overlaps
from xplique_craft.report.atlas_thumbnails import SIDE, Sheet, sheet_of
from xplique_craft.results import ClassSummary, Confusion, MergedConcepts, ModelSummary

NAMES = {  # what class names may be
    0: "tench",
    1: '<script>alert("a")</script>',
    2: 'it\'s "quoted" & <b>bold</b>',
    3: "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} שלום",
    4: "日本のスピッツ",
}
OTHERS = ("shared.html", "map.html", "confusions.html")


def pictured(class_id: int, **changes):
    """A class of three concepts, whose page is drawn fast."""
    return explanation_of(class_id, NAMES[class_id], **{"number": 3, "views": 0, **changes})


@pytest.fixture(scope="module")
def summary() -> ModelSummary:
    found, _ = make_atlas(5, number=3, failed=(2,))
    return replace(
        found, classes=[replace(one, class_name=NAMES[one.class_id]) for one in found.classes]
    )


@pytest.fixture(scope="module")
def folder(summary: ModelSummary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_atlas(summary, pictured, tmp_path_factory.mktemp("atlas") / "new").parent


@pytest.fixture(scope="module")
def sheets() -> dict[int, Sheet]:
    return {i: Sheet(f"assets/{i:04d}.jpg", "0" * 16, (1, 0, 2), (3, 3, 0)) for i in (0, 1, 3, 4)}


@pytest.fixture
def page(sheets: dict[int, Sheet]) -> Callable[..., Elements]:
    """One of the four pages, read; no class of it is drawn."""
    return lambda name, summary: Elements(pages.page_of_atlas(name, summary, sheets))


def read(path: Path) -> Elements:
    return Elements(path.read_text(encoding="utf-8"))


def rows_of(index: Elements) -> list[list[str]]:
    """Texts of the cells of every class."""
    cells = [element for element in index.found if element["tag"] in ("td", "th")]
    rows = index.all("tr", "entry")
    return [[one["text"].strip() for one in cells if inside(one, row)] for row in rows]


# --- the folder -------------------------------------------------------------------------------


def test_what_is_written(folder):
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == [
        *(f"assets/{name}.jpg" for name in ("0000-0001", "0000", "0001-0003", "0001")),
        *(f"assets/{name}.jpg" for name in ("0003-0004", "0003", "0004")),
        *(f"classes/{name}.html" for name in ("0000", "0001", "0003", "0004")),
        *("confusions.html", "index.html", "map.html", "shared.html"),
    ]


def test_pages_of_classes_are_those_of_write_report_but_for_the_link_back(folder, tmp_path):
    alone = write_report([pictured(1)], tmp_path / "one.html").read_text(encoding="utf-8")
    page = (folder / "classes" / "0001.html").read_text(encoding="utf-8")
    link = '<a href="../index.html">All classes</a> · '
    assert page.count(link) == 1
    assert page.replace(link, "") == alone


def test_every_page_is_well_formed_and_every_link_leads_to_a_file(folder):
    for path in folder.rglob("*.html"):
        found = read(path)
        assert found.mistakes == [], path
        ids = [element["id"] for element in found.found if "id" in element]
        assert len(ids) == len(set(ids))
        linked = 0
        for element in found.found:
            for name in ("href", "src", "aria-labelledby"):
                to = element.get(name, "")
                if name == "aria-labelledby" or to.startswith("#"):
                    fragment = to.removeprefix("#")
                    assert fragment == "" or fragment in ids or "=" in fragment, to
                elif to and not to.startswith("data:"):
                    assert (path.parent / unquote(to)).resolve().is_file(), to
                    linked += 1
        assert linked > 0


def test_nothing_is_asked_of_anywhere_else(folder):
    for name in ("index.html", *OTHERS):
        text = (folder / name).read_text(encoding="utf-8")
        assert not re.search(r"""https?:|@import|url\((?!#)|["']//""", text)
        found = Elements(text)
        assert [one.get("src") for one in found.all("script")] == [None]
        (policy,) = found.all("meta", http_equiv="Content-Security-Policy")
        assert policy["content"].startswith(
            "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'sha"
        )
        digest = pages.digest_of(re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1])
        assert policy["content"].endswith(f"script-src 'sha256-{digest}'")


def test_the_same_results_give_the_same_bytes_and_what_is_no_more_is_removed(
    folder, summary, tmp_path
):
    for name in ("classes/0012.html", "assets/0012.jpg", "assets/0000-0012.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("of another call")
    kept = ["classes/my notes.html", "assets/logo.jpg", "classes/0007/craft.safetensors"]
    for name in kept:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    write_atlas(summary, {i: pictured(i) for i in (0, 1, 3, 4)}, tmp_path)
    found = {str(p.relative_to(tmp_path)): p for p in tmp_path.rglob("*") if p.is_file()}
    for name in kept:
        assert found.pop(name).read_text() == "mine"
    assert set(found) == {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    }
    for name, path in found.items():
        assert path.read_bytes() == (folder / name).read_bytes(), name


def test_one_explanation_is_asked_for_at_a_time(summary, tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(pages, "page_text", lambda found, *_, **__: f"{found[0].class_id}")
    monkeypatch.setattr(
        pages, "write_file", lambda path, content, _: events.append(path.relative_to(tmp_path))
    )
    write_atlas(summary, lambda one: events.append(one) or pictured(one), tmp_path)
    assert list(map(str, events)) == [
        *(f"{p}" for i in (0, 1, 3, 4) for p in (i, f"assets/000{i}.jpg", f"classes/000{i}.html")),
        *("assets/0000-0001.jpg", "assets/0001-0003.jpg", "assets/0003-0004.jpg"),
        *("confusions.html", "map.html", "shared.html", "index.html"),
    ]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"summary": "no"}, TypeError, "summary must be the ModelSummary"),
        ({"explanations": [1]}, TypeError, "explanations must be a mapping"),
        ({"explanations": {}}, ValueError, "class 0 is missing"),
        ({"explanations": lambda _: None}, TypeError, r"explanations\[0\] must be a ClassExpl"),
        ({"explanations": lambda _: pictured(1)}, ValueError, "received one of class 1"),
        ({"explanations": lambda _: 1 / 0}, ValueError, "failed with ZeroDivisionError"),
        ({"max_size_of_image": 3}, ValueError, "max_size_of_image must be at least 32"),
        ({"folder": __file__}, OSError, "is no folder"),
        ({"folder": 3}, TypeError, "`folder` must be a path"),
    ],
)
def test_what_cannot_be_written(summary, tmp_path, change, error, words):
    values = {"summary": summary, "explanations": pictured, "folder": tmp_path / "a", **change}
    with pytest.raises(error, match=words):
        write_atlas(**values)
    assert not (tmp_path / "a" / "index.html").exists()


def test_a_class_that_stands_twice(summary, tmp_path):
    with pytest.raises(ValueError, match="every class once, received 0 twice"):
        write_atlas(replace(summary, classes=[*summary.classes] * 2), pictured, tmp_path)


# --- thumbnails -------------------------------------------------------------------------------


def test_the_sheet_has_a_column_for_each_concept_in_the_order_of_cards():
    explanation = pictured(0)
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    cards = [
        replace(card, crops=[np.full((9, 7, 3), colors[place], np.uint8)] * number)
        for place, (card, number) in enumerate(zip(explanation.cards, (5, 1, 0), strict=True))
    ]
    sheet, jpeg = sheet_of(replace(explanation, cards=cards), "a.jpg")
    assert sheet.concepts == tuple(card.concept for card in cards)
    assert sheet.crops == (3, 1, 0)
    assert [sheet.column(one) for one in sheet.concepts] == [0, 1, None]
    assert sheet.column(99) is None
    pixels = np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)
    assert pixels.shape == (3 * SIDE, 3 * SIDE, 3)
    middle = SIDE // 2 + SIDE * np.arange(3)
    for row in range(3):
        assert_allclose(pixels[middle[row], middle[0]], colors[0], atol=12)
    assert_allclose(pixels[middle[0], middle[1]], colors[1], atol=12)
    assert_allclose(pixels[middle[1], middle[1]], (138, 145, 156), atol=12)
    assert_allclose(pixels[middle[0], middle[2]], (138, 145, 156), atol=12)


# --- the index --------------------------------------------------------------------------------


def test_the_index_lists_every_class(folder, summary):
    rows = rows_of(read(folder / "index.html"))
    assert [row[1] for row in rows] == list(NAMES.values())
    first = summary.classes[0]
    assert rows[0][3:] == [
        f"{100 * first.right / 50:.1f}%",
        f"{100 * first.agreement.value:.1f}%",
        f"{first.purity.value:.2f}",
        f"{first.explained_share.value:.2f}",
        "3",
        "40",
    ]
    assert rows[2] == [
        "2",
        NAMES[2],
        "not explained: Only 3 images are predicted as it, and 5 are needed.",
    ]


def test_the_header_says_what_was_explained(folder):
    index = read(folder / "index.html")
    facts = [
        " ".join(one["text"].split())
        for one in index.all("div")
        if one["parents"][-1].get("class") == "facts"
    ]
    assert facts == [
        "Modelmobilenet",
        "Layerconv_pw_13_relu",
        "Images250",
        "Classes explained4 of 5, 1 could not be",
        "Concepts12 of which 8 different, 2 shared by classes",
        "Seed and versionsseed 0 keras 3.15.0 xplique_craft 0.1.0",
    ]
    (notes,) = index.all("aside")
    assert "Only 50 images a class were given." in notes["text"]


def test_fidelity_stands_beside_its_floors_with_its_direction(folder):
    index = read(folder / "index.html")
    (bank,) = index.all("details", "bank")
    summary = next(one for one in index.all("summary") if inside(one, bank))["text"]
    assert "EMD 0.080 over explained classes, EMD 0.080 over all (low is good;" in summary
    assert "random concepts 0.800 over all)" in summary
    tables = index.all("table", "fidelity")
    assert len(tables) == 2
    headings = [one["text"] for one in index.all("th", scope="col") if inside(one, tables[0])]
    assert headings[1:3] == ["EMD (low is good)", "Mean absolute error (low is good)"]
    rows = [one["text"] for one in index.all("th", scope="row") if inside(one, tables[0])]
    assert rows == ["the concepts", "random importances", "random concepts"]


def test_names_are_text_and_nothing_else(folder):
    for name in ("index.html", *OTHERS):
        found = read(folder / name)
        assert len(found.all("script")) == 1
        assert not [one for one in found.all("b") if one["text"] == "bold"]
        names = {one["text"] for one in found.all("bdi")}
        assert {NAMES[1], NAMES[3], NAMES[4]} <= names


def test_names_that_cannot_be_shown_or_are_empty(page, summary):
    classes = [
        replace(summary.classes[0], class_name="a\0\udcff"),
        replace(summary.classes[1], class_name=" "),
    ]
    index = page("index.html", replace(summary, classes=classes, notes=["b\0"]))
    assert [row[1] for row in rows_of(index)] == ["a\ufffd\ufffd", "class 1"]


def test_columns_that_no_class_has_are_left_out(page, summary):
    bare = [replace(one, labelled=None, right=None, purity=None) for one in summary.classes]
    headings = [
        one["text"]
        for one in page("index.html", replace(summary, classes=bare)).all("th", scope="col")
    ]
    assert "Accuracy" not in headings
    assert "Purity" not in headings
    assert "Agreement" in headings
    some = [replace(bare[0], labelled=0, right=0, purity=around(0.5)), *summary.classes[1:]]
    rows = rows_of(page("index.html", replace(summary, classes=some)))
    assert rows[0][3] == "\N{EN DASH}"
    assert rows[0][5] == "0.50"


def test_a_thousand_classes_in_less_than_a_megabyte(sheets):
    rng = np.random.default_rng(0)
    classes = [
        ClassSummary(
            *(i, f"a class with a name of some length {i}", 48, 50, 40, 40, rng.random(10)),
            *(around(rng.random()) for _ in range(4)),
        )
        for i in range(1000)
    ]
    sheet = replace(sheets[0], concepts=tuple(range(10)), crops=(3,) * 10)
    known = {i: replace(sheet, path=f"assets/{i:04d}.jpg") for i in range(1000)}
    summary = ModelSummary("m", "l", 0, {}, 50_000, classes)
    text = pages.page_of_atlas("index.html", summary, known)
    assert text.count('class="entry"') == 1000
    assert len(text.encode()) < 1e6
    assert all(one["loading"] == "lazy" for one in Elements(text).all("img"))


# --- shared concepts --------------------------------------------------------------------------


def merged(rows, classes, concepts, shares) -> MergedConcepts:
    number = max(rows) + 1
    return MergedConcepts(
        np.eye(number),
        *(np.array(one, dtype=int) for one in (classes, concepts, rows)),
        np.linspace(0.9, 1.0, len(rows)),
        np.array(shares, dtype=float),
        0.9,
    )


SHARED = merged(
    rows=[0, 1, 2, 1, 0, 1, 3, 3],
    classes=[0, 0, 0, 1, 1, 3, 4, 4],
    concepts=[0, 1, 2, 0, 1, 0, 0, 1],
    shares=[0.5, 0.2, 0.3, 0.6, -0.1, 0.4, 0.5, 0.5],
)


def test_shared_concepts_most_shared_first(page, summary):
    found = page("shared.html", replace(summary, merged=SHARED))
    sections = found.all("section", "shared")
    # row 3 is of one class alone, though twice
    assert [one["id"] for one in sections] == ["concept-1", "concept-0"]
    members = [one for one in found.all("li") if inside(one, sections[0])]
    texts = [" ".join(one["text"].split()) for one in members]
    assert texts == [
        f"{NAMES[1]} C060.0% of its score · cosine 0.94",
        f"{NAMES[3]} C040.0% of its score · cosine 0.97",
        f"{NAMES[0]} C120.0% of its score · cosine 0.91",
    ]
    # where the crops are on the sheet of the class: concept 0 in column 1, concept 1 in column 0
    thumbs = [one["style"] for one in found.all("span", "thumbs") if inside(one, sections[0])]
    assert thumbs == ["--n:3;--x:1", "--n:3;--x:1", "--n:3;--x:0"]


def test_a_concept_of_very_many_classes_shows_crops_of_some(page, summary, sheets):
    number = 40
    many = merged([0] * number, list(range(number)), [0] * number, np.linspace(1, 0, number))
    classes = [replace(summary.classes[0], class_id=i, class_name=f"c{i}") for i in range(number)]
    found = page("shared.html", replace(summary, merged=many, classes=classes, confusions=[]))
    (section,) = found.all("section", "shared")
    assert "In 40 classes" in section["text"]
    assert len([one for one in found.all("li") if inside(one, section)]) == 12
    names = {one["text"] for one in found.all("bdi", "name")}
    assert names == {f"c{i}" for i in range(number)}


@pytest.mark.parametrize(
    ("bank", "words"),
    [
        (None, "were not merged into one bank"),
        (merged([0, 1], [0, 1], [0, 0], [0.5, 0.5]), "none has a cosine of 0.90 or more"),
    ],
)
def test_nothing_shared_is_said(page, summary, bank, words):
    bare = replace(summary, merged=bank, confusions=[], fidelity={})
    assert words in page("shared.html", bare).all("p", "undefined")[0]["text"]
    found = page("map.html", bare)
    assert "There is nothing to draw" in found.all("p", "undefined")[0]["text"]
    assert found.all("svg", "map") == []


# --- the map ----------------------------------------------------------------------------------


def test_overlap_is_the_least_share_of_what_is_the_same():
    # 0 and 1 have row 1 in common (0.2 of 0 and 0.6 of 1); row 0 takes from the score of 1
    expected = np.zeros((4, 4))
    for a, b, value in ((0, 1, 0.2), (0, 2, 0.2), (1, 2, 0.4)):
        expected[a, b] = expected[b, a] = value
    assert_allclose(overlaps(SHARED, [0, 1, 3, 4]), expected)
    assert_allclose(overlaps(SHARED, [4, 3]), np.zeros((2, 2)))
    twice = merged([0, 0, 0], [0, 0, 1], [0, 1, 0], [0.25, 0.5, 1.0])
    assert_allclose(overlaps(twice, [0, 1]), [[0.0, 0.75], [0.75, 0.0]])


def test_groups_are_apart_on_the_map():
    overlap = np.kron(np.eye(3), np.full((5, 5), 0.5)) * (1 - np.eye(15))
    where = layout(overlap, 0)
    distance = np.linalg.norm(where[:, None] - where[None], axis=-1)
    same = np.kron(np.eye(3), np.ones((5, 5))) > 0
    assert distance[same].max() < distance[~same].min()
    assert_allclose(layout(overlap, 0), where)
    box = in_box(where)
    assert box.min() >= 0
    assert (box <= [1000, 720]).all()


def test_the_map_names_and_links_classes(page, summary):
    found = page("map.html", replace(summary, merged=SHARED))
    (svg,) = found.all("svg", "map")
    places = [one for one in found.all("a", "place") if inside(one, svg)]
    assert {one["href"] for one in places} == {f"classes/000{i}.html" for i in (0, 1, 3)}
    nearest = [one for one in found.all("li", "entry")]
    assert len(nearest) == 3
    assert NAMES[1] in nearest[0]["text"]
    assert re.search(r"40\.0%.*20\.0%", nearest[0]["text"], re.DOTALL)
    assert f"Share no concept with another class: {NAMES[4]}." in " ".join(
        found.all("p", "small")[-1]["text"].split()
    )


def test_names_on_the_map_do_not_lie_over_each_other(summary):
    found, _ = make_atlas(60, number=3)
    names = {
        one.class_id: pages.Named(one.class_id, one.class_name, "x", None) for one in found.classes
    }
    shown = map_of(found.merged, names, 0)
    assert len(shown.places) > 50
    for size, height in (("clear", 13), ("large", 30)):
        boxes = [
            (p.x - w - 6, p.x - 6, p.y) if p.anchor == "end" else (p.x + 6, p.x + 6 + w, p.y)
            for p in shown.places
            if size in p.labelled
            for w in [0.56 * height * len(p.label)]
        ]
        assert len(boxes) > 5
        for i, (left, right, y) in enumerate(boxes):
            for start, stop, v in boxes[:i]:
                assert right <= start or stop <= left or abs(y - v) >= height


def test_two_classes_are_too_few_for_a_map(page, summary):
    two = merged([0, 0], [0, 1], [0, 0], [0.5, 0.25])
    found = page("map.html", replace(summary, merged=two, confusions=[]))
    assert found.all("svg", "map") == []
    assert len(found.all("li", "entry")) == 2
    assert "too few for a map" in found.all("p", "undefined")[0]["text"]


# --- confusions -------------------------------------------------------------------------------

CONFUSED = Confusion(
    *(0, 1, 5, 50, 4, np.array([1, 2]), np.array([0.5, -0.25])),
    *(np.array(one) for one in ([0.4, 0.1], [0.2, np.nan], [0.8, 0.2])),
    pictures=[texture(0)[:60, :90], texture(0)[:90, :60]],
)


def test_a_wrong_pair_and_what_speaks_for_it(page, summary):
    found = page("confusions.html", replace(summary, merged=SHARED, confusions=[CONFUSED]))
    (section,) = found.all("section", "pair")
    (heading,) = (one for one in found.all("h2") if inside(one, section))
    assert heading["text"] == f"{NAMES[0]} taken for {NAMES[1]} 5 of 50 (10.0%)"
    rows = found.all("div", "row")
    assert [one["text"] for one in found.all("p", "big-value")] == ["+0.50", "\N{MINUS SIGN}0.25"]
    # row 1 is shown by the concept of the class predicted, row 2 by that of the class itself
    assert f"C0 of {NAMES[1]}" in " ".join(rows[0]["text"].split())
    assert f"C2 of {NAMES[0]}" in " ".join(rows[1]["text"].split())
    bars = [one["style"] for one in found.all("span", "bar")]
    assert bars == [
        "left:33.33%;width:66.67%",
        *("left:0;width:50.0%", "left:0;width:25.0%", "left:0;width:100.0%"),
        "left:0.0%;width:33.33%",
        *("left:0;width:50.0%", "left:0;width:100.0%"),
    ]
    values = [amount(one["text"]) for one in found.all("dd") if inside(one, rows[0])]
    assert list(map(float, values)) == [0.4, 0.2, 0.8]
    assert "no such image" in rows[1]["text"]


def test_confusions_without_bank_or_of_classes_that_were_not_asked_for(page, summary):
    other = replace(CONFUSED, predicted=77, pictures=[])
    found = page("confusions.html", replace(summary, merged=None, confusions=[other]))
    assert "taken for class 77" in found.all("h2")[0]["text"]
    assert "merged concept 1" in found.all("div", "row")[0]["text"]
    assert found.all("img") == []


def test_no_confusion_and_no_label(page, summary):
    none = replace(summary, confusions=[])
    text = page("confusions.html", none).all("p", "undefined")[0]["text"]
    assert text.startswith("No image was taken for another class")
    bare = [replace(one, labelled=None, right=None) for one in summary.classes]
    text = page("confusions.html", replace(none, classes=bare)).all("p", "undefined")[0]["text"]
    assert text.startswith("No labels were given")


# --- the smallest ----------------------------------------------------------------------------


def test_one_class_and_none(tmp_path, summary):
    one = replace(
        *(summary,), classes=summary.classes[:1], merged=None, confusions=[], fidelity={}, notes=[]
    )
    index = read(write_atlas(one, pictured, tmp_path, title="An <atlas>"))
    assert index.all("h1")[0]["text"] == "An <atlas>"
    assert len(rows_of(index)) == 1
    path = write_atlas(replace(one, classes=[]), {}, tmp_path)
    assert rows_of(read(path)) == []
    assert list((tmp_path / "classes").iterdir()) == []
