"""When two requests ask the same, and when they ask the same in other words.

Keys are the first 32 hex digits of SHA-256 over canonical JSON: sorted names, no spaces, numbers as they are.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

import orjson

from daytwo.records import Grounding, Message, RequestSubmitted

_INNER_SPACES: Final = re.compile(r"(?<=\S) {2,}")


def question_key(request: RequestSubmitted) -> str:
    """Equal for requests that may have the same answer: tenant, whole conversation, model, parameters, tools, grounding."""
    return _digest(request, [_message(message) for message in request.messages])


def scope_key(request: RequestSubmitted) -> str:
    """Equal for requests that differ at most in the text of their last user message."""
    last = _last_user(request)
    return _digest(request, [_message(message, blank=index == last) for index, message in enumerate(request.messages)])


def question_text(request: RequestSubmitted) -> str:
    """The last user message as it was written, or nothing where there is none."""
    last = _last_user(request)
    return "" if last is None else request.messages[last].content or ""


def is_single_turn(request: RequestSubmitted) -> bool:
    """One user message beside instructions, and no tools: the question stands alone and may be matched by meaning."""
    asked = [message.role for message in request.messages if message.role not in ("system", "developer")]
    return asked == ["user"] and not request.tools


def normalised(text: str) -> str:
    """Unicode NFC, no white space at the ends, one space where several stood within a line.

    Indentation stays: in code it has a meaning. Case stays too.
    """
    return _INNER_SPACES.sub(" ", unicodedata.normalize("NFC", text).strip())


def _last_user(request: RequestSubmitted) -> int | None:
    return next((index for index in reversed(range(len(request.messages))) if request.messages[index].role == "user"), None)


def _digest(request: RequestSubmitted, messages: list[dict[str, Any]]) -> str:
    value = {
        "tenant": request.tenant,
        "messages": messages,
        "model": request.model,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "tools": [[tool.name, tool.description, tool.parameters] for tool in request.tools],
        "grounding": request.grounding and _grounding(request.grounding),
    }
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _message(message: Message, *, blank: bool = False) -> dict[str, Any]:
    return {
        "role": message.role,
        "content": None if blank or message.content is None else normalised(message.content),
        "name": message.name,
        "tool_calls": [[call.id, call.name, call.arguments] for call in message.tool_calls],
        "tool_call_id": message.tool_call_id,
    }


def _grounding(grounding: Grounding) -> dict[str, Any]:
    return {
        "collection": grounding.collection,
        "sources": _set(grounding.sources),
        "categories": _set(grounding.categories),
        "after_ms": grounding.after_ms,
        "before_ms": grounding.before_ms,
        "top_k": grounding.top_k,
    }


def _set(names: Iterable[str]) -> list[str]:
    return sorted(set(names))
