"""
Recursion: concepts taken apart at earlier layers. Fel et al., CRAFT (CVPR 2023), section 3.1.

`Craft.decompose` makes a `ConceptNode` of one concept, with children; `Craft.grow` makes a
`ConceptTree` by taking apart what is important and mixed.
"""

from .child import Child
from .crops import Ground
from .growth import ConceptTree, GrowthSettings, grow
from .node import ConceptNode
from .plan import plan_for
from .shares import NodeShares

__all__ = [
    "Child",
    "ConceptNode",
    "ConceptTree",
    "Ground",
    "GrowthSettings",
    "NodeShares",
    "grow",
    "plan_for",
]
