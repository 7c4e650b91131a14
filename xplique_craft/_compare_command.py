"""
The console's `xplique-craft compare`: concept maps against heatmaps, on a folder of pictures.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ._console import chosen_layer, input_shape, load_model
from ._labels import find_class, read_labels
from ._options import Baseline, FactorizerName, Resize
from ._pictures import Preprocessing, read_pictures

__all__ = ["compare"]

FEWEST = 2
"""Pictures that are predicted as the class, to find concepts in and to compare on, each."""


def compare(
    model: Annotated[Path, typer.Argument(help="The saved model, a .keras file.", metavar="MODEL")],
    folder: Annotated[
        Path, typer.Argument(help="Folder of pictures of the class.", metavar="IMAGES_FOLDER")
    ],
    class_word: Annotated[
        str,
        typer.Option("--class", help="Class to explain: its index, or its name in --labels."),
    ],
    output: Annotated[Path, typer.Option(help="Folder to write compare.html into.")],
    methods: Annotated[
        str,
        typer.Option(help="Methods, as GradCAM,Occlusion,ConceptActivation; or all (see above)."),
    ] = "all",
    images: Annotated[
        int, typer.Option(help="Pictures to compare on at most; more take longer.", min=1)
    ] = 16,
    layer: Annotated[
        str | None,
        typer.Option(help="Where to cut the model; default: the one `layers` marks with *."),
    ] = None,
    concepts: Annotated[int, typer.Option(help="How many concepts to find.", min=1)] = 10,
    factorizer: Annotated[
        FactorizerName, typer.Option(help="How concepts are found, as in `explain`.")
    ] = FactorizerName.nmf,
    baseline: Annotated[
        Baseline,
        typer.Option(help="What takes a concept's place where it is taken out, as in `explain`."),
    ] = Baseline.zero,
    preprocess: Annotated[
        str,
        typer.Option(help="What the model was trained on, as in `explain`.", metavar="SPEC"),
    ] = "none",
    resize: Annotated[
        Resize,
        typer.Option(help="Other shapes: keep the centre (crop), or everything, out of shape."),
    ] = Resize.crop,
    size: Annotated[
        str | None,
        typer.Option(help="Size of the pictures, for a model that leaves it open.", metavar="HxW"),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Names of the classes: one a line, or JSON, ImageNet's form included."),
    ] = None,
    held_out: Annotated[
        float,
        typer.Option(help="Share of the pictures to compare on; the rest finds concepts.", max=0.9),
    ] = 0.3,
    batch_size: Annotated[int, typer.Option(help="Pictures run at a time.", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
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
      random              the floor

    Examples:

    \b
      xplique-craft compare model.keras tench/ --class 0 --preprocess tf \\
          --output tench-compare
      xplique-craft compare model.keras tench/ --class 0 --preprocess tf \\
          --methods GradCAM,Occlusion,ConceptActivation --output page
    """
    preprocessing = Preprocessing.from_spec(preprocess)
    known = read_labels(labels) if labels else None
    class_id, class_name = find_class(class_word, known)
    loaded = load_model(model)
    height, width, channels = input_shape(loaded, size)
    if class_id >= loaded.output_shape[-1]:
        raise ValueError(
            f"class must be below the model's number of outputs, {loaded.output_shape[-1]}, not "
            f"{class_id}."
        )
    pictures, names = read_pictures(
        folder, (height, width), resize.value, channels=channels, verbose=not quiet
    )
    output.mkdir(parents=True, exist_ok=True)

    from .comparing import compare as compare_methods
    from .craft import Craft
    from .report import write_comparison

    inputs = preprocessing(pictures)
    logits = loaded.predict(inputs, batch_size=batch_size, verbose=0)
    rows = np.flatnonzero(logits.argmax(axis=1) == class_id)
    fitted, measured = _divided(rows, held_out, images, seed, len(inputs))
    craft = Craft.from_model(
        loaded,
        layer or chosen_layer(loaded, factorizer),
        concepts,
        batch_size,
        factorizer=factorizer.value,
        baseline=baseline.value,
        seed=seed,
        verbose=not quiet,
    )
    craft.fit(inputs[fitted], class_id)
    comparison = compare_methods(
        craft,
        inputs[measured],
        methods=_methods(methods),
        photographs=pictures[measured],
        titles=[names[row] for row in measured],
        class_name=class_name,
        model_name=model.stem,
        batch_size=batch_size,
        seed=seed,
        verbose=not quiet,
    )
    page = write_comparison(comparison, output / "compare.html")
    typer.echo(
        f"{len(rows)} of {len(inputs)} pictures are predicted as the class; concepts were found in "
        f"{len(fitted)}, and methods compared on {len(measured)} others."
    )
    typer.echo(comparison.table())
    typer.echo(f"Page: {page.resolve()}")


def _methods(words: str) -> list[str] | None:
    """Names between commas; None for all."""
    return None if words == "all" else [word.strip() for word in words.split(",") if word.strip()]


def _divided(
    rows: Any, share: float, most: int, seed: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures to find the concepts in, and others to compare on; drawn by the seed."""
    if not 0.0 < share < 1.0 or math.isnan(share):
        raise ValueError(f"held-out must be a share between 0 and 1, not {share}.")
    held = min(len(rows) - FEWEST, max(1, round(share * len(rows))))
    if held < 1:
        raise ValueError(
            f"Only {len(rows)} of {number} pictures are predicted as the class, and at least "
            f"{FEWEST + 1} are needed. Check --class and --preprocess, or give more pictures."
        )
    order = np.random.default_rng(np.random.SeedSequence([seed, 0x4E1D])).permutation(rows)
    return np.sort(order[held:]), np.sort(order[: min(held, most)])
