"""Writes to Kafka what no client of ours writes, and any client with the right to write may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

TOPIC = "request-submitted"
PARTITION = 0

_CRC_AT = 17
_CRC_FROM = 21

Place = tuple[int, int]
Write = Callable[[Mapping[str, Any]], Any]


async def header_without_a_value(stack: Mapping[str, Any]) -> Place:
    async with AIOKafkaProducer(bootstrap_servers=stack["kafka"], acks="all") as producer:
        sent = await producer.send_and_wait(TOPIC, b"garbage", key=b"plain/x", partition=PARTITION, headers=[("request-id", None)])
    return sent.partition, sent.offset


async def header_name_that_is_no_utf_8(stack: Mapping[str, Any]) -> Place:
    async with AIOKafkaProducer(bootstrap_servers=stack["kafka"], acks="all") as producer:
        batch = producer.create_batch()
        batch.append(key=b"plain/x", value=b"garbage", timestamp=None, headers=[("name", b"x")])
        data = bytearray(batch._build().replace(b"name", b"n\xff\xfee"))
        data[_CRC_AT:_CRC_FROM] = calc_crc32c(bytes(data[_CRC_FROM:])).to_bytes(4, "big")
        batch._buffer = data
        sent = await (await producer.send_batch(batch, TOPIC, partition=PARTITION))
    return sent.partition, sent.offset


def packed(mebibytes: int) -> Write:
    """Zeros, which gzip packs to a thousandth: the broker bounds only what it is sent."""

    async def write(stack: Mapping[str, Any]) -> Place:
        size = mebibytes << 20
        most = {"max_request_size": size + 1024, "max_batch_size": size + 1024}
        async with AIOKafkaProducer(bootstrap_servers=stack["kafka"], acks="all", compression_type="gzip", **most) as producer:
            sent = await producer.send_and_wait(TOPIC, bytes(size), key=b"plain/x", partition=PARTITION)
        return sent.partition, sent.offset

    return write
