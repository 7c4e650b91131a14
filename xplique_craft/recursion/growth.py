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
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from .._checks import check_int, check_number
from .._intervals import bootstrap_ratio
from .._random import keyed_bits
from ..concept_model import ConceptModel
from ..factorization import Factorizer
from ..photographs import as_uint8
from ..results import BranchState, Estimate, TreeBranch, TreeView
from ..sampling.representatives import best_crops
from ..sampling.windows import IMAGE_WINDOWS
from .crops import Ground, Level
from .earlier import CannotDecompose
from .node import ConceptNode
from .plan import plan_for

__all__ = ["ConceptTree", "GrowthSettings", "grow"]


@dataclass(frozen=True)
class GrowthSettings:
    """
    How a tree grows.

    Parameters
    ----------
    depth
        How many times in a row concepts are taken apart at most.
    min_share
        Least magnitude of the share of the class score that a concept must have, through its
        parents.
    min_mixedness
        Least mixedness: 0 for a concept of one piece, 1 for one as diverse as the crops of the
        class as a whole (see `recursion.mixedness`).
    number_of_concepts, percentile, completeness
        As in `Craft.decompose`.
    layers
        One for each time, the latest first; None for the rule of `Craft.decompose`.
    max_images
        Shares are measured on so many images at most, drawn by the seed: the time goes by it.
    max_unexplained
        A concept of which its parts leave more than this unexplained, |F(0)| / F(1), stays whole.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or there is not one layer for each time.
    """

    depth: int
    min_share: float
    min_mixedness: float
    number_of_concepts: int
    percentile: float
    layers: Sequence[str | int | keras.layers.Layer] | None
    max_images: int
    max_unexplained: float
    completeness: float

    def __post_init__(self) -> None:
        check_int("depth", self.depth)
        check_number("min_share", self.min_share)
        check_number("min_mixedness", self.min_mixedness)
        check_number("max_unexplained", self.max_unexplained)
        check_int("max_images", self.max_images)
        if self.layers is not None and (
            isinstance(self.layers, str) or len(self.layers) != self.depth
        ):
            raise ValueError(
                f"layers must name one layer for each of the {self.depth} times that concepts are "
                f"taken apart, the latest first, received {self.layers!r}."
            )


class ConceptTree:
    """
    Concepts, taken apart. Made by `Craft.grow`; `print(tree)` writes it.

    Parameters
    ----------
    ground
        What all nodes share.
    view
        The tree as a record, without crops.
    nodes
        By path.

    Attributes
    ----------
    nodes
        The concepts that were taken apart: {(3,): node, (3, 1): node, ...}.
    """

    def __init__(
        self, ground: Ground, view: TreeView, nodes: dict[tuple[int, ...], ConceptNode]
    ) -> None:
        self.nodes = nodes
        self._ground = ground
        self._view = view

    def __str__(self) -> str:
        return str(self._view)

    def view(
        self,
        photographs: Any = None,
        number_of_crops: int = 6,
    ) -> TreeView:
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
        number = check_int("number_of_crops", number_of_crops)
        if photographs is None:
            return self._view
        boxes = self._boxes(number)
        used = np.unique(np.concatenate([found[:, 0] for found in boxes.values()]))
        pictures = self._pictures(photographs, used)
        size = tuple(self._ground.image_shape[:2])
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
        every, u = self._ground.boxes, self._ground.root.coefficients
        top = best_crops(every, u, number)
        found: dict[tuple[int, ...], np.ndarray] = {}
        for index, best in enumerate(top):
            found[(index,)] = every[best]
        for path, node in self.nodes.items():
            for child in node.children:
                found[(*path, child.index)] = child.crops.boxes[:number]
        return found

    def _pictures(self, photographs: Any, used: np.ndarray) -> dict[int, np.ndarray]:
        """Photographs by number."""
        if callable(photographs):
            found = photographs(self._ground.stream().images(used))
        else:
            array = np.asarray(photographs)
            if array.ndim == 0 or len(array) <= used.max():
                raise ValueError(
                    f"photographs must hold one picture for each image of `fit`, more than "
                    f"{used.max()}, received shape {array.shape}."
                )
            found = array[used]
        return dict(zip(used.tolist(), as_uint8(found, used.shape), strict=True))


