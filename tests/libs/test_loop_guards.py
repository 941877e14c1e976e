"""The loop's guards, each seen to bite: on the broker in memory, broken on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daytwo.broker import Broker, GroupReader, Partition, Raw, outgoing
from daytwo.clock import SystemClock
from daytwo.errors import RetryableError
from daytwo.flow import Change, Context, Input, Output, Service
from daytwo.loop import StuckError
from daytwo.memory import MemoryBroker, MemoryGroupReader
from daytwo.records import RequestSubmitted, TenantConfigured
from daytwo.suspects import RecordId, Suspects
from daytwo.topic import Record
from daytwo.topics import TENANT_CONFIGURED
from daytwo.work import LARGE_BYTES
from tests.libs.builders import Bench, accepted, submitted, until


async def accept(record: RequestSubmitted, context: Context) -> Sequence[Output]:
    return [accepted(record)]


class StuckReader(MemoryGroupReader):
    """A consumer as aiokafka's after some rebalances: the end moves, the position does not, and nobody says a word."""

    async def read(self, timeout_s: float, most: int) -> Sequence[Raw]:
        await asyncio.sleep(0.01)
        return []


class StuckBroker(MemoryBroker):
    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader:
        return StuckReader(self, group, topics)


async def test_a_partition_that_stands_still_while_its_end_moves_stops_the_service() -> None:
    bench = Bench(StuckBroker(SystemClock()))
    loop = bench.loop(bench.service(accept), watch_interval_s=0.05, stuck_after_s=0.3)

    running = asyncio.create_task(loop.run())
    await until(lambda: loop.state == "ready")
    await bench.submit(submitted("r1", bench.tenant))

    with pytest.raises(StuckError, match="request-submitted"):
        await asyncio.wait_for(running, 5)


class BlindReader(MemoryGroupReader):
    """A consumer as aiokafka's after a broker's death: Kafka answers everybody, but not this one."""

    async def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        raise RetryableError("store_unavailable", "timed out")


class BlindBroker(MemoryBroker):
    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader:
        return BlindReader(self, group, topics)


async def test_a_member_whom_alone_kafka_does_not_answer_stops_the_service() -> None:
    bench = Bench(BlindBroker(SystemClock()))
    loop = bench.loop(bench.service(accept), watch_interval_s=0.05, stuck_after_s=0.3)

    with pytest.raises(StuckError, match="but others"):
        await asyncio.wait_for(loop.run(), 5)


async def test_while_kafka_answers_nobody_the_service_waits() -> None:
    broker = BlindBroker(SystemClock())
    bench = Bench(broker)
    loop = bench.loop(bench.service(accept), watch_interval_s=0.02, stuck_after_s=0.1)

    running = asyncio.create_task(loop.run())
    await until(lambda: loop.state == "ready")
    broker.down = True
    await asyncio.sleep(0.5)
    assert not running.done()

    broker.down = False
    with pytest.raises(StuckError):
        await asyncio.wait_for(running, 5)


async def test_a_quiet_partition_stops_nobody() -> None:
    bench = Bench(MemoryBroker(SystemClock()))

    async with bench.running(bench.service(accept), watch_interval_s=0.02, stuck_after_s=0.1) as loop:
        await asyncio.sleep(0.5)
        assert loop.state == "ready"


class NoOutputs(MemoryBroker):
    """Takes no request-accepted until it is told to."""

    takes = False

    def append(self, record: Any) -> tuple[int, int]:
        if record.topic == "request-accepted" and not self.takes:
            raise RetryableError("store_unavailable", "not now")
        return super().append(record)


