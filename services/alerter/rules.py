"""When something about money is an alert, and when it is over. Pure.

cap_used    50, 80, 95 and 100 % of a cap are used; 100 %, too, where a request found no room. Over with the cap's window, or when
            the cap is raised.
spend_rate  what is left of a cap is gone within a quarter of an hour, and before its window is over, if the last minute goes on:
            at such a speed a sixteenth of the cap goes in less than a minute, so it is noticed within sixty seconds of event time.
anomaly     this week of a tenant is far from the eight before (daytwo.money.trends).
unpriced_model  requests of a tenant are refused, as no model that serves them has a price. Over after an hour without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID, uuid5

from daytwo.config_file.units import money_text
from daytwo.money.history import period_end
from daytwo.money.trends import Trend
from daytwo.records import AlertRaised, LimitHit
from services.alerter.limits import Limit
from services.alerter.spending import MINUTE_MS

THRESHOLDS: Final = (50, 80, 95, 100)
SEVERITY: Final = {50: "info", 80: "warning", 95: "warning", 100: "critical"}
GONE_WITHIN: Final = 15
"""Minutes."""
LEAST_REQUESTS: Final = 3
"""One large request is no speed."""
NAMESPACE: Final = UUID("0d1c5b0e-5a53-5c1c-9a55-2d3f0a6f7c10")
UNPRICED_MS: Final = 3_600_000
_KINDS: Final = {"money": "nano_dollars", "tokens": "tokens"}


def alert(limit: Limit, kind: str, *, threshold: int = 0, at_ms: int, used: int, **fields: Any) -> AlertRaised:
    """An alert about a cap. The same one has the same id, so that it is raised once, whoever notices it how often."""
    name = f"{kind}/{limit.tenant}/{limit.scope}/{limit.subject}/{limit.period}/{threshold}/{limit.unit}"
    return AlertRaised(
        alert_id=str(uuid5(NAMESPACE, name)),
        kind=kind,
        state="raised",
        tenant=limit.tenant,
        scope=limit.scope,
        subject=limit.subject,
        period=limit.period,
        unit=limit.unit,
        threshold_percent=threshold,
        limit=limit.limit,
        used=used,
        raised_at_ms=at_ms,
        at_ms=at_ms,
        **fields,
    )


def cap_alerts(limit: Limit, used: int, at_ms: int, *, request_id: str = "", full: bool = False) -> Iterator[AlertRaised]:
    """One for each part of the cap that is used. `full`: a request found no room, so all of it is."""
    for threshold in THRESHOLDS:
        if used * 100 >= limit.limit * threshold or full:
            yield alert(
                limit,
                "cap_used",
                threshold=threshold,
                at_ms=at_ms,
                used=used,
                severity=SEVERITY[threshold],
                request_id=request_id,
                detail=f"{_whose(limit)} has used {_amount(limit, used)} of {_amount(limit, limit.limit)} {_per(limit)}".rstrip(),
            )


def is_runaway(limit: Limit, used: int, minute_nano: int, requests: int, now_ms: int) -> bool:
    """Whether the cap is gone within a quarter of an hour, if the last minute goes on."""
    left = limit.limit - used
    if limit.unit != "nano_dollars" or requests < LEAST_REQUESTS or left <= 0 or minute_nano <= 0:
        return False
    ends_ms = period_end(limit.period, now_ms)
    minutes_left = GONE_WITHIN if ends_ms is None else min(GONE_WITHIN, (ends_ms - now_ms) / MINUTE_MS)
    return minute_nano * minutes_left >= left


def runaway_alert(limit: Limit, used: int, minute_nano: int, at_ms: int, request_id: str) -> AlertRaised:
    detail = (
        f"{_whose(limit)} spent {money_text(minute_nano)} in the last minute: "
        f"what is left of {money_text(limit.limit)} {_per(limit)} is gone within {GONE_WITHIN} minutes"
    )
    return alert(limit, "spend_rate", at_ms=at_ms, used=used, severity="critical", request_id=request_id, detail=detail)


def limit_hit(tenant: str, hit: LimitHit) -> Limit | None:
    """The cap that a request found full; None: it was a rate limit, or of open requests."""
    unit = _KINDS.get(hit.kind)
    if unit is None or hit.limit <= 0:
        return None
    return Limit(tenant=tenant, scope=hit.scope, subject=hit.subject, period=hit.period, unit=unit, limit=hit.limit)  # type: ignore[arg-type]


def anomaly_alert(tenant: str, model: str, trend: Trend, at_ms: int) -> AlertRaised:
    what = f"{model} of {tenant}" if model else tenant
    return AlertRaised(
        alert_id=str(uuid5(NAMESPACE, f"anomaly/{tenant}/tenant//{model}/week")),
        kind="anomaly",
        state="raised",
        severity="warning",
        tenant=tenant,
        scope="tenant",
        model=model,
        period="week",
        unit="nano_dollars",
        limit=trend.usual_nano,
        used=trend.this.cost_nano,
        detail=f"the week of {what} is unusually {trend.judgement}: {trend.reason}",
        raised_at_ms=at_ms,
        at_ms=at_ms,
    )


def unpriced_alert(tenant: str, request_id: str, detail: str, at_ms: int) -> AlertRaised:
    return AlertRaised(
        alert_id=str(uuid5(NAMESPACE, f"unpriced_model/{tenant}")),
        kind="unpriced_model",
        state="raised",
        severity="warning",
        tenant=tenant,
        scope="tenant",
        request_id=request_id,
        detail=f"requests of {tenant} are refused: {detail}",
        raised_at_ms=at_ms,
        at_ms=at_ms,
    )


def window_over(raised: AlertRaised, now_ms: int) -> bool:
    """Whether the window of its cap has ended since it was raised."""
    if raised.period not in ("hour", "day", "month"):
        return False
    ends_ms = period_end(raised.period, raised.raised_at_ms)
    return ends_ms is not None and ends_ms <= now_ms


def _whose(limit: Limit) -> str:
    return f"{limit.scope} {limit.subject} of {limit.tenant}" if limit.subject else limit.tenant


def _per(limit: Limit) -> str:
    return "in total" if limit.period == "total" else f"per {limit.period}"


def _amount(limit: Limit, value: int) -> str:
    return money_text(value) if limit.unit == "nano_dollars" else f"{value:,} tokens"
