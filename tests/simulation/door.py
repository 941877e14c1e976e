"""What ingest decides where there are too many: once for each time that it reads a request, and never against one that it has let in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from daytwo.audit.invariants import Violation
from daytwo.broker import Raw
from daytwo.codec import decode
from daytwo.fate import REQUEST_ID_HEADER
from daytwo.topics import REQUEST_ACCEPTED, REQUEST_FINISHED, REQUEST_SUBMITTED

RULE: Final = "decided_twice"


class Door:
    """Hears of every record that is written, and of every one that ingest is handed."""

    def __init__(self) -> None:
        self._accepted: dict[bytes, int] = {}
        """By request id the moment, counted in records."""
        self._ended: list[tuple[int, Raw]] = []
        self._submitted: Counter[bytes] = Counter()
        self._read: Counter[bytes] = Counter()
        self._written = 0

    def take(self, raw: Raw) -> None:
        self._written += 1
        if raw.topic == REQUEST_ACCEPTED.name:
            self._accepted.setdefault(_name(raw), self._written)
        elif raw.topic == REQUEST_FINISHED.name:
            self._ended.append((self._written, raw))
        elif raw.topic == REQUEST_SUBMITTED.name:
            self._submitted[_name(raw)] += 1

    def handed(self, group: str, raws: Iterable[Raw]) -> None:
        if group == "ingest":
            self._read.update(_name(raw) for raw in raws if raw.topic == REQUEST_SUBMITTED.name)

    def violations(self) -> Iterator[Violation]:
        """Of ids that were submitted once."""
        for at, raw in self._ended:
            name = _name(raw)
            accepted_at = self._accepted.get(name)
            if accepted_at is None or self._submitted[name] != 1 or decode(REQUEST_FINISHED, raw.value or b"").reason != "overloaded":
                continue
            if accepted_at < at or self._read[name] == 1:
                detail = f"was let in and refused as overloaded, read {self._read[name]} times"
                yield Violation(rule=RULE, ids=(name.decode(),), detail=detail)


def _name(raw: Raw) -> bytes:
    return raw.headers.get(REQUEST_ID_HEADER, b"")
