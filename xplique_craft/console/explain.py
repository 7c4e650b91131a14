"""
The console's `xplique-craft explain`: one class of a model, from a folder of pictures.
"""

import inspect
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._files import check_can_write
from ..factorization import FACTORIZERS
from ..picture_files import Preprocessing
from . import options
from .cut import chosen_layer
from .messages import finished, say, write_page
from .model import load_model
from .task import read_task

if TYPE_CHECKING:
    from ..results import ClassExplanation

FEW_PICTURES = 10
"""Below this many pictures of a class, a warning says that its concepts are hardly reliable."""

_CONCEPTS_SHOWN = 5


def explain(
    model: options.ModelArgument,
    folder: options.FolderArgument,
    class_word: options.ClassOption,
    output: Annotated[Path, typer.Option(help="Folder to write report.html into.")],
    layer: options.LayerOption = None,
    concepts: options.ConceptsOption = 10,
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
    folds: options.FoldsOption = 5,
    judge: options.JudgeOption = None,
    judge_preprocess: options.JudgePreprocessOption = "none",
    tree_depth: Annotated[
        int,
        typer.Option(
            help="Take mixed concepts apart at earlier layers, so many times; takes minutes.", min=0
        ),
    ] = 0,
    max_pixels: options.MaxPixelsOption = options.MAX_PIXELS,
    batch_size: options.BatchSizeOption = 64,
    seed: options.SeedOption = 0,
    checkpoint: options.CheckpointOption = None,
    save: options.SaveOption = None,
    quiet: options.QuietOption = False,
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
      {factorizers}

    [bold]--baseline mean[/bold] is for heads that begin with a normalisation, such as
    the LayerNorm of a transformer or ConvNeXt.

    In [bold]transformers[/bold] concepts are of patches. Special tokens, such as a class
    token, belong to no place and gather what patches say, so the model must be
    cut before they know it all: without --layer, it is cut after the last
    layer through whose patches half of the score still flows in your pictures.

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
      xplique-craft explain vit.keras tench/ --class 0 --factorizer signed-nmf \\
          --layer block8_out --output tench-report
    """
    if save is not None:
        check_can_write("--save", save)
    prepare = Preprocessing.from_spec(judge_preprocess)
    task = read_task(
        model,
        folder,
        class_word,
        labels,
        output=output,
        page="report.html",
        preprocess=preprocess,
        resize=resize,
        size=size,
        max_pixels=max_pixels,
        held_out=held_out,
        shares="[0, 0.9]",
        verbose=not quiet,
    )

    from ..craft import Craft
    from ..explanation.of_class import explain_class
    from ..explanation.of_concepts import check_folds_or_none
    from ..metrics.judged_crops import check_judge
    from ..report import write_report
    from ..sampling.crops import ImageWindows
    from ..saving import save as save_result

    craft = Craft.from_model(
        task.model,
        chosen_layer(task, factorizer, special_tokens=special_tokens, batch_size=batch_size)
        if layer is None
        else layer,
        concepts,
        batch_size,
        patch_size,
        factorizer=factorizer.value,
        baseline=baseline.value,
        special_tokens=special_tokens,
        keep_special_tokens=options.keeps(tokens_at),
        seed=seed,
        verbose=not quiet,
    )
    ImageWindows().boxes(task.shape, craft.patch_size)  # whether crops fit in the pictures
    check_folds_or_none(folds)
    other = None if judge is None else load_model(judge, "judge")
    if other is not None:
        check_judge(other, task.model, prepare)
    pictures, inputs, names = task.read()
    explanation = explain_class(
        craft,
        inputs,
        task.class_id,
        photographs=pictures.repeat(3, axis=-1) if pictures.shape[-1] == 1 else pictures,
        class_name=task.class_name,
        class_names=task.class_names,
        titles=names,
        folds=folds,
        judge=other,
        prepare=prepare,
        tree_depth=tree_depth,
        held_out=held_out or None,
        model_name=model.stem,
        checkpoint=checkpoint,
    )
    finished("the class explained")
    page = write_page(lambda path: write_report([explanation], path), task.page)
    try:
        if save is not None:
            write_page(lambda path: save_result(explanation, path), save, "saved result")
    finally:  # the page is there, whether the result can be saved or not
        _print_summary(explanation)
        say(f"Report: {page.resolve()}")


_WIDTH = max(map(len, FACTORIZERS))
_LINES = [f"{name:<{_WIDTH}}  {entry.summary}" for name, entry in FACTORIZERS.items()]
explain.__doc__ = (inspect.getdoc(explain) or "").format(factorizers="\n  ".join(_LINES))


def _print_summary(explanation: "ClassExplanation") -> None:
    """How many pictures, how faithful, and the first concepts."""
    from ..report.numbers import NOT_APPLICABLE

    checked = explanation.quality_held_out
    quality = checked or explanation.quality
    held_out = checked.number_of_images if checked else 0
    used = explanation.number_of_images + held_out
    say(
        f"{explanation.class_name}: {used} of {used + explanation.number_left_out} pictures are "
        f"predicted as it and used, {explanation.number_of_images} to find the concepts and "
        f"{held_out} to check them."
    )
    if used < FEW_PICTURES:
        warnings.warn(
            f"Concepts of {used} pictures are hardly reliable: give more than {FEW_PICTURES} that "
            "the model predicts as the class (and see that --preprocess is right).",
            stacklevel=2,
        )
    where = "pictures it was not fitted on" if checked else "the pictures it was fitted on"
    say(f"Faithfulness on {where}, with 90% intervals:")
    say(f"  agreement             {quality.agreement}")
    say(f"  reconstruction share  {quality.reconstruction_share}")
    say(f"  explained share       {quality.explained_share}")
    encoding = quality.kkt_residual
    text = f"{encoding:.1e}" if math.isfinite(encoding) else NOT_APPLICABLE
    say(f"  KKT residual          {text}")
    if explanation.stability is not None:
        say(f"Stability on other pictures (mean cosine): {explanation.stability}")
    if explanation.purity is not None:
        say(f"Purity (the judge finds the odd crop): {explanation.purity}")
    say("Concepts that add most to the score:")
    for card in explanation.cards[:_CONCEPTS_SHOWN]:
        say(
            f"  concept {card.concept:<3d} {card.share:7.1%} of the score, "
            f"Sobol total index {card.importance}"
        )
