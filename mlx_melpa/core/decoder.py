"""The protocol of decoders, from a latent code to a row."""

from abc import abstractmethod
from typing import Protocol

import numpy as np

from .types import Array, Tree


class Decoder(Protocol):
    """Makes a user's numbers (T, own) from codes (T, size); its parameters are part of theta["problem"]."""

    size: int

    @abstractmethod
    def init(self, rng: np.random.Generator, row: np.ndarray) -> Tree:
        """Its parameters at a random start (own,)."""

    @abstractmethod
    def decode(self, shared: Tree, codes: Array) -> Array:
        """The numbers (T, own) of codes (T, size), given theta["problem"]."""
