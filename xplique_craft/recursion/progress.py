"""
How far a tree has grown, in a checkpoint: its layers' rows, how mixed concepts are, their children.

A node that is there again answers as it did: it has its bank, and what was measured of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..checkpoint import Checkpoint, digest, of_concepts, of_images, parts_of_bank
from ..factorization import Factorized
from ..results import Contributions
from ..results.tree import label_of
from ..sampling.extent import Extent
from .node import SCORES, ConceptNode
from .settings import GrowthSettings
from .shared_crops import SharedCrops
from .shares import NodeShares


def asked_of(shared: SharedCrops, settings: GrowthSettings, inputs: Any) -> dict[str, Any]:
    """What a tree depends on."""
    layers = settings.layers
    named = None if layers is None else [getattr(one, "name", one) for one in layers]
    given = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {
        **given,
        **of_concepts(
            shared.craft, next(iter(shared.stream())).images
        ),  # with the factorizer, as text
        "layers": str(named),
        "crops": digest(shared.boxes, shared.crops_u),
        "images": of_images(shared.stream()),
        "inputs": of_images(shared.stream(inputs)),
    }


@dataclass(frozen=True)
class Progress:
    """
    What one call of `grow` has finished.

    Parameters
    ----------
    kept
        Where it is kept.
    shared
        The craft's crops.
    inputs
        The images that shares are measured on.
    """

    kept: Checkpoint
    shared: SharedCrops
    inputs: Any

    def contributions(self) -> Contributions:
        """Those of the craft's own concepts."""
        found = self.kept.once("contributions", lambda: self.shared.contributions(self.inputs))
        self.shared.keep_contributions(self.inputs, found)
        return found

    def mixedness(self, node: ConceptNode) -> float:
        """How mixed a concept is, from the rows of all crops at the layer below it."""
        layer, factorizer = node.layer, node.settings.factorizer
        rows = self.kept.once(f"rows at {layer}", lambda: self.shared.every_row(layer, factorizer))
        self.shared.keep_rows(layer, rows)
        found = self.kept.once(f"mixedness of {label_of(node.path)}", lambda: node.mixedness)
        vars(node)["mixedness"] = found
        return found

    def shares(self, node: ConceptNode) -> NodeShares:
        """What the children of a concept matter for."""

        def measured() -> dict[str, Any]:
            return {
                "bank": parts_of_bank(node.factorized),
                "extent": node.extent,
                "contributions": {s: node.contributions(self.inputs, s) for s in SCORES},
            }

        known = self.kept.once(
            f"children of {label_of(node.path)}",
            measured,
            {"Extent": Extent, "Contributions": Contributions},
        )
        if "factorized" not in vars(node):  # it was found before
            vars(node)["factorized"] = Factorized(node.settings.factorizer, **known["bank"])
            vars(node)["extent"] = known["extent"]
            node.keep_contributions(self.inputs, known["contributions"])
        return node.measure(self.inputs)
