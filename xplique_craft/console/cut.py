"""
Where a command cuts its model when no --layer says so.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import caught_warnings
from ..factorization import FACTORIZERS
from .messages import say
from .options import FactorizerName
from .task import Task

if TYPE_CHECKING:
    from ..splitting.layers import Candidate

MOST_MEASURED = 16
"""On so many pictures at most it is measured how much of the score flows through patches."""


def evenly(pictures: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the pictures, spread over all of them."""
    rows = np.linspace(0, len(pictures) - 1, min(most, len(pictures)))
    return pictures[rows.round().astype(int)]


def chosen_layer(
    task: Task, factorizer: FactorizerName, *, special_tokens: int | None, batch_size: int
) -> str:
    """
    The layer to cut at where none is given, said aloud; a ValueError where there is none.

    In models with special tokens it depends on what still flows through patches, which some of the
    task's own pictures say.
    """
    from ..where_to_cut import candidate_layers

    asked: dict[str, Any] = {"special_tokens": special_tokens, "batch_size": batch_size}
    candidates = candidate_layers(task.model, **asked)
    signed = not FACTORIZERS[factorizer.value].requires_non_negative
    if any(one.special_tokens and (signed or one.non_negative) for one in candidates):
        some = evenly(task.read().inputs, MOST_MEASURED)
        with caught_warnings("Less than half of the score"):  # another layer is chosen
            candidates = candidate_layers(
                task.model, some, task.class_id, verbose=task.verbose, **asked
            )
    return layer_said(candidates, task.model, factorizer)


def layer_said(candidates: "Sequence[Candidate]", model: Any, factorizer: FactorizerName) -> str:
    """The layer of these to begin with, said aloud; a ValueError where there is none."""
    from ..splitting.layers import recommended_layer

    signed = not FACTORIZERS[factorizer.value].requires_non_negative
    best = recommended_layer(candidates, model.output_shape[-1], signed=signed)
    if best is None:
        raise ValueError(
            "layer must be given: of no layer of this model that has positions it is known that at "
            "least half of the score flows through them. `xplique-craft layers` lists what there "
            "is, with --images FOLDER measured."
            if signed
            else "layer must be given: no layer of this model is known to be non-negative and has "
            "positions. Add --factorizer signed-nmf, which takes signed layers too, or choose a "
            "--layer; `xplique-craft layers` lists what there is."
        )
    share = best.share_through_patches
    why = ""
    if best.special_tokens and share is not None:
        why = f", after which {share.as_percent()} of the score still flows through patches"
    say(f"Cut at {best.name}{why} (--layer takes another).")
    return best.name
