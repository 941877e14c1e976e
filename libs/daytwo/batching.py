"""Gathers calls that many handlers make at the same time into one call: one pipeline, one search, one matrix."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Batcher(Generic[A, B]):
    """`await batcher(a)` is one element of `run([...])`; an error of `run` is an error of each of its calls.

    Calls made in the same turn of the event loop, or while `concurrency` runs are under way, share a run.
    """

    def __init__(self, run: Callable[[Sequence[A]], Awaitable[Sequence[B]]], *, max_size: int = 128, concurrency: int = 1) -> None:
        self._run = run
        self._max_size = max_size
        self._concurrency = concurrency
        self._waiting: list[tuple[A, asyncio.Future[B]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def __call__(self, argument: A) -> Awaitable[B]:
        future: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        self._waiting.append((argument, future))
        if not self._scheduled and len(self._running) < self._concurrency:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start)
        return future

    def _start(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._running) < self._concurrency:
            batch, self._waiting = self._waiting[: self._max_size], self._waiting[self._max_size :]
            task = asyncio.get_running_loop().create_task(self._run_batch(batch))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _run_batch(self, batch: Sequence[tuple[A, asyncio.Future[B]]]) -> None:
        try:
            results: Sequence[B | BaseException] = await self._run([argument for argument, _ in batch])
        except Exception as error:
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
