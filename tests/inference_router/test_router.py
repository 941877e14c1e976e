"""The way of one request over deployments that fail, and what is bought on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from daytwo.errors import DisownedError, RetryableError, TerminalError
from daytwo.records import AttemptFinished, AttemptStarted, RequestFinished, RequestGrounded, RequestWaiting
from services.inference_router.ports import Reply, Silence
from tests.inference_router.builders import (
    ANSWER,
    BOUND,
    NOON,
    REFUSED_CONNECTION,
    TIMED_OUT,
    Bench,
    StillClock,
    body,
    deployment,
    ended,
    grounded,
    started,
    status,
)

ONE = [deployment("a")]
DOWN = RetryableError("store_unavailable", "no acknowledgement")


async def test_an_answer_carries_message_usage_cost_and_who_gave_it() -> None:
    bench = Bench()
    result = await bench.handle()
    assert (result.outcome, result.reason, result.finish_reason) == ("answered", "ok", "stop")
    assert result.message is not None
    assert result.message.content == "It opens."
    assert (result.usage.input_tokens, result.usage.output_tokens, result.cost_nano) == (10, 5, 20)
    assert (result.served_by, result.deployment, result.model) == ("deployment", "a", "model-a")
    assert (result.fingerprint, result.question) == ("f-1", "q-1")
    assert [step.step for step in result.steps] == ["inference-router"]


async def test_an_attempt_is_on_the_log_before_the_call_and_its_end_before_the_result() -> None:
    bench = Bench()
    seen: list[type] = []

    def answer() -> Reply:
        seen.extend(map(type, bench.log.records))
        return ANSWER

    bench.calls.ends = [answer]
    await bench.handle()
    assert seen == [AttemptStarted]
    assert [type(record) for record in bench.log.records] == [AttemptStarted, AttemptFinished]
    assert bench.calls.ids == [bench.log.started()[0].attempt_id] == [bench.log.finished()[0].attempt_id]
    assert bench.log.started()[0].bound_nano == BOUND


async def test_an_attempt_that_was_announced_by_a_router_that_then_lost_its_partition_is_not_made_and_the_log_says_so() -> None:
    bench = Bench()
    bench.moves_after = (1, 0)
    with pytest.raises(DisownedError):
        await bench.handle()
    assert bench.calls.made == []
    assert [(attempt.outcome, attempt.reason, attempt.cost_nano) for attempt in bench.log.finished()] == [("failed", "not_sent", 0)]
    assert bench.deployments.door(bench.rows[0]).lanes.inside == 0


async def test_a_call_that_outlived_its_ownership_has_its_end_on_the_log_all_the_same() -> None:
    bench = Bench()
    bench.moves_after = (1, 1)
    result = await bench.handle()
    assert [(attempt.outcome, attempt.cost_nano) for attempt in bench.log.finished()] == [("succeeded", 20)]
    assert (result.outcome, result.cost_nano) == ("answered", 20)


async def test_nothing_is_called_when_the_start_cannot_be_logged() -> None:
    bench = Bench()
    bench.log.fail = (AttemptStarted, DOWN, False)
    with pytest.raises(RetryableError):
        await bench.handle()
    assert bench.calls.made == []
    assert bench.deployments.door(bench.rows[0]).lanes.inside == 0
    assert (await bench.handle()).cost_nano == 20


async def test_a_deployment_that_fails_is_followed_at_once_by_the_next_tier() -> None:
    bench = Bench(status(500), ANSWER)
    result = await bench.handle()
    assert bench.calls.made == ["a", "b"]
    assert bench.clock.slept == []
    assert (result.outcome, result.deployment, result.cost_nano) == ("answered", "b", 20)
    assert [(a.deployment, a.outcome, a.reason) for a in result.attempts] == [("a", "failed", "status_500"), ("b", "succeeded", "")]


async def test_the_same_deployment_is_used_again_only_after_a_back_off() -> None:
    bench = Bench(REFUSED_CONNECTION, ANSWER, rows=ONE)
    result = await bench.handle()
    assert result.outcome == "answered"
    assert len(bench.clock.slept) == 1
    assert 0 < bench.clock.slept[0] <= 0.2 * 1.25


async def test_no_more_attempts_are_made_than_were_reserved_for() -> None:
    bench = Bench(status(503), rows=ONE)
    result = await bench.handle(grounded(attempts_bound=2))
    assert bench.calls.made == ["a", "a"]
    assert (result.outcome, result.reason, result.cost_nano) == ("failed", "providers_unavailable", 0)
    assert result.retry_after_ms is not None
    assert result.detail == "a: status_503"


async def test_a_provider_that_is_away_for_a_moment_does_not_use_up_the_attempts_that_were_reserved_for() -> None:
    bench = Bench(*[REFUSED_CONNECTION] * 6, ANSWER, rows=ONE)
    result = await bench.handle(grounded(attempts_bound=2))
    assert (result.outcome, result.cost_nano, len(result.attempts)) == ("answered", 20, 7)


async def test_a_provider_that_stays_away_is_told_before_the_deadline() -> None:
    bench = Bench(REFUSED_CONNECTION, rows=ONE)
    result = await bench.handle(grounded(attempts_bound=2))
    assert (result.outcome, result.reason, result.detail) == ("failed", "providers_unavailable", "a: connection")
    assert bench.clock.now_ms() < NOON + 30_000


async def test_an_unknown_outcome_counts_in_full_beside_the_answer() -> None:
    bench = Bench(TIMED_OUT, ANSWER)
    result = await bench.handle()
    assert result.outcome == "answered"
    assert result.cost_nano == BOUND + 20
    assert (result.usage.input_tokens, result.usage.output_tokens) == (1000 + 10, 100 + 5)
    assert [(a.outcome, a.cost_nano) for a in result.attempts] == [("unknown", BOUND), ("succeeded", 20)]


async def test_a_request_without_an_answer_still_says_what_was_spent() -> None:
    bench = Bench(Silence(reason="cut", sent=True))
    result = await bench.handle(grounded(attempts_bound=2))
    assert (result.reason, result.cost_nano, len(result.attempts)) == ("providers_unavailable", 2 * BOUND, 2)


async def test_a_refused_request_ends_at_once_with_the_providers_words() -> None:
    bench = Bench(status(400))
    result = await bench.handle()
    assert bench.calls.made == ["a"]
    assert (result.outcome, result.reason, result.cost_nano) == ("refused", "provider_refused", 0)
    assert "so said the provider" in result.detail


@pytest.mark.parametrize("code", [401, 403, 404])
async def test_a_wrong_key_or_address_is_the_deployments_fault_and_another_is_asked(code: int) -> None:
    bench = Bench(status(code), ANSWER)
    assert (await bench.handle()).deployment == "b"
    alone = Bench(status(code), rows=ONE)
    assert (await alone.handle()).reason == "providers_unavailable"
    assert alone.calls.made == ["a"]


async def test_retry_after_is_waited_for_when_it_fits_the_deadline() -> None:
    bench = Bench(status(429, "3"), ANSWER, rows=ONE)
    result = await bench.handle()
    assert result.outcome == "answered"
    assert 3.0 <= bench.clock.slept[0] <= 3.0 * 1.25


async def test_retry_after_beyond_the_deadline_ends_the_request_with_that_hint() -> None:
    bench = Bench(status(429, "90"), ANSWER, rows=ONE)
    result = await bench.handle()
    assert (result.outcome, result.reason, result.retry_after_ms) == ("failed", "providers_unavailable", 90_000)
    assert bench.clock.slept == []


async def test_retry_after_of_one_request_keeps_the_next_away_from_that_deployment() -> None:
    bench = Bench(status(429, "20"), ANSWER)
    await bench.handle()
    await bench.handle(grounded(request_id="r-2"))
    assert bench.calls.made == ["a", "b", "b"]
    assert bench.deployments.door(bench.rows[0]).breaker.state == "closed"


async def test_an_open_breaker_is_skipped_and_its_renewal_is_the_hint_when_nothing_else_is_there() -> None:
    bench = Bench(status(500), rows=ONE)
    for number in range(5):
        await bench.handle(grounded(attempts_bound=1, request_id=f"r-{number}"))
    assert bench.deployments.door(ONE[0]).breaker.state == "open"
    result = await bench.handle(grounded(request_id="r-9", deadline_ms=bench.clock.now_ms() + 500))
    assert len(bench.calls.made) == 5
    assert (result.reason, result.retry_after_ms) == ("providers_unavailable", 1000)


async def test_a_request_with_time_waits_for_the_breaker_and_is_the_probe() -> None:
    bench = Bench(*[status(500)] * 5, ANSWER, rows=ONE)
    for number in range(5):
        await bench.handle(grounded(attempts_bound=1, request_id=f"r-{number}"))
    assert (await bench.handle(grounded(request_id="r-9"))).outcome == "answered"
    assert bench.deployments.door(ONE[0]).breaker.state == "closed"


async def test_only_one_of_many_waiting_requests_is_the_probe() -> None:
    bench = Bench(*[status(500)] * 5, ANSWER, rows=ONE)
    for number in range(5):
        await bench.handle(grounded(attempts_bound=1, request_id=f"r-{number}"))
    bench.clock.seconds += 1.0
    under_way: list[int] = []
    gate = asyncio.Event()
    bench.calls.call = _held(gate, under_way)  # type: ignore[method-assign]
    tasks = [asyncio.create_task(bench.handle(grounded(request_id=f"w-{number}", deadline_ms=NOON + 10**9))) for number in range(20)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert sum(under_way) == 1
    gate.set()
    assert {result.outcome for result in await asyncio.gather(*tasks)} == {"answered"}


def _held(gate: asyncio.Event, under_way: list[int]):  # type: ignore[no-untyped-def]
    async def call(*_: object) -> Reply:
        under_way.append(1)
        await gate.wait()
        return ANSWER

    return call


async def test_nothing_new_is_done_after_the_deadline() -> None:
    bench = Bench()
    result = await bench.handle(grounded(deadline_ms=NOON))
    assert bench.calls.made == []
    assert (result.outcome, result.reason) == ("expired", "deadline_exceeded")


async def test_the_deadline_bounds_the_call_and_the_deployments_time_out_does_too() -> None:
    bench = Bench()
    await bench.handle(grounded(deadline_ms=NOON + 700))
    await bench.handle(grounded(request_id="r-2", deadline_ms=NOON + 10**9))
    assert bench.calls.given_s == [0.7, 60.0]


async def test_a_deadline_that_passes_while_the_start_is_logged_costs_nothing() -> None:
    bench = Bench()
    write = bench.log.write_ahead

    async def slow(record: AttemptStarted | AttemptFinished) -> None:
        await bench.clock.sleep(1.0)
        await write(record)

    bench.log.write_ahead = slow  # type: ignore[method-assign, assignment]
    result = await bench.handle(grounded(deadline_ms=NOON + 900))
    assert bench.calls.made == []
    assert (result.outcome, result.cost_nano) == ("expired", 0)
    assert [(a.outcome, a.reason) for a in result.attempts] == [("failed", "not_sent")]


async def test_a_deadline_that_cuts_a_call_expires_the_request_and_counts_the_attempt_in_full() -> None:
    bench = Bench()

    def hang() -> Silence:
        bench.clock.seconds += 0.7
        return TIMED_OUT

    bench.calls.ends = [hang]
    result = await bench.handle(grounded(deadline_ms=NOON + 700))
    assert (result.outcome, result.cost_nano) == ("expired", BOUND)
    assert result.attempts[0].reason == "deadline"


async def test_tenants_in_a_hurry_do_not_open_a_breaker_for_the_others() -> None:
    bench = Bench(TIMED_OUT, rows=ONE)
    for number in range(20):
        await bench.handle(grounded(attempts_bound=1, request_id=f"r-{number}", deadline_ms=bench.clock.now_ms() + 100))
    assert bench.deployments.door(ONE[0]).breaker.state == "closed"


async def test_only_deployments_with_a_quote_are_called() -> None:
    bench = Bench()
    result = await bench.handle(grounded(quotes=("b",)))
    assert bench.calls.made == ["b"]
    assert result.deployment == "b"
    nothing = await bench.handle(grounded(quotes=(), request_id="r-2"))
    assert (nothing.reason, nothing.retry_after_ms) == ("providers_unavailable", None)


async def test_a_deployment_switched_off_during_a_back_off_is_not_called_any_more() -> None:
    bench = Bench(status(500), ANSWER, rows=ONE)
    write = bench.log.write_ahead

    async def write_and_switch_off(record: AttemptStarted | AttemptFinished) -> None:
        await write(record)
        await bench.configure(replace(ONE[0], active=False))

    bench.log.write_ahead = write_and_switch_off  # type: ignore[method-assign, assignment]
    assert (await bench.handle()).reason == "providers_unavailable"
    assert bench.calls.made == ["a"]


async def test_a_door_that_shuts_while_a_request_waits_for_room_keeps_it_out() -> None:
    bench = Bench(rows=ONE)
    bench.clock = bench.deployments._clock = StillClock()
    door = bench.deployments.door(ONE[0])
    door.lanes.limit = 0
    task = asyncio.create_task(bench.handle(grounded(deadline_ms=NOON + 2000)))
    await asyncio.sleep(0.01)
    door.breaker.cool_down(60)
    door.lanes.limit = 1
    door.lanes.let_in()
    assert (await asyncio.wait_for(task, 2)).reason == "providers_unavailable"
    assert (bench.calls.made, door.lanes.inside) == ([], 0)


async def test_a_full_deployment_is_passed_over_for_one_with_room() -> None:
    bench = Bench()
    bench.deployments.door(bench.rows[0]).lanes.limit = 0
    assert (await bench.handle()).deployment == "b"


async def test_calls_wait_before_they_are_announced_while_as_many_as_may_are_being_begun() -> None:
    bench = Bench(rows=ONE)
    bench.deployments._most_starting = 2
    sent: list[Callable[[], None]] = []
    gate = asyncio.Event()

    async def call(*arguments: Any) -> Reply:
        sent.append(arguments[-1])
        await gate.wait()
        return ANSWER

    bench.calls.call = call  # type: ignore[method-assign, assignment]
    bench.clock = bench.deployments._clock = StillClock()
    tasks = [asyncio.create_task(bench.handle(grounded(request_id=f"w-{number}", deadline_ms=NOON + 10**9))) for number in range(5)]
    await _turns()
    assert (len(sent), len(bench.log.started())) == (2, 2)

    sent[0]()
    await _turns()
    assert (len(sent), len(bench.log.started())) == (3, 3)

    gate.set()
    assert {result.outcome for result in await asyncio.gather(*tasks)} == {"answered"}


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_request_whose_time_passes_before_its_call_may_begin_was_never_announced_and_is_no_failure_of_the_deployment() -> None:
    bench = Bench(rows=ONE)
    bench.deployments._most_starting = 0
    result = await bench.handle()
    assert (result.outcome, result.reason, result.attempts, result.cost_nano) == ("expired", "deadline_exceeded", (), 0)
    assert (bench.log.started(), bench.deployments.door(ONE[0]).breaker.state) == ([], "closed")


@pytest.mark.parametrize(("sent", "reason", "outcome"), [(False, "not_sent", "failed"), (True, "deadline", "unknown")])
async def test_time_outs_while_our_own_loop_was_late_open_no_breaker(sent: bool, reason: str, outcome: str) -> None:
    bench = Bench(*[Silence(reason="timeout" if sent else "connection", sent=sent, ours=True)] * 30, ANSWER, rows=ONE)
    for number in range(30):
        await bench.handle(grounded(request_id=f"w-{number}", deadline_ms=NOON + 10_000))
    assert {(end.reason, end.outcome) for end in bench.log.finished()[:30]} == {(reason, outcome)}
    assert bench.deployments.door(ONE[0]).breaker.state == "closed"


async def test_a_request_that_finds_no_room_until_its_deadline_expires() -> None:
    bench = Bench(rows=ONE)
    bench.deployments.door(ONE[0]).lanes.limit = 0
    result = await bench.handle()
    assert (result.outcome, result.attempts) == ("expired", ())


async def test_what_may_only_come_from_the_cache_is_never_bought() -> None:
    record = grounded()
    result = await (bench := Bench()).handle(replace(record, admission=replace(record.admission, cache_only=True)))
    assert bench.calls.made == []
    assert (result.outcome, result.reason) == ("refused", "budget_exceeded")


async def test_a_length_finish_is_an_answer() -> None:
    cut = {"index": 0, "message": {"role": "assistant", "content": "It"}, "finish_reason": "length"}
    result = await Bench(Reply(status=200, body=body(choices=[cut]))).handle()
    assert (result.outcome, result.finish_reason) == ("answered", "length")


async def test_an_answer_without_usage_is_given_and_charged_the_worst_case() -> None:
    result = await Bench(Reply(status=200, body=body(usage=None))).handle()
    assert (result.outcome, result.cost_nano, result.attempts[0].reason) == ("answered", BOUND, "usage_missing")


async def test_a_malformed_answer_counts_in_full_and_another_deployment_is_asked() -> None:
    result = await Bench(Reply(status=200, body=b'{"choices": [{"mess'), ANSWER).handle()
    assert (result.deployment, result.cost_nano) == ("b", BOUND + 20)
    assert (result.attempts[0].outcome, result.attempts[0].reason) == ("unknown", "malformed_json")


# The journal


async def test_a_finished_attempt_is_never_bought_again() -> None:
    bench = Bench()
    first = await bench.handle()
    again = await bench.handle()
    bench.restart()
    after = await bench.handle()
    assert bench.calls.made == ["a"]
    assert again == first
    assert after == first


async def test_a_bought_answer_is_given_even_after_the_deadline() -> None:
    bench = Bench()
    await bench.handle()
    bench.clock.seconds += 3600
    bench.restart()
    assert (await bench.handle()).outcome == "answered"
    assert bench.calls.made == ["a"]


async def test_an_attempt_started_without_end_is_unknown_on_the_log_and_another_is_made() -> None:
    bench = Bench()
    bench.log.records = [started()]
    bench.restart()
    result = await bench.handle()
    lost, bought = bench.log.finished()
    assert (lost.attempt_id, lost.outcome, lost.reason, lost.cost_nano) == (started().attempt_id, "unknown", "lost", BOUND)
    assert (bought.number, bought.deployment) == (2, "b")
    assert result.cost_nano == BOUND + 20


async def test_a_lost_attempt_counts_among_the_attempts_reserved_for() -> None:
    bench = Bench()
    bench.log.records = [started()]
    bench.restart()
    result = await bench.handle(grounded(attempts_bound=1))
    assert bench.calls.made == []
    assert (result.reason, result.cost_nano) == ("providers_unavailable", BOUND)


async def test_a_lost_attempt_counts_in_full_when_the_request_comes_again_too_late() -> None:
    bench = Bench()
    bench.log.records = [started()]
    bench.restart()
    result = await bench.handle(grounded(deadline_ms=NOON - 1))
    assert (result.outcome, result.cost_nano, bench.calls.made) == ("expired", BOUND, [])
    assert len(bench.log.finished()) == 1


async def test_an_answer_that_a_dead_router_had_sent_and_that_came_to_the_log_late_was_bought_again() -> None:
    bench = Bench()
    bench.log.records = [started()]
    bench.restart()

    async def read_again(partition: int, since_ms: int) -> None:
        assert since_ms == started().started_at_ms
        bench.journal.load(partition, ended())
        for lost in bench.log.finished():
            bench.journal.load(partition, lost)

    bench.router._read_again = read_again
    result = await bench.handle()
    assert bench.calls.made == []
    assert (result.outcome, result.cost_nano) == ("answered", 20)
    assert result.message == ended().message


async def test_a_handler_killed_between_call_and_log_leaves_an_unknown_attempt() -> None:
    bench = Bench()
    bench.log.fail = (AttemptFinished, asyncio.CancelledError(), False)
    with pytest.raises(asyncio.CancelledError):
        await bench.handle()
    bench.restart()
    result = await bench.handle()
    assert bench.calls.made == ["a", "b"]
    assert result.cost_nano == BOUND + 20


async def test_an_end_whose_acknowledgement_did_not_come_is_logged_again_and_not_bought_again() -> None:
    bench = Bench()
    bench.log.fail = (AttemptFinished, DOWN, False)
    with pytest.raises(RetryableError):
        await bench.handle()
    assert (await bench.handle()).outcome == "answered"
    assert bench.calls.made == ["a"]
    assert len(bench.log.finished()) == 1


async def test_a_refusal_on_the_log_ends_the_request_without_a_call() -> None:
    bench = Bench()
    bench.log.records = [started(), ended(outcome="failed", status=422, reason="status_422", message=None, cost_nano=0)]
    bench.restart()
    assert (await bench.handle()).reason == "provider_refused"
    assert bench.calls.made == []


async def test_the_first_end_of_an_attempt_on_the_log_holds() -> None:
    bench = Bench()
    bench.log.records = [started(), ended(outcome="unknown", status=0, reason="lost", message=None, cost_nano=BOUND), ended()]
    bench.restart()
    assert (await bench.handle()).cost_nano == BOUND + 20


async def test_an_error_that_ends_a_request_counts_the_attempt_under_way_in_full() -> None:
    bench = Bench()
    bench.log.records = [started(), ended(outcome="failed", status=500, message=None, cost_nano=0), started(2)]
    bench.restart()
    (result,) = bench.router.ending(grounded(), bench.context(), TerminalError("internal_error", "a bug"))
    assert isinstance(result, RequestFinished)
    assert (result.outcome, result.reason, result.cost_nano) == ("failed", "internal_error", BOUND)
    assert [attempt.reason for attempt in result.attempts] == ["", "lost"]


async def test_a_handler_that_is_cancelled_gives_back_its_room_and_its_probe() -> None:
    bench = Bench(rows=ONE)
    bench.calls.call = _held(asyncio.Event(), [])  # type: ignore[method-assign]
    task = asyncio.create_task(bench.handle())
    for _ in range(10):
        await asyncio.sleep(0)
    door = bench.deployments.door(ONE[0])
    assert door.lanes.inside == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (door.lanes.inside, door.breaker.state) == (0, "closed")


async def under_way(bench: Bench) -> tuple[asyncio.Event, asyncio.Task[RequestFinished]]:
    """A request whose first call waits for the event."""
    answers = asyncio.Event()
    bench.calls.call = _held(answers, [])  # type: ignore[method-assign]
    task = asyncio.create_task(bench.handle())
    for _ in range(10):
        await asyncio.sleep(0)
    return answers, task


async def test_a_call_under_way_is_on_the_journal_once_more_when_its_partition_goes_to_another_router() -> None:
    bench = Bench()
    answers, task = await under_way(bench)

    await bench.router.hand_over(0, bench.log.write_ahead)
    answers.set()
    result = await task

    first, again = bench.log.started()
    assert again.attempt_id == first.attempt_id
    assert again.continues_until_ms > bench.clock.now_ms()
    assert result.outcome == "answered"


async def test_the_next_owner_waits_for_a_call_that_goes_on_and_gives_its_answer_instead_of_buying_again() -> None:
    bench = Bench()
    bench.log.records = [started(), started(continues_until_ms=NOON + 5_000)]
    bench.restart()

    async def arrives(partition: int, since_ms: int) -> None:
        assert since_ms == started().started_at_ms
        bench.journal.load(partition, ended())

    bench.router._read_again = arrives
    result = await bench.handle()

    assert (result.outcome, result.cost_nano, bench.calls.made) == ("answered", 20, [])


async def test_a_call_that_went_on_elsewhere_and_never_ended_counts_in_full_after_its_time() -> None:
    bench = Bench()
    bench.log.records = [started(), started(continues_until_ms=NOON + 5_000)]
    bench.restart()

    result = await bench.handle()

    assert (result.cost_nano, bench.calls.made) == (BOUND + 20, ["b"])
    assert bench.clock.seconds >= 5


async def test_a_router_that_has_handed_a_partition_over_begins_no_attempt_there_until_it_is_back() -> None:
    bench = Bench()
    await bench.router.hand_over(0, bench.log.write_ahead)

    with pytest.raises(RetryableError):
        await bench.handle()
    assert (bench.calls.made, bench.log.records) == ([], [])
    bench.router.take_over(0)

    assert (await bench.handle()).outcome == "answered"


async def test_a_request_of_a_partition_that_never_came_back_ends_with_its_deadline() -> None:
    bench = Bench()
    await bench.router.hand_over(0, bench.log.write_ahead)

    result = await bench.handle(grounded(deadline_ms=NOON - 1))

    assert (result.outcome, bench.calls.made) == ("expired", [])


async def test_a_router_that_slept_over_the_deadline_before_its_attempt_announces_none() -> None:
    bench = Bench()
    bench.sleeps_s = 5.0

    result = await bench.handle(grounded(deadline_ms=NOON + 4_000))

    assert (result.outcome, bench.calls.made, bench.log.records) == ("expired", [], [])


def granted_by(opening: int) -> RequestGrounded:
    record = grounded()
    return replace(record, admission=replace(record.admission, ledger=opening))


async def test_nothing_is_bought_on_a_grant_of_an_earlier_ledger_and_the_request_is_asked_for_again() -> None:
    bench = Bench(ANSWER)
    bench.opening = 8

    (again,) = await bench.router.handle(granted_by(7), bench.context())

    assert isinstance(again, RequestWaiting)
    assert (again.request, again.fingerprint, again.limit_hit.kind) == (grounded().request, "f-1", "ledger")
    assert bench.calls.made == []
    assert bench.log.records == []


async def test_what_was_bought_on_a_grant_before_the_ledger_was_opened_anew_is_delivered() -> None:
    bench = Bench(ANSWER)
    bench.opening = 7
    bought = await bench.handle(granted_by(7))
    bench.opening = 8
    bench.restart()

    result = await bench.handle(granted_by(7))

    assert (result.outcome, result.attempts) == ("answered", bought.attempts)
    assert len(bench.calls.made) == 1


async def test_a_grant_of_the_latest_ledger_or_of_nobody_knows_which_is_bought_on() -> None:
    bench = Bench(ANSWER, ANSWER)
    bench.opening = 7

    assert (await bench.handle(granted_by(7))).outcome == "answered"
    assert (await bench.handle(grounded(request_id="r-2"))).outcome == "answered"


async def test_an_attempt_in_a_result_says_how_many_tokens_were_booked_for_it() -> None:
    result = await Bench(status(500), ANSWER).handle()

    assert [attempt.tokens for attempt in result.attempts] == [0, 15]
    assert sum(attempt.tokens for attempt in result.attempts) == result.usage.input_tokens + result.usage.output_tokens
