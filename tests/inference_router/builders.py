"""Records, a clock, a log and a provider for tests of the router; valid unless a test says otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import orjson

from daytwo.errors import DisownedError
from daytwo.flow import Change, Context
from daytwo.records import (
    Admission,
    AttemptFinished,
    AttemptStarted,
    DeploymentConfigured,
    Grounding,
    Message,
    Passage,
    Quote,
    RequestFinished,
    RequestGrounded,
    RequestSubmitted,
    Usage,
)
from daytwo.topic import Record
from services.inference_router.breaker import BreakerPolicy
from services.inference_router.deployments import Deployments
from services.inference_router.journal import Journal, attempt_id
from services.inference_router.ports import Reply, Silence
from services.inference_router.retry import RetryPolicy
from services.inference_router.router import Router

NOON = 1_772_366_400_000
BOUND = 1000 * 1 + 100 * 2
"""Nano-dollars of the worst case of `grounded()` at `quote()`."""


class FastClock:
    """Sleeping takes no time and moves the clock."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return NOON + round(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


class StillClock(FastClock):
    """Sleeping ends when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.alarm = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.alarm.wait()


def quote(deployment: str = "a") -> Quote:
    return Quote(
        deployment=deployment,
        input_nano_per_mtok=1_000_000,
        cached_input_nano_per_mtok=500_000,
        output_nano_per_mtok=2_000_000,
        source="test",
    )


def deployment(name: str = "a", **fields: Any) -> DeploymentConfigured:
    defaults: dict[str, Any] = {"provider": "own", "model": f"model-{name}", "base_url": f"http://{name}/v1", "aliases": ("small",)}
    return DeploymentConfigured(**{"deployment": name, **defaults, **fields})


def grounded(
    quotes: Sequence[str] = ("a", "b"), *, attempts_bound: int = 3, passages: Sequence[Passage] = (), top_k: int = 5, **fields: Any
) -> RequestGrounded:
    defaults: dict[str, Any] = {
        "request_id": "r-1",
        "tenant": "acme",
        "session": "s-1",
        "messages": (Message(role="user", content="What is a breaker?"),),
        "model": "small",
        "max_tokens": 100,
        "deadline_ms": NOON + 30_000,
        "grounding": Grounding(collection="docs", top_k=top_k) if passages else None,
    }
    return RequestGrounded(
        request=RequestSubmitted(**{**defaults, **fields}),
        fingerprint="f-1",
        admission=Admission(
            cache_only=False,
            reserved_nano=BOUND * attempts_bound,
            input_tokens_bound=1000,
            attempts_bound=attempts_bound,
            quotes=tuple(map(quote, quotes)),
        ),
        question="q-1",
        passages=tuple(passages),
    )


def started(number: int = 1, name: str = "a", request_id: str = "r-1", **fields: Any) -> AttemptStarted:
    defaults: dict[str, Any] = {
        "attempt_id": attempt_id("acme", request_id, number),
        "session": "s-1",
        "model": f"model-{name}",
        "bound_nano": BOUND,
        "started_at_ms": NOON - 1000,
    }
    return AttemptStarted(request_id=request_id, tenant="acme", number=number, deployment=name, **{**defaults, **fields})


def ended(number: int = 1, name: str = "a", request_id: str = "r-1", **fields: Any) -> AttemptFinished:
    defaults: dict[str, Any] = {
        "outcome": "succeeded",
        "status": 200,
        "message": Message(role="assistant", content="From the journal."),
        "finish_reason": "stop",
        "usage": Usage(input_tokens=10, output_tokens=5),
        "cost_nano": 20,
        "latency_ms": 3.0,
        "ended_at_ms": NOON - 500,
    }
    return AttemptFinished(
        attempt_id=attempt_id("acme", request_id, number),
        request_id=request_id,
        tenant="acme",
        session="s-1",
        number=number,
        deployment=name,
        model=f"model-{name}",
        **{**defaults, **fields},
    )


def body(content: str | None = "It opens.", **fields: Any) -> bytes:
    """A chat completion of 10 + 5 tokens: 20 nano-dollars at `quote()`."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return orjson.dumps({"choices": [choice], "usage": usage, **fields})


