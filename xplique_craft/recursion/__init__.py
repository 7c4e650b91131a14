"""
Recursion: concepts taken apart at earlier layers. Fel et al., CRAFT (CVPR 2023), section 3.1.

`Craft.decompose` makes a `ConceptNode` of one concept, with children; `Craft.grow` makes a
`ConceptTree` by taking apart what is important and mixed. Both are `Growable`'s.
"""

from .. import _backend as _backend
from .growable import Growable
from .growth import ConceptTree
from .node import Child, ConceptNode
from .settings import DecompositionSettings, GrowthSettings
from .shares import NodeShares

__all__ = [
    "Child",
    "ConceptNode",
    "ConceptTree",
    "DecompositionSettings",
    "Growable",
    "GrowthSettings",
    "NodeShares",
]
