"""Valid records to start from: the example of every topic, and requests and documents that ingest takes in."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from daytwo.codec import encode
from daytwo.records import (
    DocumentSubmitted,
    Grounding,
    Message,
    RequestSubmitted,
    SigningKey,
    TenantConfigured,
    Tool,
    ToolCall,
)
from daytwo.topics import TOPICS
from schemas.load import HERE

KEY: Final = SigningKey(id="k1", secret="a secret of the tenant")
TENANTS: Final = (
    TenantConfigured(tenant="open"),
    TenantConfigured(tenant="signed", keys=(KEY,)),
    TenantConfigured(tenant="off", active=False),
)

_USER: Final = Message(role="user", content="What is a topic?")
_CALLED: Final = (
    _USER,
    Message(role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments='{"a": [1, {"b": null}]}'),)),
    Message(role="tool", content="\u00e4\u4e16\U0001f30d", tool_call_id="c"),
)
_TOOL: Final = Tool(name="f", description="Finds", parameters='{"type": "object", "properties": {"a": {"type": "array"}}}')

REQUESTS: Final = (
    RequestSubmitted(request_id="r-1", tenant="open", messages=(_USER,)),
    RequestSubmitted(request_id="r-2", tenant="signed", session="s", user="u", messages=(_USER,), metadata={"a": "b"}),
    RequestSubmitted(request_id="r-3", tenant="open", messages=_CALLED, tools=(_TOOL,), temperature=0.7, max_tokens=9),
    RequestSubmitted(
        request_id="r-4",
        tenant="open",
        workflow="w",
        step="1",
        agent="a",
        messages=(Message(role="system", content="Be short."), _USER),
        grounding=Grounding(collection="kb", top_k=3, sources=("a.md",), categories=("c",), after_ms=1, before_ms=2),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
)
DOCUMENTS: Final = (
    DocumentSubmitted(document_id="d-1", tenant="open", collection="kb", source="a.txt", content=b"One line.\n\nAnother one."),
    DocumentSubmitted(
        document_id="d-2",
        tenant="signed",
        collection="kb",
        source="a/b.md",
        content=b"# A\n\ntext\n\n## B\n\n- x\n- y\n\n```\ncode\n```\n",
        media_type="text/markdown",
        title="A",
        category="c",
        published_at_ms=1_700_000_000_000,
        metadata={"a": "b"},
    ),
    DocumentSubmitted(
        document_id="d-3",
        tenant="open",
        collection="kb",
        source="c.html",
        content=b"<html><title>T</title><body><h1>A</h1><p>x<table><tr><td>1</table><ul><li>y</ul></body></html>",
        media_type="text/html",
    ),
    DocumentSubmitted(document_id="d-4", tenant="open", collection="kb", source="a.txt", content=None),
)


@cache
def examples() -> dict[str, tuple[bytes, ...]]:
    """By topic, the bytes of its examples in schemas/examples."""
    found: dict[str, tuple[bytes, ...]] = {}
    for topic in TOPICS:
        paths = sorted((HERE / "examples" / topic.name).glob("*.json"))
        found[topic.name] = tuple(encode(topic, topic.record.from_avro(_bytes(json.loads(path.read_text())))) for path in paths)
    return found


def _bytes(value: Any) -> Any:
    """Examples are JSON; {"$bytes": text} stands for bytes."""
    if isinstance(value, dict):
        return value["$bytes"].encode() if value.keys() == {"$bytes"} else {key: _bytes(item) for key, item in value.items()}
    return [_bytes(item) for item in value] if isinstance(value, list) else value
