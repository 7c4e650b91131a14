from . import attributions as attributions
from . import factorization as factorization
from . import ground_truth as ground_truth
from . import importance as importance
from . import metrics as metrics
from . import plots as plots
from . import report as report
from .atlas.explain_model import explain_model as explain_model
from .atlas.folder import Atlas as Atlas
from .comparison import compare as compare
from .craft import Craft as Craft
from .explanation.number_of_concepts import (
    choose_number_of_concepts as choose_number_of_concepts,
)
from .explanation.of_class import explain_class as explain_class
from .from_xplique import from_craft_tf as from_craft_tf
from .from_xplique import from_holistic as from_holistic
from .keras_models import load_model as load_model
from .metrics.outputs import output_fidelity as output_fidelity
from .metrics.prevalence import measure_prevalence as measure_prevalence
from .metrics.sanity import sanity_check as sanity_check
from .saving import load as load
from .saving import save as save
from .splitting.layers import Candidate as Candidate
from .splitting.split import Split as Split
from .splitting.split import join_models as join_models
from .splitting.split import split_model as split_model
from .targets import ClassDifference as ClassDifference
from .union import unite as unite
from .where_to_cut import candidate_layers as candidate_layers

__version__: str
