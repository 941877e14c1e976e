"""What `broker.py` promises, of the broker in memory and of Kafka alike."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest

from daytwo.broker import Broker, GroupReader, Outgoing, Partition, Raw, Reader, Sender
from daytwo.clock import SystemClock
from daytwo.errors import RetryableError, TerminalError
from daytwo.kafka import SESSION_MS, KafkaBroker, KafkaSender
from tests.libs.builders import until

TOPIC = "document-finished"


def record(key: str, value: bytes = b"v") -> Outgoing:
    return Outgoing(topic=TOPIC, key=key.encode(), value=value, headers={"h": b"1"})


@contextlib.asynccontextmanager
async def sending(broker: Broker) -> AsyncIterator[Sender]:
    sender = broker.sender()
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


@contextlib.asynccontextmanager
async def reading(broker: Broker) -> AsyncIterator[Reader]:
    reader = broker.reader()
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


@contextlib.asynccontextmanager
async def member(broker: Broker, group: str, instance: str) -> AsyncIterator[GroupReader]:
    reader = broker.group(group, instance, [TOPIC])
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


async def read_own(reader: GroupReader, key: str, count: int) -> list[Raw]:
    """The next records of a key; what others wrote is passed over."""
    found: list[Raw] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += [raw for raw in await reader.read(0.2, 500) if raw.key == key.encode()]
    return found


async def test_records_of_one_key_lie_in_one_partition_in_order(broker: Broker) -> None:
    key = uuid.uuid4().hex
    async with sending(broker) as sender:
        places = await sender.send([record(key, str(n).encode()) for n in range(5)])

    partitions, offsets = {partition for partition, _ in places}, [offset for _, offset in places]
    assert len(partitions) == 1
    assert offsets == list(range(offsets[0], offsets[0] + 5))


async def test_a_reader_finds_a_record_by_its_time_with_key_headers_and_value(broker: Broker) -> None:
    key = uuid.uuid4().hex
    before = SystemClock().now_ms()
    async with sending(broker) as sender, reading(broker) as reader:
        ((number, offset),) = await sender.send([record(key)])
        at = await reader.offsets_at([Partition(TOPIC, number)], before)
        await reader.seek(dict(at))
        found: Sequence[Raw] = []
        while not found:
            found = [raw for raw in await reader.read(0.2) if raw.key == key.encode()]
        ends = await reader.ends([Partition(TOPIC, number)])
        position = (await reader.positions())[Partition(TOPIC, number)]

    assert (found[0].offset, found[0].value, found[0].headers["h"]) == (offset, b"v", b"1")
    assert position == ends[Partition(TOPIC, number)] == offset + 1


async def test_of_a_moment_that_is_not_yet_the_offset_is_the_end(broker: Broker) -> None:
    async with reading(broker) as reader:
        partitions = await reader.partitions(TOPIC)
        at = await reader.offsets_at(partitions, SystemClock().now_ms() + 60_000)
        assert at == await reader.ends(partitions)


async def test_a_group_goes_on_where_it_committed_and_not_where_it_read(broker: Broker) -> None:
    group, key = f"g-{uuid.uuid4().hex}", uuid.uuid4().hex
    async with sending(broker) as sender:
        ((number, first), *_) = await sender.send([record(key, str(n).encode()) for n in range(3)])
    partition = Partition(TOPIC, number)

    async with member(broker, group, "a") as reader:
        await read_own(reader, key, 3)
        await reader.commit({partition: first + 1})
    async with member(broker, group, "a") as reader:
        again = await read_own(reader, key, 2)
        committed = await reader.committed(partition)

    assert [raw.value for raw in again] == [b"1", b"2"]
    assert committed == first + 1


async def test_no_more_is_read_than_asked_for(broker: Broker) -> None:
    group, key = f"g-{uuid.uuid4().hex}", uuid.uuid4().hex
    async with sending(broker) as sender:
        await sender.send([record(key) for _ in range(20)])

    async with member(broker, group, "a") as reader:
        sizes = [len(await reader.read(0.5, 7)) for _ in range(10)]

    assert 0 < max(sizes) <= 7


async def test_a_second_member_raises_the_epoch_of_the_first_and_takes_its_share(broker: Broker) -> None:
    group = f"g-{uuid.uuid4().hex}"
    async with member(broker, group, "a") as first:
        await until(lambda: first.assignment())
        epoch, alone = first.epoch, len(first.assignment())
        warned: list[int] = []

        async def before_revocation() -> None:
            warned.append(len(first.assignment()))

        first.before_revocation = before_revocation
        async with member(broker, group, "b") as second:
            await until(lambda: second.assignment() and len(first.assignment()) < alone)
            shared = first.assignment() | second.assignment()

    assert first.epoch > epoch
    assert warned
    assert len(shared) == alone


async def test_a_partition_that_stays_is_owned_over_a_rebalance_and_one_that_moves_is_not(broker: Broker) -> None:
    group = f"g-{uuid.uuid4().hex}"
    async with member(broker, group, "a") as first:
        await until(lambda: first.assignment())
        tenures = {partition: first.tenure(partition) for partition in first.assignment()}
        async with member(broker, group, "b") as second:
            await until(lambda: second.assignment() and len(first.assignment()) < len(tenures))
            owned = {partition for partition, tenure in tenures.items() if await first.owns(partition, tenure)}
            stayed, moved = first.assignment(), second.assignment()
        await until(lambda: len(first.assignment()) == len(tenures))
        came_back = [await first.owns(partition, tenures[partition]) for partition in moved]

    assert all(tenures.values())
    assert owned == stayed
    assert second.tenure(next(iter(moved))) > 0
    assert not any(came_back)


async def test_a_member_that_stops_is_followed_at_once_and_not_after_its_session(broker: Broker) -> None:
    group = f"g-{uuid.uuid4().hex}"
    async with member(broker, group, "a") as first:
        await until(lambda: first.assignment())
        alone = len(first.assignment())
        async with member(broker, group, "b"):
            await until(lambda: len(first.assignment()) < alone)

        await until(lambda: len(first.assignment()) == alone, SESSION_MS / 2000)


async def test_a_record_that_no_broker_takes_is_a_terminal_error_and_the_next_is_sent(broker: Broker) -> None:
    async with sending(broker) as sender:
        with pytest.raises(TerminalError, match="too_large"):
            await sender.send([record("k", b"x" * 25 * 1024 * 1024)])
        assert await sender.send([record("k")])


async def test_sending_nothing_does_nothing_and_the_next_is_sent(broker: Broker) -> None:
    async with sending(broker) as sender:
        assert await sender.send([]) == []
        assert await sender.send([record("k")])


@pytest.mark.stack
async def test_a_producer_that_lost_its_sequence_is_replaced(parts: dict[str, str]) -> None:
    sender = KafkaSender(parts["kafka"])
    await sender.start()
    try:
        await sender.send([record("k")])
        broken = sender._producer
        assert broken is not None
        # As after a lost batch: the broker expects another number than the producer will give.
        broken._txn_manager._sequence_numbers.clear()
        await asyncio.gather(*[_until_sent(sender, record("k", str(n).encode())) for n in range(5)])
        replaced = sender._producer
    finally:
        await sender.stop()

    assert replaced is not broken


async def _until_sent(sender: Sender, one: Outgoing) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(RetryableError):
                await sender.send([one])
                return


@pytest.mark.stack
async def test_a_process_that_slept_over_its_session_does_not_own_what_it_had_before(parts: dict[str, str]) -> None:
    """As after SIGSTOP and SIGCONT."""
    group, kafka = f"g-{uuid.uuid4().hex}", KafkaBroker(parts["kafka"])
    async with sending(kafka) as sender, member(kafka, group, "a") as sleeper:
        await until(lambda: sleeper.assignment())
        tenures = {partition: sleeper.tenure(partition) for partition in sleeper.assignment()}
        await sleeper.read(0.2, 500)

        time.sleep(SESSION_MS / 1000 + 4)  # noqa: ASYNC251
        await sender.send([record(f"{group}-{number}") for number in range(20)])
        read = [raw for _ in range(5) for raw in await sleeper.read(0.2, 500) if (raw.key or b"").startswith(group.encode())]
        owned = [await sleeper.owns(partition, tenure) for partition, tenure in tenures.items()]

    assert not any(owned)
    assert len(read) == len({raw.key for raw in read})
