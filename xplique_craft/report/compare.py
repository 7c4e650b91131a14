"""`write_comparison`: a comparison of methods in, one HTML file out."""

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from ..plots.compare import drawn_maps, fidelity_curves, method_scores, title_of
from ..plots.pictures import blend, shrunk
from ..results.comparison import MEASURES, Comparison, Measure, MethodScores
from .figures import inline_svg
from .files import check_size_of_image, render, stylesheet, write
from .numbers import interval, number
from .pictures import jpeg_uri

__all__ = ["write_comparison"]


@dataclass(frozen=True)
class _Cell:
    """One number of the table."""

    value: str
    ends: str
    best: bool


@dataclass(frozen=True)
class _Line:
    """One line of the table: numbers, or why there are none."""

    title: str
    concepts: bool
    seconds: str
    passes: str
    cells: list[_Cell | None]
    failed: str | None


def write_comparison(
    comparison: Comparison,
    path: str | Path,
    *,
    title: str | None = None,
    max_size_of_image: int = 220,
) -> Path:
    """
    Write one self-contained HTML page: table, scores, curves and maps side by side.

    The page needs no server, no network and no script.

    Parameters
    ----------
    comparison
        What `xplique_craft.compare` returned.
    path
        The file to write; folders above it are made.
    title
        Of the page. None: made from the class's name.
    max_size_of_image
        Longest side of a picture in the file, in pixels. Default 220.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    TypeError
        If something else than a `Comparison` is given.
    ValueError
        If the size is below 32.
    OSError
        If the file cannot be written.
    """
    if not isinstance(comparison, Comparison):
        raise TypeError(
            "`comparison` must be what `xplique_craft.compare` returns, received "
            f"{type(comparison).__name__}."
        )
    check_size_of_image(max_size_of_image)
    measures = [m for m in MEASURES if any(m.key in one.measures for one in comparison.methods)]
    page = render(
        "compare.html.j2",
        title=title or f"Concept maps and heatmaps of {comparison.class_name}",
        comparison=comparison,
        measures=measures,
        meanings=[(measure.name, comparison.meaning(measure)) for measure in measures],
        lines=_lines(comparison, measures),
        lead=_lead(comparison),
        scores=[
            _scores(comparison, measure)
            for measure in measures
            if any(one.has(measure.key) for one in comparison.measured)
        ],
        curves=[_curves(comparison, key) for key in ("deletion", "insertion")],
        images=_images(comparison, max_size_of_image),
        css=stylesheet("page.css", "compare.css"),
    )
    return write(page, path)


def _lines(comparison: Comparison, measures: list[Measure]) -> list[_Line]:
    lines = []
    for method in comparison.methods:
        cells: list[_Cell | None] = []
        for measure in measures:
            if not method.has(measure.key):
                cells.append(None)
                continue
            found = method.measures[measure.key]
            best = method is comparison.best(measure.key)
            cells.append(_Cell(number(found.value, 3), interval(found, decimals=3), best))
        passes = "not counted" if method.passes is None else f"{method.passes:,}"
        seconds = number(method.seconds, 3 if method.seconds < 0.1 else 2)
        title, concepts = title_of(method), method.output is not None
        lines.append(_Line(title, concepts, seconds, passes, cells, method.failed))
    return lines


def _lead(comparison: Comparison) -> str:
    """The answer to the question, in two sentences."""
    parts = []
    for measure in MEASURES[:2]:
        if not comparison.concept_maps or not comparison.heatmaps:
            return ""
        own, other = (
            _best(group, measure) for group in (comparison.concept_maps, comparison.heatmaps)
        )
        a, b = own.measures[measure.key].value, other.measures[measure.key].value
        verdict = "better than" if measure.better * (a - b) > 0 else "behind"
        verdict = "no other than" if number(a, 3) == number(b, 3) else verdict
        parts.append(
            f"{measure.name}: the best concept map has {number(a, 3)}, {verdict} the best heatmap, "
            f"{other.name}, with {number(b, 3)}, at {number(own.seconds, 3)} s an image against "
            f"{number(other.seconds, 3)} s."
        )
    return " ".join(parts)


def _best(methods: list[MethodScores], measure: Measure) -> MethodScores:
    return max(methods, key=lambda m: measure.better * m.measures[measure.key].value)


def _scores(comparison: Comparison, measure: Measure) -> tuple[Measure, Markup]:
    ax = method_scores(comparison, measure.key)
    label = f"{measure.name} of every method with its interval over images"
    return measure, inline_svg(ax, f"scores-{measure.key.replace('_', '-')}", label)


def _curves(comparison: Comparison, key: str) -> Markup:
    ax = fidelity_curves(comparison, key)
    return inline_svg(ax, f"curves-{key}", f"Mean score of every method over {key}")


def _images(
    comparison: Comparison, side: int
) -> list[tuple[str, str, list[tuple[str, bool, str]]]]:
    """Of every image: its title, its photograph, and (method, of concepts, map) of each map."""
    drawn = [drawn_maps(method) for method in comparison.measured]
    images = []
    for place, photograph in enumerate(comparison.photographs):
        maps = []
        for method, (values, scale) in zip(comparison.measured, drawn, strict=True):
            picture = blend(shrunk(photograph, values.shape[1:]), values[place], scale)
            uri = jpeg_uri(picture, side, quality=76)
            maps.append((title_of(method), method.output is not None, uri))
        images.append((comparison.titles[place], jpeg_uri(photograph, side), maps))
    return images
