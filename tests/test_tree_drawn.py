"""Trees as a figure and on the page: every branch, its share and its crops; sums that are whole."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle
from numpy.testing import assert_allclose
from report_kit import Elements, inside, make_explanation
from tree_kit import make_tree

from xplique_craft.plots import concept_style, concept_tree, tree_rows
from xplique_craft.report import write_report


# ------------------------------------------------------------------------------------ the rows
def test_rows_make_up_what_they_divide() -> None:
    """Children, their small ones and what is not explained sum to the concept, at every level."""
    rows = tree_rows(make_tree())
    assert sum(row.share for row in rows if row.depth == 0) == pytest.approx(1.0)
    open_at: dict[int, list[float]] = {}
    sums = []
    for row in reversed(rows):
        below = open_at.pop(row.depth + 1, [])
        if row.branch is not None and row.branch.children:
            sums.append((row.share, sum(below)))
        else:
            assert not below
        open_at.setdefault(row.depth, []).append(row.share)
    assert len(sums) == 2
    assert_allclose(*zip(*sums, strict=True))


def test_rows_in_order() -> None:
    texts = [(row.depth, row.text) for row in tree_rows(make_tree())]
    assert texts == [
        (0, "C2"),
        (1, "C2.1"),
        (2, "C2.1.0"),
        (2, "C2.1.4"),
        (2, "not explained"),
        (1, "C2.0"),
        (1, "C2.3"),
        (1, "not explained"),
        (0, "C0"),
        (0, "C3"),
        (0, "C1"),
        (0, "not explained"),
    ]


def test_small_concepts_share_a_row() -> None:
    rows = tree_rows(make_tree(), least_share=0.1)
    (small,) = (row for row in rows if row.depth == 0 and "smaller" in row.text)
    assert small.text == "2 smaller"
    assert small.share == pytest.approx(-0.044)
    assert small.branch is None
    everything = tree_rows(make_tree(), least_share=0.0)
    assert sum(row.branch is not None for row in everything) == 9


# ---------------------------------------------------------------------------------- the figure
@pytest.fixture(scope="module")
def drawn() -> plt.Axes:
    ax = concept_tree(make_tree())
    ax.figure.canvas.draw()
    return ax


def test_every_crop_is_drawn_in_its_proportions(drawn: plt.Axes) -> None:
    rows = [row for row in tree_rows(make_tree()) if row.branch is not None]
    assert len(drawn.images) == 4 * len(rows)
    for i, row in enumerate(rows):
        for image, crop in zip(drawn.images[4 * i : 4 * i + 4], row.branch.crops, strict=True):
            left, right, bottom, top = image.get_extent()
            assert (right - left) / (bottom - top) == pytest.approx(crop.shape[1] / crop.shape[0])
            np.testing.assert_array_equal(image.get_array(), crop)


def test_no_row_runs_into_another(drawn: plt.Axes) -> None:
    tops = [image.get_extent()[3] for image in drawn.images[::4]]
    bottoms = [image.get_extent()[2] for image in drawn.images[::4]]
    assert all(top >= bottom for bottom, top in zip(bottoms, tops[1:], strict=False))


def test_bars_are_as_long_as_shares(drawn: plt.Axes) -> None:
    rows = tree_rows(make_tree())
    bars = [patch for patch in drawn.patches if isinstance(patch, Rectangle)]
    lengths = np.array([bar.get_width() for bar in bars])
    shares = np.array([row.share for row in rows])
    assert_allclose(lengths, lengths.max() * np.abs(shares) / np.abs(shares).max())
    assert len({round(bar.get_x(), 6) for bar in bars}) == 1


def test_a_family_has_one_colour_and_what_lowers_is_empty(drawn: plt.Axes) -> None:
    rows = tree_rows(make_tree())
    for row, bar in zip(rows, drawn.patches, strict=True):
        face = plt.matplotlib.colors.to_hex(bar.get_facecolor())
        if row.share < 0.0:
            assert bar.get_facecolor()[3] == 0.0
        elif row.branch is not None:
            assert face == concept_style(row.rank).color
        else:
            assert face == "#a4aab3"
    assert [row.rank for row in rows if row.text in ("C2", "C2.1", "C2.1.4", "C0")] == [0, 0, 0, 1]


def test_text_says_name_and_share(drawn: plt.Axes) -> None:
    texts = [text.get_text() for text in drawn.texts]
    for expected in ("C2", "C2.1.4", "60.0%", "9.0%", "-5.0%", "at large 45%\nat conv3:"):
        assert expected in texts
    assert texts[-1] == "Class 3, conv4: shares of the score above its base"


def test_axes_that_are_given_and_fewer_crops() -> None:
    ax = plt.Figure().add_subplot()
    assert concept_tree(make_tree(), number_of_crops=2, ax=ax) is ax
    assert len(ax.images) == 2 * 7
    assert not concept_tree(make_tree(0)).images
    assert plt.get_fignums() == []


# ------------------------------------------------------------------------------------ the page
@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Elements:
    explanation = make_explanation(tree=make_tree())
    path = write_report(explanation, tmp_path_factory.mktemp("tree") / "page.html")
    return Elements(path.read_text(encoding="utf-8"))


def test_the_page_is_well_formed(page: Elements) -> None:
    assert page.mistakes == []


def test_branches_stand_within_their_parents(page: Elements) -> None:
    found = {item["data-path"]: item for item in page.all("li", "branch") if "data-path" in item}
    assert set(found) == {"C2", "C2.1", "C2.0", "C2.1.0", "C2.1.4", "C0", "C3"}
    for path, item in found.items():
        for other, outer in found.items():
            assert inside(item, outer) == path.startswith(other + ".")
    folds = [page for page in page.all("details") if page["parents"][-1] in found.values()]
    assert [("open" in fold) for fold in folds] == [True, False]


def test_crops_at_every_branch(page: Elements) -> None:
    for item in page.all("li", "branch"):
        if "data-path" in item:
            images = [
                image
                for image in page.all("img")
                if image.get("alt", "").endswith(f" of {item['data-path']}")
            ]
            assert len(images) == 4
            assert all(image["src"].startswith("data:image/jpeg;base64,") for image in images)


def test_what_is_left_is_said(page: Elements) -> None:
    rest = [" ".join(item["text"].split()) for item in page.all("li", "rest")]
    assert rest == [
        "not explained 3.0%",
        "C2.3 0.4%",
        "not explained 7.6%",
        "C1 0.6%",
        "not explained 9.4%",
    ]


def test_facts_in_words(page: Elements) -> None:
    facts = [" ".join(item["text"].split()) for item in page.all("span", "branch-facts")]
    assert facts[0] == (
        "mixedness 0.42 · taken apart at conv3 · 12.5% of it not explained · sums miss 0.4%"
    )
    assert facts[2] == "50.0% of C2.1 · 27.0% of the score by every path · mixedness 0.03"
    assert any(fact.endswith("share below 6%") for fact in facts)


def test_colours_are_those_of_the_cards(page: Elements) -> None:
    cards = {card["data-concept"]: card["class"].split()[1] for card in page.all(None, "card")}
    for item in page.all("li", "branch"):
        if "data-path" in item:
            bar = next(b for b in page.all("span", "bar") if inside(b, item))
            assert cards[item["data-path"][1]] in bar["class"].split()


def test_a_page_without_a_tree(tmp_path: object) -> None:
    text = write_report(make_explanation(), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "What the concepts are made of" not in text


def test_the_tree_of_another_craft(tmp_path: object) -> None:
    tree = make_tree()
    other = make_explanation(tree=replace(tree, branches=tree.branches[:2]))
    with pytest.raises(ValueError, match="`tree` must be of the 4 concepts that are explained"):
        write_report(other, tmp_path / "page.html")
