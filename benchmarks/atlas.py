"""
Claim: the pages of a thousand classes are written in minutes and bounded memory, and open at once.

Protocol, fixed before the numbers were computed. No photograph and no model is needed, but a
Chromium: without one nothing is opened.

- The atlas is made up (`tests/atlas_kit.py`): classes with 10 concepts each, 8 crops of 90 pixels
  for each concept, 6 photographs of 200 x 300 with maps, and a merged bank in which each class
  shares three of its concepts; three classes could not be explained; 12 pairs are confused.
- *Writing*: `xplique_craft.report.write_atlas` for 100 and for 1,000 classes, in a process of its
  own each, after one class that does not count. Given are seconds, of the processor and by the
  clock, in which making the explanations up is not counted, but of reading saved ones there is
  nothing either; what is on the disk afterwards; and how much memory more the process held than
  before. What one more class costs is the difference of the two, divided by 900. Of the four pages
  of all classes each is written once more, alone, for its time.
- *Opening*: the four pages of the larger atlas and the page of one class, from file://, in headless
  Chromium of 1280 x 900, nothing kept from before: five times, median and worst. Until the load
  event (everything that is in sight is there), until the first paint, and how long the page kept
  its thread busy, which other programs on the machine do not change.
- *Search*: the names of ten classes typed letter by letter into the index; for each letter the time
  from the event until the page is laid out anew, median and worst. *Sorting*: all columns, both
  ways.

Targets: the index of 1,000 classes has less than 1 MB and opens in less than two seconds; memory
grows by less than 10% of the pages' bytes. While the pages were made, the index was seen to open in
1.3 to 2.2 seconds on a machine on which sixteen processes shared two cores.

    python benchmarks/atlas.py [--classes 100 1000] [--output FILE]
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _kit import forget_peak_memory, markdown_table, peak_memory, versions

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

CONCEPTS, PHOTOGRAPHS, FAILED, OPENED, TYPED = 10, 6, (3, 40, 77), 5, 10
PAGES = ("index.html", "shared.html", "map.html", "confusions.html")
ONE = "classes/0007.html"
SIZE = (1280, 900)


class Clock:
    """Seconds of the processor and by the clock, while it runs."""

    def __init__(self) -> None:
        self.spent = [0.0, 0.0]

    def __enter__(self) -> None:
        self._since = time.process_time(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        now = time.process_time(), time.perf_counter()
        self.spent = [
            spent + end - start
            for spent, start, end in zip(self.spent, self._since, now, strict=True)
        ]


def write(classes: int, folder: Path, queue: Any) -> None:
    """Put into the queue what it costs to write the atlas of so many classes."""
    from atlas_kit import explanation_of, make_atlas

    from xplique_craft.report import atlas

    summary, _ = make_atlas(classes, CONCEPTS, failed=FAILED)
    names = {one.class_id: one.class_name for one in summary.classes}

    def made_up(class_id: int) -> Any:
        return explanation_of(class_id, names[class_id], number=CONCEPTS, views=PHOTOGRAPHS)

    warm, _ = make_atlas(1, CONCEPTS)
    with tempfile.TemporaryDirectory() as elsewhere:
        atlas.write_atlas(warm, made_up, elsewhere)
    making, whole = Clock(), Clock()

    def explanation(class_id: int) -> Any:
        with making:
            return made_up(class_id)

    forget_peak_memory()
    before = peak_memory()
    with whole:
        atlas.write_atlas(summary, explanation, folder)
    used = peak_memory() - before
    sheet, _ = atlas.sheet_of(made_up(0), atlas.sheet_path(0))
    sheets = {one.class_id: sheet for one in summary.classes if one.failed is None}
    alone = {}
    for name in PAGES:
        clock = Clock()
        with clock:
            atlas.page_of_atlas(name, summary, sheets)
        alone[name] = clock.spent[0]
    spent = [all_ - part for all_, part in zip(whole.spent, making.spent, strict=True)]
    queue.put({"cpu": spent[0], "clock": spent[1], "memory": used, "alone": alone})


def opened(folder: Path) -> list[list[str]]:
    """How long each page takes to open, as rows of a table."""
    from browser import Browser

    rows = []
    for name in (*PAGES, ONE):
        loads, paints, busy = [], [], []
        for _ in range(OPENED):
            with Browser(*SIZE) as browser:
                loads.append(browser.open(folder / name))
                browser.ask("new Promise((done) => setTimeout(done, 300))")
                paint = "performance.getEntriesByType('paint')[0]?.startTime ?? NaN"
                paints.append(browser.ask(paint) / 1000.0)
                busy.append(browser.busy())
                number = browser.ask("document.querySelectorAll('*').length")
        seconds = [f"{statistics.median(x):.2f} ({max(x):.2f})" for x in (loads, paints, busy)]
        size = (folder / name).stat().st_size
        rows.append([f"`{name}`", f"{size / 1e3:.0f}", f"{number}", *seconds])
    return rows


def asked(folder: Path) -> list[list[str]]:
    """How long the index takes to answer a letter, and to be sorted."""
    from atlas_kit import name_of
    from browser import Browser

    answer = """((element, value, event) => {
        const start = performance.now();
        element.value = value;
        element.dispatchEvent(new Event(event));
        document.body.offsetHeight;
        return performance.now() - start;
    })"""
    with Browser(*SIZE) as browser:
        browser.open(folder / "index.html")
        letters = [
            browser.ask(f"{answer}(document.querySelector('.tools input'), '{typed}', 'input')")
            for name in map(name_of, range(11, 11 + 83 * TYPED, 83))
            for typed in [name[:end] for end in range(len(name) + 1)]
        ]
        orders = browser.ask(
            "[...document.querySelector('select').options].map((one) => one.value)"
        )
        sorts = [
            browser.ask(f"{answer}(document.querySelector('.tools select'), '{order}', 'change')")
            for order in [*orders[1:], orders[0]]
        ]
    return [
        [what, f"{len(times)}", f"{statistics.median(times):.0f}", f"{max(times):.0f}"]
        for what, times in (("a letter typed", letters), ("sorted by a column", sorts))
    ]


def bytes_of(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--classes", nargs=2, type=int, default=[100, 1000])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    table, costs = [], []
    with tempfile.TemporaryDirectory() as above:
        for classes in arguments.classes:
            folder, queue = Path(above) / str(classes), context.Queue()
            process = context.Process(target=write, args=(classes, folder, queue))
            process.start()
            cost = queue.get()
            process.join()
            cost["pages"], cost["sheets"] = (
                bytes_of(folder, one) / 1e6 for one in ("*.html", "*.jpg")
            )
            costs.append(cost)
            numbers = (cost["cpu"], cost["clock"], cost["pages"], cost["sheets"])
            table.append(
                [str(classes), *(f"{x:.0f}" for x in numbers), f"{cost['memory'] / 1e6:.0f}"]
            )
            print(" | ".join(table[-1]), flush=True)
        more = arguments.classes[1] - arguments.classes[0]
        keys = ("cpu", "clock", "pages", "sheets", "memory")
        each = [(costs[1][key] - costs[0][key]) / more for key in keys]
        table.append(["one more", *(f"{x:.3f}" for x in each[:4]), f"{each[4] / 1e6:.3f}"])
        header = ["classes", "processor (s)", "clock (s)", "pages (MB)", "thumbnails (MB)"]
        parts = [
            "# The pages of an atlas",
            "Made by `python benchmarks/atlas.py`, in which the protocol stands.",
            "## Writing",
            markdown_table([*header, "memory (MB)"], table),
            "Of this, for the larger atlas, seconds of the processor for each page of all classes: "
            + ", ".join(f"`{name}` {x:.1f}" for name, x in costs[1]["alone"].items())
            + ".",
        ]
        try:
            header = ["page", "kB", "elements", "load (s)", "first paint (s)", "busy (s)"]
            folder = Path(above) / str(arguments.classes[1])
            parts += [
                f"## Opening, {arguments.classes[1]} classes: median (worst) of {OPENED}",
                markdown_table(header, opened(folder)),
                "## Asking the index",
                markdown_table(["what", "times", "median (ms)", "worst (ms)"], asked(folder)),
            ]
        except FileNotFoundError:
            parts += ["There is no Chromium here: nothing was opened."]
    load = f"{os.cpu_count()} cores, {os.getloadavg()[1]:.0f} processes waiting on average."
    text = "\n\n".join([*parts, f"{versions()}; {load}"]) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
