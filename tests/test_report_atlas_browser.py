"""An atlas of a thousand classes in a real browser, from its files: opened, searched, sorted."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from atlas_kit import make_atlas, name_of
from browser import Browser, find_browser

from xplique_craft.report import atlas as pages
from xplique_craft.report import write_atlas
from xplique_craft.report.atlas_thumbnails import Sheet
from xplique_craft.results import ClassExplanation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="there is no Chromium"),
]
CLASSES = 1000
FOUR = ("index.html", "shared.html", "map.html", "confusions.html")
SHOWN = "[...document.querySelectorAll('.entry:not(.away)')]"
NAMES = f"{SHOWN}.map((row) => row.querySelector('.name').textContent)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand classes that look like one of eight; but for two their pages are empty."""
    summary, explained = make_atlas(CLASSES, failed=(5, 700))
    made = {one: explained(one) for one in range(8) if one != 5}
    whole, sheets = pages.page_text, {i: pages.sheet_of(one, "") for i, one in made.items()}

    def explanation(class_id: int) -> ClassExplanation:
        found = made.get(class_id, made[class_id % 5])
        object.__setattr__(found, "class_id", class_id)  # a copy for each would take a minute
        return found

    def sheet_of(found: ClassExplanation, path: str) -> tuple[Sheet, bytes]:
        sheet, jpeg = sheets.get(found.class_id, sheets[found.class_id % 5])
        return replace(sheet, path=path), jpeg

    def page_text(found: list[ClassExplanation], *arguments: Any, **named: Any) -> str:
        return whole(found, *arguments, **named) if found[0].class_id in (1, 2) else "<p>empty"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # of 4,000 calls, which take a minute
        patch.setattr(pages, "page_text", page_text)
        patch.setattr(pages, "sheet_of", sheet_of)
        return write_atlas(summary, explanation, tmp_path_factory.mktemp("atlas")).parent


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


def settle(browser: Browser) -> None:
    browser.ask("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_pages_open_without_complaint_scroll_bar_or_request_elsewhere(
    folder: Path, width: int, dark: bool
) -> None:
    with Browser(width, 844, dark) as browser:
        for name in (*FOUR, "classes/0001.html"):
            browser.open(folder / name)
            settle(browser)
            assert browser.complaints == []
            here = folder.resolve().as_uri()
            assert all(one.startswith((here, "data:")) for one in browser.requests)
            assert len(browser.requests) < 100  # of a thousand sheets those in sight
            assert browser.ask("document.documentElement.scrollWidth") <= width
            dim = browser.ask("getComputedStyle(document.body).backgroundColor")
            assert dim == ("rgb(20, 24, 29)" if dark else "rgb(251, 250, 247)")
            broken = (
                "[...document.images].filter((one) => one.complete && !one.naturalWidth).length"
            )
            assert browser.ask(broken) == 0


def test_the_search_answers_as_one_types(folder: Path, browser: Browser) -> None:
    browser.open(folder / "index.html")
    assert browser.ask("document.querySelector('output').textContent") == str(CLASSES)
    browser.press("/")
    assert browser.ask("document.activeElement.type") == "search"
    typed = ""
    for letter in "mogu":
        browser.press(letter)
        typed += letter
        expected = [name_of(i) for i in range(CLASSES) if typed in name_of(i)]
        assert browser.ask(NAMES) == expected
    assert browser.ask("location.hash") == "#q=mogu"
    # keys lead to what was found
    browser.press("ArrowDown")
    assert browser.ask("document.activeElement.textContent") == expected[0]
    browser.press("ArrowDown")
    assert browser.ask("document.activeElement.textContent") == expected[1]
    browser.press("ArrowUp", "ArrowUp", "Escape")
    assert len(browser.ask(NAMES)) == CLASSES
    assert browser.complaints == []


