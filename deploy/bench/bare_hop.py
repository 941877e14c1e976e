"""One hop of the bare floor: `python -m deploy.bench.bare_hop BOOTSTRAP NUMBER [PROVIDER]`. Nothing but aiokafka, fastavro and aiohttp.

It does what any hop must: consume, decode, encode, produce, await the acknowledgement, commit each second; and where a provider is
named, the hop that writes attempts calls it, between their start and their end.
"""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
import time
from typing import Any

import aiohttp
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from daytwo.codec import HEADER_BYTES, registry
from daytwo.topic import Topic
from daytwo.topics import ATTEMPT_STARTED
from deploy.bench.bare_records import HOPS, next_record

PREFIX = "floor-"


class BareHop:
    def __init__(self, bootstrap: str, number: int, provider_url: str = "") -> None:
        """`provider_url`: of the OpenAI API; empty: no provider is called."""
        self._bootstrap = bootstrap
        self._provider_url = provider_url
        self._group = f"{PREFIX}{number}"
        self._source, self._targets = HOPS[number]
        self._schemas = {topic.name: parse_schema(registry()[topic.schema_id]["schema"]) for topic in (self._source, *self._targets)}

    async def run(self, stopping: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer(
            PREFIX + self._source.name,
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True, acks="all", max_batch_size=512 * 1024)
        await producer.start()
        await consumer.start()
        committed = time.monotonic()
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        forwarding: set[asyncio.Task[None]] = set()
        try:
            while not stopping.is_set():
                # What is read at once is fetched at once: aiokafka asks for a partition no sooner than the fetch of the others is back.
                batches = await consumer.getmany(timeout_ms=200, max_records=512)
                task = asyncio.create_task(self._forward(producer, session, batches))
                forwarding.add(task)
                task.add_done_callback(forwarding.discard)
                if time.monotonic() - committed > 1:
                    committed = time.monotonic()
                    await consumer.commit()
        finally:
            await consumer.stop()
            await producer.stop()
            await session.close()

    async def _forward(self, producer: AIOKafkaProducer, session: aiohttp.ClientSession, batches: dict[TopicPartition, list[Any]]) -> None:
        records = [(record, self.read(record.value)) for batch in batches.values() for record in batch]
        for target in self._targets:
            sending = [
                await producer.send(PREFIX + target.name, value=self.written(target, value), key=record.key, headers=list(record.headers))
                for record, value in records
            ]
            if sending:
                await asyncio.gather(*sending)
            if self._provider_url and target is ATTEMPT_STARTED:
                await asyncio.gather(*(self._call(session, value["request"]) for _, value in records))

    async def _call(self, session: aiohttp.ClientSession, request: Any) -> None:
        messages = [{"role": message["role"], "content": message["content"]} for message in request["messages"]]
        body = orjson.dumps({"model": request["model"], "messages": messages, "max_tokens": request["max_tokens"]})
        headers = {"Content-Type": "application/json"}
        async with session.post(f"{self._provider_url}/chat/completions", data=body, headers=headers) as response:
            orjson.loads(await response.read())

    def read(self, data: bytes) -> Any:
        return schemaless_reader(io.BytesIO(data[HEADER_BYTES:]), self._schemas[self._source.name], None)

    def written(self, target: Topic[Any], value: Any) -> bytes:
        """The record of a target for one of the source."""
        out = io.BytesIO()
        out.write(b"\0" + target.schema_id.to_bytes(4, "big"))
        schemaless_writer(out, self._schemas[target.name], next_record(target.name, value))
        return out.getvalue()


async def run(bootstrap: str, number: str, provider_url: str = "") -> None:
    # A group that is being made is no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await BareHop(bootstrap, int(number), provider_url).run(stopping)


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
