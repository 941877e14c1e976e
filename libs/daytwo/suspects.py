"""Finds the record that kills the process.

Every record in flight leaves a mark in a small memory-mapped file, which outlives a killed process. After a death the marked
records are suspects: each is started alone, a moment apart from all others. One that was alone at two more deaths is set aside.
Where there are many, several start together first; only after a death in such company each is started alone.
An ordinary kill -9 makes many suspects and condemns none. See docs/adr/0005-poison-records.md.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final, NamedTuple

_SLOT: Final = struct.Struct("<B B H I q 48s")  # state, deaths alone, length of the topic's name, partition, offset, topic
_IN_FLIGHT: Final = 1
_ALONE: Final = 2
_IN_COMPANY: Final = 3
ONE_BY_ONE: Final = 100
"""More suspects than that start several at a time, or those of a busy process would wait a minute for their turn."""
DEATHS_ALONE: Final = 2
"""So many deaths of the process with only this record starting condemn it; with the first, in company, it makes three."""


class RecordId(NamedTuple):
    topic: str
    partition: int
    offset: int


class Suspects:
    """Marks of the records in flight, and what they say after a death. `path` None: no marks, no suspects."""

    def __init__(self, path: Path | None, slots: int = 8192) -> None:
        self._deaths: dict[RecordId, int] = {}
        self._narrowed = False
        self._free = list(range(slots))
        self._slots: dict[RecordId, int] = {}
        self._file: mmap.mmap | None = None
        if path is not None:
            self._file = _open(path, slots)
            self._read(slots)
        self.company = 1 if self._narrowed else max(1, -(-len(self._deaths) // ONE_BY_ONE))
        """So many suspects may start within one moment. After a death in such a moment, or alone, it is one."""

    def _read(self, slots: int) -> None:
        assert self._file is not None
        for slot in range(slots):
            state, deaths, length, partition, offset, topic = _SLOT.unpack_from(self._file, slot * _SLOT.size)
            if state:
                record = RecordId(topic[:length].decode(), partition, offset)
                self._deaths[record] = deaths + (state == _ALONE)
                self._narrowed |= state != _IN_FLIGHT or deaths > 0
                self._write(slot, 0, record)

    def __len__(self) -> int:
        """Suspects that have not been handled yet."""
        return len(self._deaths)

    def is_suspect(self, record: RecordId) -> bool:
        """True if the process died with this record in flight."""
        return record in self._deaths

    def is_condemned(self, record: RecordId) -> bool:
        """True if this record is to be set aside."""
        return self._deaths.get(record, 0) >= DEATHS_ALONE

    def begin(self, record: RecordId) -> None:
        """Marks a record: its handler starts."""
        if self._file is not None and self._free:
            slot = self._slots[record] = self._free.pop()
            self._write(slot, _IN_FLIGHT, record)

    def end(self, record: RecordId) -> None:
        """The handler has ended; the record killed nobody."""
        if (slot := self._slots.pop(record, None)) is not None:
            self._write(slot, 0, record)
            self._free.append(slot)
        self._deaths.pop(record, None)

    def alone(self, record: RecordId, *, alone: bool) -> None:
        """Says that a marked record is the only one that is just starting, or one of `company`; or that the moment is over."""
        starting = _ALONE if self.company == 1 else _IN_COMPANY
        if (slot := self._slots.get(record)) is not None:
            self._write(slot, starting if alone else _IN_FLIGHT, record)

    def _write(self, slot: int, state: int, record: RecordId) -> None:
        assert self._file is not None
        topic = record.topic.encode()[:48]
        deaths = min(255, self._deaths.get(record, 0))
        _SLOT.pack_into(self._file, slot * _SLOT.size, state, deaths, len(topic), record.partition, record.offset, topic)


def _open(path: Path, slots: int) -> mmap.mmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = slots * _SLOT.size
    with path.open("a+b") as file:
        file.truncate(size)
        return mmap.mmap(file.fileno(), size)
