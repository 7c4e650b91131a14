"""
The console's `xplique-craft compare`: concept maps against heatmaps, on a folder of pictures.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from .._files import check_can_write
from . import options
from .cut import chosen_layer
from .messages import finished, say, write_page
from .task import read_task

FEWEST = 2
"""So many of the pictures predicted as the class stay to find concepts in, in any case."""


def compare(
    model: options.ModelArgument,
    folder: options.FolderArgument,
    class_word: options.ClassOption,
    output: Annotated[Path, typer.Option(help="Folder to write compare.html into.")],
    methods: Annotated[
        str,
        typer.Option(help="Methods, as GradCAM,Occlusion,ConceptActivation; or all (see above)."),
    ] = "all",
    images: Annotated[
        int, typer.Option(help="Pictures to compare on at most; more take longer.", min=1)
    ] = 16,
    layer: options.LayerOption = None,
    concepts: options.ConceptsOption = 10,
    factorizer: Annotated[
        options.FactorizerName, typer.Option(help="How concepts are found, as in `explain`.")
    ] = options.DEFAULT_FACTORIZER,
    baseline: Annotated[
        options.Baseline,
        typer.Option(help="What takes a concept's place where it is taken out, as in `explain`."),
    ] = options.Baseline.zero,
    special_tokens: options.SpecialTokensOption = None,
    tokens_at: options.TokensAtOption = None,
    preprocess: Annotated[
        str,
        typer.Option(help="What the model was trained on, as in `explain`.", metavar="SPEC"),
    ] = "none",
    resize: options.ResizeOption = options.Resize.crop,
    size: options.SizeOption = None,
    labels: options.LabelsOption = None,
    held_out: Annotated[
        float,
        typer.Option(help="Share of the pictures to compare on; the rest finds concepts.", max=0.9),
    ] = 0.3,
    max_pixels: options.MaxPixelsOption = options.MAX_PIXELS,
    batch_size: options.BatchSizeOption = 64,
    seed: options.SeedOption = 0,
    checkpoint: options.CheckpointOption = None,
    save: options.SaveOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """
    Compare concept maps with heatmaps, on a folder of pictures of one class.

    Every method explains the same pictures, none of which the concepts were
    found in, and is measured by what the model makes of them: Deletion,
    Insertion and MuFidelity on its probabilities, how stable maps are, and
    whether they change when the model does. The page has the table, with
    intervals and what each method costs, the curves, and all maps.

    [bold]--methods[/bold] are, separated by commas:

    \b
      Saliency GradientInput IntegratedGradients SmoothGrad GradCAM GradCAMPP
      Occlusion Rise SobolAttributionMethod HsicAttributionMethod    Xplique's
      ConceptActivation   contributions, laid out where concepts are
      ConceptRelevance    what concepts do to the score, place by place
      ConceptDetailed     the first, with the pixels that matter most standing out
      random              the floor

    Examples:

    \b
      xplique-craft compare model.keras tench/ --class 0 --preprocess tf \\
          --output tench-compare
      xplique-craft compare model.keras tench/ --class 0 --preprocess tf \\
          --methods GradCAM,Occlusion,ConceptActivation --output page
    """
    if save is not None:
        check_can_write("--save", save)
    task = read_task(
        model,
        folder,
        class_word,
        labels,
        output=output,
        page="compare.html",
        preprocess=preprocess,
        resize=resize,
        size=size,
        max_pixels=max_pixels,
        held_out=held_out,
        shares="(0, 0.9]",
        verbose=not quiet,
    )

    from ..comparison import compare as compare_methods
    from ..comparison.methods import check_names
    from ..craft import Craft
    from ..report import write_comparison
    from ..saving import save as save_result

    craft = Craft.from_model(
        task.model,
        chosen_layer(task, factorizer, special_tokens=special_tokens, batch_size=batch_size)
        if layer is None
        else layer,
        concepts,
        batch_size,
        factorizer=factorizer.value,
        baseline=baseline.value,
        special_tokens=special_tokens,
        keep_special_tokens=options.keeps(tokens_at),
        seed=seed,
        verbose=not quiet,
    )
    wanted = _methods(methods)
    if wanted is not None:
        check_names(wanted, craft.factorizer)
    pictures, inputs, names = task.read()
    logits = task.model.predict(inputs, batch_size=batch_size, verbose=0)
    rows = np.flatnonzero(logits.argmax(axis=1) == task.class_id)
    fitted, measured = _divided(rows, held_out, images, seed, len(inputs))
    craft.fit(inputs[fitted], task.class_id, checkpoint=checkpoint)
    finished("concepts found")
    comparison = compare_methods(
        craft,
        inputs[measured],
        methods=wanted,
        photographs=pictures[measured],
        titles=[names[row] for row in measured],
        class_name=task.class_name,
        model_name=model.stem,
        batch_size=batch_size,
        seed=seed,
        verbose=not quiet,
        checkpoint=checkpoint,
    )
    finished("methods compared")
    page = write_page(lambda path: write_comparison(comparison, path), task.page)
    try:
        if save is not None:
            write_page(lambda path: save_result(comparison, path), save, "saved result")
    finally:  # the page is there, whether the result can be saved or not
        say(
            f"{len(rows)} of {len(inputs)} pictures are predicted as the class; concepts were "
            f"found in {len(fitted)}, and methods compared on {len(measured)} others."
        )
        say(comparison.table())
        say(f"Page: {page.resolve()}")


def _methods(words: str) -> list[str] | None:
    """Names between commas; None for all."""
    return None if words == "all" else [word.strip() for word in words.split(",") if word.strip()]


def _divided(
    rows: np.ndarray, share: float, most: int, seed: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures to find the concepts in, and others to compare on; drawn by the seed."""
    from ..sampling.held_out import hold_out

    fitted, measured = hold_out(rows, share, seed, fewest=FEWEST, most=most)
    if not len(measured):
        raise ValueError(
            f"Only {len(rows)} of {number} pictures are predicted as the class, and at least "
            f"{FEWEST + 1} are needed. Check --class and --preprocess, or give more pictures."
        )
    return fitted, measured
