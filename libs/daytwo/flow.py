"""What a service is made of: inputs with handlers, and followed topics. The loop (`loop.py`) runs it.

A handler takes one record, or a batch, and returns records; it never holds a producer. The topic and key of what it
returns follow from the record's class. What it raises decides the record's fate (errors.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol

from prometheus_client.registry import Collector

from daytwo.clock import Clock
from daytwo.errors import DaytwoError
from daytwo.records import StepTime
from daytwo.topic import R, Record, Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone(Generic[R]):
    """Deletes a key of a compacted topic."""

    topic: Topic[R]
    key: str


Output = Record | Tombstone[Any]


async def _nothing() -> None:
    return None


def _always() -> bool:
    return True


class Context(NamedTuple):
    """Where a record came from, and when its handler started. Times are epoch milliseconds."""

    service: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    started_ms: int
    key: bytes | None
    value: bytes | None
    """The record's bytes, as signed."""
    headers: Mapping[str, bytes]
    clock: Clock
    write_ahead: Callable[[Record], Awaitable[None]]
    """Sends a record and returns once it is acknowledged: for what must be on the log before the handler goes on."""
    still_ours: Callable[[], Awaitable[None]] = _nothing
    """Before and after what must not be done twice. Raises DisownedError where the partition has moved: let it pass."""

    def step(self) -> StepTime:
        """The time this service spent on the record, up to now."""
        return StepTime(
            step=self.service,
            queued_ms=float(max(0, self.started_ms - self.timestamp_ms)),
            executing_ms=float(max(0, self.clock.now_ms() - self.started_ms)),
        )


Handler = Callable[[R, Context], Awaitable[Sequence[Output]]]
BatchHandler = Callable[[Sequence[tuple[R, Context]]], Awaitable[Sequence[Sequence[Output]]]]
"""Takes records in order of arrival, returns the outputs of each. What it raises befalls each record handled alone again."""

BulkHandler = Callable[[Sequence[Any]], Awaitable[Sequence[Output]]]
"""Takes records as they lie on the log (`broker.Raw`), in order, of several partitions; returns what all of them lead to. What it
raises befalls each record handled alone again, so it changes nothing before it is sure."""

Ending = Callable[[R, Context, DaytwoError], Sequence[Output]]
"""The terminal results of a record that cannot be processed. Pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(Generic[R]):
    """A topic a service reads as a member of its consumer group, and what it does with a record.

    Exactly one of `handle`, `handle_batch` and `handle_bulk`. Records of one key are handled in order, others concurrently.
    """

    topic: Topic[R]
    ending: Ending[R]
    handle: Handler[R] | None = None
    handle_batch: BatchHandler[R] | None = None
    handle_bulk: BulkHandler | None = None
    """For what comes in numbers, is ours and leads to little: nothing is done for a single record but by the handler. What was read
    is written before more is read. No `ending`, no marks of what is in flight: a record that cannot be handled is a dead letter."""
    batch_size: int = 64
    """Most records of one call of `handle_batch`."""
    concurrent_batches: int = 2
    deadline_ms: Callable[[R], int] | None = None
    """Epoch milliseconds after which a record is not handled but ends as deadline_exceeded; None: never."""
    most_bytes: int | None = None
    """A larger value is not decoded: it ends as too_large, under the names that stand at its head. None: what the topic allows."""
    prepare: Callable[[int, int], Awaitable[None]] | None = None
    """Called with partition and first timestamp (epoch milliseconds) before the first record of a newly assigned partition."""
    patience_ms: int = 0
    """How long a record may wait to be read together with others, where nobody waits for its outcome: fewer reads, much less work."""
    release: Callable[[int], None] | None = None
    """Called with a partition that is no longer assigned."""

    hand_over: Callable[[int, Callable[[Record], Awaitable[None]]], Awaitable[None]] | None = None
    """Called with a partition that is being taken away, while it is still owned, and with what writes a record: the last moment to
    tell the next owner of work that goes on here. It is not waited for longer than a few seconds."""

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.handle, self.handle_batch, self.handle_bulk)) != 1:
            raise ValueError(f"{self.topic.name}: exactly one of handle, handle_batch and handle_bulk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[R]):
    """A new record of a followed topic; `record` is None where its key was deleted."""

    key: str
    record: R | None
    partition: int
    offset: int


class Follower(Protocol[R]):
    """Reads all partitions of a topic from the start, outside any group, and then live.

    The service's inputs start once every follower has caught up with the end as of its start.
    """

    topic: Topic[R]

    async def apply(self, changes: Sequence[Change[R]]) -> None:
        """Takes changes in log order. Must not raise for bad content."""
        ...


class Table(Generic[R]):
    """A compacted topic as a mapping, followed live."""

    def __init__(self, topic: Topic[R]) -> None:
        self.topic = topic
        self.rows: dict[str, R] = {}

    async def apply(self, changes: Sequence[Change[R]]) -> None:
        for change in changes:
            if change.record is None:
                self.rows.pop(change.key, None)
            else:
                self.rows[change.key] = change.record

    def get(self, key: str) -> R | None:
        return self.rows.get(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service: its name is its consumer group and its label in metrics, and in a topic's writers and readers."""

    name: str
    inputs: Sequence[Input[Any]]
    followers: Sequence[Follower[Any]] = ()
    start: Callable[[], Awaitable[None]] = _nothing
    """Opens what the service owns, before anything is read. Raises RetryableError while it is not there."""
    stop: Callable[[], Awaitable[None]] = _nothing
    ready: Callable[[], bool] = _always
    """Whether what it started is there too; /health says so. Its inputs are read meanwhile."""
    max_in_flight: int = 1024
    """Records of one topic read and not finished; at this number reading pauses, at half of it it goes on."""
    max_in_flight_bytes: int = 64 * 1024 * 1024
    """The same for the bytes of their values; the read that passes it may bring a record of each partition more."""
    views: Mapping[str, Callable[[], Awaitable[Any]]] = field(default_factory=dict)
    """Read-only JSON views for operators, by path, beside /health and /metrics."""
    collectors: Sequence[Collector] = ()
    """Metrics of its own, beside those of the loop."""
