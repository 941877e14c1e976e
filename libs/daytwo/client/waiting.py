"""Waiting that ends: for one thing, and for the results of many records."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from daytwo.client.errors import ClientError, InvalidInputError, WaitTimeoutError
from daytwo.clock import Clock

T = TypeVar("T")

MOST_KEPT = 100_000


async def within(clock: Clock, seconds: float, awaited: Awaitable[T]) -> T:
    """What `awaited` gives, or TimeoutError after `seconds` of the clock; then it is cancelled."""
    task = asyncio.ensure_future(awaited)
    timer = asyncio.ensure_future(clock.sleep(max(0.0, seconds)))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        timer.cancel()
        task.cancel()


@dataclass(slots=True, kw_only=True)
class Expected(Generic[T]):
    """A result that is to come. `until` is in seconds of the clock; `taken`: someone waits for this one by its id."""

    record_id: str
    until: float
    taken: bool
    submissions: set[str] = field(default_factory=set)
    """Names of the bytes that were sent (fate.submission)."""
    arrived: asyncio.Future[T | ClientError] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Mailbox(Generic[T]):
    """Results by id: expected before the record is sent, delivered once (the first counts), collected by id or as they come."""

    def __init__(self, clock: Clock, *, most_kept: int = MOST_KEPT) -> None:
        self._clock = clock
        self._most_kept = most_kept
        self._expected: dict[str, Expected[T]] = {}
        self._arrivals: dict[str, Expected[T]] = {}
        self._untils: list[tuple[float, str]] = []
        self._changed = asyncio.Event()
        self.trouble = ""
        """Why nothing may be arriving just now, for the message of a time-out."""

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._expected

    def __bool__(self) -> bool:
        return bool(self._expected)

    def expect(self, record_id: str, seconds: float, *, taken: bool) -> Expected[T]:
        """To be called before the record is sent. The same id again shares what is expected already."""
        until = self._clock.monotonic() + seconds
        expected = self._expected.get(record_id)
        if expected is None:
            self._make_room()
            expected = self._expected[record_id] = Expected(record_id=record_id, until=until, taken=taken)
        expected.until = max(expected.until, until)
        expected.taken |= taken
        if not expected.taken:
            heapq.heappush(self._untils, (expected.until, record_id))
        return expected

    def sent(self, record_id: str, submission: str) -> None:
        """Notes what is sent for an expected id."""
        if (expected := self._expected.get(record_id)) is not None:
            expected.submissions.add(submission)

    def is_meant(self, record_id: str, submission: str) -> bool:
        """Whether a refusal of these bytes is for what was sent from here."""
        expected = self._expected.get(record_id)
        return expected is None or not expected.submissions or submission in expected.submissions

    def forget(self, record_id: str) -> None:
        self._expected.pop(record_id, None)
        self._arrivals.pop(record_id, None)
        self._changed.set()

    def deliver(self, record_id: str, result: T | ClientError) -> None:
        """Later results of the id, and those nobody expects, are ignored."""
        expected = self._expected.get(record_id)
        if expected is None or expected.arrived.done():
            return
        expected.arrived.set_result(result)
        if not expected.taken:
            self._arrivals[record_id] = expected
        self._changed.set()

    def fail(self, error: ClientError) -> None:
        """Ends every wait."""
        for record_id in list(self._expected):
            self.deliver(record_id, error)

    async def collect(self, record_id: str, seconds: float | None = None) -> T:
        """The result of an expected id; waits until its time is up, or for `seconds`. Raises WaitTimeoutError."""
        expected = self._expected.get(record_id)
        if expected is None:
            raise InvalidInputError(
                f"{record_id} was not submitted by this client, or its result was taken already: "
                f"`daytwo results --request {record_id}` finds it on the log"
            )
        expected.taken = True
        self._arrivals.pop(record_id, None)
        patience = expected.until - self._clock.monotonic() if seconds is None else seconds
        try:
            result = await within(self._clock, patience, asyncio.shield(expected.arrived))
        except TimeoutError:
            raise self._too_late((record_id,)) from None
        self.forget(record_id)
        if isinstance(result, ClientError):
            raise result
        return result

    async def collect_all(self) -> AsyncIterator[T]:
        """Results in order of arrival, until none is outstanding that nobody waits for by its id.

        Those whose time is up are named in one WaitTimeoutError, after all others were given.
        """
        late: list[str] = []
        while True:
            while self._arrivals:
                expected = next(iter(self._arrivals.values()))
                self.forget(expected.record_id)
                result = expected.arrived.result()
                if isinstance(result, ClientError):
                    raise result
                yield result
            late.extend(self._give_up())
            if not self._untils:
                break
            self._changed.clear()
            try:
                await within(self._clock, self._untils[0][0] - self._clock.monotonic(), self._changed.wait())
            except TimeoutError:
                continue
        if late:
            raise self._too_late(tuple(late))

    def _give_up(self) -> list[str]:
        """Ids whose time is up. Leaves at the top of the heap one that is still outstanding, if there is any."""
        late: list[str] = []
        while self._untils:
            until, record_id = self._untils[0]
            expected = self._expected.get(record_id)
            outstanding = expected is not None and not expected.taken and not expected.arrived.done()
            if expected is not None and outstanding and until == expected.until:
                if until > self._clock.monotonic():
                    return late
                late.append(record_id)
                expected.taken = True
            heapq.heappop(self._untils)
        return late

    def _too_late(self, record_ids: tuple[str, ...]) -> WaitTimeoutError:
        names = ", ".join(record_ids[:3]) + (f" and {len(record_ids) - 3} more" if len(record_ids) > 3 else "")
        why = f"; {self.trouble}" if self.trouble else "; are the services up? (`daytwo status`)"
        return WaitTimeoutError(
            f"no result in time for {names}{why}. It may still come: await it by its id, or `daytwo results --request ID`", record_ids
        )

    def _make_room(self) -> None:
        """Drops results nobody collected and ids nobody waits for any more; they stay on the log."""
        if len(self._untils) > 2 * len(self._expected) + 1000:
            self._untils = [item for item in self._untils if item[1] in self._expected]
            heapq.heapify(self._untils)
        if len(self._expected) < self._most_kept:
            return
        now = self._clock.monotonic()
        for expected in list(self._expected.values()):
            if expected.arrived.done() or expected.until < now:
                self.forget(expected.record_id)
