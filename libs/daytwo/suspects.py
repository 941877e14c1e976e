"""Finds the record that kills the process.

Every record in flight leaves a mark in a small memory-mapped file, which outlives a killed process. After a death the marked
records are suspects: each is started alone, a moment apart from all others. One that was alone at two more deaths is set aside.
Where there are many, several start together first; only after a death in such company each is started alone.
An ordinary kill -9 makes many suspects and condemns none. What is known of a record outlives further deaths, until the record is
done; and of one that was set aside, until its offset is committed. See docs/adr/0005-poison-records.md.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final, NamedTuple

_SLOT: Final = struct.Struct("<B B H I q 48s")  # state, deaths alone, length of the topic's name, partition, offset, topic
_IN_FLIGHT: Final = 1
_ALONE: Final = 2
_KNOWN: Final = 3
"""Not in flight; what is known of it is kept until it is done."""
_IN_COMPANY: Final = 4
ONE_BY_ONE: Final = 100
"""More suspects than that start several at a time, or those of a busy process would wait a minute for their turn."""
DEATHS_ALONE: Final = 2
"""So many deaths of the process with only this record starting condemn it; with the first, in company, it makes three."""


class RecordId(NamedTuple):
    topic: str
    partition: int
    offset: int


class Suspects:
    """Marks of the records in flight, and what they say after a death. `marks`: a file, or memory that outlives the process
    of a simulation; None: no marks, no suspects."""

    def __init__(self, marks: Path | bytearray | None, slots: int = 8192) -> None:
        self._deaths: dict[RecordId, int] = {}
        self._narrowed = False
        self._free = list(range(slots))
        self._slots: dict[RecordId, int] = {}
        self._file: mmap.mmap | bytearray | None = None
        if marks is not None:
            self._file = _open(marks, slots) if isinstance(marks, Path) else marks
            self._read(slots)
        self.company = 1 if self._narrowed else max(1, -(-len(self._deaths) // ONE_BY_ONE))
        """So many suspects may start within one moment. After a death in such a moment, or alone, it is one."""

    @staticmethod
    def size(slots: int) -> int:
        """Bytes of marks for so many records in flight."""
        return slots * _SLOT.size

    def _read(self, slots: int) -> None:
        assert self._file is not None
        if not any(self._file[:]):
            return
        for slot in range(slots):
            state, deaths, length, partition, offset, topic = _SLOT.unpack_from(self._file, slot * _SLOT.size)
            if state:
                record = RecordId(topic[:length].decode(), partition, offset)
                self._deaths[record] = deaths + (state == _ALONE)
                self._narrowed |= state in (_ALONE, _IN_COMPANY) or deaths > 0
                self._slots[record] = slot
                self._write(slot, _KNOWN, record)
        self._free = [slot for slot in self._free if slot not in set(self._slots.values())]
        self._make_room(slots)

    def _make_room(self, slots: int) -> None:
        """Suspects that never come again (another process has their partition) must not take all marks."""
        if len(self._free) < slots // 2:
            for record in [record for record, deaths in self._deaths.items() if not deaths]:
                self._drop(record)

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
        """Marks a record: its handler starts. One that is condemned is not started, and stays known."""
        if self._file is None or self.is_condemned(record):
            return
        if record not in self._slots and self._free:
            self._slots[record] = self._free.pop()
        if (slot := self._slots.get(record)) is not None:
            self._write(slot, _IN_FLIGHT, record)

    def end(self, record: RecordId) -> None:
        """The handler has ended; the record killed nobody. One that was set aside stays condemned until `committed`: should the
        process die before that, it is read again, and must not kill it again."""
        if not self.is_condemned(record):
            self._drop(record)

    def committed(self, topic: str, partition: int, offset: int) -> None:
        """Nothing before this offset is read again."""
        for record in [r for r in self._deaths if r.topic == topic and r.partition == partition and r.offset < offset]:
            self._drop(record)

    def _drop(self, record: RecordId) -> None:
        if (slot := self._slots.pop(record, None)) is not None:
            assert self._file is not None
            self._file[slot * _SLOT.size] = 0
            self._free.append(slot)
        if self._deaths:
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
    size = Suspects.size(slots)
    with path.open("a+b") as file:
        file.truncate(size)
        return mmap.mmap(file.fileno(), size)
