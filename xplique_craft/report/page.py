"""`write_report`: explanations in, one HTML file out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from .._checks import check
from .._files import check_can_write, readable, write_file
from ..plots.style import RESIDUAL_COLOR
from ..results import ClassExplanation
from .files import digest_of, render, stylesheet, text
from .sections import section_of


def _listed(explanations: Any) -> list[Any]:
    """What is given, one after the other, up to the first that is no explanation."""
    if isinstance(explanations, ClassExplanation):
        return [explanations]
    found: list[Any] = []
    try:
        for one in explanations:
            found.append(one)
            if not isinstance(one, ClassExplanation):
                break
    except Exception as error:  # of whoever made what is iterated over
        raise TypeError(
            "`explanations` must be a ClassExplanation or a list of such, received "
            f"{type(explanations).__name__}: make one with `explain_class`."
        ) from error
    return found


def checked(explanations: Any) -> list[ClassExplanation]:
    """Explanations as a list, if there are any and the parts of each fit together; else why not."""
    found = _listed(explanations)
    if not found:
        raise ValueError(
            "`explanations` must hold at least one class, received none: "
            "make one with `explain_class`."
        )
    for place, explanation in enumerate(found):
        where = f"`explanations[{place}]`"
        if not isinstance(explanation, ClassExplanation):
            raise TypeError(
                f"{where} must be a ClassExplanation, received {type(explanation).__name__}: "
                "make it with `explain_class`."
            )
        number_of_concepts = explanation.contributions.phi.shape[1]
        stability, purity = explanation.stability, explanation.purity
        for name, known in (
            ("stability.by_fold", None if stability is None else len(stability.by_fold)),
            ("purity.by_concept", None if purity is None else len(purity.by_concept)),
        ):
            if known not in (None, number_of_concepts):
                raise ValueError(
                    f"{where}.{name} must be of the {number_of_concepts} concepts that "
                    f"contributions.phi has columns for, received {known}."
                )
        for card in explanation.cards:
            if not 0 <= card.concept < number_of_concepts:
                raise ValueError(
                    f"{where}.cards must be of concepts below {number_of_concepts} (the columns "
                    f"of contributions.phi), received concept {card.concept}."
                )
        for view in explanation.images:
            picture = np.asarray(view.photograph)
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise ValueError(
                    f"{where}.images: the photograph {view.title!r} must be uint8 (H, W, 3), "
                    f"received {picture.dtype} {picture.shape}: pass pictures as people look at "
                    "them, not as the model eats them."
                )
            maps = view.maps
            if maps is not None and (maps.ndim != 3 or maps.shape[2] != number_of_concepts):
                raise ValueError(
                    f"{where}.images: the maps of {view.title!r} must be (H, W, "
                    f"{number_of_concepts}), one for each concept, received {maps.shape}."
                )
            residual_map = view.residual_map
            if residual_map is not None and residual_map.ndim != 2:
                raise ValueError(
                    f"{where}.images: the residual_map of {view.title!r} must be (H, W), received "
                    f"{residual_map.shape}."
                )
    return found


def write_report(
    explanations: Sequence[ClassExplanation] | ClassExplanation,
    path: str | Path,
    *,
    title: str | None = None,
    max_size_of_image: int = 420,
) -> Path:
    """
    Write one self-contained HTML page that explains one or several classes.

    The page needs no server, no network and no widget, and is the same, byte for byte, for the
    same explanations. Names that a reader gives to concepts stay in the reader's browser.

    Parameters
    ----------
    explanations
        What `explain_class` returned, one for each class, in the order they are shown.
    path
        The file to write; folders above it are made. A page that is there already stays whole
        until the new one takes its place.
    title
        What the page is called; None takes the model's and the class's names.
    max_size_of_image
        Larger photographs are scaled down until their longest side has so many pixels.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If there is no explanation, its parts do not fit together, or the size is below 32.
    TypeError
        If something else than a `ClassExplanation` is given, or the size is no integer.
    OSError
        If the file cannot be written.
    """
    found = checked(explanations)
    check("max_size_of_image", max_size_of_image)
    check("title", title)
    check_can_write("path", path)
    return write_file(path, page_text(found, title, max_size_of_image))


def page_text(
    found: Sequence[ClassExplanation], title: str | None, side: int, *, back: str | None = None
) -> str:
    """The page of explanations that are checked; `back` is where a link to all classes leads."""
    if title is None:
        seen = found[0].class_name if len(found) == 1 else f"{len(found)} classes"
        title = f"What {found[0].model_name} sees in {seen}"
    sections = [section_of(one, place, side) for place, one in enumerate(found)]
    script = text("page.js")
    return render(
        "page.html.j2",
        title=readable(title),
        back=back,
        sections=sections,
        layers=[*range(max(len(one.concepts) for one in sections)), "residual"],
        styles={c.rank: c.style for one in sections for c in one.concepts},
        residual_color=RESIDUAL_COLOR,
        css=stylesheet("page.css"),
        script=Markup(script),
        script_digest=digest_of(script),
    )
