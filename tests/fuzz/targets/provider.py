"""The call of a provider over a real socket: whatever bytes come back, it ends in time, with a reply or with silence."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from services.inference_router.openai_provider import OpenAIProvider
from services.inference_router.ports import Reply, Silence
from tests.fuzz.targets.answers import completion
from tests.inference_router.builders import deployment

MOST_BYTES: Final = 100_000
TIMEOUT_S: Final = 0.3
_SLACK_S: Final = 5.0


def provider(data: bytes) -> None:
    """The first byte says whether the server closes or hangs afterwards; the rest is what it sends."""
    asyncio.run(_against(data[1:], hangs=bool(data[:1] == b"\1")))


async def _against(answer: bytes, *, hangs: bool) -> None:
    server = await asyncio.start_server(partial(_serve, answer, hangs), "127.0.0.1", 0)
    caller = OpenAIProvider({}, most_bytes=MOST_BYTES, connect_s=0.2)
    await caller.start()
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        calling = caller.call(deployment(base_url=url), b"{}", "attempt", TIMEOUT_S, lambda: None)
        end = await asyncio.wait_for(calling, TIMEOUT_S + _SLACK_S)
    finally:
        await caller.stop()
        server.close()
        await server.wait_closed()
    assert isinstance(end, Silence) or (isinstance(end, Reply) and len(end.body) <= MOST_BYTES + 2**18)


async def _serve(answer: bytes, hangs: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if hangs:
            await reader.read()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def _http(status: str, body: bytes, *headers: str) -> bytes:
    return b"\0" + "\r\n".join((f"HTTP/1.1 {status}", *headers)).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def provider_seeds() -> list[bytes]:
    body = completion()
    length = f"Content-Length: {len(body)}"
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return [
        _http("200 OK", body, length),
        _http("200 OK", body, "Content-Length: 999999"),
        _http("200 OK", body, "Content-Length: 5"),
        _http("200 OK", chunked, "Transfer-Encoding: chunked"),
        _http("200 OK", chunked, "Transfer-Encoding: chunked", "Content-Length: 3"),
        _http("200 OK", b"80000\r\n" + b"x" * 0x80000 + b"\r\n0\r\n\r\n", "Content-Length: 3", "Transfer-Encoding: chunked"),
        _http("200 OK", b"80000\r\n" + b"x" * 0x80000 + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        _http("200 OK", b"x" * 0x80000),
        _http("200 OK", body, length, "Content-Encoding: gzip"),
        _http("429 Too Many Requests", b"{}", "Content-Length: 2", "Retry-After: 99999999999999999999"),
        _http("503 \udcff", b"", "Content-Length: 0", "Retry-After: \udcff\udcfe"),
        _http("100 Continue", _http("200 OK", body, length)[1:]),
        _http("302 Found", b"", "Location: http://127.0.0.1:1/", "Content-Length: 0"),
        b"\0garbage",
    ]
