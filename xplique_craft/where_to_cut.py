"""
Where a model can be cut, and how much of the score still flows through patches there.

A transformer gathers what patches hold into special tokens, block by block, and reads its answer
from these: the later the cut, the less is left that concepts, which are of patches, could explain.
At a layer with activations A = (S, P), special tokens and patches, let (S0, P0) be those of a blank
image, all of it 0. Then

    share through patches    sum(s - h(S, P0)) / sum(s - s0)
    share of patches alone   sum(h(S0, P) - s0) / sum(s - s0)

with s = h(S, P) the score of an image and s0 = h(S0, P0) that of the blank one. They are ratios of
sums over images. What special tokens and patches do only together is in the first alone.

Why not their means over the images in the place of S0 and P0? Means of images of one class say
which class it is, and so may its mean colour: after 10 of 12 blocks of a ViT, the mean tokens of 24
photographs of a tench have as high a score as the photographs themselves, and shares of the
difference are noise. Of photographs of six classes, which both can do, the means find 0.98, 0.86,
0.71, 0.46 and 0.24 of the score to flow through patches after 7 to 11 blocks, and the blank image
0.92, 0.83, 0.64, 0.38 and 0.16.

All layers are measured in one walk through the model, from cut to cut: at every cut two altered
copies of the images join them, and all walk on. So the model is traced once, however many layers
there are.
"""

from . import _backend as _backend

# isort: split
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ._checks import check, listing, warn
from ._compiled import compile_function
from ._intervals import SMALLEST_DENOMINATOR, UNKNOWN, bootstrap_ratio
from ._once import BUILDING
from .gates.coded import with_special
from .results import Estimate
from .sampling import Stream
from .splitting.flatten import flat_graph
from .splitting.graph import Graph
from .splitting.layers import Candidate, candidates_of, recommended_layer
from .splitting.network import Network
from .splitting.tokens import number_of_special_tokens, special_tokens_of
from .targets import Targets

ALL = Estimate(1.0, 1.0, 1.0)
"""Nothing but places leads on: all of the score flows through them, by construction."""

Tokens = Callable[[tf.Tensor], tf.Tensor]


def candidate_layers(
    model: keras.Model,
    images: Any = None,
    targets: Any = None,
    *,
    special_tokens: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    verbose: bool = False,
) -> list[Candidate]:
    """
    Layers that a model can be cut at, from the input to the output.

    With a few images it also says which one to begin with. In transformers with special tokens (a
    class token, registers) it then measures, for every layer, how much of the score still flows
    through patches after it. The one to begin with is the last layer that has several positions,
    and after which at least half of the score does; in models without special tokens it is the last
    that has several positions and, if there are such, is non-negative (see
    `splitting.layers.recommended_layer`).

    If you want concepts closer to the decision, cut later, and look at what `share_through_patches`
    says there: so much of the score, and no more, concepts can explain. With
    `Craft(..., keep_special_tokens=False)` what special tokens know already is then left out.

    Parameters
    ----------
    model
        Functional or built Sequential model with one input and one output.
    images
        8 to 50 images (n, H, W, channels), preprocessed: array, tensor or tf.data.Dataset (labels
        are ignored). Shares differ from class to class: take images of the class that you will
        explain, or of several. None only lists the layers.
    targets
        Whose scores are measured: a class, one for each image, a `ClassDifference`, or (n, classes)
        weights. None takes, of each image, the class that the model predicts.
    special_tokens
        How many of the first tokens belong to no place of the image, at layers with as many tokens
        as the last one of several. None, and at all others, goes by the rule of `splitting.tokens`.
    batch_size
        How many images, or images times layers, are run at a time; it bounds the memory.
    seed
        Intervals follow from it.
    verbose
        True shows a progress bar.

    Returns
    -------
    candidates
        Cuts whose output is one float tensor (n, h, w, c), (n, t, c) or (n, c).

    Raises
    ------
    TypeError, ValueError
        If `split_model` would not take the model, or the images do not fit it.

    Warns
    -----
    UserWarning
        If at some layers less than half of the score flows through patches, or nothing can be said.
    """
    batch_size, seed = check("batch_size", batch_size), check("seed", seed)
    verbose = check("verbose", verbose)
    if special_tokens is not None:
        special_tokens = check("special_tokens", special_tokens)
    with BUILDING:
        graph = flat_graph(model, "model")
    candidates = candidates_of(graph)
    if special_tokens is not None:
        candidates = _named(candidates, graph, special_tokens)
    if images is None:
        return candidates
    shape = tuple(graph.model.input_shape[1:])
    Stream(images, shape, batch_size, "images")  # or what is wrong with them
    measured = {
        c.name: (ALL, ALL)
        for c in candidates
        if c.has_positions and not c.special_tokens and _is_known(c, shape, special_tokens)
    }
    tokens = [candidate for candidate in candidates if candidate.special_tokens]
    if tokens:
        walk = _walk_through(graph, tokens)
        shares = walk.shares(images, shape, batch_size, targets, seed, verbose)
        measured |= zip((candidate.name for candidate in tokens), shares, strict=True)
    nothing = (None, None)
    found = []
    for candidate in candidates:
        through, alone = measured.get(candidate.name, nothing)
        found.append(
            replace(candidate, share_through_patches=through, share_of_patches_alone=alone)
        )
    best = recommended_layer(found, int(graph.model.output_shape[-1] or 0), signed=True)
    _warn(found, best)
    return [replace(candidate, recommended=candidate is best) for candidate in found]