def status(code: int, retry_after: str | None = None) -> Reply:
    return Reply(status=code, body=b'{"error": {"message": "so said the provider"}}', retry_after=retry_after)


ANSWER = Reply(status=200, body=body())
REFUSED_CONNECTION = Silence(reason="connection", sent=False)
TIMED_OUT = Silence(reason="timeout", sent=True)


class Calls:
    """A provider that answers from a list, the last for ever; and what it was asked."""

    def __init__(self, *ends: Reply | Silence | Callable[[], Reply | Silence]) -> None:
        self.ends = list(ends) or [ANSWER]
        self.made: list[str] = []
        self.ids: list[str] = []
        self.given_s: list[float] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def call(
        self, deployment: DeploymentConfigured, body: bytes, attempt_id: str, timeout_s: float, on_its_way: Callable[[], None]
    ) -> Reply | Silence:
        self.made.append(deployment.deployment)
        self.ids.append(attempt_id)
        self.given_s.append(timeout_s)
        on_its_way()
        await asyncio.sleep(0)
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        return end() if callable(end) else end


class Log:
    """What was written ahead, in order. `fail` makes the next write of that class raise, after it landed or not."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.fail: tuple[type[Any], BaseException, bool] | None = None

    async def write_ahead(self, record: Record) -> None:
        await asyncio.sleep(0)
        if self.fail is not None and isinstance(record, self.fail[0]):
            (_, error, lands), self.fail = self.fail, None
            if lands:
                self.records.append(record)
            raise error
        self.records.append(record)

    def started(self) -> list[AttemptStarted]:
        return [record for record in self.records if isinstance(record, AttemptStarted)]

    def finished(self) -> list[AttemptFinished]:
        return [record for record in self.records if isinstance(record, AttemptFinished)]


class Bench:
    """A router over fakes, with deployments `a` and `b` in two tiers."""

    def __init__(self, *ends: Reply | Silence | Callable[[], Reply | Silence], rows: Sequence[DeploymentConfigured] | None = None) -> None:
        self.clock = FastClock()
        self.log = Log()
        self.calls = Calls(*ends)
        self.moves_after: tuple[int, int] | None = None
        self.sleeps_s = 0.0
        """So long the process stands still whenever it asks whether a partition is its own."""
        self.rows = rows if rows is not None else (deployment("a"), deployment("b", priority=1))
        self.opening = 1
        """Of the ledger, the latest."""
        self.restart()

    def restart(self) -> None:
        """A new process: nothing in memory, the log as it is."""
        self.journal = Journal(1_000_000)
        self.deployments = Deployments(BreakerPolicy(), self.clock)
        self.deployments.rows = {row.deployment: row for row in self.rows}
        self.router = Router(
            self.deployments,
            self.journal,
            self.calls,
            self.clock,
            Random(7),
            RetryPolicy(),
            read_again=self.read_again,
            latest_opening=self.latest_opening,
        )
        for record in self.log.records:
            assert isinstance(record, AttemptStarted | AttemptFinished)
            self.journal.load(0, record)

    async def read_again(self, partition: int, since_ms: int) -> None:
        """The journal has nothing new; a test may say otherwise."""

    async def latest_opening(self) -> int:
        return self.opening

    async def configure(self, row: DeploymentConfigured) -> None:
        await self.deployments.apply([Change(key=row.deployment, record=row, partition=0, offset=0)])

    def context(self) -> Context:
        return Context(
            service="inference-router",
            topic="request-grounded",
            partition=0,
            offset=0,
            timestamp_ms=NOON,
            started_ms=self.clock.now_ms(),
            key=None,
            value=None,
            headers={},
            clock=self.clock,
            write_ahead=self.log.write_ahead,
            still_ours=self.still_ours,
        )

    async def still_ours(self) -> None:
        """The partition moves once so many attempts are on the log and so many calls are made."""
        self.clock.seconds += self.sleeps_s
        if (len(self.log.started()), len(self.calls.made)) == self.moves_after:
            raise DisownedError("the partition has moved")

    async def handle(self, record: RequestGrounded | None = None) -> RequestFinished:
        (result,) = await self.router.handle(record or grounded(), self.context())
        assert isinstance(result, RequestFinished)
        return result
