"""What tells a repeated request from another one under the same id."""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, fields
from operator import attrgetter
from typing import Any, Final

import orjson

from daytwo.records import Grounding, Message, RequestSubmitted, Tool, ToolCall

# A client that tries again may set a new deadline and runs in another trace; the request is the same.
_NOT_CONTENT: Final = frozenset({"deadline_ms", "traceparent"})


def fingerprint_of(request: RequestSubmitted) -> str:
    """First 32 hex digits of SHA-256 over the content, as JSON with sorted keys and without fields that have their default.

    Defaults are left out so that a field a later schema adds changes no fingerprint.
    """
    content = {name: value for name, value in _said(request).items() if name not in _NOT_CONTENT}
    canonical = orjson.dumps(content, default=_said, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)
    return hashlib.sha256(canonical).hexdigest()[:32]


def _plan(record: type[Any]) -> list[tuple[str, attrgetter[Any], Any]]:
    """Name, getter and default of each field."""
    return [
        (field.name, attrgetter(field.name), field.default if field.default_factory is MISSING else field.default_factory())
        for field in fields(record)
    ]


_PLANS: Final = {record: _plan(record) for record in (RequestSubmitted, Message, ToolCall, Tool, Grounding)}


def _said(record: Any) -> dict[str, Any]:
    """The fields of a record that differ from their default."""
    return {name: value for name, get, default in _PLANS[type(record)] if (value := get(record)) != default}
