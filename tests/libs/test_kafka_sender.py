"""What becomes of callers when aiokafka's producer does what it should not. The rest of the sender is in test_broker_contract.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daytwo.broker import Outgoing
from daytwo.kafka import KafkaSender


class BrokenProducer:
    def create_batch(self) -> Any:
        raise AssertionError("a check inside aiokafka")

    async def stop(self) -> None:
        return None


async def test_a_bug_in_the_producer_reaches_every_caller_and_leaves_none_waiting() -> None:
    sender = KafkaSender("nowhere:9092")
    sender._producer = BrokenProducer()
    sender._numbers = {"t": [0]}
    # The second finds no producer any more and none to connect to: that is what may pass.
    calls = [sender.send([Outgoing(topic="t", key=b"k", value=b"v")]) for _ in range(2)]

    async with asyncio.timeout(20):
        first, second = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(first, AssertionError)
    assert isinstance(second, Exception)


@pytest.mark.parametrize("header", [1, object()])
async def test_a_record_that_cannot_be_put_into_a_batch_fails_and_does_not_hang(header: Any) -> None:
    sender = KafkaSender("nowhere:9092")
    sender._producer = _Unwritable()
    sender._numbers = {"t": [0]}

    async with asyncio.timeout(20):
        with pytest.raises(TypeError):
            await sender.send([Outgoing(topic="t", key=b"k", value=b"v", headers={"h": header})])


class _Unwritable(BrokenProducer):
    def create_batch(self) -> Any:
        return self

    def append(self, **record: Any) -> None:
        raise TypeError(f"not bytes: {record['headers']}")
