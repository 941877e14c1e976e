"""What came of one question, as the table shows it and the verdict judges it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from daytwo.records import RequestFinished
from deploy.demo.script import MANNERS, Line

Act = Literal["questions", "budget", "outage", "return"]

ANSWERED: Final = ("answered", "answered_in_part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Money in nano-dollars, times in milliseconds as the client sees them."""

    act: Act
    tenant: str
    text: str
    outcome: str
    """As in the result; `lost` where none came."""
    reason: str = ""
    detail: str = ""
    served: str = ""
    """deployment, exact, semantic, coalesced, or empty where nothing was served."""
    deployment: str = ""
    matched: str = ""
    """The question whose cached answer was served."""
    similarity: float = 0.0
    latency_ms: float
    cost_nano: int = 0
    saved_nano: int = 0
    citations: int = 0
    retry_after_ms: int | None = None

    @property
    def is_answered(self) -> bool:
        return self.outcome in ANSWERED

    @property
    def is_cached(self) -> bool:
        return self.served in ("exact", "semantic", "coalesced")

    @property
    def is_grounded(self) -> bool:
        return MANNERS[self.tenant].grounding is not None


def row_of(act: Act, line: Line, result: RequestFinished, latency_ms: float) -> Row:
    match = result.cache_match
    return Row(
        act=act,
        tenant=line.tenant,
        text=line.text,
        outcome=result.outcome,
        reason=result.reason,
        detail=result.detail,
        served=match.kind if match else result.served_by,
        deployment=result.deployment,
        matched=match.question if match else "",
        similarity=match.similarity if match else 0.0,
        latency_ms=latency_ms,
        cost_nano=result.cost_nano,
        saved_nano=result.saved_nano,
        citations=len(result.citations),
        retry_after_ms=result.retry_after_ms,
    )


def lost(act: Act, line: Line, why: str, latency_ms: float) -> Row:
    return Row(act=act, tenant=line.tenant, text=line.text, outcome="lost", detail=why, latency_ms=latency_ms)
