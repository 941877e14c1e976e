"""One hop of the bare floor: `python -m deploy.bench.bare_hop BOOTSTRAP FROM TO`. Nothing but aiokafka and fastavro.

It does what any hop must: consume, decode, encode, produce, await the acknowledgement, commit each second.
"""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
import time
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from daytwo.codec import HEADER_BYTES, registry
from daytwo.topic import Topic
from daytwo.topics import TOPIC_NAMED
from deploy.bench.bare_records import next_record

PREFIX = "floor-"


class BareHop:
    def __init__(self, bootstrap: str, source: Topic[Any], target: Topic[Any]) -> None:
        self._bootstrap = bootstrap
        self._source = source
        self._target = target
        self._reads = parse_schema(registry()[source.schema_id]["schema"])
        self._writes = parse_schema(registry()[target.schema_id]["schema"])
        self._head = b"\0" + target.schema_id.to_bytes(4, "big")

    async def run(self, stopping: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer(
            PREFIX + self._source.name,
            bootstrap_servers=self._bootstrap,
            group_id=f"{PREFIX}{self._source.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True, acks="all", max_batch_size=512 * 1024)
        await producer.start()
        await consumer.start()
        committed = time.monotonic()
        try:
            while not stopping.is_set():
                batches = await consumer.getmany(timeout_ms=200, max_records=512)
                await self._forward(producer, batches)
                if time.monotonic() - committed > 1:
                    committed = time.monotonic()
                    await consumer.commit()
        finally:
            await consumer.stop()
            await producer.stop()

    async def _forward(self, producer: AIOKafkaProducer, batches: dict[TopicPartition, list[Any]]) -> None:
        acknowledged = []
        for records in batches.values():
            for record in records:
                value, headers = self.turn(record.value), list(record.headers)
                acknowledged.append(await producer.send(PREFIX + self._target.name, value=value, key=record.key, headers=headers))
        if acknowledged:
            await asyncio.gather(*acknowledged)

    def turn(self, data: bytes) -> bytes:
        """A record of the source as a record of the target."""
        value: Any = schemaless_reader(io.BytesIO(data[HEADER_BYTES:]), self._reads, None)
        out = io.BytesIO()
        out.write(self._head)
        schemaless_writer(out, self._writes, next_record(self._target.name, value))
        return out.getvalue()


async def run(bootstrap: str, source: str, target: str) -> None:
    # A group that is being made is no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await BareHop(bootstrap, TOPIC_NAMED[source], TOPIC_NAMED[target]).run(stopping)


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
