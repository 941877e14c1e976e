from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.audit import Place, View, Violation, invariants
from daytwo.records import (
    AnswerLearned,
    AttemptSummary,
    CacheMatch,
    Cap,
    ConcurrencyCap,
    DocumentSubmitted,
    Message,
    TenantConfigured,
    TokenCap,
    Usage,
)
from daytwo.results import document_ended
from tests.audit.builders import (
    FINGERPRINT,
    MINUTE_MS,
    NOON_MS,
    Log,
    accepted,
    admitted,
    attempt_id,
    cap,
    ended,
    finished,
    started,
    submitted,
    tenant,
)

HOUR_MS = 60 * MINUTE_MS


def broken(log: Log, *, now_ms: int = NOON_MS + HOUR_MS, view: View | None = None) -> list[Violation]:
    seen = view or log.view()
    return [violation for invariant in invariants(now_ms=now_ms, grace_ms=MINUTE_MS) for violation in invariant(seen)]


def rules(log: Log, **options: Any) -> list[str]:
    return [violation.rule for violation in broken(log, **options)]


def cached(request_id: str, whose: str, answer: str, kind: str = "exact") -> Any:
    match = CacheMatch(kind=kind, answer_id=answer, question="q", similarity=1.0, age_ms=1)
    said = Message(role="assistant", content="A log.")
    return finished(request_id, whose, cost=0, cache_match=match, served_by="cache", message=said)


def learned(answer: str, whose: str) -> AnswerLearned:
    return AnswerLearned(
        answer_id=answer,
        tenant=whose,
        question="q",
        scope="s",
        question_text="q",
        single_turn=True,
        message=Message(role="assistant", content="A log."),
        finish_reason="stop",
        usage=Usage(),
        cost_nano=1,
        deployment="d",
        model="m",
        request_id="r",
        learned_at_ms=0,
        expires_at_ms=1,
    )


def test_a_log_where_all_went_well_breaks_nothing() -> None:
    log = Log()
    log.answered("r1")
    log.answered("r2", tenant="umbrella")
    log.write(accepted("r3"), finished("r3", cost=0, outcome="refused", reason="budget_exceeded"))

    assert broken(log) == []


def test_a_request_without_a_result_is_lost_after_deadline_and_grace() -> None:
    log = Log()
    log.write(accepted("r1"))

    assert rules(log, now_ms=NOON_MS + 2 * MINUTE_MS) == []
    (violation,) = broken(log, now_ms=NOON_MS + 2 * MINUTE_MS + 1)
    assert (violation.rule, violation.ids) == ("lost", ("r1", "acme"))


def test_a_later_result_is_a_repeat_and_breaks_nothing() -> None:
    log = Log()
    log.answered("r1")
    log.write(finished("r1"), finished("r1", cost=0, outcome="expired", reason="deadline_exceeded"))
    request = log.view().requests["acme", "r1"]

    assert broken(log) == []
    assert (request.repeats, request.contradictions) == (2, 1)


def test_a_result_of_a_request_nobody_accepted_is_told() -> None:
    log = Log()
    log.write(finished("r1", cost=0))

    assert rules(log) == ["no_request"]


def test_a_refusal_at_the_door_has_no_fingerprint_and_needs_no_acceptance() -> None:
    log = Log()
    log.write(finished("r1", cost=0, fingerprint="", outcome="refused", reason="unknown_tenant"))

    assert broken(log) == []


def test_a_result_that_went_to_another_tenant_is_told_apart_from_a_strange_one() -> None:
    log = Log()
    log.write(accepted("r1", "acme"), finished("r1", "umbrella", cost=0))

    assert rules(log, now_ms=NOON_MS) == ["tenant_mixed"]


def test_the_same_id_in_two_tenants_is_two_requests() -> None:
    log = Log()
    log.write(accepted("r1", "acme"), accepted("r1", "umbrella"))
    log.write(finished("r1", "acme", cost=0), finished("r1", "umbrella", cost=0))

    assert broken(log) == []


def test_an_attempt_of_nobody_is_told() -> None:
    log = Log()
    log.write(started("r1"))

    assert rules(log) == ["no_request"]


@pytest.mark.parametrize(("owner", "expected"), [("acme", []), ("umbrella", ["tenant_mixed"])])
def test_an_answer_learned_from_another_tenant_must_not_be_served(owner: str, expected: list[str]) -> None:
    log = Log()
    log.answered("r", tenant=owner)
    log.write(learned("a1", owner), accepted("r1"), cached("r1", "acme", "a1"))

    assert rules(log) == expected


def test_an_answer_that_compaction_has_taken_accuses_nobody() -> None:
    log = Log()
    log.write(accepted("r1"), cached("r1", "acme", "a1"))

    assert broken(log) == []


