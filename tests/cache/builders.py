"""Records, a clock that is moved by hand, and a replica of the cache whose outputs come back to it as from the log."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from daytwo.broker import outgoing
from daytwo.flow import Change, Context, Output, Table, Tombstone
from daytwo.question import question_key
from daytwo.records import (
    Admission,
    AnswerLearned,
    CachePolicy,
    Message,
    RequestEmbedded,
    RequestFinished,
    RequestGrounded,
    RequestSubmitted,
    TenantConfigured,
    Usage,
    Vector,
)
from daytwo.results import finished
from daytwo.topics import TENANT_CONFIGURED
from services.cache import learning
from services.cache.ports import Answers
from services.cache.service import service
from services.cache.settings import Settings

START_MS = 1_700_000_000_000
POLICY = CachePolicy(threshold=0.9, ttl_s=3600)


class ManualClock:
    def __init__(self) -> None:
        self.ms = START_MS
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self.ms + seconds * 1000, self._order, future))
        await future

    async def advance(self, ms: int) -> None:
        """Lets time pass in small steps, and everything that then wants to run, run."""
        end = self.ms + ms
        while self.ms < end:
            await settle()
            self.ms = min(end, self.ms + 50)
            while self._sleepers and self._sleepers[0][0] <= self.ms:
                future = heapq.heappop(self._sleepers)[2]
                if not future.done():
                    future.set_result(None)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def vector(similarity: float = 1.0, *, model: str = "wordllama-256", version: str = "1", turn: float = 0.0, dimension: int = 8) -> Vector:
    """A vector whose cosine with `vector(1.0)` is `similarity`; `turn` (radians) makes others as near but apart from each other."""
    rest = math.sqrt(max(0.0, 1 - similarity**2))
    values = np.zeros(dimension, dtype="<f4")
    values[:3] = similarity, rest * math.cos(turn), rest * math.sin(turn)
    return Vector(model=model, version=version, dimension=dimension, values=values.tobytes())


def request(text: str = "How do I reset my password?", *, request_id: str = "r1", tenant: str = "acme", **fields: Any) -> RequestSubmitted:
    messages = fields.pop("messages", (Message(role="user", content=text),))
    return RequestSubmitted(
        request_id=request_id, tenant=tenant, messages=messages, deadline_ms=fields.pop("deadline_ms", START_MS + 60_000), **fields
    )


def embedded(
    text: str = "How do I reset my password?", *, near: Vector | None = None, cache_only: bool = False, **fields: Any
) -> RequestEmbedded:
    asked = request(text, **fields)
    admission = Admission(
        cache_only=cache_only,
        reserved_nano=0 if cache_only else 1000,
        input_tokens_bound=10,
        attempts_bound=1,
        retry_at_ms=START_MS + 5_000 if cache_only else None,
    )
    return RequestEmbedded(request=asked, fingerprint="f" * 32, admission=admission, question=question_key(asked), vector=near)


def result(asked: RequestSubmitted, now_ms: int, **fields: Any) -> RequestFinished:
    """What the router says of a request that a deployment answered."""
    given: dict[str, Any] = {
        "outcome": "answered",
        "reason": "ok",
        "message": Message(role="assistant", content=f"Answer to {asked.request_id}."),
        "finish_reason": "stop",
        "usage": Usage(input_tokens=10, output_tokens=5),
        "cost_nano": 4_200,
        "served_by": "deployment",
        "deployment": "gpt",
        "model": "gpt-4o-mini",
        "question": question_key(asked),
    }
    return finished(asked, now_ms=now_ms, **(given | fields))


def failure(asked: RequestSubmitted, now_ms: int) -> RequestFinished:
    return finished(asked, now_ms=now_ms, outcome="failed", reason="providers_unavailable", question=question_key(asked))


def answer(
    text: str = "How do I reset my password?", *, learned_at_ms: int = START_MS, near: Vector | None = None, **fields: Any
) -> AnswerLearned:
    """What is learned of a request with that text."""
    policy = fields.pop("policy", POLICY)
    record = embedded(text, near=near, **fields)
    return learning.learned(learning.draft_of(record, policy), result(record.request, learned_at_ms))


class Replica:
    """One instance of the cache. `log` is what it wrote to answer-learned, shared with `others`, who read it too."""

    def __init__(self, answers: Answers, clock: ManualClock, *, others: Sequence[Replica] = (), **settings: Any) -> None:
        self.clock = clock
        self.tenants: Table[TenantConfigured] = Table(TENANT_CONFIGURED)
        self.log: list[Output] = others[0].log if others else []
        self._readers: list[Replica] = others[0]._readers if others else []
        self._readers.append(self)

        async def stop() -> None:
            return None

        self.service = service(answers, tenants=self.tenants, clock=clock, settings=Settings(**settings), stop=stop)
        self._answer, self._learn = (source.handle for source in self.service.inputs)
        self.configure("acme", POLICY)

    def configure(self, tenant: str, policy: CachePolicy) -> None:
        self.tenants.rows[tenant] = TenantConfigured(tenant=tenant, cache=policy)

    async def ask(self, record: RequestEmbedded, *, arrived_ms: int | None = None) -> RequestFinished | RequestGrounded:
        output = await self.output(record, arrived_ms=arrived_ms)
        assert isinstance(output, RequestFinished | RequestGrounded)
        return output

    async def output(self, record: RequestEmbedded, *, arrived_ms: int | None = None) -> Output:
        assert self._answer is not None
        (output,) = await self._answer(record, self._context(arrived_ms))
        return output

    async def hear(self, end: RequestFinished) -> Sequence[Output]:
        """A result from the log. What is learned of it reaches every replica."""
        assert self._learn is not None
        outputs = await self._learn(end, self._context(None))
        for reader in self._readers if outputs else ():
            await reader.follow(outputs)
        self.log += outputs
        return outputs

    async def learn(self, record: RequestEmbedded, **fields: Any) -> RequestFinished:
        """Has `record` missed, answered by a deployment, and learned."""
        assert isinstance(await self.ask(record), RequestGrounded)
        end = result(record.request, self.clock.ms, **fields)
        await self.hear(end)
        return end

    async def follow(self, outputs: Sequence[Output]) -> None:
        changes = [Change(key=(outgoing(each).key or b"").decode(), record=_value(each), partition=0, offset=0) for each in outputs]
        await self.service.followers[1].apply(changes)

    def _context(self, arrived_ms: int | None) -> Context:
        async def write_ahead(record: Any) -> None:
            raise AssertionError("the cache writes nothing ahead")

        return Context(
            service="cache",
            topic="",
            partition=0,
            offset=0,
            timestamp_ms=self.clock.ms if arrived_ms is None else arrived_ms,
            started_ms=self.clock.ms,
            key=None,
            value=None,
            headers={},
            clock=self.clock,
            write_ahead=write_ahead,
        )


def _value(output: Output) -> AnswerLearned | None:
    assert isinstance(output, AnswerLearned | Tombstone)
    return output if isinstance(output, AnswerLearned) else None


def again(record: RequestEmbedded, request_id: str) -> RequestEmbedded:
    """The same question in another request."""
    return replace(record, request=replace(record.request, request_id=request_id))
