"""Records of the bare floor: of the size that the road's records have, made without doing anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from functools import cache
from typing import Any, Final

from daytwo.records import Admission, AttemptSummary, Message, Quote, StepTime, Usage, Vector
from daytwo.topic import Topic
from daytwo.topics import (
    REQUEST_ACCEPTED,
    REQUEST_ADMITTED,
    REQUEST_EMBEDDED,
    REQUEST_FINISHED,
    REQUEST_GROUNDED,
    REQUEST_MISSED,
    REQUEST_SUBMITTED,
)

ROAD: Final[tuple[Topic[Any], ...]] = (
    REQUEST_SUBMITTED,
    REQUEST_ACCEPTED,
    REQUEST_ADMITTED,
    REQUEST_EMBEDDED,
    REQUEST_MISSED,
    REQUEST_GROUNDED,
    REQUEST_FINISHED,
)
STEPS: Final = ("ingest", "cost-meter", "embedder", "cache", "retriever", "inference-router")
FINGERPRINT: Final = "0123456789abcdef" * 2


def next_record(topic: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the next topic of the road, for what was read from the one before. Both as Avro values."""
    if topic == REQUEST_ACCEPTED.name:
        return {"request": value, **_fields(topic)}
    request = value["request"]
    if topic != REQUEST_FINISHED.name:
        return {"request": request, **_fields(topic)}
    copied = ("request_id", "tenant", "user", "session", "workflow", "step", "agent", "metadata", "traceparent")
    return {**{name: request[name] for name in copied}, **_fields(topic)}


@cache
def _fields(topic: str) -> dict[str, Any]:
    """What a record has beside its request."""
    hop = [record.name for record in ROAD].index(topic)
    fields = {
        "fingerprint": FINGERPRINT,
        "accepted_at_ms": 1_800_000_000_000,
        "admission": _admission(),
        "question": FINGERPRINT,
        "vector": Vector(model="wordllama-256", version="0", dimension=256, values=bytes(1024)).to_avro(),
        "passages": [],
        "steps": [StepTime(step=step, queued_ms=0.0, executing_ms=0.0).to_avro() for step in STEPS[:hop]],
        **(_result() if topic == REQUEST_FINISHED.name else {}),
    }
    names = {field.name for field in fields_of(ROAD[hop].record)}
    return {name: value for name, value in fields.items() if name in names}


def _admission() -> dict[str, Any]:
    quote = Quote(
        deployment="bench",
        input_nano_per_mtok=150_000_000,
        cached_input_nano_per_mtok=75_000_000,
        output_nano_per_mtok=600_000_000,
        source="daytwo.yaml",
    )
    admission = Admission(cache_only=False, reserved_nano=300_000, input_tokens_bound=700, attempts_bound=3, quotes=(quote,))
    return admission.to_avro()


def _result() -> dict[str, Any]:
    identity = "00000000-0000-5000-8000-000000000000"
    attempt = AttemptSummary(attempt_id=identity, deployment="bench", outcome="succeeded", latency_ms=0.0, cost_nano=1)
    return {
        "outcome": "answered",
        "reason": "ok",
        "detail": "",
        "message": Message(role="assistant", content="answer 0123456789abcdef: " + "some text that took time " * 4).to_avro(),
        "finish_reason": "stop",
        "citations": [],
        "usage": Usage(input_tokens=60, output_tokens=16).to_avro(),
        "cost_nano": 1,
        "saved_nano": 0,
        "served_by": "deployment",
        "deployment": "bench",
        "model": "mock",
        "cache_match": None,
        "attempts": [attempt.to_avro()],
        "retry_after_ms": None,
        "finished_at_ms": 1_800_000_000_000,
    }