@pytest.mark.parametrize(("leader", "expected"), [("acme", []), ("umbrella", ["tenant_mixed"])])
def test_an_equal_request_in_flight_answers_only_its_own_tenant(leader: str, expected: list[str]) -> None:
    log = Log()
    log.answered("lead", tenant=leader)
    log.write(accepted("r1"), cached("r1", "acme", "lead", kind="coalesced"))

    assert rules(log) == expected


def test_two_attempts_that_succeeded_were_paid_twice() -> None:
    log = Log()
    log.answered("r1")
    log.write(started("r1", number=2), ended("r1", number=2, cost=0))

    assert rules(log) == ["paid_twice"]


def test_an_equal_end_of_an_attempt_is_a_repeat_and_a_differing_one_is_not() -> None:
    log = Log()
    log.answered("r1")
    log.write(ended("r1"))
    assert broken(log) == []

    log.write(ended("r1", message=Message(role="assistant", content="A queue.")))
    assert rules(log) == ["attempt_ended_twice"]


def test_an_attempt_must_be_in_the_journal_before_it_is_made() -> None:
    log = Log()
    log.write(accepted("r1"), admitted("r1"), ended("r1"), finished("r1"))

    assert rules(log) == ["attempt_unannounced"]


def test_an_attempt_that_cost_something_must_be_booked() -> None:
    log = Log()
    log.write(accepted("r1"), admitted("r1"), started("r1"), ended("r1"), finished("r1", cost=0, outcome="expired"))

    assert rules(log) == ["attempt_unbooked"]


def test_an_attempt_of_unknown_end_counts_in_full() -> None:
    log = Log()
    log.write(accepted("r1"), admitted("r1"), started("r1", bound=30), finished("r1", cost=30))
    assert broken(log) == []

    log.write(accepted("r2"), admitted("r2"), started("r2", bound=30), finished("r2", cost=7))
    assert rules(log) == ["attempt_not_in_journal"]


def test_an_attempt_of_a_result_must_be_in_the_journal() -> None:
    log = Log()
    log.write(accepted("r1"), admitted("r1"), finished("r1"))

    assert rules(log) == ["attempt_not_in_journal"]


def test_an_attempt_of_another_request_cannot_be_booked() -> None:
    log = Log()
    log.answered("r1")
    log.write(accepted("r2"), finished("r2", cost=30, attempts=log.records[-1][0].attempts))

    assert rules(log) == ["attempt_not_in_journal"]


def test_the_cost_of_a_result_is_the_sum_over_its_attempts() -> None:
    log = Log()
    log.answered("r1")
    spoilt = finished("r2", cost=31, attempts=finished("r2", cost=30).attempts)
    log.write(accepted("r2"), admitted("r2"), started("r2"), ended("r2"), spoilt)

    (violation,) = broken(log)
    assert (violation.rule, violation.ids[0]) == ("wrong_cost", "r2")


def test_an_admission_above_the_cap_is_told() -> None:
    log = Log()
    log.write(tenant("acme", cap(100)))
    log.now_ms += MINUTE_MS
    log.write(accepted("r1"), admitted("r1", reserved=60))
    assert rules(log, now_ms=NOON_MS) == []

    log.write(accepted("r2"), admitted("r2", reserved=60))
    (violation,) = broken(log, now_ms=NOON_MS)
    assert (violation.rule, violation.ids) == ("above_cap", ("r2", "acme"))


def test_an_admission_that_a_slow_clock_dates_before_the_end_that_made_room_for_it_accuses_nobody() -> None:
    log = Log()
    log.write(tenant("acme", cap(100)))
    log.now_ms += MINUTE_MS
    began_ms = log.now_ms
    log.write(accepted("r1"), accepted("r2"), admitted("r1", reserved=60), finished("r1", cost=10, attempts=()))
    log.now_ms = began_ms  # by the clock of who admits the second
    log.write(admitted("r2", reserved=60))

    def above_cap(clocks_ms: int) -> list[Violation]:
        every = invariants(now_ms=NOON_MS, grace_ms=0, clocks_ms=clocks_ms)
        return [violation for invariant in every for violation in invariant(log.view()) if violation.rule == "above_cap"]

    assert len(above_cap(0)) == 1
    assert above_cap(10) == []


def test_money_that_was_released_may_be_reserved_again() -> None:
    log = Log()
    log.write(tenant("acme", cap(100)))
    log.now_ms += MINUTE_MS
    for number in range(4):
        log.answered(f"r{number}", reserved=60, cost=10)

    assert broken(log) == []


def test_a_cap_that_was_lowered_later_accuses_no_earlier_admission() -> None:
    log = Log()
    log.answered("r1", reserved=60, cost=30)
    log.write(tenant("acme", cap(10)))

    assert broken(log) == []


