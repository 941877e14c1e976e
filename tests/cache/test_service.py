from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from daytwo.errors import TerminalError
from daytwo.flow import Change, Tombstone
from daytwo.records import AnswerLearned, CachePolicy, LimitHit, Message, RequestFinished, RequestGrounded, RequestWaiting, Tool
from daytwo.topics import ANSWER_LEARNED
from tests.cache.builders import POLICY, START_MS, ManualClock, Replica, again, answer, embedded, failure, result, settle, vector
from tests.cache.fake_answers import FakeAnswers

T = TypeVar("T")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def answers(clock: ManualClock) -> FakeAnswers:
    return FakeAnswers(clock)


@pytest.fixture
def replica(answers: FakeAnswers, clock: ManualClock) -> Replica:
    return Replica(answers, clock)


def kind(end: RequestFinished | RequestGrounded) -> str:
    return end.cache_match.kind if isinstance(end, RequestFinished) and end.cache_match else type(end).__name__


async def asked_later(replica: Replica, text: str = "How do I reset my password?", **fields: Any) -> RequestFinished | RequestGrounded:
    """Asks a second after all that was."""
    await replica.clock.advance(1000)
    return await replica.ask(embedded(text, **{"request_id": "later", **fields}))


async def now(task: asyncio.Task[T]) -> T:
    """What `task` returns without any more time passing; fails where it would wait."""
    await settle()
    assert task.done(), "it still waits"
    return task.result()


# hits


async def test_a_question_asked_again_has_the_same_answer_for_nothing(replica: Replica) -> None:
    bought = await replica.learn(embedded())
    end = await asked_later(replica)

    assert isinstance(end, RequestFinished)
    assert (end.message, end.cost_nano, end.saved_nano, end.served_by) == (bought.message, 0, 4_200, "cache")
    assert end.cache_match is not None
    assert (end.cache_match.kind, end.cache_match.similarity, end.cache_match.age_ms) == ("exact", 1.0, 1000)
    assert [step.step for step in end.steps] == ["cache"]


async def test_a_question_near_enough_in_meaning_has_the_answer_and_says_what_it_matched(replica: Replica) -> None:
    await replica.learn(embedded(near=vector()))
    near = await asked_later(replica, "Password forgotten, what now?", near=vector(0.901))
    far = await asked_later(replica, "What is a password?", near=vector(0.899), request_id="r3")

    assert isinstance(near, RequestFinished)
    assert near.cache_match is not None
    assert (near.cache_match.kind, near.cache_match.question) == ("semantic", "How do I reset my password?")
    assert near.cache_match.similarity == pytest.approx(0.901, abs=1e-6)
    assert isinstance(far, RequestGrounded)


async def test_a_threshold_above_one_leaves_exact_hits_only(replica: Replica) -> None:
    await replica.learn(embedded(near=vector()))
    replica.configure("acme", replace(POLICY, threshold=1.01))

    assert kind(await asked_later(replica, "In other words", near=vector(), request_id="r3")) == "RequestGrounded"
    assert kind(await asked_later(replica)) == "exact"


async def test_tenants_never_share(replica: Replica) -> None:
    replica.configure("globex", POLICY)
    await replica.learn(embedded(near=vector()))

    assert kind(await asked_later(replica, tenant="globex", near=vector())) == "RequestGrounded"
    assert kind(await asked_later(replica, near=vector())) == "exact"


async def test_an_answer_that_claims_another_tenant_is_not_served(replica: Replica, answers: FakeAnswers) -> None:
    await replica.learn(embedded())
    for key, kept in answers.answers.items():
        answers.answers[key] = replace(kept, tenant="globex")

    assert kind(await asked_later(replica)) == "RequestGrounded"


async def test_a_record_under_another_tenants_key_is_ignored(replica: Replica) -> None:
    stray = answer(tenant="globex")
    replica.configure("globex", POLICY)

    await replica.service.followers[1].apply([Change(key=f"acme/{stray.question}", record=stray, partition=0, offset=0)])

    assert kind(await asked_later(replica, tenant="globex")) == "RequestGrounded"


