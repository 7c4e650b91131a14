"""
The console: `xplique-craft layers | explain | compare | demo`.

Commands read their arguments, call the package and print what it answers; TensorFlow is imported
inside them, so that `--help` answers at once.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from .. import __version__
from .compare import compare
from .options import (
    Baseline,
    BatchSizeOption,
    ClassOption,
    ConceptsOption,
    FactorizerName,
    FolderArgument,
    LabelsOption,
    LayerOption,
    ModelArgument,
    QuietOption,
    Resize,
    ResizeOption,
    SeedOption,
    SizeOption,
)
from .task import (
    best_layer,
    chosen_layer,
    load_model,
    names_of_classes,
    plain_messages,
    print_summary,
    read_task,
)

__all__ = ["app", "main"]

DEMO_CROPS = 60
"""Crops of each photograph that the demo explains."""

DEMO_HELD_OUT = 0.4
"""Share of them that the concepts are checked on instead of fitted on."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xplique-craft {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """
    What does an image classifier see in a class, how much does each thing
    matter, and can the explanation be trusted?

    CRAFT cuts a Keras model at one layer, finds concepts in what that layer
    says of crops of your pictures, and measures what each concept adds to the
    class's score.

    Start with [bold]xplique-craft demo[/bold]: it needs no model and no pictures.

    With a model of yours: [bold]layers[/bold] says where it can be cut,
    [bold]explain[/bold] writes the page.
    """


@app.command()
@plain_messages()
def layers(
    model: ModelArgument,
) -> None:
    """
    List the layers where a model can be cut.

    A layer qualifies if everything that the model computes goes through it:
    what comes before turns a picture into [bold]activations[/bold], what comes
    after, the [bold]head[/bold], turns these into scores.

    [bold]non-negative[/bold]: after a ReLU, say. Concepts are parts that add up, and
    need it; those of `explain --factorizer semi-nmf` do not.

    [bold]affine head[/bold]: averages and linear layers only. Importance is then
    exact, not sampled.

    The deeper the layer, the more its concepts are about whole things; early
    layers see edges, colours and textures. The last non-negative layer that
    still has positions, marked *, is the one to begin with.

    Example: [bold]xplique-craft layers model.keras[/bold]
    """
    loaded = load_model(model)

    from ..splitting.split import candidate_layers

    candidates = candidate_layers(loaded)
    best = best_layer(candidates, loaded.output_shape[-1])
    rows = [("", "layer", "shape", "non-negative", "affine head")]
    for candidate in candidates:
        rows.append(
            (
                "*" if candidate is best else "",
                candidate.name,
                " x ".join("?" if side is None else str(side) for side in candidate.shape),
                "yes" if candidate.non_negative else "no",
                "yes" if candidate.affine_head else "no",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    if best is not None:
        typer.echo(f"* begin with --layer {best.name}")
        return
    typer.echo("No layer is known to be non-negative and has positions: none is recommended.")
    signed = best_layer(candidates, loaded.output_shape[-1], signed=True)
    if signed is not None:
        typer.echo(f"Signed layers: begin with --layer {signed.name} --factorizer semi-nmf")


@app.command()
@plain_messages()
def explain(
    model: ModelArgument,
    folder: FolderArgument,
    class_word: ClassOption,
    output: Annotated[Path, typer.Option(help="Folder to write report.html into.")],
    layer: LayerOption = None,
    concepts: ConceptsOption = 10,
    factorizer: Annotated[
        FactorizerName,
        typer.Option(help="How concepts are found; semi-nmf takes signed layers (see above)."),
    ] = FactorizerName.nmf,
    baseline: Annotated[
        Baseline,
        typer.Option(
            help="What takes a concept's place where it is taken out: nothing (zero), or its mean."
        ),
    ] = Baseline.zero,
    preprocess: Annotated[
        str,
        typer.Option(
            help="What the model was trained on: none, unit, tf, torch, caffe, or "
            "'mean=R,G,B;std=R,G,B' (see above).",
            metavar="SPEC",
        ),
    ] = "none",
    resize: ResizeOption = Resize.crop,
    size: SizeOption = None,
    labels: LabelsOption = None,
    held_out: Annotated[
        float,
        typer.Option(help="Share of the pictures kept to check the concepts on.", min=0, max=0.9),
    ] = 0.3,
    patch_size: Annotated[
        int | None,
        typer.Option(
            help="One side of crops, in pixels; default: several, up to the whole picture.", min=1
        ),
    ] = None,
    tree_depth: Annotated[
        int,
        typer.Option(
            help="Take mixed concepts apart at earlier layers, so many times; takes minutes.", min=0
        ),
    ] = 0,
    batch_size: BatchSizeOption = 64,
    seed: SeedOption = 0,
    quiet: QuietOption = False,
) -> None:
    """
    Explain one class of a model, from a folder of pictures.

    Only pictures that the model [bold]predicts[/bold] as the class are used (the
    others are counted): give it 50 to 200 pictures of the class, as you would
    show them to a person.

    [bold]--layer[/bold] is where the model is cut: `xplique-craft layers MODEL`
    lists what there is.

    [bold]--factorizer[/bold] is how concepts are found in its activations:

    \b
      nmf       parts that add up: CRAFT's, for non-negative layers
      semi-nmf  the same for signed layers: transformers, GELU, before a ReLU
      kmeans    clusters, one concept a position; to compare with
      pca       directions with two ends; to compare with

    [bold]--baseline mean[/bold] is for heads that begin with a normalisation, such as
    the LayerNorm of a transformer or ConvNeXt.

    [bold]--preprocess[/bold] is what was done to the pictures when the model was
    trained; with a wrong one, few pictures are predicted right. For x from 0
    to 255, in RGB:

    \b
      none    x                      the model does it itself
      unit    x / 255
      tf      x / 127.5 - 1          MobileNet, Inception, Xception of Keras
      torch   (x / 255 - m) / s      with the mean and std of ImageNet
      caffe   BGR, x - m             VGG, ResNet of Keras
      'mean=R,G,B;std=R,G,B'         (x - mean) / std, std is 1 if left out

    Examples:

    \b
      xplique-craft explain model.keras tench/ --class 0 --layer conv_pw_13_relu \\
          --preprocess tf --output tench-report
      xplique-craft explain model.keras tench/ --class tench \\
          --labels imagenet.json --preprocess mean=123,117,104 --output tench-report
      xplique-craft explain vit.keras tench/ --class 0 --factorizer semi-nmf \\
          --baseline mean --output tench-report
    """
    task = read_task(
        model,
        folder,
        class_word,
        labels,
        preprocess=preprocess,
        resize=resize,
        size=size,
        verbose=not quiet,
    )
    loaded, pictures = task.model, task.pictures
    output.mkdir(parents=True, exist_ok=True)

    from ..craft import Craft
    from ..explanation.of_class import explain_class
    from ..report import write_report

    if layer is None:
        layer = chosen_layer(loaded, factorizer)
    craft = Craft.from_model(
        loaded,
        layer,
        concepts,
        batch_size,
        patch_size,
        factorizer=factorizer.value,
        baseline=baseline.value,
        seed=seed,
        verbose=not quiet,
    )
    explanation = explain_class(
        craft,
        task.inputs,
        task.class_id,
        photographs=pictures.repeat(3, axis=-1) if pictures.shape[-1] == 1 else pictures,
        class_name=task.class_name,
        class_names=names_of_classes(task.labels, loaded.output_shape[-1]),
        titles=task.names,
        tree_depth=tree_depth,
        held_out=held_out or None,
        model_name=model.stem,
    )
    page = write_report([explanation], output / "report.html")
    print_summary(explanation)
    typer.echo(f"Report: {page.resolve()}")


app.command()(plain_messages()(compare))


@app.command()
@plain_messages()
def demo(
    output: Annotated[Path, typer.Option(help="Folder to write report.html into.")] = Path(
        "demo-report"
    ),
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
    how faithful all this is to the model.

    Example: [bold]xplique-craft demo --classes astronaut,coffee[/bold]
    """
    started = time.perf_counter()

    from .. import demo as shipped

    names = _demo_classes(classes, shipped.CLASS_NAMES)
    output.mkdir(parents=True, exist_ok=True)

    from ..craft import Craft
    from ..explanation.of_class import explain_class
    from ..report import write_report
    from ..splitting.split import split_model

    split = split_model(shipped.load_model(), shipped.DEFAULT_LAYER)
    explanations = []
    for name in tqdm(names, desc="explaining classes", unit="class", disable=quiet):
        photographs = shipped.crops(name, DEMO_CROPS, split="fit", seed=seed)
        explanations.append(
            explain_class(
                Craft.from_model(split, number_of_concepts=concepts, seed=seed),
                photographs.astype("float32"),
                shipped.CLASS_NAMES.index(name),
                photographs=photographs,
                class_names=shipped.CLASS_NAMES,
                held_out=DEMO_HELD_OUT,
                model_name="the demo's classifier of photographs",
            )
        )
    page = write_report(explanations, output / "report.html")
    typer.echo(f"Explained {len(names)} classes in {time.perf_counter() - started:.0f} s.")
    typer.echo(f"Report: {page.resolve()}")


def _demo_classes(words: str, known: Sequence[str]) -> list[str]:
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


def main() -> None:
    """Run the console."""
    app(prog_name="xplique-craft")


if __name__ == "__main__":
    main()
