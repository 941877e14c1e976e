"""alerter: tells people what they should see about money, once, and when it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from daytwo.broker import Sender, outgoing
from daytwo.clock import Clock
from daytwo.errors import RetryableError
from daytwo.flow import Change, Context, Input, Output, Service, Table
from daytwo.money.history import History, period_end
from daytwo.money.trends import week_so_far
from daytwo.money.weeks import DAY_MS, start_of
from daytwo.records import AlertRaised, RequestFinished, TenantConfigured, UsageWindowed
from daytwo.topics import REQUEST_FINISHED, TENANT_CONFIGURED, USAGE_WINDOWED
from services.alerter import rules
from services.alerter.limits import Limit, limits_of
from services.alerter.metrics import AlertsCollector
from services.alerter.raised import Raised
from services.alerter.spending import Spending, place_of

log = logging.getLogger(__name__)

SWEEP_S: Final = 2.0
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
            Input(topic=REQUEST_FINISHED, handle=alerter.ended, ending=lambda _record, _context, _error: (), patience_ms=200),
            Input(topic=USAGE_WINDOWED, handle=alerter.windowed, ending=lambda _record, _context, _error: (), patience_ms=200),
        ),
        followers=(alerter.tenants, alerter.raised, Windowed(alerter.history)),
        start=alerter.start,
        stop=alerter.stop,
        views={"/alerts": alerter.view},
        collectors=(AlertsCollector(alerter.raised, alerter.shares),),
    )


class Alerter:
    """The handlers, what they follow, and a look every two seconds at what is over."""

    def __init__(self, clock: Clock, sender: Sender) -> None:
        self.tenants: Table[TenantConfigured] = Table(TENANT_CONFIGURED)
        self.raised = Raised()
        self.history = History()
        self._spending = Spending(self.history)
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

    async def ended(self, result: RequestFinished, context: Context) -> Sequence[Output]:
        """Parts of caps and speeds, as each request ends; each request counts once, by its first result."""
        tenant = self.tenants.get(result.tenant)
        if tenant is None or not result.fingerprint or result.submission or self._is_repeat(result):
            return []
        now_ms = min(result.finished_at_ms, self._clock.now_ms())
        return self.raised.news(self._of_result(result, tenant, now_ms))

    async def windowed(self, record: UsageWindowed, context: Context) -> Sequence[Output]:
        """The week of a tenant's model, as each day closes."""
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

    def _is_repeat(self, result: RequestFinished) -> bool:
        key = (result.tenant, result.request_id)
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False

    def _of_result(self, result: RequestFinished, tenant: TenantConfigured, now_ms: int) -> Iterator[AlertRaised]:
        subjects = {name: getattr(result, name) for name in ("user", "workflow", "session", "agent")}
        limits = list(limits_of(tenant, {"tenant": "", **subjects}))
        for place in {place_of(limit) for limit in limits}:
            self._spending.add_minute(place, now_ms, result.cost_nano)
        for limit in limits:
            self._spending.add(limit, result)
            ends_ms = period_end(limit.period, now_ms)
            if ends_ms is not None and ends_ms <= self._clock.now_ms():
                continue  # read late: its window is over, and so would the alert be
            used = self._spending.used(limit, now_ms)
            yield from rules.cap_alerts(limit, used, now_ms, request_id=result.request_id)
            minute_nano, requests = self._spending.last_minute(place_of(limit), now_ms)
            if rules.is_runaway(limit, used, minute_nano, requests, now_ms):
                yield rules.runaway_alert(limit, used, minute_nano, now_ms, result.request_id)
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