@pytest.mark.parametrize(
    "other",
    [
        {"model": "large"},
        {"temperature": 0.7},
        {"max_tokens": 9},
        {"messages": (Message(role="system", content="Be brief."), Message(role="user", content="In other words"))},
    ],
)
async def test_other_parameters_or_instructions_are_another_scope(replica: Replica, other: dict[str, Any]) -> None:
    await replica.learn(embedded(near=vector()))

    assert kind(await asked_later(replica, "In other words", near=vector(), **other)) == "RequestGrounded"
    assert kind(await asked_later(replica, "In other words", near=vector(), request_id="r4")) == "semantic"


@pytest.mark.parametrize(
    "other",
    [
        {"tools": (Tool(name="f"),)},
        {"messages": tuple(Message(role=role, content=role) for role in ("user", "assistant", "user"))},
    ],
)
async def test_tools_and_longer_conversations_are_matched_exactly_only(replica: Replica, other: dict[str, Any]) -> None:
    await replica.learn(embedded(near=vector(), **other))

    changed = {**other, "messages": (*other.get("messages", ())[:-1], Message(role="user", content="In other words"))}
    assert kind(await asked_later(replica, near=vector(), **changed)) == "RequestGrounded"
    assert kind(await asked_later(replica, near=vector(), **other, request_id="r4")) == "exact"


async def test_an_answer_is_served_until_its_time_to_live_ends(replica: Replica, clock: ManualClock) -> None:
    await replica.learn(embedded(near=vector()))
    late: dict[str, Any] = {"deadline_ms": START_MS + 9_999_999}
    clock.ms = START_MS + 3_599_999
    before = await replica.ask(embedded(request_id="r2", **late))
    clock.ms = START_MS + 3_600_000
    exact = await replica.ask(embedded(request_id="r3", **late))
    near = await replica.ask(embedded("In other words", near=vector(), request_id="r4", **late))

    assert [kind(each) for each in (before, exact, near)] == ["exact", "RequestGrounded", "RequestGrounded"]


async def test_a_hit_takes_one_call_of_the_store_and_a_miss_one(replica: Replica, answers: FakeAnswers) -> None:
    await replica.learn(embedded())
    before = answers.calls
    await asked_later(replica)
    hit = answers.calls
    await asked_later(replica, "Something else", request_id="r5")

    assert (hit - before, answers.calls - hit) == (1, 1)


# opting out


@pytest.mark.parametrize("mode", ["off", "refresh"])
async def test_a_request_that_opts_out_is_not_answered_from_the_cache(replica: Replica, mode: Any) -> None:
    await replica.learn(embedded())

    assert kind(await asked_later(replica, cache=mode)) == "RequestGrounded"


async def test_off_learns_nothing_and_refresh_replaces_what_was_known(replica: Replica) -> None:
    await replica.learn(embedded())
    await replica.learn(embedded(request_id="unseen", cache="off"))
    first = await asked_later(replica)
    await replica.learn(embedded(request_id="fresh", cache="refresh"))
    second = await asked_later(replica)

    contents = [end.message.content for end in (first, second) if isinstance(end, RequestFinished) and end.message]
    assert contents == ["Answer to r1.", "Answer to fresh."]


async def test_off_takes_no_call_of_the_store_neither_does_a_tenant_without_cache(replica: Replica, answers: FakeAnswers) -> None:
    replica.configure("plain", CachePolicy(enabled=False))
    ends = [await replica.ask(embedded(cache="off")), await replica.ask(embedded(tenant="plain")), await replica.ask(embedded(tenant="x"))]

    assert [kind(end) for end in ends] == ["RequestGrounded"] * 3
    assert answers.calls == 0


async def test_a_tenant_that_switched_the_cache_off_meanwhile_is_not_learned_from(replica: Replica) -> None:
    record = embedded()
    await replica.ask(record)
    replica.configure("acme", CachePolicy(enabled=False))

    assert await replica.hear(result(record.request, START_MS)) == []


# budget


