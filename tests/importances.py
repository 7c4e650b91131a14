"""What the tests of importance methods share: crafts with a residual, and their scores by NumPy."""

from typing import Any

import numpy as np
import planted

from xplique_craft import importance

BANK = planted.bank(concepts=4, channels=6)


class Case:
    """A bank of three of four concepts, so that a residual remains, and five images."""

    def __init__(self, head: str, latent: str) -> None:
        self.head = head
        self.images = planted.paintings(5, concepts=4)
        self.model = planted.network(BANK, head, latent=latent)
        self.craft = planted.fitted(self.model, BANK[:3], self.images)
        self.u = self.craft.transform(self.images)

    def explain(self, method: str, targets: Any = None, **settings: Any) -> np.ndarray:
        """Importances (5, 3) by a method of that name."""
        return importance.METHODS[method](self.craft, **settings).explain(self.images, targets)

    def score(self, u: np.ndarray, class_id: int = 0) -> np.ndarray:
        """Scores (n,) of coefficients, residual dropped."""
        activations = u.astype(np.float64) @ BANK[:3].astype(np.float64)
        return planted.logits_by_numpy(self.head, self.model, activations)[:, class_id]


def third_order(m: Any) -> Any:
    """A function of nine gates with interactions of second, third and fourth order."""
    pairs = m[:, 0] * m[:, 1] + 0.5 * m[:, 2] * m[:, 3] * m[:, 8]
    triples = m[:, 0] * m[:, 1] * m[:, 2] * (1.0 + m[:, 3])
    return pairs + triples + 0.2 * (m[:, 4] + m[:, 5] + m[:, 6] + m[:, 7])


def coverage(explainer: Any, images: np.ndarray, together: int = 1) -> float:
    """
    How often the estimation interval holds what the estimates are on average.

    The images are equal, and each has draws of its own: so many repetitions, or as many as there
    are sets of `together` images that are averaged.
    """
    coded = planted.coded(explainer.craft, images)
    found = explainer._batch(coded, explainer._head(), True)
    assert not found.exact
    k = found.values.shape[1]
    values = found.values.reshape(-1, together, k).mean(axis=1)
    without = found.without.reshape(len(found.without), -1, together, k).mean(axis=2)
    truth = values.mean(axis=0)
    intervals = [
        importance.base.jackknife_interval(one, left)
        for one, left in zip(values, without.swapaxes(0, 1), strict=True)
    ]
    low, high = np.stack(intervals).transpose(2, 0, 1)
    varied = values.std(axis=0) > 1e-5 * np.abs(truth)
    assert varied.any()
    return float(((low <= truth) & (truth <= high))[:, varied].mean())
