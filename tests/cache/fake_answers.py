"""The store of the cache, in memory. test_answers_contract.py holds it to what the one on Redis does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from daytwo.clock import Clock
from daytwo.errors import RetryableError
from daytwo.records import AnswerLearned
from services.cache.learning import answer_id
from services.cache.ports import Flight, Recalled, Watched


@dataclass
class FakeAnswers:
    """`down` makes every call fail; `calls` counts them."""

    clock: Clock
    follow_ms: int = 10_000
    down: bool = False
    calls: int = 0
    answers: dict[tuple[str, str], AnswerLearned] = field(default_factory=dict)
    drafts: dict[tuple[str, str], tuple[AnswerLearned | None, int]] = field(default_factory=dict)
    flights: dict[tuple[str, str], tuple[Flight, int]] = field(default_factory=dict)

    async def recall(self, tenant: str, answer_id: str, request_id: str) -> Recalled:
        self._called()
        return Recalled(answer=self._answer(tenant, answer_id), went_on=self._draft(tenant, request_id) is not None)

    async def enter(self, draft: AnswerLearned, *, follow: bool, until_ms: int) -> Flight | None:
        self._called()
        now_ms = self.clock.now_ms()
        if self._draft(draft.tenant, draft.request_id) is not None:
            return None
        flight = self._flight(draft.tenant, draft.question) or Flight(leader="", since_ms=now_ms)
        overdue = flight.overdue(now_ms, self.follow_ms)
        if follow and not overdue and flight.leader not in ("", draft.request_id):
            return flight
        self.drafts[draft.tenant, draft.request_id] = (draft, until_ms + 60_000)
        if not flight.leader and not overdue:
            self.flights[draft.tenant, draft.question] = (replace(flight, leader=draft.request_id), until_ms)
        return None

    async def watch(self, tenant: str, question: str, leader: str) -> Watched:
        self._called()
        return Watched(answer=self._answer(tenant, answer_id(tenant, question, leader)), flight=self._flight(tenant, question))

    async def draft(self, tenant: str, request_id: str) -> AnswerLearned | None:
        self._called()
        found = self._draft(tenant, request_id)
        return None if found is None else found[0]

    async def end(self, draft: AnswerLearned, *, another: bool) -> None:
        self._called()
        self._empty(draft)
        flight = self._flight(draft.tenant, draft.question)
        if flight is not None and flight.leader == draft.request_id:
            _, until_ms = self.flights[draft.tenant, draft.question]
            self.flights[draft.tenant, draft.question] = (Flight(leader="", since_ms=flight.since_ms if another else 0), until_ms)

    async def keep(self, answers: Sequence[AnswerLearned], gone: Sequence[tuple[str, str]] = ()) -> None:
        self._called()
        for answer in answers:
            if (answer.tenant, answer.answer_id) in self.answers or answer.expires_at_ms <= self.clock.now_ms():
                continue
            self.answers[answer.tenant, answer.answer_id] = replace(answer, vector=None)
            self._empty(answer)
            flight = self._flight(answer.tenant, answer.question)
            if flight is not None and flight.leader == answer.request_id:
                del self.flights[answer.tenant, answer.question]
        for each in gone:
            self.answers.pop(each, None)

    def lose_everything(self) -> None:
        for kept in (self.answers, self.drafts, self.flights):
            kept.clear()

    def _called(self) -> None:
        self.calls += 1
        if self.down:
            raise RetryableError("store_unavailable", "down")

    def _answer(self, tenant: str, answer_id: str) -> AnswerLearned | None:
        found = self.answers.get((tenant, answer_id))
        return found if found is not None and found.expires_at_ms > self.clock.now_ms() else None

    def _draft(self, tenant: str, request_id: str) -> tuple[AnswerLearned | None] | None:
        found = self.drafts.get((tenant, request_id))
        return (found[0],) if found is not None and found[1] > self.clock.now_ms() else None

    def _empty(self, answer: AnswerLearned) -> None:
        key = (answer.tenant, answer.request_id)
        if key in self.drafts:
            self.drafts[key] = (None, self.drafts[key][1])

    def _flight(self, tenant: str, question: str) -> Flight | None:
        found = self.flights.get((tenant, question))
        return found[0] if found is not None and found[1] > self.clock.now_ms() else None
