"""Providers that billed more than their bound, and what is learned from it.

An attempt that cost more than it could is booked in full, raised as an alert, and the alert is the memory: cost-meter follows its own
alerts, and raises the bound of that deployment by as much from then on. The alert is over with the first bill after it that is within
the bound; what was learned stays. `usage_missing` is over with a bill that has usage, an hour after the last without: a provider that
leaves it out now and then is one alert, not many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID, uuid5

from daytwo.flow import Change, Table
from daytwo.records import AlertRaised, AttemptSummary, Quote, RequestFinished
from daytwo.topics import ALERT_RAISED

NAMESPACE: Final = UUID("0d1c5b0e-5a53-5c1c-9a55-2d3f0a6f7c10")
OVER: Final = "over_billed"
MISSING: Final = "usage_missing"
QUIET_MS: Final = {OVER: 0, MISSING: 3_600_000}
"""How long after it was seen last an alert is over at the earliest."""


class Overbilling(Table[AlertRaised]):
    """Follows alert-raised, for the alerts of cost-meter."""

    def __init__(self) -> None:
        super().__init__(ALERT_RAISED)
        self._permille: dict[str, int] = {}
        self._open: dict[tuple[str, str, str], AlertRaised] = {}
        """Those that are not over, by kind, tenant and deployment; `at_ms`: when it was seen last."""

    async def apply(self, changes: Sequence[Change[AlertRaised]]) -> None:
        for change in changes:
            alert = change.record
            if alert is not None and alert.kind in QUIET_MS:
                self._know(alert)

    def _know(self, alert: AlertRaised) -> None:
        self.rows[self.topic.key(alert)] = alert
        self._learn(alert)
        if alert.state == "resolved":
            self._open.pop(_place(alert), None)
        elif (known := self._open.get(_place(alert))) is None or known.at_ms < alert.at_ms:
            self._open[_place(alert)] = alert

    def _learn(self, alert: AlertRaised) -> None:
        if alert.kind == OVER and alert.limit > 0:
            seen = -(-alert.used * 1000 // alert.limit)
            self._permille[alert.subject] = max(seen, self._permille.get(alert.subject, 1000))

    def corrected(self, quote: Quote, bound_nano: int) -> int:
        """The bound of one attempt at a deployment, in nano-dollars, raised to what it has billed before."""
        permille = self._permille.get(quote.deployment)
        return bound_nano if permille is None else -(-bound_nano * permille // 1000)

    def alerts(self, result: RequestFinished, now_ms: int) -> Iterator[AlertRaised]:
        """What the attempts of a result show that is not known yet."""
        for attempt in result.attempts:
            kind = _kind(attempt)
            if not kind:
                yield from self._over(result, attempt, now_ms)
                continue
            alert = _alert(kind, result, attempt, now_ms)
            if self._is_new(alert):
                self._know(alert)
                yield alert
            elif (known := self._open.get(_place(alert))) is not None:
                self._open[_place(alert)] = replace(known, at_ms=now_ms)

    def _over(self, result: RequestFinished, attempt: AttemptSummary, now_ms: int) -> Iterator[AlertRaised]:
        """The ends of alerts that a correct bill of the deployment brings."""
        if not self._open or attempt.outcome != "succeeded" or attempt.cost_nano <= 0:
            return
        for kind, quiet_ms in QUIET_MS.items():
            raised = self._open.get((kind, result.tenant, attempt.deployment))
            if raised is not None and result.finished_at_ms > raised.at_ms + quiet_ms:
                resolved = replace(raised, state="resolved", at_ms=max(now_ms, raised.at_ms))
                self._know(resolved)
                yield resolved

    def _is_new(self, alert: AlertRaised) -> bool:
        known = self.rows.get(self.topic.key(alert))
        if known is None or known.state == "resolved":
            return True
        return alert.kind == OVER and alert.used * known.limit > known.used * alert.limit


def _place(alert: AlertRaised) -> tuple[str, str, str]:
    return alert.kind, alert.tenant, alert.subject


def _kind(attempt: AttemptSummary) -> str:
    if attempt.reason == MISSING:
        return MISSING
    return OVER if 0 < attempt.bound_nano < attempt.cost_nano else ""


def _alert(kind: str, result: RequestFinished, attempt: AttemptSummary, now_ms: int) -> AlertRaised:
    name = f"{kind}/{result.tenant}/deployment/{attempt.deployment}"
    billed = f"billed {attempt.cost_nano} nano-dollars, at most {attempt.bound_nano} were possible by its bound; the bound is raised"
    missing = "gave no usage that can be; its attempts are booked at the worst case"
    return AlertRaised(
        alert_id=str(uuid5(NAMESPACE, name)),
        kind=kind,
        state="raised",
        severity="warning",
        tenant=result.tenant,
        scope="deployment",
        subject=attempt.deployment,
        model=result.model,
        unit="nano_dollars",
        limit=attempt.bound_nano,
        used=attempt.cost_nano,
        request_id=result.request_id,
        detail=f"{attempt.deployment} {billed if kind == OVER else missing}",
        raised_at_ms=now_ms,
        at_ms=now_ms,
    )
