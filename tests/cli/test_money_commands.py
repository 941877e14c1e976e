"""Prices, repricing and bills, as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from daytwo.broker import outgoing
from daytwo.clock import SystemClock
from daytwo.money.weeks import DAY_MS, start_of
from daytwo.records import AlertRaised, AttemptSummary, DeploymentConfigured, RequestFinished, Usage, UsageWindowed
from daytwo.topic import Record
from daytwo.topics import COST_CORRECTED
from tests.cli.conftest import Daytwo
from tests.money.builders import COST, admitted, finished, started

MOCK = DeploymentConfigured(deployment="mock", provider="mock", model="mock-1", base_url="http://mock/v1", aliases=())
UNHEARD_OF = DeploymentConfigured(deployment="new", provider="nobody", model="unheard-of", base_url="http://mock/v1", aliases=())
MOST = Usage(input_tokens=50, output_tokens=20)
PRICES = "prices: [{provider: mock, model: mock-1, valid_from: 1970-01-01, input: $0.5, output: $1}]\n"


def on_the_log(daytwo: Daytwo, *records: Record) -> None:
    for record in records:
        daytwo.broker.append(outgoing(record))


def spent(daytwo: Daytwo) -> None:
    on_the_log(
        daytwo,
        MOCK,
        admitted(),
        started("a1"),
        finished("a1"),
        started("a2", request_id="r2"),
        finished("a2", request_id="r2", outcome="unknown", reason="timeout", cost_nano=90_000, usage=MOST),
        admitted("r2"),
    )


def test_a_deployment_without_a_price_is_named_and_is_exit_code_one(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    on_the_log(daytwo, MOCK, UNHEARD_OF)
    daytwo("apply", written(PRICES))

    said = daytwo("prices", "missing", "--json")

    assert (said.code, [row["model"] for row in said.json["deployments"]]) == (1, ["unheard-of"])
    listed = {row["deployment"]: row["price"] for row in daytwo("prices", "list", "--json").json}
    assert (listed["mock"]["input_nano_per_mtok"], listed["new"]) == (500_000_000, None)
    assert "no price: refused" in daytwo("prices", "list").out


def test_the_same_traffic_at_other_prices_rewrites_nothing(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    spent(daytwo)
    before = len(daytwo.broker.records("attempt-finished"))

    said = daytwo("reprice", "--from", "1970-01-01", "--prices", written(PRICES), "--json")

    assert said.json["total"] == {"attempts": 2, "was_nano": COST + 90_000, "would_nano": COST // 2 + 45_000, "kept": 0, "kept_nano": 0}
    assert len(daytwo.broker.records("attempt-finished")) == before
    assert not daytwo.broker.records(COST_CORRECTED.name)


def test_recorded_twice_the_same_prices_correct_once(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    spent(daytwo)
    arguments = ("reprice", "--from", "1970-01-01", "--prices", written(PRICES), "--record")
    daytwo(*arguments)

    said = daytwo(*arguments, "--json")

    assert said.json["total"]["was_nano"] == COST + 90_000, "its own corrections are not what it was"
    ids = {raw.key for raw in daytwo.broker.records(COST_CORRECTED.name)}
    assert len(ids) == 2


def test_a_model_that_the_new_prices_do_not_know_is_exit_code_one(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    spent(daytwo)

    said = daytwo("reprice", "--from", "1970-01-01", "--prices", written("prices: []\n"))

    assert (said.code, "no price for mock-1" in said.err) == (1, True)


def test_a_bill_is_held_against_the_log_and_unknown_attempts_are_never_booked_too_low(daytwo: Daytwo, tmp_path: Path) -> None:
    spent(daytwo)
    bill = tmp_path / "bill.json"
    calls = [{"attempt_id": name, "prompt_tokens": 10, "completion_tokens": 5, "charged": True} for name in ("a1", "a2")]
    bill.write_text(json.dumps({"calls": calls}))

    said = daytwo("reconcile", "--bill", bill, "--json", "--record")

    counts = {kind: said.json[kind] for kind in ("equal", "missing", "different", "unknown", "under_booked", "recorded")}
    assert counts == {"equal": 1, "missing": 0, "different": 0, "unknown": 1, "under_booked": 0, "recorded": 1}
    assert said.code == 0
    again = daytwo("reconcile", "--bill", bill, "--json").json
    assert (again["equal"], again["unknown"]) == (2, 0), "the correction is counted"


def test_what_is_on_the_bill_and_not_on_the_log_is_exit_code_one(daytwo: Daytwo, tmp_path: Path) -> None:
    spent(daytwo)
    bill = tmp_path / "bill.csv"
    bill.write_text("attempt_id,input_tokens,output_tokens\na1,10,5\nnever-made,1,1\n")

    said = daytwo("reconcile", "--bill", bill)

    assert (said.code, "never-made" in said.out) == (1, True)
    (tmp_path / "none.csv").write_text("<html>")
    assert daytwo("reconcile", "--bill", tmp_path / "none.csv").code == 1


# trends


def a_day(start_ms: int, dollars: float, tenant: str = "acme", model: str = "") -> UsageWindowed:
    return UsageWindowed(
        tenant=tenant,
        scope="tenant",
        subject="",
        model=model,
        width="day",
        start_ms=start_ms,
        requests=10,
        usage=Usage(input_tokens=900, output_tokens=100),
        cost_nano=round(dollars * 1_000_000_000),
        published_at_ms=start_ms,
    )


def weeks_of_days(daytwo: Daytwo, last_dollars: float) -> None:
    """Nine weeks of ten dollars a day; the days since this week's Monday (or, on a Monday, since the last) cost otherwise."""
    today = start_of("day", SystemClock().now_ms())
    monday = start_of("week", today - DAY_MS)
    start = monday - 9 * 7 * DAY_MS
    on_the_log(daytwo, *(a_day(at, last_dollars if at >= monday else 10) for at in range(start, today, DAY_MS)))


