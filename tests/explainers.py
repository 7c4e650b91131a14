"""Every explainer of Xplique, with settings that suit images of a few pixels."""

from typing import Any

ARGUMENTS: dict[str, dict[str, Any]] = {
    "DeconvNet": {},
    "FEM": {},
    "GradCAM": {},
    "GradCAMPP": {},
    "GradientInput": {},
    "GuidedBackprop": {},
    "HsicAttributionMethod": {"grid_size": 4, "nb_design": 40},
    "IntegratedGradients": {"steps": 8},
    "KernelShap": {"nb_samples": 40},
    "Lime": {"nb_samples": 40},
    "Occlusion": {"patch_size": 4, "patch_stride": 4},
    "Rise": {"nb_samples": 60, "grid_size": 4},
    "Saliency": {},
    "SmoothGrad": {"nb_samples": 4},
    "SobolAttributionMethod": {"grid_size": 4, "nb_design": 8},
    "SquareGrad": {"nb_samples": 4},
    "VarGrad": {"nb_samples": 4},
}
SHARED = ("HsicAttributionMethod", "Occlusion", "Rise", "SobolAttributionMethod")
