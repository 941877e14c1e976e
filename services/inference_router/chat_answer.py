"""Reads the body a provider answered with, trusting nothing in it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from daytwo.records import Message, ToolCall, Usage
from daytwo.topics import ATTEMPT_FINISHED

MOST_TOKENS: Final = 2**40
"""A larger number is no count of tokens; and what is charged for fewer always fits 64 bits."""
MOST_ANSWER_BYTES: Final = ATTEMPT_FINISHED.max_bytes - 512 * 1024
"""Room for the rest of attempt-finished and request-finished beside the answer's text."""


class MalformedAnswerError(ValueError):
    """The body is no chat completion. It was status 200 all the same, so it may have been charged. `reason` says what is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A chat completion's first choice. `usage` is None where the provider did not say it, or not credibly."""

    message: Message
    finish_reason: str
    usage: Usage | None


def read_answer(body: bytes) -> Answer:
    """The answer in `body`. Raises MalformedAnswerError."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedAnswerError("malformed_json") from None
    choice = _first(_as(dict, value).get("choices"))
    finish_reason = choice.get("finish_reason") or ""
    message = _message(_as(dict, choice.get("message")))
    if not isinstance(finish_reason, str):
        raise MalformedAnswerError("malformed_answer")
    if _size(message) + _bytes(finish_reason) > MOST_ANSWER_BYTES:
        raise MalformedAnswerError("answer_too_large")
    return Answer(message=message, finish_reason=finish_reason, usage=_usage(value.get("usage")))


def refusal(body: bytes, most: int = 300) -> str:
    """What an error body says for people, at most `most` characters; empty where it says nothing readable."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = value.get("error") if isinstance(value, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    return said[:most] if isinstance(said, str) else ""


def _as(kind: type[Any], value: object) -> Any:
    if not isinstance(value, kind):
        raise MalformedAnswerError("malformed_answer")
    return value


def _first(choices: object) -> dict[str, Any]:
    found = _as(list, choices)
    if not found:
        raise MalformedAnswerError("malformed_answer")
    first: dict[str, Any] = _as(dict, found[0])
    return first


def _message(value: dict[str, Any]) -> Message:
    content = value.get("content")
    calls = tuple(_tool_call(_as(dict, call)) for call in _as(list, value.get("tool_calls") or []))
    if content is None and not calls:
        # A refusal by the model's safety layer is its answer in words, in a field of its own.
        content = value.get("refusal")
        content = "" if content is None else content
    return Message(role="assistant", content=None if content is None else _as(str, content), tool_calls=calls)


def _tool_call(value: dict[str, Any]) -> ToolCall:
    function = _as(dict, value.get("function"))
    return ToolCall(id=_as(str, value.get("id")), name=_as(str, function.get("name")), arguments=_as(str, function.get("arguments")))


def _size(message: Message) -> int:
    calls = sum(_bytes(call.id) + _bytes(call.name) + _bytes(call.arguments) + 16 for call in message.tool_calls)
    return _bytes(message.content or "") + calls


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _usage(value: object) -> Usage | None:
    """None unless both counts are whole numbers from 0. Cached tokens that make no sense count as not cached."""
    if not isinstance(value, dict):
        return None
    read, written = _count(value.get("prompt_tokens")), _count(value.get("completion_tokens"))
    if read is None or written is None:
        return None
    details = value.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(input_tokens=read, cached_input_tokens=cached if cached is not None and cached <= read else 0, output_tokens=written)


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < MOST_TOKENS else None
