"""Days of usage by tenant and model, from usage-windowed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from daytwo.money.trends import Totals
from daytwo.money.weeks import DAY_MS, start_of
from daytwo.records import UsageWindowed

Subject = tuple[str, str, str]
"""Tenant, scope, user (workflow, ...); empty for the tenant."""

KEEP_DAYS: Final = 92
KEEP_HOURS: Final = 2


def newest(known: UsageWindowed | None, found: UsageWindowed) -> UsageWindowed:
    """Of two records of a bucket, in the order of the log, the one that holds. Sums only grow, so it is the one with more requests:
    a process of usage-windows that was taken for dead may write an older sum late.
    """
    return found if known is None or found.requests >= known.requests else known


@dataclass(slots=True)
class History:
    """Of each bucket the newest record; days for three months, hours for two. What is younger than a day is in both."""

    days: dict[tuple[Subject, str], dict[int, Totals]] = field(default_factory=dict)
    """By subject and model (empty: all models), then by beginning of the day in epoch milliseconds."""
    hours: dict[Subject, dict[int, Totals]] = field(default_factory=dict)
    """Of all models together."""
    late: dict[Subject, Totals] = field(default_factory=dict)
    """What came so late that its day is not known any more (start 0); it is in `total` only."""
    _published: dict[tuple[Subject, str], int] = field(default_factory=dict)

    def take(self, record: UsageWindowed) -> None:
        subject = (record.tenant, record.scope, record.subject)
        usage = record.usage
        totals = Totals(record.requests, usage.input_tokens + usage.output_tokens, record.cost_nano)
        if not record.model:
            self._published[subject, record.width] = max(record.published_at_ms, self._published.get((subject, record.width), 0))
        if record.width == "day" and not record.start_ms:
            self.late |= {} if record.model else {subject: max(totals, self.late.get(subject, totals), key=_requests)}
        elif record.width == "day":
            _put(self.days.setdefault((subject, record.model), {}), record.start_ms, totals, KEEP_DAYS)
        elif record.width == "hour" and not record.model:
            _put(self.hours.setdefault(subject, {}), record.start_ms, totals, KEEP_HOURS)

    def known_ms(self, subject: Subject, period: str) -> int:
        """Until when `used` has counted, epoch milliseconds: when the youngest bucket it is made of was published."""
        return self._published.get((subject, "hour" if period == "hour" else "day"), 0)

    def of(self, subject: Subject, model: str = "") -> Mapping[int, Totals]:
        """Its days."""
        return self.days.get((subject, model), {})

    def used(self, subject: Subject, period: str, now_ms: int) -> Totals:
        """What was used in the window of a cap that contains a moment. Of `total`: as far back as the history goes."""
        if period == "hour":
            return self.hours.get(subject, {}).get(start_of("hour", now_ms), Totals())
        since_ms, ends_ms = period_start(period, now_ms), period_end(period, now_ms)
        days = (totals for at, totals in self.of(subject).items() if since_ms <= at and (ends_ms is None or at < ends_ms))
        return sum(days, self.late.get(subject, Totals()) if period == "total" else Totals())


def _put(buckets: dict[int, Totals], start_ms: int, totals: Totals, keep: int) -> None:
    buckets[start_ms] = max(totals, buckets.get(start_ms, totals), key=_requests)
    if len(buckets) > keep:
        del buckets[min(buckets)]


def period_start(period: str, now_ms: int) -> int:
    """Beginning of the window of a cap (hour, day, month, total), epoch milliseconds, UTC."""
    if period == "total":
        return 0
    if period == "month":
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()) * 1000
    return start_of(period, now_ms)


def period_end(period: str, now_ms: int) -> int | None:
    """When the window is over; None: never."""
    if period == "total":
        return None
    if period == "month":
        return period_start("month", period_start("month", now_ms) + 32 * DAY_MS)
    return start_of(period, now_ms) + {"hour": 3_600_000, "day": DAY_MS}[period]


def _requests(totals: Totals) -> int:
    return totals.requests
