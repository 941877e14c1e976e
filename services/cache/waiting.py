"""Handlers of this process that wait until an equal question in flight has its answer."""

from __future__ import annotations

import asyncio

from daytwo.clock import Clock
from daytwo.records import AnswerLearned


class Waiting:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._futures: dict[tuple[str, str], set[asyncio.Future[AnswerLearned | None]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._futures.values()))

    async def wait(self, tenant: str, question: str, seconds: float) -> AnswerLearned | None:
        """The answer that `wake` brings; None where it brings none, or not in time."""
        future: asyncio.Future[AnswerLearned | None] = asyncio.get_running_loop().create_future()
        futures = self._futures.setdefault((tenant, question), set())
        futures.add(future)
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((future, sleeping), return_when=asyncio.FIRST_COMPLETED)
            return future.result() if future.done() else None
        finally:
            sleeping.cancel()
            futures.discard(future)
            if not futures:
                self._futures.pop((tenant, question), None)

    def wake(self, tenant: str, question: str, answer: AnswerLearned | None) -> None:
        """`answer` None: the question ended without one; look again."""
        for future in self._futures.get((tenant, question), ()):
            if not future.done():
                future.set_result(answer)
