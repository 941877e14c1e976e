from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from daytwo.codec import decode, encode
from daytwo.records import Grounding, Message, RequestSubmitted, Tool, ToolCall
from daytwo.topics import REQUEST_SUBMITTED
from services.ingest.fingerprint import fingerprint_of
from tests.ingest.builders import request

FULL = request(
    messages=(Message(role="assistant", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),)), Message(role="user", content="é")),
    temperature=1.0,
    tools=(Tool(name="f"),),
    grounding=Grounding(collection="kb", sources=("a",)),
    metadata={"b": "1", "a": "2"},
)
OTHER: dict[str, Any] = {
    "request_id": "r-2", "tenant": "other", "user": "u", "session": "s", "workflow": "w", "step": "1", "agent": "a",
    "messages": (Message(role="user", content="é"),), "model": "m", "max_tokens": 1, "temperature": None, "tools": (),
    "grounding": Grounding(collection="kb", sources=("b",)), "cache": "off", "lane": "batch", "metadata": {"b": "1"},
}  # fmt: skip


def test_the_fingerprints_of_known_requests_stay_what_they_are() -> None:
    """A request redelivered across an upgrade must not look like a reused id."""
    assert fingerprint_of(request()) == "254feaa33c57fc8ce11d7f6951b3efb5"
    assert fingerprint_of(FULL) == "4b85add729b96fa061ff811745658a87"


@pytest.mark.parametrize("field", OTHER)
def test_other_content_has_another_fingerprint(field: str) -> None:
    assert fingerprint_of(replace(FULL, **{field: OTHER[field]})) != fingerprint_of(FULL)


def test_every_field_of_a_request_is_content_or_known_not_to_be() -> None:
    assert {field.name for field in fields(RequestSubmitted)} == OTHER.keys() | {"deadline_ms", "traceparent"}


def test_deadline_and_trace_are_not_content() -> None:
    assert fingerprint_of(replace(FULL, deadline_ms=5, traceparent="x")) == fingerprint_of(FULL)


def test_the_order_of_labels_is_not_content() -> None:
    assert fingerprint_of(replace(FULL, metadata={"a": "2", "b": "1"})) == fingerprint_of(FULL)


def test_a_request_read_from_the_wire_has_the_fingerprint_it_was_written_with() -> None:
    assert fingerprint_of(decode(REQUEST_SUBMITTED, encode(REQUEST_SUBMITTED, FULL))) == fingerprint_of(FULL)