async def test_while_the_broker_takes_no_output_the_offset_stands_and_then_goes_on() -> None:
    broker = NoOutputs(SystemClock())
    bench = Bench(broker)
    service = bench.service(accept)
    async with bench.running(service):
        ((number, offset),) = await bench.submit(submitted("r1", bench.tenant))
        partition = Partition("request-submitted", number)
        await asyncio.sleep(0.4)
        stood = await bench.committed(service, partition)
        broker.takes = True
        await bench.records("request-accepted", 1)
        await asyncio.sleep(0.3)

    assert (stood or 0) <= offset
    assert await bench.committed(service, partition) == offset + 1


class LostAcknowledgements(MemoryBroker):
    """Writes, and then says that it does not know whether it has."""

    lost = 0

    def append(self, record: Any) -> tuple[int, int]:
        place = super().append(record)
        if record.topic == "request-accepted" and self.lost < 2:
            self.lost += 1
            self.down = True
            try:
                self.check()
            finally:
                self.down = False
        return place


async def test_an_acknowledgement_that_is_lost_is_asked_for_again_and_the_repeat_has_the_same_identity() -> None:
    bench = Bench(LostAcknowledgements(SystemClock()))

    async with bench.running(bench.service(accept)):
        await bench.submit(submitted("r1", bench.tenant))
        records = await bench.records("request-accepted", 3)

    assert {record.request.request_id for record in records} == {"r1"}


async def test_a_record_that_killed_the_process_three_times_is_set_aside_with_its_result(tmp_path: Path) -> None:
    bench = Bench(MemoryBroker(SystemClock()))
    handled: list[str] = []

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        handled.append(record.request_id)
        return [accepted(record)]

    service = bench.service(handle)
    ((partition, offset),) = await bench.submit(submitted("poison", bench.tenant, "s"))
    poison = RecordId("request-submitted", partition, offset)
    for alone in (False, True, True):  # three lives that ended with the record in flight
        life = Suspects(tmp_path / f"i0-{service.name}.marks")
        life.begin(poison)
        life.alone(poison, alone=alone)

    async with bench.running(service, marks=tmp_path):
        await bench.submit(submitted("good", bench.tenant, "s"))
        (letter,) = await bench.records("dead-letter", 1)
        (result,) = await bench.records("request-finished", 1)
        await bench.records("request-accepted", 1)

    assert (letter.reason, result.reason, result.outcome) == ("poison_record", "poison_record", "failed")
    assert handled == ["good"]


class Recorder:
    """A follower that keeps what it is told."""

    def __init__(self) -> None:
        self.topic = TENANT_CONFIGURED
        self.seen: list[str] = []

    async def apply(self, changes: Sequence[Change[TenantConfigured]]) -> None:
        self.seen += [change.key for change in changes]


async def test_nothing_is_handled_before_the_followed_topics_are_read_to_their_end(broker: Broker) -> None:
    bench = Bench(broker)
    recorder = Recorder()
    known: list[bool] = []

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        known.append(bench.tenant in recorder.seen)
        return [accepted(record)]

    await bench.send(outgoing(TenantConfigured(tenant=bench.tenant)))
    await bench.submit(submitted("r1", bench.tenant))
    plain = bench.service(handle)
    async with bench.running(Service(name=plain.name, inputs=plain.inputs, followers=[recorder])):
        await bench.records("request-accepted", 1)
        later = f"{bench.tenant}-later"
        await bench.send(outgoing(TenantConfigured(tenant=later)))
        await until(lambda: later in recorder.seen)

    assert known == [True]


async def test_large_records_are_opened_one_a_turn_so_that_heartbeats_are_not_missed() -> None:
    bench = Bench(MemoryBroker(SystemClock()))
    turns, opened_in = 0, []

    async def heartbeats() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def deadline(record: RequestSubmitted) -> int:
        opened_in.append(turns)  # it is asked for as soon as the record is decoded
        return 0

    large = [replace(submitted(f"r{n}", bench.tenant), metadata={"x": "x" * LARGE_BYTES}) for n in range(10)]
    beating = asyncio.create_task(heartbeats())
    async with bench.running(bench.service(accept, deadline_ms=deadline)):
        await bench.submit(*large)
        await bench.records("request-finished", 10)
    beating.cancel()

    assert len(set(opened_in)) == len(large)