async def test_at_the_cap_a_cached_answer_is_given_and_anything_else_refused(replica: Replica, answers: FakeAnswers) -> None:
    await replica.learn(embedded())
    hit = await asked_later(replica, cache_only=True)
    miss = await asked_later(replica, "Something else", cache_only=True)

    assert kind(hit) == "exact"
    assert isinstance(miss, RequestFinished)
    assert (miss.outcome, miss.reason, miss.retry_after_ms) == ("refused", "budget_exceeded", 3_000)
    assert not answers.flights


async def test_what_has_no_cached_answer_goes_back_where_its_tenant_lets_something_else_be_tried(replica: Replica) -> None:
    hit = LimitHit(scope="tenant", subject="", kind="money", period="day", limit=9, used=9, wanted=1)
    asked = embedded("Something else", cache_only=True)
    record = replace(asked, admission=replace(asked.admission, round=2, then=("wait", "cheaper_route"), limit_hit=hit))

    back = await replica.output(record)

    assert isinstance(back, RequestWaiting)
    assert (back.request, back.fingerprint, back.limit_hit) == (record.request, record.fingerprint, hit)
    assert (back.round, back.then, back.until_ms) == (2, ("wait", "cheaper_route"), 0)


async def test_at_the_cap_an_equal_question_in_flight_is_waited_for(replica: Replica, clock: ManualClock) -> None:
    leader = embedded()
    await replica.ask(leader)
    waiting = asyncio.create_task(replica.ask(embedded(request_id="poor", cache_only=True)))
    lost = asyncio.create_task(replica.ask(embedded(request_id="lost", cache_only=True, deadline_ms=START_MS + 2_500)))
    await clock.advance(600)
    refused = await now(lost)
    await replica.hear(result(leader.request, clock.ms))

    assert kind(await now(waiting)) == "coalesced"
    assert isinstance(refused, RequestFinished)
    assert refused.reason == "budget_exceeded"


# equal questions in flight


async def in_turn(replica: Replica, records: Sequence[Any], ends: list[Any]) -> None:
    """As the loop handles records of one key; all arrived now."""
    arrived_ms = replica.clock.ms
    for record in records:
        end = await replica.ask(record, arrived_ms=arrived_ms)
        ends.append(end)


@pytest.mark.parametrize("together", [True, False])
async def test_fifty_equal_questions_make_one_miss(replica: Replica, clock: ManualClock, together: bool) -> None:
    records = [again(embedded(), f"r{n}") for n in range(50)]
    ends: list[Any] = []
    groups = [[record] for record in records] if together else [records]
    asking = [asyncio.create_task(in_turn(replica, group, ends)) for group in groups]
    await clock.advance(700)
    assert [kind(end) for end in ends] == ["RequestGrounded"]
    await replica.hear(result(ends[0].request, clock.ms))
    for each in asking:
        await now(each)

    assert [kind(end) for end in ends[1:]] == ["coalesced"] * 49
    assert {end.cache_match.answer_id for end in ends[1:]} == {ends[0].request.request_id}
    assert len({end.request_id for end in ends[1:]}) == 49


async def test_another_replica_hears_of_the_answer_too(answers: FakeAnswers, clock: ManualClock) -> None:
    one, two = Replica(answers, clock), Replica(answers, clock)  # apart: what one learns, two has not read yet
    leader = embedded()
    await one.ask(leader)
    waiting = asyncio.create_task(two.ask(embedded(request_id="r2")))
    await clock.advance(300)
    await one.hear(result(leader.request, clock.ms))
    await clock.advance(200)

    assert kind(await now(waiting)) == "coalesced"


async def test_when_the_leader_fails_one_follower_leads_and_the_others_wait_for_it(replica: Replica, clock: ManualClock) -> None:
    leader = embedded()
    await replica.ask(leader)
    ends: list[Any] = []
    asking = [asyncio.create_task(in_turn(replica, [again(leader, f"r{n}")], ends)) for n in range(2, 6)]
    await clock.advance(300)
    await replica.hear(failure(leader.request, clock.ms))
    await settle()
    assert [kind(end) for end in ends] == ["RequestGrounded"]
    await replica.hear(result(ends[0].request, clock.ms))
    for each in asking:
        await now(each)

    assert [kind(end) for end in ends[1:]] == ["coalesced"] * 3


