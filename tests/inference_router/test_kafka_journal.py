"""The journal read back from a broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from daytwo.broker import Broker, Outgoing, Partition, Raw, outgoing
from daytwo.clock import SystemClock
from daytwo.errors import RetryableError
from daytwo.memory import MemoryBroker, MemoryReader
from daytwo.records import AttemptFinished, AttemptStarted
from daytwo.topics import ATTEMPT_STARTED
from services.inference_router.kafka_journal import KafkaJournal
from tests.inference_router.builders import NOON, FastClock, ended, grounded, started


async def journal_of(*records: AttemptStarted | AttemptFinished) -> tuple[KafkaJournal, MemoryBroker, int]:
    clock = FastClock()
    broker = MemoryBroker(clock)
    partition = 0
    for record in records:
        ((partition, _),) = await broker.sender().send([outgoing(record)])
        clock.seconds += 100
    journal = KafkaJournal(broker.reader(), clock)
    await journal.start()
    return journal, broker, partition


async def read(journal: KafkaJournal, partition: int, since_ms: int = 0) -> list[AttemptStarted | AttemptFinished]:
    found: list[AttemptStarted | AttemptFinished] = []
    await journal.read({partition: since_ms}, lambda _, record: found.append(record))
    return found


async def test_both_topics_are_read_from_the_moment_to_the_end() -> None:
    journal, _, partition = await journal_of(started(1), ended(1), started(2))
    assert {(type(record), record.number) for record in await read(journal, partition)} == {
        (AttemptStarted, 1),
        (AttemptFinished, 1),
        (AttemptStarted, 2),
    }
    assert [record.number for record in await read(journal, partition, NOON + 150_000)] == [2]
    assert await read(journal, (partition + 1) % 12) == []


async def test_the_journal_of_a_partition_holds_the_attempts_of_its_requests_on_every_broker(broker: Broker) -> None:
    sender, clock, tenant = broker.sender(), SystemClock(), f"t{uuid4().hex[:10]}"
    since_ms = clock.now_ms() - 1000
    request = replace(grounded(), request=replace(grounded().request, tenant=tenant))
    await sender.start()
    try:
        places = await sender.send([outgoing(r) for r in (request, replace(started(), tenant=tenant), replace(ended(), tenant=tenant))])
    finally:
        await sender.stop()
    assert len({partition for partition, _ in places}) == 1
    journal = KafkaJournal(broker.reader(), clock)
    await journal.start()
    try:
        for _ in range(2):
            found = await read(journal, places[0][0], since_ms)
            assert {type(record) for record in found if record.tenant == tenant} == {AttemptStarted, AttemptFinished}
        later = await read(journal, places[0][0], clock.now_ms() + 60_000)
        assert later == []
    finally:
        await journal.stop()


async def test_bytes_that_are_no_attempt_are_passed_over() -> None:
    journal, broker, partition = await journal_of(started(1))
    broker.logs[Partition(ATTEMPT_STARTED.name, partition)].insert(
        0, Raw(topic=ATTEMPT_STARTED.name, partition=partition, offset=0, timestamp_ms=NOON, key=b"k", value=b"garbage")
    )
    await broker.sender().send([Outgoing(topic=ATTEMPT_STARTED.name, key=outgoing(started(1)).key, value=None)])
    assert [record.number for record in await read(journal, partition)] == [1]


async def test_a_log_that_stands_still_is_an_error_and_no_endless_wait() -> None:
    _, broker, partition = await journal_of(started(1))

    class Stuck:
        def __init__(self) -> None:
            self.inner = broker.reader()

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        async def read(self, timeout_s: float) -> Sequence[Raw]:
            await broker.clock.sleep(timeout_s)
            return []

    stuck = KafkaJournal(Stuck(), broker.clock)  # type: ignore[arg-type]
    with pytest.raises(RetryableError):
        await read(stuck, partition)


class DeadConnection(MemoryReader):
    """Nothing comes through it until it is opened anew: what a half-open connection is like."""

    opened = 0

    async def start(self) -> None:
        await super().start()
        self.opened += 1

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        if self.opened < 2:
            raise RetryableError("store_unavailable", "timed out")
        return await super().ends(partitions)


async def test_a_journal_whose_connection_is_dead_is_opened_anew_and_does_not_time_out_for_ever() -> None:
    _, broker, partition = await journal_of(started(1))
    journal = KafkaJournal(DeadConnection(broker), FastClock())
    await journal.start()

    with pytest.raises(RetryableError):
        await read(journal, partition)

    assert [record.number for record in await read(journal, partition)] == [1]
