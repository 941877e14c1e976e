"""The network between a process and what is around it: every call takes a while, and may be lost before or after it had its effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, TypeVar

from daytwo.errors import RetryableError
from tests.simulation.loop import PROCESS, Process
from tests.simulation.story import Story

T = TypeVar("T")
Fate = Literal["fine", "lost", "unheard", "slow"]
"""lost: it has no effect; unheard: it has its effect, and its answer is lost."""

OUTSIDE: Final = Context()
"""Where what lies around the processes runs: no process's."""


@dataclass(slots=True, kw_only=True)
class Trouble:
    """From now until a moment, some calls come to grief."""

    call: str
    """Beginning of the call's name."""
    fate: Fate
    probability: float
    until: float


class Network:
    """`calm`: each way takes a millisecond. Otherwise it takes a few, and seldom long."""

    def __init__(self, rng: Random, story: Story, *, calm: bool = False, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`loop`: whose time it is; None: that of the loop that runs at the moment of a call."""
        self._loop = loop
        self.rng = rng
        self.story = story
        self.calm = calm
        self.troubles: list[Trouble] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop or asyncio.get_running_loop()

    def delay(self) -> float:
        """Seconds of one way."""
        if self.calm:
            return 0.001
        drawn = self.rng.random()
        return 0.0005 + (drawn * 0.006 if drawn < 0.95 else self.rng.random() * 0.3)

    def fate(self, call: str) -> Fate:
        if not self.troubles:
            return "fine"
        for trouble in self.troubles:
            meant = self.loop.time() < trouble.until and call.startswith(trouble.call)
            if meant and self.rng.random() < trouble.probability:
                self.story.tell(f"{call} is {trouble.fate}")
                return trouble.fate
        return "fine"

    def later(self, seconds: float, callback: Callable[..., Any], *args: Any) -> None:
        """Outside of every process: it happens even if the process that began it is dead."""
        self.loop.call_later(seconds, callback, *args, context=OUTSIDE)

    async def call(self, name: str, effect: Callable[[], T], *, patience_s: float = 5.0) -> T:
        """The effect's result. Raises what it raises; RetryableError where no answer comes within `patience_s` or the call breaks."""
        fate = self.fate(name)
        answer: asyncio.Future[T] = self.loop.create_future()
        there, back = self.delay(), self.delay()
        if fate == "slow":
            there += self.rng.random() * patience_s * 1.5
        if fate != "lost":
            self.later(there, self._land, answer, effect, back if fate != "unheard" else None)
        if fate != "fine":
            wait = min(patience_s, 0.05 + self.rng.random() * patience_s) if fate != "slow" else patience_s
            self.later(wait, fail, answer, name)
        return await answer

    def _land(self, answer: asyncio.Future[T], effect: Callable[[], T], back: float | None) -> None:
        try:
            result = effect()
        except Exception as error:
            if back is not None:
                self.later(back, _raise, answer, error)
            return
        if back is not None:
            self.later(back, give, answer, result)


def give(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def fail(answer: asyncio.Future[Any], name: str) -> None:
    _raise(answer, RetryableError("store_unavailable", f"{name}: no answer"))


def _raise(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # it may be of a process that is dead


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


def process_now() -> Process | None:
    return PROCESS.get()
