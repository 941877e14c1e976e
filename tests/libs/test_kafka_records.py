"""What any client may write to Kafka is read, or set aside; no partition stands still for it."""

from __future__ import annotations

import asyncio
import gzip
import uuid
from collections.abc import Sequence
from typing import Any

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from confluent_kafka import Producer

from daytwo.broker import Raw
from daytwo.kafka import MOST_HEADERS, KafkaBroker, _headers
from daytwo.kafka_records import MOST_BYTES_UNPACKED, NOT_READ_HEADER, Records
from daytwo.topics import REQUEST_SUBMITTED

Written = tuple[bytes | None, Sequence[tuple[str, bytes | None]]]


def batch(*records: Written, codec: int = 0, base: int = 0) -> bytes:
    """The bytes of a batch as a producer sends it."""
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 30)
    for offset, (value, headers) in enumerate(records):
        assert builder.append(offset, 1_700_000_000_000, b"key", value, list(headers))
    data = bytearray(builder.build())
    data[:8] = base.to_bytes(8, "big")
    return bytes(data)


def read(data: bytes) -> list[tuple[int, bytes | None, dict[str, bytes | None]]]:
    records = Records(data)
    found = []
    while records.has_next():
        found += [(record.offset, record.value, dict(record.headers)) for record in records.next_batch()]
    return found


def broken(data: bytes) -> bytes:
    assert b"name" in data
    return data.replace(b"name", b"n\xff\xfee")


def test_what_aiokafka_reads_is_read_alike() -> None:
    data = batch((b"a", [("h", b"x"), ("none", None)]), (None, [])) + batch((b"c", []), codec=1, base=2)
    theirs = MemoryRecords(data)
    expected = []
    while theirs.has_next():
        expected += [(record.offset, record.value, dict(record.headers)) for record in theirs.next_batch()]
    assert read(data) == expected == [(0, b"a", {"h": b"x", "none": None}), (1, None, {}), (2, b"c", {})]


def test_aiokafka_alone_still_raises_for_a_header_name_that_is_no_utf_8() -> None:
    theirs = MemoryRecords(broken(batch((b"a", [("name", b"x")]))))
    with pytest.raises(UnicodeDecodeError):
        list(theirs.next_batch())


def test_a_header_name_that_is_no_utf_8_does_not_stop_its_partition() -> None:
    data = broken(batch((b"before", []), (b"with it", [("name", b"x")]), (b"after", [("h", b"y")]))) + batch((b"next", []), base=3)
    assert read(data) == [(0, b"before", {}), (1, b"with it", {"n\ufffd\ufffde": b"x"}), (2, b"after", {"h": b"y"}), (3, b"next", {})]


def test_a_header_name_that_is_no_utf_8_is_read_in_a_compressed_batch_too() -> None:
    plain = broken(batch((b"a", [("name", b"x")])))
    packed = bytearray(plain[:61]) + gzip.compress(plain[61:])
    packed[22] |= 1  # the codec in the batch's attributes
    packed[8:12] = (len(packed) - 12).to_bytes(4, "big")
    assert read(bytes(packed)) == [(0, b"a", {"n\ufffd\ufffde": b"x"})]


@pytest.mark.parametrize("codec", [1, 3, 4], ids=["gzip", "lz4", "zstd"])
def test_a_batch_that_unpacks_to_gigabytes_is_one_record_that_says_so_and_the_next_is_read(codec: int) -> None:
    packers = {1: cramjam.gzip, 3: cramjam.lz4, 4: cramjam.zstd}
    head = bytearray(batch((b"x", []), (b"y", []), codec=codec)[:61])
    bomb = head + bytes(packers[codec].compress(bytes(MOST_BYTES_UNPACKED + 1)))
    bomb[8:12] = (len(bomb) - 12).to_bytes(4, "big")
    [(offset, value, headers), following] = read(bytes(bomb) + batch((b"next", []), base=2))
    assert (offset, value, following) == (0, None, (2, b"next", {}))
    assert b"up to offset 1 " in (headers[NOT_READ_HEADER] or b"")


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_an_honest_large_record_is_read_whatever_it_is_packed_with(codec: int) -> None:
    value = bytes(16 << 20)
    assert read(batch((value, []), codec=codec)) == [(0, value, {})]


def test_a_header_without_a_value_is_an_empty_one() -> None:
    assert _headers([("a", None), ("b", b"x")]) == {"a": b"", "b": b"x"}


def test_millions_of_headers_are_named_and_not_kept() -> None:
    assert _headers([(str(number), b"") for number in range(MOST_HEADERS + 1)]) == {NOT_READ_HEADER: b"1001 headers; at most 1000"}


@pytest.mark.stack
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_what_librdkafka_packs_is_read(parts: dict[str, Any], codec: str) -> None:
    key = uuid.uuid4().hex.encode()
    values = [f"{number} {'x' * number}".encode() for number in range(0, 3000, 3)]
    reader = KafkaBroker(parts["kafka"]).reader()
    await reader.start()
    partitions = await reader.partitions(REQUEST_SUBMITTED.name)
    await reader.seek(dict(await reader.ends(partitions)))

    producer = Producer({"bootstrap.servers": parts["kafka"], "compression.type": codec, "linger.ms": 50})
    for value in values:
        producer.produce(REQUEST_SUBMITTED.name, value, key, headers={"h": value})
    await asyncio.to_thread(producer.flush, 10)
    found: list[Raw] = []
    async with asyncio.timeout(20):
        while len(found) < len(values):
            found += [raw for raw in await reader.read(0.5) if raw.key == key]
    await reader.stop()

    assert [raw.value for raw in found] == values
    assert all(raw.headers == {"h": raw.value} for raw in found)
