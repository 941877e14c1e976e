"""The splitter as a process: what a document can do to it, and that the next document does not notice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from daytwo.errors import RetryableError
from services.ingest.chunks import ChunkRules, Piece, UnsplittableError
from services.ingest.splitting_process import Cut, SplittingProcesses, make_chunker, seconds_for
from services.ingest.tokenizer_file import find_tokenizer
from tests.ingest.builders import document


def obey(content: bytes, media_type: str, title: str) -> list[Piece]:
    """Does what the document says."""
    match content:
        case b"hang":
            time.sleep(600)
        case b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"eat":
            hoard: list[bytes] = []
            while True:
                hoard.append(bytes(64 << 20))
        case b"bug":
            raise ZeroDivisionError("no document's fault")
        case b"refuse":
            raise UnsplittableError("too_large", "no")
    return [Piece(content.decode(), str(os.getpid()))]


def make_obedient() -> Cut:
    return obey


def make_nothing() -> Cut:
    raise ImportError("a broken installation")


@asynccontextmanager
async def splitting(
    make_cut: Callable[[], Cut] = make_obedient, seconds: Callable[[bytes], float] = seconds_for, processes: int = 1
) -> AsyncIterator[SplittingProcesses]:
    splitter = SplittingProcesses(make_cut, processes=processes, seconds=seconds)
    try:
        yield splitter
    finally:
        await splitter.close()


async def test_a_document_is_cut_by_the_real_chunker_in_its_process() -> None:
    async with splitting(partial(make_chunker, ChunkRules(), find_tokenizer())) as splitter:
        pieces = await splitter.split(document(content=b"# A\n\ntext", media_type="text/markdown", title="T"))
    assert pieces == [Piece("# A\n\ntext", "T \u203a A")]


async def test_a_process_serves_one_document_after_the_other() -> None:
    async with splitting(processes=2) as splitter:
        [[first], [second]] = [await splitter.split(document(content=content)) for content in (b"a", b"b")]
    assert (first.text, second.text) == ("a", "b")
    assert first.title == second.title != str(os.getpid())


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (b"hang", "invalid_document", "not split within"),
        (b"crash", "invalid_document", "ended the process that tried, 2 times"),
        (b"eat", "invalid_document", "takes more than 1536 MiB of memory"),
        (b"refuse", "too_large", "no"),
    ],
)
async def test_a_document_that_harms_the_process_is_refused_and_the_next_is_served(content: bytes, reason: str, says: str) -> None:
    async with splitting(seconds=lambda content: 0.2 if content == b"hang" else 30) as splitter:
        with pytest.raises(UnsplittableError, match=says) as caught:
            await splitter.split(document(content=content))
        [piece] = await splitter.split(document(content=b"fine"))
    assert (caught.value.reason, piece.text) == (reason, "fine")


async def test_a_bug_is_a_bug_and_no_refusal() -> None:
    async with splitting() as splitter:
        with pytest.raises(RuntimeError, match="no document's fault"):
            await splitter.split(document(content=b"bug"))


async def test_a_process_that_someone_killed_costs_no_document() -> None:
    async with splitting() as splitter:
        [before] = await splitter.split(document(content=b"a"))
        os.kill(int(before.title), signal.SIGKILL)
        [after] = await splitter.split(document(content=b"b"))
    assert after.text == "b"
    assert after.title != before.title


async def test_a_process_that_cannot_start_is_no_document_s_fault() -> None:
    async with splitting(make_nothing) as splitter:
        with pytest.raises(RuntimeError, match="does not start"):
            await splitter.split(document())


async def test_a_document_in_work_when_the_service_stops_is_left_for_later() -> None:
    async with splitting() as splitter:
        await splitter.split(document(content=b"warm up"))
        work = asyncio.ensure_future(splitter.split(document(content=b"hang")))
        await asyncio.sleep(0.1)
    with pytest.raises(RetryableError):
        await work


def test_a_larger_document_may_take_longer() -> None:
    assert seconds_for(b"") == 10
    assert seconds_for(bytes(1 << 20)) == 50
