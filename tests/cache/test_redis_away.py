"""The store on a Redis that is not there, comes and goes."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from daytwo.clock import SystemClock
from daytwo.errors import RetryableError
from services.cache.redis_answers import RedisAnswers
from tests.cache.builders import answer


class SkippingClock(SystemClock):
    """Real time, but for what a test skips."""

    skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s


@asynccontextmanager
async def redis_that_says(port: int, reply: Callable[[bytes], bytes]) -> AsyncIterator[list[bytes]]:
    """A server that answers every chunk of bytes by `reply`; yields what it heard."""
    heard: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(65536):
            heard.append(data)
            writer.write(reply(data))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield heard
    finally:
        server.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def nil_to_mget(data: bytes) -> bytes:
    """OK to the greeting of a client, two nils to each MGET."""
    return b"+OK\r\n" * (data.count(b"CLIENT") + data.count(b"HELLO")) + b"*2\r\n$-1\r\n$-1\r\n" * data.count(b"MGET")


def store(port: int, clock: SystemClock, timeout_ms: int = 100) -> RedisAnswers:
    return RedisAnswers(f"redis://127.0.0.1:{port}/0?protocol=2", clock, follow_ms=1000, timeout_ms=timeout_ms)


async def recall(answers: RedisAnswers) -> bool:
    """False: away."""
    try:
        await answers.recall("acme", "a", "r")
    except RetryableError:
        return False
    return True


async def test_while_it_is_away_callers_are_told_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, port = SkippingClock(), free_port()
    answers = store(port, clock)

    for _ in range(3):
        assert not await recall(answers)
        clock.skipped_s += 5
    async with redis_that_says(port, nil_to_mget):
        assert await recall(answers)
        await answers.close()

    assert [each.levelname for each in caplog.records if each.name.endswith("redis_answers")] == ["WARNING", "INFO"]


async def test_one_that_hangs_is_asked_again_only_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    clock, port = SkippingClock(), free_port()
    answers = store(port, clock, timeout_ms=50)

    async with redis_that_says(port, lambda _: b"") as heard:
        assert not await recall(answers)
        tries = len(heard)
        assert [await recall(answers) for _ in range(5)] == [False] * 5
        assert len(heard) == tries
        clock.skipped_s += 5
        assert not await recall(answers)
        assert len(heard) > tries
        await answers.close()


async def test_an_error_of_redis_itself_is_being_away_too(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    answers = store(port, SystemClock())

    def full(data: bytes) -> bytes:
        return b"+OK\r\n" * data.count(b"CLIENT") + b":0\r\n" * data.count(b"EXISTS") + b"-OOM no memory\r\n" * data.count(b"EVAL")

    async with redis_that_says(port, full):
        with pytest.raises(RetryableError, match="no memory"):
            await answers.keep([answer(learned_at_ms=SystemClock().now_ms())])
        await answers.close()