def _is_known(
    candidate: Candidate, image: tuple[int | None, ...], special_tokens: int | None
) -> bool:
    """Whether it is known that no token of a layer is special; of feature maps it is."""
    if len(candidate.shape) != 2 or special_tokens is not None:
        return True
    tokens, (height, width) = candidate.shape[0], image[:2]
    if tokens is None or height is None or width is None:
        return False
    return special_tokens_of(tokens, (height, width)) is not None


def _named(candidates: list[Candidate], graph: Graph, named: int) -> list[Candidate]:
    """The candidates, those with as many tokens as the last of several having so many special."""
    image = tuple(graph.model.input_shape[1:])
    tokens = [c for c in candidates if len(c.shape) == 2 and c.has_positions]
    last = (tokens or candidates)[-1:]
    for candidate in last:
        number_of_special_tokens(candidate.shape, image, named)  # or why there are not so many
    shapes = [candidate.shape[0] for candidate in last if tokens]
    return [
        replace(c, special_tokens=named) if c in tokens and c.shape[0] in shapes else c
        for c in candidates
    ]


def share_at(
    network: Network, special_tokens: int, images: np.ndarray, class_id: int, batch_size: int
) -> Estimate:
    """The share of a class's score that flows through patches after one layer of tokens."""
    walk = Walk(network, [network.latents], [special_tokens])
    ((through, _),) = walk.shares(images, tuple(images.shape[1:]), batch_size, class_id)
    return through


def _walk_through(graph: Graph, cuts: Sequence[Candidate]) -> "Walk":
    """A model from one cut to the next, each step compiled."""
    flat = graph.model
    latents = {"/".join(call.path): call.outputs[0] for call in graph.calls}
    ends = [latents[candidate.name] for candidate in cuts]
    network = Network(  # which checks the output, and warns of a softmax
        keras.Model(flat.inputs[0], ends[-1]), keras.Model(ends[-1], flat.outputs[0])
    )

    def compiled(start: keras.KerasTensor, end: keras.KerasTensor) -> Tokens:
        model = keras.Model(start, end)

        def step(tokens: tf.Tensor) -> tf.Tensor:
            return tf.cast(model(tf.cast(tokens, start.dtype), training=False), tf.float32)

        signature = [tf.TensorSpec([None, *start.shape[1:]], tf.float32)]
        return compile_function(step, signature, rows=[0], room=network.room_of_g)

    steps = zip([flat.inputs[0], *ends[:-1]], ends, strict=True)
    return Walk(network, [compiled(*step) for step in steps], [c.special_tokens for c in cuts])