class CountingReader(MemoryGroupReader):
    pauses = 0

    def pause(self, partitions: Sequence[Partition]) -> None:
        type(self).pauses += 1
        super().pause(partitions)


class CountingBroker(MemoryBroker):
    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader:
        CountingReader.pauses = 0
        return CountingReader(self, group, topics)


@pytest.mark.parametrize(("takes_s", "is_paused"), [(0.005, False), (0.3, True)])
async def test_a_topic_that_is_at_its_bound_for_a_moment_is_not_paused(takes_s: float, is_paused: bool) -> None:
    # ingest did 450 requests a second with its processor idle: each pause cost half a second, until other topics' fetch came back.
    bench = Bench(CountingBroker(SystemClock()))
    handled: list[str] = []

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        handled.append(record.request_id)
        await asyncio.sleep(takes_s)
        return []

    service = bench.service(handle, max_in_flight=4)
    other = Input(topic=TENANT_CONFIGURED, ending=lambda *_: [], handle=nothing)
    async with bench.running(replace(service, inputs=[*service.inputs, other])):
        await bench.submit(*(submitted(f"r{number}", bench.tenant) for number in range(20)))
        await until(lambda: len(handled) == 20)
    assert (CountingReader.pauses > 0) is is_paused


async def nothing(record: TenantConfigured, context: Context) -> Sequence[Output]:
    return []


async def test_a_large_record_in_flight_keeps_the_next_one_from_being_read() -> None:
    bench = Bench(MemoryBroker(SystemClock()))
    handled: list[str] = []
    go_on = asyncio.Event()

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        handled.append(record.request_id)
        await go_on.wait()
        return []

    async with bench.running(bench.service(handle, max_in_flight_bytes=1)) as loop:
        await bench.submit(submitted("large", bench.tenant))
        await until(lambda: handled == ["large"])
        await bench.submit(submitted("next", bench.tenant))
        await asyncio.sleep(0.2)
        read_meanwhile = loop.in_flight()
        go_on.set()
        await until(lambda: handled == ["large", "next"])
    assert read_meanwhile == 1


