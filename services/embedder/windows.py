"""Long texts: cut into windows a model can read, and their vectors pooled to one. Nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from daytwo.errors import TerminalError
from services.embedder.ports import Matrix, Model, Tokens

Vectors = Sequence[bytes | TerminalError]
"""Per text: little-endian float32 of Euclidean length 1, or why it has none."""


def embed_texts(model: Model, texts: Sequence[str], *, max_windows: int) -> Vectors:
    """The vector of each text; one of more than `max_windows` windows has text_too_long, an empty one invalid_request."""
    tokens = model.tokenize(texts)
    errors = [_refused(model, each, max_windows) for each in tokens]
    accepted = [each for each, error in zip(tokens, errors, strict=True) if error is None]
    vectors = iter(_pooled(model, accepted))
    return [error or next(vectors) for error in errors]


def cut(tokens: Tokens, window: int) -> list[Tokens]:
    """Consecutive windows of at most `window` tokens."""
    return [tokens[start : start + window] for start in range(0, len(tokens), window)]


def _refused(model: Model, tokens: Tokens, max_windows: int) -> TerminalError | None:
    if not tokens:
        return TerminalError("invalid_request", "there is no text to embed")
    bound = max_windows * model.window
    if len(tokens) > bound:
        return TerminalError("text_too_long", f"{len(tokens)} tokens; {model.name} takes {bound} here")
    return None


def _pooled(model: Model, texts: Sequence[Tokens]) -> Iterator[bytes]:
    windows = [cut(tokens, model.window) for tokens in texts]
    flat = [window for each in windows for window in each]
    if not flat:
        return
    vectors = model.embed(flat)
    first = 0
    for each in windows:
        yield unit(_weighted(vectors[first : first + len(each)], each))
        first += len(each)


def _weighted(vectors: Matrix, windows: Sequence[Tokens]) -> Matrix:
    """The mean over all tokens: each window weighs as many tokens as it has."""
    weights = np.array([len(window) for window in windows], dtype=np.float32)
    return np.asarray(weights @ vectors / weights.sum(), dtype=np.float32)


def unit(vector: Matrix) -> bytes:
    """`vector` at length 1, as the wire has it."""
    scaled = np.asarray(vector / np.linalg.norm(vector), dtype="<f4")
    return bytes(scaled.tobytes())
