"""A client of Kafka is given up without harm to who gives it up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daytwo.kafka import KafkaReader


class Stopping:
    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    async def stop(self) -> None:
        if self._error is None:
            await asyncio.sleep(60)
        else:
            raise self._error


@pytest.mark.parametrize("error", [asyncio.CancelledError(), OSError("gone"), RuntimeError("a bug")])
async def test_what_stopping_a_consumer_raises_does_not_look_like_a_cancellation_of_who_stops_it(error: BaseException) -> None:
    reader = KafkaReader("localhost:1")
    client: Any = Stopping(error)
    reader._consumer = client

    await reader.stop()

    assert reader._consumer is None


async def test_who_is_cancelled_while_stopping_a_consumer_is_cancelled() -> None:
    reader = KafkaReader("localhost:1")
    client: Any = Stopping(None)
    reader._consumer = client
    task = asyncio.create_task(reader.stop())
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
