"""A provider's answer cut at every byte is never taken for a whole one, and counts in full."""

from __future__ import annotations

import asyncio

import pytest

from services.inference_router import booking
from services.inference_router.openai_provider import OpenAIProvider
from services.inference_router.ports import Reply, Silence
from tests.fuzz.targets.answers import completion
from tests.inference_router.builders import NOON, deployment, grounded, quote

BODY = completion()
HEAD = b"HTTP/1.1 200 OK\r\n"
WITH_A_LENGTH = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [WITH_A_LENGTH, CHUNKED], ids=["with a length", "chunked"])
async def test_an_answer_cut_at_any_byte_on_the_wire_is_silence_that_may_have_been_charged(answer: bytes) -> None:
    cuts = asyncio.Queue[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer[: cuts.get_nowait()])
        await writer.drain()
        writer.close()

    provider = OpenAIProvider({}, most_bytes=100_000, connect_s=1.0)
    await provider.start()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    ends = {}
    try:
        for cut in range(len(answer) + 1):
            cuts.put_nowait(cut)
            ends[cut] = await provider.call(deployment(base_url=url), b"{}", "attempt", 5.0, lambda: None)
    finally:
        await provider.stop()
        server.close()

    assert ends.pop(len(answer)) == Reply(status=200, body=BODY)
    assert [cut for cut, end in ends.items() if not (isinstance(end, Silence) and end.sent)] == []


def test_a_body_cut_at_any_byte_is_no_answer_and_counts_in_full() -> None:
    request, price = grounded(), quote()
    for cut in range(len(BODY)):
        booked = booking.book(request, price, Reply(status=200, body=BODY[:cut]), NOON)
        assert (booked.outcome, booked.reason) == ("unknown", "malformed_json")
        assert booked.cost_nano == booking.most_nano(request, price)
