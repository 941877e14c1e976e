"""Answers what was answered before, lets one of several equal requests go on, and learns what a provider answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from daytwo.clock import Clock
from daytwo.codec import encode
from daytwo.errors import RetryableError
from daytwo.flow import Context, Input, Output, Service, Table, Tombstone
from daytwo.question import is_single_turn, scope_key
from daytwo.records import AnswerLearned, CachePolicy, RequestEmbedded, RequestFinished, TenantConfigured
from daytwo.results import ended_by
from daytwo.road import CacheUse, cache_use
from daytwo.topics import ANSWER_LEARNED, REQUEST_EMBEDDED, REQUEST_FINISHED
from services.cache import decision, learning
from services.cache.answers_follower import AnswersFollower
from services.cache.index import AnswerIndex, Neighbour
from services.cache.ports import Answers, Flight
from services.cache.settings import Settings
from services.cache.waiting import Waiting

FORGOTTEN_PER_LEARNED = 8
"""What is learned pays for what is forgotten, so that the topic does not grow for ever."""


def service(
    answers: Answers,
    *,
    tenants: Table[TenantConfigured],
    clock: Clock,
    settings: Settings,
    stop: Callable[[], Awaitable[None]],
) -> Service:
    cache = Cache(answers, tenants, clock, settings)
    requests = Input(
        topic=REQUEST_EMBEDDED,
        handle=cache.answer,
        ending=lambda record, context, error: [
            ended_by(
                record.request,
                error,
                now_ms=context.clock.now_ms(),
                fingerprint=record.fingerprint,
                question=record.question,
                steps=(*record.steps, context.step()),
            )
        ],
        deadline_ms=lambda record: record.request.deadline_ms,
    )
    # The request has its end. Until its answer is learned, an equal question is a follower and gets it all the same.
    results = Input(topic=REQUEST_FINISHED, handle=cache.learn, ending=lambda *_: [], patience_ms=100)
    return Service(
        name="cache",
        inputs=[requests, results],
        followers=[tenants, AnswersFollower(cache.index, answers, cache.waiting, clock)],
        stop=stop,
        max_in_flight=settings.max_in_flight,
        views={"/cache": cache.view},
    )


class Cache:
    """The two handlers, and what they share. A store that is away makes misses, never failures."""

    def __init__(self, answers: Answers, tenants: Table[TenantConfigured], clock: Clock, settings: Settings) -> None:
        self.index = AnswerIndex(settings.answers_per_tenant)
        self.waiting = Waiting(clock)
        self._answers = answers
        self._tenants = tenants
        self._clock = clock
        self._settings = settings
        self._counts: Counter[str] = Counter()

    async def view(self) -> dict[str, Any]:
        return {"answers": len(self.index), "waiting": len(self.waiting), "since_start": dict(self._counts)}

    async def answer(self, record: RequestEmbedded, context: Context) -> Sequence[Output]:
        policy = self._policy(record.request.tenant)
        use = cache_use(record.request, policy, cache_only=record.admission.cache_only)
        try:
            if use.read and policy is not None:
                found = self._find(record, policy)
                if found is not None and (outputs := await self._recall(record, context, found)):
                    return outputs
            if policy is not None and (use.read or use.learn):
                answer = await self._go_on_or_follow(record, policy, use)
                if answer is not None:
                    return [self._answered(record, context, answer)]
        except RetryableError:
            self._counts["store_away"] += 1
        if record.admission.cache_only and record.admission.then and record.admission.limit_hit is not None:
            self._counts["handed_back"] += 1
            return [decision.waiting(record, record.admission.limit_hit, step=context.step())]
        if record.admission.cache_only:
            self._counts["refused"] += 1
            return [decision.refused(record, now_ms=self._clock.now_ms(), step=context.step())]
        return [self._missed(record, context)]

    async def learn(self, result: RequestFinished, context: Context) -> Sequence[Output]:
        """A result that comes while the store is away is not learned: its request has its end, only a saving is lost."""
        if result.served_by == "cache" or not result.question:
            return []  # an answer of ours; or it never came here: it went straight to the router, or was refused before
        try:
            draft = await self._answers.draft(result.tenant, result.request_id)
            if draft is None:
                return []
            if (answer := self._to_learn(draft, result)) is not None:
                self._counts["learned"] += 1
                return [answer, *self._tombstones(answer)]
            await self._answers.end(draft, another=learning.another_may_lead(result))
        except RetryableError:
            self._counts["store_away"] += 1
            return []
        self.waiting.wake(draft.tenant, draft.question, None)
        return []

    # answering

    def _find(self, record: RequestEmbedded, policy: CachePolicy) -> Neighbour | None:
        """The exact answer, else the nearest in meaning that is near enough."""
        request, now_ms = record.request, self._clock.now_ms()
        exact = self.index.exact(request.tenant, record.question, now_ms)
        if exact is not None:
            return Neighbour(exact, 1.0)
        if record.vector is None or policy.threshold > 1 or not is_single_turn(request):
            return None
        neighbours = self.index.near(request.tenant, scope_key(request), record.vector)
        return decision.nearest(neighbours, threshold=policy.threshold, now_ms=now_ms)

    async def _recall(self, record: RequestEmbedded, context: Context, found: Neighbour) -> Sequence[Output]:
        """The end of the request; or the request itself where it went on before, for that is not taken back; or nothing."""
        request = record.request
        recalled = await self._answers.recall(request.tenant, found.entry.answer_id, request.request_id)
        if recalled.went_on:
            return [self._missed(record, context)]
        if recalled.answer is None or not decision.servable(recalled.answer, request.tenant, self._clock.now_ms()):
            return []
        return [self._answered(record, context, recalled.answer, found.similarity)]

    async def _go_on_or_follow(self, record: RequestEmbedded, policy: CachePolicy, use: CacheUse) -> AnswerLearned | None:
        """The answer of an equal request in flight, else None: the request goes on, and has left what it takes to learn from it."""
        draft = learning.draft_of(record, policy)
        if len(draft.question_text) > self._settings.max_answer_bytes:
            return None
        while True:
            flight = await (self._enter(draft, record, use) if use.learn else self._flight(record))
            if flight is None:
                return None
            answer = await self._follow(record, flight)
            if answer is not None:
                return answer

    async def _enter(self, draft: AnswerLearned, record: RequestEmbedded, use: CacheUse) -> Flight | None:
        deadline_ms = record.request.deadline_ms
        return await self._answers.enter(draft, follow=use.read and self._until(record) > self._clock.now_ms(), until_ms=deadline_ms)

    async def _flight(self, record: RequestEmbedded) -> Flight | None:
        """The flight that a request which may not go on itself can wait for."""
        now_ms = self._clock.now_ms()
        flight = (await self._answers.watch(record.request.tenant, record.question, "")).flight
        if flight is None or not flight.leader or flight.overdue(now_ms, self._settings.follow_ms) or self._until(record) <= now_ms:
            return None
        return flight

    def _until(self, record: RequestEmbedded) -> int:
        """Moment until which the request may be held back, so that it can still be answered without the other."""
        return record.request.deadline_ms - self._settings.reserve_ms

    async def _follow(self, record: RequestEmbedded, flight: Flight) -> AnswerLearned | None:
        """Waits for the leader's answer; None: it has none, or it is not waited for any longer."""
        tenant, question = record.request.tenant, record.question
        until_ms = min(flight.since_ms + self._settings.follow_ms, self._until(record))
        self._counts["followed"] += 1
        while (left_ms := until_ms - self._clock.now_ms()) > 0:
            answer = await self.waiting.wait(tenant, question, min(left_ms, self._settings.poll_ms) / 1000)
            if answer is None:
                watched = await self._answers.watch(tenant, question, flight.leader)
                answer = watched.answer
                if answer is None and (watched.flight is None or watched.flight.leader != flight.leader):
                    return None
            if answer is not None and decision.servable(answer, tenant, self._clock.now_ms()):
                return answer
        return None

    def _answered(self, record: RequestEmbedded, context: Context, answer: AnswerLearned, similarity: float = 1.0) -> RequestFinished:
        now_ms = self._clock.now_ms()
        match = decision.match_of(answer, record.question, similarity, arrived_ms=context.timestamp_ms, now_ms=now_ms)
        self._counts[match.kind] += 1
        return decision.answered(record, answer, match, now_ms=now_ms, step=context.step())

    def _missed(self, record: RequestEmbedded, context: Context) -> Output:
        self._counts["missed"] += 1
        return decision.missed(record, step=context.step())

    # learning

    def _to_learn(self, draft: AnswerLearned, result: RequestFinished) -> AnswerLearned | None:
        policy = self._policy(result.tenant)
        if policy is None or not policy.enabled or not learning.may_be_learned(result):
            return None
        answer = learning.learned(draft, result)
        return answer if len(encode(ANSWER_LEARNED, answer)) <= self._settings.max_answer_bytes else None

    def _tombstones(self, answer: AnswerLearned) -> list[Output]:
        forgotten = self.index.take_forgotten(FORGOTTEN_PER_LEARNED, but=(answer.tenant, answer.question))
        return [Tombstone(topic=ANSWER_LEARNED, key=f"{tenant}/{question}") for tenant, question in forgotten]

    def _policy(self, tenant: str) -> CachePolicy | None:
        configured = self._tenants.get(tenant)
        return None if configured is None else configured.cache