def grow(
    craft: ConceptModel,
    ground: Ground,
    settings: GrowthSettings,
    factorizer: Factorizer,
    inputs: Any,
) -> ConceptTree:
    """
    Take apart what is important and mixed.

    Parameters
    ----------
    craft
        A fitted craft.
    ground
        What its nodes share.
    settings
        How far, and what.
    inputs
        The images that shares are measured on, or drawn from; None for those of `fit`.

    Returns
    -------
    tree
        The tree.
    """
    inputs = _sample(ground, inputs, settings.max_images)
    found = ground.contributions(inputs)
    total = found.score - found.base
    with tqdm(desc="grow", unit="concept", disable=not craft.verbose, leave=False) as bar:
        growth = _Growth(craft, ground, settings, factorizer, inputs, bar)
        shares = [bootstrap_ratio(phi, total, craft.seed) for phi in found.phi.T]
        branches = growth.branches(ground.root, craft, shares, None, shares)
    view = TreeView(
        class_id=craft.class_id,
        layer=craft.layer,
        branches=branches,
        residual=bootstrap_ratio(found.residual, total, craft.seed),
        number_of_images=len(total),
        depth=settings.depth,
        min_share=settings.min_share,
        min_mixedness=settings.min_mixedness,
    )
    return ConceptTree(ground, view, growth.nodes)


def _sample(ground: Ground, inputs: Any, number: int) -> Any:
    """At most that many of the images, drawn by the craft's seed, in their order."""
    stream = ground.stream(inputs)
    length = stream.length
    if length is None:
        length = sum(len(batch.images) for batch in stream)
    if length <= number:
        return ground.inputs if inputs is None else inputs
    keys = keyed_bits(ground.craft.seed, np.arange(length))
    return stream.images(np.sort(np.argsort(keys, kind="stable")[:number]))


@dataclass
class _Growth:
    """One tree while it grows."""

    craft: ConceptModel
    ground: Ground
    settings: GrowthSettings
    factorizer: Factorizer
    inputs: Any
    bar: Any

    def __post_init__(self) -> None:
        self.nodes: dict[tuple[int, ...], ConceptNode] = {}

    def branches(
        self,
        level: Level,
        parent: ConceptModel | ConceptNode,
        shares: Sequence[Estimate],
        of_parent: Sequence[Estimate] | None,
        at_large: Sequence[Estimate],
    ) -> tuple[TreeBranch, ...]:
        """All concepts of a level, by decreasing share, each taken apart if it should be."""
        self.bar.total = (self.bar.total or 0) + len(shares)
        above = parent.path if isinstance(parent, ConceptNode) else ()
        order = np.argsort([-share.value for share in shares], kind="stable")
        grown = []
        for index in order.tolist():
            branch = TreeBranch(
                path=(*above, index),
                layer=level.bank.layer,
                share=shares[index],
                of_parent=None if of_parent is None else of_parent[index],
                at_large=at_large[index],
                crops=(),
                mixedness=float("nan"),
                state=BranchState.TAKEN_APART,  # unless a reason not to is found
            )
            grown.append(self._grown(branch, level, parent))
            self.bar.update()
        return tuple(grown)

    def _grown(
        self, branch: TreeBranch, level: Level, parent: ConceptModel | ConceptNode
    ) -> TreeBranch:
        """The branch with its children, or with the reason why there are none."""
        settings, concept = self.settings, branch.path[-1]
        if not abs(branch.share.value) >= settings.min_share:
            return _whole(branch, BranchState.SMALL_SHARE, settings.min_share)
        if len(branch.path) > settings.depth:
            return _whole(branch, BranchState.DEPTH_REACHED, settings.depth)
        layers = settings.layers
        try:
            plan = plan_for(
                self.ground,
                level,
                concept,
                None if layers is None else layers[len(branch.path) - 1],
                settings.number_of_concepts,
                settings.percentile,
                self.factorizer,
                settings.completeness,
            )
        except CannotDecompose as reason:
            return _whole(branch, reason.state)
        k = plan.number_of_concepts
        mixedness = self.ground.mixedness(plan.layer, plan.crops, plan.factorizer, k)
        branch = replace(branch, mixedness=mixedness)
        if not mixedness >= settings.min_mixedness:
            return _whole(branch, BranchState.OF_ONE_PIECE)
        node = ConceptNode(self.ground, level, parent, concept, plan)
        shares = node.measure(self.inputs)
        if not shares.unexplained <= settings.max_unexplained:
            return _whole(branch, BranchState.PARTS_EXPLAIN_LITTLE, shares.unexplained)
        self.nodes[branch.path] = node
        return replace(
            branch,
            children=self.branches(
                node.level, node, shares.through_parent, shares.of_parent, shares.at_large
            ),
            residual=shares.left_through_parent,
            unexplained=shares.unexplained,
            gap=shares.gap,
        )


def _whole(branch: TreeBranch, state: BranchState, number: float | None = None) -> TreeBranch:
    """The branch as it is, with the reason why it was not taken apart."""
    return replace(branch, state=state, state_number=number)
