"""How good concepts are, measured."""

from .. import _backend as _backend
from .folds import stability
from .importance import ConceptDeletion, ConceptInsertion
from .intruder import Trials, binary_choice, difference, intruder_test
from .judge import CropCluster, embed_crops
from .judged_crops import purity
from .mu_fidelity import ConceptMuFidelity
from .outputs import output_fidelity

__all__ = [
    "ConceptDeletion",
    "ConceptInsertion",
    "ConceptMuFidelity",
    "CropCluster",
    "Trials",
    "binary_choice",
    "difference",
    "embed_crops",
    "intruder_test",
    "output_fidelity",
    "purity",
    "stability",
]
