"""
Arguments and choices that several commands of the console offer.
"""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..factorization import FACTORIZERS
from ..picture_files import MAX_PIXELS as MAX_PIXELS


class TokensAt(str, Enum):
    """What gates leave of tokens that belong to no place."""

    kept = "kept"
    mean = "mean"


class Resize(str, Enum):
    """How pictures of another shape are brought to the model's."""

    crop = "crop"
    squash = "squash"


# mypy knows the members of an Enum only where they are written down
FactorizerName = Enum(  # type: ignore[misc]
    "FactorizerName", {name: name for name in FACTORIZERS}, type=str
)
"""Ways to find concepts, by the names that `Craft` gives them."""

DEFAULT_FACTORIZER = FactorizerName("nmf")
"""What `Craft` takes where no other is asked for."""


class Baseline(str, Enum):
    """What gates lead towards when they close."""

    zero = "zero"
    mean = "mean"


ModelArgument = Annotated[
    Path, typer.Argument(help="The saved model, a .keras file.", metavar="MODEL")
]
FolderArgument = Annotated[
    Path, typer.Argument(help="Folder of pictures of the class.", metavar="IMAGES_FOLDER")
]
ClassOption = Annotated[
    str,
    typer.Option("--class", help="Class to explain: its index, or its name in --labels."),
]
LayerOption = Annotated[
    str | None,
    typer.Option(help="Where to cut the model; default: the one `layers` marks with *."),
]
ConceptsOption = Annotated[int, typer.Option(help="How many concepts to find.", min=1)]
SpecialTokensOption = Annotated[
    int | None,
    typer.Option(
        help="Transformers: how many of the first tokens belong to no place of the picture, as a "
        "class token; default: those before a grid of the picture's proportions.",
        min=0,
    ),
]
TokensAtOption = Annotated[
    TokensAt | None,
    typer.Option(
        help="What is at these tokens while concepts are dimmed: what the picture has there "
        "(kept), or their mean, which leaves out what they know already; default: kept.",
    ),
]
FactorizerOption = Annotated[
    FactorizerName,
    typer.Option(help="How concepts are found; signed-nmf takes signed layers (see above)."),
]
BaselineOption = Annotated[
    Baseline,
    typer.Option(
        help="What takes a concept's place where it is taken out: nothing (zero), or its mean."
    ),
]
PreprocessOption = Annotated[
    str,
    typer.Option(
        help="What the model was trained on: none, unit, tf, torch, caffe, or "
        "'mean=R,G,B;std=R,G,B' (see above).",
        metavar="SPEC",
    ),
]
HeldOutOption = Annotated[
    float,
    typer.Option(help="Share of the pictures kept to check the concepts on.", min=0, max=0.9),
]
PatchSizeOption = Annotated[
    int | None,
    typer.Option(
        help="One side of crops, in pixels; default: several, up to the whole picture.", min=1
    ),
]
FoldsOption = Annotated[
    int,
    typer.Option(
        help="Find the concepts again so many times, each without a part of the pictures, to "
        "see whether they come back; 0 leaves it out.",
        min=0,
    ),
]
JudgeOption = Annotated[
    Path | None,
    typer.Option(
        help="Another model, best cut before its logits: how often it finds the odd one among "
        "five crops, four of them of one concept.",
        metavar="MODEL",
    ),
]
JudgePreprocessOption = Annotated[
    str,
    typer.Option(help="What the judge was trained on, as --preprocess.", metavar="SPEC"),
]
ResizeOption = Annotated[
    Resize,
    typer.Option(help="Other shapes: keep the centre (crop), or everything, out of shape."),
]
SizeOption = Annotated[
    str | None,
    typer.Option(help="Size of the pictures, for a model that leaves it open.", metavar="HxW"),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(help="Names of the classes: one a line, or JSON, ImageNet's form included."),
]
MaxPixelsOption = Annotated[
    int,
    typer.Option(
        help="Larger pictures are skipped: most pixels of one, height times width.", min=1
    ),
]
BatchSizeOption = Annotated[int, typer.Option(help="Pictures run at a time.", min=1, max=2**31 - 1)]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random.", min=0)]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to keep finished stages in: the same command goes on from there.",
        metavar="FOLDER",
    ),
]
SaveOption = Annotated[
    Path | None,
    typer.Option(help="A file to save the result in, too, for `report` and for Python."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


def keeps(tokens_at: TokensAt | None) -> bool | None:
    """`keep_special_tokens` of a Craft."""
    return None if tokens_at is None else tokens_at is TokensAt.kept