class Walk:
    """
    A model that is walked through from cut to cut.

    Parameters
    ----------
    network
        The model, cut at the last of the cuts.
    steps
        From images to the tokens of the first cut, and from those of each to those of the next.
    special
        How many special tokens each cut has.
    """

    def __init__(self, network: Network, steps: Sequence[Tokens], special: Sequence[int]) -> None:
        self.network, self.steps, self.special = network, steps, special

    def shares(
        self,
        images: Any,
        shape: tuple[int | None, ...],
        batch_size: int,
        targets: Any = None,
        seed: int = 0,
        verbose: bool = False,
    ) -> list[tuple[Estimate, Estimate]]:
        """Of each cut, the share that flows through patches and that of patches alone."""
        classes, cuts = self.network.number_of_classes, len(self.steps)
        together = max(1, batch_size // (1 + 2 * cuts))  # images, whose copies join them
        stream = Stream(images, shape, together, "images")
        wanted = None if targets is None else Targets(targets, stream.length, classes)
        blank: list[tf.Tensor] = []
        parts, seen, floor = [], 0, np.zeros(classes)
        for batch in stream.progress("where to cut", verbose):
            if not blank:
                rows = tf.zeros_like(batch.images[:1])
                blank = [rows := step(rows) for step in self.steps]
                floor = self.network.logits(rows).numpy()[0].astype(np.float64)
            logits = self._logits(batch.images, blank)
            if wanted is None:
                weights = np.eye(classes)[logits[0].argmax(axis=-1)]
            else:
                weights = wanted.batch(seen, len(batch.images)).astype(np.float64)
            seen += len(batch.images)
            parts.append([*(logits * weights).sum(axis=-1), weights @ floor])
        if wanted is not None:
            wanted.check_number(seen)
        own, *altered, nothing = np.concatenate(parts, axis=1)
        whole = own - nothing
        if abs(whole.mean()) <= SMALLEST_DENOMINATOR * np.abs(own).mean():
            return [(UNKNOWN, UNKNOWN)] * cuts
        return [
            (
                bootstrap_ratio(own - no_patches, whole, seed),
                bootstrap_ratio(no_special - nothing, whole, seed),
            )
            for no_patches, no_special in zip(altered[::2], altered[1::2], strict=True)
        ]

    def _logits(self, images: np.ndarray, blank: Sequence[tf.Tensor]) -> np.ndarray:
        """
        Logits (1 + 2 cuts, n, classes) of images (n, ...): as they are; then, cut by cut, with the
        patches (1, t, c) of a blank image, and with its special tokens.
        """
        n = len(images)
        rows = tf.convert_to_tensor(images)
        for step, other, special in zip(self.steps, blank, self.special, strict=True):
            rows = step(rows)
            own = rows[:n]
            others = tf.broadcast_to(other, tf.shape(own))
            no_patches = with_special(own[:, :special], others)
            no_special = with_special(others[:, :special], own)
            rows = tf.concat([rows, no_patches, no_special], axis=0)
        logits = self.network.logits(rows).numpy()
        return logits.reshape(-1, n, self.network.number_of_classes)


def _warn(candidates: Sequence[Candidate], best: Candidate | None) -> None:
    """Say at which layers less than half of the score flows through patches."""
    late = [candidate for candidate in candidates if not candidate.patches_matter]
    if not late:
        return
    if any(c.share_through_patches and np.isnan(c.share_through_patches.value) for c in late):
        warn(
            "How much of the score flows through patches is not defined: on these images it hardly "
            "differs from that of a blank image. Give other images, or other targets."
        )
        return
    shares = [c.share_through_patches for c in late if c.share_through_patches is not None]
    begin = "" if best is None else f" Begin with {best.name!r}, or an earlier layer."
    warn(
        "Less than half of the score still flows through patches after "
        f"{listing([candidate.name for candidate in late])} (after the last, "
        f"{shares[-1].as_percent()}): what special tokens know already is no concept's doing."
        f"{begin}"
    )