def test_a_cap_of_each_user_is_of_each_user() -> None:
    log = Log()
    log.write(tenant("acme", cap(100, scope="user")))
    log.now_ms += MINUTE_MS
    for number, user in enumerate(["ann", "bob", ""]):
        log.write(accepted(f"r{number}", user=user), admitted(f"r{number}", reserved=60))
    assert rules(log, now_ms=NOON_MS) == []

    log.write(accepted("r9", user="bob"), admitted("r9", reserved=60))
    assert rules(log, now_ms=NOON_MS) == ["above_cap"]


def test_caps_of_tokens_and_of_open_requests_are_held_against_the_log() -> None:
    capped = TenantConfigured(
        tenant="acme",
        token_caps=(TokenCap(scope="workflow", subject="nightly-*", period="day", limit_tokens=100),),
        concurrency_caps=(ConcurrencyCap(scope="agent", limit_requests=1),),
    )
    log = Log()
    log.write(capped)
    log.now_ms += MINUTE_MS
    log.write(accepted("r1", workflow="nightly-1", agent="a"), admitted("r1", reserved_tokens=60))
    log.write(accepted("r2", workflow="daily", agent="b"), admitted("r2", reserved_tokens=60))
    assert rules(log, now_ms=NOON_MS) == []

    log.write(accepted("r3", workflow="nightly-1", agent="a"), admitted("r3", reserved_tokens=60))
    details = [violation.detail for violation in broken(log, now_ms=NOON_MS)]
    assert details == [
        "120 of 100 tokens in workflow/nightly-1/2026-03-01 once it was admitted",
        "2 of 1 open requests in agent/a/open once it was admitted",
    ]


def test_of_several_patterns_the_audit_holds_the_most_specific_against_the_log() -> None:
    log = Log()
    log.write(tenant("acme", cap(10, scope="user"), Cap(scope="user", subject="ann", period="day", limit_nano=100)))
    log.now_ms += MINUTE_MS
    log.write(accepted("r1", user="ann"), admitted("r1", reserved=60))

    assert rules(log, now_ms=NOON_MS) == []


def test_a_request_that_waited_counts_in_the_window_it_was_admitted_in() -> None:
    log = Log()
    log.write(tenant("acme", cap(100, period="hour")))
    log.now_ms += MINUTE_MS
    log.write(accepted("r1"), admitted("r1", reserved=60), accepted("r2"), admitted("r2", cache_only=True, reserved=0, round=2))
    log.now_ms += 60 * MINUTE_MS
    log.write(admitted("r2", reserved=60, round=2, at_ms=NOON_MS + 60 * MINUTE_MS))

    assert rules(log, now_ms=NOON_MS) == []
    assert log.view().requests["acme", "r2"].reserved_nano == 60


def test_without_the_beginning_of_the_log_missing_causes_accuse_nobody() -> None:
    log = Log()
    log.write(finished("r1"), ended("r2"))

    assert broken(log, view=log.view(whole=False)) == []


def test_a_reused_id_is_counted_and_the_first_request_counts() -> None:
    log = Log()
    log.write(accepted("r1"), accepted("r1", fingerprint="cd" * 16), admitted("r1"), finished("r1", cost=0))
    view = log.view()

    assert view.reused == 1
    assert view.requests["acme", "r1"].fingerprint == hash(FINGERPRINT)


@given(st.lists(st.sampled_from(["answer", "refuse", "open", "repeat"]), max_size=30))
def test_whatever_mixture_of_proper_requests_is_clean(stories: list[str]) -> None:
    log = Log()
    for number, story in enumerate(stories):
        request_id = f"r{number}"
        if story in ("answer", "repeat"):
            log.answered(request_id)
        else:
            log.write(accepted(request_id), admitted(request_id))
        if story == "repeat":
            log.write(accepted(request_id), finished(request_id))
        if story == "refuse":
            log.write(finished(request_id, cost=0, outcome="refused"))

    assert broken(log, now_ms=NOON_MS) == []


def test_a_record_of_which_nothing_became_is_told_and_one_that_was_set_aside_is_not() -> None:
    log = Log()
    log.write(submitted("r1"))
    view = log.view()

    assert [v.rule for v in broken(log, view=view)] == ["unaccounted"]
    view.set_aside.add(("request-submitted", 0, 0))
    assert broken(log, view=view) == []


def test_a_document_without_an_end_is_told_after_a_while() -> None:
    log = Log()
    document = DocumentSubmitted(document_id="d1", tenant="acme", collection="docs", source="a")
    log.write(document)

    assert rules(log, now_ms=NOON_MS + MINUTE_MS) == []
    assert rules(log, now_ms=NOON_MS + 20 * MINUTE_MS) == ["document_lost"]
    log.write(document_ended(document, now_ms=0, outcome="indexed", reason="ok"))
    assert rules(log, now_ms=NOON_MS + 20 * MINUTE_MS) == []


