"""
How much each concept matters to the model's score.

Every method is a Xplique explainer, (craft, its own arguments, *, keep_residual=None,
batch_size=64, operator=None, seed=0): `explain` gives (n, k), `summary` an `Importance` with its
intervals. They see a score in one of two coordinates:

gates m, the score being f_x(m)
    `SobolImportance`, `OcclusionImportance`, `RiseImportance`, `HsicImportance`,
    `ShapleyImportance`, `BanzhafImportance`, `GradientInputImportance`,
    `IntegratedGradientsImportance`.
coefficients u, by which the score is differentiated; on maps, summed over positions
    `SaliencyImportance`, `SmoothGradImportance`, `TcavImportance`.

`METHODS` names them all.
"""

from .. import _backend as _backend
from .banzhaf import BanzhafImportance
from .base import METHODS, ImportanceMethod
from .gradient_input import GradientInputImportance
from .hsic import HsicImportance
from .integrated_gradients import IntegratedGradientsImportance
from .occlusion import OcclusionImportance
from .rise import RiseImportance
from .saliency import SaliencyImportance
from .shapley import ShapleyImportance
from .smooth_grad import SmoothGradImportance
from .sobol import SobolImportance
from .tcav import TcavImportance

__all__ = [
    "METHODS",
    "BanzhafImportance",
    "GradientInputImportance",
    "HsicImportance",
    "ImportanceMethod",
    "IntegratedGradientsImportance",
    "OcclusionImportance",
    "RiseImportance",
    "SaliencyImportance",
    "ShapleyImportance",
    "SmoothGradImportance",
    "SobolImportance",
    "TcavImportance",
]
