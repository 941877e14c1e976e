"""What the cache needs of a store shared by its replicas. Everything in it may vanish at any time: that costs a call, never a request.

Every method raises RetryableError("store_unavailable") while the store is away. `redis_answers.py` is the real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from daytwo.records import AnswerLearned


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A question that went on and has no end yet."""

    leader: str
    """Request id of who went on; empty: it ended without an answer to keep, and another may lead."""
    since_ms: int
    """When the first of the equal requests went on, epoch milliseconds; 0: waiting for an equal one gains nothing."""

    def overdue(self, now_ms: int, follow_ms: int) -> bool:
        """True: nobody waits for it any more, everyone goes on alone."""
        return now_ms >= self.since_ms + follow_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    answer: AnswerLearned | None
    """None: the store has lost it. Its vector is not kept."""
    went_on: bool
    """The request was sent on before, as a miss, and must be again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    answer: AnswerLearned | None
    flight: Flight | None


class Answers(Protocol):
    async def recall(self, tenant: str, answer_id: str, request_id: str) -> Recalled:
        """The answer, and whether `request_id` went on before."""
        ...

    async def enter(self, draft: AnswerLearned, *, follow: bool, until_ms: int) -> Flight | None:
        """Lets `draft.request_id` go on (None), or names the flight it may wait for instead (only with `follow`).

        Atomic. Who goes on leaves its draft, and becomes the leader if there is none and the flight is not overdue; who went on
        before goes on again. The flight is kept until `until_ms` (epoch milliseconds), the draft a little longer.
        """
        ...

    async def watch(self, tenant: str, question: str, leader: str) -> Watched:
        """The answer that request `leader` was given, if it was learned, and the flight of the question: one atomic look."""
        ...

    async def draft(self, tenant: str, request_id: str) -> AnswerLearned | None:
        """What the request left in `enter`; None: nothing, or it has ended."""
        ...

    async def end(self, draft: AnswerLearned, *, another: bool) -> None:
        """The request ended without an answer to keep. If it led: with `another` an equal request may lead, else none is held back."""
        ...

    async def keep(self, answers: Sequence[AnswerLearned], gone: Sequence[tuple[str, str]] = ()) -> None:
        """Keeps answers until they expire, and ends the flights and drafts of their requests. `gone`: (tenant, answer id) to delete.

        An answer is there before its flight is gone. Doing it again changes nothing.
        """
        ...
