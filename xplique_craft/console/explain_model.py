"""
The console's `xplique-craft explain-model`: every class of a model, from folders of pictures.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..picture_files import Preprocessing
from ..targets import check_class_id
from . import options
from .cut import layer_said
from .labels import find_class, names_of, read_labels
from .messages import finished, say
from .model import input_shape, load_model, number_of_classes

if TYPE_CHECKING:
    from ..atlas import Atlas

_SHOWN = 20  # classes that the answer lists


def explain_model(
    model: options.ModelArgument,
    folder: Annotated[
        Path,
        typer.Argument(help="Folder with a folder of pictures a class.", metavar="IMAGES_FOLDER"),
    ],
    output: Annotated[
        Path, typer.Option(help="Folder to write into: a new one, or one to go on with.")
    ],
    jobs: Annotated[
        int | None, typer.Option(help="Classes explained at the same time; default: 1.", min=1)
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes to explain, as 0,217 or by names in --labels; default: all that are "
            "predicted for two pictures or more."
        ),
    ] = None,
    layer: options.LayerOption = None,
    concepts: options.ConceptsOption = 10,
    images_per_class: Annotated[
        int, typer.Option(help="Pictures used of each class at most.", min=2)
    ] = 100,
    factorizer: options.FactorizerOption = options.DEFAULT_FACTORIZER,
    baseline: options.BaselineOption = options.Baseline.zero,
    special_tokens: options.SpecialTokensOption = None,
    tokens_at: options.TokensAtOption = None,
    preprocess: options.PreprocessOption = "none",
    resize: options.ResizeOption = options.Resize.crop,
    size: options.SizeOption = None,
    labels: options.LabelsOption = None,
    held_out: options.HeldOutOption = 0.3,
    patch_size: options.PatchSizeOption = None,
    folds: options.FoldsOption = 0,
    judge: options.JudgeOption = None,
    judge_preprocess: options.JudgePreprocessOption = "none",
    max_pixels: options.MaxPixelsOption = options.MAX_PIXELS,
    batch_size: options.BatchSizeOption = 64,
    seed: options.SeedOption = 0,
    quiet: options.QuietOption = False,
) -> None:
    """
    Explain every class of a model, from a folder with a folder for each class.

    One pass over all pictures says which class the model [bold]predicts[/bold] for
    each; a class is explained by the first ones that are predicted as it. The
    folders' own names, an index of a class or a name in [bold]--labels[/bold], only say
    how often the model is right; other names are passed over.

    Each class is saved as soon as it is done: the same command goes on after
    Ctrl-C or a crash, to the same numbers.

    Options that `explain` has too are explained there.

    Examples:

    \b
      xplique-craft explain-model model.keras imagenet/val --labels imagenet.json \\
          --preprocess tf --output atlas --jobs 4
      xplique-craft explain-model model.keras pictures/ --classes 0,217 --output atlas
    """
    known = read_labels(labels) if labels else None
    prepare = Preprocessing.from_spec(judge_preprocess)
    Preprocessing.from_spec(preprocess)
    chosen = None if classes is None else _chosen(classes, known)
    if output.exists() and not output.is_dir():
        raise ValueError(f"output must be a folder, and {output} is a file: choose another.")
    if not folder.is_dir():
        raise ValueError(f"folder must be a folder of pictures, and {folder} is none.")
    loaded = load_model(model)
    number = number_of_classes(loaded)
    height, width, _ = input_shape(loaded, size, max_pixels)
    for class_id in chosen or ():
        check_class_id(class_id, number, "classes")
    other = None if judge is None else load_model(judge, "judge")

    from ..atlas import PictureFolder
    from ..atlas.explain_model import explain_model as explain_all
    from ..where_to_cut import candidate_layers

    if layer is None:
        layer = layer_said(
            candidate_layers(loaded, special_tokens=special_tokens), loaded, factorizer
        )

    atlas = explain_all(
        loaded,
        PictureFolder(folder, (height, width), resize.value, max_pixels),
        _classes_of(folder, known, number),
        chosen,
        number_of_concepts=concepts,
        images_per_class=images_per_class,
        folder=output,
        layer=layer,
        preprocess=preprocess,
        class_names=names_of(known, number),
        model_name=model.stem,
        held_out=held_out or None,
        patch_size=patch_size,
        factorizer=factorizer.value,
        baseline=baseline.value,
        special_tokens=special_tokens,
        keep_special_tokens=options.keeps(tokens_at),
        folds=folds,
        judge=other,
        prepare=prepare if other is not None else None,
        batch_size=batch_size,
        seed=seed,
        n_jobs=jobs,
        verbose=not quiet,
    )
    finished("the classes explained")
    _print_summary(atlas)


def _chosen(words: str, labels: dict[int, list[str]] | None) -> list[int]:
    """The classes that --classes means."""
    found = [find_class(word.strip(), labels)[0] for word in words.split(",") if word.strip()]
    if not found:
        raise ValueError(f"classes must be at least one class, as 0,217, not {words!r}.")
    return found


def _classes_of(
    folder: Path, labels: dict[int, list[str]] | None, number: int
) -> dict[str, int] | None:
    """Which class each folder is of, where its name says so; None goes by indices alone."""
    if labels is None:
        return None
    found: dict[str, int] = {}
    for one in folder.iterdir():
        try:
            class_id = find_class(one.name, labels)[0]
        except ValueError:  # it is called otherwise, or as several classes are
            continue
        if class_id < number:
            found[one.name] = class_id
    return found


def _print_summary(atlas: "Atlas") -> None:
    """How many classes, what of the first of them, and where it all is."""
    summary: Any = atlas.summary
    say(
        f"{len(atlas.classes)} of {len(summary.classes)} classes explained, from {summary.images} "
        f"pictures; faithfulness with 90% intervals:"
    )
    for one in summary.classes[:_SHOWN]:
        said = one.failed or f"agreement {one.agreement}, explained share {one.explained_share}"
        say(f"  {one.class_id:<4d} {one.class_name}: {said}")
    if len(summary.classes) > _SHOWN:
        say(f"  and {len(summary.classes) - _SHOWN} more")
    say(f"Folder: {atlas.folder.resolve()}")
