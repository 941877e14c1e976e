"""What every service may rely on, on the broker in memory and on real Kafka alike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from daytwo.broker import Broker, Outgoing, Partition, outgoing
from daytwo.errors import RetryableError, TerminalError
from daytwo.fate import NOT_FOR_HEADER, REQUEST_ID_HEADER
from daytwo.flow import Context, Input, Output, Service
from daytwo.records import RequestFinished, RequestSubmitted
from daytwo.topics import REQUEST_SUBMITTED
from tests.libs.builders import Bench, accepted, ending, submitted, until


async def accept(record: RequestSubmitted, context: Context) -> Sequence[Output]:
    return [accepted(record)]


async def test_what_a_handler_returns_is_on_its_topic_under_its_key_with_its_request_id(broker: Broker) -> None:
    bench = Bench(broker)
    await bench.submit(submitted("r1", bench.tenant, "s1"))

    async with bench.running(bench.service(accept)):
        (record,) = await bench.records("request-accepted", 1)

    async with aclosing(bench.raws("request-accepted")) as raws:
        raw = await anext(raw async for raw in raws if bench.tenant.encode() in (raw.key or b""))
    assert record.request.request_id == "r1"
    assert raw.key == f"{bench.tenant}/s1".encode()
    assert raw.headers[REQUEST_ID_HEADER] == b"r1"


async def test_records_of_one_key_are_handled_in_order_and_others_meanwhile(broker: Broker) -> None:
    bench = Bench(broker)
    seen: list[str] = []
    gate = asyncio.Event()

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        if record.request_id == "a0":
            await gate.wait()
        seen.append(record.request_id)
        return []

    async with bench.running(bench.service(handle)):
        await bench.submit(*[submitted(f"a{n}", bench.tenant, "a") for n in range(5)], submitted("b0", bench.tenant, "b"))
        await until(lambda: "b0" in seen)
        gate.set()
        await until(lambda: len(seen) == 6)

    assert seen == ["b0", "a0", "a1", "a2", "a3", "a4"]


async def test_the_offset_never_passes_an_unfinished_record(broker: Broker) -> None:
    bench = Bench(broker)
    gate = asyncio.Event()
    done: list[str] = []

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        if record.request_id == "first":
            await gate.wait()
        done.append(record.request_id)
        return [accepted(record)]

    service = bench.service(handle)
    async with bench.running(service):
        ((number, offset),) = await bench.submit(submitted("first", bench.tenant, "s"))
        partition = Partition("request-submitted", number)
        await bench.submit(*[submitted(f"later{n}", bench.tenant) for n in range(40)])
        await asyncio.sleep(0.4)
        held = await bench.committed(service, partition)
        gate.set()
        await until(lambda: "first" in done)
        await asyncio.sleep(0.3)

    assert (held or 0) <= offset
    assert (await bench.committed(service, partition) or 0) > offset


async def test_a_terminal_error_is_a_dead_letter_with_the_bytes_and_a_terminal_result(broker: Broker) -> None:
    bench = Bench(broker)

    async def refuse(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        raise TerminalError("invalid_request", "never")

    request = submitted("r1", bench.tenant)
    async with bench.running(bench.service(refuse)):
        ((partition, offset),) = await bench.submit(request)
        (letter,) = await bench.records("dead-letter", 1)
        (result,) = await bench.records("request-finished", 1)

    assert (letter.reason, letter.partition, letter.offset, letter.request_id) == ("invalid_request", partition, offset, "r1")
    assert letter.value == outgoing(request).value
    assert (result.request_id, result.outcome, result.reason) == ("r1", "refused", "invalid_request")


async def test_a_bug_is_a_dead_letter_with_its_traceback_and_the_next_record_is_served(broker: Broker) -> None:
    bench = Bench(broker)

    async def broken(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        if record.request_id == "bad":
            raise KeyError("a bug")
        return [accepted(record)]

    async with bench.running(bench.service(broken)):
        await bench.submit(submitted("bad", bench.tenant, "s"), submitted("good", bench.tenant, "s"))
        (letter,) = await bench.records("dead-letter", 1)
        (result,) = await bench.records("request-finished", 1)
        (good,) = await bench.records("request-accepted", 1)

    assert "KeyError: 'a bug'" in letter.traceback
    assert (result.outcome, result.reason) == ("failed", "internal_error")
    assert good.request.request_id == "good"


async def test_a_broken_service_stops_instead_of_burning_its_input(broker: Broker) -> None:
    bench = Bench(broker)

    async def broken(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        raise KeyError("always")

    async with bench.running(bench.service(broken)) as loop:
        await bench.submit(*[submitted(f"r{n}", bench.tenant) for n in range(60)])
        await until(lambda: loop.state == "stopped")

    assert len(await bench.records("dead-letter", 15)) < 60


async def test_what_may_succeed_later_is_tried_again(broker: Broker) -> None:
    bench = Bench(broker)
    tries: list[str] = []

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        tries.append(record.request_id)
        if len(tries) < 3:
            raise RetryableError("store_unavailable", "not yet")
        return [accepted(record)]

    async with bench.running(bench.service(handle)):
        await bench.submit(submitted("r1", bench.tenant))
        await bench.records("request-accepted", 1)

    assert tries == ["r1"] * 3


async def test_trying_again_ends_with_the_deadline_and_a_result(broker: Broker) -> None:
    bench = Bench(broker)

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        raise RetryableError("store_unavailable", "never there")

    async with bench.running(bench.service(handle, deadline_ms=lambda record: record.deadline_ms)):
        await bench.submit(submitted("r1", bench.tenant, deadline_ms=bench.started_ms + 1_500))
        (result,) = await bench.records("request-finished", 1)

    assert (result.outcome, result.reason) == ("failed", "store_unavailable")


async def test_no_header_of_a_client_lets_its_request_be_passed_over(broker: Broker) -> None:
    bench = Bench(broker)

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        return [accepted(record)]

    service = bench.service(handle)
    async with bench.running(service):
        await bench.send(outgoing(submitted("r1", bench.tenant), {NOT_FOR_HEADER: service.name.encode()}))
        assert [record.request.request_id for record in await bench.records("request-accepted", 1)] == ["r1"]


async def test_what_is_too_late_is_not_handled(broker: Broker) -> None:
    bench = Bench(broker)
    handled: list[str] = []

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        handled.append(record.request_id)
        return []

    async with bench.running(bench.service(handle, deadline_ms=lambda record: record.deadline_ms)):
        await bench.submit(submitted("r1", bench.tenant, deadline_ms=1))
        (result,) = await bench.records("request-finished", 1)

    assert (result.outcome, result.reason) == ("expired", "deadline_exceeded")
    assert handled == []


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\0\0\0\0\x01", b"\0\0\0\xff\xff rest", b"\0\0\0\0\x07" + b"\xff" * 50])
async def test_garbage_is_a_dead_letter_and_where_the_header_names_a_request_a_result(broker: Broker, garbage: bytes) -> None:
    bench = Bench(broker)
    key = f"{bench.tenant}/s".encode()

    async with bench.running(bench.service(accept)):
        await bench.send(Outgoing(topic="request-submitted", key=key, value=garbage, headers={REQUEST_ID_HEADER: b"g1"}))
        await bench.submit(submitted("good", bench.tenant, "s"))
        (letter,) = await bench.records("dead-letter", 1)
        (result,) = await bench.records("request-finished", 1)
        await bench.records("request-accepted", 1)

    assert (letter.reason, letter.value, letter.tenant) == ("unreadable", garbage, bench.tenant)
    assert (result.request_id, result.outcome, result.reason) == ("g1", "refused", "unreadable")


async def test_trailing_bytes_are_refused_though_the_record_can_be_read(broker: Broker) -> None:
    bench = Bench(broker)
    record = outgoing(submitted("r1", bench.tenant))

    async with bench.running(bench.service(accept)):
        await bench.send(Outgoing(topic=record.topic, key=record.key, value=(record.value or b"") + b"!"))
        (result,) = await bench.records("request-finished", 1)

    assert (result.request_id, result.reason) == ("r1", "unreadable")


async def test_no_more_than_the_bound_is_in_flight(broker: Broker) -> None:
    bench = Bench(broker)
    running, most = 0, 0
    gate = asyncio.Event()

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return [accepted(record)]

    async with bench.running(bench.service(handle, max_in_flight=8)):
        await bench.submit(*[submitted(f"r{n}", bench.tenant) for n in range(50)])
        await until(lambda: running == 8)
        await asyncio.sleep(0.3)
        gate.set()
        await bench.records("request-accepted", 50)

    assert most == 8


async def test_at_the_bound_of_bytes_in_flight_nothing_more_is_read_until_half_of_them_are_done(broker: Broker) -> None:
    bench = Bench(broker)
    running = 0
    gate = asyncio.Event()

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        nonlocal running
        running += 1
        await gate.wait()
        return [accepted(record)]

    large = [replace(submitted(f"r{n}", bench.tenant), metadata={"x": "x" * 1000}) for n in range(20)]
    async with bench.running(replace(bench.service(handle), max_in_flight_bytes=4000)):
        await bench.submit(*large[:10])
        await until(lambda: running >= 4)
        await bench.submit(*large[10:])
        await asyncio.sleep(0.3)
        assert running <= 10
        gate.set()
        await bench.records("request-accepted", 20)


async def test_a_batch_handler_gets_records_together_and_answers_each(broker: Broker) -> None:
    bench = Bench(broker)
    sizes: list[int] = []

    async def handle(batch: Sequence[tuple[RequestSubmitted, Context]]) -> Sequence[Sequence[Output]]:
        sizes.append(len(batch))
        if any(record.request_id == "bad" for record, _ in batch):
            raise TerminalError("invalid_request", "one of them")
        return [[accepted(record)] if record.tenant == bench.tenant else [] for record, _ in batch]

    service = Service(name=f"g-{bench.tenant}", inputs=[Input(topic=REQUEST_SUBMITTED, ending=ending, handle_batch=handle, batch_size=16)])
    await bench.submit(*[submitted(f"r{n}", bench.tenant) for n in range(40)], submitted("bad", bench.tenant))
    async with bench.running(service):
        records = await bench.records("request-accepted", 40)
        (result,) = await bench.records("request-finished", 1)

    assert {record.request.request_id for record in records} == {f"r{n}" for n in range(40)}
    assert result.request_id == "bad"
    assert max(sizes) > 1


async def test_write_ahead_is_on_the_log_before_the_handler_goes_on(broker: Broker) -> None:
    bench = Bench(broker)
    on_the_log: list[Any] = []

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        await context.write_ahead(accepted(record))
        on_the_log.extend(await bench.records("request-accepted", 1))
        return []

    async with bench.running(bench.service(handle)):
        await bench.submit(submitted("r1", bench.tenant))
        await until(lambda: on_the_log)

    assert on_the_log[0].request.request_id == "r1"


async def test_a_stopped_loop_finishes_what_runs_and_the_next_goes_on_from_there(broker: Broker) -> None:
    bench = Bench(broker)
    handled: list[str] = []

    async def slow(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        await asyncio.sleep(0.2)
        handled.append(record.request_id)
        return [accepted(record)]

    async with bench.running(bench.service(slow)) as loop:
        await bench.submit(*[submitted(f"r{n}", bench.tenant) for n in range(10)])
        await until(lambda: loop.in_flight() >= 10)
    async with bench.running(bench.service(slow)):
        await bench.submit(submitted("later", bench.tenant))
        await until(lambda: "later" in handled)

    assert sorted(handled) == sorted([*[f"r{n}" for n in range(10)], "later"])


async def test_a_rebalance_loses_nothing_and_starts_nothing_twice_in_one_process(broker: Broker) -> None:
    bench = Bench(broker)
    outcomes: dict[str, list[str]] = {"i0": [], "i1": []}

    def handler(instance: str) -> Any:
        async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
            await asyncio.sleep(0.05)
            outcomes[instance].append(record.request_id)
            return [accepted(record)]

        return handle

    async with bench.running(bench.service(handler("i0")), instance="i0"):
        first = [f"r{n}" for n in range(100)]
        await bench.submit(*[submitted(identity, bench.tenant) for identity in first])
        async with bench.running(bench.service(handler("i1")), instance="i1"):
            second = [f"q{n}" for n in range(100)]
            await bench.submit(*[submitted(identity, bench.tenant) for identity in second])
            await until(lambda: {*outcomes["i0"], *outcomes["i1"]} >= {*first, *second}, 40)

    assert len(outcomes["i0"]) == len(set(outcomes["i0"]))
    assert outcomes["i1"]


async def test_a_partition_is_prepared_before_its_first_record(broker: Broker) -> None:
    bench = Bench(broker)
    events: list[tuple[str, int]] = []

    async def prepare(partition: int, timestamp_ms: int) -> None:
        await asyncio.sleep(0.1)
        events.append(("prepared", partition))

    async def handle(record: RequestSubmitted, context: Context) -> Sequence[Output]:
        events.append(("handled", context.partition))
        return [RequestFinished(request_id=record.request_id, tenant=record.tenant, outcome="answered", reason="ok", finished_at_ms=0)]

    async with bench.running(bench.service(handle, prepare=prepare)):
        ((partition, _),) = await bench.submit(submitted("r1", bench.tenant))
        await bench.records("request-finished", 1)

    assert events.index(("prepared", partition)) < events.index(("handled", partition))