def test_every_word_counts_and_accents_and_capitals_do_not(folder: Path, browser: Browser) -> None:
    browser.open(folder / "index.html", "#q=B%C3%81BA%20cec")
    assert browser.ask(NAMES) == [
        name_of(i) for i in range(CLASSES) if all(part in name_of(i) for part in ("baba", "cec"))
    ]


def test_what_failed_is_found_by_the_link_of_the_header(folder: Path, browser: Browser) -> None:
    browser.open(folder / "index.html")
    browser.ask("document.querySelector('.facts a').click()")
    settle(browser)
    assert browser.ask(NAMES) == [name_of(5), name_of(700)]


@pytest.mark.parametrize(
    ("order", "column", "sign"),
    [("accuracy down", 3, -1), ("accuracy up", 3, 1), ("purity down", 5, -1), ("images up", 8, 1)],
)
def test_sorting(folder: Path, browser: Browser, order: str, column: int, sign: int) -> None:
    browser.open(folder / "index.html", f"#sort={order.replace(' ', '+')}")
    cells = f"{SHOWN}.map((row) => row.cells[{column}]?.textContent ?? null)"
    texts = browser.ask(cells)
    assert texts[-2:] == [None, None]  # the failed ones come last either way
    values = [float(text.rstrip("%")) for text in texts[:-2]]
    assert values == sorted(values, reverse=sign < 0)
    heading = f"document.querySelector('[data-sort={order.split()[0]}]')"
    expected = "descending" if sign < 0 else "ascending"
    assert browser.ask(f"{heading}.getAttribute('aria-sort')") == expected
    browser.ask(f"{heading}.querySelector('button').click()")
    turned = [float(text.rstrip("%")) for text in browser.ask(cells)[:-2]]
    other = order in ("accuracy down", "purity down")
    assert turned == sorted(values, reverse=not other)


def test_shared_concepts_and_pairs_are_filtered_by_class(folder: Path, browser: Browser) -> None:
    for name in ("shared.html", "confusions.html"):
        browser.open(folder / name, f"#q={name_of(1)}")
        texts = browser.ask(f"{SHOWN}.map((one) => one.textContent)")
        assert 0 < len(texts) < 20
        assert all(name_of(1) in text for text in texts)


def test_the_map_finds_a_class_and_leads_to_its_page(folder: Path, browser: Browser) -> None:
    browser.open(folder / "map.html", f"#q={name_of(10)}")
    found = "[...document.querySelectorAll('.place.found')]"
    assert browser.ask(f"{found}.map((one) => one.querySelector('text').textContent)") == [
        name_of(10)
    ]
    label = f"getComputedStyle({found}[0].querySelector('text')).display"
    assert browser.ask(label) != "none"
    browser.ask("document.querySelector('.place[href=\"classes/0001.html\"]').focus()")
    browser.press("Enter")
    settle(browser)
    browser.ask("new Promise((done) => setTimeout(done, 300))")
    assert browser.ask("location.pathname").endswith("classes/0001.html")
    assert browser.ask("document.querySelector('.overline a').href").endswith("/index.html")


def test_names_that_a_reader_gives_show_on_the_other_pages(folder: Path, browser: Browser) -> None:
    browser.open(folder / "classes" / "0001.html")
    concept = browser.ask(
        "(() => { const input = document.querySelector('[data-naming]'); input.value = 'stripes';"
        "input.dispatchEvent(new Event('input')); return input.dataset.naming; })()"
    )
    browser.open(folder / "shared.html")
    given = "[...document.querySelectorAll('.given')].filter((one) => one.textContent)"
    if concept in ("0", "1", "2"):  # the ones that are shared
        assert set(browser.ask(f"{given}.map((one) => one.textContent)")) == {"stripes"}


def test_it_is_read_without_script_too(folder: Path) -> None:
    with Browser(script=False) as browser:
        browser.open(folder / "index.html")
        assert browser.ask("document.querySelectorAll('.entry').length") == CLASSES
        assert browser.ask("getComputedStyle(document.querySelector('.tools')).display") == "none"
