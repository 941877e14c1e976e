"""What was decided about a request, and how the ledger remembers it: a repeat gets the same decision, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from daytwo.errors import TerminalError
from daytwo.records import Admission, LimitHit
from services.cost_meter.budget import HOUR_MS, OPEN, Window, dollars, spans


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Not for want of room: no such model, no price and the like."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLimit:
    """A cap had no room, or a throttle is on; nothing was reserved."""

    hit: LimitHit
    then: tuple[str, ...]
    """What the tenant lets be tried then, as TenantConfigured.at_limit."""

    @property
    def reason(self) -> str:
        return "budget_exceeded" if self.hit.kind in ("money", "tokens") else "rate_limited"

    @property
    def detail(self) -> str:
        hit = self.hit
        whose = f"{hit.scope} {hit.subject}" if hit.subject else hit.scope
        if hit.kind in ("request_rate", "token_rate"):
            return f"{_UNITS[hit.kind]} of the {whose} per {hit.period}: limit {hit.limit}, used {hit.used}"
        per = f" per {hit.period}" if hit.period else ""
        limit, used, wanted = (_amount(hit.kind, number) for number in (hit.limit, hit.used, hit.wanted))
        return f"cap of the {whose}{per}: limit {limit}, used {used}, worst case of this request {wanted}"


_UNITS: Final = {"tokens": "tokens", "concurrency": "open requests", "request_rate": "requests", "token_rate": "tokens"}


def _amount(kind: str, number: int) -> str:
    return f"${dollars(number)}" if kind == "money" else f"{number} {_UNITS[kind]}"


Decision = Admission | Refusal | AtLimit


class IdReusedError(TerminalError):
    """The id was used before with other content. `first_closed`: whether the first request has its result."""

    def __init__(self, *, first_closed: bool) -> None:
        state = "has ended" if first_closed else "is under way"
        super().__init__("id_reused", f"the first request of this id, with other content, {state}")
        self.first_closed = first_closed


def hit_of(window: Window, kind: str, *, used: int, wanted: int) -> LimitHit:
    """That `window` had no room for `wanted`: nano-dollars, tokens or one request, as `kind` says."""
    limit = {"money": window.limit_nano, "tokens": window.limit_tokens, "concurrency": window.limit_requests}[kind] or 0
    return LimitHit(
        scope=window.scope,
        subject=window.subject,
        kind=kind,
        period="" if kind == "concurrency" else window.period,
        limit=limit,
        used=used,
        wanted=wanted,
        # Never, where it would not fit into an empty window either.
        retry_at_ms=None if wanted > limit else window.renews_at_ms,
    )


def window_of(path: str, at_ms: int, kind: str, limit: int) -> Window:
    """The counter of a path, in which a request of this moment was to be booked, with its limit of one kind."""
    scope, rest = path.split("/", 1)
    subject, period, name = rest.rsplit("/", 2)
    renews_at_ms = None if period == OPEN else spans(at_ms // HOUR_MS)[period][1]
    window = Window(scope, subject, period, name, renews_at_ms)
    if kind == "money":
        return window._replace(limit_nano=limit)
    return window._replace(limit_tokens=limit) if kind == "tokens" else window._replace(limit_requests=limit)


_UNSAID: Final = Admission(cache_only=False, reserved_nano=0, input_tokens_bound=0, attempts_bound=0).to_avro()
"""What an older daytwo did not say in the decisions that the ledger still remembers."""


def encode_proposal(decision: Decision) -> bytes:
    """For the ledger, in case every cap has room."""
    # Not as to_avro has it, where what may be null says its type beside it.
    return orjson.dumps({_KINDS[type(decision)]: decision})


_KINDS: Final = {Admission: "admitted", Refusal: "refused", AtLimit: "at_limit"}


def decode(data: bytes) -> Decision:
    """A remembered decision."""
    ((kind, fields),) = orjson.loads(data).items()
    if kind == "admitted":
        return Admission.from_avro(_UNSAID | fields)
    return Refusal(**fields) if kind == "refused" else _at_limit(fields)


def _at_limit(fields: Mapping[str, Any]) -> AtLimit:
    return AtLimit(hit=LimitHit(**fields["hit"]), then=tuple(fields["then"]))
