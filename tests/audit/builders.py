"""Logs of requests that went well, to be spoilt by tests."""

from __future__ import annotations

from typing import Any

from daytwo.audit import Place, View
from daytwo.records import (
    Admission,
    AttemptFinished,
    AttemptStarted,
    AttemptSummary,
    Cap,
    Message,
    RequestAccepted,
    RequestAdmitted,
    RequestFinished,
    RequestSubmitted,
    TenantConfigured,
    Usage,
)

NOON_MS = 1_772_366_400_000  # 2026-03-01T12:00Z
MINUTE_MS = 60_000
FINGERPRINT = "ab" * 16


class Log:
    """A log of records in the order in which they are written, a millisecond apart; and the view of it."""

    def __init__(self) -> None:
        self.now_ms = NOON_MS
        self.records: list[tuple[Any, int]] = []

    def write(self, *records: Any) -> None:
        for record in records:
            self.now_ms += 1
            self.records.append((record, self.now_ms))

    def view(self, *, whole: bool = True) -> View:
        view = View(whole=whole)
        order = [TenantConfigured, RequestSubmitted, RequestAccepted, RequestAdmitted, AttemptStarted, AttemptFinished]
        rank = {kind: place for place, kind in enumerate(order)}
        by_topic = sorted(enumerate(self.records), key=lambda item: (rank.get(type(item[1][0]), len(order)), item[0]))
        for offset, (record, at_ms) in by_topic:
            view.take(record, Place(at_ms, 0, offset))
        return view

    def answered(self, request_id: str, *, tenant: str = "acme", reserved: int = 90, cost: int = 30, **fields: Any) -> None:
        """A request from end to end, with one attempt."""
        self.write(
            accepted(request_id, tenant, **fields),
            admitted(request_id, tenant, reserved),
            started(request_id, tenant),
            ended(request_id, tenant, cost=cost),
            finished(request_id, tenant, cost=cost),
        )


def submitted(request_id: str, tenant: str = "acme", **fields: Any) -> RequestSubmitted:
    defaults: dict[str, Any] = {"messages": (Message(role="user", content="What is a topic?"),), "deadline_ms": NOON_MS + MINUTE_MS}
    return RequestSubmitted(request_id=request_id, tenant=tenant, **{**defaults, **fields})


def accepted(request_id: str, tenant: str = "acme", fingerprint: str = FINGERPRINT, **fields: Any) -> RequestAccepted:
    return RequestAccepted(request=submitted(request_id, tenant, **fields), fingerprint=fingerprint, accepted_at_ms=NOON_MS)


def admitted(request_id: str, tenant: str = "acme", reserved: int = 90, fingerprint: str = FINGERPRINT) -> RequestAdmitted:
    admission = Admission(cache_only=False, reserved_nano=reserved, input_tokens_bound=1, attempts_bound=3)
    return RequestAdmitted(request=submitted(request_id, tenant), fingerprint=fingerprint, admission=admission)


def started(request_id: str, tenant: str = "acme", number: int = 1, bound: int = 30) -> AttemptStarted:
    return AttemptStarted(
        attempt_id=attempt_id(request_id, number),
        request_id=request_id,
        tenant=tenant,
        session="",
        number=number,
        deployment="d",
        model="m",
        bound_nano=bound,
        started_at_ms=NOON_MS,
    )


def ended(request_id: str, tenant: str = "acme", number: int = 1, *, cost: int = 30, **fields: Any) -> AttemptFinished:
    defaults: dict[str, Any] = {
        "outcome": "succeeded",
        "status": 200,
        "message": Message(role="assistant", content="A log."),
        "usage": Usage(input_tokens=1, output_tokens=1),
    }
    return AttemptFinished(
        attempt_id=attempt_id(request_id, number),
        request_id=request_id,
        tenant=tenant,
        session="",
        number=number,
        deployment="d",
        model="m",
        cost_nano=cost,
        latency_ms=1.0,
        ended_at_ms=NOON_MS,
        **{**defaults, **fields},
    )


def finished(request_id: str, tenant: str = "acme", *, cost: int = 30, fingerprint: str = FINGERPRINT, **fields: Any) -> RequestFinished:
    summary = AttemptSummary(attempt_id=attempt_id(request_id, 1), deployment="d", outcome="succeeded", latency_ms=1.0, cost_nano=cost)
    defaults: dict[str, Any] = {"outcome": "answered", "reason": "ok", "attempts": (summary,) if cost else ()}
    return RequestFinished(
        request_id=request_id,
        tenant=tenant,
        fingerprint=fingerprint,
        cost_nano=cost,
        finished_at_ms=NOON_MS,
        **{**defaults, **fields},
    )


def attempt_id(request_id: str, number: int) -> str:
    return f"{request_id}#{number}"


def tenant(name: str = "acme", *caps: Cap) -> TenantConfigured:
    return TenantConfigured(tenant=name, caps=caps)


def cap(limit: int, period: str = "day", scope: str = "tenant") -> Cap:
    return Cap(scope=scope, period=period, limit_nano=limit)


def ledger(**tenants: dict[str, Any]) -> dict[str, Any]:
    return {"tenants": tenants}


def account(settled: int, reserved: int = 0, open_ids: tuple[str, ...] = (), **windows: tuple[int, int]) -> dict[str, Any]:
    """`windows` are (settled, reserved) by period."""
    names = {"hour": "2026-03-01T12", "day": "2026-03-01", "month": "2026-03"}
    return {
        "total": {"settled_nano": settled, "reserved_nano": reserved},
        "windows": [
            {"scope": "tenant", "subject": "", "period": p, "window": names[p], "settled_nano": s, "reserved_nano": r, "limit_nano": None}
            for p, (s, r) in windows.items()
        ],
        "open": len(open_ids),
        "open_ids": list(open_ids),
    }
