"""What was decided about a request, and how the ledger remembers it: a repeat gets the same decision, byte for byte."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import orjson

from daytwo.errors import TerminalError
from daytwo.records import Admission
from services.cost_meter.budget import Window, dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Not for want of money: no such model, no price and the like."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverCap:
    """The reservation would not have fitted under a cap; nothing was reserved."""

    scope: str
    subject: str
    period: str
    limit_nano: int
    used_nano: int
    """Settled and reserved, at that moment."""
    worst_nano: int
    """What would have been reserved."""
    renews_at_ms: int | None
    cache_only: bool
    """What the tenant wanted then: True: a cached answer may be given; False: refuse."""

    @property
    def retry_at_ms(self) -> int | None:
        """When it could fit, epoch milliseconds; None: never, as the worst case is above the cap itself."""
        return None if self.worst_nano > self.limit_nano else self.renews_at_ms

    @property
    def detail(self) -> str:
        whose = f"{self.scope} {self.subject}" if self.subject else self.scope
        return (
            f"cap of the {whose} per {self.period}: limit ${dollars(self.limit_nano)}, used ${dollars(self.used_nano)}, "
            f"worst case of this request ${dollars(self.worst_nano)}"
        )


Decision = Admission | Refusal | OverCap


class IdReusedError(TerminalError):
    """The id was used before with other content. `first_closed`: whether the first request has its result."""

    def __init__(self, *, first_closed: bool) -> None:
        state = "has ended" if first_closed else "is under way"
        super().__init__("id_reused", f"the first request of this id, with other content, {state}")
        self.first_closed = first_closed


def encode_proposal(decision: Admission | Refusal) -> bytes:
    """For the ledger, in case every cap has room."""
    if isinstance(decision, Admission):
        return orjson.dumps({"admitted": decision.to_avro()})
    return orjson.dumps({"refused": asdict(decision)})


def encode_over(window: Window, limit_nano: int, worst_nano: int, *, cache_only: bool) -> bytes:
    """For the ledger, in case this window has no room; what is used, only the ledger knows."""
    over = {
        "scope": window.scope,
        "subject": window.subject,
        "period": window.period,
        "limit_nano": limit_nano,
        "worst_nano": worst_nano,
        "renews_at_ms": window.renews_at_ms,
        "cache_only": cache_only,
    }
    return orjson.dumps({"over": over})


def decode(data: bytes, used_nano: int) -> Decision:
    """A remembered decision. `used_nano` matters where a cap had no room."""
    ((kind, fields),) = orjson.loads(data).items()
    if kind == "admitted":
        return Admission.from_avro(fields)
    return Refusal(**fields) if kind == "refused" else OverCap(used_nano=used_nano, **fields)
