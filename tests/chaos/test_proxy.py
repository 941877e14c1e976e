"""What the proxy does to connections is what its faults say."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import Link

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def link_to_an_echo() -> AsyncIterator[Link]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1024):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link(server.sockets[0].getsockname()[1])
    await link.start()
    try:
        yield link
    finally:
        await link.stop()
        server.close()
        await asyncio.sleep(0.01)  # closed connections are forgotten in the next rounds


async def connect(link: Link) -> Connection:
    return await asyncio.open_connection("127.0.0.1", link.port)


async def echoed(connection: Connection, text: bytes) -> bytes:
    reader, writer = connection
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), 1)


async def test_what_is_sent_arrives_and_an_end_is_passed_on() -> None:
    async with link_to_an_echo() as link:
        connection = await connect(link)

        assert await echoed(connection, b"hello" * 1000) == b"hello" * 1000
        connection[1].write_eof()
        assert await asyncio.wait_for(connection[0].read(), 1) == b""
        connection[1].close()


async def test_a_cut_resets_what_is_open_and_refuses_what_is_new() -> None:
    async with link_to_an_echo() as link:
        old = await connect(link)
        await echoed(old, b"x")

        link.set_mode("cut")

        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await echoed(old, b"y")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await echoed(await connect(link), b"z")
        link.set_mode("pass")
        new = await connect(link)
        assert await echoed(new, b"w") == b"w"
        for connection in (old, new):
            connection[1].close()


async def test_a_half_open_connection_stays_silent_while_later_ones_work() -> None:
    async with link_to_an_echo() as link:
        old = await connect(link)
        await echoed(old, b"x")

        link.set_mode("silent")
        link.set_mode("pass")

        with pytest.raises(TimeoutError):
            await echoed(old, b"y")
        new = await connect(link)
        assert await echoed(new, b"w") == b"w"
        for connection in (old, new):
            connection[1].close()


async def test_a_delay_holds_bytes_back_in_order() -> None:
    async with link_to_an_echo() as link:
        connection = await connect(link)
        link.delay_s = 0.1
        began = time.monotonic()

        connection[1].write(b"a")
        await asyncio.sleep(0.05)
        assert await echoed(connection, b"b") == b"a"
        assert await asyncio.wait_for(connection[0].readexactly(1), 1) == b"b"

        assert 0.2 <= time.monotonic() - began < 1
        connection[1].close()
