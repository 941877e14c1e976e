"""What the embedder needs from an embedding model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

Tokens = Sequence[int]


class Model(Protocol):
    """An embedding model in memory. Used from one thread at a time, unless it is static."""

    name: str
    version: str
    """Of the weights: equal weights give equal versions and vectors that may be compared."""
    dimension: int
    static: bool
    """A table of token vectors: without state, and done in microseconds."""
    window: int
    """Most tokens it reads at once."""

    def tokenize(self, texts: Sequence[str]) -> Sequence[Tokens]:
        """The tokens of each text, whole: nothing is cut off."""
        ...

    def embed(self, windows: Sequence[Tokens]) -> Matrix:
        """The mean vector of each window's tokens, (len(windows), dimension), not normalised.

        A window has 1 to `window` tokens. The same window has the same vector whatever stands beside it, within 1e-5.
        """
        ...


Loader = Callable[[], Model]
"""Reads a model from disk; slow."""
