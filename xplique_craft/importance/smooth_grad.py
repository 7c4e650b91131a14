"""SmoothGrad of coefficients: E[sum_p df/du_j(p)] around u (Smilkov et al., 2017)."""

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
from scipy.special import ndtri

from .._checks import check
from ..gates.coded import Coded
from ..gates.head import GatedHead
from ._draws import mean_of_draws
from .base import ImportanceMethod, Values
from .designs import keyed_uniform
from .saliency import derivatives


@dataclass(eq=False, repr=False)
class SmoothGradImportance(ImportanceMethod):
    """
    SmoothGrad: mean over noisy coefficients of sum over positions of df/du_j(p).

    Signed, as Xplique's; the derivative itself where h is affine, for it is the same everywhere.

    Parameters
    ----------
    craft, keep_residual, batch_size, operator, seed
        Every importance method takes these; `ImportanceMethod` says what they do.
    nb_samples
        Gradients are averaged over so many noisy copies of each image's coefficients; more of them
        take longer and give narrower intervals.
    noise
        How strong the noise is: its standard deviation at every position, as a share of the
        concept's largest coefficient in the images of `fit` (`craft.coefficient_scale`). As in
        Xplique, noisy coefficients may be negative.
    """

    nb_samples: int = 50
    noise: float = 0.2

    method = "smooth grad"
    signed = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nb_samples = check("nb_samples", self.nb_samples)
        self.noise = check("noise", self.noise)

    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        if head.is_affine(coded) or self.noise == 0.0:
            return Values(derivatives(coded, head), exact=True)
        n, size = len(coded.targets), self.batch_size
        image = np.repeat(np.arange(n), self.nb_samples)
        sample = np.tile(np.arange(self.nb_samples), n)
        parts = []
        for start in range(0, len(image), size):
            rows, draws = image[start : start + size], sample[start : start + size]
            part = coded.rows(rows)
            noise = tf.constant(self._noise(part.indices, draws, tuple(part.gated.shape)))
            noisy = part.gated + part.where_coefficients_are(noise)
            parts.append(derivatives(replace(part, gated=noisy), head))
        return mean_of_draws(np.concatenate(parts).reshape(n, self.nb_samples, -1))

    def _noise(self, images: np.ndarray, samples: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """(rows, ..., k) float32, keyed by the image, the sample, the position and the concept."""
        places = np.arange(int(np.prod(shape[1:-1])))[:, None]
        rows = (images[:, None, None], samples[:, None, None])
        draws = ndtri(keyed_uniform(self.seed, *rows, places, np.arange(shape[-1])))
        scale = self.noise * self.craft.coefficient_scale
        return (scale * draws).reshape(shape).astype(np.float32)
