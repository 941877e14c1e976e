"""Calls over real sockets: what goes out, and what is made of every way in which a provider can fail to answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from services.inference_router.openai_provider import OpenAIProvider
from services.inference_router.ports import Reply, Silence
from tests.inference_router.builders import body, deployment

Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIProvider]:
    provider = OpenAIProvider({"KEY": " secret\n", "BROKEN": "se\ncret"}, most_bytes=10_000, connect_s=1.0)
    await provider.start()
    yield provider
    await provider.stop()


async def call(provider: OpenAIProvider, base_url: str, *, timeout_s: float = 5.0, key: str = "") -> Reply | Silence:
    return await provider.call(deployment(base_url=base_url, api_key_env=key), b'{"messages": []}', "attempt-1", timeout_s, lambda: None)


async def against(provider: OpenAIProvider, answer: bytes, *, hang: bool = False, timeout_s: float = 5.0) -> Reply | Silence:
    """A call of a server that sends these bytes and hangs or closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b'{"messages": []}'))
        writer.write(answer)
        await writer.drain()
        if hang:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await call(provider, f"http://127.0.0.1:{port}/v1", timeout_s=timeout_s)


def http(status: str, payload: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(payload) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload


async def test_a_call_carries_attempt_key_and_body_and_brings_the_answer(provider: OpenAIProvider) -> None:
    seen: list[web.Request] = []

    async def chat(request: web.Request) -> web.Response:
        assert await request.read() == b'{"messages": []}'
        seen.append(request)
        return web.Response(body=body(), content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        replies = [await call(provider, f"http://{host}:{port}/v1/", key="KEY") for _ in range(3)]
    finally:
        await runner.cleanup()
    assert replies == [Reply(status=200, body=body())] * 3
    headers = seen[0].headers
    assert (headers["x-daytwo-attempt"], headers["Idempotency-Key"]) == ("attempt-1", "attempt-1")
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer secret", "application/json")
    assert len({request.transport for request in seen}) == 1


async def test_a_call_tells_once_when_its_request_is_on_a_connection_and_before_its_answer(provider: OpenAIProvider) -> None:
    told: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b'{"messages": []}'))
        told.append("read")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        row = deployment(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        end = await provider.call(row, b'{"messages": []}', "attempt-1", 0.3, lambda: told.append("sent"))
    assert (end, told) == (Silence(reason="timeout", sent=True), ["sent", "read"])


async def test_a_call_that_finds_no_connection_does_not_say_that_it_is_on_its_way(provider: OpenAIProvider) -> None:
    told: list[str] = []
    await provider.call(deployment(base_url="http://127.0.0.1:1/v1"), b"{}", "attempt-1", 0.3, lambda: told.append("sent"))
    assert told == []


async def test_a_time_out_while_our_own_event_loop_was_late_is_ours(provider: OpenAIProvider) -> None:
    task = asyncio.create_task(against(provider, b"", hang=True, timeout_s=0.6))
    await asyncio.sleep(0.15)
    time.sleep(0.5)  # noqa: ASYNC251 - so does a loop that has too much to do
    assert await task == Silence(reason="timeout", sent=True, ours=True)


async def test_a_connection_that_is_not_made_in_time_while_our_own_event_loop_was_late_is_ours(provider: OpenAIProvider) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), contextlib.suppress(BlockingIOError):
            base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
            quiet = await call(provider, base_url, timeout_s=0.6)
            task = asyncio.create_task(call(provider, base_url, timeout_s=0.6))
            await asyncio.sleep(0.15)
            time.sleep(0.5)  # noqa: ASYNC251 - so does a loop that has too much to do
            late = await task
    assert quiet == Silence(reason="connection", sent=False)
    assert late == Silence(reason="connection", sent=False, ours=True)


async def test_an_error_status_comes_with_its_retry_after(provider: OpenAIProvider) -> None:
    reply = await against(provider, http("429 Too Many Requests", b"{}", "Retry-After: 7"))
    assert reply == Reply(status=429, body=b"{}", retry_after="7")


async def test_a_redirect_is_not_followed(provider: OpenAIProvider) -> None:
    reply = await against(provider, http("302 Found", b"", "Location: http://127.0.0.1:1/"))
    assert isinstance(reply, Reply)
    assert reply.status == 302


async def test_a_refused_connection_was_never_sent(provider: OpenAIProvider) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert await call(provider, f"http://127.0.0.1:{port}/v1") == Silence(reason="connection", sent=False)


@pytest.mark.parametrize("base_url", ["", "ftp://host/v1", "http:///v1", "http://host:99999/v1", "not an address"])
async def test_an_address_that_is_none_is_never_called(provider: OpenAIProvider, base_url: str) -> None:
    assert await call(provider, base_url) == Silence(reason="invalid_url", sent=False)


@pytest.mark.parametrize("key", ["ABSENT", "BROKEN"])
async def test_a_key_that_is_missing_or_unusable_is_never_sent(provider: OpenAIProvider, key: str) -> None:
    assert await call(provider, "http://127.0.0.1:1/v1", key=key) == Silence(reason="no_api_key", sent=False)


async def test_a_provider_that_hangs_is_left_at_the_time_out(provider: OpenAIProvider) -> None:
    began = time.monotonic()
    assert await against(provider, b"", hang=True, timeout_s=0.2) == Silence(reason="timeout", sent=True)
    assert time.monotonic() - began < 1.0


async def test_a_body_that_stops_coming_is_left_at_the_time_out(provider: OpenAIProvider) -> None:
    answer = http("200 OK", body()[:20], length=len(body()))
    assert await against(provider, answer, hang=True, timeout_s=0.2) == Silence(reason="timeout", sent=True)


async def test_a_cut_body_is_unknown(provider: OpenAIProvider) -> None:
    assert await against(provider, http("200 OK", body()[:20], length=len(body()))) == Silence(reason="cut", sent=True)


async def test_a_connection_closed_without_a_word_is_unknown(provider: OpenAIProvider) -> None:
    assert await against(provider, b"") == Silence(reason="connection_lost", sent=True)


async def test_what_is_not_http_is_unknown(provider: OpenAIProvider) -> None:
    end = await against(provider, b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    assert isinstance(end, Silence)
    assert end.sent


async def test_an_error_status_with_a_cut_or_huge_body_is_that_status(provider: OpenAIProvider) -> None:
    cut = await against(provider, http("503 Service Unavailable", b"{", "Retry-After: 2", length=99))
    assert cut == Reply(status=503, body=b"", retry_after="2")
    huge = await against(provider, http("500 Internal Server Error", b"x" * 20_000))
    assert huge == Reply(status=500, body=b"")


async def test_a_body_larger_than_allowed_is_not_read(provider: OpenAIProvider) -> None:
    told = await against(provider, http("200 OK", b"x", length=10**12), hang=True)
    assert told == Silence(reason="body_too_large", sent=True)
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3
    assert await against(provider, endless, hang=True) == Silence(reason="body_too_large", sent=True)


async def test_a_packed_body_is_not_unpacked(provider: OpenAIProvider) -> None:
    reply = await against(provider, http("200 OK", b"\x1f\x8b bomb", "Content-Encoding: gzip"))
    assert reply == Reply(status=200, body=b"\x1f\x8b bomb")