async def test_a_thousand_suspects_of_a_killed_process_do_not_wait_a_minute_for_their_turn(tmp_path: Path) -> None:
    async def call(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        await asyncio.sleep(0.5)
        return []

    bench = Bench(MemoryBroker(SystemClock()))
    service = bench.service(call)
    dead = Suspects(tmp_path / f"i0-{service.name}.marks")
    sent = await bench.submit(*(submitted(f"r{number}", bench.tenant) for number in range(1000)))
    for number, offset in sent:
        dead.begin(RecordId("request-submitted", number, offset))

    async with bench.running(service, marks=tmp_path, all_alone_s=1.0) as loop:
        await until(lambda: len(loop._suspects) == 0, timeout_s=20)


async def test_a_suspect_still_has_its_moment_alone(tmp_path: Path) -> None:
    bench = Bench(MemoryBroker(SystemClock()))
    service = bench.service(accept)
    Suspects(tmp_path / f"i0-{service.name}.marks").begin(RecordId("request-submitted", 0, 0))

    assert bench.loop(service, marks=tmp_path, alone_s=0.05)._alone_s == 0.05


class CommitsFail(MemoryGroupReader):
    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        raise RetryableError("store_unavailable", "not of this generation")


class NoCommits(MemoryBroker):
    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader:
        return CommitsFail(self, group, topics)


async def test_what_is_read_again_behind_a_record_at_work_does_not_undo_it_by_coming_last() -> None:
    broker = NoCommits(SystemClock())
    bench = Bench(broker)
    may_go_on, handled = asyncio.Event(), list[str]()

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        if record.request_id == "newer":
            await may_go_on.wait()
        handled.append(record.request_id)
        return []

    service = bench.service(handle)
    partitions = {s: broker.partition_of(outgoing(submitted("older", bench.tenant, s))).number for s in map(str, range(50))}
    session = next(s for s, number in partitions.items() if number % 2)  # which the second member is dealt
    async with bench.running(service) as loop:
        await bench.submit(submitted("older", bench.tenant, session), submitted("newer", bench.tenant, session))
        await until(lambda: handled == ["older"])
        other = broker.group(service.name, "i1", ["request-submitted"])
        await other.start()
        await until(lambda: loop._epoch == loop._group.epoch)
        await other.stop()
        await until(lambda: loop.in_flight() == 3)  # the newer at work, and both once more behind it
        may_go_on.set()
        await until(lambda: not loop.in_flight())

    assert handled == ["older", "newer", "older", "newer"]


async def test_what_ends_while_partitions_are_dealt_out_anew_was_handled_a_second_time() -> None:
    broker = MemoryBroker(SystemClock())
    bench = Bench(broker)
    gate = asyncio.Event()
    handled: list[str] = []

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        handled.append(record.request_id)
        if record.request_id != "later":
            await gate.wait()
        return [accepted(record)]

    service = bench.service(handle)
    async with bench.running(service) as loop:
        await bench.submit(*[submitted(f"r{n}", bench.tenant) for n in range(50)])
        await until(lambda: len(handled) == 50)
        gate.set()
        await broker.rebalance(service.name)
        await bench.submit(submitted("later", bench.tenant))
        await until(lambda: "later" in handled and not loop.in_flight())
        ends = {partition: len(log) for partition, log in broker.logs.items() if partition.topic == "request-submitted"}
        await until(lambda: {p: broker.offsets.get((service.name, p), 0) for p in ends} == ends)

    assert sorted(handled) == sorted([*[f"r{n}" for n in range(50)], "later"])


async def test_what_goes_on_is_told_to_the_next_owner_while_the_partition_is_still_owned() -> None:
    broker = MemoryBroker(SystemClock())
    bench = Bench(broker)

    async def hand_over(partition: int, write: Callable[[Record], Awaitable[None]]) -> None:
        if partition == place:
            await write(accepted(submitted("handed over", bench.tenant)))

    service = bench.service(accept, hand_over=hand_over)
    async with bench.running(service) as loop:
        ((place, _),) = await bench.submit(submitted("r1", bench.tenant))
        await bench.records("request-accepted", 1)
        await until(lambda: not loop.in_flight())
        await broker.rebalance(service.name)

        records = await bench.records("request-accepted", 2)

    assert {record.request.request_id for record in records} == {"r1", "handed over"}


class CommitsLater(MemoryGroupReader):
    """Its commits fail until the test lets them."""

    may = False

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        if not self.may:
            raise RetryableError("store_unavailable", "not now")
        await super().commit(offsets)


class LateCommits(MemoryBroker):
    def group(self, group: str, instance: str, topics: Sequence[str], *, patience_ms: int = 0) -> GroupReader:
        return CommitsLater(self, group, topics)


async def test_what_was_done_for_an_older_assignment_does_not_set_the_committed_offset_back() -> None:
    broker = LateCommits(SystemClock())
    bench = Bench(broker)
    service = bench.service(accept)
    async with bench.running(service) as loop:
        ((number, offset),) = await bench.submit(submitted("r1", bench.tenant))
        await bench.records("request-accepted", 1)
        await until(lambda: not loop.in_flight())
        # It was taken for dead: another owner has gone further, and the partition has come back.
        place = (service.name, Partition("request-submitted", number))
        broker.offsets[place] = offset + 5
        group = loop._group
        assert isinstance(group, CommitsLater)
        group.epoch, group.may = group.epoch + 1, True

        await asyncio.sleep(0.3)

    assert broker.offsets[place] == offset + 5
