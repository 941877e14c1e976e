"""Records as the embedder and the retriever see them, and the context they come in."""

from __future__ import annotations

from typing import Any

import numpy as np

from daytwo.flow import Context
from daytwo.records import (
    Admission,
    CachePolicy,
    ChunkAccepted,
    ChunkEmbedded,
    Message,
    RequestAdmitted,
    RequestMissed,
    RequestSubmitted,
    TenantConfigured,
    Vector,
)
from daytwo.topic import Record

NOW = 1_700_000_000_000


class StoppedClock:
    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return None


async def _written(record: Record) -> None:
    return None


def context(service: str = "embedder") -> Context:
    return Context(
        service=service,
        topic="any",
        partition=0,
        offset=0,
        timestamp_ms=NOW - 7,
        started_ms=NOW - 2,
        key=None,
        value=None,
        headers={},
        clock=StoppedClock(),
        write_ahead=_written,
    )


def user(text: str | None) -> Message:
    return Message(role="user", content=text)


def request(*messages: Message, **fields: Any) -> RequestSubmitted:
    given: dict[str, Any] = {"request_id": "r1", "tenant": "acme", "deadline_ms": NOW + 60_000} | fields
    return RequestSubmitted(messages=messages or (user("How do I reset my password?"),), **given)


def admission(**fields: Any) -> Admission:
    return Admission(**({"cache_only": False, "reserved_nano": 1, "input_tokens_bound": 1, "attempts_bound": 1} | fields))


def admitted(*messages: Message, cache_only: bool = False, **fields: Any) -> RequestAdmitted:
    return RequestAdmitted(request=request(*messages, **fields), fingerprint="f" * 32, admission=admission(cache_only=cache_only))


def tenant(name: str = "acme", *, cache: CachePolicy | None = None, **fields: Any) -> TenantConfigured:
    return TenantConfigured(tenant=name, cache=cache or CachePolicy(), **fields)


def chunk(index: int = 0, count: int = 1, *, version: str = "v1", source: str = "guide.md", **fields: Any) -> ChunkAccepted:
    """A chunk whose id follows from tenant, source, version and place, as in life."""
    tenant_name = fields.pop("tenant", "acme")
    given = {
        "document_id": f"d-{version}",
        "collection": "docs",
        "text": f"text {index} of {version}",
        "chunk_id": f"{tenant_name}/{source}/{version}/{index}" if count else "",
    }
    return ChunkAccepted(tenant=tenant_name, source=source, version=version, index=index, count=count, **(given | fields))


def vector(*direction: float, model: str = "toy", version: str = "1", dimension: int = 4) -> Vector:
    """A unit vector of `dimension` that starts with `direction`."""
    values = np.zeros(dimension, np.float32)
    values[: len(direction)] = direction
    return Vector(model=model, version=version, dimension=dimension, values=(values / np.linalg.norm(values)).astype("<f4").tobytes())


def embedded(index: int = 0, count: int = 1, *, at: Vector | None = None, **fields: Any) -> ChunkEmbedded:
    return ChunkEmbedded(chunk=chunk(index, count, **fields), vector=(at or vector(1.0)) if count else None)


def missed(*, at: Vector | None = None, **fields: Any) -> RequestMissed:
    return RequestMissed(request=request(**fields), fingerprint="f" * 32, admission=admission(), question="q" * 32, vector=at)
