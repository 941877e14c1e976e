"""The embedder: any text has a vector of finite numbers, or a reason why it has none; so has the question of any request."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from daytwo.errors import TerminalError
from daytwo.question import question_key, question_text
from daytwo.records import Message, RequestSubmitted
from services.embedder.windows import embed_texts
from services.embedder.wordllama_model import WordLlama

MOST_WINDOWS: Final = 8


def embedding(data: bytes) -> None:
    text = data.decode("utf-8", "ignore")
    request = RequestSubmitted(request_id="r", tenant="t", messages=(Message(role="user", content=text),))
    assert question_key(request) == question_key(request)
    for found in embed_texts(_model(), [question_text(request) or text, "plain"], max_windows=MOST_WINDOWS):
        if isinstance(found, TerminalError):
            assert found.reason in ("text_too_long", "invalid_request")
        else:
            values = np.frombuffer(found, dtype=np.float32)
            assert len(values) == WordLlama.dimension
            assert np.isfinite(values).all()


@cache
def _model() -> WordLlama:
    return WordLlama()


def embedding_seeds() -> list[bytes]:
    texts = (
        "What is a topic?",
        "",
        " ",
        "\u200b",
        "\ufeff\u00ad",
        "\U000e0001" * 20,
        "Z\u0351\u036b",
        "\u202eabc",
        "\ufdfa" * 500,
        "\U0001f9d1\u200d\U0001f680",
    )
    return [text.encode() for text in texts]
