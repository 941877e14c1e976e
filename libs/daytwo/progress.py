"""Which records of a partition are done. The offset that may be committed is that of the lowest unfinished one."""

from __future__ import annotations

import heapq


class Progress:
    """Records of one partition in one epoch. Offsets may have gaps (compaction, transactions) and finish in any order."""

    def __init__(self, first: int) -> None:
        self.committed = first
        """Offset last committed, or the one reading began at."""
        self._first = self._next = first
        self._unfinished: list[int] = []
        self._open: set[int] = set()

    def started(self, offset: int) -> None:
        """A record was read. Records come in order of their offsets."""
        heapq.heappush(self._unfinished, offset)
        self._open.add(offset)
        self._next = offset + 1

    def finished(self, offset: int) -> None:
        """A record is done: all its outputs are acknowledged. One that was not started in this epoch is ignored."""
        self._open.discard(offset)

    def passed(self, offset: int) -> None:
        """Everything up to this offset is done; for who starts one only when all before it are done."""
        self._next = offset + 1

    def is_open(self, offset: int) -> bool:
        """Started in this epoch and not done."""
        return offset in self._open

    def is_done(self, offset: int) -> bool:
        """Started in this epoch, and done."""
        return self._first <= offset < self._next and offset not in self._open

    def committable(self) -> int:
        """Offset that may be committed: everything before it is done."""
        while self._unfinished and self._unfinished[0] not in self._open:
            heapq.heappop(self._unfinished)
        return self._unfinished[0] if self._unfinished else self._next
