"""
What images are told by: those of a fit are known again, and it is seen where they were changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from .stream import Stream


@dataclass(frozen=True)
class SavedImages:
    """
    The images of `fit`, or what they are told by.

    Parameters
    ----------
    number
        How many they are.
    shape
        (H, W, channels).
    low, high
        Their lowest and highest value.
    sha256
        Of their values as float32, little-endian, in hexadecimal.
    images
        They themselves, (n, H, W, channels); None where they were not saved.
    """

    number: int
    shape: tuple[int, ...]
    low: float
    high: float
    sha256: str
    images: np.ndarray | None

    @classmethod
    def of(cls, stream: Stream, images: np.ndarray | None = None, *, keep: bool) -> SavedImages:
        """In one pass over them; they are kept as they come, or as they are given."""
        digest, number, kept = hashlib.sha256(), 0, []
        low, high = np.inf, -np.inf
        for batch in stream:
            digest.update(np.ascontiguousarray(batch.images, "<f4").data)
            number += len(batch.images)
            low, high = min(low, batch.images.min()), max(high, batch.images.max())
            if keep and images is None:
                kept.append(batch.images)
        return cls(
            number=number,
            shape=tuple(batch.images.shape[1:]),
            low=float(low),
            high=float(high),
            sha256=digest.hexdigest(),
            images=np.concatenate(kept) if kept else images if keep else None,
        )

    @property
    def told(self) -> str:
        """What is the same for the same images, in the same order, and for no others."""
        return f"{self.number} {tuple(self.shape)} {self.sha256}"


def prints_of(images: np.ndarray) -> list[bytes]:
    """What each image (n, ...) is told by alone: the same for the same values as float32."""
    every = np.ascontiguousarray(images, "<f4")
    return [hashlib.blake2b(image.data, digest_size=16).digest() for image in every]
