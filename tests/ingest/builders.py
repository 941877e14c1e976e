"""Records and contexts as a test needs them: valid unless it says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daytwo.codec import encode
from daytwo.errors import RetryableError
from daytwo.flow import Change, Context, Input, Output, Service
from daytwo.records import DocumentSubmitted, Message, RequestSubmitted, SigningKey, TenantConfigured
from daytwo.signing import KEY_HEADER, SIGNATURE_HEADER, sign
from daytwo.topic import Record
from daytwo.topics import DOCUMENT_SUBMITTED, REQUEST_SUBMITTED
from services.ingest.chunks import Piece, UnsplittableError
from services.ingest.ports import Heard
from services.ingest.service import service
from services.ingest.settings import Settings

NOW_MS = 1_800_000_000_000


class StoppedClock:
    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class LineSplitter:
    """A piece for each line."""

    def __init__(self) -> None:
        self.closed = False

    async def split(self, document: DocumentSubmitted) -> Sequence[Piece]:
        if not document.content:
            raise UnsplittableError("invalid_document", "content: no text in it")
        return [Piece(line, document.title) for line in document.content.decode().splitlines()]

    async def close(self) -> None:
        self.closed = True


class BrokenSplitter(LineSplitter):
    async def split(self, document: DocumentSubmitted) -> Sequence[Piece]:
        raise RetryableError("store_unavailable", "not now")


class SilentRoad:
    """A road of which nothing is heard but what a test says to `heard`."""

    def __init__(self) -> None:
        self.heard: Heard | None = None

    async def start(self, heard: Heard) -> None:
        self.heard = heard

    async def stop(self) -> None:
        self.heard = None


def request(**fields: Any) -> RequestSubmitted:
    given: dict[str, Any] = {"request_id": "r-1", "tenant": "acme", "messages": (Message(role="user", content="Why?"),)}
    return RequestSubmitted(**{**given, **fields})


def document(**fields: Any) -> DocumentSubmitted:
    given: dict[str, Any] = {"document_id": "d-1", "tenant": "acme", "collection": "kb", "source": "a/b.md", "content": b"one\ntwo"}
    return DocumentSubmitted(**{**given, **fields})


def tenant(**fields: Any) -> TenantConfigured:
    return TenantConfigured(**{"tenant": "acme", **fields})


SIGNING = tenant(keys=(SigningKey(id="k1", secret="s1"), SigningKey(id="k2", secret="s2")))


def signed(value: bytes, key: str = "k1", secret: str = "s1") -> dict[str, bytes]:
    return {KEY_HEADER: key.encode(), SIGNATURE_HEADER: sign(secret, value).encode()}


async def _nowhere(record: Record) -> None:
    raise AssertionError("ingest writes nothing ahead")


def context(value: bytes, headers: Mapping[str, bytes] | None = None, *, arrived_ms: int = NOW_MS, now_ms: int = NOW_MS) -> Context:
    return Context(
        service="ingest",
        topic="any",
        partition=0,
        offset=0,
        timestamp_ms=arrived_ms,
        started_ms=now_ms,
        key=None,
        value=value,
        headers=headers or {},
        clock=StoppedClock(now_ms),
        write_ahead=_nowhere,
    )


class Ingest:
    """The service with tenants configured, and its handlers called as the loop calls them."""

    def __init__(self, *tenants: TenantConfigured, settings: Settings | None = None, splitter: LineSplitter | None = None) -> None:
        self._tenants = tenants or (tenant(),)
        self.road = SilentRoad()
        self.service: Service = service(settings or Settings(), splitter or LineSplitter(), self.road)

    def input(self, topic: str) -> Input[Any]:
        return next(each for each in self.service.inputs if each.topic.name == topic)

    async def submit(
        self,
        record: RequestSubmitted | DocumentSubmitted,
        headers: Mapping[str, bytes] | None = None,
        *,
        arrived_ms: int = NOW_MS,
        now_ms: int = NOW_MS,
    ) -> list[Output]:
        """What comes out for `record`; `headers` None: signed with the tenant's key k1."""
        for follower in self.service.followers:
            await follower.apply([Change(key=row.tenant, record=row, partition=0, offset=0) for row in self._tenants])
        if isinstance(record, RequestSubmitted):
            topic, value = REQUEST_SUBMITTED.name, encode(REQUEST_SUBMITTED, record)
        else:
            topic, value = DOCUMENT_SUBMITTED.name, encode(DOCUMENT_SUBMITTED, record)
        handle = self.input(topic).handle
        assert handle
        headers = signed(value) if headers is None else headers
        return list(await handle(record, context(value, headers, arrived_ms=arrived_ms, now_ms=now_ms)))
