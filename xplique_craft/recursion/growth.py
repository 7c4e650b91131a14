"""
Growing a tree: what is important and mixed is taken apart, again and again.

A concept is taken apart if its share of the class score, through its parents, reaches `min_share`
and its mixedness at the earlier layer reaches `min_mixedness`, both measured; and it is put
together again if its parts leave more than `max_unexplained` of it, |F(0)| / F(1). That happens:
closed gates take a network where no image does, and there F(0) may be larger than F(1), which by
default is too much. What is left whole says why. Everything random follows from the craft's seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from .._checks import as_array, check
from .._intervals import bootstrap_ratio
from .._random import keyed_bits
from ..checkpoint import Checkpoint
from ..photographs import as_uint8, call_restore
from ..results import BranchState, Estimate, TreeBranch, TreeView
from ..sampling.crops import IMAGE_WINDOWS
from ..sampling.representatives import best_crops
from .earlier_layers import CannotDecompose, earlier_layer
from .node import ConceptNode, Decomposable
from .progress import Progress, asked_of
from .settings import GrowthSettings
from .shared_crops import SharedCrops


class ConceptTree:
    """
    Concepts, taken apart. Made by `Craft.grow`; `print(tree)` writes it.

    Parameters
    ----------
    shared
        The craft's crops.
    view
        The tree as a record, without crops.
    nodes
        The concepts that were taken apart, by path: {(3,): node, (3, 1): node, ...}.
    """

    def __init__(
        self, shared: SharedCrops, view: TreeView, nodes: dict[tuple[int, ...], ConceptNode]
    ) -> None:
        self.nodes = nodes
        self._shared = shared
        self._view = view

    def __str__(self) -> str:
        return str(self._view)

    def view(self, photographs: Any = None, number_of_crops: int = 6) -> TreeView:
        """
        The tree as a record that can be drawn: `plots.concept_tree`, `report.write_report`.

        Parameters
        ----------
        photographs
            The images of `fit` as people look at them: uint8 or pixels in [0, 255], (n, H', W', 3)
            or (n, H', W'); or a function that makes such pictures of images as the model takes
            them. None for a tree without crops.
        number_of_crops
            Crops of each concept at most, each of another photograph.

        Returns
        -------
        view
            A frozen record.

        Raises
        ------
        ValueError
            If they are no such pictures, or there are too few of them.
        """
        number = check("number_of_crops", number_of_crops)
        if photographs is None or number == 0:
            return self._view
        boxes = self._boxes(number)
        used = np.unique(np.concatenate([found[:, 0] for found in boxes.values()]))
        pictures = self._pictures(photographs, used)
        size = tuple(self._shared.image_shape[:2])
        shown = {
            path: tuple(IMAGE_WINDOWS.picture(pictures[box[0]], box[1:], size) for box in found)
            for path, found in boxes.items()
        }

        def with_crops(branch: TreeBranch) -> TreeBranch:
            children = tuple(with_crops(child) for child in branch.children)
            return replace(branch, crops=shown[branch.path], children=children)

        return replace(
            self._view, branches=tuple(with_crops(branch) for branch in self._view.branches)
        )

    def _boxes(self, number: int) -> dict[tuple[int, ...], np.ndarray]:
        """The best crops of every concept, by path."""
        boxes = self._shared.boxes
        top = best_crops(boxes, self._shared.crops_u, number)
        found: dict[tuple[int, ...], np.ndarray] = {(i,): boxes[best] for i, best in enumerate(top)}
        for node in self.nodes.values():
            found |= {child.path: child.crops.boxes[:number] for child in node.children}
        return found

    def _pictures(self, photographs: Any, used: np.ndarray) -> dict[int, np.ndarray]:
        """Photographs by number."""
        if callable(photographs):
            images = self._shared.stream().images(used)
            found = call_restore(photographs, images, "photographs")
        else:
            array = as_array("photographs", photographs, "pixels in [0, 255], or a function")
            if array.ndim == 0 or len(array) <= used.max():
                raise ValueError(
                    f"photographs must hold one picture for each image of `fit`, more than "
                    f"{used.max()}, received shape {array.shape}."
                )
            found = array[used]
        return dict(zip(used.tolist(), as_uint8(found, used.shape), strict=True))


def grow(
    craft: Decomposable, settings: GrowthSettings, inputs: Any, checkpoint: Any = None
) -> ConceptTree:
    """The tree of a craft's concepts, see `Growable.grow`."""
    shared = craft.siblings_below.shared
    model = shared.craft
    for layer in settings.layers or ():  # refused before anything is computed
        if layer is not None:
            earlier_layer(model.split, layer)
    inputs = _sample(shared, inputs, settings.max_images)
    with (
        Checkpoint(checkpoint, "grow", lambda: asked_of(shared, settings, inputs)) as kept,
        tqdm(desc="grow", unit="concept", disable=not model.verbose, leave=False) as bar,
    ):
        progress = Progress(kept, shared, inputs)
        found = progress.contributions()
        total = found.score - found.base
        growth = _Growth(settings, progress, bar)
        shares = [bootstrap_ratio(phi, total, model.seed) for phi in found.phi.T]
        branches = growth.branches(craft, shares, None, shares)
    view = TreeView(
        class_id=model.class_id,
        layer=model.layer,
        branches=branches,
        residual=bootstrap_ratio(found.residual, total, model.seed),
        number_of_images=len(total),
        depth=settings.depth,
        min_share=settings.min_share,
        min_mixedness=settings.min_mixedness,
    )
    return ConceptTree(shared, view, growth.nodes)


