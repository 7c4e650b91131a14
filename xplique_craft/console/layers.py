"""
The console's `xplique-craft layers`: where a model can be cut.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..picture_files import Preprocessing, read_pictures
from . import options
from .cut import evenly
from .messages import say
from .model import input_shape, load_model

if TYPE_CHECKING:
    from ..splitting.layers import Candidate

MOST_MEASURED = 48
"""On so many pictures of --images at most something is measured."""


def layers(
    model: options.ModelArgument,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a few pictures, of several classes or of one: how much of the score "
            "still flows through patches of a transformer after each layer.",
            metavar="FOLDER",
        ),
    ] = None,
    preprocess: Annotated[
        str,
        typer.Option(help="What the model was trained on, as in `explain`.", metavar="SPEC"),
    ] = "none",
    resize: options.ResizeOption = options.Resize.crop,
    size: options.SizeOption = None,
    special_tokens: options.SpecialTokensOption = None,
    max_pixels: options.MaxPixelsOption = options.MAX_PIXELS,
    batch_size: options.BatchSizeOption = 64,
    seed: options.SeedOption = 0,
    quiet: options.QuietOption = False,
) -> None:
    """
    List the layers where a model can be cut.

    A layer qualifies if everything that the model computes goes through it:
    what comes before turns a picture into [bold]activations[/bold], what comes
    after, the [bold]head[/bold], turns these into scores.

    [bold]non-negative[/bold]: after a ReLU, say. Concepts are parts that add up, and
    need it; those of `explain --factorizer signed-nmf` do not.

    [bold]affine head[/bold]: averages and linear layers only. Importance is then
    exact, not sampled.

    The deeper the layer, the more its concepts are about whole things; early
    layers see edges, colours and textures. The last non-negative layer that
    still has positions, marked *, is the one to begin with.

    In [bold]transformers[/bold] concepts are of patches of the picture, and special tokens
    (a class token, registers) gather what patches say: after the last blocks
    only they count. With --images, two columns say how much is left, with
    90% intervals over the pictures:

    \b
      through patches   what goes of the score when patches become those of a
                        blank picture
      patches alone     what stays of it when special tokens become those of a
                        blank picture

    Marked is then the last layer through whose patches at least half of the
    score still flows. For concepts nearer to the decision cut later: they can
    explain so much of the score as that layer's share.

    Examples:

    \b
      xplique-craft layers model.keras
      xplique-craft layers vit.keras --images pictures/ --preprocess tf
    """
    prepare = Preprocessing.from_spec(preprocess)
    loaded = load_model(model)
    inputs = None
    if images is not None:
        height, width, channels = input_shape(loaded, size, max_pixels)
        prepare.check_channels(channels)
        pictures, names = read_pictures(
            images,
            (height, width),
            resize.value,
            channels=channels,
            max_pixels=max_pixels,
            verbose=not quiet,
        )
        inputs = prepare(evenly(pictures, MOST_MEASURED))

    from ..splitting.layers import recommended_layer
    from ..where_to_cut import candidate_layers

    candidates = candidate_layers(
        loaded,
        inputs,
        special_tokens=special_tokens,
        batch_size=batch_size,
        seed=seed,
        verbose=not quiet,
    )
    special = any(candidate.special_tokens for candidate in candidates)
    measured = special and inputs is not None
    best = None
    if measured or not special:
        best = recommended_layer(candidates, loaded.output_shape[-1], signed=measured)
    _print_table(candidates, best, measured)
    if measured and inputs is not None:
        say(f"Measured on {len(inputs)} of {len(names)} pictures.")
    if best is not None:
        how = "" if best.non_negative else " --factorizer signed-nmf"
        say(f"* begin with --layer {best.name}{how}")
    elif measured:
        say("Through the patches of no layer half of the score flows: none is recommended.")
    elif special:
        say(
            "Some tokens of this model belong to no place, as a class token, and know more of the "
            "answer from layer to layer: --images FOLDER says what patches still count for."
        )
    else:
        say("No layer is known to be non-negative and has positions: none is recommended.")
        signed = recommended_layer(candidates, loaded.output_shape[-1], signed=True)
        if signed is not None:
            say(f"Signed layers: begin with --layer {signed.name} --factorizer signed-nmf")


def _print_table(candidates: "list[Candidate]", best: "Candidate | None", measured: bool) -> None:
    rows = [["", "layer", "shape", "non-negative", "affine head"]]
    rows[0] += ["through patches", "patches alone"] if measured else []
    for candidate in candidates:
        shares: list[Any] = [candidate.share_through_patches, candidate.share_of_patches_alone]
        rows.append(
            [
                "*" if candidate is best else "",
                candidate.name,
                " x ".join("?" if side is None else str(side) for side in candidate.shape),
                "yes" if candidate.non_negative else "no",
                "yes" if candidate.affine_head else "no",
                *(["" if share is None else share.as_percent() for share in shares] * measured),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())
