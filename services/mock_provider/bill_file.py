"""A bill as JSON lines in a file, so that it survives the process, `kill -9` included (not a power cut)."""

import os
from pathlib import Path
from typing import Self

import orjson

from services.mock_provider.bill import Bill, Call


class BillFileError(Exception):
    """The file is not a bill; the message names the file and the line."""


class BillFile:
    """Appends to the file at `path`: a line for each call charged, and one for each delivery.

    A line reaches the operating system in one write before a method returns; it is not synced to the disk.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or create it. Raises OSError."""
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def charged(self, call: Call) -> None:
        """Append the call."""
        self._append(call._asdict())

    def delivered(self, index: int) -> None:
        """Append that the answer of the file's call number `index` was delivered."""
        self._append({"delivered": index})

    def cleared(self) -> None:
        """Empty the file."""
        os.ftruncate(self._file, 0)

    def restore(self, bill: Bill) -> None:
        """Put what the file has on `bill`. A last line that was cut off is removed. Raises BillFileError."""
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, os.fstat(self._file).st_size - len(line))
                    return
                try:
                    _restore_line(bill, line)
                except (ValueError, TypeError) as error:
                    raise BillFileError(f"{self._path}, line {number}: not a line of a bill: {error}") from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, line: dict[str, object]) -> None:
        data = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        # A short write means a full disk: a bill that misses calls would prove the wrong thing.
        if os.write(self._file, data) != len(data):
            raise OSError(f"{self._path}: could not be written in full")


def _restore_line(bill: Bill, line: bytes) -> None:
    entry = orjson.loads(line)
    if "delivered" not in entry:
        bill.restore(Call(**entry))
    elif entry["delivered"] < bill.totals.calls:
        bill.restore_delivery(entry["delivered"])
    else:
        raise ValueError("a delivery of a call that is not above it")
