"""What the mock provider's tests are made of."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from aiohttp import ClientResponse, ClientSession
from aiohttp.web import AppRunner, TCPSite

from services.mock_provider.bill import Bill
from services.mock_provider.chat import Provider
from services.mock_provider.faults import Faults
from services.mock_provider.service import create_app
from services.mock_provider.settings import AT_ONCE, Behaviour

NOW_S = 1_700_000_000.25


class Sleeps:
    """A sleep that takes no time and remembers what was asked for, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def a_provider(behaviour: Behaviour = AT_ONCE, capacity: int = 1000, seed: int = 1) -> Provider:
    """A provider at a fixed time that never really waits."""
    return Provider(
        behaviour=behaviour,
        faults=Faults(),
        bill=Bill(capacity=capacity),
        rng=Random(seed),
        clock=lambda: NOW_S,
        sleep=Sleeps(),
    )


@asynccontextmanager
async def served(provider: Provider) -> AsyncIterator[ClientSession]:
    """A client of `provider`, served on a free port of this machine as in production.

    Not aiohttp's TestServer: it cancels the handler of a client that leaves, which a server in production does not.
    """
    runner = AppRunner(create_app(provider), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    try:
        async with ClientSession(f"http://{host}:{port}") as client:
            yield client
    finally:
        await runner.cleanup()


def a_question(text: str = "Why is the sky blue?", **fields: Any) -> dict[str, object]:
    """A chat request with one user message."""
    return {"model": "mock", "messages": [{"role": "user", "content": text}], **fields}


async def ask(client: ClientSession, request: Mapping[str, object], attempt: str | None = None) -> ClientResponse:
    """Post a chat request, as attempt `attempt`."""
    headers = {} if attempt is None else {"x-daytwo-attempt": attempt}
    return await client.post("/v1/chat/completions", json=request, headers=headers)


async def set_faults(client: ClientSession, *rules: Mapping[str, object]) -> None:
    """Put fault rules in force."""
    response = await client.put("/faults", json=list(rules))
    assert response.status == 200, await response.text()
