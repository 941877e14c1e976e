"""Nearest neighbours among vectors of one kind: by looking at all while they are few, by a graph (HNSW, usearch) when they are many."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from daytwo.records import Vector

Row = NDArray[np.float32]

FEW: Final = 256
"""Looking at so many takes 10 µs; a graph takes 47 KB even for one, and most spaces stay small."""


def unit(vector: Vector) -> Row | None:
    """The vector at length 1; None where its bytes are no vector of its dimension."""
    if vector.dimension < 1 or len(vector.values) != 4 * vector.dimension:
        return None
    row: Row = np.frombuffer(vector.values, dtype="<f4")
    length = float(np.sqrt(np.einsum("i,i->", row, row, dtype=np.float64)))
    return (row / np.float32(length)).astype(np.float32) if np.isfinite(length) and length > 0 else None


class VectorSpace:
    """Vectors under labels of the caller's, of one dimension."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._labels: list[int] = []
        self._rows: Row = np.empty((1, dimension), dtype=np.float32)
        self._graph: Any = None

    def __len__(self) -> int:
        return len(self._labels) if self._graph is None else len(self._graph)

    def add(self, label: int, row: Row) -> None:
        if self._graph is None and len(self._labels) == FEW:
            self._become_graph()
        if self._graph is not None:
            self._graph.add(label, row)
            return
        if len(self._labels) == len(self._rows):
            self._rows = np.concatenate((self._rows, np.empty_like(self._rows)))
        self._rows[len(self._labels)] = row
        self._labels.append(label)

    def remove(self, label: int) -> None:
        if self._graph is not None:
            self._graph.remove(label)
            return
        place, last = self._labels.index(label), len(self._labels) - 1
        self._labels[place], self._rows[place] = self._labels[last], self._rows[last]
        self._labels.pop()

    def nearest(self, row: Row, count: int) -> list[tuple[int, float]]:
        """Up to `count` labels with their cosine similarity, -1 to 1, nearest first. Over 256 vectors now and then one is overlooked."""
        if self._graph is not None:
            found = self._graph.search(row, count)
            return [(int(key), _clip(1.0 - float(distance))) for key, distance in zip(found.keys, found.distances, strict=True)]
        # einsum, not @: BLAS would start threads that spin on cores other services need.
        similarities = np.einsum("ij,j->i", self._rows[: len(self._labels)], row)
        order = np.argsort(-similarities)[:count]
        return [(self._labels[place], _clip(float(similarities[place]))) for place in order]

    def _become_graph(self) -> None:
        self._graph = Index(ndim=self._dimension, metric="cos", dtype="f16", expansion_add=64, expansion_search=32)
        self._graph.add(np.array(self._labels, dtype=np.uint64), self._rows[: len(self._labels)], threads=1)
        self._labels, self._rows = [], self._rows[:0].copy()


def _clip(similarity: float) -> float:
    return max(-1.0, min(1.0, similarity))
