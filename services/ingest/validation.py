"""The shape of a request and of a document: the first thing wrong with it, in words that name the field, or None."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from daytwo.records import DocumentSubmitted, Grounding, Message, RequestSubmitted, Tool, ToolCall
from services.ingest.labels import (
    LONGEST_CATEGORY,
    LONGEST_SOURCE,
    id_problem,
    metadata_problem,
    name_problem,
    optional_id_problem,
    text_problem,
    traceparent_problem,
)

MEDIA_TYPES: Final = ("text/plain", "text/markdown", "text/html")

_ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_LONGEST_NAME: Final = 128
_LONGEST_MODEL: Final = 256
_LONGEST_TITLE: Final = 512
_LONGEST_ARGUMENTS: Final = 65_536
_MOST_TOKENS: Final = 1_000_000
_MOST_TOOLS: Final = 128
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Far below what orjson (254 to write) and the standard library's json (about 1,000 to read) can take later on the road.
_DEEPEST_PARAMETERS: Final = 64
_MOST_PASSAGES: Final = 50
_MOST_FILTERS: Final = 100
# Every chunk carries the labels of its document.
_LONGEST_DOCUMENT_METADATA: Final = 4096

Problems = Iterator[str | None]


def request_problem(request: RequestSubmitted, *, max_messages: int) -> str | None:
    return next(filter(None, _request_problems(request, max_messages)), None)


def document_problem(document: DocumentSubmitted) -> str | None:
    """What is wrong with the fields; whether the content is text shows when it is split."""
    return next(filter(None, _document_problems(document)), None)


def _request_problems(request: RequestSubmitted, max_messages: int) -> Problems:
    yield id_problem("request_id", request.request_id)
    yield id_problem("tenant", request.tenant)
    yield optional_id_problem("user", request.user)
    yield optional_id_problem("session", request.session)
    yield optional_id_problem("workflow", request.workflow)
    yield optional_id_problem("step", request.step)
    yield optional_id_problem("agent", request.agent)
    yield name_problem("model", request.model, longest=_LONGEST_MODEL)
    yield None if 1 <= request.max_tokens <= _MOST_TOKENS else f"max_tokens: {request.max_tokens}; 1 to {_MOST_TOKENS}"
    # A comparison with NaN is false.
    in_range = request.temperature is None or 0 <= request.temperature <= 2
    yield None if in_range else f"temperature: {request.temperature}; 0 to 2"
    yield from _conversation_problems(request.messages, max_messages)
    yield from _tools_problems(request.tools)
    if request.grounding is not None:
        yield from _grounding_problems(request.grounding)
    yield metadata_problem(request.metadata)
    yield traceparent_problem(request.traceparent)


def _conversation_problems(messages: tuple[Message, ...], max_messages: int) -> Problems:
    if not 1 <= len(messages) <= max_messages:
        yield f"messages: {len(messages)}; 1 to {max_messages}"
        return
    for number, message in enumerate(messages):
        yield from _message_problems(f"messages[{number}]", message)
    if messages[-1].role not in ("user", "tool"):
        yield f"messages: the last one is from {messages[-1].role}; it must be from user or tool"


def _message_problems(field: str, message: Message) -> Problems:
    if message.role not in _ROLES:
        yield f"{field}.role: needs one of {', '.join(_ROLES)}"
    if message.content is None:
        yield None if message.tool_calls else f"{field}.content: null without tool_calls"
    else:
        yield text_problem(f"{field}.content", message.content)
        if message.role == "user" and (not message.content or message.content.isspace()):
            yield f"{field}.content: empty"
    if message.name:
        yield name_problem(f"{field}.name", message.name, longest=_LONGEST_NAME)
    if message.role == "tool" or message.tool_call_id:
        yield name_problem(f"{field}.tool_call_id", message.tool_call_id, longest=_LONGEST_NAME)
    if message.tool_calls:
        yield from _tool_calls_problems(field, message)


def _tool_calls_problems(field: str, message: Message) -> Problems:
    if message.role != "assistant":
        yield f"{field}.tool_calls: only an assistant calls tools"
    if len(message.tool_calls) > _MOST_TOOLS:
        yield f"{field}.tool_calls: {len(message.tool_calls)}; at most {_MOST_TOOLS}"
    for number, call in enumerate(message.tool_calls):
        yield from _tool_call_problems(f"{field}.tool_calls[{number}]", call)


def _tool_call_problems(field: str, call: ToolCall) -> Problems:
    yield name_problem(f"{field}.id", call.id, longest=_LONGEST_NAME)
    yield name_problem(f"{field}.name", call.name, longest=_LONGEST_NAME)
    if len(call.arguments) > _LONGEST_ARGUMENTS:
        yield f"{field}.arguments: {len(call.arguments)} characters; at most {_LONGEST_ARGUMENTS}"
    yield text_problem(f"{field}.arguments", call.arguments)


def _tools_problems(tools: tuple[Tool, ...]) -> Problems:
    if len(tools) > _MOST_TOOLS:
        yield f"tools: {len(tools)}; at most {_MOST_TOOLS}"
    for number, tool in enumerate(tools):
        field = f"tools[{number}]"
        yield None if _TOOL_NAME.fullmatch(tool.name) else f"{field}.name: needs 1 to 64 letters, digits, _ and -"
        yield text_problem(f"{field}.description", tool.description)
        yield _parameters_problem(f"{field}.parameters", tool.parameters)


def _parameters_problem(field: str, parameters: str) -> str | None:
    try:
        schema = orjson.loads(parameters)
    except orjson.JSONDecodeError as error:
        return f"{field}: {error}"
    if not isinstance(schema, dict):
        return f"{field}: needs a JSON object"
    return f"{field}: nested deeper than {_DEEPEST_PARAMETERS}" if _is_deeper(schema, _DEEPEST_PARAMETERS) else None


def _is_deeper(value: Any, limit: int) -> bool:
    """Whether containers nest more than `limit` deep; level by level, so that depth costs no stack."""
    level = [value]
    for _ in range(limit):
        children = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _grounding_problems(grounding: Grounding) -> Problems:
    yield id_problem("grounding.collection", grounding.collection)
    yield None if 1 <= grounding.top_k <= _MOST_PASSAGES else f"grounding.top_k: {grounding.top_k}; 1 to {_MOST_PASSAGES}"
    for field, values, longest in (
        ("grounding.sources", grounding.sources, LONGEST_SOURCE),
        ("grounding.categories", grounding.categories, LONGEST_CATEGORY),
    ):
        if len(values) > _MOST_FILTERS:
            yield f"{field}: {len(values)}; at most {_MOST_FILTERS}"
        for number, value in enumerate(values):
            yield name_problem(f"{field}[{number}]", value, longest=longest)
    if grounding.after_ms is not None and grounding.before_ms is not None and grounding.after_ms >= grounding.before_ms:
        yield "grounding: after_ms must be less than before_ms"


def _document_problems(document: DocumentSubmitted) -> Problems:
    yield id_problem("document_id", document.document_id)
    yield id_problem("tenant", document.tenant)
    yield id_problem("collection", document.collection)
    yield name_problem("source", document.source, longest=LONGEST_SOURCE)
    yield name_problem("title", document.title, longest=_LONGEST_TITLE, empty=True)
    yield name_problem("category", document.category, longest=LONGEST_CATEGORY, empty=True)
    yield None if document.media_type in MEDIA_TYPES else f"media_type: needs one of {', '.join(MEDIA_TYPES)}"
    yield None if document.published_at_ms >= 0 else f"published_at_ms: {document.published_at_ms}; 0 or more"
    yield metadata_problem(document.metadata)
    labels = sum(len(key) + len(value) for key, value in document.metadata.items())
    yield None if labels <= _LONGEST_DOCUMENT_METADATA else f"metadata: {labels} characters; at most {_LONGEST_DOCUMENT_METADATA}"
    yield traceparent_problem(document.traceparent)
