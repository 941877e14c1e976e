"""Records of the bare floor: of the size that the road's records have, made without doing anything.

The hops are those of a request that asks neither the cache nor for passages, with the journal of its one attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from functools import cache
from typing import Any, Final, NamedTuple

from daytwo.records import Admission, AttemptFinished, AttemptSummary, Message, Quote, StepTime, Usage
from daytwo.topic import Topic
from daytwo.topics import (
    ATTEMPT_FINISHED,
    ATTEMPT_STARTED,
    REQUEST_ACCEPTED,
    REQUEST_ADMITTED,
    REQUEST_FINISHED,
    REQUEST_SUBMITTED,
    TOPIC_NAMED,
)


class Hop(NamedTuple):
    """A process that reads a topic and writes a record to each of these in turn, each acknowledged before the next."""

    source: Topic[Any]
    targets: tuple[Topic[Any], ...]


HOPS: Final = (
    Hop(REQUEST_SUBMITTED, (REQUEST_ACCEPTED,)),
    Hop(REQUEST_ACCEPTED, (REQUEST_ADMITTED,)),
    Hop(REQUEST_ADMITTED, (ATTEMPT_STARTED, ATTEMPT_FINISHED, REQUEST_FINISHED)),
    # Who books, who sums, who watches.
    Hop(REQUEST_FINISHED, ()),
    Hop(REQUEST_FINISHED, ()),
    Hop(REQUEST_ADMITTED, ()),
    Hop(REQUEST_FINISHED, ()),
)
TOPICS: Final = tuple(dict.fromkeys(topic for hop in HOPS for topic in (hop.source, *hop.targets)))
STEPS: Final = ("ingest", "cost-meter", "inference-router")
_STEPS_BEFORE: Final = {target.name: number for number, hop in enumerate(HOPS) for target in hop.targets}
ATTEMPT_ID: Final = "00000000-0000-5000-8000-000000000000"
ANSWER: Final = Message(role="assistant", content="answer 0123456789abcdef: " + "some text that took time " * 4)
FINGERPRINT: Final = "0123456789abcdef" * 2


def next_record(topic: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a topic for what was read from the topic before it. Both as Avro values."""
    if topic == REQUEST_ACCEPTED.name:
        return {"request": value, **_fields(topic)}
    request = value["request"]
    if topic in (ATTEMPT_STARTED.name, ATTEMPT_FINISHED.name):
        return {**{name: request[name] for name in ("request_id", "tenant", "session")}, **_fields(topic)}
    if topic != REQUEST_FINISHED.name:
        return {"request": request, **_fields(topic)}
    copied = ("request_id", "tenant", "user", "session", "workflow", "step", "agent", "metadata", "traceparent")
    return {**{name: request[name] for name in copied}, **_fields(topic)}


@cache
def _fields(topic: str) -> dict[str, Any]:
    """What a record has beside what it takes from its request."""
    fields = {
        "fingerprint": FINGERPRINT,
        "accepted_at_ms": 1_800_000_000_000,
        "admission": _admission(),
        "question": FINGERPRINT,
        "vector": None,
        "passages": [],
        "steps": [StepTime(step=step, queued_ms=0.0, executing_ms=0.0).to_avro() for step in STEPS[: _STEPS_BEFORE[topic] + 1]],
        **(_result() if topic == REQUEST_FINISHED.name else {}),
        **(_attempt() if topic in (ATTEMPT_STARTED.name, ATTEMPT_FINISHED.name) else {}),
    }
    names = {field.name for field in fields_of(TOPIC_NAMED[topic].record)}
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


def _attempt() -> dict[str, Any]:
    finished = AttemptFinished(
        attempt_id=ATTEMPT_ID,
        request_id="",
        tenant="",
        session="",
        number=1,
        deployment="bench",
        model="mock",
        outcome="succeeded",
        reason="ok",
        status=200,
        message=ANSWER,
        finish_reason="stop",
        usage=Usage(input_tokens=60, output_tokens=16),
        cost_nano=1,
        latency_ms=0.0,
        ended_at_ms=1_800_000_000_000,
    )
    started = {"bound_nano": 1, "started_at_ms": 1_800_000_000_000}
    return {name: value for name, value in finished.to_avro().items() if name not in ("request_id", "tenant", "session")} | started


def _result() -> dict[str, Any]:
    attempt = AttemptSummary(attempt_id=ATTEMPT_ID, deployment="bench", outcome="succeeded", latency_ms=0.0, cost_nano=1)
    return {
        "outcome": "answered",
        "reason": "ok",
        "detail": "",
        "message": ANSWER.to_avro(),
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
