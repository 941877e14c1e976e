"""The index in Milvus, or in Milvus Lite's server: one Milvus collection for each space of vectors, tenants by partition key."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeVar, cast

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from daytwo.clock import Clock
from daytwo.errors import RetryableError
from daytwo.records import ChunkEmbedded, Passage
from services.retriever import filters
from services.retriever.ports import FIELD_BYTES, Hit, Scope, SourceKey, Space, Stored
from services.retriever.settings import Settings

T = TypeVar("T")

PREFIX: Final = "daytwo_"
_IDENTITY: Final = ["tenant", "collection", "source", "version"]
_FOUND: Final = ["tenant", "source", "category", "title", "text"]
_RECONNECT: Final = {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}
"""By default gRPC waits up to two minutes before it looks again whether a server is back."""
SILENT_CALLS: Final = 2
"""So many calls in a row without an answer make a new connection."""
_INVALID: Final = frozenset({6, 1100})
"""Codes by which Milvus Lite and Milvus refuse an argument: a bug here, which trying again does not mend."""
_NOT_LOADED: Final = frozenset({101, 106})


class MilvusIndex:
    """Implements ports.Index.

    Milvus Lite has one writer and loses sight of rows while it flushes them (its memory table is swapped before the
    file is known), so writes go one after another, and nothing is read during a flush. For the same reason there must
    be one retriever to a Milvus Lite; a Milvus server takes any number.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._threads = ThreadPoolExecutor(max_workers=settings.searches + 1, thread_name_prefix="milvus")
        self._reading = asyncio.Semaphore(settings.searches)
        self._writing = asyncio.Lock()
        self._client: Any = None
        self._silent = 0
        self._known: set[str] = set()
        self._unflushed: dict[str, int] = {}
        self._flusher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        # It logs each error with a traceback before it raises it.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        self._client = await self._call(self._connect)
        for name in await self._names():
            await self._call(partial(self._client.load_collection, name))

    async def close(self) -> None:
        if self._flusher is not None:
            self._flusher.cancel()
        if self._client is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._client.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def upsert(self, chunks: Sequence[ChunkEmbedded]) -> None:
        async with self._writing:
            for name, rows in _rows_by_place(chunks):
                if name not in self._known:
                    await self._call(partial(self._create, name, len(rows[0]["vector"])))
                    self._known.add(name)
                await self._on(name, partial(self._client.upsert, name, rows))
                await self._written(name, len(rows))

    async def stored(self, sources: Sequence[SourceKey]) -> Sequence[Stored]:
        wanted = set(sources)
        found: list[Stored] = []
        for name in await self._names():
            query = partial(self._client.query, name, filters.sources(wanted), _IDENTITY, consistency_level="Strong")
            async with self._reading:
                rows = await self._on(name, query)
            found += [Stored(name, row["chunk_id"], _source(row), row["version"]) for row in rows if _source(row) in wanted]
        return found

    async def delete(self, stored: Sequence[Stored]) -> None:
        async with self._writing:
            for name, each in groupby(sorted(stored), key=lambda chunk: chunk.place):
                ids = [chunk.chunk_id for chunk in each]
                await self._on(name, partial(self._client.delete, name, ids))
                await self._written(name, len(ids))

    async def search(self, space: Space, scope: Scope, top_k: int, vectors: Sequence[bytes]) -> Sequence[Sequence[Hit]]:
        name = place(space)
        if name not in self._known and name not in await self._names():
            return [()] * len(vectors)
        call = partial(
            self._client.search,
            name,
            [np.frombuffer(vector, "<f4") for vector in vectors],
            filters.expression(scope),
            top_k,
            _FOUND,
            consistency_level=self._settings.consistency,
        )
        async with self._reading:
            found = await self._on(name, call)
        return [_hits(each) for each in found]

    @property
    def unflushed(self) -> int:
        """Rows written since the last flush."""
        return sum(self._unflushed.values())

    def _connect(self, timeout: float) -> Any:
        uri, token = self._settings.uri, self._settings.token
        return MilvusClient(uri, token=token, timeout=timeout, dedicated=True, grpc_options=_RECONNECT)

    def _create(self, name: str, dimension: int, timeout: float) -> None:
        if self._client.has_collection(name, timeout=timeout):
            return
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type=self._settings.index, metric_type="COSINE")
        schema, level = _schema(dimension), self._settings.consistency
        self._client.create_collection(name, schema=schema, index_params=index, consistency_level=level, timeout=timeout)

    async def _names(self) -> set[str]:
        """The collections there are; others may have been created by another retriever."""
        names = await self._call(self._client.list_collections)
        self._known = {name for name in names if name.startswith(PREFIX)}
        return self._known

    async def _on(self, name: str, call: Callable[..., T]) -> T:
        """A call on a collection, which a restarted Milvus Lite has to load first."""
        try:
            return await self._call(call)
        except _NotLoadedError:
            await self._call(partial(self._client.load_collection, name))
            return await self._call(call)

    async def _call(self, call: Callable[..., T]) -> T:
        """`call` with the time-out, in a thread. Raises RetryableError where Milvus cannot."""
        bounded = partial(call, timeout=self._settings.timeout_s)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, bounded)
        except MilvusException as error:
            raise _retryable(error) from error
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                await self._silence()
            raise RetryableError("store_unavailable", f"Milvus: {error}") from error

        self._silent = 0
        return found

    async def _silence(self) -> None:
        """After some calls without an answer there may be nobody at the other end of the connection, and gRPC does not notice."""
        self._silent += 1
        if self._silent < SILENT_CALLS or self._client is None:
            return
        self._silent = 0
        loop, old = asyncio.get_running_loop(), self._client
        with suppress(MilvusException, grpc.RpcError):
            self._client = await loop.run_in_executor(self._threads, self._connect, self._settings.timeout_s)
            # Others may still be waiting on it, no longer than their time.
            loop.call_later(2 * self._settings.timeout_s, old.close)

    async def _written(self, name: str, rows: int) -> None:
        """Rows in memory are scanned by every search: after some of them, or some time, they are flushed."""
        self._unflushed[name] = self._unflushed.get(name, 0) + rows
        if not self._settings.flush_rows:
            return
        if self._unflushed[name] >= self._settings.flush_rows:
            await self._flush(name)
        elif self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush_later())

    async def _flush_later(self) -> None:
        """Durability does not hang on it: where a flush fails, the one after the next write does its work."""
        await self._clock.sleep(self._settings.flush_s)
        with suppress(RetryableError):
            async with self._writing:
                for name in list(self._unflushed):
                    await self._flush(name)

    async def _flush(self, name: str) -> None:
        async with self._no_reading():
            await self._call(partial(self._client.flush, name))
        del self._unflushed[name]

    @asynccontextmanager
    async def _no_reading(self) -> AsyncIterator[None]:
        for _ in range(self._settings.searches):
            await self._reading.acquire()
        try:
            yield
        finally:
            for _ in range(self._settings.searches):
                self._reading.release()


