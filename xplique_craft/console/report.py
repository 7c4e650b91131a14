"""
The console's `xplique-craft report`: the page of what was saved, without model and pictures.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from .._files import check_can_write


def report(
    saved: Annotated[
        list[Path],
        typer.Argument(help="Files of explanations, or one of a comparison.", metavar="SAVED..."),
    ],
    output: Annotated[Path, typer.Option(help="The page to write, as page.html.")],
    title: Annotated[
        str | None, typer.Option(help="What the page is called; default: by what it shows.")
    ] = None,
) -> None:
    """
    Write the page of explanations, or of a comparison, that were saved.

    They are saved by `--save FILE` of [bold]explain[/bold] and [bold]compare[/bold], or in
    Python by `xplique_craft.save(explanation, path)`. The page is the same, byte
    for byte, as when it was first written. Several explanations make one page
    with a section for each class.

    Examples:

    \b
      xplique-craft report tench.safetensors --output tench.html
      xplique-craft report tench.safetensors horn.safetensors --output both.html
    """
    check_can_write("--output", output)

    from ..report import write_comparison, write_report
    from ..results import ClassExplanation, Comparison
    from ..saving import load

    found: list[tuple[Path, Any]] = []
    for path in saved:
        result = load(path)
        several = result if isinstance(result, (list, tuple)) else [result]
        found += [(path, one) for one in several]
    for path, one in found:
        alone = isinstance(one, Comparison) and len(found) == 1
        if not alone and not isinstance(one, ClassExplanation):
            raise ValueError(
                f"SAVED must be explanations of classes, or one comparison alone: {str(path)!r} "
                f"holds a {type(one).__name__}"
                + (" beside others." if isinstance(one, Comparison) else ".")
            )
    if not found:
        raise ValueError(f"SAVED must hold an explanation: {str(saved[0])!r} holds none.")
    results = [one for _, one in found]
    if isinstance(results[0], Comparison):
        page = write_comparison(results[0], output, title=title)
    else:
        page = write_report(results, output, title=title)
    typer.echo(f"Page: {page.resolve()}")
