"""Follows what was learned: fills the index, keeps the answers in the store, and tells who waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from daytwo.clock import Clock
from daytwo.errors import RetryableError
from daytwo.flow import Change
from daytwo.records import AnswerLearned
from daytwo.topic import Topic
from daytwo.topics import ANSWER_LEARNED
from services.cache.index import AnswerIndex
from services.cache.ports import Answers
from services.cache.waiting import Waiting


class AnswersFollower:
    topic: Topic[AnswerLearned] = ANSWER_LEARNED

    def __init__(self, index: AnswerIndex, answers: Answers, waiting: Waiting, clock: Clock) -> None:
        self._index = index
        self._answers = answers
        self._waiting = waiting
        self._clock = clock

    async def apply(self, changes: Sequence[Change[AnswerLearned]]) -> None:
        fresh: dict[str, AnswerLearned] = {}
        gone: list[tuple[str, str]] = []
        for place, change in enumerate(changes):
            self._apply(change, fresh, gone)
            if place % 32 == 31:
                await asyncio.sleep(0)  # a rebuild must not keep /health or a live request waiting
        # The store has logged that it is away; a hit whose answer is not there will be a miss.
        with suppress(RetryableError):
            await self._answers.keep(list(fresh.values()), gone)
        for answer in fresh.values():
            self._waiting.wake(answer.tenant, answer.question, answer)

    def _apply(self, change: Change[AnswerLearned], fresh: dict[str, AnswerLearned], gone: list[tuple[str, str]]) -> None:
        tenant, _, question = change.key.partition("/")
        answer = change.record
        if answer is None:
            before = self._index.tombstone(tenant, question)
        elif (answer.tenant, answer.question) != (tenant, question):
            return  # a record under another tenant's key is nobody's
        else:
            before = self._index.put(answer, self._clock.now_ms())
            if answer.expires_at_ms > self._clock.now_ms():
                fresh[change.key] = answer
        if before is not None and (answer is None or before.answer_id != answer.answer_id):
            gone.append((tenant, before.answer_id))
