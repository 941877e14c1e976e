"""The windows of the partitions that this process owns: what is counted in them, what is not saved yet, and what is due.

Nothing is said of a partition that is not owned: two processes that publish the same bucket, one of them behind, leave the older sum.
No I/O; `stream.py` reads and writes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from daytwo.broker import Raw
from daytwo.codec import decode
from daytwo.flow import Table
from daytwo.records import RateLimit, TenantConfigured, ThrottlePublished
from daytwo.topics import USAGE_RECORDED, WINDOWS_SAVED
from services.usage_windows.subjects import Subjects
from services.usage_windows.throttling import Throttling
from services.usage_windows.windows import Place, Sums, Windows, restored

POSITION: Final = "position"
"""Scope of the records that say how far usage-recorded is in the states."""


LATE_MS: Final = 30_000
"""How long after partitions have come somebody who had them before may still write a state of his."""


class Saved:
    """What windows-saved says of some partitions, read from its beginning. Of two states of a subject the newer holds, wherever it
    lies: a process that was taken for dead may have written an old one late.
    """

    def __init__(self) -> None:
        self.states: dict[bytes, Windows] = {}
        self.overtaken: set[bytes] = set()
        """Whose older state lies behind the newer, which compaction would remove."""

    def take(self, raw: Raw, now_ms: int) -> None:
        key = raw.key or b""
        if raw.value is None:
            self.states.pop(key, None)
            return
        windows = restored(decode(WINDOWS_SAVED, raw.value), raw.partition, now_ms)
        known = self.states.get(key)
        if known is None or windows.is_newer_than(known):
            self.states[key] = windows
            self.overtaken.discard(key)
        else:
            self.overtaken.add(key)

    def position(self, partition: int) -> int:
        """The first offset of usage-recorded that is not in the states."""
        found = self.states.get(_position_key(partition))
        return 0 if found is None else found.applied.get(USAGE_RECORDED.name, -1) + 1


class Holding:
    """One process's share. Times are epoch milliseconds."""

    def __init__(self, tenants: Table[TenantConfigured], throttling: Throttling, most_subjects: int) -> None:
        self._tenants = tenants
        self._throttling = throttling
        self.subjects = Subjects({}, most_subjects)
        self.next: dict[int, int] = {}
        """By partition owned the offset of usage-recorded that must come next."""
        self._saved_to: dict[int, int] = {}
        self.unsaved: dict[str, Windows] = {}
        self._taken_ms = 0
        self._early: dict[str, Windows] = {}
        """What was counted soon after partitions came: of that, and no more, their owner before may write older states still."""
        self._due: list[tuple[int, str]] = []
        self._scheduled: set[str] = set()

    def owns(self, tenant: str) -> bool:
        """Whether it is counted here. Of one of whom nothing is kept there is nothing to say."""
        return self.subjects.knows(tenant)

    def take_over(self, partitions: Iterable[int], saved: Saved, earliest: Mapping[int, int], now_ms: int) -> None:
        """`earliest`: the first offsets of usage-recorded that are kept."""
        for partition in partitions:
            self._saved_to[partition] = saved.position(partition)
            self.next[partition] = max(saved.position(partition), earliest.get(partition, 0))
        self._taken_ms = now_ms
        self.subjects.take(windows for windows in saved.states.values() if windows.scope != POSITION)
        for windows in self.subjects.kept.values():
            self._throttling.judge(windows, self._limits(windows), now_ms)
            if windows.changed:
                self._schedule(windows, now_ms)
            if windows.key.encode() in saved.overtaken:
                self.unsaved[windows.key] = windows

    def let_go(self) -> None:
        """Of everything: whoever owns a partition next begins with what is saved."""
        self.next.clear()
        self._saved_to.clear()
        self.subjects.clear()
        self.unsaved.clear()
        self._early.clear()
        self._due.clear()
        self._scheduled.clear()

    # counting

    def follows(self, partition: int, offset: int) -> bool:
        return self.next.get(partition) == offset

    def passed(self, partition: int, offset: int) -> None:
        """It was read; what it says is counted by `count`, or it says nothing."""
        self.next[partition] = offset + 1

    def count(self, value: bytes, partition: int, now_ms: int) -> None:
        """Raises UnreadableError."""
        record = decode(USAGE_RECORDED, value)
        tenant = self._tenants.get(record.tenant)
        touched = self.subjects.apply(record, partition, tenant, now_ms)
        for windows in touched.values():
            self._throttling.judge(windows, self._limits(windows), now_ms)
            self._schedule(windows, now_ms)
        self.unsaved |= touched
        if now_ms < self._taken_ms + LATE_MS:
            self._early |= touched

    def _limits(self, windows: Windows) -> Sequence[RateLimit]:
        return self.subjects.limits(self._tenants.get(windows.tenant), windows.scope, windows.subject)

    # saving

    def save_early_again(self, now_ms: int) -> None:
        """Once nobody can write an older state any more: compaction keeps what comes last."""
        if self._early and now_ms >= self._taken_ms + 2 * LATE_MS:
            self.unsaved |= self._early
            self._early.clear()

    def take_unsaved(self) -> list[Windows]:
        unsaved, self.unsaved = self.unsaved, {}
        return list(unsaved.values())

    def moved(self, counted: Mapping[int, int]) -> Iterator[Windows]:
        """The records of how far `counted` is ahead of what was saved."""
        for partition, offset in counted.items():
            if self._saved_to.get(partition, offset) < offset:
                self._saved_to[partition] = offset
                position = Windows(tenant="", scope=POSITION, subject=str(partition), partition=partition)
                position.applied[USAGE_RECORDED.name] = offset - 1
                yield position

    # publishing

    def take_due(self, now_ms: int) -> Iterator[Windows]:
        while self._due and self._due[0][0] <= now_ms:
            _, key = heapq.heappop(self._due)
            self._scheduled.discard(key)
            windows = self.subjects.kept.get(key.encode())
            if windows is not None:
                yield windows

    def published(self, windows: Windows, sums: dict[Place, Sums], now_ms: int) -> None:
        windows.published(sums, now_ms)
        if sums:
            self.unsaved[windows.key] = windows
        if windows.changed:
            self._schedule(windows, now_ms)

    def _schedule(self, windows: Windows, now_ms: int) -> None:
        if windows.key not in self._scheduled:
            self._scheduled.add(windows.key)
            # At full ten seconds and two, so that a minute is published as closed as soon as it is.
            heapq.heappush(self._due, (now_ms - now_ms % 10_000 + 12_000, windows.key))

    # limits

    def tenants_changed(self, tenants: Iterable[str], now_ms: int) -> None:
        """Their limits may be others now."""
        for tenant in tenants:
            subjects = [(windows, self._limits(windows)) for windows in self.subjects.of_tenant(tenant)]
            self._throttling.judge_anew(subjects, now_ms)

    def sweep(self, now_ms: int) -> None:
        self._throttling.sweep(self._rates_of, now_ms, self.owns)

    def _rates_of(self, row: ThrottlePublished) -> Sequence[RateLimit] | None:
        tenant = self._tenants.get(row.tenant)
        return None if tenant is None else self.subjects.limits(tenant, row.scope, row.subject)


def _position_key(partition: int) -> bytes:
    return f"/{POSITION}/{partition}".encode()
