"""
Results: frozen records of what was computed. They know nothing of drawing and nothing of models.

Notation (the same in every docstring of the package):

| symbol | shape        | meaning                                                    |
|--------|--------------|------------------------------------------------------------|
| x      |              | images                                                     |
| g, h   |              | the model is h after g, cut at one layer                   |
| A      | (n, h, w, c) | activations g(x); also tokens (n, t, c) and pooled (n, c)  |
| W      | (k, c)       | concept bank                                               |
| U      | (n, h, w, k) | concept coefficients, A ~ U W, U >= 0                      |
| E      | as A         | residual A - U W: what the concepts do not explain         |
| m      | (k,)         | gates on the concepts, in [0, 1]                           |
| f_x(m) | scalar       | score of the model with gated concepts                     |
"""

from .atlas import ClassSummary, Confusion, MergedConcepts, ModelSummary
from .comparison import RANDOM, Comparison, Measure, MethodScores
from .complexity import Complexity
from .contributions import Contributions
from .estimate import Estimate
from .extraction import Extraction
from .importance import EvaluationPath, Importance
from .importance_fidelity import ImportanceFidelity
from .interactions import ConceptInteractions
from .number_of_concepts import NumberOfConcepts, NumberTried
from .of_class import ClassExplanation, ConceptCard
from .of_image import ImageExplanation, ImageView
from .outputs import OutputFidelity, OutputScores
from .prevalence import Prevalence
from .purity import Purity
from .quality import Quality, SanityCheck
from .recovery import RecoveredOrder, RecoveredPlaces, Recovery
from .stability import ConceptStability
from .tree import BranchState, TreeBranch, TreeView

__all__ = [
    "RANDOM",
    "BranchState",
    "ClassExplanation",
    "ClassSummary",
    "Comparison",
    "Complexity",
    "ConceptCard",
    "ConceptInteractions",
    "ConceptStability",
    "Confusion",
    "Contributions",
    "Estimate",
    "EvaluationPath",
    "Extraction",
    "ImageExplanation",
    "ImageView",
    "Importance",
    "ImportanceFidelity",
    "Measure",
    "MergedConcepts",
    "MethodScores",
    "ModelSummary",
    "NumberOfConcepts",
    "NumberTried",
    "OutputFidelity",
    "OutputScores",
    "Prevalence",
    "Purity",
    "Quality",
    "RecoveredOrder",
    "RecoveredPlaces",
    "Recovery",
    "SanityCheck",
    "TreeBranch",
    "TreeView",
]
