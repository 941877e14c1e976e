"""What daytwo needs of a broker. `kafka.py` is the real one, `memory.py` the one for unit tests and simulation;
tests/libs/test_broker_contract.py holds both to the same promises.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from daytwo.codec import encode
from daytwo.errors import RetryableError
from daytwo.flow import Output, Tombstone
from daytwo.topic import Topic
from daytwo.topics import TOPIC_OF


class Partition(NamedTuple):
    topic: str
    number: int


NO_HEADERS: Final[Mapping[str, bytes]] = MappingProxyType({})


class Raw(NamedTuple):
    """A record as it lies on the log. Of a repeated header the last counts."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = NO_HEADERS


class Outgoing(NamedTuple):
    """A record to be written. The partition follows from the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = NO_HEADERS


class Sender(Protocol):
    """The one producer of a process: idempotent, acks=all."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Sends what is waiting, then closes."""
        ...

    async def send(self, records: Sequence[Outgoing]) -> Sequence[tuple[int, int]]:
        """Returns (partition, offset) of each once all are acknowledged.

        Raises RetryableError("store_unavailable") where that is unknown: the records may be on the log, in whole or in part.
        Raises TerminalError("too_large") where the broker will never take a record.
        """
        ...


class Reader(Protocol):
    """Reads partitions of its own choice, in no group."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def partitions(self, topic: str) -> Sequence[Partition]: ...

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Offset after the last record, of each."""
        ...

    async def offsets_at(self, partitions: Sequence[Partition], timestamp_ms: int) -> Mapping[Partition, int]:
        """Offset of the first record at or after the moment (epoch milliseconds); the end where there is none."""
        ...

    async def seek(self, offsets: Mapping[Partition, int | None]) -> None:
        """Reads these partitions, and no others, from these offsets on; None: from the earliest kept."""
        ...

    async def read(self, timeout_s: float) -> Sequence[Raw]:
        """What is there, waiting for something up to `timeout_s`; in log order within a partition."""
        ...

    async def positions(self) -> Mapping[Partition, int]:
        """Offset of the next record to be read, of each partition sought; moves past gaps of compaction."""
        ...


@contextlib.asynccontextmanager
async def reopening(reader: Reader) -> AsyncIterator[None]:
    """Opens the reader anew after a RetryableError: through its connection nothing may come any more, and nobody may ever close it."""
    try:
        yield
    except RetryableError:
        await reader.stop()
        await reader.start()
        raise


class Broker(Protocol):
    def sender(self) -> Sender: ...

    def reader(self, *, patience_ms: int = 0) -> Reader:
        """`patience_ms`: how long records may be held back at the broker to come together."""
        ...

    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader: ...


class GroupReader(Protocol):
    """Reads topics as a member of a consumer group. Offsets move only by `commit`."""

    epoch: int
    """Raised with every revocation. `read` never returns records of an older one."""
    before_revocation: Callable[[], Awaitable[None]] | None
    """Called while partitions that are being revoked are still owned: the last moment to commit."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def read(self, timeout_s: float, most: int) -> Sequence[Raw]:
        """What is there, at most `most` records, waiting for something up to `timeout_s`; in log order within a partition."""
        ...

    def assignment(self) -> frozenset[Partition]: ...

    def tenure(self, partition: Partition) -> int:
        """Changes whenever the partition may have been another member's in between; 0 while it is not this one's."""
        ...

    async def owns(self, partition: Partition, tenure: int) -> bool:
        """Whether this member has owned the partition ever since `tenure`. Waits while partitions are dealt out; asks the broker where
        the process may have slept for longer than a member may be silent.
        """
        ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Marks everything before these offsets as done. Raises RetryableError; not committed is read again."""
        ...

    async def committed(self, partition: Partition) -> int | None: ...

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]: ...

    async def position(self, partition: Partition) -> int: ...

    def pause(self, partitions: Sequence[Partition]) -> None: ...

    def resume(self, partitions: Sequence[Partition]) -> None: ...


def outgoing(output: Output, headers: Mapping[str, bytes] | None = None) -> Outgoing:
    """A record, or the deletion of a key, as it goes to its topic. Raises ValueError or TypeError for a value that does not fit."""
    if isinstance(output, Tombstone):
        return Outgoing(output.topic.name, output.key.encode(), None, headers or NO_HEADERS)
    topic: Topic[Any] = TOPIC_OF[type(output)]
    return Outgoing(topic.name, topic.key(output).encode(), encode(topic, output), headers or NO_HEADERS)
