"""Each thing that can go wrong in the demo is seen, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploy.demo.row import Row
from deploy.demo.verdict import counts, last_line, percentile, problems
from tests.demo.builders import cached, evidence, good_rows, refused, row


def without(unwanted: Callable[[Row], bool]) -> list[Row]:
    return [each for each in good_rows() if not unwanted(each)]


def with_row(more: Row) -> list[Row]:
    return [*good_rows(), more]


def test_a_demo_in_which_all_went_well_has_no_problems() -> None:
    assert problems(evidence()) == []
    assert last_line(evidence()) == "demo: 10 requests, 10 ended, 0 lost"


def test_a_request_without_a_result_is_lost_even_if_nobody_wrote_it_down() -> None:
    seen = evidence(with_row(row(outcome="lost", reason="", served="")), asked=12)
    assert last_line(seen) == "demo: 12 requests, 10 ended, 2 lost"
    assert "2 of 12 requests have no result" in problems(seen)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (without(lambda r: r.served == "exact"), "exact match"),
        (without(lambda r: r.served == "semantic"), "no answer was served by meaning"),
        (without(lambda r: r.reason == "budget_exceeded"), "no request was refused with budget_exceeded"),
        (without(lambda r: r.act == "budget" and r.is_cached), "over its budget, the tenant got no cached answer"),
        (with_row(refused(retry_after_ms=None)), "does not say when the budget renews"),
        (without(lambda r: r.act == "outage"), "no request was answered by the fallback"),
        (without(lambda r: r.act == "return"), "after its return, the model answered no request"),
        (with_row(cached("exact", act="outage", deployment="mock", text="other")), "'other' got the answer to"),
        (with_row(row(tenant="manual", text="how?", citations=0)), "'how?' was answered without a citation"),
        (with_row(row(outcome="expired", reason="deadline_exceeded", served="")), "was expired (deadline_exceeded"),
        (with_row(refused(act="questions", tenant="helpdesk")), "helpdesk ran out of budget"),
    ],
)
def test_what_did_not_go_as_it_should_is_named(rows: list[Row], problem: str) -> None:
    assert any(problem in found for found in problems(evidence(rows)))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"documents": 0}, "no document was indexed"),
        ({"documents_missing": ["python/re (failed)"]}, "document python/re (failed) was not indexed"),
        ({"broken_off": "Kafka is away"}, "the demo broke off: Kafka is away"),
        ({"audit": None}, "there was no audit"),
        (
            {"audit": {"clean": False, "violations": [{"rule": "lost"}], "counts": {"accepted": 10}}},
            "the audit found 1 violations: lost",
        ),
        ({"audit": {"clean": True, "violations": [], "counts": {"accepted": 9}}}, "10 requests were asked, and the log has 9"),
    ],
)
def test_what_else_did_not_go_as_it_should_is_named(given: dict[str, Any], problem: str) -> None:
    assert problems(evidence(**given)) == [problem]


def test_a_cached_answer_before_the_budget_ran_out_does_not_count_as_cache_only() -> None:
    rows = without(lambda r: r.act == "budget")
    rows += [cached("exact", act="budget", tenant="strict"), refused()]
    assert "over its budget, the tenant got no cached answer" in problems(evidence(rows))


def test_a_cached_answer_of_the_fallback_shows_no_outage_survived() -> None:
    rows = [*without(lambda r: r.act == "outage"), cached("exact", act="outage", deployment="mock")]
    assert "while the model was down, no request was answered by the fallback" in problems(evidence(rows))


def test_the_summary_counts_each_request_once_by_how_it_ended() -> None:
    found = counts(good_rows())
    assert found == {
        "answered by local": 4,
        "answered by mock": 1,
        "cache, word for word": 2,
        "cache, by meaning": 1,
        "refused": 2,
    }
    assert sum(found.values()) == len(good_rows())


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(list(map(float, range(1, 101))), 0.99) == 99.0
    assert percentile([], 0.5) is None
