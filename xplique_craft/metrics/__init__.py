"""How good concepts are, measured."""

from .. import _backend as _backend
from .complexity import measure_complexity
from .extraction import (
    dead_concepts,
    duplicate_concepts,
    hoyer_sparsity,
    out_of_distribution,
    r_squared,
    relative_error,
    wasserstein_distance,
    worst_explained,
    zero_share,
)
from .folds import stability
from .importance import ConceptDeletion, ConceptInsertion, ConceptMetric
from .intruder import Trials, binary_choice, difference, intruder_test
from .judge import CropCluster, embed_crops
from .judged_crops import purity
from .measured_extraction import measure_extraction
from .mu_fidelity import ConceptMuFidelity
from .outputs import output_fidelity

__all__ = [
    "ConceptDeletion",
    "ConceptInsertion",
    "ConceptMetric",
    "ConceptMuFidelity",
    "CropCluster",
    "Trials",
    "binary_choice",
    "dead_concepts",
    "difference",
    "duplicate_concepts",
    "embed_crops",
    "hoyer_sparsity",
    "intruder_test",
    "measure_complexity",
    "measure_extraction",
    "out_of_distribution",
    "output_fidelity",
    "purity",
    "r_squared",
    "relative_error",
    "stability",
    "wasserstein_distance",
    "worst_explained",
    "zero_share",
]
