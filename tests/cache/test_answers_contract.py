"""What the cache may rely on in its store: the fake of these tests and the one on Redis alike."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from daytwo.clock import Clock, SystemClock
from daytwo.records import AnswerLearned
from services.cache.learning import draft_of
from services.cache.ports import Answers, Flight
from services.cache.redis_answers import RedisAnswers
from tests.cache.builders import POLICY, ManualClock, answer, embedded
from tests.cache.fake_answers import FakeAnswers

FOLLOW_MS = 1_000


class Store:
    """A store, and a tenant of one test in it."""

    def __init__(self, answers: Answers, clock: Clock) -> None:
        self.answers = answers
        self.clock = clock
        self.tenant = f"t{uuid.uuid4().hex[:10]}"

    def draft(self, request_id: str, **fields: Any) -> AnswerLearned:
        return draft_of(embedded(request_id=request_id, tenant=self.tenant, **fields), POLICY)

    def answer(self, request_id: str) -> AnswerLearned:
        return answer(request_id=request_id, tenant=self.tenant, learned_at_ms=self.clock.now_ms())

    async def enter(self, request_id: str, *, follow: bool = True, for_ms: int = 30_000) -> Flight | None:
        return await self.answers.enter(self.draft(request_id), follow=follow, until_ms=self.clock.now_ms() + for_ms)

    async def let_pass(self, ms: int) -> None:
        if isinstance(self.clock, ManualClock):
            await self.clock.advance(ms)
        else:
            await self.clock.sleep(ms / 1000)


@pytest.fixture(params=["fake", pytest.param("redis", marks=pytest.mark.stack)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "fake":
        clock = ManualClock()
        yield Store(FakeAnswers(clock, follow_ms=FOLLOW_MS), clock)
        return
    answers = RedisAnswers(os.environ["DAYTWO_CACHE_REDIS"], SystemClock(), follow_ms=FOLLOW_MS, timeout_ms=2000)
    yield Store(answers, SystemClock())
    await answers.close()


async def test_the_first_of_equal_requests_goes_on_and_the_next_is_told_whom_to_wait_for(store: Store) -> None:
    assert await store.enter("r1") is None
    flight = await store.enter("r2")

    assert flight is not None
    assert flight.leader == "r1"
    assert abs(flight.since_ms - store.clock.now_ms()) < 2000


async def test_who_went_on_goes_on_again_even_after_its_end(store: Store) -> None:
    assert await store.enter("r1") is None
    assert await store.enter("r1") is None
    await store.answers.end(store.draft("r1"), another=True)
    assert await store.enter("r2") is None
    assert await store.enter("r1") is None


async def test_who_does_not_follow_goes_on_beside_the_leader_and_leaves_it_the_lead(store: Store) -> None:
    await store.enter("r1")
    assert await store.enter("r2", follow=False) is None
    flight = await store.enter("r3")

    assert flight is not None
    assert flight.leader == "r1"
    assert await store.answers.draft(store.tenant, "r2") == store.draft("r2")


async def test_when_a_leader_fails_the_next_leads_in_its_place_and_on_its_time(store: Store) -> None:
    await store.enter("r1")
    first = await store.enter("r2")
    await store.let_pass(20)
    await store.answers.end(store.draft("r1"), another=True)

    assert await store.enter("r2") is None
    assert first is not None
    assert await store.enter("r3") == replace(first, leader="r2")


async def test_when_the_answer_cannot_be_kept_nobody_waits(store: Store) -> None:
    await store.enter("r1")
    await store.answers.end(store.draft("r1"), another=False)

    assert [await store.enter(each) for each in ("r2", "r3", "r4")] == [None, None, None]


async def test_the_end_of_one_who_does_not_lead_leaves_the_flight_alone(store: Store) -> None:
    await store.enter("r1")
    await store.enter("r2", follow=False)
    await store.answers.end(store.draft("r2"), another=False)
    flight = await store.enter("r3")

    assert flight is not None
    assert flight.leader == "r1"


async def test_a_flight_ends_with_its_leaders_deadline(store: Store) -> None:
    await store.enter("r1", for_ms=60)
    await store.let_pass(150)

    assert await store.enter("r2") is None


async def test_a_flight_that_lasts_too_long_holds_nobody_back_and_is_not_taken_over(store: Store) -> None:
    await store.enter("r1")
    held = await store.enter("r2")
    await store.let_pass(FOLLOW_MS + 100)

    assert held is not None
    assert [await store.enter(each) for each in ("r2", "r3")] == [None, None]
    assert (await store.answers.watch(store.tenant, store.draft("r1").question, "r1")).flight == held


async def test_a_draft_is_handed_out_until_its_request_has_ended(store: Store) -> None:
    assert await store.answers.draft(store.tenant, "r1") is None
    await store.enter("r1")
    before = await store.answers.draft(store.tenant, "r1")
    await store.answers.end(store.draft("r1"), another=True)

    assert before == store.draft("r1")
    assert await store.answers.draft(store.tenant, "r1") is None


async def test_keeping_an_answer_ends_the_flight_and_the_draft_of_its_request(store: Store) -> None:
    await store.enter("r1")
    kept = store.answer("r1")
    await store.answers.keep([kept])

    watched = await store.answers.watch(store.tenant, kept.question, "r1")
    assert (watched.answer, watched.flight) == (kept, None)
    assert await store.answers.draft(store.tenant, "r1") is None
    assert await store.enter("r2") is None


async def test_keeping_an_old_answer_leaves_a_newer_flight_alone(store: Store) -> None:
    await store.enter("r2")
    await store.answers.keep([store.answer("r1")])
    flight = await store.enter("r3")

    assert flight is not None
    assert flight.leader == "r2"


async def test_a_request_that_went_on_is_known_beside_the_answer(store: Store) -> None:
    kept = store.answer("r1")
    await store.answers.keep([kept])
    await store.enter("r2")

    assert (await store.answers.recall(store.tenant, kept.answer_id, "r2")).went_on
    other = await store.answers.recall(store.tenant, kept.answer_id, "r3")
    assert (other.answer, other.went_on) == (kept, False)


async def test_no_tenant_recalls_the_answer_of_another(store: Store) -> None:
    kept = store.answer("r1")
    await store.answers.keep([kept])

    assert (await store.answers.recall(f"{store.tenant}x", kept.answer_id, "r1")).answer is None
    assert (await store.answers.watch(f"{store.tenant}x", kept.question, "r1")).answer is None


async def test_an_answer_is_kept_until_it_expires_and_not_at_all_after(store: Store) -> None:
    now_ms = store.clock.now_ms()
    short = replace(store.answer("r1"), expires_at_ms=now_ms + 60)
    late = replace(store.answer("r2"), expires_at_ms=now_ms)
    await store.answers.keep([short, late])
    there = [(await store.answers.recall(store.tenant, each.answer_id, "r")).answer for each in (short, late)]
    await store.let_pass(150)

    assert there == [short, None]
    assert (await store.answers.recall(store.tenant, short.answer_id, "r")).answer is None


async def test_an_answer_that_is_gone_is_deleted_and_many_are_kept_at_once(store: Store) -> None:
    many = [store.answer(f"r{n}") for n in range(600)]
    await store.answers.keep(many)
    await store.answers.keep(many, [(store.tenant, many[7].answer_id)])

    assert (await store.answers.recall(store.tenant, many[7].answer_id, "r")).answer is None
    assert (await store.answers.recall(store.tenant, many[599].answer_id, "r")).answer == many[599]
