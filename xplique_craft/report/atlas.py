"""`write_atlas`: a whole model explained in, a folder of pages out."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .._checks import check, check_is
from .._files import check_can_write, check_path, readable, write_file
from ..plots.style import COLORS, PATTERNS, concept_style
from ..results import ClassExplanation, ModelSummary
from ..results.outputs import NAMES
from .atlas_classes import Named, columns_of, names_of, page_of, rows_of, sheet_path
from .atlas_confusions import PICTURE_SIDE, PICTURES, pair_of, strip_path
from .atlas_map import map_of
from .atlas_shared import MOST, shared_of, shared_rows
from .atlas_thumbnails import Sheet, sheet_of, strip_of
from .files import digest_of, render, stylesheet, text
from .page import checked, page_text

PAGES = {
    "index.html": "Classes",
    "shared.html": "Shared concepts",
    "map.html": "Map",
    "confusions.html": "Confusions",
}
STYLES = len(COLORS) * len(PATTERNS)  # ranks after which styles come again
OURS = {  # what a file is called that an atlas may have written for a class or a pair
    "classes": re.compile(r"\d{4,}\.html"),
    "assets": re.compile(r"\d{4,}(-\d{4,})?\.jpg"),
}


def write_atlas(
    summary: ModelSummary,
    explanations: Mapping[int, ClassExplanation] | Callable[[int], ClassExplanation],
    folder: str | Path,
    *,
    title: str | None = None,
    max_size_of_image: int = 420,
) -> Path:
    """
    Write a folder of pages that explain a whole model: an atlas of its classes and concepts.

    `index.html` lists the classes, with search and sorting; every class has the page that
    `write_report` writes of it; `shared.html` shows concepts that classes share, `map.html` which
    classes are near each other by them, and `confusions.html` why images of one class are taken
    for another. The pages need no server and no network, and are the same, byte for byte, for the
    same results. One explanation at a time is in memory, so there may be any number of classes.

    Every file is moved into its place when it is whole, the index last. Pages and thumbnails of
    classes and pairs that an earlier call wrote into the folder, and that are no more, are removed
    at the end; nothing else in the folder is touched.

    Parameters
    ----------
    summary
        What is said of the model beside the explanations of its classes.
    explanations
        The explanation of every class that was not given up, by the index of the class: a mapping,
        or a function that is called with the index, once for each, in the order of the classes.
    folder
        Where the pages are to be; it and folders above it are made.
    title
        What the atlas is called; None takes the model's name.
    max_size_of_image
        Photographs on the pages of classes are scaled down until their longest side has so many
        pixels. Thumbnails are not changed by it.

    Returns
    -------
    path
        The index, the page to begin with.

    Raises
    ------
    ValueError
        If a class stands twice in the summary, an explanation is missing or of another class, its
        parts do not fit together, or the size is below 32.
    TypeError
        If something else than these is given, or the size is no integer.
    OSError
        If a file cannot be written.
    """
    _check_summary(summary)
    if not callable(explanations) and not isinstance(explanations, Mapping):
        raise TypeError(
            "explanations must be a mapping from the index of a class to its ClassExplanation, or "
            f"a function that returns it, received {type(explanations).__name__}."
        )
    check("max_size_of_image", max_size_of_image)
    check("title", title)
    place = check_path("folder", folder)
    for page in PAGES:
        check_can_write("folder", place / page)

    sheets: dict[int, Sheet] = {}
    kept = {"classes": set[str](), "assets": set[str]()}

    def write(path: str, content: str | bytes) -> None:
        write_file(place / path, content, "folder")
        above, _, name = path.rpartition("/")
        kept.get(above, set()).add(name)

    for one in summary.classes:
        if one.failed is None:
            explanation = _explanation(explanations, one.class_id)
            sheets[one.class_id], jpeg = sheet_of(explanation, sheet_path(one.class_id))
            write(sheets[one.class_id].path, jpeg)
            page = page_text([explanation], None, max_size_of_image, back="../index.html")
            write(page_of(one.class_id), page)
            del explanation
    for confusion in summary.confusions:
        if confusion.pictures:
            write(strip_path(confusion), strip_of(confusion.pictures[:PICTURES], PICTURE_SIDE))
    for name in reversed(PAGES):
        write(name, page_of_atlas(name, summary, sheets, title))
    _remove_others(place, kept)
    return place / "index.html"


def page_of_atlas(
    name: str, summary: ModelSummary, sheets: Mapping[int, Sheet], title: str | None = None
) -> str:
    """One of `PAGES`, of classes whose sheets of thumbnails are written."""
    script = text("atlas.js")
    return render(
        f"atlas_{name}.j2",
        title=readable(title or f"What {summary.model_name} sees"),
        summary=summary,
        notes=[readable(note) for note in summary.notes],
        here=name,
        pages=PAGES,
        styles={rank: concept_style(rank) for rank in range(STYLES)},
        css=stylesheet("page.css", "atlas.css"),
        script=Markup(script),
        script_digest=digest_of(script),
        **_VALUES[name](summary, names_of(summary, sheets)),
    )


def _index(summary: ModelSummary, names: Mapping[int, Named]) -> dict[str, Any]:
    columns = columns_of(summary.classes)
    rows = rows_of(summary.classes, columns, names)
    shared = len(shared_rows(summary.merged))
    return {"columns": columns, "rows": rows, "shared": shared, "measures": NAMES}


def _shared(summary: ModelSummary, names: Mapping[int, Named]) -> dict[str, Any]:
    rows = shared_rows(summary.merged)
    return {
        "shared": shared_of(summary.merged, rows, names),
        "left_out": max(0, len(rows) - MOST),
    }


def _map(summary: ModelSummary, names: Mapping[int, Named]) -> dict[str, Any]:
    return {"map": map_of(summary.merged, names, summary.seed)}


def _confusions(summary: ModelSummary, names: Mapping[int, Named]) -> dict[str, Any]:
    return {
        "pairs": [pair_of(one, summary.merged, names) for one in summary.confusions],
        "labelled": any(one.labelled is not None for one in summary.classes),
    }


_VALUES: dict[str, Callable[[ModelSummary, Mapping[int, Named]], dict[str, Any]]] = {
    "index.html": _index,
    "shared.html": _shared,
    "map.html": _map,
    "confusions.html": _confusions,
}
"""What the template of each page is given beside what all of them are."""


def _explanation(explanations: Any, class_id: int) -> ClassExplanation:
    """The explanation of a class, checked."""
    if callable(explanations):
        try:
            found = explanations(class_id)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # of whoever made the function
            raise ValueError(
                f"explanations({class_id}) must return the explanation of class {class_id}, and "
                f"failed with {type(error).__name__}: {error}"
            ) from error
    elif class_id in explanations:
        found = explanations[class_id]
    else:
        raise ValueError(
            f"explanations must have every class of the summary that did not fail, and class "
            f"{class_id} is missing."
        )
    check_is(
        f"explanations[{class_id}]", found, ClassExplanation, "a ClassExplanation of that class"
    )
    if found.class_id != class_id:
        raise ValueError(
            f"explanations[{class_id}] must be of class {class_id}, received one of class "
            f"{found.class_id}."
        )
    return checked([found])[0]


def _check_summary(summary: Any) -> None:
    check_is("summary", summary, ModelSummary, "the ModelSummary of a model's explanation")
    ids = [one.class_id for one in summary.classes]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise ValueError(f"summary.classes must have every class once, received {twice} twice.")


def _remove_others(folder: Path, kept: Mapping[str, set[str]]) -> None:
    """Remove what an earlier atlas wrote of classes and pairs that this one has not."""
    for above, names in kept.items():
        if (folder / above).is_dir():
            for path in sorted((folder / above).iterdir()):
                if OURS[above].fullmatch(path.name) and path.name not in names and path.is_file():
                    path.unlink()
