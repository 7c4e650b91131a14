"""
Plots: results in, matplotlib axes out.

Every function takes an optional `ax` and returns the `Axes` that it drew on. Without one it makes
a `matplotlib.figure.Figure` of its own that pyplot never hears of: nothing is shown, nothing stays
open, and `ax.figure` is the figure to show or to save.

Style: a concept is drawn by its rank (see `concept_ranks`), with a colour, a hatch, a marker and a
dash pattern that change together, and it is always labelled by its index in the bank, as "C3".
"""

from .bars import activation_histogram, importance_bars, waterfall
from .compare import fidelity_curves, maps_side_by_side, method_scores
from .complexity import importance_against_complexity
from .concept_curves import concept_curves
from .image import class_map, image_explanation
from .numbers import number_of_concepts
from .pictures import concept_crops, concept_overlay
from .steps import Step, decimals_for, displayed_steps, waterfall_steps, waterfall_steps_of
from .style import ConceptStyle, concept_label, concept_ranks, concept_style, histogram_bins
from .tree import TreeRow, concept_tree, tree_rows

__all__ = [
    "ConceptStyle",
    "Step",
    "TreeRow",
    "activation_histogram",
    "class_map",
    "concept_crops",
    "concept_curves",
    "concept_label",
    "concept_overlay",
    "concept_ranks",
    "concept_style",
    "concept_tree",
    "decimals_for",
    "displayed_steps",
    "fidelity_curves",
    "histogram_bins",
    "image_explanation",
    "importance_against_complexity",
    "importance_bars",
    "maps_side_by_side",
    "method_scores",
    "number_of_concepts",
    "tree_rows",
    "waterfall",
    "waterfall_steps",
    "waterfall_steps_of",
]
