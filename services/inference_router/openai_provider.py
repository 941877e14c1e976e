"""Calls OpenAI-compatible deployments over aiohttp: one session, connections kept alive, as many as there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from daytwo.records import DeploymentConfigured
from services.inference_router.lateness import Lateness
from services.inference_router.ports import Reply, Silence

ATTEMPT_HEADER: Final = "x-daytwo-attempt"
_KEPT_S: Final = 4.0
"""Idle connections are closed before servers do (many after 5 s): a call that meets a server's close on its way has an unknown outcome."""
_LOST_SHARE: Final = 0.5
"""A call that timed out while our event loop was late for so much of its time says nothing about the deployment."""
_NEVER_ROUNDED: Final = 1e9  # aiohttp rounds longer time-outs up to whole seconds, past the deadline


class _Payload(aiohttp.BytesPayload):
    """A body that tells when it is written to a connection. (The signals of aiohttp's TraceConfig say the same, for more work.)"""

    def __init__(self, body: bytes, on_its_way: Callable[[], None]) -> None:
        super().__init__(body)
        self._on_its_way = on_its_way
        self.sent = False
        """Whether anything of it may have reached the provider; without its body a request is none."""

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.sent = True
        await super().write_with_length(writer, content_length)
        self._on_its_way()


class OpenAIProvider:
    """A Provider (ports.py). `env` holds the keys that deployments name; `most_bytes` bounds a body."""

    def __init__(self, env: Mapping[str, str], *, most_bytes: int, connect_s: float) -> None:
        self._env = env
        self._most_bytes = most_bytes
        self._connect_s = connect_s
        self._session: aiohttp.ClientSession | None = None
        self._lateness = Lateness()

    async def start(self) -> None:
        # The router's lanes bound what is in flight of each deployment, so the connector need not.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_S, use_dns_cache=True, ttl_dns_cache=30)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # nothing compressed is asked for, and a small body could unpack to a huge one
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": "daytwo",
            },
        )
        self._lateness.start()

    async def stop(self) -> None:
        self._lateness.stop()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(
        self, deployment: DeploymentConfigured, body: bytes, attempt_id: str, timeout_s: float, on_its_way: Callable[[], None]
    ) -> Reply | Silence:
        headers = {ATTEMPT_HEADER: attempt_id, "Idempotency-Key": attempt_id}
        if deployment.api_key_env:
            key = self._env.get(deployment.api_key_env, "").strip()
            if not key or not key.isprintable():
                return Silence(reason="no_api_key", sent=False)
            headers["Authorization"] = f"Bearer {key}"
        try:
            url = _endpoint(deployment.base_url)
        except ValueError:
            return Silence(reason="invalid_url", sent=False)
        return await self._post(url, body, headers, timeout_s, on_its_way)

    async def _post(
        self, url: URL, body: bytes, headers: Mapping[str, str], timeout_s: float, on_its_way: Callable[[], None]
    ) -> Reply | Silence:
        assert self._session is not None, "start() comes first"
        connect_s = min(self._connect_s, 0.9 * timeout_s)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_s, ceil_threshold=_NEVER_ROUNDED)
        status, lost_s = 0, self._lateness.lost_s
        payload = _Payload(body, on_its_way)
        try:
            async with self._session.post(url, data=payload, headers=headers, timeout=timeout, allow_redirects=False) as response:
                status = response.status
                return await self._read(response)
        except aiohttp.InvalidURL:
            return Silence(reason="invalid_url", sent=False)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            if status >= 300:  # the status says enough, whatever became of the body
                return Reply(status=status, body=b"", retry_after=response.headers.get("Retry-After"))
            # A loop that is late may run past both time-outs at once, and see only the longer one: what was written is known anyhow.
            reason = _reason(error, status) if payload.sent else "connection"
            late = self._lateness.lost_s - lost_s > _LOST_SHARE * (timeout_s if payload.sent else connect_s)
            return Silence(reason=reason, sent=payload.sent, ours=late and isinstance(error, TimeoutError))

    async def _read(self, response: aiohttp.ClientResponse) -> Reply | Silence:
        retry_after = response.headers.get("Retry-After")
        body = await self._body(response)
        if body is None and response.status < 300:
            return Silence(reason="body_too_large", sent=True)
        return Reply(status=response.status, body=body or b"", retry_after=retry_after)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes | None:
        """None where it is larger than allowed."""
        length = response.content_length
        if length is not None:
            return await response.read() if length <= self._most_bytes else self._give_up(response)
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._most_bytes:
                return self._give_up(response)
        return b"".join(parts)

    @staticmethod
    def _give_up(response: aiohttp.ClientResponse) -> None:
        response.close()


def _reason(error: Exception, status: int) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "timeout"
    return "cut" if status else "connection_lost"


@lru_cache(maxsize=1024)
def _endpoint(base_url: str) -> URL:
    """Raises ValueError for what is no HTTP address."""
    url = URL(base_url.rstrip("/") + "/chat/completions")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(base_url)
    return url