def _sample(shared: SharedCrops, inputs: Any, number: int) -> Any:
    """At most that many of the images, drawn by the craft's seed, in their order."""
    stream = shared.stream(inputs)
    length = stream.length
    if length is None:
        length = sum(len(batch.images) for batch in stream)
    if length <= number:
        return shared.inputs if inputs is None else inputs
    keys = keyed_bits(shared.craft.seed, np.arange(length))
    return stream.images(np.sort(np.argsort(keys, kind="stable")[:number]))


@dataclass
class _Growth:
    """One tree while it grows."""

    settings: GrowthSettings
    progress: Progress
    bar: Any
    nodes: dict[tuple[int, ...], ConceptNode] = field(default_factory=dict)

    def branches(
        self,
        parent: Decomposable,
        shares: Sequence[Estimate],
        of_parent: Sequence[Estimate] | None,
        at_large: Sequence[Estimate],
    ) -> tuple[TreeBranch, ...]:
        """The concepts of a craft or node by decreasing share, each taken apart if it should be."""
        self.bar.total = (self.bar.total or 0) + len(shares)
        above = parent.path if isinstance(parent, ConceptNode) else ()
        layer = parent.siblings_below.concept_model.layer
        order = np.argsort([-share.value for share in shares], kind="stable")
        grown = []
        for index in order.tolist():
            branch = TreeBranch(
                path=(*above, index),
                layer=layer,
                share=shares[index],
                of_parent=None if of_parent is None else of_parent[index],
                at_large=at_large[index],
                crops=(),
                mixedness=float("nan"),
                state=BranchState.TAKEN_APART,  # unless a reason not to is found
            )
            grown.append(self._grown(branch, parent))
            self.bar.update()
        return tuple(grown)

    def _grown(self, branch: TreeBranch, parent: Decomposable) -> TreeBranch:
        """The branch with its children, or with the reason why there are none."""
        settings, concept = self.settings, branch.path[-1]
        if not abs(branch.share.value) >= settings.min_share:
            return _whole(branch, BranchState.SMALL_SHARE, settings.min_share)
        if len(branch.path) > settings.depth:
            return _whole(branch, BranchState.DEPTH_REACHED, settings.depth)
        try:
            node = ConceptNode(parent, concept, settings.at(len(branch.path) - 1))
        except CannotDecompose as reason:
            return _whole(branch, reason.state)
        branch = replace(branch, mixedness=self.progress.mixedness(node))
        if not branch.mixedness >= settings.min_mixedness:
            return _whole(branch, BranchState.OF_ONE_PIECE)
        shares = self.progress.shares(node)
        if not shares.unexplained <= settings.max_unexplained:
            return _whole(branch, BranchState.PARTS_EXPLAIN_LITTLE, shares.unexplained)
        self.nodes[branch.path] = node
        return replace(
            branch,
            children=self.branches(node, shares.through_parent, shares.of_parent, shares.at_large),
            residual=shares.residual_through_parent,
            unexplained=shares.unexplained,
            gap=shares.gap,
        )


def _whole(branch: TreeBranch, state: BranchState, number: float | None = None) -> TreeBranch:
    """The branch as it is, with the reason why it was not taken apart."""
    return replace(branch, state=state, state_number=number)