async def test_when_the_answer_may_not_be_kept_the_others_go_on_at_once(replica: Replica, clock: ManualClock) -> None:
    leader = embedded()
    await replica.ask(leader)
    ends: list[Any] = []
    asking = asyncio.create_task(in_turn(replica, [again(leader, f"r{n}") for n in range(2, 6)], ends))
    await settle()
    await replica.hear(result(leader.request, clock.ms, finish_reason="length"))
    await now(asking)

    assert [kind(end) for end in ends] == ["RequestGrounded"] * 4


async def test_nobody_waits_longer_than_the_bound_however_many_wait(replica: Replica, clock: ManualClock) -> None:
    await replica.ask(embedded())
    ends: list[Any] = []
    asking = asyncio.create_task(in_turn(replica, [again(embedded(), f"r{n}") for n in range(2, 9)], ends))
    await clock.advance(9_900)
    assert ends == []
    await clock.advance(200)
    await now(asking)

    assert [kind(end) for end in ends] == ["RequestGrounded"] * 7


async def test_nobody_waits_into_the_time_it_needs_for_itself(replica: Replica, clock: ManualClock) -> None:
    await replica.ask(embedded())
    hurried = asyncio.create_task(replica.ask(embedded(request_id="r2", deadline_ms=START_MS + 5_000)))
    await clock.advance(2_900)
    assert not hurried.done()
    await clock.advance(200)

    assert kind(await now(hurried)) == "RequestGrounded"


async def test_refresh_and_off_do_not_wait_and_off_is_not_waited_for(replica: Replica) -> None:
    off = await replica.ask(embedded(cache="off"))
    leader = await replica.ask(embedded(request_id="r2"))
    refresh = await now(asyncio.create_task(replica.ask(embedded(request_id="r3", cache="refresh"))))

    assert [kind(each) for each in (off, leader, refresh)] == ["RequestGrounded"] * 3


async def test_refresh_is_waited_for(replica: Replica, clock: ManualClock) -> None:
    leader = embedded(cache="refresh")
    await replica.ask(leader)
    waiting = asyncio.create_task(replica.ask(embedded(request_id="r2")))
    await settle()
    await replica.hear(result(leader.request, clock.ms))

    assert kind(await now(waiting)) == "coalesced"


