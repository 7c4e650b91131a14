"""Functions of gates whose Sobol total indices are known."""

import keras
import numpy as np
from keras import ops


def product(m: keras.KerasTensor) -> keras.KerasTensor:
    """m_1 m_2: both concepts are needed. ST = (1/12 1/3) / (1/9 - 1/16) = 4/7."""
    return m[:, 0] * m[:, 1]


def both(m: keras.KerasTensor) -> keras.KerasTensor:
    """min(m_1, m_2): the variance is 1/18, what remains given one of them 1/30. ST = 3/5."""
    return ops.minimum(m[:, 0], m[:, 1])


def ishigami(m: keras.KerasTensor) -> keras.KerasTensor:
    x = 2.0 * np.pi * m - np.pi
    first, second, third = x[:, 0], x[:, 1], x[:, 2]
    return ops.sin(first) + 7.0 * ops.sin(second) ** 2 + 0.1 * third**4 * ops.sin(first)


def sobol_g(m: keras.KerasTensor) -> keras.KerasTensor:
    """prod (|4 m_j - 2| + a_j) / (1 + a_j), a = 0, 1, 4.5."""
    a = np.array([0.0, 1.0, 4.5], np.float32)
    return ops.prod((ops.abs(4.0 * m - 2.0) + a) / (1.0 + a), axis=1)


def ishigami_indices() -> list[float]:
    a, b = 7.0, 0.1
    first = 0.5 * (1.0 + b * np.pi**4 / 5.0) ** 2
    second = a**2 / 8.0
    mixed = b**2 * np.pi**8 * (1.0 / 18.0 - 1.0 / 50.0)
    total = first + second + mixed
    return [(first + mixed) / total, second / total, mixed / total]


def sobol_g_indices() -> list[float]:
    parts = 1.0 / 3.0 / (1.0 + np.array([0.0, 1.0, 4.5])) ** 2
    total = np.prod(1.0 + parts) - 1.0
    return [parts[j] * np.prod(np.delete(1.0 + parts, j)) / total for j in range(3)]


ANALYTIC = {
    "product": (product, [4 / 7, 4 / 7]),
    "both": (both, [3 / 5, 3 / 5]),
    "ishigami": (ishigami, ishigami_indices()),
    "sobol_g": (sobol_g, sobol_g_indices()),
}