class _NotLoadedError(RetryableError):
    """The collection is there, but not in memory."""


def _retryable(error: Any) -> BaseException:
    if error.code in _INVALID:
        return cast("BaseException", error)
    kind = _NotLoadedError if error.code in _NOT_LOADED else RetryableError
    return kind("store_unavailable", f"Milvus: {error.message}")


def place(space: Space) -> str:
    """The Milvus collection of a space: its model in readable form, and a digest that tells versions apart."""
    digest = hashlib.sha256(repr(tuple(space)).encode()).hexdigest()[:12]
    return f"{PREFIX}{re.sub('[^A-Za-z0-9]', '_', space.model)[:64]}_{digest}"


def _schema(dimension: int) -> Any:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("chunk_id", DataType.VARCHAR, max_length=64, is_primary=True)
    for name, most in FIELD_BYTES.items():
        schema.add_field(name, DataType.VARCHAR, max_length=most, is_partition_key=name == "tenant")
    schema.add_field("version", DataType.VARCHAR, max_length=64)
    schema.add_field("published_at_ms", DataType.INT64)
    schema.add_field("index", DataType.INT32)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    return schema


def _rows_by_place(chunks: Sequence[ChunkEmbedded]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Rows by Milvus collection; of a chunk that is there twice, the last."""
    places: dict[str, dict[str, dict[str, Any]]] = {}
    for embedded in chunks:
        if embedded.vector is not None:
            rows = places.setdefault(place(Space.of(embedded.vector)), {})
            rows[embedded.chunk.chunk_id] = _row(embedded, embedded.vector.values)
    return [(name, list(rows.values())) for name, rows in places.items()]


def _row(embedded: ChunkEmbedded, vector: bytes) -> dict[str, Any]:
    chunk = embedded.chunk
    return {
        "chunk_id": chunk.chunk_id,
        **{name: getattr(chunk, name) for name in FIELD_BYTES},
        "version": chunk.version,
        "published_at_ms": chunk.published_at_ms,
        "index": chunk.index,
        "vector": np.frombuffer(vector, "<f4"),
    }


def _source(row: Any) -> SourceKey:
    return SourceKey(row["tenant"], row["collection"], row["source"])


def _hits(found: Iterable[Any]) -> Sequence[Hit]:
    """Nearest first; equally near ones by id, so that a repeat gives the same."""
    hits = [_hit(each["chunk_id"], each["distance"], each["entity"]) for each in found]
    return sorted(hits, key=lambda hit: (-hit.passage.score, hit.passage.chunk_id))


def _hit(chunk_id: str, distance: float, row: Any) -> Hit:
    passage = Passage(
        chunk_id=chunk_id,
        source=row["source"],
        title=row["title"],
        category=row["category"],
        text=row["text"],
        # Rounding can push equal vectors beyond 1.
        score=max(-1.0, min(1.0, float(distance))),
    )
    return Hit(row["tenant"], passage)
