"""What people give, as the records that go on the log: text, OpenAI-style messages and tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from daytwo.client.errors import InvalidInputError
from daytwo.records import CacheMode, Grounding, Lane, Message, RequestSubmitted, Tool, ToolCall


class RequestFields(TypedDict, total=False):
    """What a request may carry besides its messages; docs/topics.md says what each means."""

    request_id: str
    user: str
    session: str
    workflow: str
    step: str
    agent: str
    model: str
    max_tokens: int
    temperature: float | None
    tools: Sequence[Tool | Mapping[str, Any]]
    grounding: Grounding | Mapping[str, Any] | str | None
    """A string is the name of the collection."""
    cache: CacheMode
    lane: Lane
    metadata: Mapping[str, str]
    traceparent: str
    timeout: float
    """Seconds from now to the deadline."""
    deadline_ms: int
    """The deadline itself, epoch milliseconds; goes before `timeout`."""


class DocumentFields(TypedDict, total=False):
    """What a document may carry besides source, content and collection."""

    document_id: str
    media_type: str
    title: str
    category: str
    published_at_ms: int
    metadata: Mapping[str, str]
    traceparent: str
    timeout: float
    """Seconds to wait for the result."""


Question = str | Sequence[Message | Mapping[str, Any]]


def request(question: Question, fields: Mapping[str, Any], **given: Any) -> RequestSubmitted:
    """The record. Raises InvalidInputError naming what is wrong with its shape; what it may contain is for ingest to say."""
    shaped = dict(fields)
    if "tools" in shaped:
        shaped["tools"] = tuple(_tool(item) for item in shaped["tools"])
    if "grounding" in shaped:
        shaped["grounding"] = _grounding(shaped["grounding"])
    try:
        return RequestSubmitted(messages=messages(question), **{**given, **shaped})
    except TypeError as error:
        raise InvalidInputError(f"no such field of a request: {error}") from error


def messages(question: Question) -> tuple[Message, ...]:
    """A string is one message of the user."""
    if isinstance(question, str):
        return (Message(role="user", content=question),)
    return tuple(_message(item) for item in question)


def _message(given: Message | Mapping[str, Any]) -> Message:
    if isinstance(given, Message):
        return given
    try:
        calls = tuple(_tool_call(call) for call in given.get("tool_calls") or ())
        return Message(**{**given, "tool_calls": calls})
    except (TypeError, KeyError, AttributeError) as error:
        raise InvalidInputError(f"not a chat message, as in {{'role': 'user', 'content': '...'}}: {given!r} ({error})") from error


def _tool_call(given: ToolCall | Mapping[str, Any]) -> ToolCall:
    """As in the OpenAI API, where name and arguments are under `function`; or flat."""
    if isinstance(given, ToolCall):
        return given
    function = given.get("function", given)
    return ToolCall(id=given["id"], name=function["name"], arguments=function["arguments"])


def _tool(given: Tool | Mapping[str, Any]) -> Tool:
    if isinstance(given, Tool):
        return given
    try:
        function = given.get("function", given)
        parameters = function.get("parameters", {})
        text = parameters if isinstance(parameters, str) else json.dumps(parameters)
        return Tool(name=function["name"], description=function.get("description", ""), parameters=text)
    except (TypeError, KeyError, AttributeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"not a tool, as in {{'name': ..., 'parameters': {{...}}}}: {error!r}") from error


def _grounding(given: Grounding | Mapping[str, Any] | str | None) -> Grounding | None:
    if isinstance(given, str):
        return Grounding(collection=given)
    if given is None or isinstance(given, Grounding):
        return given
    try:
        return Grounding(**{**given, **{name: tuple(given[name]) for name in ("sources", "categories") if name in given}})
    except TypeError as error:
        raise InvalidInputError(f"not a grounding, as in {{'collection': 'manual', 'top_k': 5}}: {error}") from error


def check_address(bootstrap: str) -> None:
    """Raises InvalidInputError unless it is host:port, or several with commas between."""
    for part in bootstrap.split(","):
        host, _, port = part.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise InvalidInputError(f"Kafka's address must be HOST:PORT, not {part.strip()!r}")
