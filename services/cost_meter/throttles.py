"""Who is throttled until when, as usage-windows publishes it. The gate asks once a request; a lost deletion harms nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from daytwo.caps import most_specific
from daytwo.flow import Change, Table
from daytwo.records import LimitHit, TenantConfigured, ThrottlePublished
from daytwo.topics import THROTTLE_PUBLISHED

Subject = tuple[str, str, str]
"""Tenant, scope, subject."""


_KINDS: Final = {"requests": "request_rate", "tokens": "token_rate"}
NOBODY: Final[Mapping[str, ThrottlePublished]] = {}


class Throttles(Table[ThrottlePublished]):
    """Follows throttle-published, without patience: what passes meanwhile passes the limit."""

    patience_ms = 0

    def __init__(self) -> None:
        super().__init__(THROTTLE_PUBLISHED)
        self._by_subject: dict[Subject, dict[str, ThrottlePublished]] = {}

    async def apply(self, changes: Sequence[Change[ThrottlePublished]]) -> None:
        """Costs as much as there are changes, however many are throttled."""
        for change in changes:
            self._remove(change.key)
        await super().apply(changes)
        for change in changes:
            row = self.rows.get(change.key)
            if row is not None:
                self._by_subject.setdefault(_subject(row), {})[change.key] = row

    def _remove(self, key: str) -> None:
        row = self.rows.get(key)
        if row is None:
            return
        of_subject = self._by_subject.get(_subject(row), {})
        of_subject.pop(key, None)
        if not of_subject:
            self._by_subject.pop(_subject(row), None)

    def hit(self, tenant: str, subjects: Mapping[str, str], now_ms: int) -> LimitHit | None:
        """The throttle of a tenant's request that lasts longest, of any of its subjects (by scope; empty: none); None: it may pass."""
        if not self._by_subject:
            return None
        rows = [
            row
            for scope, subject in subjects.items()
            if subject or scope == "tenant"
            for row in self._by_subject.get((tenant, scope, subject), NOBODY).values()
            if row.until_ms > now_ms
        ]
        return _limit_hit(max(rows, key=lambda row: row.until_ms)) if rows else None


def closed(tenant: TenantConfigured, subjects: Mapping[str, str]) -> LimitHit | None:
    """A rate limit of nothing: none passes, not even a first one that somebody would have to count."""
    for rate in tenant.rate_limits:
        subject = subjects.get(rate.scope, "")
        if rate.limit > 0 or rate.kind not in _KINDS or not (subject or rate.scope == "tenant"):
            continue
        same = [one for one in tenant.rate_limits if (one.scope, one.kind, one.period) == (rate.scope, rate.kind, rate.period)]
        if most_specific([(one.subject, one.limit) for one in same], subject) == 0:
            kind = _KINDS[rate.kind]
            return LimitHit(scope=rate.scope, subject=subject, kind=kind, period=rate.period, limit=0, used=0, wanted=1)
    return None


def _subject(row: ThrottlePublished) -> Subject:
    return row.tenant, row.scope, row.subject


def _limit_hit(row: ThrottlePublished) -> LimitHit:
    return LimitHit(
        scope=row.scope,
        subject=row.subject,
        kind=_KINDS[row.kind],
        period=row.period,
        limit=row.limit,
        used=row.used,
        wanted=1 if row.kind == "requests" else 0,
        retry_at_ms=row.until_ms,
    )