async def test_a_handler_that_is_cancelled_leaves_nobody_waiting(replica: Replica) -> None:
    await replica.ask(embedded())
    waiting = asyncio.create_task(replica.ask(embedded(request_id="r2")))
    await settle()
    held = (await replica.service.views["/cache"]())["waiting"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert (held, (await replica.service.views["/cache"]())["waiting"]) == (1, 0)


# repeats


async def test_a_request_that_went_on_goes_on_again_though_there_is_an_answer_now(replica: Replica) -> None:
    leader = embedded()
    await replica.learn(leader)
    await asked_later(replica)

    assert kind(await replica.ask(leader)) == "RequestGrounded"


async def test_a_result_that_is_read_again_learns_the_same_or_nothing(replica: Replica) -> None:
    record = embedded()
    await replica.ask(record)
    assert replica._learn is not None
    first, repeat = [await replica._learn(result(record.request, START_MS), replica._context(None)) for _ in range(2)]
    await replica.hear(result(record.request, START_MS))

    assert first == repeat
    assert await replica.hear(result(record.request, START_MS)) == []


# learning


async def test_results_from_the_cache_take_no_call_and_teach_nothing(replica: Replica, answers: FakeAnswers) -> None:
    await replica.learn(embedded())
    end = await asked_later(replica)
    before = answers.calls
    assert isinstance(end, RequestFinished)

    assert await replica.hear(end) == []
    assert answers.calls == before


async def test_an_answer_too_large_is_not_learned_and_holds_nobody_back(replica: Replica) -> None:
    record = embedded()
    await replica.ask(record)
    large = Message(role="assistant", content="x" * 300_000)

    assert await replica.hear(result(record.request, START_MS, message=large)) == []
    assert kind(await replica.ask(embedded(request_id="r2"))) == "RequestGrounded"


async def test_a_question_too_large_to_be_learned_goes_on(replica: Replica, answers: FakeAnswers) -> None:
    assert kind(await replica.ask(embedded("x" * 300_000))) == "RequestGrounded"
    assert answers.calls == 0


async def test_what_expired_is_forgotten_on_the_topic_as_something_is_learned(replica: Replica, clock: ManualClock) -> None:
    await replica.learn(embedded("old"))
    old = replica.log[0]
    clock.ms += 3_600_000
    record = embedded("new", request_id="r2", deadline_ms=clock.ms + 60_000)
    await replica.ask(record)
    learned, *forgotten = await replica.hear(result(record.request, clock.ms))

    assert isinstance(learned, AnswerLearned)
    assert isinstance(old, AnswerLearned)
    assert [each.key for each in forgotten if isinstance(each, Tombstone)] == [f"acme/{old.question}"]


# starting anew, and parts that are away


async def test_a_restarted_instance_answers_from_what_the_topic_remembers_though_redis_was_emptied(
    replica: Replica, answers: FakeAnswers, clock: ManualClock
) -> None:
    await replica.learn(embedded(near=vector()))
    await replica.learn(embedded("Another question", request_id="r2"))
    answers.lose_everything()
    restarted = Replica(answers, clock)
    await restarted.follow(replica.log)

    assert kind(await asked_later(restarted, "In other words", near=vector(0.95))) == "semantic"
    assert kind(await asked_later(restarted, "Another question")) == "exact"


async def test_an_answer_lost_from_redis_is_a_miss_and_learned_again(replica: Replica, answers: FakeAnswers) -> None:
    await replica.learn(embedded())
    answers.lose_everything()
    await replica.learn(embedded(request_id="r2"))

    assert kind(await asked_later(replica)) == "exact"


async def test_a_tombstone_takes_the_answer_from_index_and_store(replica: Replica, answers: FakeAnswers) -> None:
    await replica.learn(embedded())
    (known,) = replica.log
    assert isinstance(known, AnswerLearned)
    await replica.follow([Tombstone(topic=ANSWER_LEARNED, key=f"acme/{known.question}")])

    assert kind(await asked_later(replica)) == "RequestGrounded"
    assert not answers.answers


async def test_while_redis_is_away_every_request_goes_on_and_afterwards_all_is_as_before(replica: Replica, answers: FakeAnswers) -> None:
    await replica.learn(embedded(near=vector()))
    answers.down = True
    record = embedded("Another", request_id="r2")
    away = [await asked_later(replica), await asked_later(replica, "Near", near=vector()), await replica.ask(record)]
    poor = await asked_later(replica, "Something", cache_only=True)
    unlearned = await replica.hear(result(record.request, START_MS))
    await replica.follow([answer("learned elsewhere")])
    answers.down = False

    assert [kind(each) for each in away] == ["RequestGrounded"] * 3
    assert isinstance(poor, RequestFinished)
    assert (poor.reason, unlearned) == ("budget_exceeded", [])
    assert kind(await asked_later(replica)) == "exact"


async def test_who_waits_when_redis_goes_away_goes_on(replica: Replica, answers: FakeAnswers, clock: ManualClock) -> None:
    await replica.ask(embedded())
    waiting = asyncio.create_task(replica.ask(embedded(request_id="r2")))
    await settle()
    answers.down = True
    await clock.advance(300)

    assert kind(await now(waiting)) == "RequestGrounded"


async def test_a_request_that_cannot_be_processed_has_its_end_and_a_result_needs_none(replica: Replica) -> None:
    requests, results = replica.service.inputs
    record = embedded()
    (end,) = requests.ending(record, replica._context(None), TerminalError("poison_record", "three deaths"))

    assert isinstance(end, RequestFinished)
    assert (end.request_id, end.reason, end.question, end.fingerprint) == ("r1", "poison_record", record.question, "f" * 32)
    assert results.ending(result(record.request, 0), replica._context(None), TerminalError("poison_record")) == []
    assert requests.deadline_ms is not None
    assert requests.deadline_ms(record) == START_MS + 60_000
