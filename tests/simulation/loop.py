"""An event loop whose time is virtual, and the simulated processes whose work it runs.

Every handle of asyncio carries a context, and every context names its process. So a process can be killed between any two
awaits (none of its handles ever runs again, no `finally` either), held (SIGSTOP), or let go on, and nothing in the services knows.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio.events import Handle, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

EPOCH_MS: Final = 1_772_323_195_000
"""2026-02-28T23:59:55Z: when every simulation begins, five seconds before an hour, a day and a month are over."""

PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""Whose work is running; None: of what is around the services."""


class Process:
    """A simulated process. Its handles are counted: the n-th is a crash point."""

    def __init__(self, name: str, loop: SimulatedLoop, *, skew_ms: int = 0) -> None:
        self.name = name
        self.loop = loop
        self.clock = SimulatedClock(loop, skew_ms)
        self.dead = False
        self.paused = False
        self.handles = 0
        self.dies_at: int | None = None
        """Number of the handle before which it is killed."""
        self.on_death: Callable[[], None] = lambda: None
        self._held: list[Handle] = []
        self._graveyard: list[Any] = []
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self.loop.create_task(coroutine, context=self.context.copy())
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._graveyard.append(task)
        return task

    def kill(self) -> None:
        if not self.dead:
            self.dead = True
            self.loop.graves.append(self)
            self.on_death()

    def pause(self) -> None:
        self.paused = True

    def go_on(self) -> None:
        """What was held back runs now, late."""
        self.paused = False
        self.loop.ready.extend(self._held)
        self._held.clear()

    def admits(self, handle: Handle) -> bool:
        """Whether the handle may run now. One that may not is kept: garbage collection would run its `finally` blocks."""
        if self.dead:
            self._graveyard.append(handle)
            return False
        if self.paused:
            self._held.append(handle)
            return False
        self.handles += 1
        if self.handles == self.dies_at:
            self._graveyard.append(handle)
            self.kill()
            return False
        return True


class SimulatedClock:
    """A clock of the process's own: `skew_ms` ahead of the others."""

    def __init__(self, loop: SimulatedLoop, skew_ms: int = 0) -> None:
        self._loop = loop
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        return EPOCH_MS + self.skew_ms + int(self._loop.time() * 1000)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        # As asyncio's, which asks which loop runs: that costs as much as the rest of a handle.
        over: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_later(max(0.0, seconds), _over, over)
        try:
            await over
        finally:
            timer.cancel()


def _over(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class DeadlockError(Exception):
    """Nothing is left to run, and somebody still waits."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs handles in order of their time, those of one moment in order of arrival. Time passes only when nothing is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ready: deque[Handle] = deque()
        self.graves: list[Process] = []
        self.ran = 0
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._number = 0
        self.set_task_factory(_silent_task)

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> TimerHandle:  # type: ignore[override]
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> TimerHandle:  # type: ignore[override]
        timer = TimerHandle(when, callback, args, self, context)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, timer))
        return timer

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """The call runs in this thread, a moment later."""
        future = self.create_future()
        self.call_later(0.001, _run, future, func, args)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task that nobody awaits may fail; what follows from it is for the invariants to say."""

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """Passed over when its time comes."""

    def _write_to_self(self) -> None:
        """There is one thread."""

    def _process_events(self, event_list: object) -> None:
        """There are no sockets."""

    def _run_once(self) -> None:
        timers, ready = self._timers, self.ready
        if not ready:
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                raise DeadlockError
            when, _, timer = heapq.heappop(timers)
            self.now = max(self.now, when)
            ready.append(timer)
        handle = ready.popleft()
        if handle._cancelled:
            return
        process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
        if process is None or process.admits(handle):
            self.ran += 1
            handle._run()


def _silent_task(loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return task


def _run(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.done():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:
        future.set_exception(error)
