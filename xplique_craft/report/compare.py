"""`write_comparison`: a comparison of methods in, one HTML file out."""

from pathlib import Path

from .._checks import check
from .._files import check_can_write, readable, write_file
from ..plots.compare import drawn_maps, fidelity_curves, method_scores, title_of
from ..plots.pictures import blend, shrunk
from ..results.comparison import Comparison
from .figures import inline_svg
from .files import render, stylesheet
from .numbers import number
from .pictures import jpeg_uri


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
        The file to write; folders above it are made. A page that is there already stays whole
        until the new one takes its place.
    title
        What the page is called; None takes the class's name.
    max_size_of_image
        Larger pictures are scaled down until their longest side has so many pixels.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    TypeError
        If something else than a `Comparison` is given, or the size is no integer.
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
    check("max_size_of_image", max_size_of_image)
    check("title", title)
    check_can_write("path", path)
    page = render(
        "compare.html.j2",
        title=readable(title or f"Concept maps and heatmaps of {comparison.class_name}"),
        comparison=comparison,
        few=_few(comparison),
        steps=_steps(comparison),
        title_of=title_of,
        lead=_lead(comparison),
        scores=[
            inline_svg(
                method_scores(comparison, measure.key),
                f"scores-{measure.key}".replace("_", "-"),
                f"{measure.name} of every method with its interval over images",
            )
            for measure in comparison.measures
            if any(one.has(measure.key) for one in comparison.measured)
        ],
        curves=[
            inline_svg(
                fidelity_curves(comparison, measure.key),
                f"curves-{measure.key}".replace("_", "-"),
                f"Mean score of every method over {measure.key}",
            )
            for measure in comparison.measures
            if measure.curve and any(measure.key in one.curves for one in comparison.measured)
        ],
        images=_images(comparison, max_size_of_image),
        css=stylesheet("page.css", "compare.css"),
    )
    return write_file(path, page)


def _few(comparison: Comparison) -> str:
    """Which measures are of few of the images: "4 for instability and randomisation"."""
    nouns: dict[int, list[str]] = {}
    for one in comparison.measures:
        if one.number_of_images is not None:
            nouns.setdefault(one.number_of_images, []).append(one.noun or one.name.lower())
    return ", ".join(f"{number} for {' and '.join(names)}" for number, names in nouns.items())


def _steps(comparison: Comparison) -> str:
    """In how many steps the curves are: "20 steps"."""
    curves = [curve for method in comparison.measured for curve in method.curves.values()]
    numbers = sorted({curve.shape[1] - 1 for curve in curves})
    return f"{' and '.join(map(str, numbers))} steps" if numbers else ""


def _lead(comparison: Comparison) -> str:
    """The answer to the question, by the first two measures, in a sentence each."""
    parts = []
    for measure in comparison.measures[:2]:
        own = comparison.best(measure.key, comparison.concept_maps)
        other = comparison.best(measure.key, comparison.heatmaps)
        if own is None or other is None:
            continue
        a, b = own.measures[measure.key].value, other.measures[measure.key].value
        verdict = "better than" if measure.better * (a - b) > 0 else "behind"
        verdict = "no other than" if number(a, 3) == number(b, 3) else verdict
        parts.append(
            f"{measure.name}: the best concept map has {number(a, 3)}, {verdict} the best heatmap, "
            f"{other.name}, with {number(b, 3)}, at {number(own.seconds, 3)} s an image against "
            f"{number(other.seconds, 3)} s."
        )
    return " ".join(parts)


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