@pytest.mark.parametrize(("order", "expected"), [(("r1", "r2"), []), (("r2", "r1"), ["out_of_order"])])
def test_requests_of_one_session_that_overtake_each_other_are_told(order: tuple[str, str], expected: list[str]) -> None:
    log = Log()
    log.write(submitted("r1", session="s"), submitted("r2", session="s"))
    log.write(*[accepted(request_id, session="s") for request_id in order])
    log.write(finished("r1", cost=0), finished("r2", cost=0))

    assert rules(log) == expected


def test_a_request_that_waited_at_a_limit_may_be_overtaken_by_the_next_of_its_session() -> None:
    log = Log()
    for request_id in ("r1", "r2"):
        log.write(submitted(request_id, session="s"), accepted(request_id, session="s"))
    log.write(admitted("r2"), admitted("r1", round=4), finished("r1", cost=0), finished("r2", cost=0))

    assert rules(log) == []


def test_an_answer_that_no_attempt_gave_is_told() -> None:
    log = Log()
    log.answered("r")
    log.write(replace(learned("a1", "acme"), message=Message(role="assistant", content="Forty-two.")))

    assert rules(log) == ["invented"]


def test_a_cached_answer_that_says_something_else_than_was_learned_is_told() -> None:
    log = Log()
    log.answered("r")
    log.write(learned("a1", "acme"), accepted("r1"))
    log.write(replace(cached("r1", "acme", "a1"), message=Message(role="assistant", content="Forty-two.")))

    assert rules(log) == ["invented"]


def test_an_attempt_that_begins_after_the_deadline_is_told() -> None:
    log = Log()
    log.answered("r1")
    log.write(replace(started("r1", number=2), started_at_ms=NOON_MS + MINUTE_MS + 1), ended("r1", number=2, cost=0, outcome="failed"))

    assert rules(log) == ["late"]


def test_an_attempt_that_only_a_later_result_lists_is_booked_all_the_same() -> None:
    log = Log()
    log.write(accepted("r1"), admitted("r1"), started("r1"))
    log.write(finished("r1", cost=0, outcome="expired", reason="deadline_exceeded"))
    assert rules(log) == ["attempt_unbooked"]

    log.write(ended("r1"), finished("r1", cost=30), finished("r1", cost=30))

    assert broken(log) == []
    assert log.view().requests["acme", "r1"].cost_nano == 30


def test_the_own_end_of_a_router_that_was_taken_for_dead_contradicts_nobody() -> None:
    log = Log()
    log.write(accepted("r1"), admitted("r1"), started("r1"))
    log.write(ended("r1", cost=90, outcome="unknown", reason="lost", message=None), ended("r1", cost=30), finished("r1", cost=30))

    assert broken(log) == []


@pytest.mark.parametrize(("router", "later_ms", "expected"), [("b", 0, []), ("b", 20_000, ["paid_twice"]), ("a", 0, ["paid_twice"])])
def test_a_second_purchase_is_told_where_whoever_made_it_could_know_of_the_first(router: str, later_ms: int, expected: list[str]) -> None:
    log = Log()
    log.write(accepted("r1"), admitted("r1"), replace(started("r1"), router="a"), ended("r1"))
    log.now_ms += later_ms
    log.write(replace(started("r1", number=2), router=router), ended("r1", number=2))
    attempts = tuple(
        AttemptSummary(attempt_id=attempt_id("r1", n), deployment="d", outcome="succeeded", latency_ms=1.0, cost_nano=30) for n in (1, 2)
    )
    log.write(finished("r1", cost=60, attempts=attempts))

    assert rules(log) == expected


def test_a_refusal_of_somebody_elses_bytes_is_not_the_requests_result() -> None:
    log = Log()
    log.write(accepted("r1"), finished("r1", cost=0, fingerprint="", outcome="refused", reason="bad_signature", submission="ab" * 16))
    log.write(finished("r1", cost=0))
    first = log.view().requests["acme", "r1"].first

    assert broken(log) == []
    assert first is not None
    assert first.outcome == "answered"


def test_of_two_results_in_a_partition_the_offset_decides_whatever_the_clocks_say() -> None:
    view = View()
    view.take(finished("r1", cost=0, outcome="expired"), Place(NOON_MS + 5000, 1, 7))
    view.take(finished("r1", cost=0), Place(NOON_MS, 1, 8))

    first = view.requests["acme", "r1"].first
    assert first is not None
    assert first.outcome == "expired"


def test_a_request_that_was_refused_at_the_door_and_then_let_in_is_lost_where_its_road_ends_in_silence() -> None:
    log = Log()
    log.write(finished("r1", outcome="refused", reason="overloaded", cost=0, attempts=(), submission="cd" * 16))
    log.write(accepted("r1"), admitted("r1"))

    assert rules(log, now_ms=log.now_ms + 10 * MINUTE_MS) == ["lost"]
