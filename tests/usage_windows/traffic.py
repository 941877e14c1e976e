"""Traffic of made-up tenants as it lies on the road, and an independent count of it: no code of usage-windows."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from daytwo.codec import encode
from daytwo.records import Admission, Message, RequestAdmitted, RequestFinished, RequestSubmitted, Usage
from daytwo.topics import REQUEST_ADMITTED, REQUEST_FINISHED

Bucket = tuple[str, str, str, str, str, int]
"""Tenant, scope, subject, model, width, start_ms."""


class Written(NamedTuple):
    """A record as it is to be written."""

    topic: str
    key: bytes
    value: bytes
    timestamp_ms: int
    record: RequestAdmitted | RequestFinished


def traffic(rng: random.Random, tenants: list[str], count: int, first_ms: int, last_ms: int) -> Iterator[Written]:
    """Requests in about the order of time, a minute and a half early or late; a tenth twice, a tenth never accepted."""
    for number in range(count):
        tenant = rng.choice(tenants)
        at_ms = first_ms + (last_ms - first_ms) * number // count + rng.randint(-90_000, 90_000)
        session = f"s-{rng.randrange(50)}"
        request = RequestSubmitted(
            request_id=f"{tenant}-{number}",
            tenant=tenant,
            user=rng.choice(["", "ann", "bob", "eve"]),
            workflow=rng.choice(["", "w-1", "w-2"]),
            agent=rng.choice(["", "planner"]),
            session=session,
            messages=(Message(role="user", content="?"),),
        )
        yield _admitted(request, at_ms)
        for _ in range(2 if rng.random() < 0.1 else 1):
            yield _finished(rng, request, at_ms + 500, accepted=rng.random() > 0.1)


def _admitted(request: RequestSubmitted, at_ms: int) -> Written:
    admission = Admission(cache_only=False, reserved_nano=1, input_tokens_bound=1, attempts_bound=1)
    record = RequestAdmitted(request=request, fingerprint="f", admission=admission)
    key = REQUEST_ADMITTED.key(record).encode()
    return Written(REQUEST_ADMITTED.name, key, encode(REQUEST_ADMITTED, record), at_ms, record)


def _finished(rng: random.Random, request: RequestSubmitted, at_ms: int, *, accepted: bool) -> Written:
    record = RequestFinished(
        request_id=request.request_id,
        tenant=request.tenant,
        user=request.user,
        session=request.session,
        workflow=request.workflow,
        agent=request.agent,
        fingerprint="f" if accepted else "",
        outcome=rng.choice(["answered", "refused"]),
        reason="ok",
        served_by=rng.choice(["deployment", "cache", ""]),
        model=rng.choice(["small", "large", ""]),
        usage=Usage(input_tokens=rng.randrange(1000), output_tokens=rng.randrange(1000)),
        cost_nano=rng.randrange(10**6),
        finished_at_ms=at_ms,
    )
    return Written(REQUEST_FINISHED.name, REQUEST_FINISHED.key(record).encode(), encode(REQUEST_FINISHED, record), at_ms, record)


def counted(log: list[tuple[RequestFinished, int]]) -> Mapping[Bucket, tuple[int, int, int]]:
    """Requests, tokens and nano-dollars of each bucket, from the ends as they lie in each partition with their timestamps."""
    seen: set[tuple[str, str]] = set()
    sums: defaultdict[Bucket, list[int]] = defaultdict(lambda: [0, 0, 0])
    for record, at_ms in log:
        if not record.fingerprint or (record.tenant, record.request_id) in seen:
            continue
        seen.add((record.tenant, record.request_id))
        subjects = {"tenant": "", "user": record.user, "workflow": record.workflow, "agent": record.agent}
        for scope, subject in subjects.items():
            for width, start_ms in _starts(at_ms).items():
                for model in {record.model, ""}:
                    if subject or scope == "tenant":
                        found = sums[record.tenant, scope, subject, model, width, start_ms]
                        found[0] += 1
                        found[1] += record.usage.input_tokens + record.usage.output_tokens
                        found[2] += record.cost_nano
    return {bucket: (found[0], found[1], found[2]) for bucket, found in sums.items()}


def _starts(at_ms: int) -> dict[str, int]:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    minute = moment.replace(second=0, microsecond=0)
    day = minute.replace(hour=0, minute=0)
    starts = {"minute": minute, "hour": minute.replace(minute=0), "day": day, "week": day - timedelta(days=day.weekday())}
    return {width: int(start.timestamp()) * 1000 for width, start in starts.items()}
