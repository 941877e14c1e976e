"""alerter: tells people what they should see about money, once, and when it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from daytwo.broker import Raw, Sender, outgoing
from daytwo.clock import Clock
from daytwo.codec import decode, decode_until
from daytwo.errors import RetryableError
from daytwo.flow import Change, Input, Output, Service, Table
from daytwo.money.history import History, period_end
from daytwo.money.trends import week_so_far
from daytwo.money.weeks import DAY_MS, start_of
from daytwo.records import AlertRaised, RequestFinished, TenantConfigured, UsageWindowed
from daytwo.results import result_until
from daytwo.topics import REQUEST_FINISHED, TENANT_CONFIGURED, USAGE_WINDOWED
from services.alerter import rules
from services.alerter.limits import Limit, Limits, limits_of
from services.alerter.metrics import AlertsCollector
from services.alerter.raised import Raised
from services.alerter.spending import Ended, Spending, ended_of, place_of

log = logging.getLogger(__name__)

SWEEP_S: Final = 2.0
PATIENCE_MS: Final = 500
REMEMBERED: Final = 200_000
"""Requests whose repeats are known; a repeat comes within minutes."""


class Windowed:
    """Follows usage-windowed from the first record that is kept: the three months that trends and caps look back on."""

    def __init__(self, history: History) -> None:
        self.topic = USAGE_WINDOWED
        self._history = history

    async def apply(self, changes: Sequence[Change[UsageWindowed]]) -> None:
        for change in changes:
            if change.record is not None:
                self._history.take(change.record)


def service(*, clock: Clock, sender: Sender) -> Service:
    """alerter; `sender` is for what no record brings about: the ends of alerts."""
    alerter = Alerter(clock, sender)
    return Service(
        name="alerter",
        inputs=(
            Input(topic=REQUEST_FINISHED, handle_bulk=alerter.ended, ending=_nothing_ends, patience_ms=PATIENCE_MS),
            Input(topic=USAGE_WINDOWED, handle_bulk=alerter.windowed, ending=_nothing_ends, patience_ms=PATIENCE_MS),
        ),
        followers=(alerter.tenants, alerter.raised, Windowed(alerter.history)),
        start=alerter.start,
        stop=alerter.stop,
        views={"/alerts": alerter.view},
        collectors=(AlertsCollector(alerter.raised, alerter.shares),),
    )


def _has_caps(tenant: TenantConfigured | None) -> bool:
    return tenant is not None and bool(tenant.caps or tenant.token_caps)


def _nothing_ends(_record: Any, _context: Any, _error: Any) -> Sequence[Output]:
    return ()


class Alerter:
    """The handlers, what they follow, and a look every two seconds at what is over."""

    def __init__(self, clock: Clock, sender: Sender) -> None:
        self.tenants: Table[TenantConfigured] = Table(TENANT_CONFIGURED)
        self.raised = Raised()
        self.history = History()
        self._spending = Spending(self.history)
        self._limits = Limits()
        self._clock = clock
        self._sender = sender
        self._seen: dict[tuple[str, str], None] = {}
        self._unpriced_ms: dict[str, int] = {}
        """By tenant, when a request was last refused for want of a price."""
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._sender.start()
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweeps(), name="alerter sweeps")

    async def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self._sender.stop()

    async def ended(self, raws: Sequence[Raw]) -> Sequence[Output]:
        """Parts of caps and speeds, as each request ends; each request counts once, by its first result."""
        return [alert for raw in raws for alert in self._of_raw(raw)]

    async def windowed(self, raws: Sequence[Raw]) -> Sequence[Output]:
        """The week of a tenant's model, as each day closes."""
        return [alert for raw in raws for alert in self._of_bucket(decode(USAGE_WINDOWED, raw.value or b""))]

    def _of_raw(self, raw: Raw) -> list[AlertRaised]:
        # Of a tenant without caps only what is refused matters: less is read.
        capped = _has_caps(self.tenants.get((raw.key or b"").partition(b"/")[0].decode(errors="replace")))
        row = result_until(raw.value or b"", "cost_nano" if capped else "outcome")
        tenant = self.tenants.get(row["tenant"])
        if tenant is None or not row["fingerprint"] or row["submission"] or self._is_repeat(row["tenant"], row["request_id"]):
            return []
        # What is refused may say at which limit; that stands at the end of a record.
        refused = decode(REQUEST_FINISHED, raw.value or b"") if row["outcome"] == "refused" else None
        if refused is None and not _has_caps(tenant):
            return []
        if not capped:
            row = decode_until(REQUEST_FINISHED, raw.value or b"", "cost_nano")
        return self.raised.news(self._of_result(ended_of(row, raw.timestamp_ms), tenant, refused))

    def _of_bucket(self, record: UsageWindowed) -> list[AlertRaised]:
        self.history.take(record)
        now_ms = self._clock.now_ms()
        yesterday = start_of("day", now_ms) - DAY_MS
        if record.width != "day" or record.scope != "tenant" or not record.closed or record.start_ms != yesterday:
            return []
        trend = week_so_far(self.history.of((record.tenant, "tenant", ""), record.model), now_ms)
        found = rules.anomaly_alert(record.tenant, record.model, trend, now_ms)
        if trend.anomaly:
            return self.raised.news(iter((found,)))
        known = self.raised.rows.get(found.alert_id)
        return [] if known is None else [self.raised.resolve(known, now_ms)]

    async def view(self) -> Any:
        return {"alerts": [asdict(alert) for alert in (*self.raised.rows.values(), *self.raised.others.values())]}

    def shares(self) -> Iterator[tuple[str, str, str, float]]:
        """Tenant, period, unit and the used part of each cap of a tenant."""
        now_ms = self._clock.now_ms()
        for tenant in self.tenants.rows.values():
            for limit in limits_of(tenant, {"tenant": ""}):
                yield limit.tenant, limit.period, limit.unit, self._spending.used(limit, now_ms) / limit.limit

    def sweep(self, now_ms: int) -> list[AlertRaised]:
        """The ends of alerts that are over."""
        self._spending.forget(now_ms)
        return [self.raised.resolve(alert, now_ms) for alert in list(self.raised.rows.values()) if self._is_over(alert, now_ms)]

    def _is_repeat(self, tenant: str, request_id: str) -> bool:
        key = (tenant, request_id)
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False

    def _of_result(self, result: Ended, tenant: TenantConfigured, refused: RequestFinished | None) -> Iterator[AlertRaised]:
        now_ms = min(result.at_ms, self._clock.now_ms())
        limits = self._limits.of(tenant, result.subjects)
        for place in {place_of(limit) for limit in limits}:
            self._spending.add_minute(place, now_ms, result.nano)
        for limit in limits:
            self._spending.add(limit, result)
            ends_ms = period_end(limit.period, now_ms)
            if ends_ms is None or ends_ms > self._clock.now_ms():  # else read late: its window is over, and so would the alert be
                yield from self._of_limit(limit, result.request_id, now_ms)
        if refused is not None:
            yield from self._of_refused(refused, now_ms)

    def _of_limit(self, limit: Limit, request_id: str, now_ms: int) -> Iterator[AlertRaised]:
        used = self._spending.used(limit, now_ms)
        yield from rules.cap_alerts(limit, used, now_ms, request_id=request_id)
        minute_nano, requests = self._spending.last_minute(place_of(limit), now_ms)
        if rules.is_runaway(limit, used, minute_nano, requests, now_ms):
            yield rules.runaway_alert(limit, used, minute_nano, now_ms, request_id)

    def _of_refused(self, result: RequestFinished, now_ms: int) -> Iterator[AlertRaised]:
        if result.reason == "unpriced_model":
            self._unpriced_ms[result.tenant] = now_ms
            yield rules.unpriced_alert(result.tenant, result.request_id, result.detail, now_ms)
        if result.limit_hit is not None and (hit := rules.limit_hit(result.tenant, result.limit_hit)) is not None:
            yield from rules.cap_alerts(hit, result.limit_hit.used, now_ms, request_id=result.request_id, full=True)

    def _is_over(self, alert: AlertRaised, now_ms: int) -> bool:
        if alert.kind == "anomaly":
            return alert.tenant not in self.tenants.rows
        if alert.kind == "unpriced_model":
            return now_ms - self._unpriced_ms.get(alert.tenant, alert.raised_at_ms) >= rules.UNPRICED_MS
        limit = self._limit(alert)
        if limit is None or rules.window_over(alert, now_ms):
            return True
        used = self._spending.used(limit, now_ms)
        if alert.kind == "cap_used":
            return limit.limit > alert.limit and used * 100 < limit.limit * alert.threshold_percent
        minute_nano, requests = self._spending.last_minute(place_of(limit), now_ms)
        return not rules.is_runaway(limit, used, minute_nano, requests, now_ms)

    def _limit(self, alert: AlertRaised) -> Limit | None:
        """The cap as it is now; None: there is none any more."""
        tenant = self.tenants.get(alert.tenant)
        if tenant is None:
            return None
        limits = limits_of(tenant, {alert.scope: alert.subject})
        return next((limit for limit in limits if (limit.period, limit.unit) == (alert.period, alert.unit)), None)

    async def _sweeps(self) -> None:
        pending: list[AlertRaised] = []
        while True:
            await self._clock.sleep(SWEEP_S)
            pending += self.sweep(self._clock.now_ms())
            try:
                if pending:
                    await self._sender.send([outgoing(alert) for alert in pending])
                    pending = []
            except RetryableError as error:
                log.warning("ends of alerts wait: %s", error)
