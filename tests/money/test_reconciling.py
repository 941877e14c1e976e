from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.charging import bound_nano, charge
from daytwo.money.attempts import Attempt, Journal, Quotes
from daytwo.money.reconciling import Line, Verdict, reconcile
from daytwo.records import Usage
from tests.money.builders import COST, QUOTE, attempt, finished, line, quotes, started

MORE = Usage(input_tokens=10, output_tokens=6)
BOUND = 90_000
MOST_USED = Usage(input_tokens=50, output_tokens=20)
UNKNOWN: dict[str, Any] = {
    "outcome": "unknown",
    "reason": "timeout",
    "booked_nano": BOUND,
    "usage": Usage(input_tokens=50, output_tokens=20),
}


def judged(attempts: list[Attempt], lines: list[Line], **more: Any) -> list[Verdict]:
    return list(reconcile(attempts, lines, quotes(), corrected=more.pop("corrected", {}), **more))


@pytest.mark.parametrize(
    ("attempts", "lines", "kind", "under_booked"),
    [
        ([attempt()], [line()], "equal", False),
        ([attempt(outcome="failed", booked_nano=0, usage=Usage())], [], "equal", False),
        ([attempt()], [], "missing", False),
        ([], [line()], "missing", True),
        ([attempt()], [line(usage=MORE)], "different", True),
        ([attempt(usage=MORE, booked_nano=COST + 2000)], [line()], "different", False),
        ([attempt()], [line(), line()], "different", True),
        ([attempt(outcome="failed", booked_nano=0, usage=Usage())], [line()], "different", True),
        ([attempt(**UNKNOWN)], [line()], "unknown", False),
        ([attempt(**UNKNOWN)], [], "unknown", False),
        ([attempt(**{**UNKNOWN, "booked_nano": 1})], [line()], "unknown", True),
        ([attempt(reason="usage_missing", booked_nano=BOUND)], [line()], "unknown", False),
        ([attempt()], [line(usage=Usage(), billed_nano=COST)], "different", False),  # equal money and other tokens: worth a look
        ([attempt()], [line(billed_nano=COST - 1)], "different", False),
    ],
)
def test_every_attempt_and_every_line_has_one_verdict(attempts: list[Attempt], lines: list[Line], kind: str, under_booked: bool) -> None:
    (verdict,) = judged(attempts, lines)

    assert (verdict.kind, verdict.under_booked) == (kind, under_booked)


def test_a_line_that_names_no_attempt_is_missing_on_the_log() -> None:
    assert [(v.kind, v.attempt_id) for v in judged([attempt()], [line(), line("")])] == [("missing", ""), ("equal", "a1")]


def test_of_a_bill_that_is_not_whole_only_what_is_on_it_is_judged() -> None:
    assert [v.attempt_id for v in judged([attempt(), attempt("a2")], [line("a2")], whole_bill=False)] == ["a2"]


def test_a_recorded_correction_makes_the_next_reconciliation_equal() -> None:
    (verdict,) = judged([attempt(**UNKNOWN)], [line()], corrected={"a1": COST - BOUND})

    assert verdict.kind == "equal"


def test_tokens_of_a_request_without_a_quote_cannot_be_priced_and_count_as_booked_too_low() -> None:
    (verdict,) = reconcile([attempt()], [line(usage=MORE)], Quotes(), corrected={})

    assert (verdict.kind, verdict.billed_nano, verdict.under_booked) == ("different", None, True)


ENDS = st.sampled_from(["succeeded", "failed", "unknown", "no_end", "no_usage"])
USAGES = st.builds(lambda i, o: Usage(input_tokens=i, output_tokens=o), st.integers(0, 50), st.integers(0, 20))
MOST = bound_nano(QUOTE, 50, 20)


@given(st.lists(st.tuples(ENDS, USAGES, st.booleans()), max_size=30))
def test_an_honest_provider_within_its_bounds_is_never_missing_nor_different_nor_booked_too_low(
    calls: list[tuple[str, Usage, bool]],
) -> None:
    attempts, lines = [], []
    for number, (end, usage, charged) in enumerate(calls):
        name, most = f"a{number}", MOST_USED
        if end == "succeeded" or (charged and end != "failed"):
            lines.append(line(name, usage))
        attempts.append(
            {
                "succeeded": attempt(name, usage=usage, booked_nano=charge(QUOTE, usage)),
                "failed": attempt(name, outcome="failed", usage=Usage(), booked_nano=0),
                "unknown": attempt(name, outcome="unknown", usage=most, booked_nano=MOST),
                "no_end": attempt(name, outcome="unknown", usage=None, booked_nano=MOST),
                "no_usage": attempt(name, reason="usage_missing", usage=most, booked_nano=MOST),
            }[end]
        )

    verdicts = judged(attempts, lines)

    assert Counter(v.kind for v in verdicts).keys() <= {"equal", "unknown"}
    assert not any(v.under_booked for v in verdicts)


def test_the_journal_keeps_the_first_end_and_counts_what_has_none_in_full() -> None:
    journal = Journal()
    for record in (finished("a1"), finished("a1", cost_nano=1), started("a1"), started("a2")):
        journal.take(record)

    ended, opened = journal.attempts()

    assert (ended.booked_nano, ended.certain, ended.at_ms) == (COST, True, 1_000)
    assert (opened.booked_nano, opened.certain, opened.usage) == (90_000, False, None)
