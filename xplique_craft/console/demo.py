"""
The console's `xplique-craft demo`: the shipped model, on photographs that are installed with it.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .messages import finished, say, write_page
from .options import SeedOption
from .task import check_output

DEMO_CROPS = 60
"""How many crops of each photograph the demo explains."""

DEMO_HELD_OUT = 0.4
"""The share of these crops that the concepts are checked on instead of fitted on."""


def demo(
    output: Annotated[
        Path, typer.Option(help="Folder to write into; report.html shows all.")
    ] = Path("demo-report"),
    classes: Annotated[
        str, typer.Option(help="Classes to explain, as astronaut,coffee; or all.")
    ] = "all",
    concepts: Annotated[int, typer.Option(help="How many concepts of each class.", min=1)] = 8,
    seed: SeedOption = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """
    Explain a small model on real photographs, all of it already installed.

    Nothing is downloaded. The page shows, for each class, its concepts as
    crops, what each adds to the score, where each is in whole pictures, and
    how faithful all this is to the model. The same command goes on after Ctrl-C.

    Example: [bold]xplique-craft demo --classes astronaut,coffee[/bold]
    """
    started = time.perf_counter()

    from .. import demo as shipped

    path = check_output(output, "report.html")
    names = _classes(classes, shipped.CLASS_NAMES)
    output.mkdir(parents=True, exist_ok=True)

    import numpy as np

    from ..atlas.explain_model import explain_model
    from ..report import write_report
    from ..splitting.split import split_model

    ids = [shipped.CLASS_NAMES.index(name) for name in names]
    atlas = explain_model(
        split_model(shipped.load_model(), shipped.DEFAULT_LAYER),
        np.concatenate([shipped.crops(name, DEMO_CROPS, split="fit", seed=seed) for name in names]),
        np.repeat(ids, DEMO_CROPS),
        ids,
        number_of_concepts=concepts,
        images_per_class=DEMO_CROPS,
        folder=output,
        class_names=shipped.CLASS_NAMES,
        model_name="the demo's classifier of photographs",
        held_out=DEMO_HELD_OUT,
        seed=seed,
        verbose=not quiet,
    )
    finished("the classes explained")
    explanations = [atlas.explanation(class_id) for class_id in atlas.classes]
    page = write_page(lambda path: write_report(explanations, path), path)
    say(f"Explained {len(explanations)} classes in {time.perf_counter() - started:.0f} s.")
    say(f"Atlas: {(output / 'index.html').resolve()}")
    say(f"Report: {page.resolve()}")


def _classes(words: str, known: Sequence[str]) -> list[str]:
    """The classes named in --classes, in that order, each once."""
    if words == "all":
        return list(known)
    names = list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"classes must be all, or some of {', '.join(known)}, not {', '.join(unknown) or words}"
        )
    return names
