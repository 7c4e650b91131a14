"""Names that users give: of any bytes, with dollar signs; no page and no figure fails on one."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted
import pytest
from report_kit import Elements, make_explanation

import xplique_craft as xc
import xplique_craft.report.page as pages
from xplique_craft import plots
from xplique_craft.photographs import as_titles
from xplique_craft.plots.style import as_written
from xplique_craft.report import write_comparison, write_report
from xplique_craft.results.comparison import Comparison
from xplique_craft.targets import class_name_of

SIZE = (16, 24)
NAME = os.fsdecode(b"caf\xe9 $x^ {\0")  # no UTF-8, half a formula, and what no file name may have
SHOWN = "caf\N{REPLACEMENT CHARACTER} $x^ {\N{REPLACEMENT CHARACTER}"


def test_titles_and_classes() -> None:
    assert as_titles([NAME, "a", Path("b")], 3) == [SHOWN, "a", "b"]
    assert class_name_of(1, ["a", NAME]) == SHOWN
    for titles in ("abc", 3):
        with pytest.raises(TypeError, match="titles must be a list of titles"):
            as_titles(titles, 3)


def test_as_written_is_no_formula() -> None:
    assert as_written("from $1 to $2") == r"from \$1 to \$2"


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    model = planted.network(np.eye(3), "affine", size=SIZE)
    return xc.Craft.from_model(model, planted.LAYER, 2, batch_size=8)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Red squares of several sizes, with some green in them."""
    rng = np.random.default_rng(0)
    squares = [
        planted.square(SIZE, int(rng.integers(0, 6)), int(rng.integers(0, 12)), 9, 0)
        + planted.square(SIZE, int(rng.integers(0, 8)), int(rng.integers(0, 12)), 4, 1)
        for _ in range(10)
    ]
    return np.stack(squares).astype(np.float32) * 200.0


def test_a_class_and_an_image_are_explained_whatever_their_names(
    craft: xc.Craft, images: np.ndarray, tmp_path: Path
) -> None:
    class_id = planted.predicted(craft.model, images)
    names = [f"{NAME}{i}" for i in range(craft.network.number_of_classes)]
    explanation = xc.explain_class(
        craft,
        images,
        class_id,
        class_name=NAME,
        class_names=names,
        titles=[NAME] * len(images),
        model_name=NAME,
    )
    assert (explanation.class_name, explanation.model_name) == (SHOWN, SHOWN)
    assert {view.title for view in explanation.images} == {SHOWN}
    page = write_report(explanation, tmp_path / "page.html", title=NAME)
    text = page.read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    assert f"<title>{SHOWN}</title>" in text
    one = craft.explain_image(images[0], class_names=names)
    assert one.names[0].startswith(SHOWN)
    plots.image_explanation(replace(one, names=(NAME, NAME))).canvas.draw()
    plots.class_map(replace(one, names=(NAME, NAME))).figure.canvas.draw()


def test_a_comparison_is_drawn_whatever_its_names(
    craft: xc.Craft, images: np.ndarray, tmp_path: Path
) -> None:
    craft.fit(images, planted.predicted(craft.model, images))
    comparison = xc.compare(
        craft,
        images[:2],
        methods=["random", "ConceptActivation"],
        class_name=NAME,
        model_name=NAME,
        titles=[NAME, "b"],
    )
    assert isinstance(comparison, Comparison)
    assert (comparison.class_name, comparison.titles[0]) == (SHOWN, SHOWN)
    given = replace(comparison, class_name=NAME, titles=[NAME, NAME], model_name=NAME)
    given.methods[0] = replace(given.methods[0], name=NAME)
    page = write_comparison(given, tmp_path / "page.html", title=NAME)
    text = page.read_text(encoding="utf-8")
    assert f"<title>{SHOWN}</title>" in text
    plots.maps_side_by_side(given).canvas.draw()


# --- where pages are written ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        (None, TypeError, r"`path` must be a path, a str or a pathlib\.Path, received None"),
        (b"page.html", TypeError, "of type bytes"),
        ("a\0b", ValueError, "without NUL characters"),
        ("", ValueError, "not empty"),
        (os.devnull, OSError, "it is a device"),
        (os.sep, OSError, "it is a folder"),
        (f"{__file__}/page.html", OSError, "is no folder"),
    ],
)
def test_a_place_is_checked_before_a_page_is_drawn(
    monkeypatch: pytest.MonkeyPatch, path: object, error: type[Exception], words: str
) -> None:
    monkeypatch.setattr(pages, "section_of", lambda *_: pytest.fail("the page is drawn"))
    with pytest.raises(error, match=words):
        write_report(make_explanation(), path)
