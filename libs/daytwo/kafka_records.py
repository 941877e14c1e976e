"""Reads batches that aiokafka alone would not survive, and that any client with the right to write may send:

- A header's name that is no UTF-8. Brokers take it; aiokafka raises, again and again, and its partition stands still for good.
  Here the name has U+FFFD where it is broken.
- A batch of kilobytes that unpacks to gigabytes: the broker bounds only its packed size. Here it is not unpacked, but read as
  one record without key and value, whose header daytwo-not-read says why; so it ends as unreadable, and the next is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import MemoryRecords

NOT_READ_HEADER: Final = "daytwo-not-read"
MOST_BYTES_UNPACKED: Final = 32 * 1024 * 1024
"""Of a batch; twice the largest record of any topic."""

_LOG_OVERHEAD: Final = 12  # offset and length, which stand before what the length counts
_HEADER_BYTES: Final = _DefaultRecordBatchPy.HEADER_STRUCT.size
_UNPACKERS: Final = {
    _DefaultRecordBatchPy.CODEC_GZIP: cramjam.gzip,
    _DefaultRecordBatchPy.CODEC_LZ4: cramjam.lz4,
    _DefaultRecordBatchPy.CODEC_ZSTD: cramjam.zstd,
}
"""Snappy is not here: it packs at most some twenty times."""


def install() -> None:
    """Lets every consumer of this process read that way. aiokafka has no setting for it."""
    fetcher.MemoryRecords = Records


class Records:
    """What a fetch brought, batch by batch; stands in for aiokafka's MemoryRecords."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._at = 0
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> Batch:
        start = self._at
        self._at += _LOG_OVERHEAD + int.from_bytes(self._data[start + 8 : start + _LOG_OVERHEAD], "big")
        return Batch(self._records.next_batch(), memoryview(self._data)[start : self._at])


_ROOMS: Final = (1 << 16, 1 << 20, 1 << 24, MOST_BYTES_UNPACKED)
"""Tried in turn: to clear the largest for each batch of some kilobytes takes tens of milliseconds."""


class Batch:
    """A batch as aiokafka's own, but for its records."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        if self._is_bomb():
            yield self._unread()
            return
        try:
            for record in self._batch:
                yield record
                read += 1
        except UnicodeDecodeError:
            yield from islice(_LenientBatch(bytearray(self._data)), read, None)

    def _is_bomb(self) -> bool:
        codec = getattr(self._batch, "compression_type", 0)
        if codec not in _UNPACKERS:
            return False
        packed = bytes(self._data[_HEADER_BYTES:])
        return not any(_fits(_UNPACKERS[codec], packed, size) for size in _ROOMS)

    def _unread(self) -> Any:
        why = f"the batch up to offset {self._batch.next_offset - 1} cannot be unpacked, or to more than {MOST_BYTES_UNPACKED} bytes"
        headers = [(NOT_READ_HEADER, why.encode())]
        return _DefaultRecordPy(self._batch.base_offset, self._batch.first_timestamp, self._batch.timestamp_type, None, None, headers)


def _fits(unpacker: Any, packed: bytes, size: int) -> bool:
    try:
        unpacker.decompress_into(packed, bytearray(size))
    except cramjam.DecompressionError:
        return False
    return True


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _LenientBytes(self._buffer)


class _LenientBytes(bytearray):
    """Bytes whose parts are decoded whatever they are."""

    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        return _LenientBytes(part) if isinstance(at, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, "replace")