def test_this_week_is_held_against_the_eight_before_and_shown_as_a_picture(daytwo: Daytwo) -> None:
    weeks_of_days(daytwo, 40)

    (trend,) = daytwo("trends", "--json").json["trends"]

    assert (trend["judgement"], len(trend["before"]), "price of a token" in trend["reason"]) == ("high", 8, True)
    said = daytwo("trends", "--tenant", "acme").out
    assert "this week" in said
    assert "█" in said
    assert "unusual below [ or above ]: high" in said


def test_the_day_a_budget_runs_out_is_told_with_a_range(daytwo: Daytwo, written: Callable[[str], Path]) -> None:
    weeks_of_days(daytwo, 10)
    daytwo("apply", written("tenants: {acme: {caps: [{scope: tenant, period: total, limit: '$10,000'}]}}\n"))

    (budget,) = daytwo("trends", "--json").json["budgets"]

    found = budget["forecast"]
    assert found["earliest_ms"] == found["at_ms"] == found["latest_ms"]
    assert (found["at_ms"] - SystemClock().now_ms()) // DAY_MS == (10_000 * 10**9 - budget["used_nano"]) // (10 * 10**9) - 1
    assert "$10,000.00" in daytwo("trends").out


def test_of_a_late_bucket_the_latest_record_counts(daytwo: Daytwo) -> None:
    weeks_of_days(daytwo, 10)
    weeks_of_days(daytwo, 11)

    (trend,) = daytwo("trends", "--json").json["trends"]

    assert trend["judgement"] == "usual"
    assert trend["this"]["cost_nano"] % 11_000_000_000 == 0


def test_usage_of_the_last_weeks_is_summed_up_from_windows(daytwo: Daytwo) -> None:
    second, third = DAY_MS, 2 * DAY_MS
    on_the_log(daytwo, a_day(second, 1), a_day(second, 2), a_day(third, 4), a_day(third, 4, model="mock-1"), a_day(0, 8, tenant="umbrella"))

    told = daytwo("usage", "--history", "--json").json

    assert [(g["day"][:10], g["tenant"], g["cost_nano"] // 10**9) for g in told["groups"]] == [
        ("1970-01-02", "acme", 2),
        ("1970-01-03", "acme", 4),
        ("late", "umbrella", 8),
    ]
    assert (told["total"]["requests"], told["total"]["cost_nano"]) == (30, 14 * 10**9)
    by_model = daytwo("usage", "--history", "--by", "model", "--json").json["groups"]
    assert [(g["model"], g["cost_nano"] // 10**9) for g in by_model] == [("mock-1", 4)]
    assert daytwo("usage", "--history", "--by", "user,agent").code == 2


def test_no_history_is_said(daytwo: Daytwo) -> None:
    assert "does usage-windows run?" in daytwo("trends").err


# alerts


def an_alert(alert_id: str, state: str = "raised", severity: str = "critical") -> AlertRaised:
    return AlertRaised(
        alert_id=alert_id, kind="cap_used", state=state, severity=severity, tenant="acme", detail="has used it", raised_at_ms=1, at_ms=2
    )


def test_only_what_is_not_over_is_shown_and_a_critical_alert_is_exit_code_one(daytwo: Daytwo) -> None:
    on_the_log(daytwo, an_alert("a"), an_alert("b"), an_alert("a", "resolved"))

    assert (daytwo("alerts").code, [alert["alert_id"] for alert in daytwo("alerts", "--json").json]) == (1, ["b"])
    assert len(daytwo("alerts", "--all", "--json").json) == 2
    assert daytwo("alerts", "--tenant", "nobody").code == 0


def test_an_attempt_that_only_a_later_result_lists_is_in_the_usage_once(daytwo: Daytwo) -> None:
    """As the ledger has it: the request ended as expired while its copy bought."""

    def attempt(name: str, cost_nano: int) -> AttemptSummary:
        return AttemptSummary(attempt_id=name, deployment="mock", outcome="succeeded", latency_ms=1.0, cost_nano=cost_nano)

    def end(*attempts: AttemptSummary, fingerprint: str = "f-1") -> RequestFinished:
        said = {"outcome": "answered", "reason": "ok", "finished_at_ms": SystemClock().now_ms(), "fingerprint": fingerprint}
        cost_nano = sum(each.cost_nano for each in attempts)
        return RequestFinished(request_id="r1", tenant="acme", attempts=attempts, cost_nano=cost_nano, **said)  # type: ignore[arg-type]

    first, late, strange = attempt("a1", 5), attempt("a2", 70), attempt("a3", 900)
    on_the_log(daytwo, end(first), end(first, late), end(late), end(strange, fingerprint="another's"))

    total = daytwo("usage", "--json").json["total"]

    assert (total["requests"], total["cost_nano"], total["late_nano"]) == (1, 75, 70)


def test_a_refusal_at_the_door_takes_nobodys_place_in_the_usage_though_it_says_the_fingerprint(daytwo: Daytwo) -> None:
    now_ms = SystemClock().now_ms()
    door = RequestFinished(
        request_id="r1",
        tenant="acme",
        fingerprint="f-1",
        submission="ab" * 16,
        outcome="refused",
        reason="overloaded",
        finished_at_ms=now_ms,
    )
    end = RequestFinished(
        request_id="r1", tenant="acme", fingerprint="f-1", outcome="answered", reason="ok", cost_nano=7, finished_at_ms=now_ms
    )
    on_the_log(daytwo, door, end)

    assert daytwo("usage", "--json").json["total"]["cost_nano"] == 7
