"""A TCP proxy whose connections can be cut, delayed, or left half-open. One between our services and each part."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

Mode = Literal["pass", "cut", "silent"]

CHUNK = 64 * 1024


class Link:
    """Forwards a port of 127.0.0.1 to another.

    `cut` resets what is open and refuses what is new. `silent` leaves connections open through which nothing comes any more; those
    stay so for ever, as when a machine between two others was switched off, while later ones work again once it passes.
    """

    def __init__(self, target_port: int = 0) -> None:
        """`target_port` may be set later, before the first connection."""
        self.target_port = target_port
        self.port = 0
        """Where it listens, once it is started."""
        self.delay_s = 0.0
        self._mode: Mode = "pass"
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [connection.task for connection in self._open]
        self.set_mode("cut")
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close in the next round

    def set_mode(self, mode: Mode) -> None:
        self._mode = mode
        for connection in list(self._open):
            if mode == "cut":
                connection.abort()
            elif mode == "silent":
                connection.silence()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "cut":
            writer.transport.abort()
            return
        connection = _Connection(self, reader, writer)
        if self._mode == "silent":
            connection.silence()
        self._open.add(connection)
        connection.task.add_done_callback(lambda _: self._open.discard(connection))


class _Connection:
    def __init__(self, link: Link, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self._link = link
        self._near = near
        self._far: asyncio.StreamWriter | None = None
        self._speaks = asyncio.Event()
        self._speaks.set()
        self.task = asyncio.create_task(self._run(reader))

    def silence(self) -> None:
        self._speaks.clear()

    def abort(self) -> None:
        self.task.cancel()

    async def _run(self, near: asyncio.StreamReader) -> None:
        try:
            await self._speaks.wait()
            far, self._far = await asyncio.open_connection("127.0.0.1", self._link.target_port)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._way(near, self._far))
                ways.create_task(self._way(far, self._near))
        except* (OSError, asyncio.CancelledError):
            pass  # the end of a connection is no news to a proxy
        finally:
            for side in (self._near, self._far):
                if side is not None:
                    side.transport.abort()

    async def _way(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Delivers in order, each chunk `delay_s` after it came; a delay does not make the way narrower."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._deliver(waiting, sink))
            data = b"..."
            while data:
                data = await source.read(CHUNK)
                await waiting.put((asyncio.get_running_loop().time() + self._link.delay_s, data))

    async def _deliver(self, waiting: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            await self._speaks.wait()
            if not data:
                with contextlib.suppress(OSError):
                    sink.write_eof()
                return
            sink.write(data)
            await sink.drain()
