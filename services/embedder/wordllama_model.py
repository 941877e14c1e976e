"""WordLlama's 256-dimensional static embeddings: a table of token vectors, and their mean.

The package is used as data. Its own code pads every text of a batch to the longest, which one long text turns into
gigabytes; reaches for the network when a file is missing; and sets up logging on import. The vectors are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from services.embedder.ports import Matrix, Tokens
from services.embedder.weights import packaged, version

_GATHERED_TOKENS: Final = 16_384
"""Tokens whose vectors are in memory at once: 16 MB."""


class WordLlama:
    name = "wordllama-256"
    dimension = 256
    static = True
    window = 1024

    def __init__(self) -> None:
        weights = packaged("wordllama", "weights", "l2_supercat_256.safetensors")
        tokenizer = packaged("wordllama", "tokenizers", "l2_supercat_tokenizer_config.json")
        self.version = version(weights, tokenizer)
        self._table = load_file(weights)["embedding.weight"]
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def tokenize(self, texts: Sequence[str]) -> Sequence[Tokens]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def embed(self, windows: Sequence[Tokens]) -> Matrix:
        means = [self._means(group) for group in _groups(windows, _GATHERED_TOKENS)]
        return np.concatenate(means) if means else np.empty((0, self.dimension), np.float32)

    def _means(self, windows: Sequence[Tokens]) -> Matrix:
        lengths = np.array([len(window) for window in windows])
        rows = self._table[np.concatenate(windows)].astype(np.float32)
        sums = np.add.reduceat(rows, np.cumsum(lengths) - lengths, axis=0)
        return np.asarray(sums / lengths[:, None], dtype=np.float32)


def _groups(windows: Sequence[Tokens], tokens: int) -> Iterator[Sequence[Tokens]]:
    """Consecutive windows of together at most `tokens` tokens, or one alone."""
    group: list[Tokens] = []
    size = 0
    for window in windows:
        if group and size + len(window) > tokens:
            yield group
            group, size = [], 0
        group.append(window)
        size += len(window)
    if group:
        yield group
