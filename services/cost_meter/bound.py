"""A strict upper bound of the input tokens of one attempt, without the tokenizer of the model.

Every tokenizer in use (byte-level BPE, SentencePiece with byte fallback, WordPiece) emits at most one token a byte of the
text it is given, and at least one byte goes into a token. So bytes bound tokens, if they are the bytes the tokenizer sees:

- some normalise to NFC first, which can lengthen rare texts: the longer of both forms counts;
- chat templates add markers around a message, and print JSON of tools anew with white space: a fixed number a message, and
  tool JSON counts twice.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from daytwo.charging import PASSAGE_BYTES_BOUND, PASSAGE_OVERHEAD_BYTES, PROMPT_OVERHEAD_TOKENS
from daytwo.records import Message, RequestSubmitted, Tool, ToolCall

MESSAGE_OVERHEAD: Final = 16
"""Role (at most 9 bytes) and markers of a message."""
CALL_OVERHEAD: Final = 64
"""What a template writes around a tool or a tool call: at most so many bytes."""


def input_tokens_bound(request: RequestSubmitted) -> int:
    """No provider counts more input tokens for one attempt at `request`, passages included."""
    passages = request.grounding.top_k * (PASSAGE_BYTES_BOUND + PASSAGE_OVERHEAD_BYTES) if request.grounding else 0
    messages = sum(map(_message, request.messages))
    return PROMPT_OVERHEAD_TOKENS + passages + messages + sum(map(_tool, request.tools))


def text_bytes(text: str) -> int:
    """UTF-8 bytes of `text`, as it is or in NFC, whichever has more."""
    if text.isascii():
        return len(text)
    size = len(text.encode())
    if unicodedata.is_normalized("NFC", text):
        return size
    return max(size, len(unicodedata.normalize("NFC", text).encode()))


def _message(message: Message) -> int:
    text = text_bytes(message.content or "") + text_bytes(message.name) + text_bytes(message.tool_call_id)
    return MESSAGE_OVERHEAD + text + sum(map(_call, message.tool_calls))


def _call(call: ToolCall) -> int:
    return CALL_OVERHEAD + text_bytes(call.id) + text_bytes(call.name) + 2 * text_bytes(call.arguments)


def _tool(tool: Tool) -> int:
    return CALL_OVERHEAD + text_bytes(tool.name) + text_bytes(tool.description) + 2 * text_bytes(tool.parameters)
