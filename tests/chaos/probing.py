"""Asks every partition of the road in turn, seven times a second, with the product's own client, and notes how long it took."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.partitioner import murmur2

from daytwo.client import Client, Grounding, RequestFields
from daytwo.client.errors import ClientError
from daytwo.question import question_key
from daytwo.records import RequestSubmitted
from daytwo.topics import REQUEST_SUBMITTED
from tests.chaos.load import question
from tests.chaos.recovery import Probe

EVERY_S: Final = 0.15
PATIENCE_S: Final = 60.0
PARTITIONS: Final = REQUEST_SUBMITTED.partitions


def partition_of(key: str) -> int:
    """As Kafka's clients choose it."""
    chosen: int = (murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS
    return chosen


def session_in(partition: int) -> str:
    return next(name for name in (f"s{number}" for number in itertools.count()) if partition_of(f"probe/{name}") == partition)


def questions(run: str) -> Iterator[tuple[RequestSubmitted, str]]:
    """In turn one for each partition, where it stays on every topic of the road, and its row; every other round is grounded."""
    sessions = [session_in(partition) for partition in range(PARTITIONS)]
    for number in itertools.count():
        partition, grounded = number % PARTITIONS, number // PARTITIONS % 2 == 1
        fields = {"session": sessions[partition], "grounding": Grounding(collection="notes", top_k=1) if grounded else None}
        wordings = (question("probe", f"{run}-{number}", f"Probe {run} {number} {word}", **fields) for word in itertools.count())
        one = next(one for one in wordings if partition_of(f"probe/{question_key(one)}") == partition)
        yield one, f"{'grounded' if grounded else 'plain'} {partition}"


class Probing:
    def __init__(self, client: Client) -> None:
        self.done: deque[Probe] = deque(maxlen=100_000)
        self.open: dict[str, float] = {}
        """When those without a result were sent."""
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, name: str) -> None:
        for one, row in questions(name):
            task = asyncio.create_task(self._ask(one, row))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(EVERY_S)

    async def _ask(self, one: RequestSubmitted, row: str) -> None:
        sent = self.open[one.request_id] = time.monotonic()
        try:
            fields = RequestFields(request_id=one.request_id, session=one.session, max_tokens=one.max_tokens, grounding=one.grounding)
            result = await self._client.ask(one.messages, check=False, **fields)
            answered = result.outcome == "answered"
        except ClientError:
            answered = False
        del self.open[one.request_id]
        self.done.append(Probe(row=row, sent=sent, done=time.monotonic(), answered=answered))

    async def finished(self) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def probing(kafka: str, name: str) -> AsyncIterator[Probing]:
    async with Client(kafka, tenant="probe", timeout=PATIENCE_S, grace=30) as client:
        found = Probing(client)
        asking = asyncio.create_task(found.run(name))
        try:
            yield found
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
