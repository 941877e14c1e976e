"""The splitter, in processes of their own.

A thread would not do. Parsers of HTML and Markdown take quadratic time and nest without bound on hostile input, hold the
interpreter's lock meanwhile, and cannot be stopped; a process can: it has limits of time and memory, and may even crash.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final

from daytwo.errors import RetryableError
from daytwo.records import DocumentSubmitted
from services.ingest.chunks import ChunkRules, Piece, UnsplittableError

_START_SECONDS: Final = 120.0
_MEMORY_BYTES: Final = 1536 << 20
# A process that took so large a document is not kept: only its end gives the memory back for sure.
_LARGE_BYTES: Final = 1 << 20
_ATTEMPTS: Final = 2
# HTML with thousands of unclosed paragraphs is honest, and one level of nesting each. Should the stack not suffice, only this process dies.
_STACK_FRAMES: Final = 20_000

Job = tuple[bytes, str, str]
Cut = Callable[[bytes, str, str], list[Piece]]
MakeCut = Callable[[], Cut]


def seconds_for(content: bytes) -> float:
    """Seconds a document may take: some ten times what an honest one of its size takes on a busy core."""
    return 10 + 40 * len(content) / (1 << 20)


class SplittingProcesses:
    """A `Splitter` of `processes` that are started when needed, one document each at a time."""

    def __init__(self, make_cut: MakeCut, *, processes: int, seconds: Callable[[bytes], float] = seconds_for) -> None:
        """`make_cut` is called in each process, so it must pickle."""
        self._processes = [_SplittingProcess(make_cut, seconds) for _ in range(processes)]
        # Last in, first out: a second process starts only when two documents come at the same time.
        self._idle: asyncio.LifoQueue[_SplittingProcess] = asyncio.LifoQueue()
        for process in self._processes:
            self._idle.put_nowait(process)

    async def split(self, document: DocumentSubmitted) -> Sequence[Piece]:
        process = await self._idle.get()
        try:
            return await asyncio.to_thread(process.split, (document.content or b"", document.media_type, document.title))
        finally:
            self._idle.put_nowait(process)

    async def close(self) -> None:
        for process in self._processes:
            process.close()


class _SplittingProcess:
    """One process, started again whenever it has ended. `split` blocks; `close` may be called beside it."""

    def __init__(self, make_cut: MakeCut, seconds: Callable[[bytes], float]) -> None:
        self._make_cut = make_cut
        self._seconds = seconds
        self._process: SpawnProcess | None = None
        self._pipe: Connection[Any, Any] | None = None
        # A cancelled caller leaves its thread behind; the next one waits for it.
        self._busy = threading.Lock()
        self._closed = False

    def split(self, job: Job) -> list[Piece]:
        """Raises UnsplittableError, also for a document that takes too long or that the process does not survive."""
        with self._busy:
            for _ in range(_ATTEMPTS):
                if self._closed:
                    raise RetryableError("store_unavailable", "the splitting process is closed")
                try:
                    return self._answer(self._running(), job)
                except (EOFError, ConnectionError):
                    # The process is gone, perhaps for another reason than this document.
                    self._end()
        raise UnsplittableError("invalid_document", f"content: splitting it ended the process that tried, {_ATTEMPTS} times")

    def close(self) -> None:
        self._closed = True
        self._end()

    def _end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.join()
        self._process = None

    def _answer(self, pipe: Connection[Any, Any], job: Job) -> list[Piece]:
        seconds = self._seconds(job[0])
        pipe.send(job)
        if not pipe.poll(seconds):
            self._end()
            raise UnsplittableError("invalid_document", f"content: not split within {seconds:.0f} s")
        answer = pipe.recv()
        if len(job[0]) > _LARGE_BYTES:
            self._end()
        if isinstance(answer, Exception):
            raise answer
        pieces: list[Piece] = answer
        return pieces

    def _running(self) -> Connection[Any, Any]:
        if self._process and self._process.is_alive() and self._pipe:
            return self._pipe
        self._end()
        if self._pipe:
            self._pipe.close()
        self._pipe, theirs = get_context("spawn").Pipe()
        self._process = get_context("spawn").Process(target=_serve, args=(theirs, self._make_cut), daemon=True)
        self._process.start()
        theirs.close()
        self._await_start(self._pipe)
        return self._pipe

    def _await_start(self, pipe: Connection[Any, Any]) -> None:
        try:
            if pipe.poll(_START_SECONDS) and pipe.recv() == "ready":
                return
        except (EOFError, ConnectionError):
            pass
        self._end()
        raise RuntimeError("the splitting process does not start; its error is on stderr")


def make_chunker(rules: ChunkRules, tokenizer: Path) -> Cut:
    # Imported here, so that the service itself carries neither parsers nor tokenizer.
    from services.ingest.chunking import Chunker

    return Chunker(rules, tokenizer).cut


def _serve(pipe: Connection[Any, Any], make_cut: MakeCut) -> None:
    """Answers jobs until the other end is gone, or memory was short."""
    _restrain()
    cut = make_cut()
    pipe.send("ready")
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer = _attempt(cut, job)
        except MemoryError:
            _limit_memory(resource.RLIM_INFINITY)  # or nothing more could be said
            pipe.send(UnsplittableError("invalid_document", f"content: splitting it takes more than {_MEMORY_BYTES >> 20} MiB of memory"))
            return
        pipe.send(answer)


def _attempt(cut: Cut, job: Job) -> list[Piece] | Exception:
    try:
        return cut(*job)
    except UnsplittableError as error:
        return error
    except MemoryError:
        raise
    except Exception:
        return RuntimeError(f"splitting failed:\n{traceback.format_exc()}")


def _restrain() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this process when it is done
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.nice(10)  # requests go first
    sys.setrecursionlimit(_STACK_FRAMES)
    _limit_memory(_MEMORY_BYTES)


def _limit_memory(limit: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard if limit == resource.RLIM_INFINITY else limit, hard))
