"""Alerts about providers that bill more than they may, or without usage, and their ends."""

from __future__ import annotations

from typing import Any

from daytwo.flow import Change
from daytwo.records import AttemptSummary, RequestFinished
from daytwo.topics import ALERT_RAISED
from services.cost_meter.overbilling import MISSING, Overbilling
from tests.cost_meter.builders import NOON

HOUR = 3_600_000


def result(cost: int, *, at_ms: int = NOON, bound: int = 100, reason: str = "", deployment: str = "d") -> RequestFinished:
    attempt = AttemptSummary(
        attempt_id="a", deployment=deployment, outcome="succeeded", reason=reason, latency_ms=1.0, cost_nano=cost, bound_nano=bound
    )
    fields: dict[str, Any] = {"outcome": "answered", "reason": "ok", "attempts": (attempt,), "fingerprint": "f"}
    return RequestFinished(request_id=f"r-{at_ms}", tenant="acme", finished_at_ms=at_ms, **fields)


def said(book: Overbilling, *results: RequestFinished) -> list[tuple[str, str]]:
    return [(alert.kind, alert.state) for each in results for alert in book.alerts(each, each.finished_at_ms)]


def test_over_billing_is_over_with_the_first_bill_within_the_bound_after_it() -> None:
    book = Overbilling()
    assert said(book, result(300)) == [("over_billed", "raised")]
    assert said(book, result(50, at_ms=NOON), result(50, at_ms=NOON + 1, deployment="other")) == []
    assert said(book, result(50, at_ms=NOON + 1), result(50, at_ms=NOON + 2)) == [("over_billed", "resolved")]


async def test_what_was_learned_stays_when_it_is_over_and_after_a_restart() -> None:
    book, after = Overbilling(), Overbilling()
    alerts = [alert for each in (result(300), result(50, at_ms=NOON + 1)) for alert in book.alerts(each, each.finished_at_ms)]
    quote: Any = type("Quote", (), {"deployment": "d"})
    await after.apply([Change(key=ALERT_RAISED.key(alerts[-1]), record=alerts[-1], partition=0, offset=0)])
    assert (book.corrected(quote, 100), after.corrected(quote, 100)) == (300, 300)
    assert said(after, result(50, at_ms=NOON + 2)) == []


def test_missing_usage_is_one_alert_that_is_over_an_hour_after_the_last() -> None:
    book = Overbilling()
    assert said(book, result(100, reason=MISSING), result(50, at_ms=NOON + 1), result(100, at_ms=NOON + 9, reason=MISSING)) == [
        (MISSING, "raised")
    ]
    assert said(book, result(50, at_ms=NOON + HOUR + 5)) == []
    assert said(book, result(50, at_ms=NOON + HOUR + 10)) == [(MISSING, "resolved")]


def test_after_its_end_it_is_raised_again() -> None:
    book = Overbilling()
    seen = said(book, result(300), result(50, at_ms=NOON + 1), result(400, at_ms=NOON + 2))
    assert seen == [("over_billed", "raised"), ("over_billed", "resolved"), ("over_billed", "raised")]
