"""Milvus goes away, hangs, and comes back: a server of this test's own is killed."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from daytwo.clock import SystemClock
from daytwo.errors import RetryableError
from services.retriever.milvus_index import MilvusIndex, place
from services.retriever.ports import Scope, SourceKey, Space
from services.retriever.settings import Settings
from tests.chaos.proxy import Link
from tests.embedder.builders import embedded, vector
from tests.retriever.milvus_lite import MilvusLite

pytestmark = pytest.mark.stack

AT = vector(1.0)
SPACE = Space.of(AT)
DOCS = Scope(tenant="acme", collection="docs")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MilvusLite]:
    started = MilvusLite(tmp_path)
    started.start()
    yield started
    started.kill()


@pytest.fixture
async def index(server: MilvusLite) -> AsyncIterator[MilvusIndex]:
    opened = MilvusIndex(Settings(uri=server.uri, timeout_s=1.0, flush_rows=10, flush_s=0.1), SystemClock())
    await opened.open()
    yield opened
    await opened.close()


async def _sources(index: MilvusIndex, top_k: int = 50) -> set[str]:
    [hits] = await index.search(SPACE, DOCS, top_k, [AT.values])
    return {hit.passage.source for hit in hits}


async def _once_back(index: MilvusIndex) -> set[str]:
    """What is found once gRPC has noticed that the server is back: within some two seconds, on a machine that is not busy."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await _sources(index)
        except RetryableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_every_call_says_so_while_milvus_is_away_and_works_when_it_is_back(server: MilvusLite, index: MilvusIndex) -> None:
    await index.upsert([embedded(source=f"s{number}") for number in range(15)])
    server.kill()

    for call in (
        index.search(SPACE, DOCS, 5, [AT.values]),
        index.upsert([embedded()]),
        index.stored([SourceKey("acme", "docs", "s1")]),
    ):
        started = time.monotonic()
        with pytest.raises(RetryableError) as away:
            await call
        assert away.value.reason == "store_unavailable"
        assert time.monotonic() - started < 10

    server.start()
    # A restarted Milvus Lite has its collections on disk, not in memory.
    assert await _once_back(index) == {f"s{number}" for number in range(15)}
    await index.upsert([embedded(source="after")])
    assert "after" in await _sources(index)


async def test_what_was_acknowledged_is_there_after_a_kill_unflushed(server: MilvusLite, index: MilvusIndex) -> None:
    for number in range(7):
        await index.upsert([embedded(source=f"s{number}")])
    server.kill()
    server.start()

    assert await _once_back(index) == {f"s{number}" for number in range(7)}


async def test_a_call_of_a_milvus_that_hangs_ends_with_the_time_out(server: MilvusLite, index: MilvusIndex) -> None:
    await index.upsert([embedded()])
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(RetryableError) as hung:
            await index.search(SPACE, DOCS, 5, [AT.values])
        assert hung.value.reason == "store_unavailable"
        assert time.monotonic() - started < 10
    finally:
        os.kill(server.process.pid, signal.SIGCONT)

    assert await _sources(index) == {"guide.md"}


async def test_opening_fails_while_milvus_is_away_and_succeeds_later(server: MilvusLite) -> None:
    server.kill()
    index = MilvusIndex(Settings(uri=server.uri, timeout_s=1.0), SystemClock())
    with pytest.raises(RetryableError):
        await index.open()

    server.start()
    await index.open()

    assert await _sources(index) == set()
    await index.close()


async def test_no_search_misses_a_document_while_rows_are_flushed(server: MilvusLite, index: MilvusIndex) -> None:
    """Milvus Lite does not see rows that it is just flushing; the index must not look then."""
    written: list[str] = []
    missing: list[str] = []

    async def write() -> None:
        for number in range(60):
            await index.upsert([embedded(source=f"s{number}-{part}", text="x" * 800) for part in range(4)])
            written.append(f"s{number}-0")

    async def read() -> None:
        while not writer.done():
            expected = set(written)
            scope = Scope(tenant="acme", collection="docs", sources=tuple(sorted(expected)) or ("none",))
            try:
                [hits] = await index.search(SPACE, scope, 240, [AT.values])
            except RetryableError:  # while the collection is just being made; the loop asks again
                continue
            missing.extend(expected - {hit.passage.source for hit in hits})

    await index.upsert([embedded()])  # makes the collection; whoever does beside others may have to try again
    writer = asyncio.create_task(write())
    await asyncio.gather(writer, read(), read())

    assert missing == []


async def test_rows_are_flushed_after_some_time_as_well(server: MilvusLite, index: MilvusIndex) -> None:
    await index.upsert([embedded()])
    assert index.unflushed == 1

    deadline = time.monotonic() + 30
    while index.unflushed:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)

    assert await _sources(index) == {"guide.md"}


async def test_an_argument_milvus_refuses_is_a_bug_and_not_tried_again(server: MilvusLite, index: MilvusIndex) -> None:
    await index.upsert([embedded()])

    with pytest.raises(Exception, match="unexpected") as refused:
        await index.search(SPACE, Scope(tenant="acme", collection="docs", after_ms="x ="), 5, [AT.values])  # type: ignore[arg-type]

    assert not isinstance(refused.value, RetryableError)
    assert logging.getLogger("pymilvus").level == logging.CRITICAL


def test_spaces_have_places_of_their_own_that_milvus_takes() -> None:
    places = {place(Space(model, version, dimension)) for model in ("a-b", "a_b", "日本") for version in ("1", "2") for dimension in (4, 5)}

    assert len(places) == 12
    assert all(name.isascii() and name.replace("_", "").isalnum() and len(name) < 255 for name in places)


async def test_a_connection_through_which_nothing_comes_any_more_is_given_up(server: MilvusLite) -> None:
    link = Link(server.port)
    await link.start()
    index = MilvusIndex(Settings(uri=f"http://127.0.0.1:{link.port}", timeout_s=1.0, flush_rows=10, flush_s=0.1), SystemClock())
    await index.open()
    await index.upsert([embedded(source="s1")])

    link.set_mode("silent")
    link.set_mode("pass")
    began = time.monotonic()

    assert await _once_back(index) == {"s1"}
    assert time.monotonic() - began < 10  # gRPC's own keep-alive had not noticed after a minute
    await index.close()
    await link.stop()
