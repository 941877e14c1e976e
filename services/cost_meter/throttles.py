"""Who is throttled until when, as usage-windows publishes it. The gate asks once a request; a lost deletion harms nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daytwo.flow import Change, Table
from daytwo.records import LimitHit, ThrottlePublished
from daytwo.topics import THROTTLE_PUBLISHED

Subject = tuple[str, str, str]
"""Tenant, scope, subject."""


class Throttles(Table[ThrottlePublished]):
    """Follows throttle-published."""

    def __init__(self) -> None:
        super().__init__(THROTTLE_PUBLISHED)
        self._by_subject: Mapping[Subject, Sequence[ThrottlePublished]] = {}

    async def apply(self, changes: Sequence[Change[ThrottlePublished]]) -> None:
        await super().apply(changes)
        by_subject: dict[Subject, list[ThrottlePublished]] = {}
        for row in self.rows.values():
            by_subject.setdefault((row.tenant, row.scope, row.subject), []).append(row)
        self._by_subject = by_subject

    def hit(self, tenant: str, subjects: Mapping[str, str], now_ms: int) -> LimitHit | None:
        """The throttle of a tenant's request that lasts longest, of any of its subjects (by scope; empty: none); None: it may pass."""
        if not self._by_subject:
            return None
        rows = [
            row
            for scope, subject in subjects.items()
            if subject or scope == "tenant"
            for row in self._by_subject.get((tenant, scope, subject), ())
            if row.until_ms > now_ms
        ]
        return _limit_hit(max(rows, key=lambda row: row.until_ms)) if rows else None


def _limit_hit(row: ThrottlePublished) -> LimitHit:
    return LimitHit(
        scope=row.scope,
        subject=row.subject,
        kind="request_rate" if row.kind == "requests" else "token_rate",
        period=row.period,
        limit=row.limit,
        used=row.used,
        wanted=1 if row.kind == "requests" else 0,
        retry_at_ms=row.until_ms,
    )
